"""Covariate columns of long frames: numbers, or labels of categories as codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.faults import SeriesError, raise_for_rows
from s5forecast.data.numeric_columns import column_numbers
from s5forecast.data.single_precision import RANGE, too_large
from s5forecast.data.static_columns import category_code, category_labels
from s5forecast.notices import warn_user

# Labels of each covariate column, in order; ``None`` for a column of numbers.
Labels = Mapping[str, Sequence[str] | None]


def covariate_values(
    values: pd.Series,
    times: pd.Series,
    codes: np.ndarray,
    names: Sequence[str],
    frame: str = "df",
    *,
    categorical: bool = False,
) -> pd.Series:
    """Numbers as floats, NaN where missing; categories, booleans and text as labels, ``None`` where missing.

    Args:
        values, times: value and time of each row.
        codes: position in ``names`` of the series of each row.
        names: names of the series.
        frame: name of the frame in errors.
        categorical: whether the column held categories in training, whose labels any value then is, also a number.

    Raises:
        ValueError: for text that stands for numbers, a mix of numbers and text, or a number that single precision
            cannot represent, naming the series and the column.
    """
    if categorical or is_categorical(values):
        return category_labels(values)
    numbers = column_numbers(values, times, codes, names, categories=True, frame=frame)
    raise_for_rows(
        too_large(numbers.to_numpy()),
        codes,
        names,
        lambda row: (
            f"{names[codes[row]]}: column {values.name!r} is {numbers.iloc[row]:g} at {times.iloc[row]}, but {RANGE}; "
            "divide it by a constant"
        ),
    )
    return numbers


def is_categorical(values: pd.Series) -> bool:
    """Whether a column holds categories, booleans, or text without any number; missing objects are categories."""
    if isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(values.dtype):
        return True
    if not (pd.api.types.is_object_dtype(values.dtype) or pd.api.types.is_string_dtype(values.dtype)):
        return False
    found = pd.unique(values.dropna())
    booleans = [isinstance(value, bool | np.bool_) for value in found]
    texts = [isinstance(value, str) for value in found]
    return all(booleans) or (all(texts) and not any(map(_is_number, found)))


def coded(columns: Sequence[str], tidy: pd.DataFrame) -> tuple[np.ndarray, dict[str, Sequence[str] | None]]:
    """Columns of checked rows as float32 ``[F, R]``, NaN where missing; the labels of the categorical columns."""
    rows = np.empty((len(columns), len(tidy)), dtype=np.float32)
    labels: dict[str, Sequence[str] | None] = {}
    for number, column in enumerate(columns):
        labels[column] = None
        if pd.api.types.is_numeric_dtype(tidy[column]):
            rows[number] = tidy[column]
            continue
        codes, found = pd.factorize(tidy[column], sort=True)
        rows[number] = np.where(codes < 0, np.nan, codes)
        labels[column] = found.tolist()
    return rows, labels


def decoded(column: str, row: np.ndarray, labels: Labels) -> Any:
    """Values of a column from a row that :func:`coded` returned, categories with a dtype that tells them from text."""
    names = labels.get(column)
    if names is None:
        return row
    codes = np.where(np.isnan(row), -1, row).astype(np.int64)
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(names)))


def encoded(rows: np.ndarray, labels: Labels, categories: Labels, series_of: Callable[[int], str] = str) -> np.ndarray:
    """Covariates ``[F, R]`` with the codes of the training, numbers before categories.

    Args:
        rows: covariates with the codes of their own ``labels``.
        labels: labels of the rows.
        categories: labels in the training of each of the F columns; no columns if all are numbers.
        series_of: name of the series of a row, for the error.

    Returns:
        Float32; -1 is an unknown category, NaN a missing value.

    Raises:
        ValueError: for text in a column of numbers, naming the series and the column.
    """
    if not any(labels.get(column) is not None or known is not None for column, known in categories.items()):
        return rows
    found = np.empty_like(rows)
    order = [column for kind in (True, False) for column, known in categories.items() if (known is None) == kind]
    position = {column: number for number, column in enumerate(categories)}
    for number, column in enumerate(order):
        row, known, own = rows[position[column]], categories[column], labels.get(column)
        if own is None and known is None:
            found[number] = row
        elif known is None:
            found[number] = _as_numbers(row, own or (), column, series_of)
        else:
            values = np.unique(row[~np.isnan(row)])
            names = values.tolist() if own is None else [own[int(code)] for code in values]
            codes = np.array([category_code(name, known) for name in names], dtype=np.float32)
            place = np.searchsorted(values, row).clip(max=max(len(values) - 1, 0))
            found[number] = np.where(np.isnan(row), np.nan, codes[place] if len(codes) else np.nan)
    return found


def known_fields(categories: Labels) -> dict[str, list[str]]:
    """The known columns in the rows of each field of an entry."""
    return {
        "feat_dynamic_real": [column for column, labels in categories.items() if labels is None],
        "feat_dynamic_cat": [column for column, labels in categories.items() if labels is not None],
    }


def cardinalities(categories: Labels) -> list[int]:
    """Number of categories of each categorical column."""
    return [len(known) for known in categories.values() if known is not None]


def warn_of_unknown_labels(labels: Labels, categories: Labels) -> None:
    """Warn about each categorical column none of whose labels occurred in training."""
    for column, known in categories.items():
        found = labels.get(column)
        if known is not None and found and all(category_code(label, known) < 0 for label in found):
            warn_user(
                f"no value of the column {column!r} is a category of the training, which had {list(known[:3])}; found "
                f"{list(found[:3])}. All are treated as unknown; write them as in training"
            )


def _as_numbers(row: np.ndarray, labels: Sequence[str], column: str, series_of: Callable[[int], str]) -> np.ndarray:
    """Numbers from the labels of a column that had numbers in training; booleans are 0 and 1."""
    values = [{"True": 1.0, "False": 0.0}.get(label, label) for label in labels]
    for code, value in enumerate(values):
        if not _is_number(value):
            name = series_of(int((row == code).argmax()))
            raise SeriesError(
                {name: f"{name}: column {column!r} had numbers in training but has {value!r} here; convert it"}
            )
    numbers = np.array([*map(float, values), np.nan], dtype=np.float32)
    return numbers[np.where(np.isnan(row), len(values), row).astype(np.int64)]


def _is_number(value: Any) -> bool:
    """Whether a value is a number or text that can be read as one, also with a comma."""
    return bool(pd.notna(pd.to_numeric(str(value).replace(",", ""), errors="coerce")))
