"""Encoding of the static columns of a frame as numbers and category codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns
from s5forecast.data.static_columns import category_label
from s5forecast.data.table import SeriesTable
from s5forecast.notices import warn_user

UNKNOWN = -1
# Categories listed in a warning.
MAX_LISTED = 3


class HasStatic(Protocol):
    """A series of a frame with the values of its static columns."""

    @property
    def name(self) -> str: ...

    @property
    def static(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class StaticFeatures:
    """Encoding of static columns, learned from the training series.

    Args:
        real: numeric columns.
        categorical: the other columns: categories, booleans and text.
        categories: labels of the known categories of each categorical column.
    """

    real: Sequence[str] = ()
    categorical: Sequence[str] = ()
    categories: Sequence[Sequence[str]] = ()

    @classmethod
    def learn(cls, series: SeriesTable, columns: Columns) -> StaticFeatures:
        """Learn the encoding of the static columns of the training series."""
        values = {column: series.static[column].tolist() for column in columns.static}
        real = [column for column, found in values.items() if all(isinstance(value, float) for value in found)]
        categorical = [column for column in values if column not in real]
        categories = [
            sorted({category_label(value) for value in values[column] if not pd.isna(value)}) for column in categorical
        ]
        return cls(real, categorical, categories)

    def warn_of_unknown(self, series: SeriesTable) -> None:
        """Warn about each categorical column none of whose values occurred in training."""
        for column, names in zip(self.categorical, self.categories, strict=True):
            found = series.static[column].dropna().unique().tolist()
            if found and all(_code(value, names) == UNKNOWN for value in found):
                shown = [category_label(value) for value in found]
                warn_user(
                    f"no value of the static column {column!r} is a category of the training, which had "
                    f"{_listed(names)}; found {_listed(shown)}. All are treated as unknown; write them as in training"
                )

    @property
    def cardinality(self) -> list[int]:
        """Number of categories of each categorical column."""
        return [len(names) for names in self.categories]

    def encode(self, one: HasStatic) -> dict[str, np.ndarray]:
        """The entry fields ``feat_static_real`` and ``feat_static_cat``; an unknown category is -1.

        Raises:
            ValueError: if a column that was numeric in training has a value that is not a number.
        """
        codes = [
            _code(one.static[column], names) for column, names in zip(self.categorical, self.categories, strict=True)
        ]
        numbers = [_number(one, column) for column in self.real]
        return {
            "feat_static_real": np.array(numbers, dtype=np.float32),
            "feat_static_cat": np.array(codes, dtype=np.int64),
        }

    def encode_all(self, series: SeriesTable) -> tuple[np.ndarray, np.ndarray]:
        """The fields of :meth:`encode` of S series, float32 and int64 ``[S, F]``."""
        real = np.empty((len(series), len(self.real)), dtype=np.float32)
        cat = np.empty((len(series), len(self.categorical)), dtype=np.int64)
        for number, column in enumerate(self.real):
            values = series.static[column]
            numeric = pd.api.types.is_float_dtype(values)
            real[:, number] = values if numeric else [_number(one, column) for one in series]
        for number, (column, names) in enumerate(zip(self.categorical, self.categories, strict=True)):
            positions, found = pd.factorize(series.static[column])
            cat[:, number] = np.array([*(_code(value, names) for value in found), UNKNOWN])[positions]
        return real, cat


def _listed(names: Sequence[str]) -> str:
    """The first names, as text."""
    return f"{list(names[:MAX_LISTED])}" + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def _code(value: Any, categories: Sequence[str]) -> int:
    """Position of a category; numbers also stand for booleans, and for the spelling of earlier versions."""
    if pd.isna(value):
        return UNKNOWN
    names = [category_label(value), str(value)]
    if isinstance(value, float) and value in (0, 1):
        names.append(str(bool(value)))
    return next((categories.index(name) for name in names if name in categories), UNKNOWN)


def _number(one: HasStatic, column: str) -> float:
    value = one.static[column]
    try:
        return float("nan") if pd.isna(value) else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{one.name}: static column {column!r} was numeric in training but is {value!r} here; convert it"
        ) from error
