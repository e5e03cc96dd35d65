"""Long frames of regular series: reading, gaps, frequency, and the horizon after each series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frames import (
    Columns,
    FrameSeries,
    NextRows,
    Queries,
    SeriesEnds,
    read_frame_series,
    series_name,
    split_frame,
)
from s5forecast.data.frequency import Frequency
from s5forecast.data.sampling import Sampling, check_prediction_length, check_same_names
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.timestamps import same_zone
from s5forecast.notices import warn_user

# A grid longer than both is attributed to a wrong timestamp.
MAX_STEPS, MAX_STEPS_PER_ROW = 10_000_000, 100


@dataclass(frozen=True)
class RegularSampling(Sampling):
    """Series on a regular grid of timestamps; the steps after the last one are forecast.

    Args:
        columns: roles of the columns.
        prediction_length: steps to forecast, H.
        frequency: frequency of the grid; inferred by :meth:`learn` if not given.

    Raises:
        ValueError: for a prediction length that is not a positive whole number.
    """

    columns: Columns
    prediction_length: int
    frequency: Frequency | None = None

    kind = "regular"

    def __post_init__(self) -> None:
        check_prediction_length(self.prediction_length)

    def learn(self, df: pd.DataFrame) -> tuple[RegularSampling, list[FrameSeries]]:
        series, frequency = read_frame(df, self.columns, self.frequency or "infer")
        latest = max(series, key=self.last)
        try:
            frequency.range(latest.timestamps[-1], self.prediction_length + 1)
        except ValueError as error:
            raise ValueError(f"{latest.name}: {error}") from error
        return replace(self, frequency=frequency), series

    def read(self, df: pd.DataFrame, what: str = "df") -> list[FrameSeries]:
        return read_frame(df, self.columns, self.frequency or "infer", what)[0]

    def read_next(self, df: pd.DataFrame, ends: SeriesEnds, statics: StaticFeatures) -> NextRows:
        """Read the steps after the end of some series; absent rows become missing values.

        Static columns are ignored.

        Raises:
            ValueError: for a series that is not in ``ends``, a row that is not after the end of its series, or other
                invalid data, naming the series, the column and the fix.
        """
        columns = self.columns
        parts = split_frame(df, columns, [columns.target, *columns.known], ())
        check_same_names(parts[0][0] is not None, ends.named, columns, "the new rows", "the stream")
        steps = [self._next_steps(item, part, ends) for item, part in parts]
        last = list(ends.last)
        for one in steps:
            last[ends.positions[one.item_id]] = one.timestamps[-1]
        return NextRows(
            to_entries(steps, self._fixed_frequency, StaticFeatures()), ends._replace(last=last, unobserved=0)
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
        stamps = [self._fixed_frequency.range(last, self.prediction_length + 1)[1:] for last in ends.last]
        items, codes = ends.items, np.repeat(np.arange(len(stamps)), self.prediction_length)
        keys = self.item_columns(ends, self.prediction_length)
        keys = keys.assign(**{self.columns.timestamp: stamps[0].append(stamps[1:])})
        known = np.concatenate(self._known_ahead(ends, stamps, future))
        return Queries(keys, items, codes, known, ends.last)

    def entries(
        self, series: Sequence[FrameSeries], statics: StaticFeatures, query: Queries | None = None
    ) -> list[dict[str, Any]]:
        statics.warn_of_unknown(series)
        future = None if query is None else [query.known[rows].T for rows in query.rows()]
        return to_entries(series, self._fixed_frequency, statics, future)

    def stream_queries(self, query: Queries) -> list[dict[str, Any]]:
        """GluonTS entries of the horizon only, without a target and with known covariates ``[F, H]``."""
        stamps = pd.DatetimeIndex(query.keys[self.columns.timestamp])
        return [
            {
                "item_id": str(number) if item is None else item,
                "start": self._fixed_frequency.period(stamps[rows[0]], exact=False),
                "timestamps": stamps[rows],
                "feat_dynamic_real": query.known[rows].T,
            }
            for number, (item, rows) in enumerate(zip(query.items, query.rows(), strict=True))
        ]

    def estimator_arguments(self, series: Sequence[FrameSeries]) -> dict[str, Any]:
        return {
            "freq": self._fixed_frequency.alias,
            "prediction_length": self.prediction_length,
            "target_dim": len(series),
            "num_feat_dynamic_real": len(self.columns.known),
        }

    def divided(self, substeps: int) -> RegularSampling:
        frequency = self._fixed_frequency.divided(substeps)
        return replace(self, frequency=frequency, prediction_length=substeps * self.prediction_length)

    def last_observed(self, one: FrameSeries) -> pd.Timestamp:
        return one.timestamps[-1]

    def ends(self, series: Sequence[FrameSeries]) -> SeriesEnds:
        return super().ends(series)._replace(unobserved=min(map(_unobserved_steps, series)))

    def warn_of_unobserved(self, ends: SeriesEnds) -> None:
        if ends.unobserved:
            warn_user(self._unobserved_rows(ends))

    def last(self, one: FrameSeries) -> pd.Timestamp:
        """The last timestamp as a naive timestamp in UTC, so that series with different time zones compare."""
        last = one.timestamps[-1]
        return last if last.tz is None else last.tz_convert(None)

    @property
    def _fixed_frequency(self) -> Frequency:
        assert self.frequency is not None, "learn() sets the frequency"
        return self.frequency

    def _known_ahead(
        self, ends: SeriesEnds, stamps: Sequence[pd.DatetimeIndex], future: pd.DataFrame | None
    ) -> list[np.ndarray]:
        """Known covariates ``[H, F]`` at the next timestamps of each series."""
        known = list(self.columns.known)
        if not known:
            return [np.empty((len(each), 0), dtype=np.float32) for each in stamps]
        if future is None:
            hint = f"; {self._unobserved_rows(ends)}" if ends.unobserved else ""
            raise ValueError(f"the known columns {known} are required over the horizon; pass them as future={hint}")
        parts = dict(split_frame(future, self.columns, known, (), what="future="))
        check_same_names(None not in parts, ends.named, self.columns, "future=", "the histories")
        return [self._known_of(item, parts.get(item), each) for item, each in zip(ends.items, stamps, strict=True)]

    def _unobserved_rows(self, ends: SeriesEnds) -> str:
        """Describe the steps without a target at the end of every series, and what to do about them."""
        rows = "row has" if ends.unobserved == 1 else f"{ends.unobserved} rows have"
        series = f"each of the {len(ends.last)} series" if ends.named else "the series"
        start = self._fixed_frequency.range(min(ends.last), 2)[1]
        fix = "pass future rows as future= instead" if self.columns.known else "leave out rows without a target"
        return f"the last {rows} no target in {series}, so forecasts start after them, from {_short(start)}; {fix}"

    def _known_of(self, item: Any, part: pd.DataFrame | None, stamps: pd.DatetimeIndex) -> np.ndarray:
        name, known = series_name(item), list(self.columns.known)
        if part is None:
            raise ValueError(f"{name}: future= has no rows for it; add {known} from {stamps[0]} to {stamps[-1]}")
        time = self.columns.timestamp
        given = same_zone(pd.DatetimeIndex(part[time]), stamps.tz, f"{name}: column {time!r} of future=")
        values = part[known].set_axis(given, axis=0).reindex(stamps)
        missing = values.isna()
        if missing.to_numpy().any():
            column = missing.any().idxmax()
            raise ValueError(
                f"{name}: column {column!r} of future= has no value at {missing[column].idxmax()}; "
                f"give a value for each of the {len(stamps)} steps from {stamps[0]} to {stamps[-1]}"
            )
        return values.to_numpy(dtype=np.float32)

    def _next_steps(self, item: Any, part: pd.DataFrame, ends: SeriesEnds) -> FrameSeries:
        columns, name = self.columns, series_name(item)
        if item not in ends.positions:
            raise ValueError(
                f"{name} cannot be normalized because the stream has no history for it; give its history to stream()"
            )
        last = ends.last[ends.positions[item]]
        stamps = same_zone(pd.DatetimeIndex(part[columns.timestamp]), last.tz, f"{name}: column {columns.timestamp!r}")
        if stamps[0] <= last:
            raise ValueError(
                f"{name}: {columns.timestamp} {stamps[0]} is not after the last observation, at {last}; remove rows "
                "that the stream already has, or start a new stream to correct them"
            )
        known = part[list(columns.known)].to_numpy(dtype=np.float32).T
        from_last = FrameSeries(
            item_id=item,
            timestamps=pd.DatetimeIndex([last]).as_unit(last.unit).append(stamps),
            target=np.concatenate([[np.nan], part[columns.target].to_numpy()]),
            known=np.concatenate([np.full((len(known), 1), np.nan, dtype=np.float32), known], axis=1),
            static={},
        )
        filled = fill_gaps(from_last, self._fixed_frequency)
        return filled._replace(timestamps=filled.timestamps[1:], target=filled.target[1:], known=filled.known[:, 1:])


def read_frame(
    frame: pd.DataFrame, columns: Columns, freq: str | Frequency = "infer", what: str = "df"
) -> tuple[list[FrameSeries], Frequency]:
    """Check a long frame and split it into regular series with targets ``[T]``, in order of first appearance.

    The frame is not changed. Rows are sorted by time. Gaps become missing values, which are reported in one warning.

    Raises:
        ValueError: for invalid data, naming the series, the column and the fix.
    """
    series = [one._replace(target=one.target[0]) for one in read_frame_series(frame, columns, what=what)]
    frequency = _infer(series) if isinstance(freq, str) and freq == "infer" else Frequency.parse(freq)
    regular = [fill_gaps(one, frequency) for one in series]
    _report_gaps(series, regular, frequency)
    return regular, frequency


def to_entries(
    series: Sequence[FrameSeries],
    frequency: Frequency,
    statics: StaticFeatures,
    future: Sequence[np.ndarray] | None = None,
) -> list[dict[str, Any]]:
    """GluonTS entries of the series.

    Args:
        series: series with targets ``[T]``.
        frequency: frequency of all series.
        statics: encoding of the static columns.
        future: known covariates over the horizon, ``[F, H]`` for each series, which are appended to those of the past.
    """
    entries = []
    for position, one in enumerate(series):
        known = one.known if future is None else np.concatenate([one.known, future[position]], axis=1)
        entries.append(
            {
                "item_id": str(position) if one.item_id is None else one.item_id,
                "start": frequency.period(one.timestamps[0], exact=False),
                "timestamps": one.timestamps,
                "target": one.target,
                "feat_dynamic_real": known,
                **statics.encode(one),
            }
        )
    return entries


def fill_gaps(one: FrameSeries, frequency: Frequency) -> FrameSeries:
    """Insert a step with missing values for each point of the grid that the series lacks.

    Raises:
        ValueError: for a timestamp that is not on the grid, or a grid that is much longer than the series.
    """
    try:
        position = frequency.ordinal(pd.DatetimeIndex(one.timestamps))
    except ValueError as error:
        raise ValueError(f"{one.name}: {error}") from error
    position = position - position[0]
    steps = int(position[-1]) + 1
    if steps == len(position):
        return one
    if steps > MAX_STEPS and steps > MAX_STEPS_PER_ROW * len(position):
        raise ValueError(
            f"{one.name} has {len(position)} rows on a {frequency.alias!r} grid of {steps:,} steps, from "
            f"{one.timestamps[0]} to {one.timestamps[-1]}; correct its timestamps or freq="
        )
    target = np.full(steps, np.nan, dtype=one.target.dtype)
    known = np.full((len(one.known), steps), np.nan, dtype=np.float32)
    target[position], known[:, position] = one.target, one.known
    return one._replace(timestamps=frequency.range(one.timestamps[0], steps), target=target, known=known)


def _infer(series: Sequence[FrameSeries]) -> Frequency:
    """The frequency that all series with more than one row have in common."""
    found: dict[Frequency, str] = {}
    for one in series:
        if len(one.timestamps) > 1 or len(series) == 1:
            found.setdefault(Frequency.infer(pd.DatetimeIndex(one.timestamps), one.name), one.name)
    if len(found) != 1:
        seen = ", ".join(f"{frequency.alias!r} in {name}" for frequency, name in found.items())
        raise ValueError(f"the series do not have one common frequency ({seen or 'one row each'}); pass freq=")
    return next(iter(found))


def _report_gaps(before: Sequence[FrameSeries], after: Sequence[FrameSeries], frequency: Frequency) -> None:
    added = {a.name: len(a.target) - len(b.target) for a, b in zip(after, before, strict=True)}
    added = {name: count for name, count in added.items() if count}
    if added:
        absent, steps = sum(added.values()), sum(len(one.target) for one in after)
        name = max(added, key=added.__getitem__)
        most = "" if len(before) == 1 else f" (most in {name}: {added[name]})"
        doubt = "; most of the grid is absent: are the dates parsed correctly, or is freq= wrong?"
        warn_user(
            f"{absent} timestamps are absent from the {frequency.alias!r} grid of {len(added)} of "
            f"{len(before)} series{most}; they are treated as missing values{doubt if 2 * absent > steps else ''}"
        )


def _unobserved_steps(one: FrameSeries) -> int:
    """Number of steps after the last value of a series."""
    return int(np.isnan(one.target)[::-1].argmin())


def _short(stamp: pd.Timestamp) -> str:
    """A timestamp, without its time if that is midnight."""
    return str(stamp.date() if stamp == stamp.normalize() else stamp)
