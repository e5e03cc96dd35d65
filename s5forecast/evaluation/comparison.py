"""Several models on the same windows: leaderboard, skill, ranks, and whether differences are more than luck."""

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

from s5forecast.evaluation.backtest import backtest, roles_of
from s5forecast.evaluation.leaderboard import leaderboard
from s5forecast.evaluation.metrics import METRICS, SERIES, JointScore, is_loss
from s5forecast.evaluation.result import KEYS, TIMES, WINDOW, Backtest

# What the test of losses over time takes of a ratio.
NUMERATORS = {"WQL": "QL", "ND": "MAE"}
USUAL_BASELINES = ("seasonal_naive", "naive", "last_value")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Backtests of several models on the same windows.

    Arguments:
        backtests: by model.
        baseline: the model that skill is measured against.
        seed: of the bootstrap.

    Raises:
        ValueError: the baseline is not among the models, or they were not backtested on the same windows, with the same
            metrics and seasonal errors.
    """

    backtests: dict[str, Backtest]
    baseline: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in self.backtests:
            raise ValueError(f"baseline={self.baseline!r} is not among the models {list(self.backtests)}")
        check_same_windows(self.backtests)
        first, *others = self.backtests.items()
        for name, other in others:
            if tuple(other.metric_names) != tuple(first[1].metric_names):
                raise ValueError(
                    f"{first[0]!r} and {name!r} have the metrics {first[1].metric_names} and {other.metric_names}: "
                    "give both the same, as compare(..., metrics=...) does"
                )

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """Metrics of each model, its skill and its average rank; the best by `metric` first.

        skill = 1 - metric of the model / metric of the baseline; the rank, from 1 on, is averaged over windows.

        Arguments:
            metric: what skill and rank are taken of; by default the first that is a loss.
        """
        chosen = self._metric(metric)
        table = leaderboard(self.backtests)
        table.insert(0, "rank", self._ranks(chosen).mean())
        table.insert(0, "skill", skill(table, self.baseline)[chosen])
        return table.sort_values([chosen, "rank"], kind="stable")

    def pairwise(self, metric: str | None = None, *, level: float = 0.95, resamples: int = 1000) -> pd.DataFrame:
        """Each model against each other, by the losses of the windows.

        Wins are the share of windows with the lower loss, a tie half; their interval and that of the mean difference
        are percentiles of a bootstrap over series (over windows, of a single series). The Diebold-Mariano test takes
        the mean loss at each time, over series and windows, that of the WQL and ND without their denominators, which
        may be 0 there; it is NaN for a score that has no value at a time. A score of vectors over series has a loss for
        each cutoff in place of each window. Windows and times without a finite loss, as the WQL where all values are
        0, are left out, with a UserWarning that counts them.

        Returns:
            One row for each pair (model, other): wins, wins_lower, wins_upper, difference (mean loss of the model less
            that of the other, so that negative is better), difference_lower, difference_upper, statistic, p_value.
        """
        if not 0 < level < 1 or resamples < 1:
            raise ValueError(f"{level=} is a share in (0, 1), {resamples=} a number of at least 1")
        chosen = self._metric(metric)
        losses = self._losses(chosen)
        if losses.empty:
            raise ValueError(f"no window has a {chosen} of every model to compare")
        resampled = _Bootstrap(losses.index, resamples, self.seed)
        tails = [50 * (1 - level), 50 * (1 + level)]
        horizon = max(int(one.step.max()) for one in self.backtests.values())
        paths = self._finite(NUMERATORS.get(chosen, chosen), "timestamp").sort_index()
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

    def by_item(self, metric: str | None = None) -> pd.DataFrame:
        """A metric of each series (rows) and model (columns), and the best model."""
        chosen = self._metric(metric)
        if self._scores_series(chosen):
            raise ValueError(f"{chosen!r} has no value for each item_id; choose another metric")
        table = self._table(chosen, "item_id")
        best = table.dropna(how="all").idxmin(axis=1)
        return table.assign(best=best.reindex(table.index))

    def _losses(self, metric: str) -> pd.DataFrame:
        """A metric of each window, of a score over series each cutoff, (rows) and model (columns)."""
        return self._finite(metric, "cutoff" if self._scores_series(metric) else "window")

    def _ranks(self, metric: str) -> pd.DataFrame:
        return self._losses(metric).rank(axis=1)

    def _finite(self, metric: str, unit: str) -> pd.DataFrame:
        """The rows of `_table` in which all is finite; a UserWarning counts others in which something was observed."""
        table = self._table(metric, unit)
        finite = np.isfinite(table.to_numpy()).all(axis=1)
        if not finite.all():
            forecasts = next(iter(self.backtests.values())).forecasts
            observed = forecasts.groupby(WINDOW if unit == "window" else unit)["target"].count() > 0
            lost = int((observed.reindex(table.index).to_numpy() & ~finite).sum())
            if lost:
                message = f"{lost} of {len(table)} {unit}s have no finite {metric} of every model and are left out"
                warnings.warn(f"{message}; QL and MAE are finite even where all is 0", UserWarning, stacklevel=4)
        return table.loc[finite]

    def _table(self, metric: str, unit: str) -> pd.DataFrame:
        """A metric of each unit (rows) and model (columns); without rows where it has none."""
        found = {}
        for name, one in self.backtests.items():
            values = replace(one, metric_names=self._source(metric)).by(unit)
            found[name] = values[metric] if metric in values else pd.Series(dtype=float)
        return pd.DataFrame(found)

    def _scores_series(self, metric: str) -> bool:
        definition = METRICS[metric]([0.5]) if metric in METRICS and metric in self._source(metric) else None
        return isinstance(definition, JointScore) and definition.over == SERIES

    def _source(self, metric: str) -> tuple[Any, ...]:
        """The metric as it was asked for; one of a family such as pinball_0.9 is in the metrics of all."""
        names = next(iter(self.backtests.values())).metric_names
        return (metric,) if metric in names or metric in NUMERATORS.values() else tuple(names)

    @cached_property
    def _columns(self) -> list[str]:
        first = next(iter(self.backtests.values()))
        return [str(column) for column in first.metrics if column not in TIMES]

    def _metric(self, metric: str | None) -> str:
        scores = [column for column in self._columns if is_loss(column)]
        if metric is None and not scores:
            raise ValueError(f"none of {self._columns} can rank models; compare with metrics=('WQL',)")
        if metric is not None and metric not in scores:
            raise ValueError(f"{metric!r} does not rank these models; choose from {', '.join(scores)}")
        return metric or scores[0]


def compare(
    models: Mapping[str, Any],
    data: Iterable[DataEntry] | pd.DataFrame,
    prediction_length: int | None = None,
    *,
    baseline: str | None = None,
    seed: int = 0,
    directory: str | Path | None = None,
    **arguments: Any,
) -> Comparison:
    """Backtest models on the same windows.

    Arguments:
        models: by name, whatever `backtest` takes, or a `Backtest` that is there already.
        data: a long frame, or GluonTS entries.
        prediction_length: steps of a window.
        baseline: the model that skill is measured against; by default "seasonal_naive" or "naive" where there is one,
            else the first.
        seed: of the bootstrap.
        directory: folder where finished origins are kept, a folder below it for each model.
        arguments: as of `backtest`: windows, step, refit, metrics, columns ... Metrics are by default those of the
            first `Backtest` that is there already.

    Raises:
        ValueError: as `backtest`, or the windows differ.
    """
    if not models:
        raise ValueError("there is no model to compare")
    data = data if isinstance(data, pd.DataFrame) else list(data)
    with_roles = [roles_of(model) for model in models.values() if hasattr(model, "get_params")]
    ready = [model for model in models.values() if isinstance(model, Backtest)]
    metrics = arguments.pop("metrics", None)
    if metrics is None and ready:
        metrics = ready[0].metric_names
    arguments = {"columns": with_roles[0] if with_roles else None, **arguments}
    found = {}
    for name, model in models.items():
        if isinstance(model, Backtest):
            found[name] = replace(model, name=name, metric_names=tuple(metrics))
            continue
        folder = None if directory is None else Path(directory) / _folder_name(name)
        found[name] = backtest(
            model, data, prediction_length, name=name, metrics=metrics, directory=folder, **arguments
        )
    usual = [name for name in USUAL_BASELINES if name in models]
    return Comparison(found, baseline or [*usual, *models][0], seed)


def skill(metrics: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """1 - metric / metric of the baseline, of a table with a row for each model; NaN where the baseline's is 0."""
    return 1 - metrics / metrics.loc[baseline].replace(0, np.nan)


def diebold_mariano(difference: np.ndarray, horizon: int) -> tuple[float, float]:
    """Statistic and two-sided p-value of the hypothesis that loss differences `[n]`, in order of time, have mean zero.

        S = mean d / sqrt((g_0 + 2 sum_{k < h} g_k) / n) sqrt((n + 1 - 2 h + h (h - 1) / n) / n)

    with the autocovariances g_k up to h - 1, over which forecasts h steps ahead are correlated, and Student's t with
    n - 1 degrees of freedom. A sum that is not positive is replaced by its Bartlett-weighted form. Equal losses give
    (0, 1), fewer than h + 1 of them NaN.

    References:
        Comparing predictive accuracy (Diebold and Mariano, 1995).
        Testing the equality of prediction mean squared errors (Harvey, Leybourne and Newbold, 1997).
    """
    n, h = len(difference), horizon
    if h >= n:
        return float("nan"), float("nan")
    if not difference.any():
        return 0.0, 1.0
    centred = difference - difference.mean()
    covariance = np.array([centred[k:] @ centred[: n - k] for k in range(h)]) / n
    variance = covariance[0] + 2 * covariance[1:].sum()
    least = np.finfo(float).eps * difference.mean() ** 2
    if variance <= least:
        variance = covariance[0] + 2 * (1 - np.arange(1, h) / h) @ covariance[1:]
    if variance <= least:  # a constant difference
        return float(np.copysign(np.inf, difference.mean())), 0.0
    correction = (n + 1 - 2 * h + h * (h - 1) / n) / n
    statistic = difference.mean() / np.sqrt(variance / n) * np.sqrt(correction)
    return float(statistic), float(2 * stdtr(n - 1, -abs(statistic)))


def _folder_name(name: Any) -> str:
    """A name of any characters as one folder, never the folder above."""
    return quote(str(name), safe="").replace(".", "%2E")


def check_same_windows(backtests: Mapping[str, Backtest]) -> None:
    """Raise ValueError, with the first difference, unless all have the same series, windows, labels and scales."""
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
    frame = one.forecasts[[*KEYS, "target"]].astype({"item_id": str, "target": float})
    for key in KEYS[1:]:
        if pd.api.types.is_datetime64_any_dtype(frame[key]):
            frame[key] = frame[key].dt.as_unit("ns")
    return frame.assign(**one.scales).sort_values(KEYS).reset_index(drop=True)


class _Bootstrap:
    """Resamples of the series that windows `[W]` are of; of the windows, where there is a single series or none."""

    def __init__(self, windows: pd.Index, resamples: int, seed: int) -> None:
        several = "item_id" in windows.names
        codes, items = pd.factorize(windows.get_level_values("item_id") if several else np.zeros(len(windows)))
        self.units = codes if len(items) > 1 else np.arange(len(windows))
        number = self.units.max() + 1
        self.drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean of values `[W]` in each resample."""
        return self.drawn @ np.bincount(self.units, values) / (self.drawn @ np.bincount(self.units))
