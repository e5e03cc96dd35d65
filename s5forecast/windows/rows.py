"""New rows and queries of streams, read from entries and padded to equal length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from s5forecast.data.entries import dynamic_fields, first_missing, read_field, read_numbers, read_series
from s5forecast.data.feature_values import check_features
from s5forecast.data.frequency import quiet_periods
from s5forecast.data.irregular_entries import read_observations, read_query, report_missing
from s5forecast.data.missing_known import MissingKnown, report
from s5forecast.data.series import Series
from s5forecast.data.spec import FeatureSpec, IrregularSpec, WindowSpec
from s5forecast.data.times import NANOSECONDS, Instants, IrregularRows, check_kind, check_zone
from s5forecast.windows.horizon import Horizon

# Maximum number of steps encoded at once, including padding.
PADDED_STEPS = 2**16
# Local time [m], values [m] and covariates [m, F] of the steps of one series.
StepArrays = tuple[np.ndarray, np.ndarray, np.ndarray]


class Steps(NamedTuple):
    """M steps of each of S series, padded on the left."""

    time: Tensor  # [S, M] int64, base units since 1970, in local time
    values: Tensor  # [S, M] float64, NaN where not observed
    covariates: Tensor  # [S, M, F] float32, NaN where not observed
    mask: Tensor  # [S, M] bool, False for padding

    @classmethod
    def of(cls, parts: Sequence[StepArrays]) -> Steps:
        """Pad the steps of each series to the longest."""
        longest = max(len(time) for time, _, _ in parts)

        def padded(arrays: list[np.ndarray], empty: float) -> Tensor:
            pads = [((longest - len(x), 0), *[(0, 0)] * (x.ndim - 1)) for x in arrays]
            rows = [np.pad(x, pad, constant_values=empty) for x, pad in zip(arrays, pads, strict=True)]
            return torch.from_numpy(np.stack(rows))

        time, values, covariates = (list(x) for x in zip(*parts, strict=True))
        return cls(
            padded([x.astype(np.int64) for x in time], 0),
            padded([x.astype(np.float64) for x in values], np.nan),
            padded([x.astype(np.float32) for x in covariates], np.nan),
            padded([np.ones(len(x), dtype=bool) for x in time], False),
        )


class RegularRows(NamedTuple):
    """The next steps of S series."""

    items: list[Any]
    steps: list[StepArrays]

    @classmethod
    def read(cls, entries: Sequence[dict[str, Any]], spec: WindowSpec, last: Sequence[int]) -> RegularRows:
        """Read the steps of GluonTS entries; steps between the last one and the ``start`` of an entry are missing.

        Args:
            entries: one entry for each series.
            spec: contents of the windows.
            last: last step of each series, in base units since 1970.

        Raises:
            ValueError: for an invalid entry, naming the series, the field and the fix.
        """
        series = _read_steps(entries, spec)
        steps = [_following(one, time, spec) for one, time in zip(series, last, strict=True)]
        return cls([one.item_id for one in series], steps)

    @classmethod
    def of(cls, entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularRows:
        """Read entries that begin with the next step of their series."""
        series = _read_steps(entries, spec)
        lengths = [len(one.target) for one in series]
        steps = [(one.time[:m], one.target, one.covariates[:m]) for one, m in zip(series, lengths, strict=True)]
        return cls([one.item_id for one in series], steps)

    def pieces(self) -> Iterator[tuple[list[int], Steps]]:
        """Positions and padded steps of some series at a time."""
        count = max(1, PADDED_STEPS // max(len(time) for time, _, _ in self.steps))
        for begin in range(0, len(self.items), count):
            chosen = self.steps[begin : begin + count]
            yield list(range(begin, begin + len(chosen))), Steps.of(chosen)


class RegularQueries(NamedTuple):
    """Horizons of S regular series."""

    items: list[Any]
    infos: list[Any]
    times: list[np.ndarray | None]  # local time [H] of each series; None to continue from its last step
    covariates: Tensor  # [S, H, F] float32, NaN where unknown

    @classmethod
    def read(cls, entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularQueries:
        """Read the horizons of entries, with ``feat_dynamic_real [F, H]`` if the spec has known covariates, and
        ``feat_dynamic_cat [F, H]`` if some of them are categorical; a field may end before the horizon.

        Raises:
            ValueError: for invalid covariates, naming the series, the field and the fix.
        """
        H, begin = spec.prediction_length, 0
        covariates = np.full((len(entries), H, spec.features.num_covariates), np.nan, dtype=np.float32)
        for field, count, known in dynamic_fields(spec.features):
            for row, entry in enumerate(entries if known and count else ()):
                values = _known(entry, field, count, H, spec.features)
                covariates[row, : values.shape[1], begin : begin + count] = values.T
            begin += count
        found = {_name(e): first_missing(one, e, 0, spec.features) for e, one in zip(entries, covariates, strict=True)}
        if lacking := {name: steps for name, steps in found.items() if steps}:
            report([MissingKnown.of_steps(lacking)])
        items, infos, times = ([entry.get(name) for entry in entries] for name in ("item_id", "info", "time"))
        return cls(items, infos, times, torch.from_numpy(covariates))

    def pieces(self, size: int) -> Iterator[tuple[list[int], RegularQueries]]:
        """Positions and queries of at most ``size`` series at a time."""
        for begin in range(0, len(self.items), size):
            rows = slice(begin, begin + size)
            piece = RegularQueries(self.items[rows], self.infos[rows], self.times[rows], self.covariates[rows])
            yield list(range(begin, begin + len(piece.items))), piece


class IrregularQueries(NamedTuple):
    """Query times of S irregular series, and the identity of their forecasts."""

    rows: IrregularRows
    horizons: list[Horizon]

    @property
    def items(self) -> list[Any]:
        return self.rows.items

    @classmethod
    def read(cls, entries: Sequence[dict[str, Any]], spec: IrregularSpec) -> IrregularQueries:
        """Read the ``query_time`` of entries, with ``query_feat_dynamic_real [F, Q]`` if the spec has known covariates.

        Raises:
            ValueError: for an invalid entry, naming the series, the field and the fix.
        """
        read = [read_query(entry, _name(entry), spec) for entry in entries]
        names, times = [_name(entry) for entry in entries], [entry["query_time"] for entry in entries]
        report_missing(names, times, [known for _, known in read], spec)
        none = [np.empty((len(times.exact), 0)) for times, _ in read]
        rows = _merged_rows(entries, [times for times, _ in read], none, [known for _, known in read], "query_time")
        univariate = spec.target_dim == 1
        return cls(rows, [_horizon(entry, univariate) for entry in entries])

    @classmethod
    def of(cls, rows: IrregularRows) -> IrregularQueries:
        """Queries from rows that are already read."""
        lengths = np.bincount(rows.series, minlength=len(rows.items))
        parts = np.split(rows.instants.exact, np.cumsum(lengths)[:-1])
        horizons = [Horizon(item, None, None, times=times) for item, times in zip(rows.items, parts, strict=True)]
        return cls(rows, horizons)

    def pieces(self, size: int) -> Iterator[tuple[list[int], IrregularQueries]]:
        """Positions and queries of some series at a time, see :func:`pieces`; ``size`` is unused."""
        for positions, piece in pieces(self.rows):
            yield positions, IrregularQueries(piece, [self.horizons[position] for position in positions])


class Slots(NamedTuple):
    """Positions of the rows of k series in padded arrays ``[k, M, ...]``."""

    series: Tensor  # [R]
    slot: Tensor  # [R]
    shape: tuple[int, int]

    @classmethod
    def of(cls, series: np.ndarray, count: int, *, right: bool) -> Slots:
        """Slots of R rows.

        Args:
            series: position of the series of each row, ``[R]``, ascending.
            count: number of series, k.
            right: whether to align rows on the right, with padding on the left.
        """
        lengths = np.bincount(series, minlength=count)
        longest = int(lengths.max())
        slot = np.arange(len(series)) - (np.cumsum(lengths) - lengths)[series]
        if right:
            slot += longest - lengths[series]
        return cls(torch.from_numpy(series), torch.from_numpy(slot), (count, longest))

    def lay(self, rows: np.ndarray, empty: float = 0) -> Tensor:
        """Arrange rows ``[R, ...]`` as ``[k, M, ...]``, with ``empty`` as padding."""
        values = torch.from_numpy(np.ascontiguousarray(rows))
        laid = torch.full((*self.shape, *values.shape[1:]), empty, dtype=values.dtype)
        laid[self.series, self.slot] = values
        return laid

    def mask(self) -> Tensor:
        """Whether each slot holds a row, bool ``[k, M]``."""
        return self.lay(np.ones(len(self.series), dtype=bool))


def look_back(spec: WindowSpec) -> int:
    """Number of past steps that a window depends on: the context, or the longest lag."""
    return max(spec.context_length, *spec.lags, 1)


def since(time: Tensor, origin: Tensor) -> Tensor:
    """Time from one exact time to another in base units, float64."""
    elapsed = time - origin
    return elapsed.double() / NANOSECONDS if elapsed.dtype == torch.int64 else elapsed


def read_irregular_rows(entries: Sequence[dict[str, Any]], spec: IrregularSpec) -> IrregularRows:
    """Read the observations of irregular entries, one entry for each series.

    Raises:
        ValueError: for an invalid entry, naming the series, the field and the fix.
    """
    read = [read_observations(entry, _name(entry), spec) for entry in entries]
    instants, targets, covariates = zip(*read, strict=True)
    return _merged_rows(entries, instants, targets, covariates, "time")


def pieces(rows: IrregularRows) -> Iterator[tuple[list[int], IrregularRows]]:
    """Positions and rows of some series at a time, of at most ``PADDED_STEPS`` padded steps; skips empty series."""
    lengths = np.bincount(rows.series)
    present = np.flatnonzero(lengths)
    if not len(present):
        return
    count = max(1, PADDED_STEPS // int(lengths.max()))
    for begin in range(0, len(present), count):
        some = present[begin : begin + count]
        begins, ends = np.searchsorted(rows.series, some[0]), np.searchsorted(rows.series, some[-1], side="right")
        yield some.tolist(), with_rows(rows.only(slice(begins, ends)))


def with_rows(rows: IrregularRows) -> IrregularRows:
    """Remove the series without rows from ``items``."""
    present, series = np.unique(rows.series, return_inverse=True)
    return rows._replace(items=[rows.items[position] for position in present], series=series)


def shown_time(exact: Any, instants: Instants) -> Any:
    """An exact time in readable form, for error messages."""
    if not instants.datetimes:
        return float(exact)
    return pd.Timestamp(int(exact), unit="ns", tz="UTC" if instants.aware else None)


def _read_steps(entries: Sequence[dict[str, Any]], spec: WindowSpec) -> Sequence[Series]:
    """Check entries of new steps, which have no static features."""
    bare = spec._replace(features=spec.features.without_statics().without_weights())
    return read_series(entries, bare, forecast=False, observed=False)


def _following(one: Series, last: int, spec: WindowSpec) -> StepArrays:
    """The steps of a series after its ``last`` one; steps before the start of the entry are missing."""
    multiple, m = spec.frequency.multiple, len(one.target)
    gap, off_grid = divmod(int(one.time[0]) - last - multiple, multiple)
    with quiet_periods():
        shown = pd.Period(ordinal=last, freq=spec.frequency.period_alias)
    if gap < 0:
        raise ValueError(
            f"series {one.item_id!r}: start {one.start} is not after the last observation, at {shown}; remove "
            "steps that the stream already has, or start a new stream to correct them"
        )
    if off_grid:
        raise ValueError(
            f"series {one.item_id!r}: start {one.start} is not a whole number of steps after {shown}; shift it to the "
            "grid of the series"
        )
    time = last + multiple * np.arange(1, gap + 1)
    missing = np.full((gap, one.covariates.shape[1]), np.nan, dtype=np.float32)
    return (
        np.concatenate([time, one.time[:m]]),
        np.concatenate([np.full(gap, np.nan), one.target]),
        np.concatenate([missing, one.covariates[:m]]),
    )


def _known(entry: dict[str, Any], field: str, count: int, length: int, features: FeatureSpec) -> np.ndarray:
    """Covariates at up to H steps of the horizon, ``[F, H]``, NaN where missing."""
    name = _name(entry)
    values = read_numbers(np.atleast_2d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape[0] != count or not 0 < values.shape[1] <= length:
        raise ValueError(
            f"{name}: {field} has shape {values.shape}, expected ({count}, {length}); pass only the values over the "
            "horizon"
        )
    check_features(values, field, name, features)
    return values


def _merged_rows(
    entries: Sequence[dict[str, Any]],
    instants: Sequence[Instants],
    targets: Sequence[np.ndarray],
    covariates: Sequence[np.ndarray],
    column: str,
) -> IrregularRows:
    if not entries:
        raise ValueError("pass at least one entry")
    first = instants[0]
    for entry, times in zip(entries, instants, strict=True):
        check_kind(times, first.datetimes, column, _name(entry))
        check_zone(times, first.aware, column, _name(entry))
    return IrregularRows(
        items=[entry.get("item_id") for entry in entries],
        series=np.repeat(np.arange(len(entries)), [len(times.exact) for times in instants]),
        instants=Instants(
            np.concatenate([times.exact for times in instants]),
            np.concatenate([times.clock for times in instants]),
            first.aware,
        ),
        target=np.concatenate(targets),
        covariates=np.concatenate(covariates).astype(np.float32),
        column=column,
    )


def _horizon(entry: dict[str, Any], univariate: bool) -> Horizon:
    start, times = entry.get("start"), entry["query_time"]
    return Horizon(entry.get("item_id"), entry.get("info"), start, np.float64, times, univariate)


def _name(entry: dict[str, Any]) -> str:
    return f"series {entry.get('item_id')!r}"
