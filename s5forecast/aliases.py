"""Classes by the paths under which they were saved."""

from __future__ import annotations

from pathlib import Path
from pydoc import locate

HOME = "s5forecast.estimators.gluonts_predictor.S5Predictor"
MOVED = {
    "s5forecast.estimators.continuous_predictor.ContinuousPredictor": HOME,
}


def resolve(path: str) -> type:
    """The class that was saved as ``path``.

    Raises:
        ValueError: if there is none.
    """
    found = locate(MOVED.get(path, path))
    if not isinstance(found, type):
        raise ValueError(f"unknown class {path}")
    return found


def check_folder(path: Path) -> None:
    """Check the classes that a saved model names."""
