"""Numeric columns of long frames, and how to convert text to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.dtypes import own_dtype
from s5forecast.data.faults import raise_for_rows


class Spelling(NamedTuple):
    """How to read numbers with commas."""

    replacements: str  # methods of a column of text
    arguments: str  # of pd.read_csv
    condition: str = ""


DECIMAL_COMMA = Spelling(".str.replace(',', '.')", "decimal=','")
POINTS_AND_COMMA = Spelling(".str.replace('.', '').str.replace(',', '.')", "decimal=',', thousands='.'")
COMMAS_BETWEEN_THOUSANDS = Spelling(".str.replace(',', '')", "thousands=','")
# Patterns of text with a comma, and how to read it.
SPELLINGS = (
    (r"\s*[-+]?\d{1,3}(?:,\d{3})+\.\d*\s*|\s*[-+]?\d{1,3}(?:,\d{3}){2,}\s*", (COMMAS_BETWEEN_THOUSANDS,)),
    (
        r"\s*[-+]?\d{1,3},\d{3}\s*",
        (
            COMMAS_BETWEEN_THOUSANDS._replace(condition="if the comma separates thousands, "),
            DECIMAL_COMMA._replace(condition="if it is a decimal comma, "),
        ),
    ),
    (r"\s*[-+]?\d+,\d+\s*", (DECIMAL_COMMA,)),
    (r"\s*[-+]?\d{1,3}(?:\.\d{3})*,\d+\s*", (POINTS_AND_COMMA,)),
)
# Patterns of text around or within numbers, and the methods of a column of text that remove it.
CLEANINGS = (
    (r"^\s*\(.*\)\s*$", r".str.replace(r'^\s*\((.*)\)\s*$', r'-\1', regex=True)", (r"^\s*\((.*)\)\s*$", r"-\1")),
    (r"[$€£¥%]", r".str.replace(r'\s*[$€£¥%]\s*', '', regex=True)", (r"\s*[$€£¥%]\s*", "")),
    (r"\d[\s'’]\d", r""".str.replace(r"[\s'’]", '', regex=True)""", (r"[\s'’]", "")),
)


def column_numbers(
    values: pd.Series,
    times: pd.Series,
    codes: np.ndarray,
    names: Sequence[str],
    *,
    categories: bool = False,
    frame: str = "df",
) -> pd.Series:
    """Convert a column to floats, NaN where missing.

    Args:
        values, times: value and time of each row.
        codes: position in ``names`` of the series of each row.
        names: names of the series.
        categories: whether text in the column may stand for categories, for the error.
        frame: name of the frame in the error.

    Raises:
        ValueError: for text or an infinite value, naming the series and the column.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = own_dtype(values)
    if not pd.api.types.is_numeric_dtype(values):
        text = values.map(lambda value: not pd.isna(value) and not isinstance(value, Real | Decimal)).astype(bool)
        if text.any() or not pd.api.types.is_object_dtype(values):
            fix = _conversion(values[text], categories, frame)
            raise_for_rows(
                text.to_numpy() if text.any() else np.ones(len(text), dtype=bool),
                codes,
                names,
                lambda row: (
                    f"{names[codes[row]]}: column {values.name!r} must hold numbers, got {values.iloc[row]!r}; " + fix
                ),
            )
    if pd.api.types.is_complex_dtype(values):
        raise ValueError(f"{names[codes[0]]}: column {values.name!r} has complex numbers; pass their real part")
    numbers = values.astype("float32" if values.dtype == np.float32 else "float64")
    infinite = np.isinf(numbers.to_numpy())
    raise_for_rows(
        infinite,
        codes,
        names,
        lambda row: (
            f"{names[codes[row]]}: column {values.name!r} is infinite at {times.iloc[row]}; "
            "correct the value or mark it as missing (NaN)"
        ),
    )
    return numbers


def _conversion(text: pd.Series, categories: bool, frame: str) -> str:
    """The line that converts a column with these values to numbers, or to categories."""
    fix = _number_conversion(text, frame)
    column = f"{frame.rstrip('=')}[{text.name!r}]"
    return f"{fix}; or, if it holds categories: {column} = {column}.astype('category')" if categories else fix


def _number_conversion(text: pd.Series, frame: str) -> str:
    """The line that converts a column with these values to numbers."""
    if pd.api.types.is_timedelta64_dtype(text.infer_objects()):
        return "convert it with .dt.total_seconds()"
    found, cleaning = text.astype(str), ""
    for pattern, method, (old, new) in CLEANINGS:
        if found.str.contains(pattern, regex=True).any():
            found, cleaning = found.str.replace(old, new, regex=True), cleaning + method
    column = f"{frame.rstrip('=')}[{text.name!r}]"
    with_comma = found[found.str.contains(",", regex=False)]
    for pattern, reading in SPELLINGS:
        if len(with_comma) and with_comma.str.fullmatch(pattern).all():
            return _choice(reading, column, cleaning)
    if cleaning and pd.to_numeric(found, errors="coerce").notna().all():
        return f"convert it: {column} = pd.to_numeric({column}.astype('string'){cleaning})"
    if pd.to_numeric(found, errors="coerce").notna().all():
        return "convert it with pd.to_numeric"
    if not text.map(lambda value: isinstance(value, str)).all():
        return "convert it to numbers"
    return "convert it with pd.to_numeric, which marks other text as missing with errors='coerce'"


def _choice(readings: Sequence[Spelling], column: str, cleaning: str) -> str:
    """The line for each reading; without ``cleaning``, also how to read a file with such numbers."""
    return ", or ".join(
        f"{one.condition}{column} = pd.to_numeric({column}.astype('string'){cleaning}{one.replacements})"
        + ("" if cleaning else f" (in a file: pd.read_csv(..., {one.arguments}))")
        for one in readings
    )
