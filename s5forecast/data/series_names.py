"""Labels of series, and the columns that identify them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from s5forecast.data.items import join_keys, label_keys

# Text in one buffer, instead of a Python object for each value.
PACKED_TEXT: Any = "string[pyarrow]"


@dataclass(frozen=True, eq=False)
class SeriesNames:
    """Names of S series.

    Args:
        items: label of each series; ``[None]`` if the frame has no column that identifies series.
        keys: columns that identify the series, one row for each, indexed by label.
    """

    items: list[Any]
    keys: pd.DataFrame

    def __len__(self) -> int:
        return len(self.items)

    def label(self, position: int) -> Any:
        """Label of a series."""
        return self.items[position]

    def take(self, positions: np.ndarray) -> SeriesNames:
        """The names of some of the series."""
        return SeriesNames([self.items[position] for position in positions.tolist()], self.keys.iloc[positions])


class PackedNames:
    """Names of many series as compact arrays; Python objects are created when they are used.

    Args:
        labels: label of each series.
        columns: columns that identify the series, with the same index as the labels.
    """

    def __init__(self, labels: pd.Series, columns: pd.DataFrame) -> None:
        self._labels, self._columns = labels, columns

    @classmethod
    def of(cls, names: SeriesNames | PackedNames) -> PackedNames:
        """The names of a table in memory."""
        labels = pd.Series(names.items, dtype=object)
        columns = {name: _packed_text(column) for name, column in names.keys.reset_index(drop=True).items()}
        return cls(_packed_text(labels), pd.DataFrame(columns, index=labels.index))

    @classmethod
    def joined(cls, parts: Sequence[PackedNames]) -> PackedNames:
        """The names of several tables."""
        labels = _in_one_piece(pd.concat([part._labels for part in parts], ignore_index=True))
        keys = join_keys(*(part._columns for part in parts)).reset_index(drop=True)
        columns = pd.DataFrame({name: _in_one_piece(column) for name, column in keys.items()}, index=labels.index)
        if len(columns.columns) == 1 and labels.equals(columns.iloc[:, 0]):
            labels = columns.iloc[:, 0]  # held once
        return cls(labels, columns)

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def items(self) -> list[Any]:
        """As for :class:`SeriesNames`."""
        return self._unpacked.items

    @property
    def keys(self) -> pd.DataFrame:
        """As for :class:`SeriesNames`."""
        return self._unpacked.keys

    def label(self, position: int) -> Any:
        """Label of a series."""
        return self._labels.iloc[position]

    def take(self, positions: np.ndarray) -> PackedNames:
        """The names of some of the series."""
        return PackedNames(self._labels.iloc[positions], self._columns.iloc[positions])

    @cached_property
    def _unpacked(self) -> SeriesNames:
        labels, keys = self._labels.tolist(), self._columns
        text: Any = {name: object for name, dtype in keys.dtypes.items() if dtype == PACKED_TEXT}
        return SeriesNames(labels, label_keys(keys.astype(text), labels))


def _packed_text(column: pd.Series) -> pd.Series:
    """A column of text without a Python object for each value; other columns unchanged."""
    is_text = column.dtype == object and infer_dtype(column, skipna=False) == "string"
    return column.astype(PACKED_TEXT) if is_text else column


def _in_one_piece(column: pd.Series) -> pd.Series:
    """Packed text without the pieces that were joined, which slow down every access; other columns unchanged."""
    import pyarrow as pa

    if column.dtype != PACKED_TEXT:
        return column
    values = pa.array(column.array)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    return pd.Series(pd.array(values, dtype=PACKED_TEXT), name=column.name)
