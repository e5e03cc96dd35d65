"""Order of the rows of long frames."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Largest number of distinct values that are ranked before they are sorted; NumPy sorts 16-bit integers in linear time.
FEW = 2**16


def row_order(times: np.ndarray, codes: np.ndarray) -> np.ndarray | None:
    """Positions that sort rows by series, then by time, and keep the order of equal rows; ``None`` if they are sorted.

    Args:
        times: int64 or float64 ``[R]``.
        codes: position of the series of each row, ``[R]``.
    """
    series = np.diff(codes)
    if ((series > 0) | ((series == 0) & (np.diff(times) >= 0))).all():
        return None
    low, high = (codes % FEW).astype(np.uint16), codes // FEW
    keys = (low, high.astype(np.uint16)) if high.max() < FEW else (codes,)
    return np.lexsort((_ranks(times), *(key for key in keys if key.any())))


def _ranks(times: np.ndarray) -> np.ndarray:
    """Times, or their ranks if few of them are distinct."""
    codes, distinct = pd.factorize(times, sort=True)
    return codes.astype(np.uint16) if len(distinct) <= FEW else times
