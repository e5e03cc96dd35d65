"""Timestamps as numbers of the base units of frequencies, and local days and times of day."""

from __future__ import annotations

from datetime import tzinfo

import numpy as np
import pandas as pd

from s5forecast.data.offset_aliases import MONTH_SPANS, MONTHS, STEMS, TICKS, WEEKDAYS


def count_units(stamps: pd.DatetimeIndex, stem: str, anchor: str, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base units since 1970, int64 ``[T]``, and whether each is off the grid of single units, bool ``[T]``.

    ``first`` is the position of the timestamp that defines the grid of each.
    """
    if stem == "step":
        return stamps.to_numpy(dtype=np.int64), np.zeros(len(stamps), dtype=bool)
    if stem in TICKS:
        units, phase = np.divmod(stamps.as_unit("ns").asi8, TICKS[stem])
        return units, phase != phase[first]
    days, off_clock = split_days(stamps, first)
    if stem == "D":
        return days, off_clock
    weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
    if stem == "B":
        return (days + 3) // 7 * 5 + np.minimum(weekday, 4), off_clock | (weekday > 4)
    if stem == "W":
        day = WEEKDAYS.index(anchor)
        return (days + 3 - day) // 7, off_clock | (weekday != day)
    at_end = stem.endswith("E")
    days = days + at_end  # the day after the end of a month is the start of the next
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    units, phase = np.divmod(months.astype(np.int64) - _first_month(stem, anchor), MONTH_SPANS[STEMS[stem].unit])
    return units, off_clock | (phase != 0) | (months.astype("datetime64[D]").astype(np.int64) != days)


def days_of(units: np.ndarray, stem: str, anchor: str) -> np.ndarray:
    """The days of base units since 1970, datetime64; the inverse of :func:`count_units` for days and longer."""
    if stem == "D":
        days = units
    elif stem == "B":
        days = units // 5 * 7 + units % 5 - 3
    elif stem == "W":
        days = units * 7 + WEEKDAYS.index(anchor) - 3
    else:
        months = units * MONTH_SPANS[STEMS[stem].unit] + _first_month(stem, anchor)
        return months.astype("datetime64[M]").astype("datetime64[D]") - int(stem.endswith("E"))
    return days.astype("datetime64[D]")


def _first_month(stem: str, anchor: str) -> int:
    return MONTHS.index(anchor) + stem.endswith("E") if anchor else 0


def days_and_clock(stamps: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Local day, datetime64, and time of day, timedelta64, of each timestamp."""
    wall = stamps.tz_localize(None).to_numpy()
    days = wall.astype("datetime64[D]")
    return days, wall - days


def are_daylight(stamps: pd.DatetimeIndex) -> np.ndarray:
    """Whether daylight saving is in force at each timestamp."""
    codes, unique = stamps.factorize()
    return np.array([bool(stamp.dst()) for stamp in unique], dtype=bool)[codes]


def split_days(stamps: pd.DatetimeIndex, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local days since 1970, int64 ``[T]``, and whether the time of day differs from the others, bool ``[T]``.

    ``first`` is the position of the first timestamp of the series of each.
    """
    days, clock = days_and_clock(stamps)
    off_clock = clock != clock[first]
    if stamps.tz is None or not off_clock.any():
        return days.astype(np.int64), off_clock
    # Daylight saving can skip the common time of day, but never makes it earlier.
    earliest = clock.copy()
    np.minimum.at(earliest, first, clock)
    expected = localize(pd.DatetimeIndex(days + earliest[first]), stamps.tz, True)
    return days.astype(np.int64), (expected.tz_localize(None).to_numpy() != clock + days)


def localize(wall: pd.DatetimeIndex, tz: tzinfo | None, daylight: np.ndarray | bool) -> pd.DatetimeIndex:
    """Wall times in a time zone, or the next valid ones; ``daylight`` decides between two of the same wall time."""
    ambiguous = np.broadcast_to(daylight, len(wall))
    return wall.tz_localize(tz, ambiguous=ambiguous, nonexistent="shift_forward")
