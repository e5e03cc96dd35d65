"""Common frequency of series that are read at once or in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.faults import SeriesError, wants_all_errors
from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import DAY, TICKS
from s5forecast.data.table import SeriesTable

# Two dates may be as far apart as this and one month.
SHORTEST_MONTH = 28 * DAY


class OtherFrequencyError(SeriesError):
    """Series of another frequency than those before, which may be that of most series."""


@dataclass
class _Group:
    """Series of one frequency: their number, their rows and the name of the first."""

    name: str
    series: int = 0
    rows: int = 0


@dataclass
class CommonFrequency:
    """The frequency that all series of one or several tables must have.

    Args:
        frequency: the frequency; by default the one of most series of the first table that has any.
        name: name of a series that has it.
        given: whether the user gave the frequency, so that series are not checked here.
    """

    frequency: Frequency | None = None
    name: str = ""
    given: bool = False

    def __post_init__(self) -> None:
        self._groups: dict[Frequency, _Group] = {}
        self._counted: set[Any] = set()  # labels of the last table

    @classmethod
    def of_table(cls, table: SeriesTable, *, single: bool) -> CommonFrequency | None:
        """That of most series of a table, ``None`` if all have one row; arguments and errors as of :meth:`check`."""
        common = cls()
        common._count(find_frequencies(table, single=single), table)
        return common.of_all() if common._groups else None

    @property
    def integer(self) -> bool:
        """Whether times are integers."""
        return self.frequency is not None and self.frequency.integer

    def check(self, table: SeriesTable, *, single: bool) -> Frequency:
        """The common frequency, after checking the series with more than one row.

        Args:
            table: series of a part; a part is read again without the series that have an error.
            single: whether the data have a single series, whose frequency is required.

        Raises:
            SeriesError: for series without a regular frequency, or with another one; ValueError: if no series has one.
        """
        if self.given and self.frequency is not None:
            return self.frequency
        found = find_frequencies(table, single=single)
        self._count(found, table)
        if self.frequency is None:
            if not found:
                raise ValueError("the series do not have one common frequency (one row each); pass freq=")
            self.frequency, self.name = self._most_common()
        others = {position: one for one in found if one != self.frequency for position in found[one]}
        usual = f"{self.frequency.alias!r} of {self.name}"
        if others:
            raise OtherFrequencyError(
                {
                    table.name(position): f"{table.name(position)}: its frequency {others[position].alias!r} differs "
                    f"from {usual}; the series do not have one common frequency, so leave this one out, or pass freq="
                    for position in sorted(others)
                }
            )
        return self.frequency

    def of_all(self) -> CommonFrequency:
        """The frequency that most series have of all tables that were checked."""
        return CommonFrequency(*self._most_common()) if self._groups else self

    def _most_common(self) -> tuple[Frequency, str]:
        groups = self._groups
        most = max(groups, key=lambda one: (groups[one].series, groups[one].rows, one.alias))
        return most, groups[most].name

    def _count(self, found: dict[Frequency, list[int]], table: SeriesTable) -> None:
        if table.items[0] in self._counted:
            return
        self._counted = set(table.items)
        for frequency, positions in found.items():
            group = self._groups.setdefault(frequency, _Group(table.name(min(positions))))
            group.series += len(positions)
            group.rows += int(table.lengths[positions].sum())


def infer_frequency(table: SeriesTable) -> Frequency:
    """The frequency that all series with more than one row have in common.

    Raises:
        ValueError: for series without a regular frequency, or with another one than most.
    """
    return CommonFrequency().check(table, single=len(table) == 1)


def find_frequencies(table: SeriesTable, *, single: bool) -> dict[Frequency, list[int]]:
    """The frequencies of the series with more than one row, each with the positions of its series.

    Args:
        table: series, which may be some of all.
        single: whether the data have a single series, whose frequency is required.

    Raises:
        SeriesError: for the first series without a regular frequency, or for all of them if they are left out.
    """
    found: dict[Frequency, list[int]] = {}
    irregular: dict[str, str] = {}
    left = np.flatnonzero((table.lengths > 1) | single)
    while len(left):
        position, left = int(left[0]), left[1:]
        one = table[position]
        try:
            frequency = Frequency.infer(pd.DatetimeIndex(one.timestamps), one.name)
        except ValueError as error:
            irregular[one.name] = str(error)
            if wants_all_errors():
                continue
            break
        if frequency not in found:
            alike = _surely_have(frequency, table)[left]
            found[frequency], left = left[alike].tolist(), left[~alike]
        found[frequency].append(position)
    if irregular:
        raise SeriesError(irregular)
    return found


def _surely_have(frequency: Frequency, table: SeriesTable) -> np.ndarray:
    """Series for which :meth:`Frequency.infer` certainly returns a frequency that it returned for another, ``[S]``.

    More than half of their gaps are one step, and no other frequency explains them as well.
    """
    unit, multiple = frequency.unit, frequency.multiple
    in_ticks, in_days = unit in TICKS, unit in ("D", "B", "W")
    if (in_ticks and frequency.seconds > DAY / 2) or (in_days and frequency.seconds >= SHORTEST_MONTH):
        return np.zeros(len(table), dtype=bool)
    stamps, first = pd.DatetimeIndex(table.timestamps), np.repeat(table.begins, table.lengths)
    ordinal, off_grid = frequency.ordinals(stamps, first)
    one_step = np.append(np.diff(ordinal) == 1, False)
    one_step[table.bounds[1:] - 1] = False
    share = np.add.reduceat(one_step, table.begins, dtype=np.int64) / np.maximum(table.lengths - 1, 1)
    sure = (share > 0.5) & ~np.logical_or.reduceat(off_grid, table.begins)
    if unit == "D":
        weekend = np.logical_or.reduceat(stamps.dayofweek.to_numpy() > 4, table.begins)
        sure &= (share == 1) | weekend
    if unit == "B":
        friday = stamps.dayofweek.to_numpy() == 4
        sure &= np.logical_or.reduceat(one_step & friday, table.begins) & (multiple == 1)
        sure &= np.logical_or.reduceat(one_step & ~friday, table.begins)
    return sure
