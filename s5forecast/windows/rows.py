"""New rows of several series, padded to one length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.spec import WindowSpec
from s5forecast.data.times import NANOSECONDS


class Steps(NamedTuple):
    """M steps of each of S series, pushed to the right; those missing on the left are not there."""

    time: Tensor  # [S, M] int64, base units since 1970, in local time
    values: Tensor  # [S, M] float64, NaN where not observed
    covariates: Tensor  # [S, M, F] float32, NaN where not observed
    there: Tensor  # [S, M] bool

    @classmethod
    def of(cls, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Steps:
        """From time ``[m]``, values ``[m]`` and covariates ``[m, F]`` of each series."""
        longest = max(len(time) for time, _, _ in parts)

        def laid(arrays: list[np.ndarray], empty: float) -> Tensor:
            pads = [((longest - len(x), 0), *[(0, 0)] * (x.ndim - 1)) for x in arrays]
            rows = [np.pad(x, pad, constant_values=empty) for x, pad in zip(arrays, pads, strict=True)]
            return torch.from_numpy(np.stack(rows))

        time, values, covariates = (list(x) for x in zip(*parts, strict=True))
        return cls(
            laid([x.astype(np.int64) for x in time], 0),
            laid([x.astype(np.float64) for x in values], np.nan),
            laid([x.astype(np.float32) for x in covariates], np.nan),
            laid([np.ones(len(x), dtype=bool) for x in time], False),
        )


def look_back(spec: WindowSpec) -> int:
    """Steps of the past that a window shows: the context, or the longest lag."""
    return max(spec.context_length, *spec.lags, 1)


class Slots(NamedTuple):
    """Where rows of k series stand in arrays ``[k, M, ...]``: pushed to the right, or to the left."""

    series: Tensor  # [R]
    slot: Tensor  # [R]
    shape: tuple[int, int]

    @classmethod
    def of(cls, series: np.ndarray, count: int, *, right: bool) -> Slots:
        lengths = np.bincount(series, minlength=count)
        longest = int(lengths.max())
        slot = np.arange(len(series)) - (np.cumsum(lengths) - lengths)[series]
        if right:
            slot += longest - lengths[series]
        return cls(torch.from_numpy(series), torch.from_numpy(slot), (count, longest))

    def lay(self, rows: np.ndarray, empty: float = 0) -> Tensor:
        """``[R, ...]`` to ``[k, M, ...]``."""
        values = torch.from_numpy(np.ascontiguousarray(rows))
        laid = torch.full((*self.shape, *values.shape[1:]), empty, dtype=values.dtype)
        laid[self.series, self.slot] = values
        return laid

    def there(self) -> Tensor:
        """Where a row stands, bool ``[k, M]``."""
        return self.lay(np.ones(len(self.series), dtype=bool))


def since(time: Tensor, origin: Tensor) -> Tensor:
    """Time from the origin in base units, float64, of exact times."""
    elapsed = time - origin
    return elapsed.double() / NANOSECONDS if elapsed.dtype == torch.int64 else elapsed
