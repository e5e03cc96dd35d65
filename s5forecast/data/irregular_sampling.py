"""Long DataFrames with uneven timestamps: histories and the times asked for, as GluonTS entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

from s5forecast.data.frames import Columns, column_numbers, split_frame
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.times import is_duration


class IrregularFrame(NamedTuple):
    """One series of a frame, at its own n times, in order."""

    item_id: Any  # as in the frame; None where it has no such column
    timestamps: pd.Index  # [n] datetimes, with their time zone, or numbers
    target: np.ndarray  # [D, n] float64, NaN where not observed
    known: np.ndarray  # [F, n]
    static: dict[str, Any]

    @property
    def name(self) -> str:
        return "the series" if self.item_id is None else f"series {self.item_id!r}"

    @property
    def last(self) -> Any:
        """Time of the last observation."""
        return self.timestamps[np.flatnonzero(~np.isnan(self.target).all(axis=0))[-1]]


def read_irregular_frame(
    frame: pd.DataFrame, targets: Sequence[str], columns: Columns, aggregate: str | None = None
) -> list[IrregularFrame]:
    """Check a long frame and split it into series, in order of first appearance; it is not changed.

    Arguments:
        frame: a row for each series and time; rows are sorted by time.
        targets: the D variables; a value that is missing in a row was not observed then.
        columns: the other roles.
        aggregate: ``"mean"`` or ``"last"`` makes one row of several at one time; an error by default.

    Raises:
        ValueError: naming the series, the column and the fix.
    """
    numeric = [*targets, *columns.known]
    parts = split_frame(frame, columns, numeric, columns.static, numeric_time=True, aggregate=aggregate)
    return [_series(item, part, targets, columns) for item, part in parts]


def irregular_entries(series: Sequence[IrregularFrame], statics: StaticFeatures) -> list[dict[str, Any]]:
    """GluonTS entries, with ``time`` beside ``target``."""
    return [
        {
            **({} if one.item_id is None else {"item_id": one.item_id}),
            "time": one.timestamps,
            "target": one.target,
            "feat_dynamic_real": one.known,
            **statics.encode(one),
        }
        for one in series
    ]


class Queries(NamedTuple):
    """Rows of a frame of times asked for, by series."""

    keys: pd.DataFrame  # item_id and timestamp as asked
    rows: list[tuple[int, np.ndarray]]  # number of the series, positions of its rows
    known: np.ndarray  # [M, F]

    def ask(self, entries: Sequence[dict[str, Any]], timestamp: str) -> list[dict[str, Any]]:
        """The entries that are asked for something, with the times."""
        times = self.keys[timestamp]
        return [
            {
                **entries[number],
                "query_time": pd.Index(times.iloc[rows]),
                "query_feat_dynamic_real": self.known[rows].T,
            }
            for number, rows in self.rows
        ]

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Values of all series one after another, as the rows were asked for."""
        ordered = np.empty_like(values)
        ordered[np.concatenate([rows for _, rows in self.rows])] = values
        return ordered


def read_queries(times: pd.DataFrame, series: Sequence[IrregularFrame], columns: Columns) -> Queries:
    """Check a frame of times asked for: the item_id and timestamp of each row, and the known covariates there.

    Raises:
        ValueError: naming the column, the series that has no history, or the missing value.
    """
    named = series[0].item_id is not None
    keys = query_keys(times, columns, named=named, datetimes=series[0].timestamps.dtype.kind == "M")
    numbers = {one.item_id: number for number, one in enumerate(series)}
    items = keys[columns.item_id] if named else pd.Series([None] * len(keys), dtype=object)
    rows = [
        (item, np.asarray(found))
        for item, found in items.groupby(items, sort=False, dropna=False, observed=True).indices.items()
    ]
    if not named:
        rows = [(None, np.arange(len(keys)))]
    for item, _ in rows:
        if item not in numbers:
            raise ValueError(f"times= asks for series {item!r}, of which there is no history; give it in df")
    found = [(numbers[item], positions) for item, positions in rows]
    codes = np.empty(len(keys), dtype=int)
    for number, positions in found:
        codes[positions] = number
    return Queries(keys, found, known_at(times, keys, columns, codes, [one.name for one in series]))


def known_at(
    times: pd.DataFrame, keys: pd.DataFrame, columns: Columns, codes: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    """The known columns at the times asked for, ``[M, F]``.

    Arguments:
        times, keys: the frame, and the item_id and timestamp of its rows.
        codes: the series of each row, a position in ``names``.

    Raises:
        ValueError: naming the series, the column and the time, for a value that is missing or no finite number.
    """
    stamps, known = keys[columns.timestamp], np.empty((len(keys), len(columns.known)))
    for number, column in enumerate(columns.known):
        known[:, number] = column_numbers(times[column], stamps, codes, names)
        missing = np.isnan(known[:, number])
        if missing.any():
            row = int(missing.argmax())
            raise ValueError(
                f"{names[codes[row]]}: column {column!r} is missing at {stamps.iloc[row]}, a time asked for; fill it"
            )
    return known


def query_keys(times: pd.DataFrame, columns: Columns, *, named: bool, datetimes: bool) -> pd.DataFrame:
    """The item_id, where series are ``named``, and timestamp of each row of a frame of times asked for.

    Raises:
        ValueError: naming a column that is not there, or holds no times.
    """
    if not isinstance(times, pd.DataFrame) or times.empty:
        raise ValueError("times= must be a frame with a row for each time asked for")
    names = [columns.item_id] if named else []
    for column in [*names, columns.timestamp, *columns.known]:
        if column not in times:
            raise ValueError(f"times= has no column {column!r}; it has {list(times.columns)}")
    keys = times[[*names, columns.timestamp]]
    stamps = keys[columns.timestamp]
    if datetimes and not (is_numeric_dtype(stamps) or is_datetime64_any_dtype(stamps)):
        try:
            keys = keys.assign(**{columns.timestamp: pd.to_datetime(stamps, format="ISO8601")})
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {columns.timestamp!r} of times= cannot be read as ISO 8601 timestamps; convert it with "
                f"pd.to_datetime and its format ({error})"
            ) from error
    return keys


def grid_ahead(series: Sequence[IrregularFrame], columns: Columns, horizon: Any, every: Any) -> pd.DataFrame:
    """Times from one step of ``every`` after the last observation of each series up to the ``horizon``.

    Raises:
        ValueError: for a step that is not positive or longer than the horizon.
    """
    steps = grid_steps(horizon, every, datetimes=series[0].timestamps.dtype.kind == "M")
    grids = [pd.Index([one.last + step for step in steps]) for one in series]
    keys = {} if series[0].item_id is None else {columns.item_id: [one.item_id for one in series for _ in steps]}
    return pd.DataFrame({**keys, columns.timestamp: grids[0].append(grids[1:])})


def grid_steps(horizon: Any, every: Any, *, datetimes: bool) -> list[Any]:
    """Durations from one step of ``every`` up to the ``horizon``.

    Raises:
        ValueError: for a step that is not positive or longer than the horizon, or one that is not of the kind of the
            times.
    """
    for name, duration in (("horizon", horizon), ("every", every)):
        if is_duration(duration) != datetimes:
            fix = "a duration such as '30min', since times are datetimes" if datetimes else "a number, as times are"
            raise ValueError(f"{name}={duration!r} must be {fix}")
    if datetimes:
        horizon, every = pd.Timedelta(horizon), pd.Timedelta(every)
    if not every > 0 * every or every > horizon:
        raise ValueError(f"every={every} must be positive and no longer than horizon={horizon}")
    return [every * step for step in range(1, int(horizon / every * (1 + 1e-12)) + 1)]


def _series(item: Any, part: pd.DataFrame, targets: Sequence[str], columns: Columns) -> IrregularFrame:
    one = IrregularFrame(
        item_id=item,
        timestamps=pd.Index(part[columns.timestamp]),
        target=part[list(targets)].to_numpy(dtype=np.float64).T,
        known=part[list(columns.known)].to_numpy(dtype=np.float64).T,
        static={column: part[column].iloc[0] for column in columns.static},
    )
    if np.isnan(one.target).all():
        raise ValueError(f"{one.name}: columns {list(targets)} have no value at all; leave the series out")
    for column in columns.static:
        if part[column].nunique(dropna=False) > 1:
            raise ValueError(
                f"{one.name}: static column {column!r} changes within the series; make it constant, or pass it as "
                "known="
            )
    return one
