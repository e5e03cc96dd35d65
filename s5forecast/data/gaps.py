"""Common frequency of the series of a frame, and steps with missing values where rows are absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from s5forecast.data.faults import SeriesError
from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import DAY, TICKS
from s5forecast.data.table import Faults, SeriesTable, raise_first
from s5forecast.data.timestamps import time_index
from s5forecast.notices import warn_user

# A grid longer than both is attributed to a wrong timestamp.
MAX_STEPS, MAX_STEPS_PER_ROW = 10_000_000, 100
# Two dates may be as far apart as this and one month.
SHORTEST_MONTH = 28 * DAY


def infer_frequency(table: SeriesTable) -> Frequency:
    """The frequency that all series with more than one row have in common.

    Raises:
        ValueError: for a series without a regular frequency, or several frequencies.
    """
    return common_frequency(find_frequencies(table, single=len(table) == 1))


def find_frequencies(table: SeriesTable, *, single: bool) -> dict[Frequency, str]:
    """The frequencies of the series with more than one row, each with the name of the first series that has it.

    Args:
        table: series, which may be some of all.
        single: whether the data have a single series, whose frequency is required.

    Raises:
        SeriesError: for a series without a regular frequency.
    """
    found: dict[Frequency, str] = {}
    left = np.flatnonzero((table.lengths > 1) | single)
    while len(left):
        position, left = int(left[0]), left[1:]
        one = table[position]
        try:
            frequency = Frequency.infer(pd.DatetimeIndex(one.timestamps), one.name)
        except ValueError as error:
            raise SeriesError({one.name: str(error)}) from error
        if frequency not in found:
            found[frequency] = one.name
            left = left[~_surely_have(frequency, table)[left]]
    return found


def common_frequency(found: Mapping[Frequency, str]) -> Frequency:
    """The only frequency among those of all series; raises ValueError for none or several."""
    if len(found) != 1:
        seen = ", ".join(f"{frequency.alias!r} in {name}" for frequency, name in found.items())
        raise ValueError(f"the series do not have one common frequency ({seen or 'one row each'}); pass freq=")
    return next(iter(found))


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


def fill_gaps(table: SeriesTable, frequency: Frequency) -> SeriesTable:
    """Insert a step with missing values for each point of the grid that a series with targets ``[R]`` lacks.

    Raises:
        ValueError: for a timestamp that is not on the grid, or a grid that is much longer than the series.
    """
    position, *faults = grid_positions(table, frequency)
    raise_first(table, *faults)
    return insert_steps(table, position, frequency)


def grid_positions(table: SeriesTable, frequency: Frequency) -> tuple[np.ndarray, Faults, Faults]:
    """Step of each row on the grid of its series, ``[R]``; series off the grid, and those with a much longer grid."""
    stamps, first = time_index(table.timestamps), np.repeat(table.begins, table.lengths)
    ordinal, off_grid = frequency.ordinals(stamps, first)
    position = ordinal - ordinal[first]
    off, long = {}, {}
    owners, rows = np.unique(table.owners[off_grid], return_index=True)
    for owner, row in zip(owners.tolist(), np.flatnonzero(off_grid)[rows].tolist(), strict=True):
        begin = table.bounds[owner]
        off[owner] = f"{table.name(owner)}: {frequency.off_grid_message(stamps[begin:], row - begin)}"
    steps = position[table.bounds[1:] - 1] + 1
    for owner in np.flatnonzero((steps > MAX_STEPS) & (steps > MAX_STEPS_PER_ROW * table.lengths)).tolist():
        one = table[owner]
        long[owner] = (
            f"{one.name} has {len(one.timestamps)} rows on a {frequency.text} grid of {steps[owner]:,} steps, from "
            f"{one.timestamps[0]} to {one.timestamps[-1]}; correct its timestamps or freq="
        )
    return position, off, long


def insert_steps(table: SeriesTable, position: np.ndarray, frequency: Frequency) -> SeriesTable:
    """The table with each row at its ``position [R]`` on the grid of its series, and missing values elsewhere."""
    steps = position[table.bounds[1:] - 1] + 1
    bounds = np.concatenate([[0], np.cumsum(steps)])
    if bounds[-1] == len(position):
        return table
    rows = np.repeat(bounds[:-1], table.lengths) + position
    target = np.full(bounds[-1], np.nan, dtype=table.target.dtype)
    known, past = (np.full((len(one), bounds[-1]), np.nan, dtype=np.float32) for one in (table.known, table.past))
    target[rows], known[:, rows] = table.target, table.known
    if len(past):
        past[:, rows] = table.past
    weight = None if table.weight is None else np.zeros(bounds[-1])
    if weight is not None:
        weight[rows] = table.weight
    timestamps = frequency.ranges(time_index(table.timestamps[table.begins]), steps)
    return replace(
        table,
        bounds=bounds,
        timestamps=timestamps.rename(table.timestamps.name),
        target=target,
        known=known,
        past=past,
        weight=weight,
    )


@dataclass
class Gaps:
    """Steps that :func:`fill_gaps` inserted into one or several tables."""

    absent: int = 0
    series: int = 0  # series with absent steps
    most: tuple[int, str] = (0, "")  # most absent steps of a series, and its name
    steps: int = 0
    total: int = 0  # series

    def add(self, before: SeriesTable, after: SeriesTable) -> None:
        """Count the steps of a table."""
        added = after.lengths - before.lengths
        most = int(added.argmax())
        self.most = max(self.most, (int(added[most]), before.name(most)), key=lambda one: one[0])
        self.absent += int(added.sum())
        self.series += int(np.count_nonzero(added))
        self.steps += int(after.bounds[-1])
        self.total += len(before)

    def report(self, frequency: Frequency) -> None:
        """Warn once of all inserted steps."""
        if not self.absent:
            return
        where = "" if self.total == 1 else f" (most in {self.most[1]}: {self.most[0]})"
        doubt = "; most of the grid is absent: are the dates parsed correctly, or is freq= wrong?"
        warn_user(
            f"{self.absent} timestamps are absent from the {frequency.text} grid of {self.series} of "
            f"{self.total} series{where}; they are treated as missing values"
            f"{doubt if 2 * self.absent > self.steps else ''}"
        )
