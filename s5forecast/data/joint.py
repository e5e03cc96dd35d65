"""Entries of several series observed together, as windows of series side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.series import Series, read_series
from s5forecast.data.windows import Batch, SeriesStore, WindowSpec, WindowStore


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


def read_store(entries: Iterable[dict[str, Any]], spec: WindowSpec, *, forecast: bool) -> WindowStore:
    """The checked entries, each one series or, where the ``spec`` has a ``target_dim``, so many.

    Raises:
        ValueError: as :func:`~s5forecast.data.series.read_series`; for no entry, or one of another dimension.
    """
    rows = entries if spec.target_dim is None else _rows(entries, spec.target_dim)
    series = read_series(rows, spec, forecast=forecast)
    if not series:
        raise ValueError("the dataset is empty; give at least one series")
    return SeriesStore(series, spec) if spec.target_dim is None else JointStore(series, spec)


def _rows(entries: Iterable[dict[str, Any]], dim: int) -> Iterator[dict[str, Any]]:
    """An entry for each series of each; an error in one names its dimension."""
    for position, entry in enumerate(entries):
        target = np.asarray(entry.get("target", ()))
        if target.ndim != 2 or len(target) != dim:
            raise ValueError(
                f"series {entry.get('item_id', position)!r}: target must have shape ({dim}, T), target_dim={dim}, got "
                f"{target.shape}; group aligned series with GluonTS's MultivariateGrouper"
            )
        for number, values in enumerate(target):
            unseen = len(values) and np.asarray(values != values).all()
            if unseen:
                raise ValueError(
                    f"series {entry.get('item_id', position)!r}: dimension {number} of target has no observed value; "
                    "leave it out or give its history"
                )
            yield {**entry, "target": values}
