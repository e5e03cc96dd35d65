"""Metrics by name, computed from plain arrays by ``gluonts.ev``.

With y the label, m the median forecast, e the seasonal error of the history, and y_q the forecast of level q:

    QL            mean over q and y of  2 (y - y_q) (q - [y < y_q])
    WQL           mean over q of  sum 2 (y - y_q) (q - [y < y_q]) / sum |y|
    MASE          mean |y - m| / e
    RMSSE         root of  mean (y - mean forecast)^2 / mean squared seasonal difference of the history
    sMAPE         mean 2 |y - m| / (|y| + |m|)
    MAE, ND       mean |y - m|,  sum |y - m| / sum |y|
    MSE, RMSE     mean (y - mean forecast)^2, and its root
    MSIS          mean [u - l + 40 (l - y)^+ + 40 (y - u)^+] / e, with l, u the levels 0.025 and 0.975
    coverage_80   share of y between the levels 0.1 and 0.9; with width_80 and interval_score_80, and other percentages
    pinball_0.9   mean (y - y_q) (q - [y < y_q]) of one level; reliability_0.9: share of y up to the level

Names without a number, such as ``coverage``, ``width``, ``interval_score``, ``pinball`` and ``reliability``, stand for
all available levels.
CRPS and PIT are computed from samples if there are any, otherwise from quantiles. See ``scores`` for the other metrics.

References:
    Another look at measures of forecast accuracy (Hyndman and Koehler, 2006): MASE.
    Strictly proper scoring rules, prediction, and estimation (Gneiting and Raftery, 2007): interval score.
    The M4 competition: 100,000 time series and 61 forecasting methods (Makridakis et al., 2020): sMAPE, MSIS.
    M5 accuracy competition: results, findings, and conclusions (Makridakis et al., 2022): RMSSE.
    Probabilistic forecasting with spline quantile function RNNs (Gasthaus et al., 2019): WQL.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gluonts.ev import metrics as ev

from s5forecast.evaluation import definitions as own
from s5forecast.evaluation.definitions import warn_of_zeros
from s5forecast.evaluation.scores import crps, energy_score, pit, sum_quantile_loss, sum_size, variogram_score
from s5forecast.levels import is_level, level_name

PERCENTAGES = (20, 40, 50, 60, 80, 90, 95, 98, 99)
NAMED_LEVELS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.975, 0.99)
DEFAULT_METRICS = ("WQL", "MASE", "sMAPE", "coverage_80")
UNSCALED_METRICS = ("WQL", "CRPS", "MAE", "coverage_80")  # for series without a season
HORIZON, SERIES = 1, 0
NO_LOSSES = (
    "sum_error", "PIT_", "coverage_", "reliability_", "width_", "mean_absolute_label", "sum_absolute_label", "sum_num_",
)  # fmt: skip


# Metrics of the median and of the mean, which minimize expected absolute and squared errors.
POINTS = {
    "median": ("MASE", "sMAPE", "MAPE", "MAE", "ND", "OWA", "sum_absolute_error"),
    "mean": ("MSE", "RMSE", "NRMSE", "RMSSE", "sum_error"),
}


def _ones(label: np.ndarray) -> np.ndarray:
    return np.ones(len(label))


@dataclass(frozen=True)
class JointScore:
    """A score of sample vectors, which measures joint distributions; averaged over vectors.

    Args:
        name: name of the metric.
        score: function of labels ``[B, D]`` and samples ``[B, D, N]`` that returns ``[B]``.
        over: the axis of a vector: HORIZON, the steps of a window, or SERIES, all series at one step. Samples over
            series must be drawn jointly: the n-th samples of all series belong together.
        weight: function of labels ``[B, D]`` that returns weights ``[B]``; the metric is the sum of the scores divided
            by the sum of the weights. Weights are 1 by default.
    """

    name: str
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    over: int
    weight: Callable[[np.ndarray], np.ndarray] = _ones

    def values(self, label: np.ndarray, samples: np.ndarray, axis: int | None) -> np.ndarray:
        """Scores of labels ``[S, H]`` and samples ``[S, H, N]`` for each vector, or their mean if axis is None."""
        if axis not in (None, self.over):
            raise ValueError(f"{self.name} is a score of whole vectors; use axis={self.over} or axis=None")
        if self.over == SERIES:
            label, samples = label.T, samples.swapaxes(0, 1)
        found, weight = self.score(label, samples), self.weight(label)
        seen = ~np.isnan(found)
        with np.errstate(divide="ignore", invalid="ignore"):
            return found / weight if axis is not None else np.asarray(found[seen].sum() / weight[seen].sum())


def _over_levels(make: Callable[[Sequence[float]], Any], levels: Sequence[float]) -> Any:
    if not levels:
        raise ValueError("a metric requires quantiles, named '0.1', '0.5' ...")
    return make(levels)


def _each_level(name: str, make: Callable[[float], Any], levels: Sequence[float]) -> dict[str, Any]:
    return _over_levels(lambda levels: {f"{name}_{level_name(level)}": make(level) for level in levels}, levels)


def _each_interval(make: Callable[[own.Interval], own.MeanOf], levels: Sequence[float]) -> dict[str, Any]:
    found = [make(interval) for interval in own.intervals(levels)]
    if not found:
        raise ValueError("a metric of central intervals requires two levels such as '0.1' and '0.9'")
    return {definition.name: definition for definition in found}


def _moments(make: Callable[..., own.MomentsOfPIT], levels: Sequence[float]) -> dict[str, Any]:
    transform = make(levels)
    return {"PIT_mean": transform.mean(), "PIT_variance": transform.variance()}


def _always(definition: Any) -> Callable[[Sequence[float]], Any]:
    return lambda levels: definition


PER_LEVEL: dict[str, Callable[[float], Any]] = {
    "pinball": own.pinball,
    "reliability": ev.Coverage,
    "sum_quantile_loss": ev.SumQuantileLoss,
    "mean_scaled_quantile_loss": ev.MeanScaledQuantileLoss,
    "weighted_sum_quantile_loss": ev.WeightedSumQuantileLoss,
}
PER_INTERVAL: dict[str, Callable[[own.Interval], own.MeanOf]] = {
    "coverage": own.Interval.coverage,
    "width": own.Interval.width,
    "interval_score": own.Interval.score,
}

METRICS: dict[str, Callable[[Sequence[float]], Any]] = {
    "WQL": partial(_over_levels, ev.MeanWeightedSumQuantileLoss),
    "QL": partial(_over_levels, own.mean_quantile_loss),
    "CRPS": partial(_over_levels, own.quantile_crps),
    "MASE": _always(ev.MASE()),
    "RMSSE": _always(own.rmsse),
    "sMAPE": _always(ev.SMAPE()),
    "MAPE": _always(ev.MAPE()),
    "MAE": _always(ev.MAE()),
    "MSE": _always(ev.MSE()),
    "RMSE": _always(ev.RMSE()),
    "NRMSE": _always(ev.NRMSE()),
    "ND": _always(ev.ND()),
    "OWA": _always(ev.OWA()),
    "MSIS": _always(ev.MSIS()),
    "MAE_coverage": partial(_over_levels, ev.MAECoverage),
    "mean_sum_quantile_loss": partial(_over_levels, ev.MeanSumQuantileLoss),
    "average_mean_scaled_quantile_loss": partial(_over_levels, ev.AverageMeanScaledQuantileLoss),
    "mean_absolute_label": _always(ev.MeanAbsoluteLabel()),
    "sum_absolute_label": _always(ev.SumAbsoluteLabel()),
    "sum_error": _always(ev.SumError()),
    "sum_absolute_error": _always(ev.SumAbsoluteError()),
    "sum_num_masked_target_values": _always(ev.SumNumMaskedTargetValues()),
    "PIT": partial(_over_levels, partial(_moments, own.quantile_pit)),
    "energy_score": _always(JointScore("energy_score", energy_score, HORIZON)),
    "energy_score_series": _always(JointScore("energy_score_series", energy_score, SERIES)),
    "CRPS_sum": _always(JointScore("CRPS_sum", sum_quantile_loss, SERIES, sum_size)),
    "variogram_score": _always(JointScore("variogram_score", variogram_score, HORIZON)),
    "variogram_score_series": _always(JointScore("variogram_score_series", variogram_score, SERIES)),
    **{name: partial(_each_interval, make) for name, make in PER_INTERVAL.items()},
    **{name: partial(_each_level, name, make) for name, make in PER_LEVEL.items()},
    **{
        f"{n}_{percent}": _always(m(own.Interval(percent / 100)))
        for n, m in PER_INTERVAL.items()
        for percent in PERCENTAGES
    },
    **{f"{n}_{level}": _always(m(level)) for n, m in PER_LEVEL.items() for level in NAMED_LEVELS},
}
"""Name -> function of the quantile levels that returns a GluonTS metric definition, a dict of them, or a JointScore."""

FROM_SAMPLES: dict[str, Callable[[Sequence[float]], Any]] = {
    "CRPS": lambda levels: own.sample_crps(),
    "PIT": partial(_moments, lambda levels: own.sample_pit()),
}
"""Replacements of the metrics of these names for forecasts with samples."""


class _Batch(dict[str, np.ndarray]):
    """Arrays by name as read by ``gluonts.ev``; quantile levels are compared as numbers."""

    def __missing__(self, name: str) -> np.ndarray:
        if name in ("seasonal_error", "squared_seasonal_error"):
            raise ValueError(
                f"{name}= is required by a metric that is scaled by the {name.replace('_', ' ')} of the history; "
                "irregular series have none, so choose other metrics for them"
            )
        if is_level(name) and level_name(float(name)) in self:
            return self[level_name(float(name))]
        if name == "naive_2":
            raise ValueError("OWA requires 'naive_2', the point forecast of the Naive 2 method")
        forecasts = sorted(self.keys() - {"label", "seasonal_error", "squared_seasonal_error", "crps", "pit"})
        fix = "forecast this quantile level" if is_level(name) else "add it"
        raise ValueError(f"a metric requires the forecast {name!r}, available are {forecasts}; {fix}")


def evaluate(
    label: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    seasonal_error: np.ndarray | None = None,
    metrics: Iterable[str | Any] = ("WQL", "MASE", "sMAPE"),
    axis: int | None = None,
    squared_seasonal_error: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Metrics of forecasts against labels.

    Args:
        label: ``[S, H]``, S series (or windows) of H steps; NaN is excluded from all metrics.
        forecasts: ``[S, H]`` by name: "mean" and quantile levels such as "0.1", "naive_2" for OWA; and "samples"
            ``[S, H, N]``.
        seasonal_error: ``[S]`` or ``[S, H]``. Rows with 0 or NaN are excluded from metrics that divide by it, and
            labels of 0 from MAPE; a UserWarning counts them.
        metrics: names in ``METRICS``, or GluonTS metric definitions.
        axis: None for one number over all, 0 for one per step, 1 for one per row.
        squared_seasonal_error: as ``seasonal_error``, for RMSSE.

    Returns:
        Arrays by metric of shape ``[]``, ``[H]`` or ``[S]``; NaN if no label is left. Metrics that divide by the sum of
        the labels are infinite if it is 0.

    Raises:
        ValueError: unknown metric or axis, missing level, different shapes, NaN in a forecast, or infinite label.
    """
    label = np.asarray(label, dtype=float)
    if axis not in (None, 0, 1):
        raise ValueError(f"axis={axis!r} must be None for all, 0 for each step, or 1 for each row")
    if label.ndim != 2 or np.isinf(label).any():
        raise ValueError(
            f"the label of shape {label.shape} must be [S, H], with finite numbers, or NaN if not observed"
        )
    samples = np.asarray(forecasts["samples"]) if "samples" in forecasts else None
    arrays = {name: _checked(name, values, label) for name, values in forecasts.items() if name != "samples"}
    arrays = {level_name(float(name)) if is_level(name) else name: array for name, array in arrays.items()}
    for name, scale in (("seasonal_error", seasonal_error), ("squared_seasonal_error", squared_seasonal_error)):
        if scale is not None:
            errors = np.asarray(scale, dtype=float)
            if errors.shape not in (label.shape, label.shape[:1]):
                raise ValueError(
                    f"{name} has shape {errors.shape}; for the label {label.shape} it must be [S] or [S, H]"
                )
            arrays[name] = np.broadcast_to(errors[:, None] if errors.ndim == 1 else errors, label.shape)
    if samples is not None:
        _check_samples(samples, label)
        arrays |= {"crps": crps(label, samples), "pit": pit(label, samples)}
    levels = sorted(float(name) for name in arrays if is_level(name))
    found = definitions(metrics, levels, samples is not None)
    rows = np.arange(len(label)).repeat(label.shape[1])
    warn_of_zeros(found, label.ravel(), {name: array.ravel() for name, array in arrays.items()}, rows, "rows")
    values = aggregate(label, arrays, found, axis)
    if samples is not None:
        values |= {name: metric.values(label, samples, axis) for name, metric in joint_scores(found).items()}
    return {name: values[name] for name in found}


def aggregate(
    label: np.ndarray, arrays: Mapping[str, np.ndarray], found: Mapping[str, Any], axis: int | None
) -> dict[str, np.ndarray]:
    """GluonTS metrics of labels and forecasts ``[S, H]``, over an axis or all; joint scores are ignored."""
    batch = _Batch({name: _aggregated_first(array, axis) for name, array in arrays.items()})
    batch["label"] = np.ma.masked_invalid(_aggregated_first(label, axis))
    pointwise = {name: metric for name, metric in found.items() if not isinstance(metric, JointScore)}
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: metric(axis=0).update(batch).get() for name, metric in pointwise.items()}
    values = {name: np.ma.filled(np.ma.asarray(value, dtype=float), np.nan) for name, value in values.items()}
    return {name: value[0] if axis is None else value for name, value in values.items()}


def metric_names(metrics: Any) -> tuple[Any, ...]:
    """Metrics as a tuple, of one name or GluonTS definition, or of several."""
    return tuple(metrics) if isinstance(metrics, Iterable) and not isinstance(metrics, str) else (metrics,)


def points_of(metrics: Iterable[Any]) -> dict[str, list[str]]:
    """The metrics that are errors of the median and of the mean of a forecast, among the given names."""
    names = list(map(str, metrics))
    return {point: [name for name in names if name in errors] for point, errors in POINTS.items()}


def definitions(metrics: Iterable[str | Any] | str, levels: Sequence[float], samples: bool = False) -> dict[str, Any]:
    """Metric definitions by name, for forecasts with the given levels, and with samples or without.

    Raises:
        ValueError: a name is unknown, with the list of names, or a joint score has no samples.
    """
    choices = {**METRICS, **FROM_SAMPLES} if samples else METRICS
    found: dict[str, Any] = {}
    for metric in metric_names(metrics):
        if not isinstance(metric, str):
            found[metric(axis=0).name] = metric
            continue
        if metric not in choices:
            names = [name for name in METRICS if not name[-1].isdigit()]
            raise ValueError(
                f"unknown metric {metric!r}; choose one of {', '.join(names)}, "
                "or a single level, as in 'coverage_80' and 'pinball_0.9'"
            )
        definition = choices[metric](levels)
        found |= definition if isinstance(definition, dict) else {metric: definition}
    for name in joint_scores(found):
        if not samples:
            raise ValueError(f"{name} requires sample paths; keep them with backtest(..., samples=True)")
    return found


def joint_scores(found: Mapping[str, Any]) -> dict[str, JointScore]:
    """The definitions that are scores of whole vectors."""
    return {name: metric for name, metric in found.items() if isinstance(metric, JointScore)}


def is_loss(metric: str) -> bool:
    """Whether a lower value of the metric is better."""
    return not metric.startswith(NO_LOSSES)


def _checked(name: str, values: np.ndarray, label: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.shape != label.shape:
        raise ValueError(f"forecast {name!r} has shape {array.shape}, but the label has {label.shape}")
    missing = np.isnan(array)
    if missing.any():
        row = int(np.argmax(missing.any(axis=1)))
        raise ValueError(f"forecast {name!r} has {missing.sum()} NaN of {array.size} values, the first in row {row}")
    return array


def _check_samples(samples: np.ndarray, label: np.ndarray) -> None:
    if samples.ndim != 3 or samples.shape[:2] != label.shape or not samples.shape[2]:
        raise ValueError(f"'samples' have shape {samples.shape}; for the label {label.shape} they must be [S, H, N]")
    if np.isnan(samples).any():
        raise ValueError(f"'samples' have {np.isnan(samples).sum()} NaN of {samples.size} values")


def _aggregated_first(array: np.ndarray, axis: int | None) -> np.ndarray:
    """The array with the axis to aggregate first, as GluonTS counts masked values correctly only there."""
    if axis is None:
        return array.reshape(-1, 1)
    return array if axis == 0 else array.T
