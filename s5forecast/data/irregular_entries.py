"""Checked GluonTS entries of irregular series as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.entries import dynamic_fields, read_field, read_numbers, read_static
from s5forecast.data.feature_values import check_features
from s5forecast.data.missing_known import MissingKnown, report, row_names
from s5forecast.data.spec import FeatureSpec, IrregularSpec
from s5forecast.data.times import Instants, check_kind, check_zone, read_instants


class IrregularSeries(NamedTuple):
    """One checked entry: n rows with an observed value, sorted by time, and Q query times."""

    item_id: Any
    info: Any
    start: pd.Period | None
    instants: Instants  # times of the n rows
    time: np.ndarray  # [n] float64, base units since the first row
    target: np.ndarray  # [n, D] float64, NaN where not observed
    covariates: np.ndarray  # [n, F] float32: known over the horizon, then observed only; NaN where missing
    static_real: np.ndarray  # [F] float32
    static_cat: np.ndarray  # [F] int64
    query: np.ndarray  # [Q] float64, query times in base units since the last row
    query_clock: np.ndarray  # [Q] float64 seconds
    query_covariates: np.ndarray  # [Q, F] float32
    query_time: Any  # query times in their original form
    cut: int | None  # number of rows up to the cut_time of a training entry
    univariate: bool  # whether the target of the entry has shape [n]


def read_irregular(entries: Iterable[dict[str, Any]], spec: IrregularSpec, *, forecast: bool) -> list[IrregularSeries]:
    """Check irregular entries; rows without any observed value are dropped.

    Args:
        entries: entries with ``time [n]``, ``target``, ``[n]`` or ``[D, n]``, and the features in ``spec`` at the same
            times; for a forecast also ``query_time [Q]`` and ``query_feat_dynamic_real [F, Q]``. In training, an
            optional ``cut_time`` sets the end of the history.
        spec: contents of the windows.
        forecast: whether the entries have query times.

    Raises:
        ValueError: for an invalid entry, naming the series, the field and the fix.
    """
    series = [_read(entry, f"series {entry.get('item_id', position)!r}", spec, forecast)
              for position, entry in enumerate(entries)]  # fmt: skip
    if not series:
        raise ValueError("the dataset is empty; pass at least one series")
    names = [f"series {position if one.item_id is None else one.item_id!r}" for position, one in enumerate(series)]
    for name, one in zip(names[1:], series[1:], strict=True):
        check_kind(one.instants, series[0].instants.datetimes, "time", name)
        check_zone(one.instants, series[0].instants.aware, "time", name)
    if forecast:
        report_missing(names, [one.query_time for one in series], [one.query_covariates for one in series], spec)
    return series


def _read(entry: dict[str, Any], name: str, spec: IrregularSpec, forecast: bool) -> IrregularSeries:
    instants, target, covariates = read_observations(entry, name, spec)
    kept: np.ndarray = np.any(~np.isnan(target), axis=1)
    if not kept.any():
        raise ValueError(f"{name}: target has no observed value; remove the series or add its history")
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
        static_real=read_static(entry, "feat_static_real", name, spec.features),
        static_cat=read_static(entry, "feat_static_cat", name, spec.features),
        query=_after(query.since(exact[-1]), entry, kept, name) if forecast else query.since(exact[-1]),
        query_clock=query.clock,
        query_covariates=known.astype(np.float32),
        query_time=entry.get("query_time", ()),
        cut=None if forecast else _cut(entry, instants, exact[0], time, name),
        univariate=np.ndim(entry["target"]) == 1,
    )


def read_observations(entry: dict[str, Any], name: str, spec: IrregularSpec) -> tuple[Instants, np.ndarray, np.ndarray]:
    """Times, target ``[n, D]`` float64 and covariates ``[n, F]`` float32 of all rows of an entry.

    Raises:
        ValueError: for invalid or unsorted rows, naming the series, the field and the fix.
    """
    instants = read_instants(read_field(entry, "time", name), "time", name)
    check_kind(instants, spec.datetimes, "time", name)
    n = len(instants.exact)
    target = _rows(entry, "target", spec.target_dim, name, n).astype(np.float64)
    _check_order(instants, read_field(entry, "time", name), name)
    rows = [_features(entry, field, count, name, n, spec.features) for field, count, _ in dynamic_fields(spec.features)]
    return instants, target, np.concatenate(rows, axis=1).astype(np.float32)


def _check_order(instants: Instants, given: Any, name: str) -> None:
    gaps = np.diff(instants.exact)
    if (gaps <= 0).any():
        row = int((gaps <= 0).argmax()) + 1
        when = pd.Series(given).iloc[row]
        if gaps[row - 1] == 0:
            raise ValueError(
                f"{name}: time has {when} more than once, in rows {row - 1} and {row}; keep one of them or aggregate "
                "them (S5Forecaster has aggregate='mean' and 'last')"
            )
        raise ValueError(f"{name}: time goes back to {when} in row {row}; sort the rows by time")


def _queries(entry: dict[str, Any], instants: Instants, name: str, spec: IrregularSpec) -> tuple[Instants, np.ndarray]:
    query, known = read_query(entry, name, spec)
    check_kind(query, instants.datetimes, "query_time", name)
    check_zone(query, instants.aware, "query_time", name)
    if query.aware:  # the wall time of the history
        zone = pd.DatetimeIndex(entry["time"][:1]).tz
        query = read_instants(pd.DatetimeIndex(entry["query_time"]).tz_convert(zone), "query_time", name)
    return query, known


def read_query(entry: dict[str, Any], name: str, spec: IrregularSpec) -> tuple[Instants, np.ndarray]:
    """The query times of an entry and the covariates at these times, ``[Q, F]``, NaN where not known in advance.

    Raises:
        ValueError: for invalid query times or covariates, naming the series, the field and the fix.
    """
    query = read_instants(read_field(entry, "query_time", name), "query_time", name)
    if not len(query.exact):
        raise ValueError(f"{name}: query_time is empty; pass at least one time")
    Q = len(query.exact)
    rows = [
        _features(entry, f"query_{field}", count, name, Q, spec.features) if known else np.full((Q, count), np.nan)
        for field, count, known in dynamic_fields(spec.features)
    ]
    return query, np.concatenate(rows, axis=1)


def report_missing(
    names: Sequence[str], times: Sequence[Any], known: Iterable[np.ndarray], spec: IrregularSpec
) -> None:
    """Warn of series with missing numbers at their query times; a missing category may mean that there is none.

    Args:
        names: names of the series.
        times: query times of each series.
        known: covariates at these times, ``[Q, F]`` each.
        spec: contents of the windows.
    """
    count = spec.features.num_feat_dynamic_real
    missing = [np.isnan(values[:, :count]) for values in known]
    lacking = [position for position, rows in enumerate(missing) if rows.any()]
    if lacking:
        first = pd.Series(times[lacking[0]]).iloc[int(missing[lacking[0]].any(axis=1).argmax())]
        rows = np.any([one.any(axis=0) for one in missing], axis=0)
        columns = dict.fromkeys(np.array(row_names("query_feat_dynamic_real", count), dtype=object)[rows].tolist())
        report([MissingKnown(list(columns), [names[position] for position in lacking], f"at {first}")])


def _after(query: np.ndarray, entry: dict[str, Any], kept: np.ndarray, name: str) -> np.ndarray:
    """The query times; raise ValueError for a time that is not after the last observation."""
    early = query <= 0
    if early.any():
        first = pd.Series(entry["query_time"]).iloc[int(early.argmax())]
        until = pd.Series(entry["time"])[kept].iloc[-1]
        raise ValueError(
            f"{name}: query_time {first} is not after the last observation, at {until}; pass later times, or a "
            "history that ends earlier"
        )
    return query


def _cut(entry: dict[str, Any], instants: Instants, origin: Any, time: np.ndarray, name: str) -> int | None:
    """Number of rows up to the ``cut_time`` of an entry, if it has one."""
    if "cut_time" not in entry:
        return None
    at = read_instants([entry["cut_time"]], "cut_time", name)
    check_kind(at, instants.datetimes, "cut_time", name)
    check_zone(at, instants.aware, "cut_time", name)
    cut = int(np.searchsorted(time, at.since(origin)[0], side="right"))
    if not 0 < cut < len(time):
        raise ValueError(
            f"{name}: cut_time {entry['cut_time']} leaves {cut} observations before it and {len(time) - cut} after; "
            "each side needs at least one"
        )
    return cut


def _features(
    entry: dict[str, Any], field: str, count: int, name: str, length: int, features: FeatureSpec
) -> np.ndarray:
    """Covariates ``[length, count]`` from a field ``[count, length]``."""
    rows = _rows(entry, field, count, name, length)
    if count:
        check_features(rows.T, field, name, features)
    return rows


def _rows(entry: dict[str, Any], field: str, count: int, name: str, length: int) -> np.ndarray:
    """``[length, count]`` from a field ``[count, length]``."""
    if not count:
        return np.empty((length, 0))
    values = read_numbers(np.atleast_2d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape != (count, length):
        raise ValueError(
            f"{name}: {field} has shape {values.shape}, expected ({count}, {length}): the estimator expects {count} "
            f"rows, and the entry has {length} times"
        )
    return values.T


def _none(instants: Instants) -> Instants:
    return Instants(instants.exact[:0], instants.clock[:0], instants.aware)


def _no_rows(spec: IrregularSpec) -> np.ndarray:
    return np.empty((0, spec.features.num_covariates))
