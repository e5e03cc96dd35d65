"""Backtests: a model forecasts the last windows of every series, each from what came before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry

from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.regular_sampling import read_frame, to_entries
from s5forecast.data.statics import StaticFeatures
from s5forecast.evaluation.metrics import evaluate
from s5forecast.evaluation.models import FRAME, as_model, name_of
from s5forecast.evaluation.result import METRIC_NAMES, WINDOW, Backtest
from s5forecast.evaluation.runs import Run, Store, digest
from s5forecast.evaluation.windows import Window, last_windows
from s5forecast.levels import DECILES, check_levels


def backtest(
    model: Any,
    data: Iterable[DataEntry] | pd.DataFrame,
    prediction_length: int,
    windows: int = 1,
    step: int | None = None,
    refit: bool | int = False,
    *,
    quantile_levels: Sequence[float] = DECILES,
    metrics: Sequence[Any] = METRIC_NAMES,
    season: int | None = None,
    name: str | None = None,
    freq: Frequency | str | None = None,
    columns: Columns | None = None,
    samples: bool = False,
    directory: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = False,
) -> Backtest:
    """Forecast the last windows of every series, each from its history alone, and compare with what happened.

    An origin is a window of every series: the first of each, the second ... A model that trains is fitted to what
    precedes the first origin in each series, and again as `refit` says. What a forecast is given ends with its
    history, but for the known dynamic features, which reach over the horizon.

    Arguments:
        model: an `S5Forecaster`, a GluonTS estimator or predictor, a frame of forecasts made elsewhere (item_id,
            timestamp, mean, quantiles, and cutoff where windows overlap), or a name in `BASELINES`. A predictor
            is used as it is: it must not have seen the windows.
        data: a long frame, or GluonTS entries, `target` `[T]`; the series may differ in length. An entry may hold its
            `timestamps` `[T]`, which the result then has.
        prediction_length: steps H of a window.
        windows: number of windows at the end of each series.
        step: steps from one window to the next, `prediction_length` by default.
        refit: True fits the model anew at every origin, a number k at every k-th; False only before the first.
        quantile_levels: levels to ask of the forecasts, in (0, 1).
        metrics: names in `METRICS`, or GluonTS metric definitions.
        season: steps of the differences that scale MASE and RMSSE; by default GluonTS's for the frequency (24 for
            hours, 12 for months, 1 for days and weeks).
        name: of the model; by default its class.
        freq: offset alias of the timestamps; found by itself in a frame. Without it each period of GluonTS entries
            is stamped by its start.
        columns: roles of the columns of a frame; by default those of an `S5Forecaster`, else the standard names.
        samples: whether to keep the sample paths, which CRPS and PIT are then computed from, and which the energy
            and variogram scores need.
        directory: folder where finished origins are kept, to go on from after an interruption; one for each backtest.
        n_jobs: parallel processes, over series and windows, or over fits; as joblib counts them.
        progress: whether a progress bar over the windows is shown.

    Raises:
        ValueError: a series is too short, a level or metric unknown, or a forecast does not fit its window.
    """
    step = prediction_length if step is None else step
    _check_numbers(prediction_length=prediction_length, windows=windows, step=step)
    if season is not None:
        _check_numbers(season=season)
    if not isinstance(refit, Integral) or refit < 0:
        raise ValueError(f"refit={refit}: give False, True, or every how many origins to fit anew")
    quantile_levels = [float(str(one)) if isinstance(one, np.floating) else one for one in quantile_levels]
    check_levels(quantile_levels)
    entries, frequency, frame = _read(data, freq, columns or roles_of(model))
    origins = last_windows(entries, prediction_length, windows, step)
    name = name_of(model) if name is None else name
    adapted = as_model(model, frame, columns or roles_of(model), frequency, prediction_length, bool(refit))
    asked = adapted.columns(quantile_levels)
    _check_metrics(metrics, asked, samples)
    adapted.check(origins, asked)
    run = Run(adapted, asked, samples, int(refit), n_jobs, progress, name)
    store = (
        None
        if directory is None
        else Store(
            directory,
            {
                "name": str(name),
                "model": name_of(model),
                "settings": adapted.settings(origins[0]),
                "data": digest(origins[-1]),
                "windows": [prediction_length, windows, step, int(refit)],
                "columns": asked,
                "samples": samples,
            },
        )
    )
    results = run.results(origins, store)
    cuts = [window for origin in origins for window in origin]
    values = (
        np.concatenate([result.values for result in results]).swapaxes(0, 1).reshape(-1, len(cuts) * prediction_length)
    )
    forecasts = _frame(cuts, frequency, values, asked)
    index = pd.MultiIndex.from_frame(forecasts[WINDOW].iloc[::prediction_length])
    result = Backtest(
        name,
        forecasts,
        pd.Series([window.seasonal_error(season) for window in cuts], index, name="seasonal_error"),
        tuple(metrics),
        sum(result.seconds for result in results),
        sum(result.fit_seconds for result in results) if adapted.trains else None,
        pd.Series([w.squared_seasonal_error(season) for w in cuts], index, name="squared_seasonal_error"),
    )
    return adapted.finished(result, origins[0])


def _check_numbers(**numbers: Any) -> None:
    for name, value in numbers.items():
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name}={value!r}: give a whole number, at least 1")


def _check_metrics(metrics: Sequence[Any], columns: Sequence[str], samples: bool) -> None:
    """Raise ValueError, before the work is done, for a metric that is unknown, or not to be had from the columns."""
    one = np.ones((1, 1))
    forecasts = dict.fromkeys(columns, one) | ({"samples": one[..., None]} if samples else {})
    evaluate(one, forecasts, one, metrics, None, one)


def roles_of(model: Any) -> Columns:
    """The roles that an `S5Forecaster` gives to columns; the standard names for other models."""
    names = {field: getattr(model, field, None) for field in ("target", "item_id", "timestamp")}
    named = {field: value for field, value in names.items() if isinstance(value, str)}
    if len(named) < 3:
        return Columns()
    return Columns(**named, known=tuple(model.known), static=tuple(model.static), other_targets=())


def _read(
    data: Iterable[DataEntry] | pd.DataFrame, freq: Frequency | str | None, columns: Columns
) -> tuple[Iterable[DataEntry], Frequency | None, FRAME | None]:
    if not isinstance(data, pd.DataFrame):
        return data, None if freq is None else Frequency.parse(freq), None
    series, frequency = read_frame(data, columns, "infer" if freq is None else freq)
    return to_entries(series, frequency, StaticFeatures.learn(series, columns)), frequency, (series, columns)


def _frame(cuts: list[Window], frequency: Frequency | None, values: np.ndarray, columns: list[str]) -> pd.DataFrame:
    """The long frame of windows, values of the columns `[columns, M]` and samples below."""
    frame = _keys(cuts, frequency).assign(**dict(zip(columns, values, strict=False)))
    paths = values[len(columns) :]
    names = [f"sample_{number}" for number in range(len(paths))]
    return pd.concat([frame, pd.DataFrame(paths.T, columns=names)], axis=1) if names else frame


def _keys(windows: list[Window], frequency: Frequency | None) -> pd.DataFrame:
    """The columns item_id, cutoff, timestamp and target of windows of equal length."""
    item_ids = np.array([window.item_id for window in windows], dtype=object)
    times = [window.timestamps(frequency) for window in windows]  # of 1 + H each
    length = len(times[0]) - 1
    return pd.DataFrame(
        {
            "item_id": np.repeat(item_ids, length),
            "cutoff": _joined([stamps[:1].repeat(length) for stamps in times]),
            "timestamp": _joined([stamps[1:] for stamps in times]),
            "target": np.concatenate([window.label for window in windows]),
        }
    )


def _joined(parts: list[pd.DatetimeIndex]) -> pd.Index:
    return parts[0].append(parts[1:])
