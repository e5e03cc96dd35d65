"""Comparison of models on the same windows: leaderboard, skill, ranks and significance tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from scipy.special import stdtr

from s5forecast.data.faults import warning_once
from s5forecast.data.frame_kinds import PANDAS, Frame, FrameKind, takes_frames, to_pandas
from s5forecast.data.missing_known import reported_once
from s5forecast.data.ray_data import RayData
from s5forecast.evaluation.adapters import frequency_of, on_error_of, span_of
from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.column_roles import check_data, is_long, roles_of_all
from s5forecast.evaluation.leaderboard import leaderboard
from s5forecast.evaluation.metrics import METRICS, SERIES, JointScore, is_loss, metric_names
from s5forecast.evaluation.ray_backtest import backtest_on_ray
from s5forecast.evaluation.result import KEYS, TIMES, WINDOW, Backtest, summary

# Losses over time of metrics that are ratios.
NUMERATORS = {"WQL": "QL", "ND": "MAE"}
USUAL_BASELINES = ("seasonal_naive", "naive", "last_value")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Backtests of several models on the same windows.

    Args:
        backtests: by name of the model.
        baseline: name of the model that skill is relative to.
        seed: seed of the bootstrap.

    Raises:
        ValueError: the baseline is unknown, or the backtests differ in windows, metrics or seasonal errors.
    """

    backtests: dict[str, Backtest]
    baseline: str
    seed: int = 0

    def __post_init__(self) -> None:
        _check_baseline(self.baseline, self.backtests)
        check_same_windows(self.backtests)
        first, *others = self.backtests.items()
        for name, other in others:
            if tuple(other.metric_names) != tuple(first[1].metric_names):
                raise ValueError(
                    f"{first[0]!r} and {name!r} have the metrics {first[1].metric_names} and {other.metric_names}; "
                    "use the same for both, as compare(..., metrics=...) does"
                )

    def __repr__(self) -> str:
        title = f"Comparison of {len(self.backtests)} models with the baseline {self.baseline!r}"
        return summary(title, self._first, leaderboard(self.backtests))

    def as_kind(self, kind: FrameKind) -> Comparison:
        """With the forecasts of all backtests in a kind of frame."""
        if kind is PANDAS:
            return self
        return replace(self, backtests={name: one.as_kind(kind) for name, one in self.backtests.items()})

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """Metrics, skill and average rank of each model, sorted by ``metric``.

        skill = 1 - metric of the model / metric of the baseline. The rank, starting at 1, is averaged over windows.

        Args:
            metric: metric of skill and rank; by default the first that is a loss.
        """
        chosen = self._metric(metric)
        table = leaderboard(self.backtests)
        table.insert(0, "rank", self._ranks(chosen).mean())
        table.insert(0, "skill", skill(table, self.baseline)[chosen])
        return table.sort_values([chosen, "rank"], kind="stable")

    def pairwise(self, metric: str | None = None, *, level: float = 0.95, resamples: int = 1000) -> pd.DataFrame:
        """Compare each pair of models by the losses of the windows.

        Wins are the share of windows with the lower loss; a tie counts half. The intervals of wins and of the mean
        difference are percentiles of a bootstrap over series (over windows, if there is one series). The
        Diebold-Mariano test (:func:`diebold_mariano`) uses the mean loss at each time over series and windows; WQL and
        ND enter without their denominators, which can be 0 at a time. The test is NaN for less than two windows that do
        not overlap, and for scores without a value for each time. Scores of
        vectors over series have a loss for each cutoff instead of each window. Windows and times without a finite loss,
        as the WQL if all values are 0, are excluded; a UserWarning counts them.

        Args:
            metric: metric to compare by; by default the first that is a loss.
            level: probability of the intervals.
            resamples: number of bootstrap samples.

        Returns:
            One row for each pair (model, other): wins, wins_lower, wins_upper, difference (mean loss of the model minus
            that of the other; negative is better), difference_lower, difference_upper, statistic, p_value.
        """
        if not 0 < level < 1 or resamples < 1:
            raise ValueError(f"{level=} must be in (0, 1), and {resamples=} at least 1")
        chosen = self._metric(metric)
        losses = self._losses(chosen)
        if losses.empty:
            raise ValueError(f"no window has a finite {chosen} of every model")
        resampled = _Bootstrap(losses.index, resamples, self.seed)
        tails = [50 * (1 - level), 50 * (1 + level)]
        paths = self._finite(NUMERATORS.get(chosen, chosen), "timestamp").sort_index()
        horizon = self._times_per_window(paths.index)
        rows = {}
        for model, other in permutations(self.backtests, 2):
            difference = (losses[model] - losses[other]).to_numpy()
            wins = (1 - np.sign(difference)) / 2
            row: dict[str, float] = {}
            for name, values in {"wins": wins, "difference": difference}.items():
                row[name] = values.mean()
                row[f"{name}_lower"], row[f"{name}_upper"] = np.percentile(resampled.means(values), tails)
            path = (paths[model] - paths[other]).to_numpy()
            row["statistic"], row["p_value"] = diebold_mariano(path, horizon)
            rows[model, other] = row
        return pd.DataFrame(list(rows.values()), pd.MultiIndex.from_tuples(list(rows), names=["model", "other"]))

    def _times_per_window(self, times: pd.Index) -> int:
        """The most of the sorted times within one window, over which losses are correlated."""
        ends = self._first.rows.groupby(WINDOW)["timestamp"].max()
        cutoffs = pd.Index(ends.index.get_level_values("cutoff"))
        counts = times.searchsorted(pd.Index(ends), "right") - times.searchsorted(cutoffs, "right")
        return max(1, int(counts.max()))

    def by_item(self, metric: str | None = None) -> pd.DataFrame:
        """A metric for each series (rows) and model (columns), and the best model."""
        chosen = self._metric(metric)
        if self._scores_series(chosen):
            raise ValueError(f"{chosen!r} has no value for each item_id; choose another metric")
        table = self._table(chosen, "item_id")
        best = table.dropna(how="all").idxmin(axis=1)
        columns = self._first.columns
        found = table.assign(best=best.reindex(table.index)).set_axis(self._first.given_items(table.index))
        return found.rename_axis(columns.item_id if columns else "item_id")

    def _losses(self, metric: str) -> pd.DataFrame:
        """A metric for each window (or cutoff, for scores over series) in rows and each model in columns."""
        return self._finite(metric, "cutoff" if self._scores_series(metric) else "window")

    def _ranks(self, metric: str) -> pd.DataFrame:
        return self._losses(metric).rank(axis=1)

    def _finite(self, metric: str, unit: str) -> pd.DataFrame:
        """The finite rows of ``_table``; a UserWarning counts other rows with observed values."""
        table = self._table(metric, unit)
        finite = np.isfinite(table.to_numpy()).all(axis=1)
        if not finite.all():
            forecasts = self._first.rows
            observed = forecasts.groupby(WINDOW if unit == "window" else unit)["target"].count() > 0
            lost = int((observed.reindex(table.index).to_numpy() & ~finite).sum())
            if lost:
                message = f"{lost} of {len(table)} {unit}s have no finite {metric} of every model and are left out"
                warnings.warn(f"{message}; QL and MAE are finite even if all values are 0", UserWarning, stacklevel=4)
        return table.loc[finite]

    def _table(self, metric: str, unit: str) -> pd.DataFrame:
        """A metric for each unit (rows) and model (columns); empty if it has no value for a unit."""
        found = {}
        for name, one in self.backtests.items():
            values = replace(one, metric_names=self._source(metric)).grouped(unit)
            found[name] = values[metric] if metric in values else pd.Series(dtype=float)
        return pd.DataFrame(found)

    def _scores_series(self, metric: str) -> bool:
        definition = METRICS[metric]([0.5]) if metric in METRICS and metric in self._source(metric) else None
        return isinstance(definition, JointScore) and definition.over == SERIES

    def _source(self, metric: str) -> tuple[Any, ...]:
        """The metric, or all metrics if it is a member of a family such as pinball_0.9."""
        names = self._first.metric_names
        return (metric,) if metric in names or metric in NUMERATORS.values() else tuple(names)

    @property
    def _first(self) -> Backtest:
        return next(iter(self.backtests.values()))

    @cached_property
    def _columns(self) -> list[str]:
        return [str(column) for column in self._first.metrics if column not in TIMES]

    def _metric(self, metric: str | None) -> str:
        scores = [column for column in self._columns if is_loss(column)]
        if metric is None and not scores:
            raise ValueError(f"none of {self._columns} can rank models; use compare(..., metrics=('WQL',))")
        names = self._first.metric_names
        if metric in METRICS and is_loss(metric) and metric not in [*scores, *names]:
            wanted = (*(name for name in names if isinstance(name, str)), metric)
            raise ValueError(
                f"{metric!r} was not computed; pass metrics={wanted} to compare, or to the backtests that it compares"
            )
        if metric is not None and metric not in scores:
            raise ValueError(f"{metric!r} cannot rank these models; choose one of {', '.join(scores)}")
        return metric or scores[0]


@takes_frames("data", on_disk=("data",), on_ray=("data",))
def compare(
    models: Mapping[str, Any],
    data: Iterable[DataEntry] | Frame,
    prediction_length: int | None = None,
    *,
    baseline: str | None = None,
    seed: int = 0,
    directory: str | Path | None = None,
    **arguments: Any,
) -> Comparison:
    """Backtest models on the same windows.

    Args:
        models: by name, any model that ``backtest`` accepts, or a finished ``Backtest``.
        data: a long frame, also on disk or in a Ray dataset, whose workers train nothing, or GluonTS entries.
        prediction_length: steps of a window; optional for irregular series.
        baseline: name of the model that skill is relative to; by default the first that is "seasonal_naive", otherwise
            "naive", "last_value" or, if there is none of these, the first model.
        seed: seed of the bootstrap.
        directory: folder that keeps finished origins, in a subfolder for each model.
        arguments: further arguments of ``backtest``: windows, step, since, refit, metrics, columns ... Metrics are by
            default those of the first finished ``Backtest``, column names those of the first ``S5Forecaster`` or
            finished ``Backtest`` with names of its own.

    Raises:
        ValueError: as ``backtest``, or if the windows differ.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from s5forecast.evaluation import compare
        >>> days = pd.date_range("2024-01-01", periods=60, freq="D")
        >>> df = pd.DataFrame({"timestamp": days, "target": np.arange(60.0)})
        >>> comparison = compare({"naive": "naive", "drift": "drift"}, df, 7, windows=2, metrics=("MASE",))
        >>> comparison.leaderboard()["MASE"].round(2).to_dict()
        {'drift': 0.0, 'naive': 4.0}
    """
    if not models:
        raise ValueError("models is empty; give at least one")
    if baseline is not None:
        _check_baseline(baseline, models)
    models = {name: to_pandas(model) for name, model in models.items()}
    if not isinstance(data, RayData):
        check_data(data)
        data = data if isinstance(data, pd.Series) or is_long(data) else list(data)
    ready = [model for model in models.values() if isinstance(model, Backtest)]
    metrics = arguments.pop("metrics", None)
    if metrics is None and ready:
        metrics = ready[0].metric_names
    if arguments.get("columns") is None:
        arguments["columns"] = roles_of_all(models)
    arguments["freq"] = frequency_of(arguments.get("freq"), models.values())
    arguments["on_error"] = arguments.get("on_error") or on_error_of(models.values())
    if arguments.get("horizon") is prediction_length is None:
        prediction_length, arguments["horizon"] = span_of(models.values())
    arguments |= {"prediction_length": prediction_length, "metrics": metrics}
    left = {name: model for name, model in models.items() if not isinstance(model, Backtest)}
    found: dict[str, Backtest] = {}
    with warning_once(), reported_once():
        if isinstance(data, RayData) and left:
            found = backtest_on_ray(backtest, left, data, {**arguments, "directory": directory})
        for name, model in models.items():
            if isinstance(model, Backtest):
                found[name] = replace(model, name=name, metric_names=metric_names(metrics))
            elif name not in found:
                folder = None if directory is None else Path(directory) / _folder_name(name)
                found[name] = backtest(model, data, name=name, directory=folder, **arguments)
    found = {name: found[name] for name in models}
    return Comparison(found, _default_baseline(models) if baseline is None else baseline, seed)


def _check_baseline(baseline: str, models: Iterable[str]) -> None:
    if baseline not in models:
        raise ValueError(f"baseline={baseline!r} is not among the models {list(models)}")


def _default_baseline(models: Mapping[str, Any]) -> str:
    """The first model that is, or is named as, one of the usual baselines; otherwise the first model."""
    sources = {name: model.name if isinstance(model, Backtest) else model for name, model in models.items()}
    usual = (
        name
        for wanted in USUAL_BASELINES
        for name, source in sources.items()
        if name == wanted or (isinstance(source, str) and source == wanted)
    )
    return next(usual, next(iter(models)))


def skill(metrics: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """1 - metric / metric of the baseline, for a table with a row per model; NaN if the baseline has 0."""
    return 1 - metrics / metrics.loc[baseline].replace(0, np.nan)


def diebold_mariano(difference: np.ndarray, horizon: int) -> tuple[float, float]:
    """Diebold-Mariano test of the hypothesis that loss differences ``[n]``, in the order of time, have mean zero.

        S = mean d / sqrt(v / n),   v = 1 / B sum_{j=1}^{B} w_j^2,   w_j = sqrt(2 / n) sum_t d_t cos(pi j (t - 1/2) / n)

    The long-run variance v averages the B = floor(n / h) - 1 slowest cosine transforms of the differences, which are
    correlated over the h steps of a forecast. S has Student's t distribution with B degrees of freedom, so that m
    windows of h steps count as m observations. With h = 1 this is the t-test.

    Share of true null hypotheses that are rejected at the level of 5 %, for 6 windows of 14 steps, from
    ``benchmarks/significance.py``:

    ================================================  ===========  ================  ============================
    estimate of the variance                          white noise  moving average,   random walk within
                                                                   order 13          each window
    ================================================  ===========  ================  ============================
    cosine transforms, t(5)                           4.9 %        8.0 %             6.5 %
    mean of each window, t(5)                         5.0 %        9.7 %             5.0 %
    Bartlett weights, corrected as in [2], t(83)      5.5 %        14.4 %            12.6 %
    equal weights, corrected as in [2], t(83)         11.2 %       12.6 %            12.6 %
    ================================================  ===========  ================  ============================

    Args:
        difference: loss differences d ``[n]``.
        horizon: steps h of a forecast.

    Returns:
        The statistic and its two-sided p-value; (0, 1) for equal losses, NaN for n < 2 h.

    References:
        [1] Comparing predictive accuracy (Diebold and Mariano, 1995).
        [2] Testing the equality of prediction mean squared errors (Harvey, Leybourne and Newbold, 1997).
        [3] HAR inference: recommendations for practice (Lazarus, Lewis, Stock and Watson, 2018): the variance.
        [4] Comparing predictive accuracy in small samples using fixed-smoothing asymptotics (Coroneo and Iacone,
        2020): Student's t for such variances in this test.
    """
    n = len(difference)
    transforms = n // horizon - 1
    if transforms < 1:
        return float("nan"), float("nan")
    if not difference.any():
        return 0.0, 1.0
    mean = difference.mean()
    times = np.arange(n) + 0.5
    waves = (np.cos(np.pi / n * j * times) @ (difference - mean) for j in range(1, transforms + 1))
    variance = 2 / n * sum(wave**2 for wave in waves) / transforms
    if variance <= np.finfo(float).eps * mean**2:  # a constant difference
        return float(np.copysign(np.inf, mean)), 0.0
    statistic = mean / np.sqrt(variance / n)
    return float(statistic), float(2 * stdtr(transforms, -abs(statistic)))


def _folder_name(name: Any) -> str:
    """A name with any characters as the name of a single folder."""
    return quote(str(name), safe="").replace(".", "%2E")


def check_same_windows(backtests: Mapping[str, Backtest]) -> None:
    """Raise ValueError, naming the first difference, unless series, windows, labels and seasonal errors are equal."""
    first, *others = backtests
    for other in others:
        differs = _difference(_keys(backtests[first]), _keys(backtests[other]))
        if differs:
            text = f"{first!r} and {other!r} were not backtested on the same series, windows and labels"
            raise ValueError(f"{text}: {differs}")


def _difference(one: pd.DataFrame, other: pd.DataFrame) -> str:
    if len(one) != len(other):
        return f"they have {len(one)} and {len(other)} rows"
    for column in one.columns.intersection(other.columns, sort=False):
        here, there = one[column], other[column]
        same = np.isclose(here, there, equal_nan=True) if here.dtype == there.dtype == float else here == there
        if not np.all(same):
            row = int(np.argmin(same))
            series = "" if column == "item_id" else f" of series {one['item_id'][row]!r}"
            return f"{column}{series} is {here[row]} and {there[row]}"
    return ""


def _keys(one: Backtest) -> pd.DataFrame:
    frame = one.rows[[*KEYS, "target"]].astype({"item_id": str, "target": float})
    for key in KEYS[1:]:
        if pd.api.types.is_datetime64_any_dtype(frame[key]):
            frame[key] = frame[key].dt.as_unit("ns")
    return frame.assign(**one.scales).sort_values(KEYS).reset_index(drop=True)


class _Bootstrap:
    """Bootstrap over the series of windows ``[W]``, or over the windows if there is only one series or none."""

    def __init__(self, windows: pd.Index, resamples: int, seed: int) -> None:
        several = "item_id" in windows.names
        codes, items = pd.factorize(windows.get_level_values("item_id") if several else np.zeros(len(windows)))
        self.units = codes if len(items) > 1 else np.arange(len(windows))
        number = self.units.max() + 1
        self.drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean of values ``[W]`` in each bootstrap sample."""
        return self.drawn @ np.bincount(self.units, values) / (self.drawn @ np.bincount(self.units))
