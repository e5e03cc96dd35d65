"""Long DataFrames in, GluonTS entries out, and back: column roles, checks, categories."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from itertools import pairwise
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.frequency import Frequency
from s5forecast.levels import level_name

if TYPE_CHECKING:
    from s5forecast.data.statics import StaticFeatures

# How several values of one time become one, missing ones left out: pandas' names.
AGGREGATES = {"mean": "mean", "last": "last"}
# A series with more steps than these is taken for one with a wrong timestamp.
MOST_STEPS, MOST_STEPS_PER_ROW = 10_000_000, 100


@dataclass(frozen=True)
class Columns:
    """Which column of a long frame plays which role."""

    target: str = "target"
    item_id: str = "item_id"
    timestamp: str = "timestamp"
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()


class FrameSeries(NamedTuple):
    """One series of a frame, on a regular grid of T steps."""

    item_id: Any  # as in the frame; None where it has no such column
    timestamps: pd.DatetimeIndex  # [T]
    target: np.ndarray  # [T] float, NaN where not observed
    known: np.ndarray  # [F, T] float32
    static: dict[str, Any]

    @property
    def name(self) -> str:
        return "the series" if self.item_id is None else f"series {self.item_id!r}"


def read_frame(
    frame: pd.DataFrame, columns: Columns, freq: str | Frequency = "infer"
) -> tuple[list[FrameSeries], Frequency]:
    """Check a long frame and split it into regular series, in order of first appearance; it is not changed.

    Rows are sorted by time. Gaps become missing values, which one warning reports.

    Raises:
        ValueError: naming the series, the column and the fix.
    """
    parts = split_frame(frame, columns, [columns.target, *columns.known], columns.static)
    series = [_series(item, part, columns) for item, part in parts]
    frequency = _infer(series) if isinstance(freq, str) and freq == "infer" else Frequency.parse(freq)
    regular = [fill_gaps(one, frequency) for one in series]
    _report_gaps(series, regular, frequency)
    return regular, frequency


def read_future(
    future: pd.DataFrame | None,
    series: Sequence[FrameSeries],
    columns: Columns,
    frequency: Frequency,
    length: int,
) -> list[np.ndarray]:
    """Known covariates over the ``length`` steps after each series, ``[F, H]`` each.

    Raises:
        ValueError: naming the series, the column and the first missing timestamp.
    """
    if not columns.known:
        return [np.empty((0, length), dtype=np.float32) for _ in series]
    if future is None:
        raise ValueError(f"the known columns {list(columns.known)} are needed over the horizon: give them as future=")
    parts = dict(split_frame(future, columns, columns.known, ()))
    return [_horizon(parts.get(one.item_id), one, columns, frequency, length) for one in series]


def to_entries(
    series: Sequence[FrameSeries],
    frequency: Frequency,
    statics: StaticFeatures,
    future: Sequence[np.ndarray] | None = None,
    *,
    static: bool = True,
) -> list[dict[str, Any]]:
    """GluonTS entries; ``future`` continues the known covariates over the horizon.

    Without ``static`` they hold what changes with time alone.
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
                **(statics.encode(one) if static else {}),
            }
        )
    return entries


def to_frame(
    series: Sequence[FrameSeries],
    columns: Columns,
    frequency: Frequency,
    mean: np.ndarray,
    quantiles: np.ndarray,
    levels: Sequence[float],
) -> pd.DataFrame:
    """Long frame of ``mean [S, H]`` and ``quantiles [S, H, Q]``, at the timestamps that follow each series."""
    values = {"mean": mean.ravel(), **{level_name(q): quantiles[..., i].ravel() for i, q in enumerate(levels)}}
    return pd.DataFrame({**_horizon_keys(series, columns, frequency, mean.shape[1]), **values}).infer_objects()


def samples_frame(
    series: Sequence[FrameSeries], columns: Columns, frequency: Frequency, samples: np.ndarray
) -> pd.DataFrame:
    """Long frame of ``samples [S, H, N]``, in columns sample_0, sample_1 ..., as :func:`to_frame` has its rows."""
    keys = pd.DataFrame(_horizon_keys(series, columns, frequency, samples.shape[1])).infer_objects()
    names = [f"sample_{number}" for number in range(samples.shape[-1])]
    return pd.concat([keys, pd.DataFrame(samples.reshape(len(keys), -1), columns=names)], axis=1)


def _horizon_keys(series: Sequence[FrameSeries], columns: Columns, frequency: Frequency, length: int) -> dict[str, Any]:
    stamps = [frequency.range(one.timestamps[-1], length + 1)[1:] for one in series]
    keys: dict[str, Any] = {}
    if series[0].item_id is not None:
        keys[columns.item_id] = pd.Series([one.item_id for one in series], dtype=object).repeat(length).array
    keys[columns.timestamp] = stamps[0].append(stamps[1:])
    return keys


def history_frame(series: Sequence[FrameSeries], columns: Columns) -> pd.DataFrame:
    """Long frame of the targets."""
    frames = []
    for one in series:
        keys = {} if one.item_id is None else {columns.item_id: one.item_id}
        frames.append(pd.DataFrame({**keys, columns.timestamp: one.timestamps, columns.target: one.target}))
    return pd.concat(frames, ignore_index=True)


def split_frame(
    frame: pd.DataFrame,
    columns: Columns,
    numeric: Sequence[str],
    static: Sequence[str],
    *,
    numeric_time: bool = False,
    aggregate: str | None = None,
) -> list[tuple[Any, pd.DataFrame]]:
    """Item and checked rows, in order of time, of each series; one item ``None`` where there is no such column.

    Arguments and errors are those of :func:`tidy_frame`.
    """
    tidy, codes, items = tidy_frame(frame, columns, numeric, static, numeric_time=numeric_time, aggregate=aggregate)
    bounds = np.flatnonzero(np.diff(codes, prepend=-1, append=codes[-1] + 1))
    return [(item, tidy.iloc[begin:end]) for item, (begin, end) in zip(items, pairwise(bounds), strict=True)]


def tidy_frame(
    frame: pd.DataFrame,
    columns: Columns,
    numeric: Sequence[str],
    static: Sequence[str],
    *,
    numeric_time: bool = False,
    aggregate: str | None = None,
) -> tuple[pd.DataFrame, np.ndarray, list[Any]]:
    """Checked rows by series and in order of time, which series each belongs to, and the items of the series.

    The items are in order of first appearance; one, ``None``, where there is no such column.

    Arguments:
        columns: roles; of them item_id and timestamp are read.
        numeric, static: columns of numbers, and those constant in each series.
        numeric_time: whether times may be numbers.
        aggregate: how rows of one series and time become one, a key of ``AGGREGATES``; an error by default.

    Raises:
        ValueError: naming the series, the column and the fix.
    """
    frame = _with_time_column(frame, columns)
    if frame.empty:
        raise ValueError("the frame has no rows")
    if not frame.columns.is_unique:
        raise ValueError(f"the frame has columns of the same name: {list(frame.columns[frame.columns.duplicated()])}")
    # Without the default item column a frame is one series; a column that was named must be there.
    named = columns.item_id in frame or columns.item_id != Columns.item_id
    keys = [columns.item_id] if named else []
    needed = list(dict.fromkeys([*keys, columns.timestamp, *numeric, *static]))
    for column in needed:
        _require(frame, column)
    items = frame[columns.item_id] if keys else pd.Series(0, index=frame.index)
    if items.isna().any():
        raise ValueError(f"column {columns.item_id!r} has missing values; every row needs its series")
    found = items.unique().tolist() if keys else [None]
    names = [f"series {item!r}" if keys else "the series" for item in found]
    codes = pd.factorize(items)[0]
    tidy = frame[needed].assign(
        **{columns.timestamp: _timestamps(frame[columns.timestamp], codes, names, numeric_time)}
    )
    for column in numeric:
        tidy[column] = column_numbers(tidy[column], tidy[columns.timestamp], codes, names)
    order = np.lexsort((_exact(tidy[columns.timestamp]), codes))
    tidy, codes = tidy.iloc[order], codes[order]
    if aggregate is None:
        how = "by aggregate='mean' or 'last'" if numeric_time else "as with groupby(...).mean()"
        _refuse_duplicates(tidy[columns.timestamp], codes, names, columns, how)
    else:
        tidy, codes = _aggregated(tidy, codes, columns.timestamp, numeric, aggregate)
    return tidy, codes, found


def _with_time_column(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"a pandas DataFrame is needed, got {type(frame).__name__}")
    levels = [name for name in frame.index.names if name in (columns.item_id, columns.timestamp)]
    if levels:
        frame = frame.reset_index([name for name in levels if name not in frame])
    if columns.timestamp not in frame and isinstance(frame.index, pd.DatetimeIndex | pd.PeriodIndex):
        frame = frame.rename_axis(columns.timestamp).reset_index()
    return frame


def _require(frame: pd.DataFrame, column: str) -> None:
    if column not in frame.columns:
        found = [str(name) for name in frame.columns]
        close = get_close_matches(column, found, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "name the right one."
        raise ValueError(f"the frame has no column {column!r}; {hint} It has {found}")


def _timestamps(values: pd.Series, codes: np.ndarray, names: list[str], numeric_time: bool) -> pd.Series:
    if numeric_time and pd.api.types.is_numeric_dtype(values):
        finite = np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if not finite.all():
            row = int(finite.argmin())
            raise ValueError(
                f"{names[codes[row]]}: column {values.name!r} has the time {values.iloc[row]}; drop or correct this row"
            )
        return values.astype(np.float64)
    if not pd.api.types.is_datetime64_any_dtype(values):
        if isinstance(values.dtype, pd.PeriodDtype) or pd.api.types.is_numeric_dtype(values):
            raise ValueError(
                f"column {values.name!r} must hold timestamps, got {values.dtype}; "
                "convert it with .dt.to_timestamp() or pd.to_datetime"
            )
        try:
            values = pd.to_datetime(values, format="ISO8601")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {values.name!r} cannot be read as ISO 8601 timestamps; convert it with pd.to_datetime "
                f"and its format ({error})"
            ) from error
    if values.isna().any():
        name = names[codes[int(values.isna().to_numpy().argmax())]]
        raise ValueError(f"{name}: column {values.name!r} has missing timestamps (NaT); drop these rows")
    return values


def _exact(times: pd.Series) -> np.ndarray:
    return times.to_numpy() if pd.api.types.is_numeric_dtype(times) else times.array.asi8


def _aggregated(
    tidy: pd.DataFrame, codes: np.ndarray, timestamp: str, numeric: Sequence[str], aggregate: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of one series and time as one: the numbers by ``aggregate``, what else there is as it comes last."""
    how = choose(AGGREGATES, aggregate, "aggregate")
    begins = (np.diff(codes, prepend=-1) != 0) | (np.diff(_exact(tidy[timestamp]), prepend=0) != 0)
    groups = tidy.groupby(begins.cumsum(), sort=False)
    merged = groups.tail(1).copy()
    for column in numeric:
        merged[column] = getattr(groups[column], how)().to_numpy()
    return merged, codes[begins]


def column_numbers(values: pd.Series, times: pd.Series, codes: np.ndarray, names: Sequence[str]) -> pd.Series:
    """A column as floats, NaN where missing.

    Arguments:
        values, times: of each row.
        codes: the series of each row, a position in ``names``.

    Raises:
        ValueError: for text or an infinite value, naming the series and the column.
    """
    if not pd.api.types.is_numeric_dtype(values):
        text = values.map(lambda value: not pd.isna(value) and not isinstance(value, Real | Decimal))
        if text.any() or not pd.api.types.is_object_dtype(values):
            row = int(text.to_numpy().argmax())
            raise ValueError(
                f"{names[codes[row]]}: column {values.name!r} must hold numbers, got {values.iloc[row]!r}; "
                "convert it, with pd.to_numeric or pd.get_dummies"
            )
    numbers = values.astype("float32" if values.dtype == np.float32 else "float64")
    infinite = np.isinf(numbers.to_numpy())
    if infinite.any():
        row = int(infinite.argmax())
        raise ValueError(
            f"{names[codes[row]]}: column {values.name!r} is infinite at {times.iloc[row]}; "
            "correct the value or mark it as missing (NaN)"
        )
    return numbers


def _refuse_duplicates(times: pd.Series, codes: np.ndarray, names: list[str], columns: Columns, how: str) -> None:
    twice = (np.diff(_exact(times)) == 0) & (np.diff(codes) == 0)
    if twice.any():
        row = int(twice.argmax())
        fix = f"aggregate them, {how}, or drop them"
        if names == ["the series"]:
            fix += ", or name the column that tells the series apart with item_id="
        raise ValueError(
            f"{names[codes[row]]}: column {columns.timestamp!r} has {times.iloc[row]} more than once; {fix}"
        )


def _series(item: Any, part: pd.DataFrame, columns: Columns) -> FrameSeries:
    one = FrameSeries(
        item_id=item,
        timestamps=pd.DatetimeIndex(part[columns.timestamp]),
        target=part[columns.target].to_numpy(),
        known=part[list(columns.known)].to_numpy(dtype=np.float32).T,
        static={column: part[column].iloc[0] for column in columns.static},
    )
    if np.isnan(one.target).all():
        raise ValueError(f"{one.name}: column {columns.target!r} has no value at all; leave the series out")
    for column in columns.static:
        if part[column].nunique(dropna=False) > 1:
            raise ValueError(
                f"{one.name}: static column {column!r} changes within the series, "
                f"{list(part[column].unique()[:3])}; pass it as known=, or make it constant"
            )
    return one


def _infer(series: Sequence[FrameSeries]) -> Frequency:
    """The frequency on which all series agree; those of a single row follow the others."""
    found: dict[Frequency, str] = {}
    for one in series:
        if len(one.timestamps) > 1 or len(series) == 1:
            found.setdefault(Frequency.infer(one.timestamps, one.name), one.name)
    if len(found) != 1:
        seen = ", ".join(f"{frequency.alias!r} in {name}" for frequency, name in found.items())
        raise ValueError(f"the frequency is not the same in all series ({seen or 'one row each'}); give freq=")
    return next(iter(found))


def fill_gaps(one: FrameSeries, frequency: Frequency) -> FrameSeries:
    """The series with a step for each point of the grid between its first and last timestamp."""
    try:
        position = frequency.ordinal(one.timestamps)
    except ValueError as error:
        raise ValueError(f"{one.name}: {error}") from error
    position = position - position[0]
    steps = int(position[-1]) + 1
    if steps == len(position):
        return one
    if steps > MOST_STEPS and steps > MOST_STEPS_PER_ROW * len(position):
        raise ValueError(
            f"{one.name} has {len(position)} rows on a {frequency.alias!r} grid of {steps:,} steps, from "
            f"{one.timestamps[0]} to {one.timestamps[-1]}; correct its timestamps or freq="
        )
    target = np.full(steps, np.nan, dtype=one.target.dtype)
    known = np.full((len(one.known), steps), np.nan, dtype=np.float32)
    target[position], known[:, position] = one.target, one.known
    return one._replace(timestamps=frequency.range(one.timestamps[0], steps), target=target, known=known)


def _report_gaps(before: Sequence[FrameSeries], after: Sequence[FrameSeries], frequency: Frequency) -> None:
    added = {a.name: len(a.target) - len(b.target) for a, b in zip(after, before, strict=True)}
    added = {name: count for name, count in added.items() if count}
    if added:
        name, count = next(iter(added.items()))
        warnings.warn(
            f"{sum(added.values())} timestamps are absent from the {frequency.alias!r} grid of {len(added)} of "
            f"{len(before)} series ({count} in {name}); they are treated as missing values",
            UserWarning,
            stacklevel=4,
        )


def _horizon(
    part: pd.DataFrame | None, one: FrameSeries, columns: Columns, frequency: Frequency, length: int
) -> np.ndarray:
    stamps = frequency.range(one.timestamps[-1], length + 1)[1:]
    known = list(columns.known)
    if part is None:
        raise ValueError(f"{one.name}: future= has no rows for it; {known} are needed from {stamps[0]} to {stamps[-1]}")
    values = part.set_index(columns.timestamp)[known].reindex(stamps)
    missing = values.isna()
    if missing.to_numpy().any():
        column = missing.any().idxmax()
        raise ValueError(
            f"{one.name}: column {column!r} of future= has no value at {missing[column].idxmax()}; "
            f"it is needed for all {length} steps from {stamps[0]} to {stamps[-1]}"
        )
    return values.to_numpy(dtype=np.float32).T
