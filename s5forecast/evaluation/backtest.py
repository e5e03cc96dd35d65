"""Backtests: a model forecasts past windows of every series, each from the data before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry

from s5forecast.choices import choose
from s5forecast.data.covariates import known_fields
from s5forecast.data.faults import ON_ERROR, Skipped, warn_of_skipped, without_faults
from s5forecast.data.frame_kinds import Frame, takes_frames
from s5forecast.data.frames import Columns, series_name, without_series
from s5forecast.data.frequency import Frequency
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.missing_known import named_by_columns, reported_once
from s5forecast.data.ray_data import RayData
from s5forecast.data.regular_frames import read_frame
from s5forecast.data.regular_sampling import to_entries
from s5forecast.data.seasons import SEASON_FIELD
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import FrameSeries
from s5forecast.evaluation.adapters import (
    frequency_of,
    irregular_model,
    name_of,
    on_error_of,
    regular_model,
    span_of,
)
from s5forecast.evaluation.column_roles import as_columns, check_columns, frame_of_series, is_long, roles_of
from s5forecast.evaluation.item_columns import item_keys, with_item_columns
from s5forecast.evaluation.metrics import evaluate, metric_names
from s5forecast.evaluation.models import Model
from s5forecast.evaluation.ray_backtest import backtest_on_ray
from s5forecast.evaluation.result import KEYS, WINDOW, Backtest
from s5forecast.evaluation.runs import Run, Store, describe
from s5forecast.evaluation.splitters import (
    IrregularSplitter,
    RegularSplitter,
    WindowSplitter,
    check_positive_integer,
)
from s5forecast.evaluation.windows import Window
from s5forecast.levels import DECILES, check_levels


@takes_frames("data", "model", on_disk=("data",), on_ray=("data",))
def backtest(
    model: Any,
    data: Iterable[DataEntry] | Frame,
    prediction_length: int | None = None,
    *,
    windows: int = 1,
    step: int | None = None,
    since: Any = None,
    count: int | None = None,
    fraction: float | None = None,
    horizon: Any = None,
    refit: bool | int = False,
    quantile_levels: Sequence[float] = DECILES,
    metrics: Any = None,
    season: int | None = None,
    name: str | None = None,
    freq: Frequency | str | int | None = None,
    columns: Mapping[str, Any] | Columns | None = None,
    variables: Sequence[str] | None = None,
    samples: bool = False,
    directory: str | Path | None = None,
    n_jobs: int = 1,
    progress: bool = False,
    on_error: str | None = None,
) -> Backtest:
    """Forecast past windows of every series, each from its history alone, and compare with the observed values.

    Regular series are cut by ``prediction_length``, ``windows`` and ``step``. Irregular series are cut by one of
    ``since``, ``count`` and ``fraction``, and forecast at the times of the observations after the cut. The n-th windows
    of all series are one forecast origin. A model that trains is fitted on the data before the first origin of each
    series, and again according to ``refit``. A forecast is made from the history and the known dynamic features over
    the window.

    Args:
        model: an ``S5Forecaster``, a GluonTS estimator or predictor, a frame of forecasts made elsewhere (item_id,
            timestamp, mean, quantiles, and cutoff if windows overlap), or a name in ``BASELINES``. For irregular series
            an ``S5Forecaster`` with ``freq=None``, an estimator such as :class:`~s5forecast.S5ContinuousEstimator`, a
            predictor with ``predict_quantiles(entries, levels)``, a frame, or a name in ``IRREGULAR_BASELINES``. A
            predictor is used unchanged: it must not have seen the windows.
        data: a long frame, also on disk or in a Ray dataset, whose workers train nothing, or GluonTS entries with
            ``target`` ``[T]``; the series may differ in length. An entry may have ``timestamps`` ``[T]``, which are
            used in the result. Irregular entries have ``time`` ``[n]`` and ``target``, ``[n]`` or ``[D, n]``.
        prediction_length: steps H of a window; for irregular series the maximum number of observations in a window.
        windows: number of windows at the end of each regular series.
        step: steps from one window to the next; ``prediction_length`` by default.
        since: time of the cut of irregular series, or a list of times, each of which is an origin.
        count: number of observations to forecast at the end of each irregular series.
        fraction: fraction of the observations of an irregular series in the history.
        horizon: length of a window of irregular series, as a duration or number. If neither it nor
            ``prediction_length`` is given, both are those of an ``S5Forecaster``; windows of other models extend to the
            end of the series.
        refit: True refits the model at every origin, a number k at every k-th, False only before the first.
        quantile_levels: levels to forecast, in (0, 1).
        metrics: one or several names in ``METRICS``, or GluonTS metric definitions; by default WQL, MASE, sMAPE and
            coverage_80, for irregular series WQL, CRPS, MAE and coverage_80. Irregular series have no metrics scaled by
            a season.
        season: steps of the differences that scale MASE and RMSSE; by default GluonTS's for the frequency (24 for
            hours, 12 for months, 1 for days and weeks). The season of integer times is by default that of the first
            ``S5Forecaster``, or found in the data before the first window, and is also used by baselines.
        name: name of the model; by default its class.
        freq: offset alias of the timestamps, or a whole number for integer times; inferred for a frame. Without it,
            each period of GluonTS entries is stamped by its start.
        columns: names of the columns of a frame by role, such as ``{"item_id": "shop", "timestamp": "day", "target":
            "sales"}``, and lists of ``"known"`` and ``"static"`` columns. By default those of an ``S5Forecaster``,
            otherwise the names of the roles.
        variables: names of the D variables of irregular entries, or the target columns of an irregular frame. Each of
            several variables is a separate series of the result, ``"<item_id>:<variable>"``.
        samples: whether to keep sample paths, from which CRPS and PIT are then computed. The energy and variogram
            scores require them.
        directory: folder that keeps finished origins, to resume an interrupted backtest; one folder per backtest.
        n_jobs: number of parallel processes over windows or fits, as in joblib.
        progress: whether to show a progress bar over the windows.
        on_error: ``"raise"`` an error for a series that is invalid or too short for the windows, or ``"skip"`` it, with
            one warning; ``skipped`` of the result names all series that are left out, with the reasons. By default that
            of an ``S5Forecaster``, otherwise ``"raise"``.

    Raises:
        ValueError: a series is too short, a level or metric is unknown, arguments for regular and irregular series are
            mixed, or a forecast does not fit its window.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from s5forecast import backtest
        >>> days = pd.date_range("2024-01-01", periods=60, freq="D")
        >>> df = pd.DataFrame({"timestamp": days, "target": np.arange(60.0)})
        >>> result = backtest("naive", df, prediction_length=7, windows=2, metrics=("MASE", "coverage_80"))
        >>> float(result.metrics["MASE"].iloc[0])  # errors of 1 to 7; the series rises by 1 a day
        4.0
        >>> len(result.forecasts)
        14
    """
    if isinstance(data, RayData):
        given = {argument: value for argument, value in locals().items() if argument not in ("model", "data", "name")}
        chosen = name_of(model) if name is None else name
        return backtest_on_ray(backtest, {chosen: model}, data, given)[chosen]
    roles = roles_of(model) if columns is None else as_columns(columns)
    data = frame_of_series(data, roles)
    if horizon is prediction_length is None:
        prediction_length, horizon = span_of([model])
    cuts = {"since": since, "count": count, "fraction": fraction, "horizon": horizon}
    splitter = _splitter(prediction_length, windows, step, season, cuts, variables, roles)
    freq = frequency_of(freq, [model], season)
    if not isinstance(refit, Integral) or refit < 0:
        raise ValueError(f"refit={refit!r} must be False, True, or the number of origins between fits")
    levels = check_levels(quantile_levels)
    metrics = metric_names(splitter.default_metrics if metrics is None else metrics)
    name = name_of(model) if name is None else name
    prepare = _irregular if isinstance(splitter, IrregularSplitter) else _regular
    skip, skipped = choose(ON_ERROR, on_error or on_error_of([model]), "on_error"), Skipped()

    def read(rows: Any) -> Any:
        return prepare(model, rows, splitter, roles, freq, bool(refit))

    if skip and is_long(data):
        found, skipped = without_faults(read, data, lambda rows, reasons: without_series(rows, reasons, roles))
    else:
        found = read(data)
    entries, frequency, adapted, series = found
    forecast_columns = adapted.columns(levels)
    _check_metrics(metrics, forecast_columns, samples, splitter)

    def split(entries: Any) -> list[list[Window]]:
        origins = splitter.split(entries)
        adapted.check(origins, forecast_columns)
        return origins

    if skip:
        entries = [{"item_id": str(position), **entry} for position, entry in enumerate(entries)]
        origins, invalid = without_faults(split, entries, lambda rows, reasons: _without_entries(rows, reasons, series))
        skipped.update(invalid)
    else:
        entries = entries if isinstance(entries, Sequence) else list(entries)
        origins = split(entries)
    uncut = splitter.without_window(entries, origins)
    skipped.add(item_keys(list(uncut), series), uncut.values())
    warn_of_skipped(skipped.reasons)
    run = Run(adapted, forecast_columns, samples, int(refit), n_jobs, progress, name)
    description = describe(run, name_of(model), [*splitter.settings, int(refit)], origins)
    with reported_once(), _named_by_columns(series, roles):
        results = run.results(origins, None if directory is None else Store(directory, description))
    cut = [window for origin in origins for window in origin]
    forecasts = _frame(cut, frequency, np.concatenate([result.values for result in results], axis=1), forecast_columns)
    result = Backtest(
        name,
        with_item_columns(
            _without_duplicates(forecasts), series, getattr(splitter, "variables", None) or roles.targets
        ),
        metric_names=metrics,
        seconds=sum(result.seconds for result in results),
        fit_seconds=sum(result.fit_seconds for result in results) if adapted.trains else None,
        columns=roles if is_long(data) or columns is not None else None,
        skipped=skipped.frame(roles.item_id, roles.identity) if skip else None,
        **_seasonal_errors(splitter, cut, forecasts, season),
    )
    return adapted.finished(result, origins[0])


def _named_by_columns(series: Sequence[FrameSeries], columns: Columns) -> AbstractContextManager[None]:
    """Name the columns of a frame in warnings about its entries."""
    if not len(series):
        return nullcontext()
    return named_by_columns(known_fields({column: series[0].labels[column] for column in columns.known}))


def _without_entries(
    entries: Sequence[Any], reasons: Mapping[str, str], series: Sequence[FrameSeries]
) -> tuple[list[Any], pd.DataFrame]:
    """Entries without those of the given names, and the keys of these entries in the order of the names."""
    items = {series_name(entry["item_id"]): entry["item_id"] for entry in entries}
    left = item_keys([items[name] for name in reasons if name in items], series)
    return [entry for entry in entries if series_name(entry["item_id"]) not in reasons], left


def _splitter(
    prediction_length: int | None,
    windows: int,
    step: int | None,
    season: int | None,
    cuts: dict[str, Any],
    variables: Sequence[str] | None,
    columns: Columns,
) -> WindowSplitter:
    if any(value is not None for value in [*cuts.values(), variables]):
        if (windows, step, season) != (1, None, None):
            raise ValueError(
                "windows=, step= and season= require regular series; cut irregular series with since=, count= or "
                "fraction="
            )
        if variables is None and columns.other_targets:
            variables = columns.targets
        return IrregularSplitter(prediction_length=prediction_length, variables=variables, **cuts)
    if prediction_length is None:
        raise ValueError(
            "give prediction_length= for regular series, or one of since=, count= and fraction= for irregular series"
        )
    if season is not None:
        check_positive_integer("season", season)
    return RegularSplitter(prediction_length, windows, step)


def _regular(
    model: Any, data: Any, splitter: Any, columns: Columns, freq: Frequency | str | int | None, refits: bool
) -> tuple[Iterable[DataEntry], Frequency | None, Model, Sequence[FrameSeries]]:
    series: Sequence[FrameSeries] = ()
    frequency = None if freq in (None, "infer") else Frequency.parse(freq)
    if is_long(data):
        if columns.other_targets:
            raise ValueError(f"several targets, {list(columns.targets)}, require irregular series; pass one target")
        check_columns(data, columns)
        series, frequency = read_frame(data, columns, frequency or "infer")
        frequency = _with_season(frequency, splitter, (one.target for one in series))
        data = to_entries(series, frequency, StaticFeatures.learn(series, columns))
    elif frequency is not None and frequency.integer:
        data = list(data)
        if not frequency.has_season:
            found = splitter.season(entry["target"] for entry in data)
            data = [{**entry, SEASON_FIELD: entry.get(SEASON_FIELD) or found} for entry in data]
        else:
            data = [{**entry, SEASON_FIELD: frequency.season} for entry in data]
    adapted = regular_model(model, series or None, columns, frequency, splitter.prediction_length, refits)
    return data, frequency, adapted, series


def _with_season(frequency: Frequency, splitter: Any, targets: Iterable[np.ndarray]) -> Frequency:
    """The frequency; the season of integer times that is not known is found in the data before the first window."""
    if not frequency.integer or frequency.has_season:
        return frequency
    return frequency.with_season(splitter.season(targets))


def _irregular(
    model: Any, data: Any, splitter: Any, columns: Columns, freq: Frequency | str | int | None, refits: bool
) -> tuple[Iterable[DataEntry], None, Model, Sequence[FrameSeries]]:
    if freq:
        given = freq.text if isinstance(freq, Frequency) else f"freq={freq!r}"
        raise ValueError(f"{given} requires regular series; omit it with since=, count= or fraction=")
    series: Sequence[FrameSeries] = ()
    if is_long(data):
        if splitter.variables:
            columns = replace(columns, target=splitter.variables[0], other_targets=tuple(splitter.variables[1:]))
        check_columns(data, columns)
        sampling = IrregularSampling(columns)
        series = sampling.read(data)
        data = sampling.entries(series, StaticFeatures.learn(series, columns))
    return data, None, irregular_model(model, series or None, columns, refits), series


def _check_metrics(metrics: Sequence[Any], columns: Sequence[str], samples: bool, splitter: WindowSplitter) -> None:
    """Raise ValueError, before any work, for a metric that is unknown or cannot be computed from the columns."""
    one = np.ones((1, 1))
    forecasts = dict.fromkeys(columns, one) | ({"samples": one[..., None]} if samples else {})
    scales: dict[str, Any] = dict.fromkeys(splitter.seasonal_errors([], None), one)
    evaluate(one, forecasts, metrics=metrics, **scales)


def _frame(windows: list[Window], frequency: Frequency | None, values: np.ndarray, columns: list[str]) -> pd.DataFrame:
    """Long frame of windows; ``values`` ``[columns, M]``, followed by samples."""
    frame = _keys(windows, frequency).assign(**dict(zip(columns, values, strict=False)))
    paths = values[len(columns) :]
    names = [f"sample_{number}" for number in range(len(paths))]
    return pd.concat([frame, pd.DataFrame(paths.T, columns=names)], axis=1) if names else frame


def _keys(windows: list[Window], frequency: Frequency | None) -> pd.DataFrame:
    """The columns item_id, cutoff, timestamp and target of windows."""
    times = [window.timestamps(frequency) for window in windows]  # [1 + H] each
    parts = [(name, stamps) for window, stamps in zip(windows, times, strict=True) for name in window.names]
    lengths = [len(stamps) - 1 for _, stamps in parts]
    item_ids = np.empty(len(parts), dtype=object)
    item_ids[:] = [name for name, _ in parts]
    return pd.DataFrame(
        {
            "item_id": item_ids.repeat(lengths),
            "cutoff": _appended([stamps[:1].repeat(len(stamps) - 1) for _, stamps in parts]),
            "timestamp": _appended([stamps[1:] for _, stamps in parts]),
            "target": np.concatenate([window.label for window in windows]),
        }
    )


def _appended(parts: list[pd.Index]) -> pd.Index:
    return parts[0].append(parts[1:])


def _without_duplicates(forecasts: pd.DataFrame) -> pd.DataFrame:
    """The forecasts without repeated windows, which result from two cuts between the same observations."""
    twice = forecasts.duplicated(KEYS)
    return forecasts[~twice].reset_index(drop=True) if twice.any() else forecasts


def _seasonal_errors(
    splitter: WindowSplitter, windows: list[Window], forecasts: pd.DataFrame, season: int | None
) -> dict[str, Any]:
    """Seasonal errors by name, indexed by item_id and cutoff."""
    first = np.cumsum([0, *(window.length for window in windows)])[:-1]
    return {
        name: pd.Series(errors, pd.MultiIndex.from_frame(forecasts[WINDOW].iloc[first]), name=name)
        for name, errors in splitter.seasonal_errors(windows, season).items()
    }
