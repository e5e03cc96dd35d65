"""Check of a frame before training: what S5Forecaster would raise, warn of and choose, and statistics of the series."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.alignment import raise_not_joint
from s5forecast.data.check import DataCheck, Finding, choice_table
from s5forecast.data.faults import SeriesError, without_faults
from s5forecast.data.findings import statistical_findings
from s5forecast.data.frames import Columns, Queries, tidy_frame, without_series
from s5forecast.data.leakage import find_leaks
from s5forecast.data.long_frames import long_frame
from s5forecast.data.profile import Rows, median_gaps, profile, readable_rows
from s5forecast.data.sampling import Sampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable
from s5forecast.data.timestamps import exact_times, time_index
from s5forecast.fitted_forecaster import FittedForecaster
from s5forecast.notices import SeriesWarning

# Errors that data may cause; those of other types than ValueError come from pandas, as for values without an order.
DATA_ERRORS = (ValueError, TypeError, ArithmeticError)
# Argument with the known columns, and where they are required, by kind of sampling.
AHEAD = {"regular": ("future", "over the horizon"), "irregular": ("times", "at each time to forecast")}
STATISTICS = ["duplicates", "missing", "zeros", "negative", "outliers", "constant"]


class Readable(NamedTuple):
    """The series of a frame that can be forecast, and the sampling that was learned from them."""

    sampling: Sampling
    table: SeriesTable


def check_frame(forecaster: FittedForecaster, df: Any, future: Any, times: Any) -> DataCheck:
    """Run :meth:`S5Forecaster.check`."""
    columns, horizon = forecaster._columns, forecaster.prediction_length or 1
    readable, findings = _read(forecaster, df)
    rows = _rows(df, columns)
    if rows is None:
        return DataCheck.of(pd.DataFrame(), findings, choice_table({}), scope="Check", columns=columns)
    parts = []
    for target in rows.targets:
        statistics = profile(rows, target)
        findings += statistical_findings(rows, target, statistics, horizon)
        parts.append(_series_table(rows, statistics, readable, target))
    series = pd.concat(parts, ignore_index=True)
    choices: dict[str, Any] = {}
    if readable is not None:
        findings += _leaks(readable, horizon)
        if columns.known or not (future is times is None):
            ahead, found = _known_ahead(readable, future, times)
            findings += found
            if columns.known and not (future is times is None):
                counts = pd.Series(ahead, dtype="Int64").reindex(rows.labels * len(rows.targets))
                series["known_ahead"] = counts.array
        choices, found = _choices(forecaster, readable)
        findings += found
    scope = _scope(rows, readable)
    grid = readable.table.timestamps.unique() if readable is not None and readable.sampling.kind == "regular" else None
    return DataCheck.of(series, findings, choice_table(choices), scope=scope, columns=columns, rows=rows, grid=grid)


def _read(forecaster: FittedForecaster, df: Any) -> tuple[Readable | None, list[Finding]]:
    """The series as ``fit`` reads them, without those that have an error, and its errors and warnings."""
    errors: dict[Any, str] = {}
    while True:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                sampling, table = forecaster._make_sampling(forecaster.freq).learn(df)
                if forecaster.joint:
                    raise_not_joint(table)
                sampling.warn_of_unobserved(table)
                return Readable(sampling, table), [*_invalid(errors), *_warned(warned, "reading", table)]
            except SeriesError as error:
                df, left = without_series(df, error.reasons, forecaster._columns)
                errors |= dict(zip(left.index.tolist(), error.reasons.values(), strict=False))
                if not len(left) or df.empty:
                    return None, _invalid(errors or {None: str(error)})
            except DATA_ERRORS as error:
                return None, [*_invalid({None: str(error)}), *_invalid(errors)]


def _invalid(errors: dict[Any, str]) -> list[Finding]:
    return [Finding("error", "invalid", message, 1, label) for label, message in errors.items()]


def _warned(warned: Iterable[Any], check: str, table: SeriesTable) -> list[Finding]:
    """A finding for each warning, about the series that it names or about all."""
    found = {str(one.message): one.message for one in warned if issubclass(one.category, UserWarning)}
    labels = _labels(table)
    findings = []
    for text, warning in found.items():
        names = warning.series if isinstance(warning, SeriesWarning) else ()
        findings.append(Finding("warning", check, text, len(names) or len(table), labels[names[0]] if names else None))
    return findings


def _labels(table: SeriesTable) -> dict[str, Any]:
    """Label of each series by its name in messages."""
    return {table.name(position): item for position, item in enumerate(table.items)}


def _rows(df: Any, columns: Columns) -> Rows | None:
    """The rows with a series, a time and a target column; ``None`` without any."""
    try:
        frame = long_frame(df, columns.identity, columns.timestamp, columns.target)
        rows = readable_rows(frame, columns) if columns.timestamp in frame else None
    except DATA_ERRORS:  # reported by reading as fit does
        return None
    return rows if rows is not None and rows.targets and len(rows.codes) else None


def _series_table(rows: Rows, statistics: pd.DataFrame, readable: Readable | None, target: str) -> pd.DataFrame:
    """The columns that identify the series, and their statistics."""
    table = rows.keys.reset_index(drop=True)
    if len(rows.targets) > 1:
        table = table.assign(target=target)
    return pd.concat(
        [table, statistics[["rows", "start", "end"]], _grid(rows, readable), statistics[STATISTICS]], axis=1
    )


def _grid(rows: Rows, readable: Readable | None) -> pd.DataFrame:
    """Steps and gaps of regular series; the median distance of times otherwise."""
    if readable is None or readable.sampling.kind == "irregular":
        gaps = median_gaps(rows)
        datetimes = isinstance(rows.times, pd.DatetimeIndex)
        return pd.DataFrame({"step": _durations(rows.times, gaps) if datetimes else gaps})
    sampling, table = readable
    steps = pd.Series(sampling.lengths(table), pd.Index(table.items, dtype=object)).reindex(rows.labels).astype("Int64")
    steps = steps.reset_index(drop=True)
    return pd.DataFrame({"steps": steps, "gaps": steps - np.diff(rows.bounds)})


def _durations(times: Any, gaps: np.ndarray) -> pd.Series:
    nanoseconds = gaps * (pd.Timedelta(1, times.unit) / pd.Timedelta(1, "ns"))
    return pd.Series(pd.to_timedelta(nanoseconds, unit="ns"))


def _leaks(readable: Readable, horizon: int) -> Iterator[Finding]:
    """Known and past columns that leak the target of a later step."""
    table, sampling = readable.table, readable.sampling
    columns, frequency = sampling.columns, getattr(sampling, "frequency", None)
    seasons = () if frequency is None else frequency.seasons
    for name, target in zip(columns.targets, np.atleast_2d(table.target), strict=True):
        for role, covariates in (("known", columns.known), ("past", columns.past)):
            for leak in find_leaks(table, target, role, covariates, horizon, seasons):
                first = table.items[leak.series[0]]
                message = leak.message(table, name, horizon)
                yield Finding("warning", "leakage", message, len(leak.series), first)


def _known_ahead(readable: Readable, future: Any, times: Any) -> tuple[dict[Any, int], list[Finding]]:
    """Steps to forecast with all known columns, by label of the series; errors and warnings of ``predict``."""
    sampling, table = readable
    name, where = AHEAD[sampling.kind]
    if future is None and times is None:
        text = f"predict() requires the known columns {list(sampling.columns.known)} {where}"
        return {}, [Finding("note", name, f"{text}; check them with check(df, {name}=...)", len(table))]
    statics = StaticFeatures.learn(table, sampling.columns)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            query = sampling.query(sampling.ends(table), future, times)
            statics.encode_known(query)
            sampling.warn_of_far(query)
        findings = _warned(warned, name, table)
    except SeriesError as error:
        findings = _failed(error, name, table)
    except DATA_ERRORS as error:
        return {}, [Finding("error", name, str(error), len(table))]
    count = _given if future is None else _covered
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return count(readable, statics, times if future is None else future), findings
    except DATA_ERRORS:  # reported by reading as predict does
        return {}, findings


def _failed(error: SeriesError, check: str, table: SeriesTable) -> list[Finding]:
    labels = _labels(table)
    return [Finding("error", check, text, 1, labels.get(name)) for name, text in error.reasons.items()]


def _given(readable: Readable, statics: StaticFeatures, times: Any) -> dict[Any, int]:
    """Times to forecast with all known numbers, of the irregular series whose times can be read."""
    sampling, table = readable
    ends = sampling.ends(table)

    def read(rows: Any) -> Queries:
        query = sampling.query(ends, times=rows)
        statics.encode_known(query)
        return query

    query, _ = without_faults(read, times, _leave_out(sampling, "times="))
    numbers = [labels is None for labels in statics.known.values()]
    complete = ~np.isnan(query.known[:, numbers]).any(axis=1)
    counts = np.bincount(query.codes, weights=complete, minlength=len(query.items)).astype(int)
    return dict(zip(query.items, counts.tolist(), strict=True))


def _covered(readable: Readable, statics: StaticFeatures, future: Any) -> dict[Any, int]:
    """Steps of the horizon with all known columns, of the regular series whose rows can be read.

    A missing category in a given row counts as known, because it may mean that there is none.
    """
    sampling: Any = readable.sampling
    columns, known, integer = sampling.columns, list(sampling.columns.known), sampling.frequency.integer

    def read(rows: Any) -> tuple[pd.DataFrame, np.ndarray, list[Any]]:
        return tidy_frame(rows, columns, known, (), integer_time=integer, what="future=")

    due = replace(sampling, columns=replace(columns, known=())).query(sampling.ends(readable.table))
    (tidy, codes, items), skipped = without_faults(read, future, _leave_out(sampling, "future="))
    numbers = [column for column in known if statics.known[column] is None]
    complete = tidy[numbers].notna().all(axis=1).to_numpy()
    given = _places(np.array(items, dtype=object)[codes[complete]], tidy[columns.timestamp][complete])
    asked = _places(np.array(due.items, dtype=object)[due.codes], due.keys[columns.timestamp])
    counts = np.bincount(due.codes, weights=asked.isin(given), minlength=len(due.items)).astype(int)
    ahead = zip(due.items, counts.tolist(), strict=True)
    return {item: count for item, count in ahead if item not in skipped.reasons}


def _leave_out(sampling: Sampling, what: str) -> Callable[[Any, Mapping[str, str]], tuple[pd.DataFrame, pd.DataFrame]]:
    """A function that leaves series out of a frame by their names."""
    return lambda rows, reasons: without_series(rows, reasons, sampling.columns, what)


def _places(labels: np.ndarray, times: pd.Series) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([labels, exact_times(time_index(times))])


def _choices(forecaster: FittedForecaster, readable: Readable) -> tuple[dict[str, Any], list[Finding]]:
    """Settings that training would use, with their reasons, and why it cannot train."""
    from s5forecast.forecaster_training import automatic_choices

    sampling, table = readable
    reason = "inferred from the timestamps" if forecaster.freq == "infer" else ""
    frequency = {"value": sampling.alias, "given": forecaster.freq != "infer", "reason": reason}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statics = StaticFeatures.learn(table, sampling.columns)
            choices = {"frequency": frequency, **automatic_choices(forecaster, sampling, table, statics)}
    except SeriesError as error:
        return {}, _failed(error, "training", table)
    except DATA_ERRORS as error:
        return {}, [Finding("error", "training", str(error), len(table))]
    return choices, _short(sampling, table, choices.get("context_length", {}).get("value"))


def _short(sampling: Sampling, table: SeriesTable, context: int | None) -> list[Finding]:
    lengths = sampling.lengths(table)
    short = np.flatnonzero(lengths < (context or 0))
    if not len(short):
        return []
    least = int(short[lengths[short].argmin()])
    text = f"{table.name(least)} has {lengths[least]} rows, fewer than the context of {context} steps"
    if len(short) > 1:
        text = f"{len(short)} of {len(table)} series; for example, {text}"
    text += "; estimator_kwargs={'context_length': ...} sets another length"
    return [Finding("note", "short", text, len(short), table.items[least])]


def _scope(rows: Rows, readable: Readable | None) -> str:
    """One line about the frame."""
    text = f"Check of {len(rows.keys)} series, {len(rows.codes):,} rows from {rows.times.min()} to {rows.times.max()}"
    if rows.left_out:
        text += f" and {rows.left_out:,} without a series or time"
    if readable is None:
        return text
    alias = readable.sampling.alias
    return f"{text}, {'irregular' if alias is None else f'frequency {alias!r}'}"
