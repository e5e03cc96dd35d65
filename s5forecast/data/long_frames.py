"""Data as a long frame with its series and times as columns, and what to do about data of another form."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

# Names of columns that are listed in an error.
MAX_LISTED = 20


def long_frame(data: Any, identity: Sequence[str], timestamp: str, value: str, what: str = "df") -> pd.DataFrame:
    """A frame whose series and times are columns, also if they are levels of its index.

    Args:
        data: long frame, or a Series of the values of one series, or of several by the levels of its index.
        identity, timestamp: names of the columns that identify series, and of times.
        value: column of the values of a Series, and of a wide frame after its conversion.
        what: name of the frame in error messages.

    Raises:
        ValueError: for other data, with the conversion.
    """
    frame = data.to_frame(value) if isinstance(data, pd.Series) else data
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(no_frame(frame, what))
    if frame.columns.nlevels > 1:
        raise ValueError(_two_levels(frame, timestamp, what))
    levels = [name for name in frame.index.names if name in (*identity, timestamp)]
    if levels:
        frame = frame.reset_index([name for name in levels if name not in frame])
    elif frame.index.nlevels > 1 and timestamp not in frame:
        raise ValueError(
            f"the index of {what} has the levels {list(frame.index.names)}; name them with "
            f"{what.rstrip('=')}.rename_axis({[*identity, timestamp]})"
        )
    times_in_index = isinstance(data, pd.Series) or isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex)
    if timestamp not in frame and times_in_index:
        frame = frame.rename_axis(timestamp).reset_index()
    return frame


def no_frame(data: Any, what: str = "df") -> str:
    """Error message for data that are no frame; for data on disk, with the fix."""
    on_disk = isinstance(data, str | Path) or hasattr(data, "schema")
    fix = "; data on disk are not read here; pass a frame, such as pandas.read_parquet(path)" if on_disk else ""
    return f"{what} must be a data frame of pandas, Polars or pyarrow, got {type(data).__name__}{fix}"


def require_columns(frame: pd.DataFrame, columns: Sequence[str], what: str, **long: str) -> None:
    """As :func:`require_column` for several columns.

    Args:
        long: names of the columns ``timestamp``, ``item_id`` and ``value`` of a wide frame after its conversion.
    """
    for column in columns:
        if column not in frame:
            hint = conversion(frame, what, **long) if column in long.values() else ""
            require_column(frame, column, what, hint)


def require_column(frame: pd.DataFrame, column: str, what: str, wide: str = "") -> None:
    """Raise ValueError if a frame with the name ``what`` lacks a column.

    The message names a similar column, or ends with ``wide``, the conversion of a wide frame.
    """
    if column not in frame.columns:
        found = frame.columns[:MAX_LISTED].tolist()
        close = get_close_matches(column, [name for name in found if isinstance(name, str)], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        if column in map(str, found):
            name = what.rstrip("=")
            hint = f", as text; convert the names of its columns to text: {name} = {name}.rename(columns=str)."
        more = f" and {len(frame.columns) - MAX_LISTED} more" if len(frame.columns) > MAX_LISTED else ""
        raise ValueError(f"{what} has no column {column!r}{hint} Its columns are {found}{more}{'' if close else wide}")


def conversion(frame: pd.DataFrame, what: str, *, timestamp: str, item_id: str, value: str) -> str:
    """The line that converts a wide frame, with a column for each series; empty if the frame has another form.

    Args:
        frame: frame with the times as a column.
        what: name of the frame.
        timestamp, item_id, value: names of the columns after the conversion.
    """
    numbers = [name for name in frame.select_dtypes("number") if name != timestamp]
    if timestamp not in frame or item_id in frame or value in frame or not numbers:
        return ""
    name = what.rstrip("=")
    given = {"item_id": item_id, "timestamp": timestamp, "target": value}
    others = "".join(f", {role}={column!r}" for role, column in given.items() if role != column)
    return f". If each column is a series, convert it: {name} = s5forecast.from_wide({name}{others})"


def _two_levels(frame: pd.DataFrame, timestamp: str, what: str) -> str:
    name = what.rstrip("=")
    return (
        f"{what} has columns of {frame.columns.nlevels} levels, such as {frame.columns[0]}; move all but the first to "
        f"rows: {name} = {name}.stack(list(range(1, {name}.columns.nlevels)), future_stack=True)"
        f".rename_axis([{timestamp!r}, 'item_id']).reset_index()"
    )
