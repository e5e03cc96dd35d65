"""Time columns of long frames: datetimes, numbers of irregular series, or integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from s5forecast.data.dtypes import own_dtype
from s5forecast.data.faults import raise_for_rows
from s5forecast.data.frequency import Frequency
from s5forecast.data.timestamps import RANGE_FIX, UnreadableTimes, out_of_range, read_times, require_datetimes

# Largest integer time, so that the times of a horizon and the differences of times are int64.
MAX_INTEGER = 2**61


def column_times(
    values: pd.Series, codes: np.ndarray, names: list[str], numeric_time: bool, integer_time: bool, what: str
) -> pd.Series:
    """Datetimes of a column, float64 for numbers or int64 for integers.

    Args:
        values: times of the rows.
        codes: position in ``names`` of the series of each row.
        names: names of the series.
        numeric_time: whether times may be numbers.
        integer_time: whether times must be integers.
        what: name of the frame in error messages.

    Raises:
        ValueError: for missing or other times, naming the series, the column and the fix.
    """
    values = own_dtype(values)
    if integer_time:
        return _integers(values, codes, names, what)
    if numeric_time and pd.api.types.is_numeric_dtype(values):
        finite = np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))
        raise_for_rows(
            ~finite,
            codes,
            names,
            lambda row: (
                f"{names[codes[row]]}: column {values.name!r} has the time {values.iloc[row]}; drop or correct this row"
            ),
        )
        return values.astype(np.float64)
    values = _read(require_datetimes, values, codes, names, what)
    raise_for_rows(
        values.isna().to_numpy(),
        codes,
        names,
        lambda row: f"{names[codes[row]]}: column {values.name!r} has missing timestamps (NaT); drop these rows",
    )
    _refuse_out_of_range(values, codes, names, f"column {values.name!r}")
    return values


def no_times(values: pd.Series | None, frequency: Frequency | None) -> pd.Series:
    """No times, of the dtype of the forecasts of a column.

    Args:
        values: times of the histories, if there are any.
        frequency: frequency of regular series.
    """
    if frequency is not None and frequency.integer:
        return pd.Series(dtype=np.int64)
    if frequency is None and values is not None and pd.api.types.is_numeric_dtype(values):
        return pd.Series(dtype=np.float64)
    zone = None if values is None else getattr(values.dtype, "tz", None)
    return pd.Series(pd.DatetimeIndex([], tz=zone))


def query_times(values: pd.Series, codes: np.ndarray, names: list[str]) -> pd.Series:
    """Datetimes or numbers of the column of times to forecast, as :func:`column_times` otherwise."""
    values = _read(read_times, values, codes, names, "times=")
    if pd.api.types.is_datetime64_any_dtype(values):
        _refuse_out_of_range(values, codes, names, f"column {values.name!r} of times=")
    return values


def _read(
    read: Callable[[pd.Series, str], pd.Series], values: pd.Series, codes: np.ndarray, names: list[str], what: str
) -> pd.Series:
    """Times of a column; an error for some of its rows names their series."""
    try:
        return read(values, what)
    except UnreadableTimes as error:
        texts = error.texts
        raise_for_rows(error.bad, codes, names, lambda row: f"{names[codes[row]]}: {texts(row)}")
        raise


def _refuse_out_of_range(values: pd.Series, codes: np.ndarray, names: list[str], column: str) -> None:
    raise_for_rows(
        out_of_range(values),
        codes,
        names,
        lambda row: f"{names[codes[row]]}: {column} has {values.iloc[row]}, but {RANGE_FIX}",
    )


def _integers(values: pd.Series, codes: np.ndarray, names: list[str], what: str) -> pd.Series:
    """Integer times, int64."""
    if not pd.api.types.is_numeric_dtype(values):
        raise ValueError(
            f"column {values.name!r} of {what} holds {values.dtype}, but freq= is a number, which requires integer "
            f"times; {_integer_fix(values, what)}"
        )
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    raise_for_rows(
        wrong,
        codes,
        names,
        lambda row: (
            f"{names[codes[row]]}: column {values.name!r} has the time {values.iloc[row]}, which is not an integer; "
            "drop or correct this row, or pass freq=None for irregular series"
        ),
    )
    raise_for_rows(
        np.abs(numbers) > MAX_INTEGER,
        codes,
        names,
        lambda row: (
            f"{names[codes[row]]}: column {values.name!r} has the time {values.iloc[row]}, but integer times are "
            f"supported up to {MAX_INTEGER}; subtract a constant"
        ),
    )
    return values.astype(np.int64)


def _integer_fix(values: pd.Series, what: str) -> str:
    """How to convert times that are no numbers to integers, or to use them otherwise."""
    column = f"{what.rstrip('=')}[{values.name!r}]"
    if pd.api.types.is_timedelta64_dtype(values):
        gaps = values.dropna().drop_duplicates().sort_values().diff()
        step = f"pd.Timedelta({gaps.min().total_seconds():g}, 's')" if len(gaps) > 1 else "their step"
        return f"divide it by the length of a step: {column} = {column} // {step}"
    if not pd.api.types.is_datetime64_any_dtype(values) and pd.to_numeric(values, errors="coerce").notna().all():
        return f"convert it: {column} = pd.to_numeric({column})"
    return "pass freq='infer' or an alias such as 'D' for datetimes"
