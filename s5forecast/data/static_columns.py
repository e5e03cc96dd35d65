"""Static columns of long frames as numbers or as labels of categories."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.faults import raise_for_rows

UNKNOWN = -1  # code of an unknown category


def static_values(values: pd.Series) -> pd.Series:
    """Numbers as float64, NaN where missing; any other column as text labels, ``None`` where missing.

    The dtype decides: nullable and Arrow numbers are numbers, and so are Python objects that are all numbers.
    Categories, also those of numbers, booleans and text are labels.
    """
    dtype = values.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype):
        return values.astype("float64")
    codes, found = pd.factorize(values)
    unique = found.astype(object) if isinstance(found, pd.Index) else np.asarray(found, dtype=object)
    if pd.api.types.is_object_dtype(dtype) and len(unique) and all(map(_is_number, unique)):
        return values.astype("float64")
    labels = np.array([*map(category_label, unique), None], dtype=object)
    return pd.Series(labels[codes], values.index, name=values.name)


def refuse_infinite(values: pd.Series, codes: np.ndarray, names: Sequence[str]) -> None:
    """Raise ValueError, naming the series, for an infinite number in a static column."""
    if pd.api.types.is_float_dtype(values):
        raise_for_rows(
            np.isinf(values.to_numpy()),
            codes,
            names,
            lambda row: (
                f"{names[codes[row]]}: static column {values.name!r} is infinite; correct the value or mark it as "
                "missing (NaN)"
            ),
        )


def category_code(value: Any, categories: Sequence[str]) -> int:
    """Position of a category; numbers also stand for booleans, and for the spelling of earlier versions."""
    if pd.isna(value):
        return UNKNOWN
    names = [category_label(value), str(value)]
    if isinstance(value, float) and value in (0, 1):
        names.append(str(bool(value)))
    return next((categories.index(name) for name in names if name in categories), UNKNOWN)


def category_label(value: Any) -> str:
    """Text of a category; whole numbers have no decimals, so that 1 and 1.0 are the same category."""
    if _is_number(value):
        return str(int(value)) if value == value // 1 else str(float(value))
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_)
