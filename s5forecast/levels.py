"""Quantile levels: the usual ones, what is asked of them, and the columns they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def check_levels(levels: Sequence[float], name: str = "quantile_levels") -> None:
    """Raise ValueError unless all levels are numbers in (0, 1), at least one is given, and none twice."""
    if not len(levels) or not all(isinstance(level, float) and 0 < level < 1 for level in levels):
        raise ValueError(f"{name} must be numbers strictly between 0 and 1, got {list(levels)}")
    if len(set(levels)) < len(levels):
        raise ValueError(f"{name} must not repeat, got {list(levels)}")


def level_name(level: float) -> str:
    """The column of a quantile level: "0.1" for 0.1, without the dust of floating point."""
    return str(round(float(level), 10))


def quantile_columns(frame: pd.DataFrame) -> dict[float, Any]:
    """Columns of a frame that are named by a level in (0, 1), such as "0.1", by level in ascending order."""
    return dict(sorted((float(column), column) for column in frame.columns if is_level(column)))


def is_level(name: Any) -> bool:
    """Whether a name spells a number in (0, 1)."""
    try:
        return 0 < float(name) < 1
    except (TypeError, ValueError):
        return False


def sample_columns(frame: pd.DataFrame) -> list[Any]:
    """Columns of a frame that hold samples, "sample_0", "sample_1" ..., in that order."""
    found = [column for column in frame.columns if str(column).startswith("sample_") and str(column)[7:].isdigit()]
    return sorted(found, key=lambda column: int(str(column)[7:]))
