"""Frequencies of regular series: their Periods, lengths and seasons.

A ``Frequency`` numbers the timestamps of a series, generates the next ones, and converts timestamps to the
``pd.Period`` that is the start of GluonTS entries. Frequencies that cannot be counted exactly raise an error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.alias_inference import IRREGULAR_WAYS, candidates, describe_gaps, zone_hint
from s5forecast.data.base_units import are_daylight, count_units, days_and_clock, days_of, localize
from s5forecast.data.offset_aliases import (
    ACCEPTED,
    CONSTANT_UNITS,
    MONTHS,
    STEMS,
    TICKS,
    Stem,
    join_alias,
    split_alias,
)
from s5forecast.data.timestamps import RANGE_FIX, time_index


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
        multiple, stem, anchor = split_alias(self.alias)
        object.__setattr__(self, "alias", join_alias(multiple, stem, anchor))

    @classmethod
    def parse(cls, freq: str | int | pd.offsets.BaseOffset | Frequency) -> Frequency:
        """The frequency of an offset alias, a Period alias, an offset, a step of integer times or a Frequency.

        Raises:
            ValueError: for anything else; the message lists the known aliases.
        """
        if isinstance(freq, Frequency):
            return freq
        if isinstance(freq, Real):
            if isinstance(freq, bool) or not isinstance(freq, Integral) or freq < 1:
                raise ValueError(
                    f"freq={freq!r} must be a whole number of at least 1 for integer times, or an offset alias such as "
                    "'h' for datetimes"
                )
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
        found = list(candidates(stamps))
        alias, share = max(found, key=lambda candidate: candidate[1], default=("", 0.0))
        if share <= 0.5:
            raise ValueError(
                f"{name} has no regular frequency: {describe_gaps(stamps)}. "
                f"{'Pass freq=... if it has one; otherwise ' if found else 'You can '}{IRREGULAR_WAYS}."
                f"{zone_hint(stamps)}"
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
    def text(self) -> str:
        """The frequency in messages: ``'h'``, or ``freq=1`` for integer times."""
        return f"freq={self.multiple}" if self.integer else repr(self.alias)

    @property
    def multiple(self) -> int:
        """Units per step, such as 15 for 15min."""
        return split_alias(self.alias)[0]

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
            _, _, season = split_alias(self.alias)
            return (int(season),) if season not in ("", "1") else ()
        cycles, multiple = self._stem.seasons, self.multiple
        if self.unit == "D" and multiple % 7 == 0:
            cycles, multiple = STEMS["W"].seasons, multiple // 7
        return tuple(cycle // multiple for cycle in cycles if cycle % multiple == 0 and cycle > multiple)

    def with_season(self, season: int) -> Frequency:
        """The frequency of integer times with a season of a number of steps, such as ``"step-12"``."""
        return Frequency(join_alias(self.multiple, "step", str(season)))

    @property
    def has_season(self) -> bool:
        """Whether the season of integer times is known; 1 stands for none."""
        return self.integer and bool(split_alias(self.alias)[2])

    def divided(self, count: int) -> Frequency:
        """The frequency with ``count`` steps in each step of this one, such as ``"15min"`` for ``"h"`` and 4.

        Raises:
            ValueError: for units of varying length or anchored to a weekday, and for steps below 1 ms.
        """
        if self.integer:
            raise ValueError(f"the steps of {self.text} cannot be divided, because times between integers do not exist")
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
        return Frequency(join_alias(milliseconds // lengths[unit], unit, ""))

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
        multiple, stem, anchor = split_alias(self.alias)
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
        _, clock = days_and_clock(starts)
        units, _ = count_units(starts, stem, anchor, np.arange(len(starts)))
        ahead_days = days_of(units[owner] + ahead, stem, anchor).astype("datetime64[s]")
        wall = pd.DatetimeIndex(ahead_days).as_unit("ns") + pd.TimedeltaIndex(clock[owner])
        return wall if starts.tz is None else localize(wall, starts.tz, are_daylight(starts)[owner])

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
        multiple, stem, anchor = split_alias(self.alias)
        units, off_grid = count_units(stamps, stem, anchor, first)
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
        with quiet_periods():
            single = pd.Period(ordinal=period.ordinal, freq=self._period_alias(1))
            return single.end_time.normalize() if self.at_end else single.start_time

    def days(self, timestamps: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
        """The first day of each step of a day or longer, and the day after its last one, as days since 1970.

        A timestamp is the first day of its step, or the last one for weeks and aliases that end with E.
        """
        with quiet_periods():
            stamps = timestamps.tz_localize(None)
            first = stamps.to_period(self._period_alias(1)) - (self.multiple - 1 if self.at_end else 0)
            edges = first.start_time, (first + self.multiple).start_time
        return tuple(edge.to_numpy().astype("datetime64[D]").astype(np.int64) for edge in edges)  # type: ignore[return-value]

    @property
    def at_end(self) -> bool:
        """Whether the timestamp of a step is its last day."""
        return self.unit == "W" or split_alias(self.alias)[1].endswith("E")

    @property
    def _stem(self) -> Stem:
        return STEMS[split_alias(self.alias)[1]]

    def _period_alias(self, multiple: int) -> str:
        _, stem, anchor = split_alias(self.alias)
        if stem == "step":
            return join_alias(multiple, "Y", "DEC")  # GluonTS needs a Period; those of years have no seasons
        if stem in ("QS", "YS"):
            anchor = MONTHS[MONTHS.index(anchor) - 1]
        return join_alias(multiple, self.unit, anchor)

    def off_grid_message(self, stamps: Any, row: int) -> str:
        """Error message for a timestamp that is not on the grid of the first of its series."""
        stamp, first = stamps[row], stamps[0]
        start = "" if stamp == first else f", counted from {first}"
        if self.integer:
            return f"The time {stamp} is not a multiple of {self.multiple} after {first}. Pass the freq= of the times."
        return (
            f"The timestamp {stamp} ({stamp.day_name()}) is not on the grid of freq='{self.alias}'{start}. "
            f"Pass the freq= of the timestamps ({ACCEPTED}), or shift them to the grid; if they have no regular grid, "
            f"{IRREGULAR_WAYS}.{zone_hint(stamps)}"
        )


@contextmanager
def quiet_periods() -> Iterator[None]:
    """Suppress the FutureWarning that pandas issues for every Period of business days."""
    with warnings.catch_warnings():
        # GluonTS has no other alias for business days.
        warnings.simplefilter("ignore", FutureWarning)
        yield
