"""Windows of regular series, gathered by index from concatenated series."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.series import Series, SeriesArrays
from s5forecast.data.spec import WindowSpec
from s5forecast.windows.calendar import lag_offsets, window_calendar
from s5forecast.windows.counts import are_counts
from s5forecast.windows.horizon import Horizon, Horizons
from s5forecast.windows.normalization import Normalization, ObservedValues, fewest_observed

# Static features that describe the window: log(scale) and loc / scale.
WINDOW_STATICS = 2


class Batch(NamedTuple):
    """Normalized windows of L + H steps; over the horizon, values and mask are the target, not an input."""

    values: Tensor  # [B, L + H] float32, 0 where not observed
    mask: Tensor  # [B, L + H] float32, 1 where observed
    lags: Tensor  # [B, L + H, K] float32, 0 where not observed
    lag_mask: Tensor  # [B, L + H, K] float32
    calendar: Tensor  # [B, L + H, F] float32
    covariates: Tensor  # [B, L + H, F] float32, not normalized, NaN where not observed
    static_real: Tensor  # [B, F] float32: not normalized, then log(scale) and loc / scale
    static_cat: Tensor  # [B, F] int64
    loc: Tensor  # [B, 1] float64: values = loc + scale * normalized values
    scale: Tensor  # [B, 1] float64
    past: Tensor  # [B, L] float64, not normalized, 0 where not observed
    target: Tensor  # [B, H] float64, not normalized, 0 where not observed
    level: Tensor  # [B, 1] float64, mean absolute value, 1 if it is 0
    counts: Tensor  # [B, 1] bool, whether the history consists of non-negative integers
    weight: Tensor  # [B, L + H] float32, weight of each step in the training loss

    def context(self) -> Batch:
        """The steps before the horizon."""
        L = self.past.shape[1]
        along_time = ("values", "mask", "lags", "lag_mask", "calendar", "covariates", "weight")
        return self._replace(**{name: getattr(self, name)[:, :L] for name in along_time})


class SeriesStore:
    """Concatenated series, each followed by its horizon, from which windows are gathered.

    Args:
        series: checked series, see :func:`s5forecast.data.entries.read_series`; ``SeriesArrays`` are not copied.
        spec: contents of the windows.
    """

    num_draws = 0

    def __init__(self, series: Sequence[Series], spec: WindowSpec) -> None:
        self.spec, self.series = spec, series
        self._load(series)
        H = spec.prediction_length
        self._steps = torch.arange(-spec.context_length, H)
        offsets = lag_offsets(
            torch.tensor(spec.lags, dtype=torch.long), spec.context_length, H, recursive=spec.recursive
        )
        lagged = self._steps[:, None] + offsets
        first = int(torch.cat([self._steps, lagged.flatten()]).min())
        # All steps from the earliest lag to the end of the window, and the positions of the window and of its lags.
        self._reach = torch.arange(first, H)
        self._own = slice(len(self._reach) - len(self._steps), None)
        self._lagged = lagged - first

    def _load(self, series: Sequence[Series]) -> None:
        """Set the attributes that hold the contents of the series."""
        arrays = SeriesArrays.of(series)
        self.length, self.begin = torch.from_numpy(arrays.lengths), torch.from_numpy(arrays.bounds[:-1])
        self.time = torch.from_numpy(arrays.time)
        values = torch.from_numpy(arrays.target)
        self.mask = ~values.isnan()
        self.values = values.nan_to_num(0.0)
        are_count = are_counts(values.unsqueeze(0)).numpy()
        self.counts = torch.from_numpy(np.logical_and.reduceat(are_count, arrays.bounds[:-1]))
        self.covariates = torch.from_numpy(arrays.covariates)
        self.static_real = torch.from_numpy(arrays.static_real)
        self.static_cat = torch.from_numpy(arrays.static_cat)
        self.weight = _relative(torch.from_numpy(arrays.weight).double(), self.mask).float()

    def __len__(self) -> int:
        return len(self.series)

    def trainable(self) -> Tensor:
        """Indices of the series with at least two steps.

        Raises:
            ValueError: if there are none.
        """
        index = torch.nonzero(self.length > 1).squeeze(-1)
        if not len(index):
            raise ValueError("every series has a single step; training needs at least two, so give a longer history")
        return index

    def num_cuts(self, index: Tensor) -> Tensor:
        """Number of training cuts ``[B]`` of series ``index [B]``."""
        lowest, highest = cut_range(self.length[index], self.spec)
        return highest - lowest + 1

    def training_cuts(self, index: Tensor, share: Tensor) -> Tensor:
        """Training cuts ``[B]`` of series ``index [B]``, at a fraction ``share [B]`` in [0, 1) of their range."""
        lowest, highest = cut_range(self.length[index], self.spec)
        return lowest + (share * (highest - lowest + 1)).long()

    def last_cuts(self) -> tuple[Tensor, Tensor]:
        """Series with a known last horizon, and the cut before it, ``[B]`` each."""
        index = torch.nonzero(self.length > 1).squeeze(-1)
        return index, cut_range(self.length[index], self.spec)[1]

    def gather_ahead(self, index: Tensor) -> Batch:
        """Windows of series ``index [B]`` whose horizon follows their last step."""
        return self.gather(index, self.length[index])

    def horizons(self) -> Sequence[Horizon]:
        """The horizon that follows each series."""
        return Horizons(len(self), self._horizon)

    def gather(self, index: Tensor, cut: Tensor, draws: Tensor | None = None) -> Batch:
        """Windows of series ``index [B]`` whose horizon begins at position ``cut [B]``; ``draws`` are unused."""
        spec, L = self.spec, self.spec.context_length
        position = cut[:, None] + self._steps  # [B, L + H]
        reached, seen = self._at(index, cut[:, None] + self._reach)
        values, mask = reached[:, self._own], seen[:, self._own]
        loc, scale, level = self._normalization(index, cut, values[:, :L], mask[:, :L])
        shown, observed = _normalized(reached, seen, loc, scale), seen.float()
        time, covariates, weight = self._beside(index, position)
        return Batch(
            values=shown[:, self._own],
            mask=observed[:, self._own],
            lags=shown[:, self._lagged],
            lag_mask=observed[:, self._lagged],
            calendar=window_calendar(spec, time),
            covariates=self._shown(covariates, position),
            static_real=torch.cat([self.static_real[index], scale.log(), loc / scale], dim=1).float(),
            static_cat=self.static_cat[index],
            loc=loc,
            scale=scale,
            past=values[:, :L],
            target=values[:, L:],
            level=level,
            counts=self.counts[index, None],
            weight=weight,
        )

    def _horizon(self, position: int) -> Horizon:
        one = self.series[position]
        return Horizon(one.item_id, one.info, one.forecast_start, one.target.dtype)

    def items_with_few_values(self) -> list[Any]:
        """Series whose last windows have too few observed values, by their ``item_id`` or their position."""
        few = self.positions_with_few_values()
        return [i if self.series[i].item_id is None else self.series[i].item_id for i in few]

    def positions_with_few_values(self) -> list[int]:
        """Positions of the series whose last windows have too few observed values."""
        index = torch.arange(len(self))
        _, mask = self._at(index, self.length[:, None] + self._steps[: self.spec.context_length])
        return list(torch.nonzero(self._few(mask)).squeeze(-1).tolist())

    def _few(self, mask: Tensor) -> Tensor:
        """Whether windows ``[B, L]`` have too few observed values, ``[B]``."""
        return mask.sum(1) < fewest_observed(self.spec)

    def _normalization(self, index: Tensor, cut: Tensor, past: Tensor, mask: Tensor) -> Normalization:
        """Location, scale and level of windows; of older values for windows with too few observed ones."""
        found = Normalization.of(self.spec.scaling, past, mask)
        few = torch.nonzero(self._few(mask)).squeeze(-1)
        if not len(few):
            return found
        older = self._last_observed(index[few], cut[few])
        return found.replaced(few, Normalization.of_few(self.spec, *older))

    def _last_observed(self, index: Tensor, cut: Tensor) -> tuple[Tensor, Tensor]:
        """The last observed values before cuts ``[B]``, and their mask."""
        begin = self.begin[index]
        return self._observed.last(begin, begin + cut, self.spec.context_length)

    @cached_property
    def _observed(self) -> ObservedValues:
        return ObservedValues(self.values, self.mask)

    def _beside(self, index: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Time, covariates and weight at ``position [B, T]`` of series ``index [B]``; before it, those of its start."""
        rows = self._row(index, position)
        time = self.time[rows] + self.spec.frequency.multiple * position.clamp(max=0)
        return time, self.covariates[rows], self.weight[rows]

    def _shown(self, covariates: Tensor, position: Tensor) -> Tensor:
        """Covariates; NaN before the series, and over the horizon for covariates that are not known in advance."""
        covariates = covariates.where((position >= 0)[..., None], torch.nan)
        covariates[:, self.spec.context_length :, self.spec.features.num_known :] = torch.nan
        return covariates

    def _row(self, index: Tensor, position: Tensor) -> Tensor:
        begin = self.begin[index].view(-1, *[1] * (position.ndim - 1))
        last = (self.length[index] + self.spec.prediction_length - 1).view_as(begin)
        return begin + torch.minimum(position.clamp(min=0), last)

    def _at(self, index: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Values, float64, and whether they are observed, at ``position [B, ...]`` of series ``index [B]``."""
        rows = self._row(index, position)
        mask = self.mask[rows] & (position >= 0)
        return self.values[rows].double() * mask, mask.double()


def cut_range(length: Tensor, spec: WindowSpec) -> tuple[Tensor, Tensor]:
    """Lowest and highest cut of a training window, ``[B]`` each, for series of ``length [B]`` steps.

    At least half of the usable history, or a full context, precedes a cut. A full horizon follows it if the series is
    long enough.
    """
    highest = torch.maximum(length - spec.prediction_length, torch.ones_like(length))
    highest = torch.where(length > spec.prediction_length, highest, length - 1)
    lowest = torch.clamp(highest // 2, min=1, max=spec.context_length)
    return lowest, highest


def _relative(weight: Tensor, mask: Tensor) -> Tensor:
    """Weights ``[N]`` divided by their mean over the observed steps, so that their unit makes no difference."""
    return weight / mean_weight((weight * mask).sum(), mask.sum())


def mean_weight(total: Tensor, count: Tensor) -> Tensor:
    """Mean of weights with a ``total`` over ``count`` observed steps; 1 if it is 0."""
    mean = total / count.clamp(min=1)
    return torch.where(mean > 0, mean, 1.0)


def _normalized(values: Tensor, mask: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return ((values - loc) / scale * mask).float()
