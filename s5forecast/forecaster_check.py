"""Check of a frame before training: what S5Forecaster would raise, warn of and choose, and statistics of the series."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.alignment import raise_not_joint
from s5forecast.data.check import DataCheck, Finding, choice_table
from s5forecast.data.faults import SeriesError
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
    return DataCheck.of(series, findings, choice_table(choices), scope=scope, columns=columns, rows=rows)


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
                return Readable(sampling, table), [*_invalid(errors), *_warned(warned, len(table))]
            except SeriesError as error:
                df, left = without_series(df, error.reasons, forecaster._columns)
                errors |= dict(zip(left.index.tolist(), error.reasons.values(), strict=False))
                if not len(left) or df.empty:
                    return None, _invalid(errors or {None: str(error)})
            except DATA_ERRORS as error:
                return None, [*_invalid({None: str(error)}), *_invalid(errors)]


def _invalid(errors: dict[Any, str]) -> list[Finding]:
    return [Finding("error", "invalid", message, 1, label) for label, message in errors.items()]


def _warned(warned: Iterable[Any], count: int) -> list[Finding]:
    texts = dict.fromkeys(str(one.message) for one in warned if issubclass(one.category, UserWarning))
    return [Finding("warning", "reading", text, count) for text in texts]


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
    """Known columns that equal a target within the horizon, and past columns that equal a later target."""
    sampling, table = readable
    columns = sampling.columns
    roles = (
        ("known", columns.known, range(1 - horizon, horizon + 1)),
        ("past", columns.past, range(1, horizon + 1)),
    )
    for name, target in zip(columns.targets, np.atleast_2d(table.target), strict=True):
        for role, covariates, shifts in roles:
            for leak in find_leaks(table, target, role, covariates, shifts):
                yield Finding("warning", "leakage", leak.message(name, horizon), len(table))


def _known_ahead(readable: Readable, future: Any, times: Any) -> tuple[dict[Any, int], list[Finding]]:
    """Steps to forecast with all known columns, by label of the series; errors and warnings of ``predict``."""
    sampling, table = readable
    name, where = AHEAD[sampling.kind]
    if future is None and times is None:
        text = f"predict() requires the known columns {list(sampling.columns.known)} {where}"
        return {}, [Finding("note", name, f"{text}; check them with check(df, {name}=...)", len(table))]
    ends, statics = sampling.ends(table), StaticFeatures.learn(table, sampling.columns)
    labels = {table.name(position): item for position, item in enumerate(table.items)}
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            query = sampling.query(ends, future, times)
            statics.encode_known(query)
            sampling.warn_of_far(query)
    except SeriesError as error:
        errors = [Finding("error", name, text, 1, labels.get(series)) for series, text in error.reasons.items()]
        return _covered(readable, statics, future), errors
    except DATA_ERRORS as error:
        return {}, [Finding("error", name, str(error), len(table))]
    asked = dict(zip(query.items, np.bincount(query.codes).tolist(), strict=True))
    ahead = _given(query, statics) if future is None else _covered(readable, statics, future)
    short = [item for item in query.items if ahead[item] < asked[item]]
    texts = dict.fromkeys(str(one.message) for one in warned if issubclass(one.category, UserWarning))
    first = short[0] if short else None
    return ahead, [Finding("warning", name, text, max(len(short), 1), first) for text in texts]


def _given(query: Queries, statics: StaticFeatures) -> dict[Any, int]:
    """Times to forecast with all known numbers, of irregular series."""
    numbers = [labels is None for labels in statics.known.values()]
    complete = ~np.isnan(query.known[:, numbers]).any(axis=1)
    counts = np.bincount(query.codes, weights=complete, minlength=len(query.items)).astype(int)
    return dict(zip(query.items, counts.tolist(), strict=True))


def _covered(readable: Readable, statics: StaticFeatures, future: Any) -> dict[Any, int]:
    """Steps of the horizon with all known columns, of regular series; none if the frame cannot be read.

    A missing category in a given row counts as known, because it may mean that there is none.
    """
    sampling: Any = readable.sampling
    columns, known = sampling.columns, list(sampling.columns.known)
    try:
        due = replace(sampling, columns=replace(columns, known=())).query(sampling.ends(readable.table))
        integer = sampling.frequency.integer
        tidy, codes, items = tidy_frame(future, columns, known, (), integer_time=integer, what="future=")
    except DATA_ERRORS:  # reported by reading as predict does
        return {}
    numbers = [column for column in known if statics.known[column] is None]
    complete = tidy[numbers].notna().all(axis=1).to_numpy()
    given = _places(np.array(items, dtype=object)[codes[complete]], tidy[columns.timestamp][complete])
    asked = _places(np.array(due.items, dtype=object)[due.codes], due.keys[columns.timestamp])
    counts = np.bincount(due.codes, weights=asked.isin(given), minlength=len(due.items)).astype(int)
    return dict(zip(due.items, counts.tolist(), strict=True))


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
    except DATA_ERRORS as error:
        return {}, [Finding("error", "training", str(error), len(table))]
    return choices, _short(sampling, table, choices.get("context_length", {}).get("value"))


def _short(sampling: Sampling, table: SeriesTable, context: int | None) -> list[Finding]:
    lengths = sampling.lengths(table)
    short = np.flatnonzero(lengths < (context or 0))
    if not len(short):
        return []
    least = int(short[lengths[short].argmin()])
    text = f"{table.name(least)} has {lengths[least]} rows, fewer than the {context} that networks see"
    if len(short) > 1:
        text = f"{len(short)} of {len(table)} series; for example, {text}"
    return [Finding("note", "short", f"{text}; context_length= sets another number", len(short), table.items[least])]


def _scope(rows: Rows, readable: Readable | None) -> str:
    """One line about the frame."""
    text = f"Check of {len(rows.keys)} series, {len(rows.codes):,} rows from {rows.times.min()} to {rows.times.max()}"
    if rows.left_out:
        text += f" and {rows.left_out:,} without a series or time"
    if readable is None:
        return text
    alias = readable.sampling.alias
    return f"{text}, {'irregular' if alias is None else f'frequency {alias!r}'}"
