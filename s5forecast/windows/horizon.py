"""Identity of a forecast: its series, and its steps or times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, overload

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


class Horizons(Sequence[Horizon]):
    """The horizons of all series of a store, created when they are used.

    Args:
        count: number of series.
        create: returns the horizon at a position.
    """

    def __init__(self, count: int, create: Callable[[int], Horizon]) -> None:
        self._count, self._create = count, create

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Horizon: ...
    @overload
    def __getitem__(self, index: slice) -> list[Horizon]: ...
    def __getitem__(self, index: int | slice) -> Horizon | list[Horizon]:
        positions = range(self._count)[index]
        return self._create(positions) if isinstance(positions, int) else list(map(self._create, positions))


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
