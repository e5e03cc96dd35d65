"""Checks of the values of features: numbers in the range of single precision, and codes of categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from s5forecast.data.single_precision import RANGE, too_large
from s5forecast.data.static_columns import UNKNOWN

if TYPE_CHECKING:
    from s5forecast.data.spec import FeatureSpec


def check_features(values: np.ndarray, field: str, name: str, features: FeatureSpec) -> None:
    """Check a field of an entry.

    Args:
        values: ``[F, T]``, or ``[F]`` for static features; NaN where missing.
        field: name of the field; ``query_`` at its beginning marks the values at query times.
        name: name of the series.
        features: number of features of each kind.

    Raises:
        ValueError: for a number that single precision cannot represent, or a code that no category has, naming the
            series, the field and the fix.
    """
    kind = field.removeprefix("query_")
    if kind in features.cardinalities:
        _check_codes(values, features.cardinalities[kind] or [None] * len(values), field, name)
    elif too_large(values).any():
        place = _first(too_large(values))
        raise ValueError(f"{name}: {field} is {values[place]:g}{_place(place)}, but {RANGE}; divide it by a constant")


def _check_codes(values: np.ndarray, cardinalities: Sequence[int | None], field: str, name: str) -> None:
    """Raise ValueError for a fraction, a negative number other than the unknown category, or a code that is too large.

    The number of categories is ``None`` if a model of an earlier version does not tell it.
    """
    limits = np.array([np.inf if count is None else count for count in cardinalities])
    wrong = (values % 1 != 0) | (values < UNKNOWN) | (values >= limits.reshape(-1, *[1] * (values.ndim - 1)))
    wrong &= ~np.isnan(values)
    if wrong.any():
        place = _first(wrong)
        count = cardinalities[place[0]]
        codes = "are whole numbers from 0" if count is None else f"are numbered from 0 to {count - 1}"
        raise ValueError(
            f"{name}: {field} is {values[place]:g}{_place(place)}, but its categories {codes}; use {UNKNOWN} for an "
            "unknown category, or train an estimator with more categories"
        )


def _first(chosen: np.ndarray) -> tuple[int, ...]:
    return tuple(np.argwhere(chosen)[0].tolist())


def _place(place: tuple[int, ...]) -> str:
    """Row and step of a value in words."""
    return f" in row {place[0]}" + "".join(f" at step {step}" for step in place[1:])
