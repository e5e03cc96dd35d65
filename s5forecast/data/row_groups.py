"""Rows of further columns, such as known covariates over the horizon, divided by groups of series."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd

from s5forecast.data.conversion import arrow_to_pandas
from s5forecast.data.disk_data import DiskData
from s5forecast.data.frames import Columns
from s5forecast.data.items import read_items
from s5forecast.data.long_frames import long_frame
from s5forecast.data.partitions import read_part, write_parts
from s5forecast.data.series_numbers import SeriesNumbers, series_codes
from s5forecast.data.table import SeriesTable
from s5forecast.data.temporary_folder import TemporaryFolder


class RowGroups(Protocol):
    """Rows of groups of series; each group begins with the first of all rows, so that none is empty."""

    def frame(self, group: int) -> pd.DataFrame:
        """The rows of a group; rows of unknown series are left out."""


def group_rows(data: Any, series: SeriesTable, groups: np.ndarray, columns: Columns) -> RowGroups:
    """Divide the rows of ``future=`` by groups of series.

    Args:
        data: long frame, or data on disk.
        series: S series.
        groups: group of each series, ``[S]``.
        columns: roles of the columns.
    """
    make = DiskGroups if isinstance(data, DiskData) else FrameGroups
    return make(data, series, groups, columns)


class FrameGroups:
    """The rows of a frame by group, as positions; arguments are those of :func:`group_rows`."""

    def __init__(self, data: Any, series: SeriesTable, groups: np.ndarray, columns: Columns) -> None:
        value = columns.known[0] if columns.known else columns.target
        self._frame = long_frame(data, columns.identity, columns.timestamp, value, "future=")
        items = read_items(self._frame, columns.identity_in(self._frame), "future=")
        place = pd.Index(series.items, dtype=object).get_indexer(pd.Index(items.labels, dtype=object))
        of_items = np.where(place < 0, -1, groups[place])
        self._groups = of_items[items.codes]
        self._order = np.argsort(self._groups, kind="stable")

    def frame(self, group: int) -> pd.DataFrame:
        begin, end = np.searchsorted(self._groups[self._order], [group, group + 1])
        first = np.arange(min(1, len(self._frame)))
        return self._frame.iloc[np.union1d(first, self._order[begin:end])]


class DiskGroups:
    """The rows of data on disk by group, in files; arguments are those of :func:`group_rows`."""

    def __init__(self, data: DiskData, series: SeriesTable, groups: np.ndarray, columns: Columns) -> None:
        identity = columns.identity_in(data.empty)
        names = [name for name in (*identity, columns.timestamp, *columns.known) if name in data.schema.names]
        self._folder = TemporaryFolder(data.temporary())
        self._first = data.dataset.head(1, columns=names)
        found = SeriesNumbers()
        if identity and list(series.keys) == identity:
            found.add(_hashes_of(series, identity))
        of_numbers = np.append(groups, -1)  # the last one is that of an unknown series

        def groups_of(batch: Any) -> np.ndarray:
            if not identity:
                return np.zeros(batch.num_rows, dtype=np.int64)
            codes, hashes = series_codes([batch.column(name) for name in identity])
            return of_numbers[found.find(hashes)][codes]

        first = self._first.to_batches()
        self._first_group = int(groups_of(first[0])[0]) if first else 0
        write_parts(data.batches(names), groups_of, self._folder.path)

    def frame(self, group: int) -> pd.DataFrame:
        import pyarrow as pa

        rows = read_part(self._folder.path, group, self._first.schema)
        first = self._first.slice(0, int(group != self._first_group))
        return arrow_to_pandas(pa.concat_tables([first, rows]))


def _hashes_of(series: SeriesTable, identity: list[str]) -> np.ndarray:
    import pyarrow as pa

    columns = [pa.array(series.keys[name].tolist()) for name in identity]
    codes, hashes = series_codes(columns)
    return hashes[codes]
