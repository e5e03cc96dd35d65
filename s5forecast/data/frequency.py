"""Frequencies of regular series: a table of pandas offset aliases with their Periods, lengths and seasons.

A ``Frequency`` numbers the timestamps of a series, generates the next ones, and converts timestamps to the
``pd.Period`` that is the start of GluonTS entries. Frequencies that cannot be counted exactly raise an error.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.timestamps import RANGE_FIX, time_index

DAY = 86_400.0
YEAR = 365.2425 * DAY
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Stem(NamedTuple):
    """Properties of an alias without its multiple."""

    unit: str
    seconds: float  # nominal length
    seasons: tuple[int, ...]  # in steps, ascending; the first is the dominant one
    anchor: str = ""  # default anchor


STEMS = {
    "ms": Stem("ms", 1e-3, ()),
    "s": Stem("s", 1.0, (3_600, 86_400)),
    "min": Stem("min", 60.0, (1_440, 10_080)),
    "h": Stem("h", 3_600.0, (24, 168)),
    "D": Stem("D", DAY, (7,)),
    "B": Stem("B", 7 * DAY / 5, (5,)),
    "W": Stem("W", 7 * DAY, (52,), "SUN"),
    "MS": Stem("M", YEAR / 12, (12,)),
    "ME": Stem("M", YEAR / 12, (12,)),
    "QS": Stem("Q", YEAR / 4, (4,), "JAN"),
    "QE": Stem("Q", YEAR / 4, (4,), "DEC"),
    "YS": Stem("Y", YEAR, (), "JAN"),
    "YE": Stem("Y", YEAR, (), "DEC"),
    # Integer times; the length is nominal, so that they have neither a calendar nor a day.
    "step": Stem("step", YEAR, ()),
}
# Period aliases, and those of pandas before 2.2, where M, Q, Y and A are stamped at the end of the period.
SYNONYMS = {"H": "h", "T": "min", "S": "s", "L": "ms", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE", "AS": "YS"}
CONSTANT_UNITS = ("ms", "s", "min", "h", "D")  # units of constant length, ascending
TICKS = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3_600 * 10**9}  # nanoseconds
MONTH_SPANS = {"M": 1, "Q": 3, "Y": 12}
ACCEPTED = (
    "ms, s, min, h, D, B, W-MON to W-SUN, MS, ME, QS-JAN to QS-DEC, QE-JAN to QE-DEC, YS-JAN to YS-DEC, "
    "YE-JAN to YE-DEC, each with an optional integer multiple, as in '15min'; "
    "or a whole number k for integer times that are k apart"
)
IRREGULAR_WAYS = (
    "forecast irregular series with S5Forecaster(freq=None, horizon=...), or resample with s5forecast.regularize()"
)


@dataclass(frozen=True)
class Frequency:
    """The frequency of a regular series.

    Args:
        alias: pandas offset alias, such as ``"15min"``.

    Raises:
        ValueError: for an unknown alias; the message lists the known ones.
    """

    alias: str

    def __post_init__(self) -> None:
        multiple, stem, anchor = _split(self.alias)
        object.__setattr__(self, "alias", _join(multiple, stem, anchor))

    @classmethod
    def parse(cls, freq: str | int | pd.offsets.BaseOffset | Frequency) -> Frequency:
        """The frequency of an offset alias, a Period alias, an offset, a step of integer times or a Frequency.

        Raises:
            ValueError: for anything else; the message lists the known aliases.
        """
        if isinstance(freq, Frequency):
            return freq
        if isinstance(freq, Integral) and not isinstance(freq, bool):
            return cls(f"{freq}step")
        if isinstance(freq, pd.offsets.Week) and freq.freqstr.endswith("W"):
            raise ValueError(f"{freq!r} has no weekday. Use '7D', or an anchored week such as 'W-SUN'.")
        return cls(freq.freqstr if isinstance(freq, pd.offsets.BaseOffset) else str(freq))

    @classmethod
    def infer(cls, timestamps: pd.DatetimeIndex, name: str = "the series") -> Frequency:
        """The coarsest frequency whose grid contains all timestamps.

        Args:
            timestamps: in any order, possibly with gaps.
            name: name of the series in error messages.

        Raises:
            ValueError: unless more than half of the gaps are one step.
        """
        stamps = pd.DatetimeIndex(timestamps).unique().sort_values()
        if stamps.hasnans:
            raise ValueError(f"{name} has missing timestamps (NaT). Drop these rows first.")
        if len(stamps) < 2:
            raise ValueError(
                f"The frequency of {name} cannot be inferred from {len(stamps)} distinct timestamp(s). "
                "Pass freq=..., for example freq='h'."
            )
        candidates = list(_candidates(stamps))
        alias, share = max(candidates, key=lambda candidate: candidate[1], default=("", 0.0))
        if share <= 0.5:
            raise ValueError(
                f"{name} has no regular frequency: {_describe_gaps(stamps)}. Pass freq=... if it has one; otherwise "
                f"{IRREGULAR_WAYS}.{_zone_hint(stamps)}"
            )
        return cls(alias)

    @property
    def unit(self) -> str:
        """Base unit, one of ms, s, min, h, D, B, W, M, Q, Y, step."""
        return self._stem.unit

    @property
    def integer(self) -> bool:
        """Whether times are integers instead of datetimes."""
        return self.unit == "step"

    @property
    def multiple(self) -> int:
        """Units per step, such as 15 for 15min."""
        return _split(self.alias)[0]

    @property
    def period_alias(self) -> str:
        """The Period alias that GluonTS uses, such as M for MS, Q-JAN for QS-FEB, Y-DEC for YE-DEC."""
        return self._period_alias(self.multiple)

    @property
    def seconds(self) -> float:
        """Nominal length of one step in seconds; months, quarters and years are fractions of 365.2425 days."""
        return self.multiple * self._stem.seconds

    @property
    def season(self) -> int:
        """Dominant season in steps; 1 if there is none."""
        return self.seasons[0] if self.seasons else 1

    @property
    def seasons(self) -> tuple[int, ...]:
        """All seasons that are a whole number of steps, in steps, ascending."""
        if self.integer:
            _, _, season = _split(self.alias)
            return (int(season),) if season not in ("", "1") else ()
        cycles, multiple = self._stem.seasons, self.multiple
        if self.unit == "D" and multiple % 7 == 0:
            cycles, multiple = STEMS["W"].seasons, multiple // 7
        return tuple(cycle // multiple for cycle in cycles if cycle % multiple == 0 and cycle > multiple)

    def with_season(self, season: int) -> Frequency:
        """The frequency of integer times with a season of a number of steps, such as ``"step-12"``."""
        return Frequency(_join(self.multiple, "step", str(season)))

    @property
    def has_season(self) -> bool:
        """Whether the season of integer times is known; 1 stands for none."""
        return bool(_split(self.alias)[2])

    def divided(self, count: int) -> Frequency:
        """The frequency with ``count`` steps in each step of this one, such as ``"15min"`` for ``"h"`` and 4.

        Raises:
            ValueError: for units of varying length or anchored to a weekday, and for steps below 1 ms.
        """
        if self.unit not in CONSTANT_UNITS:
            raise ValueError(
                f"the steps of freq='{self.alias}' cannot be divided, because they vary in length or are anchored to a "
                f"weekday; only steps of {', '.join(CONSTANT_UNITS)} can be divided"
            )
        milliseconds, rest = divmod(round(self.seconds * 1e3), count)
        if rest or not milliseconds:
            raise ValueError(f"a step of freq='{self.alias}' is not {count} times a whole number of milliseconds")
        lengths = {unit: round(STEMS[unit].seconds * 1e3) for unit in CONSTANT_UNITS}
        unit = max((unit for unit in CONSTANT_UNITS if milliseconds % lengths[unit] == 0), key=lengths.__getitem__)
        return Frequency(_join(milliseconds // lengths[unit], unit, ""))

    def range(self, start: Any, periods: int) -> Any:
        """``periods`` timestamps beginning with ``start``, in its time zone.

        Steps of days and longer keep the local wall time, or the next valid one if daylight saving skips it.

        Raises:
            ValueError: for a start that is not on the grid, or timestamps that are too late.
        """
        first = time_index([start])
        self.ordinal(first)
        return self.ranges(first, np.array([periods]))

    def ranges(self, starts: Any, periods: np.ndarray) -> Any:
        """Consecutive timestamps of S series, concatenated, as :meth:`range` for each.

        Args:
            starts: first timestamp of each series, ``[S]``, on its grid.
            periods: number of timestamps of each series, int64 ``[S]``.

        Raises:
            ValueError: for timestamps that are too late.
        """
        try:
            return self._ranges(starts, periods)
        except (OverflowError, pd.errors.OutOfBoundsDatetime) as error:
            row = int(starts.argmax())
            raise ValueError(
                f"{periods[row] - 1} steps of {self.alias!r} after {starts[row]} are too many: {RANGE_FIX}"
            ) from error

    def _ranges(self, starts: Any, periods: np.ndarray) -> Any:
        multiple, stem, anchor = _split(self.alias)
        owner = np.repeat(np.arange(len(starts)), periods)
        ahead = multiple * (np.arange(len(owner)) - (np.cumsum(periods) - periods)[owner])
        if self.integer:
            return pd.Index(starts.to_numpy(dtype=np.int64)[owner] + ahead)
        if stem in TICKS:
            begins = starts.as_unit("ns").asi8
            if len(owner) and int(begins.max()) + int(ahead.max()) * TICKS[stem] > np.iinfo(np.int64).max:
                raise pd.errors.OutOfBoundsDatetime(f"{ahead.max()} steps after {starts.max()} are out of bounds")
            utc = pd.DatetimeIndex(begins[owner] + ahead * TICKS[stem])
            return utc if starts.tz is None else utc.tz_localize("UTC").tz_convert(starts.tz)
        _, clock = _days_and_clock(starts)
        units, _ = _count(starts, stem, anchor, np.arange(len(starts)))
        ahead_days = _days_of(units[owner] + ahead, stem, anchor).astype("datetime64[s]")
        wall = pd.DatetimeIndex(ahead_days).as_unit("ns") + pd.TimedeltaIndex(clock[owner])
        return wall if starts.tz is None else _localize(wall, starts.tz, _are_daylight(starts)[owner])

    def ordinal(self, timestamps: pd.Index) -> np.ndarray:
        """Number of each timestamp, int64 ``[T]``; consecutive steps differ by exactly 1.

        Steps below a day are counted in absolute (UTC) time, days and longer in local wall time. The first timestamp
        defines the grid: its position within a multiple and, for days and longer, its time of day.

        Raises:
            ValueError: for timestamps that are missing or not on the grid, naming the first.
        """
        stamps = time_index(timestamps)
        ordinal, off_grid = self.ordinals(stamps, np.zeros(len(stamps), dtype=np.int64))
        if off_grid.any():
            raise ValueError(self.off_grid_message(stamps, int(off_grid.argmax())))
        return ordinal

    def ordinals(self, stamps: Any, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of each timestamp of concatenated series, and whether it is off the grid of its series, ``[T]`` each.

        Args:
            stamps: timestamps of all series.
            first: position in ``stamps`` of the first timestamp of the series of each, int64 ``[T]``.

        Raises:
            ValueError: for missing timestamps.
        """
        if stamps.hasnans:
            raise ValueError("Timestamps must not be missing (NaT). Drop these rows first.")
        multiple, stem, anchor = _split(self.alias)
        units, off_grid = _count(stamps, stem, anchor, first)
        ordinal, phase = np.divmod(units, multiple)
        return ordinal, off_grid | (phase != phase[first])

    def period(self, timestamp: Any, *, exact: bool = True) -> pd.Period:
        """The Period of a timestamp, whose time zone is dropped.

        Args:
            timestamp: a time within the Period.
            exact: whether the timestamp must be the one of the Period, see :meth:`timestamp`.

        Raises:
            ValueError: with ``exact``, for a timestamp between two steps, such as 10:30 for hours.
        """
        if self.integer:
            return pd.Period(ordinal=int(timestamp), freq=self.period_alias)
        wall = timestamp.tz_localize(None)
        with quiet_periods():
            period = pd.Period(wall, freq=self.period_alias)
        if exact and self.timestamp(period) != wall:
            raise ValueError(
                f"{timestamp} is not a timestamp of freq='{self.alias}', which has {self.timestamp(period)} for the "
                f"period {period}. Shift the timestamps, or pass their freq=."
            )
        return period

    def periods(self, timestamps: pd.Index) -> pd.PeriodIndex:
        """The Periods of timestamps, whose time zone is dropped."""
        if self.integer:
            return pd.PeriodIndex.from_ordinals(timestamps.to_numpy(dtype=np.int64), freq=self.period_alias)  # type: ignore[attr-defined]
        with quiet_periods():
            return pd.DatetimeIndex(timestamps).tz_localize(None).to_period(self.period_alias)

    def timestamp(self, period: pd.Period) -> Any:
        """The timestamp of a Period, without a time zone: the first day for MS, the last for ME, Tuesday for W-TUE.

        Raises:
            ValueError: for a Period of another frequency.
        """
        if period.freqstr != self.period_alias:
            raise ValueError(
                f"freq='{self.alias}' needs Periods of freq '{self.period_alias}', not '{period.freqstr}'."
            )
        if self.integer:
            return period.ordinal
        # A Period of several units ends after the last one, but its timestamp is that of the first.
        at_end = self.unit == "W" or _split(self.alias)[1].endswith("E")
        with quiet_periods():
            single = pd.Period(ordinal=period.ordinal, freq=self._period_alias(1))
            return single.end_time.normalize() if at_end else single.start_time

    @property
    def _stem(self) -> Stem:
        return STEMS[_split(self.alias)[1]]

    def _period_alias(self, multiple: int) -> str:
        _, stem, anchor = _split(self.alias)
        if stem == "step":
            return _join(multiple, "Y", "DEC")  # GluonTS needs a Period; those of years have no seasons
        if stem in ("QS", "YS"):
            anchor = MONTHS[MONTHS.index(anchor) - 1]
        return _join(multiple, self.unit, anchor)

    def off_grid_message(self, stamps: Any, row: int) -> str:
        """Error message for a timestamp that is not on the grid of the first of its series."""
        stamp, first = stamps[row], stamps[0]
        start = "" if stamp == first else f", counted from {first}"
        if self.integer:
            return f"The time {stamp} is not a multiple of {self.multiple} after {first}. Pass the freq= of the times."
        return (
            f"The timestamp {stamp} ({stamp.day_name()}) is not on the grid of freq='{self.alias}'{start}. "
            f"Pass the freq= of the timestamps ({ACCEPTED}), or shift them to the grid; if they have no regular grid, "
            f"{IRREGULAR_WAYS}.{_zone_hint(stamps)}"
        )


@cache
def _split(alias: str) -> tuple[int, str, str]:
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-([A-Z]{3}|[1-9]\d*))?", alias)
    if match is None:
        raise ValueError(f"Unknown frequency {alias!r}. Choose from {ACCEPTED}.")
    multiple, stem, anchor = int(match[1] or 1), SYNONYMS.get(match[2], match[2]), match[3] or ""
    default = STEMS[stem].anchor if stem in STEMS else ""
    anchors = WEEKDAYS if stem == "W" else MONTHS if default else ()
    known = anchor.isdigit() if stem == "step" else anchor in anchors
    if stem not in STEMS or multiple == 0 or (anchor and not known):
        raise ValueError(f"Unknown frequency {alias!r}. Choose from {ACCEPTED}.")
    return multiple, stem, anchor or default


def _join(multiple: int, stem: str, anchor: str) -> str:
    return (str(multiple) if multiple > 1 else "") + stem + ("-" + anchor if anchor else "")


@contextmanager
def quiet_periods() -> Iterator[None]:
    """Suppress the FutureWarning that pandas issues for every Period of business days."""
    with warnings.catch_warnings():
        # GluonTS has no other alias for business days.
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _count(stamps: pd.DatetimeIndex, stem: str, anchor: str, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Base units since 1970, int64 ``[T]``, and whether each is off the grid of single units, bool ``[T]``.

    ``first`` is the position of the timestamp that defines the grid of each.
    """
    if stem == "step":
        return stamps.to_numpy(dtype=np.int64), np.zeros(len(stamps), dtype=bool)
    if stem in TICKS:
        units, phase = np.divmod(stamps.as_unit("ns").asi8, TICKS[stem])
        return units, phase != phase[first]
    days, off_clock = _split_days(stamps, first)
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


def _days_of(units: np.ndarray, stem: str, anchor: str) -> np.ndarray:
    """The days of base units since 1970, datetime64; the inverse of :func:`_count` for days and longer."""
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


def _days_and_clock(stamps: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Local day, datetime64, and time of day, timedelta64, of each timestamp."""
    wall = stamps.tz_localize(None).to_numpy()
    days = wall.astype("datetime64[D]")
    return days, wall - days


def _are_daylight(stamps: pd.DatetimeIndex) -> np.ndarray:
    """Whether daylight saving is in force at each timestamp."""
    codes, unique = stamps.factorize()
    return np.array([bool(stamp.dst()) for stamp in unique], dtype=bool)[codes]


def _split_days(stamps: pd.DatetimeIndex, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local days since 1970, int64 ``[T]``, and whether the time of day differs from the others, bool ``[T]``.

    ``first`` is the position of the first timestamp of the series of each.
    """
    days, clock = _days_and_clock(stamps)
    off_clock = clock != clock[first]
    if stamps.tz is None or not off_clock.any():
        return days.astype(np.int64), off_clock
    # Daylight saving can skip the common time of day, but never makes it earlier.
    earliest = clock.copy()
    np.minimum.at(earliest, first, clock)
    expected = _localize(pd.DatetimeIndex(days + earliest[first]), stamps.tz, True)
    return days.astype(np.int64), (expected.tz_localize(None).to_numpy() != clock + days)


def _localize(wall: pd.DatetimeIndex, tz: tzinfo | None, daylight: np.ndarray | bool) -> pd.DatetimeIndex:
    ambiguous = np.broadcast_to(daylight, len(wall))
    return wall.tz_localize(tz, ambiguous=ambiguous, nonexistent="shift_forward")


def _candidates(stamps: pd.DatetimeIndex) -> Iterator[tuple[str, float]]:
    """Aliases whose grid contains all (ascending) timestamps, best first, and the fraction of gaps of one step."""
    first = np.zeros(len(stamps), dtype=np.int64)
    days, off_clock = _split_days(stamps, first)
    if off_clock.any() or not np.diff(days).all():
        step, share = _step(stamps.as_unit("ns").asi8)
        stem = next((stem for stem in ("h", "min", "s", "ms") if step % TICKS[stem] == 0), None)
        if stem is not None:
            yield f"{step // TICKS[stem]}{stem}", share
        return
    for stem in ("MS", "ME", "D", "B"):
        units, off_grid = _count(stamps, stem, "", first)
        if not off_grid.any():
            step, share = _step(units)
            yield _spell(step, stem, stamps[0]), share


def _step(units: np.ndarray) -> tuple[int, float]:
    gaps = np.diff(units)
    step = int(np.gcd.reduce(gaps))
    return step, float(np.mean(gaps == step))


def _spell(step: int, stem: str, first: pd.Timestamp) -> str:
    if stem == "D" and step % 7 == 0:
        return f"{step // 7}W-{WEEKDAYS[first.weekday()]}"
    if stem in ("MS", "ME") and step % 12 == 0:
        return f"{step // 12}Y{stem[1]}-{MONTHS[first.month - 1]}"
    if stem in ("MS", "ME") and step == 3:
        month = (first.month - 1) % 3 + (0 if stem == "MS" else 9)
        return f"Q{stem[1]}-{MONTHS[month]}"
    return f"{step}{stem}"


def _describe_gaps(stamps: pd.DatetimeIndex) -> str:
    """The most common step and the first other one, or that the steps are too short."""
    gaps = pd.Series(stamps[1:] - stamps[:-1])
    common = gaps.mode()[0]
    if common < pd.Timedelta(milliseconds=1):
        return f"most of its steps are {common}, and steps shorter than 1 ms are not supported"
    row = int((gaps != common).to_numpy().argmax())
    share = (gaps == common).mean()
    return (
        f"{share:.0%} of its steps are {common}, the most common one, but {stamps[row + 1]} comes {gaps[row]} after "
        f"{stamps[row]}"
    )


def _zone_hint(stamps: pd.DatetimeIndex) -> str:
    """How to convert times whose time zone may be the reason that they are not on a grid."""
    if stamps.tz is None:
        return ""
    if stamps.tz.utcoffset(None) is None:
        return " If the steps follow the wall clock, drop the time zone with .dt.tz_localize(None)."
    return (
        " If these are local times with daylight saving, convert them to their time zone first, for example with "
        ".dt.tz_convert('Europe/Berlin')."
    )
