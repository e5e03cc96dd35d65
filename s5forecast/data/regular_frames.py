"""Regular series of a long frame, or of data on disk."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from s5forecast.data.common_frequency import CommonFrequency
from s5forecast.data.disk_data import DiskData, read_parts
from s5forecast.data.faults import SeriesError
from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.gaps import Gaps, fill_gaps
from s5forecast.data.table import SeriesTable, read_table

# Completes the series of a part that have a frequency.
Finish = Callable[[SeriesTable, Frequency], SeriesTable]


def read_frame(
    frame: pd.DataFrame | DiskData,
    columns: Columns,
    freq: str | int | Frequency = "infer",
    what: str = "df",
    finish: Finish = lambda series, _: series,
) -> tuple[SeriesTable, Frequency]:
    """Check a long frame and convert it to regular series with targets ``[R]``, in order of first appearance.

    The frame is not changed. Rows are sorted by time. Gaps become missing values, which are reported in one warning.

    Args:
        frame: long frame, or data on disk, which are read in parts.
        columns: roles of the columns.
        freq: frequency of all series.
        what: name of the frame in error messages.
        finish: checks the series of a part further and adds holidays.

    Raises:
        ValueError: for invalid data, naming the series, the column and the fix.
    """
    inferred = isinstance(freq, str) and freq == "infer"
    common = _first(frame, columns, what) if inferred else CommonFrequency(Frequency.parse(freq), given=True)
    try:
        return _read(frame, columns, common, what, finish)
    except SeriesError:
        of_all = common.of_all()
        if of_all.frequency == common.frequency:
            raise
    return _read(
        frame, columns, of_all, what, finish
    )  # most series have another frequency than those of the first part


def _first(frame: pd.DataFrame | DiskData, columns: Columns, what: str) -> CommonFrequency:
    """The frequency of the first part of data on disk that has any; not yet known of a frame, or if none has."""
    if not isinstance(frame, DiskData):
        return CommonFrequency()
    single = frame.num_series(columns, what) == 1

    def find(part: pd.DataFrame) -> CommonFrequency | None:
        return CommonFrequency.of_table(read_table(part, columns, what=what).univariate(), single=single)

    return frame.first(columns, find, what) or CommonFrequency()


def _read(
    frame: pd.DataFrame | DiskData, columns: Columns, common: CommonFrequency, what: str, finish: Finish
) -> tuple[SeriesTable, Frequency]:
    gaps = Gaps()

    def read(part: pd.DataFrame) -> SeriesTable:
        series = read_table(part, columns, integer_time=common.given and common.integer, what=what).univariate()
        count = frame.num_series(columns, what) if isinstance(frame, DiskData) else len(series)
        frequency = common.check(series, single=count == 1)
        regular = fill_gaps(series, frequency)
        finished = finish(regular, frequency)
        gaps.add(series, regular)
        return finished

    regular = read_parts(frame, columns, read, what)
    assert common.frequency is not None, "a part has at least one series, whose frequency is checked"
    gaps.report(common.frequency)
    return regular, common.frequency
