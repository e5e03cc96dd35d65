"""GluonTS entries of the regular series of a frame, created when they are used."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import pandas as pd

from s5forecast.data.covariates import cardinalities
from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import TICKS
from s5forecast.data.seasons import SEASON_FIELD
from s5forecast.data.series import SeriesArrays
from s5forecast.data.spec import WindowSpec
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable
from s5forecast.data.timestamps import time_index


class TableEntries(Sequence[dict[str, Any]]):
    """GluonTS entries of the series of a table, in memory or on disk; arrays of the table can be read instead."""

    table: SeriesTable

    @abstractmethod
    def take(self, positions: Sequence[int] | np.ndarray) -> TableEntries:
        """Some of the entries."""

    @abstractmethod
    def blocks(self) -> Iterator[FrameEntries]:
        """The entries in the order of the table, a block in memory at a time."""

    @property
    def num_values(self) -> int:
        """Number of steps of all targets."""
        return int(self.table.bounds[-1])


@dataclass(frozen=True, eq=False)
class FrameEntries(TableEntries):
    """GluonTS entries of S series with targets ``[T]``.

    Networks read the arrays of the table instead of the entries.

    Args:
        table: series, whose covariates have the codes of the training.
        frequency: frequency of all series.
        statics: encoding of the static columns and the covariates.
        future: known covariates over the horizon, ``[S, H, F]``, which follow those of the past.
    """

    table: SeriesTable
    frequency: Frequency
    statics: StaticFeatures
    future: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> FrameEntries: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | FrameEntries:
        if isinstance(index, slice):
            return replace(self, table=self.table[index], future=None if self.future is None else self.future[index])
        position = range(len(self))[index]
        one = self.table[position]
        future = () if self.future is None else (self.future[position].T,)
        known = np.concatenate([one.known, *future], axis=1) if future else one.known
        return {
            "item_id": str(position) if one.item_id is None else one.item_id,
            "start": self.frequency.period(one.timestamps[0], exact=False),
            "timestamps": one.timestamps,
            "target": one.target,
            **self.statics.dynamic_fields(known, one.past),
            **self.statics.encode(one),
            **({} if one.weight is None else {"weight": one.weight}),
            **({SEASON_FIELD: self.frequency.season} if self.frequency.has_season else {}),
        }

    def take(self, positions: Sequence[int] | np.ndarray) -> FrameEntries:
        future = None if self.future is None else self.future[positions]
        return replace(self, table=self.table.take(positions), future=future)

    def blocks(self) -> Iterator[FrameEntries]:
        yield self

    @property
    def item_ids(self) -> list[Any]:
        """The item_id of each entry; a series without a name is series 0."""
        return [str(position) if item is None else item for position, item in enumerate(self.table.items)]

    @cached_property
    def starts(self) -> pd.PeriodIndex:
        """The ``start`` of each entry, ``[S]``."""
        return self.frequency.periods(self.table.timestamps[self.table.begins])

    @cached_property
    def static_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The static features of all entries, float32 and int64 ``[S, F]``."""
        return self.statics.encode_all(self.table)


def fits(entries: FrameEntries, spec: WindowSpec, *, forecast: bool, observed: bool) -> bool:
    """Whether all entries are valid, so that :func:`read_arrays` can read them.

    Args:
        entries: entries of a frame.
        spec: contents of the windows.
        forecast: whether known covariates must cover the horizon after the target.
        observed: whether each target must have an observed value.
    """
    table, features = entries.table, spec.features
    real, cat = entries.static_arrays if features != features.without_statics() else (np.empty((0, 0)),) * 2
    return (
        entries.frequency.period_alias == spec.frequency.period_alias
        and features.num_covariates - features.num_known == len(table.past)
        and tuple(features.past_dynamic_cardinalities) == tuple(cardinalities(entries.statics.past))
        and not np.isinf(table.past).any()
        and (forecast or not features.weighted or table.weight is not None)
        and features.num_feat_static_real in (0, real.shape[1])
        and features.num_feat_static_cat in (0, cat.shape[1])
        and tuple(features.static_cardinalities) in ((), tuple(entries.statics.cardinality))
        and not np.isinf(real).any()
        and not np.isinf(table.target).any()
        and not (observed and (table.last_rows(table.observed) < 0).any())
        and (features.num_known == 0 or _fits_known(entries, spec, forecast))
    )


def _fits_known(entries: FrameEntries, spec: WindowSpec, forecast: bool) -> bool:
    known, future = entries.table.known, entries.future
    same = tuple(spec.features.dynamic_cardinalities) == tuple(cardinalities(entries.statics.known))
    if not same or len(known) != spec.features.num_known or np.isinf(known).any():
        return False
    if future is None:
        return not forecast
    return future.shape[1] >= spec.prediction_length and not bool(np.isinf(future).any())


def read_arrays(entries: FrameEntries, spec: WindowSpec) -> SeriesArrays:
    """The series of entries that fit the ``spec``, see :func:`fits`."""
    table, H, S = entries.table, spec.prediction_length, len(entries)
    bounds = table.bounds + H * np.arange(S + 1)
    rows = np.arange(len(table.timestamps)) + H * table.owners
    target = np.full(bounds[-1], np.nan, dtype=table.target.dtype)
    target[rows] = table.target
    covariates = np.full((bounds[-1], spec.features.num_covariates), np.nan, dtype=np.float32)
    known = spec.features.num_known
    if known:
        covariates[rows, :known] = table.known.T
        if entries.future is not None:
            ahead = (bounds[1:, None] + np.arange(-H, 0)).ravel()
            covariates[ahead, :known] = entries.future[:, :H].reshape(S * H, -1)
    if spec.features.num_covariates > known:
        covariates[rows, known:] = table.past.T
    weight = np.zeros(bounds[-1], dtype=np.float32)
    weight[rows] = np.nan_to_num(table.weight) if spec.features.weighted and table.weight is not None else 1
    none = np.empty((S, 0))
    real = entries.static_arrays[0] if spec.features.num_feat_static_real else none.astype(np.float32)
    cat = entries.static_arrays[1] if spec.features.num_feat_static_cat else none.astype(np.int64)
    return SeriesArrays(
        item_ids=entries.item_ids,
        infos=[None] * S,
        starts=entries.starts,
        bounds=bounds,
        horizon=H,
        time=_local_time(entries, spec, np.diff(bounds)),
        target=target,
        covariates=covariates,
        static_real=real,
        static_cat=cat,
        weight=weight,
    )


def _local_time(entries: FrameEntries, spec: WindowSpec, steps: np.ndarray) -> np.ndarray:
    """Base units since 1970 of the steps of each series, in local time, int64 ``[N]``."""
    times = StepTimes.of(entries, spec)
    number = np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    return times.at(np.repeat(np.arange(len(steps)), steps), number)


class StepTimes:
    """Local times of the steps of S series.

    Args:
        frequency: frequency of all series.
        first: first step of each series, int64 ``[S]``: nanoseconds since 1970 in UTC with a zone, else base units.
        zone: time zone, in whose absolute time steps are counted.
    """

    def __init__(self, frequency: Frequency, first: np.ndarray, zone: Any = None) -> None:
        self.frequency, self.first, self.zone = frequency, first, zone

    @classmethod
    def of(cls, entries: FrameEntries, spec: WindowSpec) -> StepTimes:
        """The times of entries."""
        first = time_index(entries.table.timestamps[entries.table.begins])
        zone = getattr(first, "tz", None)
        if zone is None or spec.frequency.unit not in TICKS:
            return cls(spec.frequency, entries.starts.asi8)
        return cls(spec.frequency, pd.DatetimeIndex(first).as_unit("ns").asi8, zone)

    def at(self, series: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Base units since 1970 of steps of some series, int64; the arrays have the same shape."""
        number = self.frequency.multiple * step
        if self.zone is None:
            return self.first[series] + number
        unit = TICKS[self.frequency.unit]
        utc = pd.DatetimeIndex((self.first[series] + number * unit).ravel()).tz_localize("UTC")
        return (utc.tz_convert(self.zone).tz_localize(None).as_unit("ns").asi8 // unit).reshape(number.shape)
