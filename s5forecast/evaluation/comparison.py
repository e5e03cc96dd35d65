"""Several models on the same windows: leaderboard, skill, ranks, and whether differences are more than luck."""

from __future__ import annotations

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
from scipy.stats import t as student_t

from s5forecast.evaluation.backtest import backtest, roles_of
from s5forecast.evaluation.result import WINDOW, Backtest

TIMES = ["fit_seconds", "predict_seconds"]
NO_LOSSES = (
    "sum_error", "PIT_", "coverage_", "reliability_", "width_", "mean_absolute_label", "sum_absolute_label", "sum_num_",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Comparison:
    """Backtests of several models on the same windows.

    Arguments:
        backtests: by model.
        baseline: the model that skill is measured against.
        seed: of the bootstrap.

    Raises:
        ValueError: the baseline is not among the models, or they were not backtested on the same windows.
    """

    backtests: dict[str, Backtest]
    baseline: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in self.backtests:
            raise ValueError(f"baseline={self.baseline!r} is not among the models {list(self.backtests)}")
        first, *others = self.backtests
        keys = _keys(self.backtests[first])
        for other in others:
            if not _keys(self.backtests[other]).equals(keys):
                raise ValueError(f"{first!r} and {other!r} were not backtested on the same series, windows and labels")

    def leaderboard(self, metric: str | None = None) -> pd.DataFrame:
        """Metrics of each model, its skill and its average rank; the best by `metric` first.

        skill = 1 - metric of the model / metric of the baseline; the rank, from 1 on, is averaged over windows.

        Arguments:
            metric: what skill and rank are taken of; by default the first that is a loss.
        """
        chosen = self._metric(metric)
        table = pd.concat([one.metrics.set_axis([name]) for name, one in self.backtests.items()]).rename_axis("model")
        table = table[[*table.columns.difference(TIMES, sort=False), *table.columns.intersection(TIMES)]]
        table.insert(0, "rank", self._ranks(chosen).mean())
        table.insert(0, "skill", skill(table, self.baseline)[chosen])
        return table.sort_values([chosen, "rank"], kind="stable")

    def pairwise(self, metric: str | None = None, *, level: float = 0.95, resamples: int = 1000) -> pd.DataFrame:
        """Each model against each other, by the losses of the windows.

        Wins are the share of windows with the lower loss, a tie half; their interval and that of the mean difference
        are percentiles of a bootstrap over series (over windows, of a single series). The Diebold-Mariano test takes
        the mean loss at each time, over series and windows; it is NaN for a score that has no value at a time.

        Returns:
            One row for each pair (model, other): wins, wins_lower, wins_upper, difference (mean loss of the model less
            that of the other, so that negative is better), difference_lower, difference_upper, statistic, p_value.
        """
        chosen = self._metric(metric)
        losses = self._losses(chosen).dropna()
        if losses.empty:
            raise ValueError(f"no window has a {chosen} of every model to compare")
        resampled = _Bootstrap(losses.index, resamples, self.seed)
        tails = [50 * (1 - level), 50 * (1 + level)]
        horizon = max(int(one.step.max()) for one in self.backtests.values())
        paths = {name: self._by(name, chosen, "timestamp") for name in self.backtests}
        rows = {}
        for model, other in permutations(self.backtests, 2):
            difference = (losses[model] - losses[other]).to_numpy()
            wins = (1 - np.sign(difference)) / 2
            row: dict[str, float] = {}
            for name, values in {"wins": wins, "difference": difference}.items():
                row[name] = values.mean()
                row[f"{name}_lower"], row[f"{name}_upper"] = np.percentile(resampled.means(values), tails)
            path = (paths[model] - paths[other]).dropna().sort_index().to_numpy()
            row["statistic"], row["p_value"] = diebold_mariano(path, horizon)
            rows[model, other] = row
        return pd.DataFrame(list(rows.values()), pd.MultiIndex.from_tuples(list(rows), names=["model", "other"]))

    def by_item(self, metric: str | None = None) -> pd.DataFrame:
        """A metric of each series (rows) and model (columns), and the best model."""
        chosen = self._metric(metric)
        table = pd.DataFrame({name: self._by(name, chosen, "item_id") for name in self.backtests})
        best = table.dropna(how="all").idxmin(axis=1)
        return table.assign(best=best.reindex(table.index))

    def _losses(self, metric: str) -> pd.DataFrame:
        """A metric of each window (rows) and model (columns)."""
        return pd.DataFrame({name: self._by(name, metric, "window") for name in self.backtests})

    def _ranks(self, metric: str) -> pd.DataFrame:
        return self._losses(metric).dropna().rank(axis=1)

    def _by(self, name: str, metric: str, column: str) -> pd.Series:
        found = replace(self.backtests[name], metric_names=self._source(metric)).by(column)
        if metric in found:
            return found[metric]
        if column != "timestamp":
            raise ValueError(f"{metric!r} has no value for each {column}; choose another metric")
        return pd.Series(dtype=float)

    def _source(self, metric: str) -> tuple[Any, ...]:
        """The metric as it was asked for; one of a family such as pinball_0.9 is in the metrics of all."""
        names = next(iter(self.backtests.values())).metric_names
        return (metric,) if metric in names else tuple(names)

    @cached_property
    def _columns(self) -> list[str]:
        first = next(iter(self.backtests.values()))
        return [str(column) for column in first.metrics if column not in TIMES]

    def _metric(self, metric: str | None) -> str:
        scores = [column for column in self._columns if not column.startswith(NO_LOSSES)]
        if metric is None and not scores:
            raise ValueError(f"none of {self._columns} can rank models; compare with metrics=('WQL',)")
        if metric is not None and metric not in scores:
            raise ValueError(f"{metric!r} does not rank these models; choose from {', '.join(scores)}")
        return metric or scores[0]


def compare(
    models: Mapping[str, Any],
    data: Iterable[DataEntry] | pd.DataFrame,
    prediction_length: int,
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
        arguments: as of `backtest`: windows, step, refit, metrics, columns ...

    Raises:
        ValueError: as `backtest`, or the windows differ.
    """
    if not models:
        raise ValueError("there is no model to compare")
    data = data if isinstance(data, pd.DataFrame) else list(data)
    with_roles = [roles_of(model) for model in models.values() if hasattr(model, "get_params")]
    arguments = {"columns": with_roles[0] if with_roles else None, **arguments}
    found = {}
    for name, model in models.items():
        if isinstance(model, Backtest):
            found[name] = replace(model, name=name)
            continue
        folder = None if directory is None else Path(directory) / _folder_name(name)
        found[name] = backtest(model, data, prediction_length, name=name, directory=folder, **arguments)
    usual = [name for name in ("seasonal_naive", "naive") if name in models]
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
    if variance <= 0:
        variance = covariance[0] + 2 * (1 - np.arange(1, h) / h) @ covariance[1:]
    if variance <= 0:  # a constant difference
        return float(np.copysign(np.inf, difference.mean())), 0.0
    correction = (n + 1 - 2 * h + h * (h - 1) / n) / n
    statistic = difference.mean() / np.sqrt(variance / n) * np.sqrt(correction)
    return float(statistic), float(2 * student_t.sf(abs(statistic), df=n - 1))


def _folder_name(name: Any) -> str:
    """A name of any characters as one folder, never the folder above."""
    return quote(str(name), safe="").replace(".", "%2E")


def _keys(one: Backtest) -> pd.DataFrame:
    keys = [*WINDOW, "timestamp"]
    frame = one.forecasts[[*keys, "target"]].astype({"item_id": str, "target": float})
    return frame.sort_values(keys).reset_index(drop=True)


class _Bootstrap:
    """Resamples of the series that windows `[W]` are of; of the windows, where there is a single series."""

    def __init__(self, windows: pd.Index, resamples: int, seed: int) -> None:
        codes, items = pd.factorize(windows.get_level_values("item_id"))
        self.units = codes if len(items) > 1 else np.arange(len(windows))
        number = self.units.max() + 1
        self.drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=resamples)

    def means(self, values: np.ndarray) -> np.ndarray:
        """Mean of values `[W]` in each resample."""
        return self.drawn @ np.bincount(self.units, values) / (self.drawn @ np.bincount(self.units))
