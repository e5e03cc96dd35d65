"""Windows of several series that are observed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from s5forecast.data.series import Series
from s5forecast.data.spec import WindowSpec
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.regular import Batch, SeriesStore

# Field of the info of an entry that names its series.
ITEM_IDS = "item_ids"
# Field of the info of an entry with the numbers of series that were left out, and have no observed value.
ABSENT = "absent"


class JointStore:
    """Entries with a target ``[D, T]``, from which windows of all D series are gathered together.

    A batch has one row for each series of each window, ``[B * D, ...]``, and the series of a window are adjacent.
    Calendar and covariates, which the series share, have one row for each window, ``[B, ...]``.

    Args:
        series: D series for each entry; the first one has the covariates of all.
        spec: contents of the windows, with a ``target_dim``.
    """

    num_draws = 0

    def __init__(self, series: Sequence[Series], spec: WindowSpec) -> None:
        self._spec, self.series = spec, series[:: spec.dim]
        bare = [one._replace(covariates=one.covariates[:, :0]) for one in series]
        self._each = SeriesStore(bare, spec._replace(features=spec.features.without_covariates()))
        self._shared = SeriesStore(self.series, spec)
        self.length = self._shared.length
        self.counts = self._each.counts

    def __len__(self) -> int:
        return len(self.series)

    @property
    def spec(self) -> WindowSpec:
        """Contents of the windows."""
        return self._spec

    @spec.setter
    def spec(self, spec: WindowSpec) -> None:
        self._spec = self._shared.spec = spec
        self._each.spec = spec._replace(features=spec.features.without_covariates())

    def items_with_few_values(self) -> list[Any]:
        """The series of each entry whose last windows have too few observed values.

        A series is named by ``info["item_ids"]`` of its entry, by default by the ``item_id`` of the entry or the
        position among the series of all entries.
        """
        found = []
        for position in self._each.positions_with_few_values():
            number, dimension = divmod(position, self.spec.dim)
            entry = self.series[number]
            info = entry.info if isinstance(entry.info, dict) else {}
            if dimension in info.get(ABSENT, ()):
                continue
            names = info.get(ITEM_IDS)
            item = position if entry.item_id is None else entry.item_id
            found.append(item if names is None else names[dimension])
        return found

    def trainable(self) -> Tensor:
        """As :meth:`SeriesStore.trainable`, for entries."""
        return self._shared.trainable()

    def num_cuts(self, index: Tensor) -> Tensor:
        """As :meth:`SeriesStore.num_cuts`, for entries."""
        return self._shared.num_cuts(index)

    def training_cuts(self, index: Tensor, share: Tensor) -> Tensor:
        """As :meth:`SeriesStore.training_cuts`, for entries."""
        return self._shared.training_cuts(index, share)

    def last_cuts(self) -> tuple[Tensor, Tensor]:
        """As :meth:`SeriesStore.last_cuts`, for entries."""
        return self._shared.last_cuts()

    def gather_ahead(self, index: Tensor) -> Batch:
        """Windows of entries ``index [B]`` whose horizon follows their last step."""
        return self.gather(index, self.length[index])

    def horizons(self) -> Sequence[Horizon]:
        """The horizon that follows each entry."""
        return self._shared.horizons()

    def gather(self, index: Tensor, cut: Tensor, draws: Tensor | None = None) -> Batch:
        """Windows of entries ``index [B]`` whose horizon begins at position ``cut [B]``; ``draws`` are unused."""
        D = self.spec.dim
        rows = (index[:, None] * D + torch.arange(D)).flatten()
        shared = self._shared.gather(index, cut)
        return self._each.gather(rows, cut.repeat_interleave(D))._replace(
            calendar=shared.calendar, covariates=shared.covariates
        )
