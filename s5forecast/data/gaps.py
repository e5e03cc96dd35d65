"""Steps with missing values where rows of regular series are absent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from s5forecast.data.frames import series_name
from s5forecast.data.frequency import Frequency
from s5forecast.data.table import Faults, SeriesTable, raise_first
from s5forecast.data.timestamps import time_index
from s5forecast.notices import SeriesWarning, warn_user

# A grid longer than both is attributed to a wrong timestamp.
MAX_STEPS, MAX_STEPS_PER_ROW = 10_000_000, 100


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

    items: list[Any] = field(default_factory=list)  # labels of the series with absent steps
    absent: list[np.ndarray] = field(default_factory=list)  # absent steps of these series
    steps: int = 0  # of all series
    total: int = 0  # series

    def add(self, before: SeriesTable, after: SeriesTable) -> None:
        """Count the steps of a table."""
        added = after.lengths - before.lengths
        lacking = np.flatnonzero(added)
        self.items += [before.items[position] for position in lacking.tolist()]
        self.absent.append(added[lacking])
        self.steps += int(after.bounds[-1])
        self.total += len(before)

    def report(self, frequency: Frequency) -> None:
        """Warn once of all inserted steps."""
        if not self.items:
            return
        found = np.concatenate(self.absent)
        absent, order = int(found.sum()), np.argsort(-found, kind="stable").tolist()
        names = [series_name(self.items[position]) for position in order]
        where = "" if self.total == 1 else f" (most in {names[0]}: {found[order[0]]})"
        doubt = "; most of the grid is absent: are the dates parsed correctly, or is freq= wrong?"
        stamps, fate = (
            ("timestamp is", "it is treated as a missing value")
            if absent == 1
            else ("timestamps are", "they are treated as missing values")
        )
        message = (
            f"{absent} {stamps} absent from the {frequency.text} grid of {len(names)} of {self.total} "
            f"series{where}; {fate}{doubt if 2 * absent > self.steps else ''}"
        )
        warn_user(SeriesWarning(message, names))
