"""GluonTS entries and checked series of a table on disk, read when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from s5forecast.data.covariates import encoded
from s5forecast.data.frame_entries import FrameEntries, StepTimes, TableEntries, fits, read_arrays
from s5forecast.data.frequency import Frequency
from s5forecast.data.mapped_table import MappedTable
from s5forecast.data.series import Series, SeriesArrays
from s5forecast.data.spec import WindowSpec
from s5forecast.data.statics import StaticFeatures

# Series that are read at a time, at different places of the files.
READ_SERIES = 8


class MappedEntries(TableEntries):
    """GluonTS entries of the series of a table on disk, in any order.

    Args:
        table: series.
        frequency: frequency of all series.
        statics: encoding of the static columns and the covariates.
        order: position in the table of each entry, ``[S]``; that of the table by default.
    """

    table: MappedTable

    def __init__(
        self, table: MappedTable, frequency: Frequency, statics: StaticFeatures, order: np.ndarray | None = None
    ) -> None:
        self.table, self.frequency, self.statics = table, frequency, statics
        self.order = np.arange(len(table)) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> FrameEntries: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | FrameEntries:
        if isinstance(index, slice):
            return self._in_memory(self.table.take(self.order[index]))
        position = range(len(self))[index]
        return self[position : position + 1][0]

    def take(self, positions: Sequence[int] | np.ndarray) -> MappedEntries:
        return MappedEntries(self.table, self.frequency, self.statics, self.order[positions])

    def blocks(self) -> Iterator[FrameEntries]:
        for table in self.table.blocks():
            yield self._in_memory(table)

    def _in_memory(self, table: Any) -> FrameEntries:
        return FrameEntries(self.statics.encode_covariates(table), self.frequency, self.statics)


class Steps(NamedTuple):
    """What belongs to steps of some series beside the target; all have the same shape."""

    time: np.ndarray  # int64, base units since 1970, in local time
    covariates: np.ndarray  # float32, with F as a further last dimension
    weight: np.ndarray | None


class MappedSeries(Sequence[Series]):
    """Checked training series on disk, of which single steps can be read.

    Args:
        entries: S entries that :func:`all_fit`.
        spec: contents of the windows.
    """

    def __init__(self, entries: MappedEntries, spec: WindowSpec) -> None:
        self.entries, self.spec = entries, spec
        first = [StepTimes.of(block, spec) for block in entries.blocks()]
        order, table = entries.order, entries.table
        self._times = StepTimes(spec.frequency, np.concatenate([one.first for one in first])[order], first[0].zone)
        self._begin, self.lengths = table.begins[order], table.lengths[order]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Series: ...
    @overload
    def __getitem__(self, index: slice) -> SeriesArrays: ...
    def __getitem__(self, index: int | slice) -> Series | SeriesArrays:
        if isinstance(index, slice):
            return read_arrays(self.entries[index], self.spec)
        position = range(len(self))[index]
        return self[position : position + 1][0]

    def __iter__(self) -> Iterator[Series]:
        for begin in range(0, len(self), READ_SERIES):
            yield from self[begin : begin + READ_SERIES]

    def blocks(self) -> Iterator[SeriesArrays]:
        """The series in the order of the table, a block in memory at a time."""
        return (read_arrays(block, self.spec) for block in self.entries.blocks())

    def target(self, index: np.ndarray, step: np.ndarray) -> np.ndarray:
        """Values at steps ``[B, T]`` of series ``index [B]``, NaN where not observed; others outside of the series."""
        return self._at(self._table.target, self._rows(index, step))

    def begins_of(self, index: np.ndarray, count: np.ndarray) -> list[np.ndarray]:
        """The first ``count [B]`` values of series ``index [B]``."""
        found = []
        for begin, number in zip(self._begin[index].tolist(), count.tolist(), strict=True):
            found.append(self._table.target[begin : begin + number].copy())
            self._table.mapped.count(found[-1].nbytes)
        return found

    def steps(self, index: np.ndarray, step: np.ndarray) -> Steps:
        """Steps ``[B, T]`` of series ``index [B]``; outside of a series, those of its first or last step."""
        table, statics, features = self._table, self.entries.statics, self.spec.features
        rows = self._rows(index, step)
        covariates = np.empty((*rows.shape, features.num_covariates), dtype=np.float32)
        if features.num_known:
            known = encoded(self._at(table.known, rows).reshape(features.num_known, -1), table.labels, statics.known)
            covariates[..., : features.num_known] = known.T.reshape(*rows.shape, -1)
        if features.num_covariates > features.num_known:
            past = encoded(self._at(table.past, rows).reshape(len(table.past), -1), table.labels, statics.past)
            covariates[..., features.num_known :] = past.T.reshape(*rows.shape, -1)
        weight = self._at(table.weight, rows) if features.weighted and table.weight is not None else None
        return Steps(self._times.at(np.broadcast_to(index[:, None], step.shape), step), covariates, weight)

    @property
    def _table(self) -> MappedTable:
        return self.entries.table

    def _at(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Values ``[..., R]`` of rows ``[B, T]``, ``[..., B, T]``."""
        found = []
        for begin in range(0, max(len(rows), 1), READ_SERIES):
            found.append(values[..., rows[begin : begin + READ_SERIES]])
            self._table.mapped.count(found[-1].nbytes, min(len(rows), READ_SERIES))
        return found[0] if len(found) == 1 else np.concatenate(found, axis=-2)

    def _rows(self, index: np.ndarray, step: np.ndarray) -> np.ndarray:
        return self._begin[index, None] + np.clip(step, 0, self.lengths[index, None] - 1)


def all_fit(entries: MappedEntries, spec: WindowSpec, *, observed: bool) -> bool:
    """Whether all entries are valid training series, see :func:`~s5forecast.data.frame_entries.fits`."""
    return all(fits(block, spec, forecast=False, observed=observed) for block in entries.blocks())
