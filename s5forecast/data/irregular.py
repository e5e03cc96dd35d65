"""Entries observed at uneven times, checked and brought to arrays of one shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.series import read_field, read_numbers, read_static

NANOSECONDS = 10**9


class IrregularSpec(NamedTuple):
    """What a window of irregular series holds: plain data, saved with a predictor.

    Times and durations are in base units: seconds where times are datetimes, else the unit of the numbers given.

    Arguments:
        target_dim: variables of each series, D.
        context_length: observations before the forecast, at most; L.
        horizon: how far ahead training looks, none for as far as there is something.
        prediction_length: how many of the next observations training looks at, none for all within the ``horizon``.
        max_queries: times asked of a training window, at most; taken evenly where there are more.
        datetimes: whether times are datetimes rather than numbers, none for either.
        cycles: calendar cycles shown to the network, keys of ``data.features.CYCLES``.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known at the times asked for, and not.
        num_feat_static_real, num_feat_static_cat: static features.
    """

    target_dim: int
    context_length: int
    horizon: float | None
    prediction_length: int | None
    max_queries: int
    datetimes: bool | None
    cycles: list[str]
    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0

    @property
    def num_covariates(self) -> int:
        return self.num_feat_dynamic_real + self.num_past_feat_dynamic_real


class Instants(NamedTuple):
    """Times of one series: exact numbers, and the clock on the wall."""

    exact: np.ndarray  # [n] int64 nanoseconds in UTC, or float64 as given
    clock: np.ndarray  # [n] float64, seconds since 1970 by the clock on the wall; 0 for numbers
    aware: bool  # whether datetimes have a time zone

    @property
    def datetimes(self) -> bool:
        return self.exact.dtype == np.int64

    def since(self, origin: np.ndarray) -> np.ndarray:
        """Time from the origin in base units, float64."""
        return self._in_base_units(self.exact - origin)

    def gaps(self) -> np.ndarray:
        """Time since the one before, ``[n]`` in base units, float64; NaN for the first."""
        return np.concatenate([[np.nan], self._in_base_units(np.diff(self.exact))])

    def _in_base_units(self, elapsed: np.ndarray) -> np.ndarray:
        return elapsed / NANOSECONDS if self.datetimes else elapsed


class IrregularSeries(NamedTuple):
    """One checked entry: n rows with an observed value, in order of time, and Q times asked for."""

    item_id: Any
    info: Any
    start: pd.Period | None
    instants: Instants  # of the n rows
    time: np.ndarray  # [n] float64, base units since the first row
    target: np.ndarray  # [n, D] float64, NaN where not observed
    covariates: np.ndarray  # [n, F] float32: those known ahead, then the others; NaN where missing
    static_real: np.ndarray  # [F] float32
    static_cat: np.ndarray  # [F] int64
    query: np.ndarray  # [Q] float64, base units since the last row
    query_clock: np.ndarray  # [Q] float64 seconds
    query_covariates: np.ndarray  # [Q, F] float32
    asked: Any  # the times asked for, as they came
    cut: int | None  # number of rows before the time at which the entry is to be cut in training
    univariate: bool  # whether the target came as [n]


def read_irregular(entries: Iterable[dict[str, Any]], spec: IrregularSpec, *, forecast: bool) -> list[IrregularSeries]:
    """Check entries with uneven times; a row without any observed value is dropped.

    Arguments:
        entries: with ``time [n]`` and ``target``, ``[n]`` or ``[D, n]``, the features the ``spec`` counts at the same
            times, and for a forecast ``query_time [Q]`` and ``query_feat_dynamic_real [F, Q]``. In training a
            ``cut_time`` fixes where the history of an entry ends.
        forecast: whether times are asked for.

    Raises:
        ValueError: naming the series, the field and the fix.
    """
    series = [_read(entry, f"series {entry.get('item_id', position)!r}", spec, forecast)
              for position, entry in enumerate(entries)]  # fmt: skip
    if not series:
        raise ValueError("the dataset is empty; give at least one series")
    for position, one in enumerate(series[1:], start=1):
        name = f"series {position if one.item_id is None else one.item_id!r}"
        check_kind(one.instants, series[0].instants.datetimes, "time", name)
        check_zone(one.instants, series[0].instants.aware, "time", name)
    return series


def _read(entry: dict[str, Any], name: str, spec: IrregularSpec, forecast: bool) -> IrregularSeries:
    instants, target, covariates = read_rows(entry, name, spec)
    kept: np.ndarray = np.any(~np.isnan(target), axis=1)
    if not kept.any():
        raise ValueError(f"{name}: target has no observed value; leave the series out or give its history")
    exact = instants.exact[kept]
    time = instants.since(exact[0])[kept]
    query, known = _queries(entry, instants, name, spec) if forecast else (_none(instants), _no_rows(spec))
    return IrregularSeries(
        item_id=entry.get("item_id"),
        info=entry.get("info"),
        start=entry.get("start"),
        instants=Instants(exact, instants.clock[kept], instants.aware),
        time=time,
        target=target[kept],
        covariates=covariates[kept],
        static_real=read_static(entry, "feat_static_real", spec.num_feat_static_real, name, np.float32),
        static_cat=read_static(entry, "feat_static_cat", spec.num_feat_static_cat, name, np.int64),
        query=_after(query.since(exact[-1]), entry, kept, name) if forecast else query.since(exact[-1]),
        query_clock=query.clock,
        query_covariates=known.astype(np.float32),
        asked=entry.get("query_time", ()),
        cut=None if forecast else _cut(entry, instants, exact[0], time, name),
        univariate=np.ndim(entry["target"]) == 1,
    )


def read_rows(entry: dict[str, Any], name: str, spec: IrregularSpec) -> tuple[Instants, np.ndarray, np.ndarray]:
    """Times, target ``[n, D]`` float64 and covariates ``[n, F]`` float32 of all rows of an entry, in order of time.

    Raises:
        ValueError: naming the series, the field and the fix.
    """
    instants = read_instants(read_field(entry, "time", name), "time", name)
    check_kind(instants, spec.datetimes, "time", name)
    n = len(instants.exact)
    target = _rows(entry, "target", spec.target_dim, name, n).astype(np.float64)
    _check_order(instants, read_field(entry, "time", name), name)
    known = _rows(entry, "feat_dynamic_real", spec.num_feat_dynamic_real, name, n)
    past = _rows(entry, "past_feat_dynamic_real", spec.num_past_feat_dynamic_real, name, n)
    return instants, target, np.concatenate([known, past], axis=1).astype(np.float32)


def read_instants(values: Any, field: str, name: str) -> Instants:
    """Datetimes, with a time zone or without, or numbers, as exact times.

    Raises:
        ValueError: for missing times, numbers that are not finite, or something that is no time.
    """
    array = values if isinstance(values, pd.DatetimeIndex | pd.Series) else np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: {field} must have one dimension, got shape {array.shape}")
    if pd.api.types.is_numeric_dtype(array.dtype):
        numbers = np.asarray(array, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"{name}: {field} is {numbers[~np.isfinite(numbers)][0]} in row {np.isfinite(numbers).argmin()}; "
                "drop the row or correct the time"
            )
        return Instants(numbers, np.zeros(len(numbers)), False)
    try:
        stamps = pd.DatetimeIndex(array)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {field} must hold datetimes or numbers ({error})") from error
    if stamps.hasnans:
        raise ValueError(f"{name}: {field} is missing (NaT) in row {stamps.isna().argmax()}; drop the row")
    clock = stamps.tz_localize(None).as_unit("ns").asi8 / NANOSECONDS
    return Instants(stamps.as_unit("ns").asi8, clock, stamps.tz is not None)


def is_duration(value: Any) -> bool:
    """Whether a duration is one of datetimes rather than a number."""
    # numpy counts its timedelta64 among its numbers
    return isinstance(value, np.timedelta64) or not isinstance(value, int | float | np.number)


def check_kind(instants: Instants, datetimes: bool | None, field: str, name: str) -> None:
    """Raise ValueError, naming the series, for datetimes where times are numbers, or the other way round."""
    if datetimes is not None and instants.datetimes != datetimes:
        found, fix = ("datetimes", "a duration such as '12h'") if instants.datetimes else ("numbers", "a number")
        raise ValueError(
            f"{name}: {field} holds {found}, unlike the horizon or the other times; convert them, or train with {fix} "
            "as the horizon"
        )


def _check_order(instants: Instants, given: Any, name: str) -> None:
    gaps = np.diff(instants.exact)
    if (gaps <= 0).any():
        row = int((gaps <= 0).argmax()) + 1
        when = pd.Series(given).iloc[row]
        if gaps[row - 1] == 0:
            raise ValueError(
                f"{name}: time has {when} more than once, in rows {row - 1} and {row}; keep one of them or aggregate "
                "them, as with aggregate='mean' or 'last' where a frame is read"
            )
        raise ValueError(f"{name}: time goes back to {when} in row {row}; sort the rows by time")


def _queries(entry: dict[str, Any], instants: Instants, name: str, spec: IrregularSpec) -> tuple[Instants, np.ndarray]:
    query, known = read_query(entry, name, spec)
    check_kind(query, instants.datetimes, "query_time", name)
    check_zone(query, instants.aware, "query_time", name)
    return query, known


def read_query(entry: dict[str, Any], name: str, spec: IrregularSpec) -> tuple[Instants, np.ndarray]:
    """The times asked of an entry, and the covariates then, ``[Q, F]``, those that are not known ahead NaN.

    Raises:
        ValueError: naming the series, the field and the fix.
    """
    query = read_instants(read_field(entry, "query_time", name), "query_time", name)
    if not len(query.exact):
        raise ValueError(f"{name}: query_time is empty; ask for at least one time")
    known = _rows(entry, "query_feat_dynamic_real", spec.num_feat_dynamic_real, name, len(query.exact))
    missing = np.isnan(known).any(axis=0)
    if missing.any():
        raise ValueError(f"{name}: query_feat_dynamic_real row {missing.argmax()} is missing at a time asked for")
    unknown = np.full((len(known), spec.num_past_feat_dynamic_real), np.nan)
    return query, np.concatenate([known, unknown], axis=1)


def check_zone(instants: Instants, aware: bool, field: str, name: str) -> None:
    """Raise ValueError, naming the series, for times with a time zone where others have none, or the other way."""
    if instants.aware != aware:
        zones = ("no time zone", "a time zone")
        raise ValueError(
            f"{name}: {field} has {zones[instants.aware]}, the other times have {zones[aware]}; give all alike, with "
            "tz_localize or tz_convert"
        )


def _after(query: np.ndarray, entry: dict[str, Any], kept: np.ndarray, name: str) -> np.ndarray:
    """The times asked for; times up to the last observation are refused, since its state has moved on."""
    early = query <= 0
    if early.any():
        asked = pd.Series(entry["query_time"]).iloc[int(early.argmax())]
        until = pd.Series(entry["time"])[kept].iloc[-1]
        raise ValueError(
            f"{name}: query_time {asked} is not after the last observation, at {until}; ask for later times, or give a "
            "history that ends before it"
        )
    return query


def _cut(entry: dict[str, Any], instants: Instants, origin: Any, time: np.ndarray, name: str) -> int | None:
    """Number of rows up to the ``cut_time`` of an entry, where it has one."""
    if "cut_time" not in entry:
        return None
    at = read_instants([entry["cut_time"]], "cut_time", name)
    check_kind(at, instants.datetimes, "cut_time", name)
    check_zone(at, instants.aware, "cut_time", name)
    cut = int(np.searchsorted(time, at.since(origin)[0], side="right"))
    if not 0 < cut < len(time):
        raise ValueError(
            f"{name}: cut_time {entry['cut_time']} leaves {cut} observations before it and {len(time) - cut} after; "
            "both are needed"
        )
    return cut


def _rows(entry: dict[str, Any], field: str, count: int, name: str, length: int) -> np.ndarray:
    """``[length, count]`` from a field ``[count, length]``."""
    if not count:
        return np.empty((length, 0))
    values = read_numbers(np.atleast_2d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape != (count, length):
        raise ValueError(
            f"{name}: {field} has shape {values.shape}, expected is ({count}, {length}): the estimator was built for "
            f"{count}, and there are {length} times"
        )
    return values.T


def _none(instants: Instants) -> Instants:
    return Instants(instants.exact[:0], instants.clock[:0], instants.aware)


def _no_rows(spec: IrregularSpec) -> np.ndarray:
    return np.empty((0, spec.num_covariates))
