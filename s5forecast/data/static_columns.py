"""Static columns of long frames as numbers or as labels of categories."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.faults import raise_for_rows
from s5forecast.data.single_precision import RANGE, too_large

UNKNOWN = -1  # code of an unknown category


def static_values(values: pd.Series) -> pd.Series:
    """Numbers as float64, NaN where missing; any other column as text labels, ``None`` where missing.

    The dtype decides: nullable and Arrow numbers are numbers, and so are Python objects that are all numbers.
    Categories, also those of numbers, booleans and text are labels.
    """
    dtype = values.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype):
        return values.astype("float64")
    _, unique = _factorized(values)
    if pd.api.types.is_object_dtype(dtype) and len(unique) and all(map(_is_number, unique)):
        return values.astype("float64")
    return category_labels(values)


def category_labels(values: pd.Series) -> pd.Series:
    """Text of each category of a column of any dtype, ``None`` where missing."""
    codes, unique = _factorized(values)
    labels = np.array([*map(category_label, unique), None], dtype=object)
    return pd.Series(labels[codes], values.index, name=values.name)


def _factorized(values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Position of each value among the distinct ones, -1 where missing, and these as Python objects."""
    codes, found = pd.factorize(values)
    return codes, np.asarray(found.astype(object) if isinstance(found, pd.Index) else found, dtype=object)


def refuse_too_large(values: pd.Series, codes: np.ndarray, names: Sequence[str]) -> None:
    """Raise ValueError, naming the series, for a number in a static column that single precision cannot represent."""
    if not pd.api.types.is_float_dtype(values):
        return
    numbers = values.to_numpy()

    def text(row: int) -> str:
        found = "infinite" if np.isinf(numbers[row]) else f"{numbers[row]:g}, but {RANGE}"
        fix = "correct the value or mark it as missing (NaN)" if np.isinf(numbers[row]) else "divide it by a constant"
        return f"{names[codes[row]]}: static column {values.name!r} is {found}; {fix}"

    raise_for_rows(too_large(numbers), codes, names, text)


def category_code(value: Any, categories: Sequence[str]) -> int:
    """Position of a category.

    1, 1.0, "1" and "1.0" are the same category, and 0 and 1 also stand for booleans.
    """
    if pd.isna(value):
        return UNKNOWN
    label = category_label(value)
    whole = label.removesuffix(".0")
    names = [label, str(value), f"{label}.0", whole] + ([str(whole == "1")] if whole in ("0", "1") else [])
    return next((categories.index(name) for name in names if name in categories), UNKNOWN)


def category_label(value: Any) -> str:
    """Text of a category; whole numbers have no decimals, so that 1 and 1.0 are the same category."""
    if _is_number(value):
        return str(int(value)) if value == value // 1 else str(float(value))
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_)
