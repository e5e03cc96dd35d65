"""Frames of any kind that narwhals reads as frames of pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import pandas as pd


def pandas_frame(found: nw.DataFrame[Any]) -> pd.DataFrame:
    """A frame of narwhals in pandas."""
    return pd.DataFrame({name: _series(found[name]) for name in found.columns})


def arrow_to_pandas(table: Any) -> pd.DataFrame:
    """A table of Arrow in pandas."""
    return pandas_frame(nw.from_native(table, eager_only=True))


def narwhals_frame(data: Any) -> nw.DataFrame[Any] | None:
    """The frame in narwhals, collected if it is lazy; ``None`` for pandas and for other objects."""
    if data is None or isinstance(data, pd.DataFrame | pd.Series | str | Mapping | Sequence):
        return None
    found = nw.from_native(data, pass_through=True)
    if isinstance(found, nw.LazyFrame):
        found = found.collect()
    return found if isinstance(found, nw.DataFrame) else None


def _series(column: nw.Series[Any]) -> pd.Series:
    """A column in pandas: missing numbers are NaN, missing text is ``None``."""
    dtype = column.dtype
    if isinstance(dtype, nw.Categorical | nw.Enum):
        return pd.Series(pd.Categorical(column.cast(nw.String()).to_numpy()))
    if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
        instants: Any = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        return pd.Series(instants).dt.tz_localize("UTC").dt.tz_convert(dtype.time_zone)
    return pd.Series(column.to_numpy())
