"""Windows of regular series on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.mapped_entries import MappedSeries
from s5forecast.data.series import SeriesArrays
from s5forecast.windows.counts import are_counts
from s5forecast.windows.normalization import ObservedValues
from s5forecast.windows.regular import SeriesStore, mean_weight


class MappedStore(SeriesStore):
    """Training series on disk; a window is read when it is gathered.

    Windows equal those of a :class:`SeriesStore`, except for the rounding of the mean weight.

    Args:
        series: checked series.
        spec: contents of the windows.
    """

    series: MappedSeries

    def _load(self, series: Any) -> None:
        found = [_Summary(block) for block in series.blocks()]
        order = torch.from_numpy(series.entries.order)
        self.length = torch.from_numpy(series.lengths)
        self.counts = torch.cat([one.counts for one in found])[order]
        self.static_real = torch.cat([one.static_real for one in found])[order]
        self.static_cat = torch.cat([one.static_cat for one in found])[order]
        self._mean = mean_weight(
            torch.stack([one.weight for one in found]).sum(), torch.stack([one.observed for one in found]).sum()
        )

    def _last_observed(self, index: Tensor, cut: Tensor) -> tuple[Tensor, Tensor]:
        values, end = torch.from_numpy(np.concatenate(self.series.begins_of(index.numpy(), cut.numpy()))), cut.cumsum(0)
        mask = ~values.isnan()
        return ObservedValues(values, mask).last(end - cut, end, self.spec.context_length)

    def _beside(self, index: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.series.steps(index.numpy(), position.numpy())
        within = position < self.length[index, None]
        covariates = torch.from_numpy(found.covariates).where(within[..., None], torch.nan)
        if found.weight is None:
            return torch.from_numpy(found.time), covariates, within.float()
        weight = torch.from_numpy(np.nan_to_num(found.weight)).float().double() / self._mean
        return torch.from_numpy(found.time), covariates, (weight * within).float()

    def _at(self, index: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.from_numpy(self.series.target(index.numpy(), position.numpy()))
        within = (position >= 0) & (position < self.length[index, None])
        mask = ~values.isnan() & within
        return values.nan_to_num(0.0).double() * mask, mask.double()


class _Summary:
    """What is kept in memory of a block of series."""

    def __init__(self, arrays: SeriesArrays) -> None:
        begins, values = arrays.bounds[:-1], torch.from_numpy(arrays.target)
        mask = ~values.isnan()
        are_count = are_counts(values.unsqueeze(0)).numpy()
        self.counts = torch.from_numpy(np.logical_and.reduceat(are_count, begins))
        self.static_real = torch.from_numpy(arrays.static_real)
        self.static_cat = torch.from_numpy(arrays.static_cat)
        self.weight = (torch.from_numpy(arrays.weight).double() * mask).sum()
        self.observed = mask.sum()
