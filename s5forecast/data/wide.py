"""Wide frames, with a column for each series, as long frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frame_kinds import Frame, takes_frames
from s5forecast.data.long_frames import no_frame, require_column


@takes_frames("df")
def from_wide(
    df: Frame,
    *,
    item_id: str = "item_id",
    timestamp: str = "timestamp",
    target: str = "target",
    static: Mapping[str, Mapping[Any, Any]] | None = None,
) -> pd.DataFrame:
    """Convert a wide frame, with a column for each series, to a long frame.

    Args:
        df: Frame with the times as the column ``timestamp`` or, in pandas, as its index, and a column of numbers for
            each series. It may be a frame of any kind, and the result has the same kind.
        item_id, timestamp, target: Names of the columns of the result.
        static: Static columns by name, each a dict of the value of each series.

    Returns:
        Frame with the columns item_id, timestamp, target and the static columns, a row for each series and time, in
        the order of the columns. Rows before the first and after the last value of a series are left out, because a
        series is forecast from its own end.

    Raises:
        ValueError: For a frame that has no times, is long already, or has a column without numbers or without a name
            of its own; the message names the column and the fix.

    Example:
        >>> import pandas as pd
        >>> from s5forecast import from_wide
        >>> days = pd.date_range("2024-01-01", periods=3, name="timestamp")
        >>> from_wide(pd.DataFrame({"north": [1.0, 2.0, 3.0], "south": [4.0, None, None]}, days))
          item_id  timestamp  target
        0   north 2024-01-01     1.0
        1   north 2024-01-02     2.0
        2   north 2024-01-03     3.0
        3   south 2024-01-01     4.0
    """
    frame = _with_times(df, timestamp)
    columns = [name for name in frame.columns if name != timestamp]
    _check(frame, columns, item_id, timestamp, target)
    values = np.stack([_numbers(frame[name]) for name in columns])
    inside = _between_ends(~np.isnan(values))
    series, rows = np.nonzero(inside)
    items = pd.Series(pd.Index(columns).take(series), name=item_id)
    long = pd.DataFrame({item_id: items, timestamp: frame[timestamp].array[rows], target: values[inside]})
    return long.assign(**{name: _static(name, known, items, columns) for name, known in (static or {}).items()})


def _with_times(df: Any, timestamp: str) -> pd.DataFrame:
    """The frame with its times as a column."""
    if not isinstance(df, pd.DataFrame):
        raise ValueError(no_frame(df))
    if df.columns.nlevels > 1:
        raise ValueError(
            f"df has columns of {df.columns.nlevels} levels, such as {df.columns[0]}; join them to one name: "
            "df.columns = df.columns.map('_'.join)"
        )
    if timestamp in df:
        return df.reset_index(drop=True)
    if isinstance(df.index, pd.DatetimeIndex | pd.PeriodIndex) or df.index.name == timestamp:
        return df.rename_axis(timestamp).rename_axis(None, axis=1).reset_index()
    require_column(df, timestamp, "df", ". Name the column of the times with timestamp=, or make it the index")
    raise AssertionError("require_column raises")


def _check(frame: pd.DataFrame, columns: list[Any], item_id: str, timestamp: str, target: str) -> None:
    if not columns or frame.empty:
        raise ValueError(f"df has no {'rows' if columns else f'columns besides {timestamp!r}'}")
    if not frame.columns.is_unique:
        twice = list(dict.fromkeys(frame.columns[frame.columns.duplicated()]))
        raise ValueError(f"several columns of df have the same name: {twice}; rename them")
    if {item_id, target} & set(columns):
        found = sorted({item_id, target} & set(columns))
        raise ValueError(
            f"df has the columns {found}, as a long frame has; pass it to S5Forecaster as it is, or give other names "
            "with item_id= and target="
        )


def _numbers(values: pd.Series) -> np.ndarray:
    """Values as float64, NaN where missing."""
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_complex_dtype(values.dtype):
        try:
            return values.astype("float64").to_numpy()
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {values.name!r} must hold the numbers of a series, got {values.dtype}; leave it out with "
                f"df.drop(columns={values.name!r}), or convert it with pd.to_numeric"
            ) from error
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _between_ends(seen: np.ndarray) -> np.ndarray:
    """Whether each time is from the first to the last value of its series, ``[S, T]``; all times without a value."""
    begun = np.logical_or.accumulate(seen, axis=1)
    left = np.logical_or.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
    return (begun & left) | ~seen.any(axis=1, keepdims=True)


def _static(name: str, values: Mapping[Any, Any], items: pd.Series, columns: list[Any]) -> pd.Series:
    missing = [item for item in columns if item not in values]
    if missing:
        raise ValueError(f"static column {name!r} has no value for series {missing[0]!r}; add it")
    return items.map(values).rename(name)
