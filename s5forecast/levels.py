"""Quantile levels: defaults, validation, and the columns of frames that are named after them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def check_levels(levels: Sequence[float], name: str = "quantile_levels") -> list[float]:
    """The levels as floats; those in half or single precision by their shortest decimal, such as 0.1.

    Raises:
        ValueError: for a single number, without a level, for one outside of (0, 1), or for repeated levels.
    """
    if not isinstance(levels, Iterable):
        raise ValueError(f"{name} must be a list of numbers, as in [0.1, 0.5, 0.9], got {levels!r}")
    if not len(levels) or not all(isinstance(level, float | np.floating) and 0 < level < 1 for level in levels):
        raise ValueError(f"{name} must be numbers strictly between 0 and 1, got {list(levels)}")
    found = [_double(level) for level in levels]
    if len(set(found)) < len(found):
        raise ValueError(f"{name} must not repeat, got {list(levels)}")
    return found


def _double(level: Any) -> float:
    """A level in double precision, also if GluonTS has converted it from single precision."""
    single = level if isinstance(level, np.float16) else np.float32(level)
    return float(str(single)) if single == level else float(level)


def level_name(level: float) -> str:
    """Column name of a quantile level: "0.1" for 0.1, rounded to ten digits."""
    return str(round(float(level), 10))


def quantile_columns(frame: pd.DataFrame) -> dict[float, Any]:
    """Quantile columns of a frame, such as "0.1", by their level in (0, 1), in ascending order."""
    return dict(sorted((float(column), column) for column in frame.columns if is_level(column)))


def is_level(name: Any) -> bool:
    """Whether a column name is a number in (0, 1)."""
    try:
        return 0 < float(name) < 1
    except (TypeError, ValueError):
        return False


def sample_columns(frame: pd.DataFrame) -> list[Any]:
    """Sample columns of a frame, "sample_0", "sample_1" ..., in numeric order."""
    found = [column for column in frame.columns if str(column).startswith("sample_") and str(column)[7:].isdigit()]
    return sorted(found, key=lambda column: int(str(column)[7:]))
