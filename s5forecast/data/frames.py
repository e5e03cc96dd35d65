"""Rows, series and forecast queries of long DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.covariates import Labels, covariate_values
from s5forecast.data.faults import raise_for_rows
from s5forecast.data.items import label_keys, read_items
from s5forecast.data.long_frames import long_frame, require_column, require_columns
from s5forecast.data.numeric_columns import column_numbers
from s5forecast.data.ordering import row_order
from s5forecast.data.static_columns import category_labels, refuse_too_large, static_values
from s5forecast.data.time_columns import column_times

NUMBERS_ONLY: Labels = {}  # labels of covariates without categories
# Names of pandas reductions that merge rows of one time; they skip missing values.
AGGREGATES = {"mean": "mean", "last": "last"}


@dataclass(frozen=True)
class Columns:
    """Roles of the columns of a long frame."""

    target: str = "target"
    item_id: str = "item_id"  # with several keys, the name of their common label
    timestamp: str = "timestamp"
    known: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    other_targets: tuple[str, ...] = ()  # for irregular series; targets may be observed at different times
    keys: tuple[str, ...] = ()  # several columns that identify a series together, instead of item_id
    past: tuple[str, ...] = ()  # covariates that are not known over the horizon
    weight: str | None = None  # weight of each row in the training loss
    categorical: tuple[str, ...] = ()  # covariates and static columns that held categories in training

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that identify a series."""
        return self.keys or (self.item_id,)

    def identity_in(self, frame: pd.DataFrame) -> list[str]:
        """The columns that identify a series, none if a frame without the default item column is one series."""
        default = self.identity == (Columns.item_id,) and Columns.item_id not in frame
        return [] if default else list(self.identity)

    @property
    def covariates(self) -> tuple[str, ...]:
        """The known columns, then the past ones."""
        return *self.known, *self.past

    def with_kinds(self, labels: Labels, static: Sequence[str]) -> Columns:
        """The roles of later frames, whose columns are numbers or categories as they were in training.

        Args:
            labels: labels of the covariates in training.
            static: static columns that held categories.
        """
        dynamic = (name for name in self.covariates if labels.get(name) is not None)
        return replace(self, categorical=(*dynamic, *static))

    @property
    def unweighted(self) -> Columns:
        """The roles without the weight, which only training needs."""
        return replace(self, weight=None)

    @property
    def targets(self) -> tuple[str, ...]:
        """All D target columns."""
        return self.target, *self.other_targets


def identity_columns(item_id: str | Sequence[str]) -> dict[str, Any]:
    """Arguments of :class:`Columns` for the name of the item column, or for several columns that identify a series."""
    if isinstance(item_id, str):
        return {"item_id": item_id}
    names = tuple(dict.fromkeys(item_id))
    return {"item_id": names[0]} if len(names) == 1 else {"keys": names}


class SeriesEnds(NamedTuple):
    """Ends of the histories of S series."""

    positions: Mapping[Any, int]  # position by label; the key is None for a single series without one
    last: list[Any] | pd.Index  # [S] time of the last observation
    unobserved: int = 0  # steps without a target at the end of every regular series
    keys: pd.DataFrame | None = None  # [S, K] columns that identify the series, indexed by label

    @property
    def items(self) -> list[Any]:
        return list(self.positions)

    @property
    def named(self) -> bool:
        """Whether the series have an item_id."""
        return None not in self.positions

    def without_names(self, reasons: Mapping[str, str]) -> tuple[SeriesEnds, pd.DataFrame]:
        """The ends without the series of the given names, and the keys of these series in the order of the names."""
        labels = {series_name(item): item for item in self.items}
        left = [labels[name] for name in reasons if name in labels]
        kept = [position for item, position in self.positions.items() if item not in left]
        items, keys = self.items, self.keys
        given = label_keys(pd.DataFrame(index=range(len(items))), items) if keys is None else keys
        left_keys = given.iloc[[self.positions[label] for label in left]]
        if not kept:
            return self, left_keys.iloc[:0]
        positions = {items[position]: number for number, position in enumerate(kept)}
        last = self.last[kept] if isinstance(self.last, pd.Index) else [self.last[position] for position in kept]
        keys = None if keys is None else keys.iloc[kept]
        return self._replace(positions=positions, last=last, keys=keys), left_keys


class NextRows(NamedTuple):
    """New rows of the series of a stream.

    Args:
        rows: for regular series, entries that begin with the next step; for irregular series, ``IrregularRows``.
        ends: ends of all series of the stream, including these rows.
        describe: returns the static features of a new irregular series.
    """

    rows: Any
    ends: SeriesEnds
    describe: Callable[[Any], dict[str, Any]] | None = None


class Queries(NamedTuple):
    """Times to forecast: M rows of k series."""

    keys: pd.DataFrame  # [M] timestamp, and the columns that identify series, if any
    items: list[Any]  # [k] label of each series, in order of first appearance
    codes: np.ndarray  # [M] position of the series of each row in items
    known: np.ndarray  # [M, F] float32, known covariates at these times
    last: list[Any] | pd.Index  # [k] time of the last observation of each item
    labels: Labels = NUMBERS_ONLY  # of the known covariates
    given: Any = None  # [M] times as given, if their time zone is not that of the history, which keys has

    @property
    def order(self) -> np.ndarray:
        """Positions of the rows sorted by series, ``[M]``."""
        return np.argsort(self.codes, kind="stable")

    @property
    def ordered(self) -> bool:
        """Whether the rows are sorted by series."""
        return bool((np.diff(self.codes) >= 0).all())

    def rows(self) -> list[np.ndarray]:
        """Positions of the rows of each item."""
        return np.split(self.order, np.cumsum(np.bincount(self.codes))[:-1])

    def in_order(self, values: np.ndarray) -> np.ndarray:
        """Reorder values that are sorted by series to the order of the rows."""
        if self.ordered:
            return values
        ordered = np.empty_like(values)
        ordered[self.order] = values
        return ordered


def series_name(item: Any) -> str:
    """Name of a series in error messages."""
    return "the series" if item is None else f"series {item!r}"


def frame_keys(first_rows: pd.DataFrame, columns: Columns, labels: Sequence[Any]) -> pd.DataFrame:
    """Columns that identify the series of a tidy frame, from the first row of each, indexed by label."""
    return label_keys(first_rows[columns.identity_in(first_rows)], labels)


def without_series(
    frame: pd.DataFrame, reasons: Mapping[str, str], columns: Columns, what: str = "df"
) -> tuple[Any, pd.DataFrame]:
    """A long frame without the series of the given names, and the keys of these series in the order of the names.

    Data on disk leave out series by their own method.
    """
    if not isinstance(frame, pd.DataFrame | pd.Series) and hasattr(frame, "without"):
        return frame.without(reasons)
    frame = long_frame(frame, columns.identity, columns.timestamp, columns.target, what)
    for column in columns.identity_in(frame):
        require_column(frame, column, what)
    items = read_items(frame, columns.identity_in(frame), what)
    names = {series_name(label): code for code, label in enumerate(items.labels)}
    left = [names[name] for name in reasons if name in names]
    return frame[~np.isin(items.codes, left)], items.keys.iloc[left]


def needed_columns(empty: pd.DataFrame, columns: Columns, what: str = "df") -> tuple[list[str], list[str]]:
    """The columns that identify series, and all columns with a role, of data with the columns of a frame.

    Raises:
        ValueError: if one is missing.
    """
    weight = [] if columns.weight is None else [columns.weight]
    identity = columns.identity_in(empty)
    needed = [*identity, columns.timestamp, *columns.targets, *columns.covariates, *columns.static, *weight]
    names = {"timestamp": columns.timestamp, "item_id": columns.identity[-1], "value": columns.target}
    require_columns(empty, needed, what, **names)
    return identity, list(dict.fromkeys(needed))


def with_labels(frame: pd.DataFrame, columns: Columns, what: str = "df") -> pd.DataFrame:
    """A frame of forecasts or observations with the label of each series in the column item_id."""
    identity = columns.identity_in(frame)
    if not identity:
        return frame
    for column in identity:
        require_column(frame, column, what)
    items = read_items(frame, identity, what)
    return frame.assign(**{columns.item_id: items.keys.index[items.codes]})


def split_frame(
    frame: pd.DataFrame,
    columns: Columns,
    numeric: Sequence[str],
    static: Sequence[str],
    *,
    numeric_time: bool = False,
    aggregate: str | None = None,
    what: str = "df",
) -> list[tuple[Any, pd.DataFrame]]:
    """Split a long frame into the item and the checked rows of each series, sorted by time.

    See :func:`tidy_frame` for arguments and errors.
    """
    tidy, codes, items = tidy_frame(
        frame, columns, numeric, static, numeric_time=numeric_time, aggregate=aggregate, what=what
    )
    bounds = np.flatnonzero(np.diff(codes, prepend=-1, append=codes[-1] + 1))
    return [(item, tidy.iloc[begin:end]) for item, (begin, end) in zip(items, pairwise(bounds), strict=True)]


def tidy_frame(
    frame: pd.DataFrame,
    columns: Columns,
    numeric: Sequence[str],
    static: Sequence[str],
    *,
    numeric_time: bool = False,
    integer_time: bool = False,
    aggregate: str | None = None,
    what: str = "df",
) -> tuple[pd.DataFrame, np.ndarray, list[Any]]:
    """Check a long frame and sort it by series and time.

    Args:
        frame: long frame, or a Series of the first numeric column.
        columns: roles of the columns, of which those of the series and timestamp are used.
        numeric, static: names of numeric columns, also of covariates, which may be categories, and of columns that are
            constant in each series.
        numeric_time: whether times may be numbers.
        integer_time: whether times must be integers.
        aggregate: a key of ``AGGREGATES``, which merges rows of one series and time; by default they raise an error.
        what: name of the frame in error messages: ``"df"``, ``"future="``, ``"validation="``.

    Returns:
        The sorted rows, the position of the series of each row, and the labels of the series in order of first
        appearance, ``[None]`` if the frame has no column that identifies series.

    Raises:
        ValueError: for invalid data, naming the series, the column and the fix.
    """
    value = numeric[0] if numeric else columns.target
    frame = long_frame(frame, columns.identity, columns.timestamp, value, what)
    if frame.empty:
        raise ValueError(f"{what} has no rows")
    if not frame.columns.is_unique:
        twice = list(frame.columns[frame.columns.duplicated()])
        raise ValueError(f"several columns of {what} have the same name: {twice}; rename them")
    keys = columns.identity_in(frame)
    needed = list(dict.fromkeys([*keys, columns.timestamp, *numeric, *static]))
    require_columns(frame, needed, what, timestamp=columns.timestamp, item_id=columns.identity[-1], value=value)
    items = read_items(frame, keys, what)
    codes, found = items.codes, items.labels
    names = [series_name(item) for item in found]
    times = column_times(frame[columns.timestamp], codes, names, numeric_time, integer_time, what)
    read: dict[str, Any] = {column: frame[column] for column in needed} | {columns.timestamp: times}
    for column in numeric:
        values = read[column]
        if column in columns.covariates:
            kind = {"categorical": column in columns.categorical}
            read[column] = covariate_values(values, times, codes, names, what, **kind)
        else:
            read[column] = column_numbers(values, times, codes, names, frame=what)
    for column in static:
        read[column] = (category_labels if column in columns.categorical else static_values)(read[column])
        refuse_too_large(read[column], codes, names)
    tidy = pd.DataFrame(read, index=frame.index, copy=False)
    order = row_order(_exact(tidy[columns.timestamp]), codes)
    if order is not None:
        tidy, codes = tidy.iloc[order], codes[order]
    if aggregate is None:
        how = "with aggregate='mean' or 'last'" if numeric_time else "for example with groupby(...).mean()"
        _refuse_duplicates(tidy[columns.timestamp], codes, names, columns, how, what)
    else:
        numbers = [column for column in numeric if pd.api.types.is_numeric_dtype(tidy[column])]
        tidy, codes = _aggregated(tidy, codes, columns.timestamp, numbers, aggregate)
    return tidy, codes, found


def _exact(times: pd.Series) -> np.ndarray:
    return times.to_numpy() if pd.api.types.is_numeric_dtype(times) else times.array.asi8


def _aggregated(
    tidy: pd.DataFrame, codes: np.ndarray, timestamp: str, numeric: Sequence[str], aggregate: str
) -> tuple[pd.DataFrame, np.ndarray]:
    """Merge rows of one series and time: numbers by ``aggregate``, other columns by their last value."""
    how = choose(AGGREGATES, aggregate, "aggregate")
    begins = (np.diff(codes, prepend=-1) != 0) | (np.diff(_exact(tidy[timestamp]), prepend=0) != 0)
    groups = tidy.groupby(begins.cumsum(), sort=False)
    merged = groups.tail(1).copy()
    for column in numeric:
        merged[column] = getattr(groups[column], how)().to_numpy()
    return merged, codes[begins]


def _refuse_duplicates(
    times: pd.Series, codes: np.ndarray, names: list[str], columns: Columns, how: str, what: str
) -> None:
    twice = (np.diff(_exact(times)) == 0) & (np.diff(codes) == 0)
    column = f"column {columns.timestamp!r}" + ("" if what == "df" else f" of {what}")
    fix = f"aggregate these rows {how}, or drop them"
    if names == ["the series"]:
        fix += (
            ", or give the column that distinguishes the series as item_id="
            if what == "df"
            else f", or, if they belong to several series, add the column {columns.identity[-1]!r}"
        )
    raise_for_rows(
        np.append(twice, False),
        codes,
        names,
        lambda row: f"{names[codes[row]]}: {column} has {times.iloc[row]} more than once; {fix}",
    )
