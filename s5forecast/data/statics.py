"""Encoding of the static columns of a frame as numbers and category codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns

UNKNOWN = -1


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
        categorical: the other columns.
        categories: known categories of each categorical column.
    """

    real: Sequence[str] = ()
    categorical: Sequence[str] = ()
    categories: Sequence[Sequence[str]] = ()

    @classmethod
    def learn(cls, series: Sequence[HasStatic], columns: Columns) -> StaticFeatures:
        """Learn the encoding of the static columns of the training series."""
        values = {column: pd.Series([one.static[column] for one in series]) for column in columns.static}
        real = [column for column, found in values.items() if _is_number(found)]
        categorical = [column for column in values if column not in real]
        categories = [sorted(values[column].dropna().astype(str).unique()) for column in categorical]
        return cls(real, categorical, categories)

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
            names.index(str(one.static[column])) if str(one.static[column]) in names else UNKNOWN
            for column, names in zip(self.categorical, self.categories, strict=True)
        ]
        numbers = [_number(one, column) for column in self.real]
        return {
            "feat_static_real": np.array(numbers, dtype=np.float32),
            "feat_static_cat": np.array(codes, dtype=np.int64),
        }

    def encode_all(self, series: Sequence[HasStatic]) -> tuple[np.ndarray, np.ndarray]:
        """The fields of :meth:`encode` of S series, float32 and int64 ``[S, F]``."""
        if not self.real and not self.categorical:
            return np.empty((len(series), 0), dtype=np.float32), np.empty((len(series), 0), dtype=np.int64)
        encoded = [self.encode(one) for one in series]
        real, cat = (np.stack([one[field] for one in encoded]) for field in ("feat_static_real", "feat_static_cat"))
        return real, cat


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _number(one: HasStatic, column: str) -> float:
    value = one.static[column]
    try:
        return float("nan") if pd.isna(value) else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{one.name}: static column {column!r} was numeric in training but is {value!r} here; convert it"
        ) from error
