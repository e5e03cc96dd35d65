"""Timestamps given as text, and how to convert text that cannot be read safely."""

from __future__ import annotations

import pandas as pd

# Day and month in either order, then the year and optionally a time of day.
NUMERIC_DATE = r"^(\d{1,2})([/.-])(\d{1,2})([/.-])(\d{4}|\d{2})( \d{1,2}:\d{2}(?::\d{2})?)?$"


def to_timestamps(values: pd.Series, frame: str = "df") -> pd.Series:
    """Convert ISO 8601 text to timestamps.

    Args:
        values: column of a frame.
        frame: name of the frame in error messages.

    Raises:
        ValueError: for other values, naming the column and the conversion.
    """
    name = f"column {values.name!r}" + ("" if frame == "df" else f" of {frame}")
    column = f"{frame.rstrip('=')}[{values.name!r}]"
    try:
        stamps = pd.to_datetime(values, format="ISO8601")
    except (TypeError, ValueError):
        bad = _first_unreadable(values)
        if bad is None:
            raise _mixed_zones(name, column) from None
        raise ValueError(
            f"{name} cannot be read as ISO 8601 timestamps, for example {bad!r}; convert it first: "
            + _conversion(values, column)
        ) from None
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        raise _mixed_zones(name, column)
    return stamps


def _mixed_zones(name: str, column: str) -> ValueError:
    return ValueError(
        f"{name} has timestamps with several time zones or UTC offsets; convert it first: "
        f"{column} = pd.to_datetime({column}, utc=True)"
    )


def _first_unreadable(values: pd.Series) -> object:
    """The first value that is not a timestamp; ``None`` if each one is."""
    found = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
    bad = values[found.isna() & values.notna()]
    return None if bad.empty else bad.iloc[0]


def _conversion(values: pd.Series, column: str) -> str:
    """The line that converts a column, with the format of its dates if all have the same."""
    call = f"{column} = pd.to_datetime({column}, "
    parts = values.dropna().astype(str).str.strip().str.extract(NUMERIC_DATE)
    styles = pd.DataFrame({1: parts[1], 3: parts[3], 4: parts[4].str.len(), 5: parts[5].fillna("").str.count(":")})
    if parts[0].isna().any() or len(styles.drop_duplicates()) != 1:
        return (
            f"{call}dayfirst=True) if the day comes before the month, otherwise {call}format=...) with the format of "
            "the values"
        )
    _, _, digits, colons = styles.iloc[0]
    separator = parts[1].iloc[0]
    end = f"{'%Y' if digits == 4 else '%y'}{['', ' %H:%M', ' %H:%M:%S'][colons]}"
    day_first, month_first = (
        f"{call}format='{separator.join((first, second, end))}')" for first, second in (("%d", "%m"), ("%m", "%d"))
    )
    if (parts[0].astype(int) > 12).any():
        return day_first
    if (parts[2].astype(int) > 12).any():
        return month_first
    return f"{day_first} if the day comes before the month, otherwise {month_first}"
