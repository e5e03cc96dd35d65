"""Backtests of an S5Forecaster, for each kind of sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from s5forecast.data.covariates import known_fields
from s5forecast.data.items import join_keys
from s5forecast.data.missing_known import named_by_columns
from s5forecast.data.ray_data import RayData
from s5forecast.data.sampling import Sampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.item_columns import item_keys, with_item_columns
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.splitters import IrregularSplitter
from s5forecast.fitted_forecaster import FittedForecaster

CUTS = ("since", "count", "fraction")


def backtest_forecaster(
    forecaster: FittedForecaster, sampling: Sampling, df: pd.DataFrame, **arguments: Any
) -> Backtest:
    """Run :meth:`S5Forecaster.backtest` with the function for the kind of sampling."""
    levels = forecaster.forecast_levels(None)
    return BACKTESTS[sampling.kind](forecaster, sampling, df, quantile_levels=levels, **arguments)


def _backtest_regular(forecaster: FittedForecaster, sampling: Sampling, df: pd.DataFrame, **arguments: Any) -> Backtest:
    if any(arguments[name] is not None for name in CUTS):
        raise ValueError("since=, count= and fraction= require irregular series; pass windows= for regular ones")
    given = {"freq": forecaster.freq, "on_error": forecaster.on_error, **arguments}
    return backtest(forecaster, df, forecaster.prediction_length, **given)


def _backtest_irregular(
    forecaster: FittedForecaster, sampling: Sampling, df: pd.DataFrame, **arguments: Any
) -> Backtest:
    """Use the forecaster unchanged if its training data end before the first cut, otherwise fit a new estimator."""
    from s5forecast.forecaster_training import untrained_estimator

    if (arguments["refit"], arguments["directory"]) != (False, None):
        raise ValueError(
            "refit= and directory= require regular series; cut irregular ones by since=, count= or fraction="
        )
    if isinstance(df, RayData):
        raise ValueError(
            "backtests on a Ray dataset require regular series; write irregular ones with dataset.write_parquet(path), "
            "and pass the path"
        )
    with forecaster.skipping():
        series, until = forecaster.read(sampling.read, df), getattr(forecaster, "trained_until_", None)
    statics = StaticFeatures.learn(series, sampling.columns) if until is None else forecaster.statics_
    entries, length = sampling.entries(series, statics), forecaster.prediction_length
    cuts = {**{name: arguments[name] for name in CUTS}, "horizon": forecaster.horizon}
    first, *_ = IrregularSplitter(prediction_length=length, **cuts).split(entries)
    seen = until is None or not until < min(window.timestamps(None)[1] for window in first)
    model = untrained_estimator(forecaster, sampling, series, statics) if seen else forecaster.predictor_
    with named_by_columns(known_fields(statics.known)):
        result = backtest(
            model,
            entries,
            length,
            horizon=forecaster.horizon,
            variables=sampling.columns.targets,
            columns=sampling.columns,
            name="S5Forecaster",
            on_error=forecaster.on_error,
            **arguments,
        )
    forecasts = with_item_columns(result.rows, series, sampling.columns.targets)
    if result.skipped is not None and len(result.skipped):
        uncut = item_keys(result.skipped[sampling.columns.item_id].tolist(), series).reset_index(drop=True)
        uncut = uncut.assign(reason=result.skipped["reason"])
        forecaster.skipped_ = join_keys(forecaster.skipped_, uncut) if len(forecaster.skipped_) else uncut
        forecaster.skipped_ = forecaster.skipped_.reset_index(drop=True)
    return replace(result, forecasts=forecasts, skipped=getattr(forecaster, "skipped_", None))


BACKTESTS: dict[str, Callable[..., Backtest]] = {"regular": _backtest_regular, "irregular": _backtest_irregular}
