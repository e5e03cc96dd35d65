"""Times of long frames: one form for datetimes of any kind, and how to convert values that cannot be read safely."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from datetime import tzinfo
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.dtypes import own_dtype
from s5forecast.notices import warn_user

RANGE_FIX = (
    f"timestamps are supported from {pd.Timestamp.min.year + 1} to {pd.Timestamp.max.year - 1}; for other years, pass "
    "numbers as times, such as the year, with freq=1, or with freq=None for irregular series"
)
# UTC offset at the end of ISO 8601 text with a time of day.
OFFSET = r":\d{2}.*(?:Z|[+-]\d{2}(?::?\d{2})?)$|T\d{2}(?:Z|[+-]\d{2}(?::?\d{2})?)$"
SECONDS = 1e8  # smallest number that is recognized as seconds since 1970
# Smallest and largest number, and the arguments of pd.to_datetime that convert such numbers. Formats precede units,
# because few numbers of seconds or milliseconds have the digits of a date. Spreadsheets count days since 1899-12-30.
NUMBER_DATES = (
    (1_000, 2_999, "format='%Y'"),
    (20_000, 80_000, "unit='D', origin='1899-12-30'"),
    (190_001, 299_912, "format='%Y%m'"),
    (19_000_101, 29_991_231, "format='%Y%m%d'"),
    (1_900_010_100, 2_999_123_123, "format='%Y%m%d%H'"),
    (190_001_010_000, 299_912_312_359, "format='%Y%m%d%H%M'"),
    (19_000_101_000_000, 29_991_231_235_959, "format='%Y%m%d%H%M%S'"),
    (SECONDS, 1e10, "unit='s'"),
    (1e11, 1e13, "unit='ms'"),
    (1e14, 1e16, "unit='us'"),
    (1e17, 9.3e18, "unit='ns'"),
)
# Optional time of day, and AM or PM.
CLOCK = r"( \d{1,2}:\d{2}(?::\d{2})?)?( ?[AaPp][Mm])?$"
# Day and month in either order, then the year and optionally a time of day.
NUMERIC_DATE = r"^(\d{1,2})([/.-])(\d{1,2})([/.-])(\d{4}|\d{2})" + CLOCK
YEAR_FIRST = r"^\d{4}([/.-])\d{1,2}([/.-])\d{1,2}" + CLOCK
# Weeks of ISO 8601, and the text that completes their first day.
ISO_WEEKS = (
    (r"\d{4}-W\d{2}", " + '-1'", "%G-W%V-%u"),
    (r"\d{4}W\d{2}", " + '1'", "%GW%V%u"),
    (r"\d{4}-W\d{2}-[1-7]", "", "%G-W%V-%u"),
    (r"\d{4}W\d{2}[1-7]", "", "%GW%V%u"),
)


class UnreadableTimes(ValueError):
    """Values of some rows that cannot be read as times.

    Args:
        bad: whether each value cannot be read, ``[R]``.
        texts: error message of a row.
    """

    def __init__(self, bad: np.ndarray, texts: Callable[[int], str]) -> None:
        super().__init__(texts(int(bad.argmax())))
        self.bad, self.texts = bad, texts


def to_timestamps(values: pd.Series, frame: str = "df") -> pd.Series:
    """Convert datetimes of any kind, and ISO 8601 text, to datetimes of NumPy.

    Times with several UTC offsets, such as local times with daylight saving, are converted to UTC with a warning.

    Args:
        values: column of datetimes of pandas, Arrow or Python, of dates, of text, or of periods, which are stamped by
            their start, or by their last day if they are weeks.
        frame: name of the frame in messages.

    Raises:
        ValueError: for other values, naming the column and the conversion.
    """
    values = own_dtype(values)
    if isinstance(values.dtype, pd.PeriodDtype):
        return _from_periods(values, frame)
    if pd.api.types.is_datetime64_any_dtype(values):
        return values
    if isinstance(values.dtype, pd.ArrowDtype) and values.dtype.kind == "M":
        return _from_arrow(values, values.dtype)
    return _parsed(values, frame)


def read_times(values: pd.Series, frame: str = "df") -> pd.Series:
    """Numbers unchanged, other times as by :func:`to_timestamps`."""
    values = own_dtype(values)
    return values if pd.api.types.is_numeric_dtype(values) else to_timestamps(values, frame)


def require_datetimes(values: pd.Series, frame: str = "df") -> pd.Series:
    """As :func:`to_timestamps`; numbers are refused, with their conversion."""
    values = own_dtype(values)
    if pd.api.types.is_timedelta64_dtype(values):
        raise ValueError(
            f"{_name(values, frame)} must hold timestamps, got {values.dtype}; add the time at which it starts, or, "
            f"for irregular series (freq=None), pass numbers: {_column(values, frame)}.dt.total_seconds()"
        )
    if pd.api.types.is_numeric_dtype(values):
        raise ValueError(
            f"{_name(values, frame)} must hold timestamps, got {values.dtype}; {_of_numbers(values, frame)}"
        )
    return to_timestamps(values, frame)


def refuse_numbers(values: pd.Series, frame: str) -> None:
    """Raise ValueError, with the conversion, for times of a frame that cannot be numbers or durations."""
    values, column = own_dtype(values), _column(values, frame)
    if pd.api.types.is_timedelta64_dtype(values):
        fix = f"add the time at which it starts: {column} = pd.Timestamp('2024-01-01') + {column}, for example"
    elif pd.api.types.is_numeric_dtype(values):
        found = _arguments(values.dropna().to_numpy(dtype=np.float64))
        fix = f"convert it: {column} = pd.to_datetime({column}, {found or 'unit=...'})"
        fix += "" if found else " with the unit of the values"
    else:
        return
    raise ValueError(f"{_name(values, frame)} must hold datetimes, got {values.dtype}; {fix}")


def out_of_range(stamps: pd.Series) -> np.ndarray:
    """Whether each timestamp is outside of the years that nanoseconds reach, bool ``[T]``."""
    wall = stamps if stamps.dt.tz is None else stamps.dt.tz_convert(None)
    if wall.dt.unit == "ns":
        return np.zeros(len(wall), dtype=bool)
    first, last = (edge.as_unit(wall.dt.unit) for edge in (pd.Timestamp.min, pd.Timestamp.max))
    return ((wall <= first) | (wall >= last)).to_numpy()


def time_index(times: Any) -> pd.Index:
    """Datetimes as a DatetimeIndex, and numbers unchanged."""
    index = times if isinstance(times, pd.Index) else pd.Index(times)
    return index if pd.api.types.is_numeric_dtype(index) else pd.DatetimeIndex(index)


def exact_times(index: pd.Index) -> np.ndarray:
    """Nanoseconds since 1970 in UTC of datetimes, and integer times as they are, int64."""
    return index.as_unit("ns").asi8 if isinstance(index, pd.DatetimeIndex) else index.to_numpy(dtype=np.int64)


def same_zone(stamps: Any, zone: tzinfo | None, name: str) -> Any:
    """Timestamps in the time zone of the history.

    Raises:
        ValueError: if only one of the two has a time zone, with the ``name`` of the column.
    """
    if not isinstance(stamps, pd.DatetimeIndex):
        return stamps
    if (stamps.tz is None) != (zone is None):
        raise ValueError(
            f"{name} has {'no' if stamps.tz is None else 'a'} time zone, unlike the history; make them "
            "consistent with tz_localize or tz_convert"
        )
    return stamps if zone is None else stamps.tz_convert(zone)


def in_zone(stamps: pd.Series, zone: tzinfo | None) -> pd.Series:
    """Times with a time zone in the time zone of the history, others unchanged."""
    if zone is None or not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        return stamps
    return stamps.dt.tz_convert(zone)


def _name(values: pd.Series, frame: str) -> str:
    return f"column {values.name!r}" + ("" if frame == "df" else f" of {frame}")


def _column(values: pd.Series, frame: str) -> str:
    """The column in a line of code."""
    return f"{_frame(frame)}[{values.name!r}]"


def _frame(frame: str) -> str:
    """The frame in a line of code."""
    return frame.rstrip("=")


def _of_numbers(values: pd.Series, frame: str) -> str:
    """The line that converts numbers, by their size."""
    numbers, column = values.dropna().to_numpy(dtype=np.float64), _column(values, frame)
    if len(numbers) and numbers.max() < SECONDS and (numbers % 1 != 0).any():
        return "pass freq=None (irregular) for times between whole numbers"
    found = _arguments(numbers)
    if found is None:
        return (
            f"pass freq=1 if they are numbers of steps, or convert them with pd.to_datetime({column}, unit=...) and "
            "their unit"
        )
    return (
        f"its values suggest {column} = pd.to_datetime({column}, {found}); if they are numbers of steps, pass freq=1 "
        "(regular), or freq=None (irregular)"
    )


def _from_periods(values: pd.Series, frame: str) -> pd.Series:
    """Start of each period; the last day of each week, as in the offset aliases of weeks."""
    try:
        if isinstance(getattr(values.dtype, "freq", None), pd.offsets.Week):
            return values.dt.end_time.dt.normalize()
        return values.dt.to_timestamp()
    except (OverflowError, pd.errors.OutOfBoundsDatetime):
        return _outside_nanoseconds(values.dt.strftime("%Y-%m-%dT%H:%M:%S"), frame)


def _arguments(numbers: np.ndarray) -> str | None:
    """The arguments of pd.to_datetime that numbers of a known kind require."""
    if not len(numbers):
        return None
    low, high = numbers.min(), numbers.max()
    fitting = (how for least, most, how in NUMBER_DATES if least <= low and high <= most)
    return next((how for how in fitting if not how.startswith("format=") or _has_format(numbers, how)), None)


def _has_format(numbers: np.ndarray, how: str) -> bool:
    whole = pd.Series(numbers.astype(np.int64)).astype(str)
    form = how.removeprefix("format='").removesuffix("'")
    return bool((numbers % 1 == 0).all() and pd.to_datetime(whole, format=form, errors="coerce").notna().all())


def _from_arrow(values: pd.Series, dtype: pd.ArrowDtype) -> pd.Series:
    """Datetimes of NumPy with the same unit and time zone."""
    zone = getattr(dtype.pyarrow_dtype, "tz", None)
    if zone is not None:
        wall = values.dt.tz_convert("UTC").dt.tz_localize(None)
        return to_timestamps(wall).dt.tz_localize("UTC").dt.tz_convert(zone)
    unit = getattr(dtype.pyarrow_dtype, "unit", "D")  # dates have none
    stamps = values.to_numpy(dtype=f"datetime64[{unit}]", na_value=np.datetime64("NaT"))
    return pd.Series(stamps, values.index, name=values.name)


def _parsed(values: pd.Series, frame: str) -> pd.Series:
    """Datetimes from Python objects or text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # pandas 2 warns of several offsets
            stamps = pd.to_datetime(values, format="ISO8601")
    except pd.errors.OutOfBoundsDatetime:
        return _outside_nanoseconds(values, frame)
    except (TypeError, ValueError):
        bad = _unreadable(values)
        if bad.any():
            text = (
                f"{_name(values, frame)} cannot be read as ISO 8601 timestamps, for example {{!r}}; convert it first: "
            )
            advice = _conversion(values, _column(values, frame))
            raise UnreadableTimes(bad, lambda row: text.format(values.iloc[row]) + advice) from None
        stamps = None
    if stamps is None or not pd.api.types.is_datetime64_any_dtype(stamps):
        return _in_utc(values, frame)
    return stamps


def _in_utc(values: pd.Series, frame: str) -> pd.Series:
    """Times with several UTC offsets as UTC, with a warning."""
    name, column = _name(values, frame), _column(values, frame)
    aware = values.dropna().map(_has_offset)
    if not aware.all():
        raise ValueError(
            f"{name} has times with and without a UTC offset, for example {values[aware.index[aware]].iloc[0]!s} and "
            f"{values[aware.index[~aware]].iloc[0]!s}; give all of them an offset, or none"
        )
    warn_user(
        f"{name} has several UTC offsets, so its times are converted to UTC; to keep the local time of one time zone, "
        f"convert it first: {column} = pd.to_datetime({column}, utc=True).dt.tz_convert('Europe/Berlin'), for example"
    )
    return pd.to_datetime(values, format="ISO8601", utc=True)


def _has_offset(value: object) -> bool:
    if isinstance(value, str):
        return re.search(OFFSET, value) is not None
    return getattr(value, "tzinfo", None) is not None


def _outside_nanoseconds(values: pd.Series, frame: str) -> pd.Series:
    """Datetimes in microseconds, for years that nanoseconds do not reach."""
    if values.dropna().map(_has_offset).any():
        raise ValueError(
            f"{_name(values, frame)} has UTC offsets and years before 1678 or after 2261; leave out the offsets"
        )
    plain = [np.datetime64("NaT") if pd.isna(value) else np.datetime64(value, "us") for value in values]
    return pd.Series(np.array(plain, dtype="datetime64[us]"), values.index, name=values.name)


def _unreadable(values: pd.Series) -> np.ndarray:
    """Whether each value is not a timestamp, ``[R]``."""
    found = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
    return (found.isna() & values.notna()).to_numpy()


def _conversion(values: pd.Series, column: str) -> str:
    """The line that converts a column, with the format of its dates if all have the same."""
    call = f"{column} = pd.to_datetime({column}, "
    text = values.dropna().astype(str).str.strip()
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().all():
        return _of_digits(numbers.to_numpy(dtype=np.float64), column)
    for pattern, end, form in ISO_WEEKS:
        if text.str.fullmatch(pattern).all():
            return f"{column} = pd.to_datetime({column}{end}, format={form!r})"
    years = text.str.extract(YEAR_FIRST)
    if years[0].notna().all() and len(_styles(years).drop_duplicates()) == 1:
        return f"{call}format='{years[0].iloc[0].join(('%Y', '%m', '%d'))}{_clock(*years.iloc[0, 2:])}')"
    parts = text.str.extract(NUMERIC_DATE)
    styles = pd.concat([parts[4].str.len(), _styles(parts.drop(columns=[0, 2, 4]).set_axis(range(4), axis=1))], axis=1)
    if parts[0].isna().any() or len(styles.drop_duplicates()) != 1:
        return (
            f"{call}dayfirst=True) if the day comes before the month, otherwise {call}format=...) with the format of "
            "the values"
        )
    separator = parts[1].iloc[0]
    end = f"{'%Y' if len(parts[4].iloc[0]) == 4 else '%y'}{_clock(*parts.iloc[0, 5:])}"
    day_first, month_first = (
        f"{call}format='{separator.join((first, second, end))}')" for first, second in (("%d", "%m"), ("%m", "%d"))
    )
    if (parts[0].astype(int) > 12).any():
        return day_first
    if (parts[2].astype(int) > 12).any():
        return month_first
    return f"{day_first} if the day comes before the month, otherwise {month_first}"


def _of_digits(numbers: np.ndarray, column: str) -> str:
    """The line that converts text of digits."""
    found = _arguments(numbers)
    if found is None:
        return (
            f"{column} = pd.to_numeric({column}), and pass freq=1 if they are numbers of steps, or freq=None "
            "(irregular)"
        )
    text = column if found.startswith("format=") else f"pd.to_numeric({column})"
    return f"{column} = pd.to_datetime({text}, {found})"


def _styles(parts: pd.DataFrame) -> pd.DataFrame:
    """Two separators, the number of colons in the time of day, and the spelling of AM or PM of each date."""
    half = parts[3].fillna("").str.replace(r"\w", "x", regex=True)
    return pd.DataFrame({0: parts[0], 1: parts[1], 2: parts[2].fillna("").str.count(":"), 3: half})


def _clock(time: Any, half: Any) -> str:
    """Format of a time of day, with or without AM or PM."""
    if not isinstance(time, str):
        return ""
    if not isinstance(half, str):
        return [" %H:%M", " %H:%M:%S"][time.count(":") - 1]
    return [" %I:%M", " %I:%M:%S"][time.count(":") - 1] + (" %p" if half.startswith(" ") else "%p")
