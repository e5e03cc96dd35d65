"""Statistics of the series of a long frame, also of frames with errors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.dtypes import own_dtype
from s5forecast.data.frames import Columns, series_name
from s5forecast.data.items import Items, read_items
from s5forecast.data.ordering import row_order
from s5forecast.data.timestamps import to_timestamps

# Outliers are farther from the quartiles than this number of interquartile ranges: the outer fences of "Exploratory
# Data Analysis" (Tukey, 1977).
FENCE = 3.0


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a frame that have a series and a time, sorted by both.

    Args:
        keys: columns that identify each of S series, indexed by label.
        codes: position of the series of each row, ``[R]``.
        times: datetimes or numbers, ``[R]``.
        targets: values of each target by name, ``[R]`` each, NaN where missing, infinite or no number.
        left_out: number of rows without a series or a time.
    """

    keys: pd.DataFrame
    codes: np.ndarray
    times: pd.Index
    targets: dict[str, np.ndarray]
    left_out: int

    @property
    def labels(self) -> list[Any]:
        return self.keys.index.tolist()

    @property
    def begins(self) -> np.ndarray:
        """First row of each series, ``[S]``."""
        return np.flatnonzero(np.diff(self.codes, prepend=-1))

    @property
    def bounds(self) -> np.ndarray:
        """First row of each series, and R, ``[S + 1]``."""
        return np.append(self.begins, len(self.codes))

    @property
    def instants(self) -> np.ndarray:
        """Times as numbers, ``[R]``."""
        return self.times.asi8 if isinstance(self.times, pd.DatetimeIndex) else self.times.to_numpy()

    def name(self, position: int) -> str:
        """Name of a series in messages."""
        return series_name(self.labels[position])


def readable_rows(frame: pd.DataFrame, columns: Columns) -> Rows:
    """The rows of a long frame that can be read; nothing is raised for the others.

    Args:
        frame: frame with the column of times.
        columns: roles of the columns; absent targets have no values.
    """
    frame = frame.loc[:, ~frame.columns.duplicated()]
    identity = [name for name in columns.identity_in(frame) if name in frame]
    times = _times(frame[columns.timestamp])
    usable = (times.notna() & frame[identity].notna().all(axis=1)).to_numpy()
    if not usable.all():
        frame, times = frame[usable], times[usable]
    items = _items(frame, identity)
    order = row_order(_exact(times), items.codes) if len(times) else None
    place: Any = slice(None) if order is None else order
    targets = {name: _numbers(frame[name])[place] for name in columns.targets if name in frame}
    stamps: Any = pd.Index(times)
    return Rows(items.keys, items.codes[place], stamps[place], targets, int((~usable).sum()))


def profile(rows: Rows, target: str) -> pd.DataFrame:
    """Statistics of the series, one row for each.

    Args:
        rows: R rows of S series.
        target: name of the target.

    Returns:
        Frame with the columns rows, start, end, duplicates (rows with the time of the row before them), missing (rows
        without a value), zeros, negative, outliers (values beyond the outer fences of the values that are not 0),
        farthest (interquartile ranges by which the farthest value is beyond the quartiles), constant and
        constant_nonzero (length of the longest stretch of equal observed values, and of equal values that are not 0),
        fractional (values that are not whole numbers), distinct (whether there are several values).
    """
    S, values = len(rows.keys), rows.targets[target]
    bounds, codes = rows.bounds, rows.codes
    seen = ~np.isnan(values)
    owners, observed = codes[seen], values[seen]

    def count(chosen: np.ndarray, of: np.ndarray = owners) -> np.ndarray:
        return np.bincount(of[chosen], minlength=S)

    again = (np.diff(rows.instants) == 0) & (np.diff(codes) == 0)
    lengths, first = _runs(observed, owners)
    nonzero = observed != 0
    constant = _largest(lengths, owners[first], S)
    far = distances(observed[nonzero], owners[nonzero], S)
    return pd.DataFrame(
        {
            "rows": np.diff(bounds),
            "start": rows.times[bounds[:-1]],
            "end": rows.times[bounds[1:] - 1],
            "duplicates": count(np.append(again, False), codes) if len(codes) else 0,
            "missing": count(~seen, codes),
            "zeros": count(~nonzero),
            "negative": count(observed < 0),
            "outliers": count(far > FENCE, owners[nonzero]),
            "farthest": _largest(far, owners[nonzero], S),
            "constant": constant,
            "constant_nonzero": _largest(lengths * nonzero[first], owners[first], S),
            "fractional": count(observed != np.floor(observed)),
            "distinct": constant < np.bincount(owners, minlength=S),
        }
    )


def median_gaps(rows: Rows) -> np.ndarray:
    """Median distance of consecutive times of each series, ``[S]``; NaN for a single row."""
    gaps, owners = np.diff(rows.instants).astype(np.float64), rows.codes[1:]
    inside = np.diff(rows.codes) == 0
    return quantiles(gaps[inside], owners[inside], len(rows.keys), 0.5)


def quantiles(values: np.ndarray, owners: np.ndarray, count: int, level: float) -> np.ndarray:
    """Quantile of the values of each of ``count`` groups, ``[count]``; NaN for a group without values."""
    ordered = values[np.lexsort((values, owners))]
    sizes = np.bincount(owners, minlength=count)
    begins = np.cumsum(sizes) - sizes
    place = level * np.maximum(sizes - 1, 0)
    low, share = np.floor(place).astype(np.int64), place % 1
    if not len(values):
        return np.full(count, np.nan)
    last = len(values) - 1
    below = ordered[np.minimum(begins + low, last)]
    above = ordered[np.minimum(begins + np.minimum(low + 1, np.maximum(sizes - 1, 0)), last)]
    return np.where(sizes > 0, below + share * (above - below), np.nan)


def distances(values: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
    """Interquartile ranges by which each value is beyond the quartiles of its group; 0 if the quartiles are equal.

    Args:
        values, owners: values and their groups, ``[n]``.
        count: number of groups.
    """
    low, high = (quantiles(values, owners, count, level)[owners] for level in (0.25, 0.75))
    reach = np.where(high > low, high - low, np.inf)
    return np.maximum(low - values, values - high).clip(min=0) / reach


def _runs(values: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length and first position of each stretch of equal values of one series."""
    new = np.ones(len(values), dtype=bool)
    new[1:] = (np.diff(values) != 0) | (np.diff(owners) != 0)
    first = np.flatnonzero(new)
    return np.diff(np.append(first, len(values))), first


def _largest(values: np.ndarray, owners: np.ndarray, count: int) -> np.ndarray:
    """Largest value of each group, 0 for a group without values."""
    found = np.zeros(count, dtype=values.dtype)
    np.maximum.at(found, owners, values)
    return found


def _items(frame: pd.DataFrame, identity: list[str]) -> Items:
    try:
        return read_items(frame, identity)
    except ValueError:  # values that cannot be compared, or series with the same label
        return read_items(frame.assign(**{name: frame[name].map(repr) for name in identity}), identity)


def _times(values: pd.Series) -> pd.Series:
    """Datetimes or float64 numbers, missing where a time cannot be read."""
    values = own_dtype(values)
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = pd.Series(values.to_numpy(dtype=np.float64, na_value=np.nan), values.index)
        return numbers.where(np.isfinite(numbers))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return to_timestamps(values)
        except ValueError:
            return pd.to_datetime(values.map(_text), errors="coerce", format="ISO8601", utc=True).dt.tz_localize(None)


def _text(value: Any) -> Any:
    return value if pd.isna(value) else str(value)


def _exact(times: pd.Series) -> np.ndarray:
    return times.to_numpy() if pd.api.types.is_numeric_dtype(times) else times.array.asi8


def _numbers(values: pd.Series) -> np.ndarray:
    """Values as float64, NaN where they are missing, infinite or no number."""
    values = own_dtype(values)
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_complex_dtype(values.dtype):
        values = pd.to_numeric(values.map(_text), errors="coerce")
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)
