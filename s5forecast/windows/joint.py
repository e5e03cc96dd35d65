"""Entries of several series observed together, as windows of series side by side."""

from __future__ import annotations

import torch
from torch import Tensor

from s5forecast.data.entries import Series
from s5forecast.data.spec import WindowSpec
from s5forecast.windows.regular import Batch, SeriesStore


class JointStore:
    """Entries with a target ``[D, T]``, from which windows of all D series are gathered together.

    The batch has a row for each series of each window, those of a window one after another: ``[B * D, ...]``. What
    the series share, the calendar and covariates, has a row for each window: ``[B, ...]``.

    Arguments:
        series: D for each entry, the first with the covariates of all.
        spec: what the windows hold, with its ``target_dim``.
    """

    def __init__(self, series: list[Series], spec: WindowSpec) -> None:
        self.spec, self.series = spec, series[:: spec.dim]
        bare = spec._replace(num_feat_dynamic_real=0, num_past_feat_dynamic_real=0)
        self._each = SeriesStore([one._replace(covariates=one.covariates[:, :0]) for one in series], bare)
        self._shared = SeriesStore(self.series, spec)
        self.length = self._shared.length
        self.counts = self._each.counts

    def __len__(self) -> int:
        return len(self.series)

    def gather(self, index: Tensor, cut: Tensor) -> Batch:
        """The windows of entries ``index [B]`` whose horizon begins at position ``cut [B]``."""
        D = self.spec.dim
        rows = (index[:, None] * D + torch.arange(D)).flatten()
        shared = self._shared.gather(index, cut)
        return self._each.gather(rows, cut.repeat_interleave(D))._replace(
            calendar=shared.calendar, covariates=shared.covariates
        )
