"""Windows of regular series on disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.mapped_entries import MappedSeries
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
        S, features = len(series), self.spec.features
        self.length = torch.from_numpy(series.lengths)
        self.counts = torch.empty(S, dtype=torch.bool)
        self.static_real = torch.empty(S, features.num_feat_static_real)
        self.static_cat = torch.empty(S, features.num_feat_static_cat, dtype=torch.long)
        weights, observed, end = list[float](), 0, 0
        for block in series.blocks():
            rows = slice(end, end := end + len(block))
            values = torch.from_numpy(block.target)
            mask = ~values.isnan()
            are_count = are_counts(values.unsqueeze(0)).numpy()
            self.counts[rows] = torch.from_numpy(np.logical_and.reduceat(are_count, block.bounds[:-1]))
            self.static_real[rows] = torch.from_numpy(block.static_real)
            self.static_cat[rows] = torch.from_numpy(block.static_cat)
            weights.append(float((torch.from_numpy(block.weight).double() * mask).sum()))
            observed += int(mask.sum())
        order = torch.from_numpy(series.entries.order)
        self.counts, self.static_real, self.static_cat = (
            one[order] for one in (self.counts, self.static_real, self.static_cat)
        )
        self._mean = mean_weight(torch.tensor(weights, dtype=torch.float64).sum(), torch.tensor(observed))

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
