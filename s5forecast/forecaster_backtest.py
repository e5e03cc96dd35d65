"""Backtests of an S5Forecaster, of each kind of sampling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from s5forecast.data.sampling import Sampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.irregular_backtest import backtest_irregular, irregular_splits
from s5forecast.evaluation.result import Backtest
from s5forecast.fitted_forecaster import FittedForecaster


def backtest_forecaster(
    forecaster: FittedForecaster, sampling: Sampling, df: pd.DataFrame, metrics: Any, **arguments: Any
) -> Backtest:
    """As :meth:`S5Forecaster.backtest`, by the function for the kind of sampling."""
    chosen = {} if metrics is None else {"metrics": metrics}
    return BACKTESTS[sampling.kind](forecaster, sampling, df, chosen, **arguments)


def _backtest_regular(
    forecaster: FittedForecaster,
    sampling: Sampling,
    df: pd.DataFrame,
    chosen: dict[str, Any],
    since: Any,
    count: int | None,
    fraction: float | None,
    **arguments: Any,
) -> Backtest:
    if not (since is count is fraction is None):
        raise ValueError("since=, count= and fraction= require irregular series; give windows= for regular ones")
    levels, H = list(forecaster.quantile_levels), forecaster.prediction_length
    assert H is not None, "checked with the parameters"
    return backtest(forecaster, df, H, quantile_levels=levels, freq=forecaster.freq, **chosen, **arguments)


def _backtest_irregular(
    forecaster: FittedForecaster,
    sampling: Sampling,
    df: pd.DataFrame,
    chosen: dict[str, Any],
    windows: int,
    step: int | None,
    season: int | None,
    refit: bool | int,
    directory: str | Path | None,
    n_jobs: int,
    progress: bool,
    **cuts: Any,
) -> Backtest:
    from s5forecast.forecaster_training import make_estimator

    if (windows, step, season, refit, directory) != (1, None, None, False, None):
        raise ValueError(
            "windows=, step=, season=, refit= and directory= require regular series; cut irregular ones by since=, "
            "count= or fraction="
        )
    series, until = sampling.read(df), getattr(forecaster, "trained_until_", None)
    statics = StaticFeatures.learn(series, sampling.columns) if until is None else forecaster.statics_
    entries = sampling.entries(series, statics)
    cuts |= {"horizon": forecaster.horizon, "prediction_length": forecaster.prediction_length}
    first = irregular_splits(entries, **cuts)[0]
    seen = until is None or not until < min(entry["query_time"][0] for entry in first.input)
    return backtest_irregular(
        make_estimator(forecaster, sampling, series, statics) if seen else forecaster.predictor_,
        entries,
        **cuts,
        **chosen,
        quantile_levels=list(forecaster.quantile_levels),
        variables=sampling.columns.targets,
        name="S5Forecaster",
    )


BACKTESTS: dict[str, Callable[..., Backtest]] = {"regular": _backtest_regular, "irregular": _backtest_irregular}
