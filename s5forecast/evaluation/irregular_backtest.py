"""Backtests of irregular series: cut at one or more moments, forecast at the times of what followed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.choices import choose
from s5forecast.evaluation.irregular import IrregularSplit, split_irregular
from s5forecast.evaluation.irregular_baselines import IRREGULAR_BASELINES
from s5forecast.evaluation.models import name_of
from s5forecast.evaluation.result import Backtest
from s5forecast.levels import DECILES, check_levels, level_name

IRREGULAR_METRICS = ("WQL", "CRPS", "MAE", "coverage_80")


def backtest_irregular(
    model: Any,
    data: Iterable[dict[str, Any]],
    horizon: Any = None,
    prediction_length: int | None = None,
    *,
    since: Any = None,
    count: int | None = None,
    fraction: float | None = None,
    quantile_levels: Sequence[float] = DECILES,
    metrics: Sequence[Any] = IRREGULAR_METRICS,
    variables: Sequence[str] | None = None,
    name: str | None = None,
) -> Backtest:
    """Forecast what follows the cut of each series, at its own times, and compare.

    A model that trains is trained once, on what comes before the first cut. Of several variables each is a series of
    its own in the result, ``"<item>:<variable>"``.

    Arguments:
        model: an estimator of irregular series such as :class:`~s5forecast.S5ContinuousEstimator`, a predictor with
            ``predict_quantiles(entries, levels)``, which must not have seen what is forecast, or a key of
            ``IRREGULAR_BASELINES``.
        data: entries with ``time [n]`` and ``target``, ``[n]`` or ``[D, n]``.
        horizon, prediction_length, count, fraction: as of :func:`split_irregular`.
        since: the moment of the cut; or several, each of which is a window of every series.
        quantile_levels: to ask of the forecasts, in (0, 1).
        metrics: names in ``METRICS``; those that are scaled by a season are not to be had.
        variables: names of the D variables; their numbers when not given.
        name: of the model; by default its class.

    Raises:
        ValueError: as :func:`split_irregular`.
    """
    check_levels(list(quantile_levels))
    splits = irregular_splits(data, horizon, prediction_length, since=since, count=count, fraction=fraction)
    name = name_of(model) if name is None else name
    began = perf_counter()
    given = choose(IRREGULAR_BASELINES, model, "baseline")() if isinstance(model, str) else model
    trains = hasattr(given, "train")
    predictor = given.train(splits[0].training) if trains else given
    fitted = perf_counter()
    forecasts = pd.concat([_judged(predictor, split, quantile_levels, variables) for split in splits])
    return Backtest(
        name,
        forecasts.drop_duplicates(["item_id", "cutoff", "timestamp"], ignore_index=True),
        metric_names=tuple(metrics),
        seconds=perf_counter() - fitted,
        fit_seconds=fitted - began if trains else None,
    )


def irregular_splits(
    data: Iterable[dict[str, Any]],
    horizon: Any = None,
    prediction_length: int | None = None,
    *,
    since: Any = None,
    count: int | None = None,
    fraction: float | None = None,
) -> list[IrregularSplit]:
    """The splits at one moment or several, the earliest first; arguments as of :func:`backtest_irregular`.

    Raises:
        ValueError: as :func:`split_irregular`.
    """
    entries = [_named(entry, position) for position, entry in enumerate(data)]
    several = isinstance(since, list | tuple | pd.Index | np.ndarray)
    return [
        split_irregular(entries, horizon, prediction_length, since=moment, count=count, fraction=fraction)
        for moment in (sorted(since) if several else [since])
    ]


def _named(entry: dict[str, Any], position: int) -> dict[str, Any]:
    """An entry with a name, so that its windows are known to be of one series."""
    return entry if entry.get("item_id") is not None else {**entry, "item_id": position}


def _judged(
    predictor: Any, split: IrregularSplit, levels: Sequence[float], variables: Sequence[str] | None
) -> pd.DataFrame:
    """Forecasts and labels of all series of a split, as a long frame."""
    mean, quantiles = predictor.predict_quantiles(split.input, list(levels))
    parts = zip(split.input, split.label, *(np.split(x, len(split.input)) for x in (mean, quantiles)), strict=True)
    return pd.concat(
        [_frame(entry, label, mean, quantiles, levels, variables) for entry, label, mean, quantiles in parts]
    )


def _frame(
    entry: dict[str, Any],
    label: dict[str, Any],
    mean: np.ndarray,
    quantiles: np.ndarray,
    levels: Sequence[float],
    variables: Sequence[str] | None,
) -> pd.DataFrame:
    """One series, without what only pads it."""
    times, target = pd.Index(entry["query_time"]), np.atleast_2d(label["target"])
    own = ~times.duplicated()
    item, frames = entry["item_id"], []
    for position, variable in enumerate(variables or range(len(target))):
        frames.append(
            pd.DataFrame(
                {
                    "item_id": item if len(target) == 1 else f"{item}:{variable}",
                    "cutoff": pd.Index(entry["time"])[-1],
                    "timestamp": times[own],
                    "target": target[position, own],
                    "mean": mean[own, position],
                    **{level_name(q): quantiles[own, position, i] for i, q in enumerate(levels)},
                }
            )
        )
    return pd.concat(frames)
