"""Identity of a forecast: its series, and its steps or times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


class Horizon(NamedTuple):
    """The steps or times at which one series is forecast.

    Args:
        item_id: name of the series.
        info: the ``info`` of its entry.
        start: first step of the horizon of a regular series; ``start`` of the entry of an irregular series.
        dtype: type of the target of a regular series, and of its forecast.
        times: query times of an irregular series in their original form; ``None`` for a regular series.
        univariate: whether the target of an irregular series has one dimension.
    """

    item_id: Any
    info: Any
    start: pd.Period | None
    dtype: Any = np.float32
    times: Any = None
    univariate: bool = True


def at_queries(values: np.ndarray, horizons: Sequence[Horizon]) -> np.ndarray:
    """Values at the query times of all series, without padding.

    Args:
        values: values ``[B, Q, ...]``, with padding after the last query of each series.
        horizons: horizon of each of the B series.

    Returns:
        ``[M, ...]`` for M queries, sorted by series. Regular series have no padding; their values are returned
        unchanged.
    """
    if horizons[0].times is None:
        return values
    lengths = np.array([len(one.times) for one in horizons])
    return values[np.arange(values.shape[1]) < lengths[:, None]]
