"""Long frames of regular series: reading, gaps, frequency, and the horizon after each series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.covariates import Labels, coded
from s5forecast.data.faults import SeriesError
from s5forecast.data.frame_entries import FrameEntries, TableEntries
from s5forecast.data.frames import (
    Columns,
    NextRows,
    Queries,
    SeriesEnds,
    frame_keys,
    series_name,
    tidy_frame,
)
from s5forecast.data.frequency import Frequency
from s5forecast.data.gaps import fill_gaps
from s5forecast.data.holiday_calendar import HolidayCalendar
from s5forecast.data.mapped_entries import MappedEntries
from s5forecast.data.mapped_table import MappedTable
from s5forecast.data.missing_known import MissingKnown, report
from s5forecast.data.regular_frames import read_frame
from s5forecast.data.sampling import Sampling, check_prediction_length, check_same_names
from s5forecast.data.seasons import common_season
from s5forecast.data.series_names import SeriesNames
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import Faults, SeriesTable, raise_first
from s5forecast.data.timestamps import exact_times, same_zone, time_index
from s5forecast.notices import warn_user


@dataclass(frozen=True)
class RegularSampling(Sampling):
    """Series on a regular grid of timestamps; the steps after the last one are forecast.

    Args:
        columns: roles of the columns.
        prediction_length: steps to forecast, H.
        frequency: frequency of the grid; inferred by :meth:`learn` if not given.
        holidays: calendar whose holidays are known covariates.

    Raises:
        ValueError: for a prediction length that is not a positive whole number.
    """

    columns: Columns
    prediction_length: int
    frequency: Frequency | None = None
    holidays: HolidayCalendar | None = None

    kind = "regular"

    def __post_init__(self) -> None:
        check_prediction_length(self.prediction_length)

    def learn(self, df: pd.DataFrame) -> tuple[RegularSampling, SeriesTable]:
        def finish(series: SeriesTable, frequency: Frequency) -> SeriesTable:
            learned = replace(self, frequency=frequency)
            learned._check_horizon(learned.last_observed(series), series.items)
            return learned.with_holidays(series)

        series, frequency = read_frame(df, self.columns, self.frequency or "infer", finish=finish)
        if frequency.integer and not frequency.has_season:
            frequency = frequency.with_season(common_season(one.target for block in series.blocks() for one in block))
        learned = replace(self, frequency=frequency).with_kinds(StaticFeatures.learn(series, self.columns))
        return learned, series

    def read(self, df: pd.DataFrame, what: str = "df") -> SeriesTable:
        columns = self.columns if what == "validation=" else self.columns.unweighted

        def finish(series: SeriesTable, frequency: Frequency) -> SeriesTable:
            return replace(self, frequency=frequency).with_holidays(series)

        return read_frame(df, columns, self.frequency or "infer", what, finish)[0]

    def read_next(self, df: pd.DataFrame, ends: SeriesEnds, statics: StaticFeatures) -> NextRows:
        """Read the steps after the end of some series; absent rows become missing values.

        Static columns are ignored.

        Raises:
            ValueError: for a series that is not in ``ends``, a row that is not after the end of its series, or other
                invalid data, naming the series, the column and the fix.
        """
        columns, numeric = self.columns, [self.columns.target, *self.columns.covariates]
        tidy, codes, items = tidy_frame(df, columns, numeric, (), integer_time=self._fixed_frequency.integer)
        check_same_names(items != [None], ends.named, columns, "the new rows", "the stream")
        begins = np.flatnonzero(np.diff(codes, prepend=-1))
        covariates, labels = coded(columns.covariates, tidy)
        new = SeriesTable(
            names=SeriesNames(items, frame_keys(tidy.iloc[begins], columns, items)),
            bounds=np.append(begins, len(codes)),
            timestamps=time_index(tidy[columns.timestamp]),
            target=tidy[columns.target].to_numpy(dtype=np.float64),
            known=covariates[: len(columns.known)],
            static=tidy[[]].iloc[begins],
            past=covariates[len(columns.known) :],
            labels=labels,
        )
        steps = self.with_holidays(self._next_steps(new, ends))
        last = list(ends.last)
        for item, end in zip(items, steps.timestamps[steps.bounds[1:] - 1], strict=True):
            last[ends.positions[item]] = end
        return NextRows(
            to_entries(steps, self._fixed_frequency, statics.of_covariates()), ends._replace(last=last, unobserved=0)
        )

    def query(
        self,
        ends: SeriesEnds,
        future: pd.DataFrame | None = None,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
    ) -> Queries:
        if not (times is horizon is every is None):
            raise ValueError(
                "times=, horizon= and every= require irregular series (freq=None); regular series are forecast for "
                f"the next {self.prediction_length} steps"
            )
        S, H = len(ends.last), self.prediction_length
        self._check_horizon(ends.last, ends.items)
        stamps = self._fixed_frequency.ranges(time_index(ends.last), np.full(S, H + 1))
        stamps = stamps[np.arange(len(stamps)) % (H + 1) > 0]
        items, codes = ends.items, np.repeat(np.arange(S), H)
        keys = self.item_columns(ends, H).assign(**{self.columns.timestamp: stamps})
        known, labels = self._known_ahead(ends, stamps, future)
        return self.query_with_holidays(Queries(keys, items, codes, known, ends.last, labels))

    def entries(self, series: SeriesTable, statics: StaticFeatures, query: Queries | None = None) -> TableEntries:
        statics.warn_of_unknown(series)
        future = None if query is None else statics.encode_known(query).reshape(len(series), self.prediction_length, -1)
        return to_entries(series, self._fixed_frequency, statics, future)

    def stream_queries(self, query: Queries, statics: StaticFeatures) -> list[dict[str, Any]]:
        """GluonTS entries of the horizon only, without a target and with known covariates ``[F, H]``."""
        stamps, known = time_index(query.keys[self.columns.timestamp]), statics.encode_known(query)
        return [
            {
                "item_id": str(number) if item is None else item,
                "start": self._fixed_frequency.period(stamps[rows[0]], exact=False),
                "timestamps": stamps[rows],
                **statics.dynamic_fields(known[rows].T),
            }
            for number, (item, rows) in enumerate(zip(query.items, query.rows(), strict=True))
        ]

    def estimator_arguments(self, series: SeriesTable) -> dict[str, Any]:
        return {
            "freq": self._fixed_frequency.alias,
            "prediction_length": self.prediction_length,
            "target_dim": len(series),
        }

    def divided(self, substeps: int) -> RegularSampling:
        frequency = self._fixed_frequency.divided(substeps)
        return replace(self, frequency=frequency, prediction_length=substeps * self.prediction_length)

    def last_observed(self, series: SeriesTable) -> pd.Index:
        last = [block.timestamps[block.bounds[1:] - 1] for block in series.blocks()]
        return last[0].append(last[1:])

    def ends(self, series: SeriesTable) -> SeriesEnds:
        return super().ends(series)._replace(unobserved=_unobserved(series))

    def warn_of_unobserved(self, series: SeriesTable) -> None:
        if _unobserved(series):
            warn_user(self._unobserved_rows(self.ends(series)))

    def until(self, series: SeriesTable) -> Any:
        """The last timestamp as a naive timestamp in UTC, or the last integer."""
        last = super().until(series)
        if self._fixed_frequency.integer:
            return int(last)
        return last if last.tz is None else last.tz_convert(None)

    @property
    def _fixed_frequency(self) -> Frequency:
        assert self.frequency is not None, "learn() sets the frequency"
        return self.frequency

    def _check_horizon(self, last: Any, items: Sequence[Any]) -> None:
        """Raise ValueError for the series whose horizon goes beyond the timestamps that are supported."""
        last, reasons = time_index(last), {}
        for position in np.argsort(exact_times(last))[::-1].tolist():
            try:
                self._fixed_frequency.ranges(last[[position]], np.array([self.prediction_length + 1]))
            except ValueError as error:
                name = series_name(items[position])
                reasons[name] = f"{name}: {error}"
            else:
                break
        if reasons:
            raise SeriesError(reasons)

    def _known_ahead(self, ends: SeriesEnds, stamps: Any, future: pd.DataFrame | None) -> tuple[np.ndarray, Labels]:
        """Known covariates at the next ``stamps [S * H]`` of the series, float32 ``[S * H, F]``, and their labels."""
        known = list(self.columns.known)
        if not known:
            return np.empty((len(stamps), 0), dtype=np.float32), {}
        if future is None:
            hint = f"; {self._unobserved_rows(ends)}" if ends.unobserved else ""
            raise ValueError(f"the known columns {known} are required over the horizon; pass them as future={hint}")
        integer = self._fixed_frequency.integer
        tidy, codes, items = tidy_frame(future, self.columns, known, (), integer_time=integer, what="future=")
        check_same_names(items != [None], ends.named, self.columns, "future=", "the histories")
        owners = np.array([ends.positions.get(item, -1) for item in items])[codes]
        time = self.columns.timestamp
        name = f"{series_name(items[0])}: column {time!r} of future="
        times = same_zone(time_index(tidy[time]), getattr(stamps, "tz", None), name)
        number = np.repeat(np.arange(len(ends.items)), self.prediction_length)
        found = _rows_at(number, stamps, owners, times)
        rows, labels = coded(known, tidy)
        values = np.where((found < 0)[:, None], np.float32(np.nan), rows.T[found])
        self._check_covered((found >= 0).reshape(len(ends.items), -1), ends, stamps)
        # A missing category of a given row may mean that there is none, such as no event.
        numbers = np.array([labels[column] is None for column in known])
        self._warn_of_missing(np.isnan(values) & (numbers | (found < 0)[:, None]), ends, stamps)
        return values, labels

    def _check_covered(self, found: np.ndarray, ends: SeriesEnds, stamps: Any) -> None:
        """Raise ValueError for a series that has no row of ``future=`` within the horizon.

        Args:
            found: whether ``future=`` has a row for each step to forecast, ``[S, H]``.
            ends: ends of the series.
            stamps: times of the steps, ``[S * H]``.
        """
        reasons = {}
        for owner in np.flatnonzero(~found.any(axis=1)).tolist():
            name, first = series_name(ends.items[owner]), owner * self.prediction_length
            begin, end = stamps[first], stamps[first + self.prediction_length - 1]
            known = list(self.columns.known)
            reasons[name] = f"{name}: future= has no rows for it from {begin} to {end}; add {known} at these times"
        if reasons:
            raise SeriesError(reasons)

    def _warn_of_missing(self, missing: np.ndarray, ends: SeriesEnds, stamps: Any) -> None:
        """Warn of known covariates that are ``missing [S * H, F]`` at steps to forecast."""
        if not missing.any():
            return
        steps, columns = np.nonzero(missing)
        lacking = MissingKnown(
            [self.columns.known[number] for number in np.unique(columns).tolist()],
            [series_name(ends.items[owner]) for owner in np.unique(steps // self.prediction_length).tolist()],
            f"at {stamps[steps[0]]}",
        )
        report([lacking])

    def _unobserved_rows(self, ends: SeriesEnds) -> str:
        """Describe the steps without a target at the end of every series, and what to do about them."""
        rows = "row has" if ends.unobserved == 1 else f"{ends.unobserved} rows have"
        series = f"each of the {len(ends.last)} series" if ends.named else "the series"
        start = self._fixed_frequency.range(min(ends.last), 2)[1]
        fix = "pass future rows as future= instead" if self.columns.known else "leave out rows without a target"
        return f"the last {rows} no target in {series}, so forecasts start after them, from {_short(start)}; {fix}"

    def _next_steps(self, new: SeriesTable, ends: SeriesEnds) -> SeriesTable:
        """The steps from the one after the end of each series to its last new row."""
        stamps, last = self._checked_later(new, ends)
        # Insert the end before the new rows of each series, so that the grid begins there.
        order = np.insert(np.arange(len(stamps)) + len(last), new.begins, np.arange(len(last)))
        from_last = replace(
            new,
            bounds=new.bounds + np.arange(len(new) + 1),
            timestamps=last.append(stamps)[order],
            target=np.insert(new.target, new.begins, np.nan),
            known=np.insert(new.known, new.begins, np.nan, axis=1),
            past=np.insert(new.past, new.begins, np.nan, axis=1) if len(new.past) else new.past,
        )
        filled = fill_gaps(from_last, self._fixed_frequency)
        kept = np.ones(len(filled.timestamps), dtype=bool)
        kept[filled.begins] = False
        return replace(
            filled,
            bounds=filled.bounds - np.arange(len(new) + 1),
            timestamps=filled.timestamps[kept],
            target=filled.target[kept],
            known=filled.known[:, kept],
            past=filled.past[:, kept] if len(filled.past) else filled.past,
        )

    def _checked_later(self, new: SeriesTable, ends: SeriesEnds) -> tuple[Any, Any]:
        """New timestamps in the time zone of the histories, and the end of the history of each series.

        Raises:
            ValueError: for a series without a history, or with a row that is not after its end.
        """
        column = self.columns.timestamp
        unknown: Faults = {
            position: f"{new.name(position)} cannot be normalized because the stream has no history for it; give its "
            "history to stream()"
            for position, item in enumerate(new.items)
            if item not in ends.positions
        }
        if 0 in unknown:
            raise_first(new, unknown)
        zone = getattr(ends.last[0], "tz", None)
        stamps = same_zone(time_index(new.timestamps), zone, f"{new.name(0)}: column {column!r}")
        last = time_index([ends.last[ends.positions.get(item, 0)] for item in new.items])
        early: Faults = {
            position: f"{new.name(position)}: {column} {stamps[new.bounds[position]]} is not after the last "
            f"observation, at {last[position]}; remove rows that the stream already has, or start a new stream to "
            "correct them"
            for position in np.flatnonzero(stamps[new.begins] <= last).tolist()
        }
        raise_first(new, unknown, early)
        return stamps, last


def to_entries(
    series: SeriesTable, frequency: Frequency, statics: StaticFeatures, future: np.ndarray | None = None
) -> TableEntries:
    """GluonTS entries of the series.

    Args:
        series: series with targets ``[R]``.
        frequency: frequency of all series.
        statics: encoding of the static columns and the covariates.
        future: encoded known covariates over the horizon, ``[S, H, F]``, which are appended to those of the past.
    """
    if isinstance(series, MappedTable) and future is None:
        return MappedEntries(series, frequency, statics)
    return FrameEntries(statics.encode_covariates(series), frequency, statics, future)


def _unobserved(series: SeriesTable) -> int:
    """Steps without a target at the end of every series."""
    return int(min((block.bounds[1:] - 1 - block.last_rows(block.observed)).min() for block in series.blocks()))


def _rows_at(series: np.ndarray, stamps: Any, owners: np.ndarray, times: Any) -> np.ndarray:
    """Row with each series and time, -1 if there is none.

    Args:
        series, stamps: series and time to find, ``[M]``.
        owners, times: series of each row, -1 for other series, and its time, ``[R]``.
    """
    distinct, moments = np.unique(exact_times(stamps), return_inverse=True)
    exact = exact_times(times)
    place = np.searchsorted(distinct, exact).clip(max=len(distinct) - 1)
    usable = np.flatnonzero((owners >= 0) & (distinct[place] == exact))
    order = usable[np.argsort(owners[usable] * len(distinct) + place[usable])]
    keys, wanted = owners[order] * len(distinct) + place[order], series * len(distinct) + moments
    if not len(order):
        return np.full(len(series), -1)
    at = np.searchsorted(keys, wanted).clip(max=len(order) - 1)
    return np.where(keys[at] == wanted, order[at], -1)


def _short(stamp: Any) -> str:
    """A timestamp, without its time if that is midnight."""
    if not isinstance(stamp, pd.Timestamp):
        return str(stamp)
    return str(stamp.date() if stamp == stamp.normalize() else stamp)
