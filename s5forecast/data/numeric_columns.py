"""Numeric columns of long frames, and how to convert text to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real

import numpy as np
import pandas as pd

from s5forecast.data.faults import raise_for_rows

DECIMAL_COMMA = r"\s*[-+]?[\d. ]*\d,\d+\s*"
GROUPS_OF_THREE = r"\s*[-+]?\d{1,3}(?:,\d{3})+\s*"


def column_numbers(
    values: pd.Series, times: pd.Series, codes: np.ndarray, names: Sequence[str], *, categories: bool = False
) -> pd.Series:
    """Convert a column to floats, NaN where missing.

    Args:
        values, times: value and time of each row.
        codes: position in ``names`` of the series of each row.
        names: names of the series.
        categories: whether text in the column may stand for categories, for the error.

    Raises:
        ValueError: for text or an infinite value, naming the series and the column.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if not pd.api.types.is_numeric_dtype(values):
        text = values.map(lambda value: not pd.isna(value) and not isinstance(value, Real | Decimal)).astype(bool)
        if text.any() or not pd.api.types.is_object_dtype(values):
            fix = _conversion(values[text], categories)
            raise_for_rows(
                text.to_numpy() if text.any() else np.ones(len(text), dtype=bool),
                codes,
                names,
                lambda row: (
                    f"{names[codes[row]]}: column {values.name!r} must hold numbers, got {values.iloc[row]!r}; " + fix
                ),
            )
    numbers = values.astype("float32" if values.dtype == np.float32 else "float64")
    infinite = np.isinf(numbers.to_numpy())
    raise_for_rows(
        infinite,
        codes,
        names,
        lambda row: (
            f"{names[codes[row]]}: column {values.name!r} is infinite at {times.iloc[row]}; "
            "correct the value or mark it as missing (NaN)"
        ),
    )
    return numbers


def _conversion(text: pd.Series, categories: bool) -> str:
    """How to convert a column with these values to numbers."""
    found = text.astype(str)
    with_comma = found[found.str.contains(",", regex=False)]
    if len(with_comma) and with_comma.str.fullmatch(GROUPS_OF_THREE).all():
        return (
            "read the file with pd.read_csv(..., decimal=',') if this is a decimal comma, or with thousands=',' if it "
            "separates thousands"
        )
    if len(with_comma) and with_comma.str.fullmatch(DECIMAL_COMMA).all():
        return "read the file with pd.read_csv(..., decimal=',')"
    if pd.to_numeric(found, errors="coerce").notna().all():
        return "convert it with pd.to_numeric"
    if categories:
        return "convert numbers with pd.to_numeric, and categories with pd.get_dummies"
    return "convert it with pd.to_numeric, which marks other text as missing with errors='coerce'"
