"""Metrics by name, computed by `gluonts.ev` from plain arrays.

With y the label, m the median forecast, e the seasonal error of the history, and y_q the forecast of level q:

    QL           mean over q and y of  2 (y - y_q) (q - [y < y_q])
    WQL          mean over q of  sum 2 (y - y_q) (q - [y < y_q]) / sum |y|
    MASE         mean |y - m| / e
    sMAPE        mean 2 |y - m| / (|y| + |m|)
    MAE, ND      mean |y - m|,  sum |y - m| / sum |y|
    MSE, RMSE    mean (y - mean forecast)^2, and its root
    MSIS         mean [u - l + 40 (l - y)^+ + 40 (y - u)^+] / e, with l, u the levels 0.025 and 0.975
    coverage_80  share of y between the levels 0.1 and 0.9; other percentages likewise

References:
    Another look at measures of forecast accuracy (Hyndman and Koehler, 2006): MASE.
    Strictly proper scoring rules, prediction, and estimation (Gneiting and Raftery, 2007): interval score.
    The M4 competition: 100,000 time series and 61 forecasting methods (Makridakis et al., 2020): sMAPE, MSIS.
    Probabilistic forecasting with spline quantile function RNNs (Gasthaus et al., 2019): WQL.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from gluonts.ev import metrics as ev
from gluonts.ev.aggregations import Mean
from gluonts.ev.stats import quantile_loss
from gluonts.ev.ts_stats import seasonal_error as gluonts_seasonal_error
from gluonts.time_feature.seasonality import get_seasonality

from s5forecast.levels import level_name


@dataclass
class CentralCoverage(ev.BaseMetricDefinition):
    """Share of labels inside the central interval that holds `share` of the forecast distribution.

    coverage = mean [ y_{(1 - share) / 2} <= y <= y_{(1 + share) / 2} ]
    """

    share: float

    def __call__(self, axis: int | None = None) -> ev.DirectMetric:
        """The GluonTS metric that aggregates over `axis`."""
        lower, upper = level_name((1 - self.share) / 2), level_name((1 + self.share) / 2)

        def inside(data: Mapping[str, np.ndarray]) -> np.ndarray:
            return ((data[lower] <= data["label"]) & (data["label"] <= data[upper])).astype(float)

        return ev.DirectMetric(f"coverage_{100 * self.share:g}", inside, Mean(axis=axis))


@dataclass
class MeanQuantileLoss(ev.BaseMetricDefinition):
    """Quantile loss, mean over levels and labels, in the unit of the labels.

    QL = mean_{q, y}  2 (y - y_q) (q - [y < y_q]), close to the CRPS when the levels are many and even.
    """

    levels: Sequence[float]

    def __call__(self, axis: int | None = None) -> ev.DirectMetric:
        """The GluonTS metric that aggregates over `axis`."""

        def loss(data: Mapping[str, np.ndarray]) -> np.ndarray:
            return sum(quantile_loss(data, level) for level in self.levels) / len(self.levels)

        return ev.DirectMetric("QL", loss, Mean(axis=axis))


def _over_levels(metric: Callable[[Sequence[float]], Any], levels: Sequence[float]) -> Any:
    if not levels:
        raise ValueError("a metric needs forecasts of quantile levels, named '0.1', '0.5' ...")
    return metric(levels)


def _coverage(percent: int, levels: Sequence[float]) -> CentralCoverage:
    return CentralCoverage(percent / 100)


METRICS: dict[str, Callable[[Sequence[float]], Any]] = {
    "WQL": partial(_over_levels, ev.MeanWeightedSumQuantileLoss),
    "QL": partial(_over_levels, MeanQuantileLoss),
    "MASE": lambda levels: ev.MASE(),
    "sMAPE": lambda levels: ev.SMAPE(),
    "MAE": lambda levels: ev.MAE(),
    "MSE": lambda levels: ev.MSE(),
    "RMSE": lambda levels: ev.RMSE(),
    "ND": lambda levels: ev.ND(),
    "MSIS": lambda levels: ev.MSIS(),
    **{f"coverage_{percent}": partial(_coverage, percent) for percent in (20, 40, 50, 60, 80, 90, 95, 98, 99)},
}
"""Name -> function of the quantile levels that gives a GluonTS metric definition."""


class _Batch(dict[str, np.ndarray]):
    """What `gluonts.ev` reads: arrays by name, quantile levels compared as numbers."""

    def __missing__(self, name: str) -> np.ndarray:
        if name == "seasonal_error":
            raise ValueError("a metric divides by the seasonal error of the history: give seasonal_error=...")
        if is_level(name) and level_name(float(name)) in self:
            return self[level_name(float(name))]
        forecasts = sorted(self.keys() - {"label", "seasonal_error"})
        raise ValueError(f"a metric needs the forecast {name!r} beside {forecasts}: ask for this quantile level")


def evaluate(
    label: np.ndarray,
    forecasts: Mapping[str, np.ndarray],
    seasonal_error: np.ndarray | None = None,
    metrics: Iterable[str | Any] = ("WQL", "MASE", "sMAPE"),
    axis: int | None = None,
) -> dict[str, np.ndarray]:
    """Metrics of forecasts against labels.

    Arguments:
        label: `[S, H]`, S series (or windows) of H steps; NaN is left out of every metric.
        forecasts: `[S, H]` by name: "mean" and quantile levels such as "0.1".
        seasonal_error: `[S]` or `[S, H]`; rows with 0 or NaN are left out of the metrics that divide by it.
        metrics: names in `METRICS`, or GluonTS metric definitions.
        axis: None for one number over all, 0 for one per step, 1 for one per row.

    Returns:
        Arrays by metric of shape `[]`, `[H]` or `[S]`; NaN where nothing was observed.

    Raises:
        ValueError: unknown metric, missing level, shapes that differ, NaN in a forecast.
    """
    label = np.asarray(label, dtype=float)
    arrays = {name: _checked(name, values, label) for name, values in forecasts.items()}
    arrays = {level_name(float(name)) if is_level(name) else name: array for name, array in arrays.items()}
    if seasonal_error is not None:
        errors = np.asarray(seasonal_error, dtype=float)
        arrays["seasonal_error"] = np.broadcast_to(errors[:, None] if errors.ndim == 1 else errors, label.shape)
    arrays["label"] = label
    batch = _Batch({name: _aggregated_first(array, axis) for name, array in arrays.items()})
    batch["label"] = np.ma.masked_invalid(batch["label"])
    levels = sorted(float(name) for name in forecasts if is_level(name))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {n: m(axis=0).update(batch).get() for n, m in definitions(metrics, levels).items()}
    return {name: value[0] if axis is None else value for name, value in values.items()}


def definitions(metrics: Iterable[str | Any], levels: Sequence[float]) -> dict[str, Any]:
    """GluonTS metric definitions by name; raises ValueError listing the names for an unknown one."""
    if isinstance(metrics, str):
        raise ValueError(f"metrics is a sequence of names: metrics=({metrics!r},)")
    found = {}
    for metric in metrics:
        if not isinstance(metric, str):
            found[metric(axis=0).name] = metric
        elif metric in METRICS:
            found[metric] = METRICS[metric](levels)
        else:
            raise ValueError(f"unknown metric {metric!r}; choose from {', '.join(METRICS)}")
    return found


def seasonal_error(history: np.ndarray, season: int) -> float:
    """Mean |y_t - y_{t - season}| over the observed pairs of a history `[T]`, as GluonTS computes it.

    A history shorter than a season is differenced by one step; NaN where there is no observed pair.
    """
    values = np.ma.masked_invalid(np.asarray(history, dtype=float))
    if len(values) in (0, 1, season):
        return float("nan")
    return float(np.ma.filled(gluonts_seasonal_error(values, seasonality=season), np.nan).item())


@lru_cache
def default_season(freq: str) -> int:
    """Season by which GluonTS scales MASE, of a Period's frequency: h 24, min 1440, M 12, Q 4, D and W 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GluonTS turns Period spellings into offsets
        return int(get_seasonality(freq))


def quantile_columns(frame: pd.DataFrame) -> dict[float, Any]:
    """Columns of a frame that are named by a level in (0, 1), such as "0.1", by level in ascending order."""
    return dict(sorted((float(column), column) for column in frame.columns if is_level(column)))


def is_level(name: Any) -> bool:
    """Whether a name spells a number in (0, 1)."""
    try:
        return 0 < float(name) < 1
    except (TypeError, ValueError):
        return False


def _checked(name: str, values: np.ndarray, label: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.shape != label.shape:
        raise ValueError(f"forecast {name!r} has shape {array.shape}, the label {label.shape}")
    missing = np.isnan(array)
    if missing.any():
        row = int(np.argmax(missing.any(axis=1)))
        raise ValueError(f"forecast {name!r} has {missing.sum()} NaN of {array.size} values, the first in row {row}")
    return array


def _aggregated_first(array: np.ndarray, axis: int | None) -> np.ndarray:
    """The axis to aggregate moved to the front; only there GluonTS counts masked values right."""
    if axis is None:
        return array.reshape(-1, 1)
    return array if axis == 0 else array.T
