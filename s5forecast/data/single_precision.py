"""The range of single precision, in which networks read features and weights."""

from __future__ import annotations

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
RANGE = f"numbers are supported up to {LARGEST:.2g}"


def too_large(values: np.ndarray) -> np.ndarray:
    """Whether each number is infinite in single precision; a missing value is not."""
    return np.abs(values) > LARGEST
