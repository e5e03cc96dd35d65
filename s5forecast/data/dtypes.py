"""Columns without the dtypes that hide those of their values."""

from __future__ import annotations

import pandas as pd


def own_dtype(values: pd.Series) -> pd.Series:
    """The values of a categorical column or of a column of Python objects, with their own dtype."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        return values.infer_objects()
    dtype = values.cat.categories.dtype
    if pd.api.types.is_integer_dtype(dtype) and values.hasnans:
        return values.astype("float64")
    return values.astype(dtype)
