"""Identity of a forecast: the series, and the steps or times it is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Horizon(NamedTuple):
    """The steps or times for which one series is forecast.

    Args:
        item_id: name of the series.
        info: further information from its entry.
        start: first step of the horizon of a regular series; ``start`` of the entry of an irregular one.
        dtype: of the target of a regular series, which is that of its forecast.
        times: query times of an irregular series as they were given; ``None`` for a regular series.
        univariate: whether the target of an irregular series has one dimension.
    """

    item_id: Any
    info: Any
    start: pd.Period | None
    dtype: Any = np.float32
    times: Any = None
    univariate: bool = True


def at_queries(values: np.ndarray, horizons: Sequence[Horizon]) -> np.ndarray:
    """Values at the query times of all series, the first series first.

    Args:
        values: ``[B, Q, ...]``, with padding behind the last query of each series.
        horizons: of the B series.

    Returns:
        ``[M, ...]`` for M queries. Regular series are not padded, so that their values are returned unchanged.
    """
    if horizons[0].times is None:
        return values
    lengths = np.array([len(one.times) for one in horizons])
    return values[np.arange(values.shape[1]) < lengths[:, None]]
