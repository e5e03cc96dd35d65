"""Series of a long frame as concatenated arrays, and the checks of all series at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, overload

import numpy as np
import pandas as pd

from s5forecast.data.covariates import Labels, coded, decoded
from s5forecast.data.faults import SeriesError, raise_for_rows
from s5forecast.data.frames import NUMBERS_ONLY, Columns, frame_keys, series_name, tidy_frame
from s5forecast.data.items import repeat_rows
from s5forecast.data.series_names import PackedNames, SeriesNames
from s5forecast.data.single_precision import RANGE, too_large


class FrameSeries(NamedTuple):
    """One series of a frame, with T rows sorted by time."""

    item_id: Any  # label; None if the frame has no column that identifies series
    timestamps: pd.Index  # [T] datetimes, or numbers if the series is irregular
    target: np.ndarray  # [T], or [D, T] if the series is irregular; NaN where not observed
    known: np.ndarray  # [F, T] float32
    static: dict[str, Any]
    keys: pd.DataFrame | None = None  # columns that identify all series of the frame, indexed by label
    past: np.ndarray | None = None  # [F, T] float32
    labels: Labels = NUMBERS_ONLY  # of the known and the past covariates
    weight: np.ndarray | None = None  # [T]

    @property
    def name(self) -> str:
        return series_name(self.item_id)

    def covariates(self, columns: Columns, steps: slice | np.ndarray, *, past: bool) -> dict[str, Any]:
        """Columns of a frame with the known covariates at some steps and, of the past, the others and the weight."""
        found: dict[str, Any] = {
            c: decoded(c, row[steps], self.labels) for c, row in zip(columns.known, self.known, strict=True)
        }
        if past and self.past is not None:
            found |= {c: decoded(c, row[steps], self.labels) for c, row in zip(columns.past, self.past, strict=True)}
        if past and columns.weight is not None and self.weight is not None:
            found[columns.weight] = self.weight[steps]
        return found


@dataclass(frozen=True, eq=False)
class SeriesTable(Sequence[FrameSeries]):
    """S series with R rows in total, sorted by series and time; each element is a view of one series.

    Args:
        names: labels of the series, and the columns that identify them.
        bounds: first row of each series, and R, int64 ``[S + 1]``. Every series has a row.
        timestamps: datetimes, or numbers if the series are irregular, ``[R]``.
        target: ``[R]``, or ``[D, R]`` if the series are irregular; NaN where not observed.
        known: known columns, float32 ``[F, R]``; categories are codes of their ``labels``, NaN where missing.
        static: static columns, one row for each series.
        past: other covariates, as ``known``.
        labels: labels of each known and past covariate, in order; ``None`` for numbers.
        weight: weight of each row in the training loss, ``[R]``; ``None`` if all count the same.
    """

    names: SeriesNames | PackedNames
    bounds: np.ndarray
    timestamps: pd.Index
    target: np.ndarray
    known: np.ndarray
    static: pd.DataFrame
    past: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    labels: Labels = field(default_factory=dict)
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> FrameSeries: ...
    @overload
    def __getitem__(self, index: slice) -> SeriesTable: ...
    def __getitem__(self, index: int | slice) -> FrameSeries | SeriesTable:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        position = range(len(self))[index]
        rows = slice(self.bounds[position], self.bounds[position + 1])
        columns: list[Any] = list(self.static)
        return FrameSeries(
            item_id=self.names.label(position),
            timestamps=self.timestamps[rows],
            target=self.target[..., rows],
            known=self.known[:, rows],
            static={column: self.static[column].iloc[position] for column in columns},
            keys=self.keys,
            past=self.past[:, rows],
            labels=self.labels,
            weight=None if self.weight is None else self.weight[rows],
        )

    @property
    def items(self) -> list[Any]:
        """Label of each series; ``[None]`` if the frame has no column that identifies series."""
        return self.names.items

    @property
    def keys(self) -> pd.DataFrame:
        """Columns that identify the series, one row for each, indexed by label."""
        return self.names.keys

    @property
    def lengths(self) -> np.ndarray:
        """Number of rows of each series, ``[S]``."""
        return np.diff(self.bounds)

    @property
    def begins(self) -> np.ndarray:
        """First row of each series, ``[S]``."""
        return self.bounds[:-1]

    @property
    def owners(self) -> np.ndarray:
        """Position of the series of each row, ``[R]``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def observed(self) -> np.ndarray:
        """Whether each row has an observed value, ``[R]``."""
        return ~np.isnan(self.target) if self.target.ndim == 1 else (~np.isnan(self.target)).any(axis=0)

    def blocks(self) -> Iterator[SeriesTable]:
        """Consecutive series as tables in memory: all of them, or few at a time if the rows are on disk."""
        yield self

    def name(self, position: int) -> str:
        """Name of a series in error messages."""
        return series_name(self.names.label(position))

    def take(self, positions: Sequence[int] | np.ndarray) -> SeriesTable:
        """Some of the series, such as those without an error; consecutive series are not copied."""
        positions = np.asarray(positions, dtype=np.int64)
        lengths = self.lengths[positions]
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        if len(positions) and (np.diff(positions) == 1).all():
            rows: Any = slice(self.bounds[positions[0]], self.bounds[positions[-1] + 1])
        else:
            rows = np.arange(bounds[-1]) + np.repeat(self.begins[positions] - bounds[:-1], lengths)
        return replace(
            self,
            names=self.names.take(positions),
            bounds=bounds,
            timestamps=self.timestamps[rows],
            target=self.target[..., rows],
            known=self.known[:, rows],
            static=self.static.iloc[positions],
            past=self.past[:, rows] if len(self.past) else self.past,
            weight=None if self.weight is None else self.weight[rows],
        )

    def without_names(self, reasons: Mapping[str, str]) -> tuple[SeriesTable, pd.DataFrame]:
        """The table without the series of the given names, and the keys of these series in the order of the names."""
        positions = {self.name(position): position for position in range(len(self))}
        left = [positions[name] for name in reasons if name in positions]
        return self.without(left), self.keys.iloc[left]

    def without(self, positions: Iterable[int]) -> SeriesTable:
        """All series except some."""
        return self.take(np.setdiff1d(np.arange(len(self)), list(positions)))

    def univariate(self) -> SeriesTable:
        """The first target alone, ``[R]``."""
        return replace(self, target=self.target[0])

    def with_known(self, rows: np.ndarray, labels: Labels) -> SeriesTable:
        """The table with further known covariates, ``[F, R]``, after its own."""
        names = list(self.labels)
        ordered = {name: self.labels[name] for name in names[: len(self.known)]}
        others = {name: self.labels[name] for name in names[len(self.known) :]}
        return replace(self, known=np.concatenate([self.known, rows]), labels={**ordered, **labels, **others})

    def last_rows(self, chosen: np.ndarray) -> np.ndarray:
        """Last of the ``chosen [R]`` rows of each series, ``[S]``; -1 if it has none."""
        return np.maximum.reduceat(np.where(chosen, np.arange(len(chosen)), -1), self.begins)


def repeat_keys(series: Sequence[FrameSeries], counts: Sequence[int]) -> pd.DataFrame:
    """Columns that identify series, each repeated for a number of rows; no column for a series without a name."""
    keys = series[0].keys
    assert keys is not None, "series of a frame have keys"
    labels = np.empty(len(series), dtype=object)
    labels[:] = [one.item_id for one in series]
    return repeat_rows(keys.iloc[keys.index.get_indexer(pd.Index(labels))], counts)


# Error message of each bad series, by its position.
Faults = dict[int, str]


def raise_first(table: SeriesTable, *faults: Faults) -> None:
    """Raise SeriesError with the messages of all bad series, each of the first of several checks."""
    found = {position: one[position] for one in reversed(faults) for position in one}
    if found:
        raise SeriesError({table.name(position): found[position] for position in sorted(found)})


def read_table(
    frame: pd.DataFrame,
    columns: Columns,
    *,
    numeric_time: bool = False,
    integer_time: bool = False,
    aggregate: str | None = None,
    what: str = "df",
) -> SeriesTable:
    """Check a long frame and convert it to series with targets ``[D, R]``, in order of first appearance.

    The frame is not changed. See :func:`~s5forecast.data.frames.tidy_frame` for arguments and errors.

    Raises:
        ValueError: for a series without an observed value, or with a static column that is not constant.
    """
    table, *faults = find_faults(
        frame, columns, numeric_time=numeric_time, integer_time=integer_time, aggregate=aggregate, what=what
    )
    raise_first(table, *faults)
    return table


def find_faults(
    frame: pd.DataFrame,
    columns: Columns,
    *,
    numeric_time: bool = False,
    integer_time: bool = False,
    aggregate: str | None = None,
    what: str = "df",
) -> tuple[SeriesTable, Faults, Faults]:
    """As :func:`read_table`, but return the series that have no observed value, and those with changing static columns.

    The error messages are in the order of the checks, so that a caller can raise the first or leave out these series.
    """
    weights = [] if columns.weight is None else [columns.weight]
    numeric = [*columns.targets, *columns.covariates, *weights]
    tidy, codes, items = tidy_frame(
        frame,
        columns,
        numeric,
        columns.static,
        numeric_time=numeric_time,
        integer_time=integer_time,
        aggregate=aggregate,
        what=what,
    )
    begins = np.flatnonzero(np.diff(codes, prepend=-1))
    first_rows = tidy.iloc[begins]
    covariates, labels = coded(columns.covariates, tidy)
    table = SeriesTable(
        names=SeriesNames(items, frame_keys(first_rows, columns, items)),
        bounds=np.append(begins, len(codes)),
        timestamps=pd.Index(tidy[columns.timestamp]),
        target=np.stack([tidy[column].to_numpy() for column in columns.targets]),
        known=covariates[: len(columns.known)],
        static=first_rows[list(columns.static)],
        past=covariates[len(columns.known) :],
        labels=labels,
        weight=None if columns.weight is None else tidy[columns.weight].to_numpy(),
    )
    _check_weight(table, columns)
    return table, _unobserved(table, columns), _changing(table, tidy, columns)


def _check_weight(table: SeriesTable, columns: Columns) -> None:
    """Raise ValueError, naming the series, for a row with a target whose weight is missing, negative or too large."""
    weight = table.weight
    if weight is None:
        return
    names = [table.name(position) for position in range(len(table))]
    raise_for_rows(
        table.observed & (~(weight >= 0) | too_large(weight)),
        table.owners,
        names,
        lambda row: (
            f"{names[table.owners[row]]}: the weight {columns.weight!r} is "
            f"{'missing' if np.isnan(weight[row]) else weight[row]} at {table.timestamps[row]}"
            + (f", but {RANGE}; divide it by a constant" if too_large(weight[row]) else "; give a number of at least 0")
        ),
    )
    if not (weight[table.observed] > 0).any():
        raise ValueError(f"the weight {columns.weight!r} is 0 in all rows; give a positive weight to some of them")


def _unobserved(table: SeriesTable, columns: Columns) -> Faults:
    """Series without an observed value."""
    targets = list(columns.targets)
    found = f"column {targets[0]!r} has" if len(targets) == 1 else f"columns {targets} have"
    return {
        position: f"{table.name(position)}: {found} no observed value; leave the series out"
        for position in np.flatnonzero(table.last_rows(table.observed) < 0).tolist()
    }


def _changing(table: SeriesTable, tidy: pd.DataFrame, columns: Columns) -> Faults:
    """Series with a static column that is not constant."""
    faults: Faults = {}
    for column in columns.static:
        for position in np.unique(table.owners[1:][_changes(tidy[column], table)]).tolist():
            values = tidy[column].iloc[slice(*table.bounds[position : position + 2])]
            faults.setdefault(position, f"{table.name(position)}: static column {column!r} {_static_fault(values)}")
    return faults


def _changes(values: pd.Series, table: SeriesTable) -> np.ndarray:
    """Whether a value differs from the one before it in the same series, ``[R - 1]``."""
    codes, _ = pd.factorize(values)
    changed = np.diff(codes) != 0
    changed[table.begins[1:] - 1] = False
    return changed


def _static_fault(values: pd.Series) -> str:
    """Why a column is not constant, and what to do about it."""
    found = values.dropna().unique().tolist()
    if len(found) == 1:
        return f"is {found[0]!r} in some rows and missing in {values.isna().sum()}; fill in the missing values"
    fix = ", or pass it as known=" if pd.api.types.is_numeric_dtype(values) else ", or leave it out of static="
    return f"changes within the series, {found[:3]}; make it constant{fix}"
