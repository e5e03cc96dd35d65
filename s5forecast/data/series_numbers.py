"""Numbers of series in the order in which they first appear in batches of Arrow rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

# Odd multiplier that combines the hashes of several columns.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class SeriesNumbers:
    """Numbers S series from 0, by hashes of the columns that identify them: 16 bytes for each series.

    Two series with the same hash have the same number, so numbers only group rows; the series of a group are told apart
    when they are read.
    """

    def __init__(self) -> None:
        self._hashes, self._numbers = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Numbers of distinct hashes, new ones in their order; int64."""
        found = self.find(hashes)
        new = found < 0
        if not new.any():
            return found
        found[new] = len(self) + np.arange(np.count_nonzero(new))
        order = np.argsort(hashes[new])
        added = hashes[new][order]
        places = np.searchsorted(self._hashes, added)
        self._hashes = np.insert(self._hashes, places, added)
        self._numbers = np.insert(self._numbers, places, found[new][order])
        return found

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Numbers of hashes, -1 for unknown ones; int64."""
        if not len(self):
            return np.full(len(hashes), -1, dtype=np.int64)
        place = np.searchsorted(self._hashes, hashes).clip(max=len(self) - 1)
        return np.where(self._hashes[place] == hashes, self._numbers[place], -1)


def series_codes(columns: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The series of rows.

    Args:
        columns: Arrow arrays that identify the series of M rows.

    Returns:
        Position of the series of each row, ``[M]``, and a hash of each series in order of first appearance, uint64.
    """
    if len(columns) == 1:
        codes, distinct = _encoded(columns[0])
        return codes, _hashes(distinct)
    rows = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        codes, distinct = _encoded(column)
        rows = rows * MULTIPLIER ^ _hashes(distinct)[codes]
    return pd.factorize(rows)


def _encoded(column: Any) -> tuple[np.ndarray, Any]:
    """Position of each value among the distinct ones, which are in order of first appearance."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        found = column.dictionary_encode(null_encoding="encode")
    except pa.ArrowNotImplementedError as error:
        raise ValueError(f"values of type {column.type} cannot identify series; convert them to text") from error
    return found.indices.to_numpy(), found.dictionary


def _hashes(values: Any) -> np.ndarray:
    """Hashes of the text of values, the same for integers of any width."""
    import pyarrow as pa

    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    if pa.types.is_floating(values.type):
        values = pa.array([int(one) if one is not None and one == one // 1 else one for one in values.to_pylist()])
    try:
        text = values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        text = pa.array(list(map(str, values.to_pylist())))
    return pd.util.hash_array(text.to_numpy(zero_copy_only=False), categorize=False)
