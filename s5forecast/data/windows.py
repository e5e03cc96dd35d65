"""Series laid end to end, and windows gathered from them by index, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.features import calendar_features, lag_offsets
from s5forecast.data.frequency import Frequency
from s5forecast.data.scaling import SCALINGS, masked_mean
from s5forecast.data.series import Series


class WindowSpec(NamedTuple):
    """What a window holds: plain data, saved with a predictor.

    Arguments:
        freq: offset alias of the steps.
        context_length: steps before the forecast, L.
        prediction_length: steps forecast, H.
        lags: distances at which earlier values are shown beside each step, K of them.
        scaling: a key of ``data.scaling.SCALINGS``.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known over the horizon, and not.
        num_feat_static_real, num_feat_static_cat: static features.
        recursive: whether a lag over the horizon may lie within it, as where values are drawn one after another;
            else it is lengthened until it reaches back to the context.
        target_dim: series observed together in each entry, D; none where an entry is one series.
        substeps: steps in place of each step of the training, k; lengths and lags count these.
    """

    freq: str
    context_length: int
    prediction_length: int
    lags: list[int]
    scaling: str = "standard"
    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0
    recursive: bool = False
    target_dim: int | None = None
    substeps: int = 1

    @property
    def dim(self) -> int:
        return self.target_dim or 1

    @property
    def frequency(self) -> Frequency:
        return Frequency.parse(self.freq)

    def calendar(self, time: Tensor) -> Tensor:
        """The cycles that were seen in training, at the ``time [...]`` in base units since 1970, ``[..., F]``."""
        return calendar_features(self.frequency, time, self.substeps)

    def divided(self, substeps: int) -> WindowSpec:
        """The same span of time in steps ``substeps`` times as short.

        Raises:
            ValueError: for a frequency or a scaling that cannot be divided.
        """
        if self.scaling == "increments":
            raise ValueError(
                "scaling='increments', which smooth series get when none is given, takes the scale from the "
                "differences of a step, which are not those of shorter steps; train with scaling='last' or 'standard'"
            )
        return self._replace(
            freq=self.frequency.divided(substeps).alias,
            context_length=substeps * self.context_length,
            prediction_length=substeps * self.prediction_length,
            lags=[substeps * lag for lag in self.lags],
            substeps=substeps * self.substeps,
        )


class Batch(NamedTuple):
    """Windows of L + H steps, normalised. Over the horizon, values and mask are the target, not an input."""

    values: Tensor  # [B, L + H] float32, 0 where not observed
    mask: Tensor  # [B, L + H] float32, 1 where observed
    lags: Tensor  # [B, L + H, K] float32, 0 where not observed
    lag_mask: Tensor  # [B, L + H, K] float32
    calendar: Tensor  # [B, L + H, F] float32
    covariates: Tensor  # [B, L + H, F] float32, as given, NaN where not observed
    static_real: Tensor  # [B, F] float32: as given, then log(scale) and loc / scale
    static_cat: Tensor  # [B, F] int64
    loc: Tensor  # [B, 1] float64: values = loc + scale * normalised values
    scale: Tensor  # [B, 1] float64
    past: Tensor  # [B, L] float64, as given, 0 where not observed
    target: Tensor  # [B, H] float64, likewise
    level: Tensor  # [B, 1] float64, mean absolute value, 1 where that is 0
    counts: Tensor  # [B, 1] bool, whether the history is of whole numbers, none of them negative


class WindowStore(Protocol):
    """Entries of which windows can be gathered."""

    spec: WindowSpec
    series: list[Series]  # one for each entry
    length: Tensor  # [S] steps of each entry
    counts: Tensor  # whether each series is of whole numbers, none of them negative

    def __len__(self) -> int: ...

    def gather(self, index: Tensor, cut: Tensor) -> Batch:
        """The windows of entries ``index [B]`` whose horizon begins at position ``cut [B]``."""


class SeriesStore:
    """Series laid end to end, each followed by the horizon, from which windows are gathered.

    Arguments:
        series: checked series, see :func:`s5forecast.data.series.read_series`.
        spec: what the windows hold.
    """

    def __init__(self, series: list[Series], spec: WindowSpec) -> None:
        self.spec = spec
        self.series = series
        H = spec.prediction_length
        self.length = torch.tensor([len(s.target) for s in series])
        ends = torch.cumsum(self.length + H, 0)
        self.begin = ends - self.length - H
        self.time = torch.cat([torch.from_numpy(s.time) for s in series])
        values = torch.cat([_padded(torch.from_numpy(s.target), H) for s in series])
        self.mask = ~values.isnan()
        self.values = values.nan_to_num(0.0)
        self.counts = torch.tensor([_are_counts(s.target) for s in series])
        self.covariates = torch.cat([torch.from_numpy(s.covariates) for s in series])
        self.static_real = torch.stack([torch.from_numpy(s.static_real) for s in series])
        self.static_cat = torch.stack([torch.from_numpy(s.static_cat) for s in series])
        self._offsets = lag_offsets(torch.tensor(spec.lags), spec.context_length, H, recursive=spec.recursive)
        self._steps = torch.arange(-spec.context_length, H)

    def __len__(self) -> int:
        return len(self.series)

    def gather(self, index: Tensor, cut: Tensor) -> Batch:
        """The windows of series ``index [B]`` whose horizon begins at position ``cut [B]``."""
        spec, L = self.spec, self.spec.context_length
        position = cut[:, None] + self._steps  # [B, L + H]
        values, mask = self._at(index, position)
        loc, scale = SCALINGS[spec.scaling](values[:, :L], mask[:, :L])
        level = masked_mean(values[:, :L].abs(), mask[:, :L])
        lags, lag_mask = self._at(index, position[..., None] + self._offsets)
        rows = self._row(index, position)
        time = self.time[rows] + spec.frequency.multiple * position.clamp(max=0)
        return Batch(
            values=_normalised(values, mask, loc, scale),
            mask=mask.float(),
            lags=_normalised(lags, lag_mask, loc[..., None], scale[..., None]),
            lag_mask=lag_mask.float(),
            calendar=spec.calendar(time),
            covariates=self._covariates(rows, position),
            static_real=torch.cat([self.static_real[index], scale.log(), loc / scale], dim=1).float(),
            static_cat=self.static_cat[index],
            loc=loc,
            scale=scale,
            past=values[:, :L],
            target=values[:, L:],
            level=torch.where(level > 0, level, 1.0),
            counts=self.counts[index, None],
        )

    def _covariates(self, rows: Tensor, position: Tensor) -> Tensor:
        """NaN before the series, and over the horizon for those that are not known ahead."""
        covariates = self.covariates[rows].where((position >= 0)[..., None], torch.nan)
        covariates[:, self.spec.context_length :, self.spec.num_feat_dynamic_real :] = torch.nan
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


class TrainingWindows:
    """Batches of windows at random: a series uniformly, then a cut uniformly.

    Cuts leave a full horizon where the series is long enough; a shorter one is trained on what there is.

    Arguments:
        store: the series.
        batch_size, num_batches: windows of a batch, batches of an epoch.
        generator: source of randomness.
        prior: further series, of which ``prior_share`` of the windows come; :meth:`draw` leaves them out.

    Raises:
        ValueError: if no series has a value before a step that could be forecast.
    """

    def __init__(
        self,
        store: WindowStore,
        *,
        batch_size: int,
        num_batches: int,
        generator: torch.Generator,
        prior: WindowStore | None = None,
        prior_share: float = 0.0,
    ) -> None:
        self.store = store
        self.prior = prior
        self.prior_share = prior_share
        self.batch_size = batch_size
        self.num_batches = num_batches
        self.generator = generator
        self.usable = torch.nonzero(store.length > 1).squeeze(-1)
        if not len(self.usable):
            raise ValueError(
                "no series has two values, one to forecast from and one to learn from; give a longer history"
            )

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.num_batches):
            yield self._mixed(self.batch_size)

    def draw(self, count: int) -> Batch:
        """Windows of the series alone."""
        return self._drawn(self.store, self.usable, count)

    def _mixed(self, count: int) -> Batch:
        if self.prior is None:
            return self.draw(count)
        of_prior = int((torch.rand(count, generator=self.generator) < self.prior_share).sum())
        if of_prior == 0:
            return self.draw(count)
        further = self._drawn(self.prior, torch.arange(len(self.prior)), of_prior)
        if of_prior == count:
            return further
        return Batch(*map(torch.cat, zip(self.draw(count - of_prior), further, strict=True)))

    def _drawn(self, store: WindowStore, usable: Tensor, count: int) -> Batch:
        index = usable[torch.randint(len(usable), (count,), generator=self.generator)]
        lowest, highest = cut_range(store, index)
        share = torch.rand(count, generator=self.generator, dtype=torch.float64)
        return store.gather(index, lowest + (share * (highest - lowest + 1)).long())


class LastWindows:
    """Batches of the last window of every series: of what is to come, or of the last horizon that is known."""

    def __init__(self, store: WindowStore, *, batch_size: int, known: bool) -> None:
        self.store = store
        self.batch_size = batch_size
        self.index = torch.nonzero(store.length > 1).squeeze(-1) if known else torch.arange(len(store))
        self.cut = cut_range(store, self.index)[1] if known else store.length[self.index]

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for index, cut in zip(self.index.split(self.batch_size), self.cut.split(self.batch_size), strict=True):
            yield self.store.gather(index, cut)


def cut_range(store: WindowStore, index: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest cut ``[B]`` of a training window: half the usable history, or a full context, comes before."""
    length, spec = store.length[index], store.spec
    highest = torch.maximum(length - spec.prediction_length, torch.ones_like(length))
    highest = torch.where(length > spec.prediction_length, highest, length - 1)
    lowest = torch.clamp(highest // 2, min=1, max=spec.context_length)
    return lowest, highest


def _are_counts(target: np.ndarray) -> bool:
    observed = target[~np.isnan(target)]
    return bool((observed >= 0).all() and (observed == np.rint(observed)).all())


def _padded(target: Tensor, count: int) -> Tensor:
    return torch.cat([target, target.new_full((count,), torch.nan)])


def _normalised(values: Tensor, mask: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return ((values - loc) / scale * mask).float()
