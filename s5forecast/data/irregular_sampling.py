"""Long frames of irregular series: rows, times to forecast, and new rows of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd

from s5forecast.data.covariates import Labels, coded, covariate_values, encoded
from s5forecast.data.disk_data import read_parts
from s5forecast.data.faults import SeriesError, raise_for_rows
from s5forecast.data.frames import (
    Columns,
    NextRows,
    Queries,
    SeriesEnds,
    frame_keys,
    series_name,
    tidy_frame,
)
from s5forecast.data.holiday_calendar import HolidayCalendar
from s5forecast.data.items import join_keys, read_items
from s5forecast.data.long_frames import long_frame, require_column
from s5forecast.data.missing_known import MissingKnown, report
from s5forecast.data.sampling import Sampling, check_prediction_length, check_same_names
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable, read_table
from s5forecast.data.time_columns import query_times
from s5forecast.data.times import IrregularRows, check_kind, check_zone, is_duration, read_instants
from s5forecast.data.timestamps import RANGE_FIX, in_zone
from s5forecast.notices import SeriesWarning, warn_user

# Units of durations in messages: shortest duration written in the unit, its seconds, and its name.
UNITS = ((172800, 86400, "days"), (3600, 3600, "h"), (60, 60, "min"), (0, 1, "s"))


class _NewSeries(NamedTuple):
    """Name and static columns of a series that is new to a stream."""

    name: str
    static: dict[str, Any]


@dataclass(frozen=True)
class IrregularSampling(Sampling):
    """Series observed at any times and forecast at any later times.

    Args:
        columns: roles of the columns; a missing target in a row was not observed at that time.
        horizon: how far ahead the model is trained to forecast, a duration or, if times are numbers, a number.
        prediction_length: how many of the next observations the model is trained to forecast.
        aggregate: a key of ``AGGREGATES``, which merges rows of one series and time; by default they raise an error.
        holidays: calendar whose holidays are known covariates.

    Raises:
        ValueError: for a prediction length that is not a positive whole number.
    """

    columns: Columns
    horizon: Any = None
    prediction_length: int | None = None
    aggregate: str | None = None
    holidays: HolidayCalendar | None = None

    kind = "irregular"
    frequency = None

    def __post_init__(self) -> None:
        if self.prediction_length is not None:
            check_prediction_length(self.prediction_length)

    def learn(self, df: pd.DataFrame) -> tuple[IrregularSampling, SeriesTable]:
        series = self.read(df)
        return self.with_kinds(StaticFeatures.learn(series, self.columns)), series

    def read(self, df: pd.DataFrame, what: str = "df") -> SeriesTable:
        columns = self.columns.unweighted

        def read(part: pd.DataFrame) -> SeriesTable:
            series = read_table(part, columns, numeric_time=True, aggregate=self.aggregate, what=what)
            self._check_horizon(datetimes=isinstance(series.timestamps[0], pd.Timestamp))
            return self.with_holidays(replace(series, target=series.target.astype(np.float64, copy=False)))

        return read_parts(df, columns, read, what)

    def read_next(self, df: pd.DataFrame, ends: SeriesEnds, statics: StaticFeatures) -> NextRows:
        columns, targets = self.columns, list(self.columns.targets)
        static = [column for column in columns.static if column in df]
        numeric = [*targets, *columns.covariates]
        tidy, codes, items = tidy_frame(df, columns, numeric, static, numeric_time=True, aggregate=self.aggregate)
        tidy = tidy.assign(**{columns.timestamp: in_zone(tidy[columns.timestamp], _zone(ends))})
        rows = IrregularRows(
            items=items,
            series=codes,
            instants=read_instants(tidy[columns.timestamp], columns.timestamp, "the frame"),
            target=tidy[targets].to_numpy(dtype=np.float64),
            covariates=self._encoded(tidy, [series_name(items[code]) for code in codes], statics),
            column=columns.timestamp,
        )
        check_same_names(None not in items, ends.named, columns, "the new rows", "the stream")
        first_rows = tidy.iloc[np.unique(codes, return_index=True)[1]]
        self._check_new(rows, tidy[columns.timestamp], ends)
        later = _later_ends(ends, rows, tidy[columns.timestamp], frame_keys(first_rows, columns, items))
        return NextRows(
            rows, later, lambda item: self._encode_new(item, items.index(item), first_rows[static], statics)
        )

    @staticmethod
    def _check_new(rows: IrregularRows, times: pd.Series, ends: SeriesEnds) -> None:
        """Raise ValueError for new rows at ``times`` that are not after the last observation of their series."""
        names = [series_name(item) for item in rows.items]
        until = [ends.last[ends.positions.get(item, 0)] for item in rows.items]
        last = read_instants(pd.Index(until), "time", "the stream")
        check_kind(rows.instants, last.datetimes, rows.column, names[0])
        check_zone(rows.instants, last.aware, rows.column, names[0])
        known = np.array([item in ends.positions for item in rows.items])
        raise_for_rows(
            known[rows.series] & (rows.instants.exact <= last.exact[rows.series]),
            rows.series,
            names,
            lambda row: (
                f"{names[rows.series[row]]}: {rows.column} {times.iloc[row]} is not after the last "
                f"observation, at {until[rows.series[row]]}; remove rows that the stream already has, or start a new "
                "stream to correct them"
            ),
        )

    def _encoded(self, tidy: pd.DataFrame, names: Sequence[str], statics: StaticFeatures) -> np.ndarray:
        """The covariates of new rows as in training, ``[R, F]``; ``names`` are those of their series."""
        rows, labels = coded(self.columns.covariates, tidy)
        known, past = np.split(rows, [len(self.columns.known)])
        if self.holidays is not None:
            further, added = self.holidays.covariates(tidy[self.columns.timestamp], None)
            known, labels = np.concatenate([known, further]), {**labels, **added}
        parts = ((known, statics.known), (past, statics.past))
        return np.concatenate([encoded(part, labels, found, names.__getitem__) for part, found in parts]).T

    def _encode_new(
        self, item: Any, row: int, first_rows: pd.DataFrame, statics: StaticFeatures
    ) -> dict[str, np.ndarray]:
        """Static features of a series that is new to a stream.

        Raises:
            ValueError: for static columns that the frame lacks.
        """
        missing = [column for column in self.columns.static if column not in first_rows]
        if missing:
            raise ValueError(f"series {item!r} is new: add its static columns {missing} to its first rows")
        values = {column: first_rows[column].iloc[row] for column in self.columns.static}
        return statics.encode(_NewSeries(f"series {item!r}", values))

    def query(
        self,
        ends: SeriesEnds,
        future: pd.DataFrame | None = None,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
    ) -> Queries:
        if future is not None:
            raise ValueError("future= requires regular series; for irregular series, pass the known columns in times=")
        if times is None:
            times = self._grid(ends, horizon, every)
        elif not (horizon is every is None):
            raise ValueError("pass either times=, or horizon= and every=, not both")
        times = self._long_times(times)
        given = self._keys(times, ends)
        keys = given.assign(**{self.columns.timestamp: in_zone(given[self.columns.timestamp], _zone(ends))})
        found = read_items(keys, self.columns.identity if ends.named else (), "times=")
        codes, items = found.codes, found.labels
        unknown = [item for item in items if item not in ends.positions]
        if unknown:
            text = "times= contains {}, which has no history; add its history first"
            raise SeriesError({series_name(item): text.format(series_name(item)) for item in unknown})
        known, labels = self._known_at(times, keys, codes, [series_name(item) for item in items])
        last = [ends.last[ends.positions[item]] for item in items]
        query = Queries(keys, items, codes, known, last, labels, given[self.columns.timestamp])
        self._check_later(query)
        return self.query_with_holidays(query)

    def entries(
        self, series: SeriesTable, statics: StaticFeatures, query: Queries | None = None
    ) -> list[dict[str, Any]]:
        statics.warn_of_unknown(series)
        series = statics.encode_covariates(series)
        entries = {
            one.item_id: {
                **({} if one.item_id is None else {"item_id": one.item_id}),
                "time": one.timestamps,
                "target": one.target,
                **statics.dynamic_fields(one.known, one.past),
                **statics.encode(one),
            }
            for one in series
        }
        if query is None:
            return list(entries.values())
        times, known = query.keys[self.columns.timestamp], statics.encode_known(query)
        return [
            {
                **entries[item],
                "query_time": pd.Index(times.iloc[rows]),
                **{f"query_{name}": one for name, one in statics.dynamic_fields(known[rows].T).items()},
            }
            for item, rows in zip(query.items, query.rows(), strict=True)
        ]

    def stream_queries(self, query: Queries, statics: StaticFeatures) -> IrregularRows:
        """The times of a query as rows sorted by series, without targets."""
        order, column = query.order, self.columns.timestamp
        unknown = np.full((len(order), len(self.columns.past)), np.nan, dtype=np.float32)
        return IrregularRows(
            items=query.items,
            series=query.codes[order],
            instants=read_instants(query.keys[column].iloc[order], column, "times="),
            target=np.empty((len(order), 0)),
            covariates=np.concatenate([statics.encode_known(query)[order], unknown], axis=1),
            column=column,
        )

    def estimator_arguments(self, series: SeriesTable) -> dict[str, Any]:
        return {
            "prediction_horizon": self.horizon,
            "prediction_length": self.prediction_length,
            "target_dim": len(self.columns.targets),
        }

    def last_observed(self, series: SeriesTable) -> pd.Index:
        last = [block.timestamps[block.last_rows(block.observed)] for block in series.blocks()]
        return last[0].append(last[1:])

    def lengths(self, series: SeriesTable) -> np.ndarray:
        counts = [np.add.reduceat(block.observed, block.begins, dtype=np.int64) for block in series.blocks()]
        return np.concatenate(counts)

    def divided(self, substeps: int) -> NoReturn:
        self.require_regular("step_scale", "pass the forecast times with times=")

    def require_regular(self, name: str, fix: str) -> NoReturn:
        raise ValueError(f"{name} requires regular series. For irregular series (freq=None), {fix}")

    def warn_of_far(self, query: Queries) -> None:
        if self.horizon is None:
            return
        column = self.columns.timestamp
        last = read_instants(pd.Index(query.last), column, "the history")
        ahead = read_instants(query.keys[column], column, "times=").since(last.exact[query.codes])
        limit = pd.Timedelta(self.horizon).total_seconds() if last.datetimes else float(self.horizon)
        far = int(ahead.argmax())
        if ahead[far] > limit * (1 + 1e-9):
            amount = _duration(ahead[far], limit) if last.datetimes else f"{ahead[far]:.4g}"
            owners = dict.fromkeys([query.codes[far], *query.codes[ahead > limit * (1 + 1e-9)]])
            names = [series_name(query.items[owner]) for owner in owners]
            message = (
                f"{names[0]}: a forecast time is {amount} ahead; the model was trained for horizon={self.horizon!r}; "
                "fit with a longer horizon"
            )
            warn_user(SeriesWarning(message, names))

    def _check_horizon(self, *, datetimes: bool) -> None:
        """Raise ValueError unless the horizon is a duration if times are datetimes, and a number otherwise."""
        if self.horizon is None or is_duration(self.horizon) == datetimes:
            return
        kind, found = ("a number", "datetimes") if datetimes else ("a duration", "numbers")
        fix = f"pass a duration such as horizon='{self.horizon:g}h'" if datetimes else "pass horizon= as a number"
        raise ValueError(
            f"horizon={self.horizon!r} is {kind}, but column {self.columns.timestamp!r} holds {found}; {fix}"
        )

    def _check_later(self, query: Queries) -> None:
        """Raise ValueError for a time to forecast that is not after the last observation of its series."""
        column = f"column {self.columns.timestamp!r} of times="
        names = [series_name(item) for item in query.items]
        asked = read_instants(query.keys[self.columns.timestamp], column, "times=")
        last = read_instants(pd.Index(query.last), "time", "the history")
        check_kind(asked, last.datetimes, column, names[query.codes[0]])
        check_zone(asked, last.aware, column, names[query.codes[0]])
        raise_for_rows(
            asked.exact <= last.exact[query.codes],
            query.codes,
            names,
            lambda row: (
                f"{names[query.codes[row]]}: {column} has {query.keys[self.columns.timestamp].iloc[row]}, which is not "
                f"after the last observation, at {query.last[query.codes[row]]}; pass later times, or a history that "
                "ends earlier"
            ),
        )

    def _grid(self, ends: SeriesEnds, horizon: Any, every: Any) -> pd.DataFrame:
        """Times after the end of each series, in steps of ``every`` up to the ``horizon``."""
        horizon = self.horizon if horizon is None else horizon
        if every is None or horizon is None:
            raise ValueError(
                "pass the times to forecast, either as a frame times= with a row for each time, or as horizon= and "
                "every=, as in predict(horizon='12h', every='30min')"
            )
        if self.columns.known:
            raise ValueError(
                f"the known columns {list(self.columns.known)} are required at each time to forecast; pass a frame "
                "with them as times="
            )
        steps, last = pd.Index(grid_steps(horizon, every, datetimes=_datetimes(ends))), pd.Index(ends.last)
        try:
            times = last.repeat(len(steps)) + np.tile(steps, len(last))
        except (OverflowError, pd.errors.OutOfBoundsDatetime) as error:
            latest = pd.Timestamp.max.value - steps[-1].as_unit("ns").value
            raise SeriesError(
                {
                    series_name(item): f"{series_name(item)}: horizon={horizon} after {end} is too late: {RANGE_FIX}"
                    for item, end in zip(ends.items, last, strict=True)
                    if end.as_unit("ns").value > latest
                }
            ) from error
        return self.item_columns(ends, len(steps)).assign(**{self.columns.timestamp: times})

    def _long_times(self, times: pd.DataFrame) -> pd.DataFrame:
        """Times to forecast with series and times as columns, also if they are levels of the index."""
        if not isinstance(times, pd.DataFrame) or not len(times):
            raise ValueError("times= must be a frame with a row for each time to forecast")
        return long_frame(times, self.columns.identity, self.columns.timestamp, self.columns.target, "times=")

    def _keys(self, times: pd.DataFrame, ends: SeriesEnds) -> pd.DataFrame:
        """Timestamp, and item_id if the series have one, of each row of a frame of times to forecast."""
        column, names = self.columns.timestamp, self.columns.identity if ends.named else ()
        for name in [*names, column, *self.columns.known]:
            require_column(times, name, "times=")
        keys = times[[*names, column]]
        found = read_items(keys, names, "times=")
        series = [series_name(item) for item in found.labels]
        return keys.assign(**{column: query_times(times[column], found.codes, series)})

    def _known_at(
        self, times: pd.DataFrame, keys: pd.DataFrame, codes: np.ndarray, names: Sequence[str]
    ) -> tuple[np.ndarray, Labels]:
        """The known columns at the times to forecast, ``[M, F]`` float32, and their labels; warns of missing values.

        Args:
            times: frame of times to forecast.
            keys: item_id and timestamp of its rows.
            codes: position in ``names`` of the series of each row.
            names: names of the series.

        Raises:
            ValueError: for an infinite value, naming the series, the column and the time.
        """
        columns, stamps = list(self.columns.known), keys[self.columns.timestamp]
        found = {
            one: covariate_values(
                times[one], stamps, codes, names, "times=", categorical=one in self.columns.categorical
            )
            for one in columns
        }
        rows, labels = coded(columns, pd.DataFrame(found, index=times.index))
        # A missing category may mean that there is none, such as no event.
        numbers = np.array([labels[column] is None for column in columns], dtype=bool)
        missing = np.isnan(rows) & numbers[:, None]
        if missing.any():
            lacking = np.flatnonzero(missing.any(axis=0))
            unknown = MissingKnown(
                [column for column, lacks in zip(columns, missing.any(axis=1), strict=True) if lacks],
                [names[code] for code in np.unique(codes[lacking]).tolist()],
                f"at {stamps.iloc[int(lacking[0])]}",
            )
            report([unknown])
        return rows.T, labels


def grid_steps(horizon: Any, every: Any, *, datetimes: bool) -> list[Any]:
    """Multiples of ``every`` up to the ``horizon``.

    Raises:
        ValueError: for a step that is not positive or longer than the horizon, a duration if times are numbers, or a
            number if times are datetimes.
    """
    for name, duration in (("horizon", horizon), ("every", every)):
        if is_duration(duration) != datetimes:
            fix = "a duration such as '30min', because times are datetimes" if datetimes else "a number, as times are"
            raise ValueError(f"{name}={duration!r} must be {fix}")
    if datetimes:
        horizon, every = pd.Timedelta(horizon), pd.Timedelta(every)
    if not every > 0 * every or every > horizon:
        raise ValueError(f"every={every} must be positive and no longer than horizon={horizon}")
    return [every * step for step in range(1, int(horizon / every * (1 + 1e-12)) + 1)]


def _duration(seconds: float, like: float) -> str:
    """A duration in the unit that suits another, such as ``53 h`` for a horizon of 12 hours."""
    size, unit = next((size, unit) for shortest, size, unit in UNITS if like >= shortest)
    return f"{seconds / size:.4g} {unit}"


def _later_ends(ends: SeriesEnds, rows: IrregularRows, times: pd.Series, new: pd.DataFrame) -> SeriesEnds:
    """Ends of all series after rows of series with the keys ``new``; rows without an observed value change nothing."""
    positions, last = dict(ends.positions), list(ends.last)
    observed = np.flatnonzero(~np.isnan(rows.target).all(axis=1))
    final = dict(zip(rows.series[observed], observed, strict=True))  # the last row of each series
    for series, row in final.items():
        position = positions.setdefault(rows.items[series], len(last))
        last[position : position + 1] = [times.iloc[row]]
    added = list(positions)[len(ends.positions) :]
    keys = join_keys(ends.keys, new.loc[added]) if added and ends.keys is not None else ends.keys
    return SeriesEnds(positions, last, keys=keys)


def _zone(ends: SeriesEnds) -> Any:
    """Time zone of the histories; ``None`` without one."""
    return getattr(ends.last[0], "tz", None)


def _datetimes(ends: SeriesEnds) -> bool:
    return isinstance(ends.last[0], pd.Timestamp)
