"""Batches of training windows and of last windows, drawn from a store of series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.entries import Series, read_series
from s5forecast.data.spec import WindowSpec
from s5forecast.windows.irregular import IrregularBatch, IrregularStore
from s5forecast.windows.joint import JointStore
from s5forecast.windows.regular import Batch, SeriesStore


class WindowStore(Protocol):
    """Entries of which windows can be gathered."""

    spec: WindowSpec
    series: list[Series]  # one for each entry
    length: Tensor  # [S] steps of each entry
    counts: Tensor  # whether each series is of whole numbers, none of them negative

    def __len__(self) -> int: ...

    def gather(self, index: Tensor, cut: Tensor) -> Batch:
        """The windows of entries ``index [B]`` whose horizon begins at position ``cut [B]``."""


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


def read_store(entries: Iterable[dict[str, Any]], spec: WindowSpec, *, forecast: bool) -> WindowStore:
    """The checked entries, each one series or, where the ``spec`` has a ``target_dim``, so many.

    Raises:
        ValueError: as :func:`~s5forecast.data.entries.read_series`; for no entry, or one of another dimension.
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


class IrregularWindows:
    """Batches of windows at random: a series uniformly, then one of its cuts uniformly.

    Raises:
        ValueError: if no series has an observation within the horizon after another.
    """

    def __init__(self, store: IrregularStore, *, batch_size: int, num_batches: int, generator: torch.Generator) -> None:
        self.store, self.batch_size, self.num_batches, self.generator = store, batch_size, num_batches, generator
        series, self._cuts = store.cuts()
        if not len(series):
            raise ValueError(
                "no series has an observation within the horizon after another, to learn from; give a longer horizon "
                "or history"
            )
        self.usable, self._count = series.unique_consecutive(return_counts=True)
        self._begin = torch.cumsum(self._count, 0) - self._count

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[IrregularBatch]:
        for _ in range(self.num_batches):
            yield self.draw(self.batch_size)

    def draw(self, count: int) -> IrregularBatch:
        """Windows of the series."""
        drawn = torch.randint(len(self.usable), (count,), generator=self.generator)
        share = torch.rand(count, generator=self.generator, dtype=torch.float64)
        cut = self._cuts[self._begin[drawn] + (share * self._count[drawn]).long()]
        shares = torch.rand(count, self.store.spec.max_queries, generator=self.generator)
        return self.store.gather(self.usable[drawn], cut, shares)


class LastIrregularWindows:
    """Batches of the last window of every series: asked for the times of the entries, or for its last horizon."""

    def __init__(self, store: IrregularStore, *, batch_size: int, known: bool) -> None:
        self.store, self.batch_size, self.known = store, batch_size, known
        self.index, self.cut = torch.arange(len(store)), store.length
        if known:
            self.index, self.cut = store.last_cuts()

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[IrregularBatch]:
        for index, cut in zip(self.index.split(self.batch_size), self.cut.split(self.batch_size), strict=True):
            yield self.store.gather(index, cut) if self.known else self.store.gather_queries(index)
