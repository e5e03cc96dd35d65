"""Windows of irregular series, gathered by index: a number of observations, and the query times that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.irregular_entries import IrregularSeries
from s5forecast.data.spec import IrregularSpec
from s5forecast.windows.calendar import clock_features
from s5forecast.windows.counts import are_counts
from s5forecast.windows.horizon import Horizon


class IrregularBatch(NamedTuple):
    """B windows of up to L observations, padded on the left, and Q query times; times are in base units."""

    values: Tensor  # [B, L, D] float64, not normalized, 0 where not observed
    mask: Tensor  # [B, L + Q, D] float32, 1 where observed; at the query times the mask of the target
    dt: Tensor  # [B, L] float64, time since the previous observation; 0 for padding, NaN at the first of a series
    age: Tensor  # [B, L, D] float64, time since the previous value of each variable; NaN if there is none
    last: Tensor  # [B, D] float64, last observed value of each variable; NaN if there is none
    last_age: Tensor  # [B, D] float64, time from that value to the last observation; NaN if there is none
    elapsed: Tensor  # [B, Q] float64, time from the last observation to the query times
    covariates: Tensor  # [B, L + Q, F] float32, not normalized, NaN where missing
    calendar: Tensor  # [B, L + Q, C] float32
    static_real: Tensor  # [B, F] float32
    static_cat: Tensor  # [B, F] int64
    target: Tensor  # [B, Q, D] float64, 0 where not observed
    counts: Tensor  # [B, 1, D] bool, whether the history consists of non-negative integers

    @property
    def context_length(self) -> int:
        """Number of observations before the query times, L."""
        return self.values.shape[1]


class IrregularStore:
    """Concatenated irregular series, from which windows are gathered.

    Args:
        series: checked entries, see :func:`~s5forecast.data.irregular_entries.read_irregular`.
        spec: contents of the windows.
    """

    def __init__(self, series: list[IrregularSeries], spec: IrregularSpec) -> None:
        self.spec, self.series, self.num_draws = spec, series, spec.max_queries
        self.length = torch.tensor([len(one.time) for one in series])
        self.begin = torch.cumsum(self.length, 0) - self.length
        self.time = _concatenated([one.time for one in series])
        self.clock = _concatenated([one.instants.clock for one in series])
        values = _concatenated([one.target for one in series])
        self.mask = ~values.isnan()
        self.values = values.nan_to_num(0.0)
        self.covariates = _concatenated([one.covariates for one in series])
        self.static_real = torch.stack([torch.from_numpy(one.static_real) for one in series])
        self.static_cat = torch.stack([torch.from_numpy(one.static_cat) for one in series])
        self.counts = torch.stack([are_counts(torch.from_numpy(one.target)) for one in series])
        self.gap = _concatenated([one.instants.gaps() for one in series])
        self._first = self.begin.repeat_interleave(self.length)  # first row of the series of each row
        self._seen = self._last_seen()
        self._reach = self._rows_within_reach()
        self._last_cut = torch.tensor([_last_cut(one.time, spec) for one in series])
        self._fixed = torch.tensor([one.cut or 0 for one in series])  # 0 if the cut is not fixed
        owner, self._cuts = self._training_cuts()
        self._cut_count = torch.bincount(owner, minlength=len(series))
        self._cut_begin = torch.cumsum(self._cut_count, 0) - self._cut_count

    def __len__(self) -> int:
        return len(self.series)

    def median_gap(self) -> float:
        """Median time between neighboring observations over all series; 1 if no series has two observations."""
        gaps = self.gap[~self.gap.isnan()]
        return float(gaps.median()) if len(gaps) else 1.0

    def trainable(self) -> Tensor:
        """Indices of the series that have an observation within the horizon after another.

        Raises:
            ValueError: if there are none.
        """
        index = torch.nonzero(self._cut_count).squeeze(-1)
        if not len(index):
            raise ValueError(
                "no series has an observation within the horizon after another one, so there is no training window; "
                "give a longer horizon or history"
            )
        return index

    def num_cuts(self, index: Tensor) -> Tensor:
        """Number of training cuts ``[B]`` of series ``index [B]``."""
        return self._cut_count[index]

    def training_cuts(self, index: Tensor, share: Tensor) -> Tensor:
        """Training cuts ``[B]`` of series ``index [B]``, at a fraction ``share [B]`` in [0, 1) of all their cuts."""
        return self._cuts[self._cut_begin[index] + (share * self._cut_count[index]).long()]

    def gather_ahead(self, index: Tensor) -> IrregularBatch:
        """Windows of series ``index [B]`` at the end of their history, with the query times of their entries."""
        chosen = [self.series[i] for i in index]
        query = _padded([one.query for one in chosen])
        none = torch.zeros(*query.shape, self.spec.target_dim)
        return self._batch(
            index,
            self.length[index],
            elapsed=query.nan_to_num(0.0),
            covariates=_padded([one.query_covariates for one in chosen]),
            clock=_padded([one.query_clock for one in chosen]).nan_to_num(0.0),
            target=none.double(),
            mask=none.bool(),
        )

    def horizons(self) -> list[Horizon]:
        """The query times of each series."""
        return [
            Horizon(one.item_id, one.info, one.start, one.target.dtype, one.query_time, one.univariate)
            for one in self.series
        ]

    def items_with_few_values(self) -> list[Any]:
        """None: networks of irregular series expect few observations, and count a typical one in each scale."""
        return []

    def last_cuts(self) -> tuple[Tensor, Tensor]:
        """Series with observations on both sides of the cut before the last horizon, and this cut, ``[B]`` each."""
        cut = torch.where(self._fixed > 0, self._fixed, self._last_cut)
        series = torch.nonzero(cut > 0).squeeze(-1)
        series = series[self._ahead(series, cut[series]) > 0]
        return series, cut[series]

    def gather(self, index: Tensor, cut: Tensor, draws: Tensor | None = None) -> IrregularBatch:
        """Windows of series ``index [B]`` that end after ``cut [B]`` rows; the next observations are the queries.

        If more than ``max_queries`` observations follow within the horizon, they are divided into ``max_queries``
        stretches and one is taken from each: at the fractions ``draws [B, max_queries]`` of their lengths, by
        default in the middle.
        """
        ahead = self._ahead(index, cut)
        count = ahead.clamp(max=self.spec.max_queries)
        slots = torch.arange(max(1, int(count.max())))
        share = 0.5 if draws is None else draws[:, : len(slots)]
        stretch = (ahead / count.clamp(min=1)).unsqueeze(-1)
        position = ((slots + share) * stretch).long().clamp(max=(ahead - 1).clamp(min=0).unsqueeze(-1))
        queried = slots < count.unsqueeze(-1)
        row = torch.where(queried, (self.begin[index] + cut).unsqueeze(-1) + position, self.begin[index].unsqueeze(-1))
        last = (self.begin[index] + cut - 1).unsqueeze(-1)
        mask = self.mask[row] & queried.unsqueeze(-1)
        return self._batch(
            index,
            cut,
            elapsed=torch.where(queried, self.time[row] - self.time[last], 0.0),
            covariates=self._known_ahead(self.covariates[row]),
            clock=self.clock[row],
            target=self.values[row] * mask,
            mask=mask,
        )

    def _batch(
        self,
        index: Tensor,
        cut: Tensor,
        *,
        elapsed: Tensor,
        covariates: Tensor,
        clock: Tensor,
        target: Tensor,
        mask: Tensor,
    ) -> IrregularBatch:
        # Windows need not be longer than the longest history, because padding has no effect.
        L = min(self.spec.context_length, int(cut.max()))
        position = cut.unsqueeze(-1) + torch.arange(-L, 0)
        present = position >= 0
        row = self.begin[index].unsqueeze(-1) + position.clamp(min=0)
        observed = self.mask[row] & present.unsqueeze(-1)
        seen = self._seen[row[:, -1]]
        last, last_age = self.values.gather(0, seen.clamp(min=0)), self.time[row[:, -1:]] - self.time[seen]
        return IrregularBatch(
            values=self.values[row] * observed,
            mask=torch.cat([observed, mask], dim=1).float(),
            dt=torch.where(present, self.gap[row], 0.0),
            age=torch.where(present.unsqueeze(-1), self._age(row), torch.nan),
            last=last.where(seen >= 0, torch.nan),
            last_age=last_age.where(seen >= 0, torch.nan),
            elapsed=elapsed,
            covariates=torch.cat([self.covariates[row].where(present.unsqueeze(-1), torch.nan), covariates], dim=1),
            calendar=clock_features(self.spec.cycles, torch.cat([self.clock[row], clock], dim=1)),
            static_real=self.static_real[index],
            static_cat=self.static_cat[index],
            target=target,
            counts=self.counts[index].unsqueeze(1),
        )

    def _training_cuts(self) -> tuple[Tensor, Tensor]:
        """Series and position of each cut that has queries, after at least half of the history or a full context."""
        series = torch.arange(len(self)).repeat_interleave(self.length)
        cut = torch.arange(1, len(self.time) + 1) - self.begin[series]
        lowest = (self._last_cut // 2).clamp(1, self.spec.context_length)
        fixed = self._fixed[series]
        chosen = torch.where(fixed > 0, cut == fixed, cut >= lowest[series]) & (self._reach > 0)
        return series[chosen], cut[chosen]

    def _age(self, row: Tensor) -> Tensor:
        """Time from the previous value of each variable to a row, ``[..., D]``."""
        seen = self._seen[(row - 1).clamp(min=0)]
        known = (seen >= 0) & (row > self._first[row]).unsqueeze(-1)
        return (self.time[row].unsqueeze(-1) - self.time[seen]).where(known, torch.nan)

    def _last_seen(self) -> Tensor:
        """Last row of the series with a value of each variable, up to each row; -1 if there is none, ``[R, D]``."""
        rows = torch.arange(len(self.time)).unsqueeze(-1)
        seen = torch.where(self.mask, rows, -1).cummax(0).values
        return torch.where(seen >= self._first.unsqueeze(-1), seen, -1)

    def _rows_within_reach(self) -> Tensor:
        """Number of following rows within the horizon of each row, ``[R]``."""
        if self.spec.horizon is None:
            ahead = [np.arange(len(one.time))[::-1].copy() for one in self.series]
        else:
            ahead = [
                np.searchsorted(one.time, one.time + self.spec.horizon, side="right") - np.arange(len(one.time)) - 1
                for one in self.series
            ]
        reach = _concatenated(ahead)
        return reach if self.spec.prediction_length is None else reach.clamp(max=self.spec.prediction_length)

    def _ahead(self, index: Tensor, cut: Tensor) -> Tensor:
        return self._reach[self.begin[index] + cut - 1]

    def _known_ahead(self, covariates: Tensor) -> Tensor:
        covariates[..., self.spec.features.num_known :] = torch.nan
        return covariates


def _last_cut(time: np.ndarray, spec: IrregularSpec) -> int:
    """Number of rows before the last horizon, at least 1 and less than all; a short series has a shorter horizon."""
    cut = len(time) - 1
    if spec.horizon is not None:
        cut = int(np.searchsorted(time, time[-1] - spec.horizon, side="right"))
    if spec.prediction_length is not None:
        cut = max(cut if spec.horizon is not None else 0, len(time) - spec.prediction_length)
    return min(max(cut, 1), len(time) - 1)


def _concatenated(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))


def _padded(arrays: Sequence[np.ndarray]) -> Tensor:
    """Stack the rows of several series, ``[B, Q, ...]``, padded with NaN at the end."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=torch.nan)
