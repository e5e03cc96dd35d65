"""Backtests on a Ray dataset: the workers forecast the windows of parts of the series, and the results are joined."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import pandas as pd

from s5forecast.data.conversion import arrow_to_pandas
from s5forecast.data.faults import ON_ERROR, Skipped, valid_only, warn_of_skipped
from s5forecast.data.frames import Columns, without_series
from s5forecast.data.frequency import Frequency
from s5forecast.data.items import given_items, join_keys
from s5forecast.data.ray_data import RayData
from s5forecast.evaluation.adapters import frequency_of, is_forecaster, on_error_of
from s5forecast.evaluation.column_roles import as_columns, roles_of_all
from s5forecast.evaluation.result import Backtest

# Arguments of a backtest that are of one machine, with the values that they must have.
LOCAL = {"directory": None, "n_jobs": 1, "refit": False}
CUTS = ("since", "count", "fraction", "horizon", "variables")
RESULT = "result"


def backtest_on_ray(
    backtest: Callable[..., Backtest], models: Mapping[str, Any], data: RayData, arguments: Mapping[str, Any]
) -> dict[str, Backtest]:
    """Backtests of models by name, in which the workers train nothing.

    Args:
        backtest: function of a model and a frame.
        models: by name.
        data: histories, including the windows.
        arguments: further arguments of ``backtest``.

    Raises:
        ValueError: for models that the workers would train, arguments that are of one machine, irregular series, and a
            frequency or a season of integer times that would be inferred.
    """
    given = arguments.get("columns")
    columns = (roles_of_all(models) or Columns()) if given is None else as_columns(given)
    freq = _frequency(arguments.get("freq"), models, arguments.get("season"))
    on_error = arguments.get("on_error") or on_error_of(models.values())
    _check(models, arguments)
    sent = {name: _sent(model) for name, model in models.items()}
    each = {**arguments, "columns": columns, "freq": freq, "on_error": on_error, "progress": False}
    parts = data.map_parts(columns, BacktestWorker, backtest, sent, columns, each)
    results = [pickle.loads(row[RESULT]) for row in parts.iter_rows()]
    found = [backtests for backtests, _ in results if backtests]
    left_out = [skipped.frame(columns.item_id, columns.identity) for _, skipped in results if skipped.reasons]
    if not found:
        raise ValueError(left_out[0]["reason"].iloc[0] if left_out else "df has no rows")
    joined = {name: _joined([backtests[name] for backtests in found], left_out) for name in models}
    for skipped in (one.skipped for one in joined.values() if one.skipped is not None):
        keys = skipped.drop(columns="reason")
        warn_of_skipped(dict(zip(given_items(keys), skipped["reason"], strict=True)))
        break
    return joined


class BacktestWorker:
    """Backtests of the series of parts.

    Args:
        backtest: function of a model and a frame.
        models: by name.
        columns: roles of the columns.
        arguments: further arguments of ``backtest``.
    """

    def __init__(
        self, backtest: Callable[..., Backtest], models: Mapping[str, Any], columns: Columns, arguments: dict[str, Any]
    ) -> None:
        self.backtest, self.models, self.columns, self.arguments = backtest, models, columns, arguments
        for model in models.values():
            if hasattr(model, "detached") and hasattr(model, "predictor_"):
                model.to("auto")

    def __call__(self, number: int, rows: Any) -> Any:
        import pyarrow as pa

        frame, found = arrow_to_pandas(rows), None
        if ON_ERROR[self.arguments["on_error"]]:
            found = valid_only(self._results, frame, lambda rows, reasons: without_series(rows, reasons, self.columns))
        result = pickle.dumps(found or (self._results(frame), Skipped()))
        return pa.table({RESULT: pa.array([result], pa.large_binary())})

    def _results(self, frame: pd.DataFrame) -> dict[str, Backtest]:
        return {name: self.backtest(model, frame, name=name, **self.arguments) for name, model in self.models.items()}


def _check(models: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Raise ValueError for arguments and models that need more than the series of a part."""
    other = [name for name, value in LOCAL.items() if arguments.get(name, value) != value]
    if other:
        raise ValueError(f"{other[0]}= requires data on one machine; leave it out for a Ray dataset")
    if any(arguments.get(name) is not None for name in CUTS):
        raise ValueError(
            "backtests on a Ray dataset require regular series; write irregular ones with dataset.write_parquet(path), "
            "and pass the path"
        )
    for name, model in models.items():
        trained = hasattr(model, "predictor_") or getattr(model, "needs_no_training", False)
        if hasattr(model, "train") or (is_forecaster(model) and not trained):
            raise ValueError(
                f"the workers of a Ray dataset train nothing, and {name!r} is not trained; fit it first, on the data "
                "before the windows"
            )
        if getattr(model, "joint", False):
            raise ValueError(f"{name!r} forecasts all series together and takes data in memory; pass a frame")


def _frequency(freq: Any, models: Mapping[str, Any], season: int | None) -> Frequency:
    """The frequency that is given, or that of a forecaster.

    Raises:
        ValueError: if it, or the season of integer times, would be inferred from a part of the series.
    """
    forecasters = [model for model in models.values() if is_forecaster(model)]
    found = [frequency_of(freq, forecasters, season)]
    found += [model.sampling_.frequency for model in forecasters if hasattr(model, "sampling_")]
    found += [getattr(model, "freq", None) for model in forecasters]
    known = [one for one in found if one not in (None, "infer")]
    if not known:
        raise ValueError("the frequency cannot be inferred from a part of the series; pass freq=, such as 'D'")
    frequency = Frequency.parse(known[0])
    if frequency.integer and not frequency.has_season:
        raise ValueError("the season of integer times cannot be found in a part of the series; pass season=")
    return frequency


def _sent(model: Any) -> Any:
    """A model as it is sent to the workers, where a forecaster refuses to be trained."""
    if not is_forecaster(model):
        return model
    sent = model.detached() if hasattr(model, "detached") else copy(model)
    sent.only_unchanged = not getattr(model, "needs_no_training", False)
    return sent


def _joined(parts: Sequence[Backtest], left_out: Sequence[pd.DataFrame]) -> Backtest:
    """One backtest of the series of all parts."""
    first = parts[0]
    errors = {
        name: pd.concat([getattr(part, name) for part in parts])
        for name in ("seasonal_error", "squared_seasonal_error")
        if getattr(first, name) is not None
    }
    skipped = [*left_out, *(part.skipped for part in parts if part.skipped is not None and len(part.skipped))]
    return replace(
        first,
        forecasts=pd.concat([part.forecasts for part in parts], ignore_index=True),
        seconds=sum(part.seconds or 0.0 for part in parts),
        skipped=join_keys(*skipped).reset_index(drop=True) if skipped else first.skipped,
        **errors,
    )
