"""Batches of training windows and of last windows, drawn from a store of series."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.entries import read_series
from s5forecast.data.irregular_entries import read_irregular
from s5forecast.data.mapped_entries import MappedSeries
from s5forecast.data.spec import IrregularSpec
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.irregular import IrregularStore
from s5forecast.windows.joint import ABSENT, JointStore
from s5forecast.windows.mapped import MappedStore
from s5forecast.windows.prefetch import Prefetched
from s5forecast.windows.regular import SeriesStore

BatchT = TypeVar("BatchT", bound=tuple)
BatchT_co = TypeVar("BatchT_co", bound=tuple, covariant=True)


class WindowStore(Protocol[BatchT_co]):
    """Regular, aligned or irregular series, from which windows are gathered."""

    spec: Any
    length: Tensor  # [S] steps or observations of each entry
    counts: Tensor  # whether each series consists of non-negative integers
    num_draws: int  # random numbers that a training window takes

    @property
    def series(self) -> Sequence[Any]:
        """One checked series for each entry."""

    def __len__(self) -> int: ...

    def trainable(self) -> Tensor:
        """Indices of the entries that have a training window; raises ValueError if there are none."""

    def num_cuts(self, index: Tensor) -> Tensor:
        """Number of training cuts ``[B]`` of entries ``index [B]``, at least 1 for those of :meth:`trainable`."""

    def training_cuts(self, index: Tensor, share: Tensor) -> Tensor:
        """Training cuts ``[B]`` of entries ``index [B]``, at a fraction ``share [B]`` in [0, 1) of all their cuts."""

    def last_cuts(self) -> tuple[Tensor, Tensor]:
        """Entries with a known last horizon, and the cut before it, ``[B]`` each."""

    def gather(self, index: Tensor, cut: Tensor, draws: Tensor | None = None) -> BatchT_co:
        """Windows of entries ``index [B]`` whose horizon begins at ``cut [B]``.

        Args:
            index, cut: entries and cuts.
            draws: random numbers in [0, 1) that choose the queries, ``[B, num_draws]``.
        """

    def gather_ahead(self, index: Tensor) -> BatchT_co:
        """Windows of entries ``index [B]`` whose horizon is to be forecast."""

    def horizons(self) -> Sequence[Horizon]:
        """The horizon of each entry that is to be forecast."""

    def items_with_few_values(self) -> list[Any]:
        """Series whose last windows have too few observed values to be normalized by them."""


class Drawn(NamedTuple, Generic[BatchT]):
    """Training windows that were drawn, and are not gathered yet."""

    store: WindowStore[BatchT]
    entry: Tensor  # [B]
    share: Tensor  # [B] position of the cut, as a fraction of the cuts of an entry
    draws: Tensor  # [B, num_draws]

    def every(self, step: int, first: int) -> Drawn[BatchT]:
        """Every ``step``-th window from the ``first`` one on."""
        chosen = slice(first, None, step)
        return Drawn(self.store, self.entry[chosen], self.share[chosen], self.draws[chosen])


class TrainingWindows(Generic[BatchT]):
    """Random batches of windows; the cut of a window is drawn uniformly from those of its series.

    Windows of series on disk are gathered by a thread while the previous batches are used.
    Several processes draw the same ``batch_size`` × ``processes`` windows for each step, and each process gathers its
    own share of them, see :meth:`share`.

    Args:
        store: the training series.
        batch_size: windows per batch.
        num_batches: batches per epoch.
        generator: random number generator.
        sampling: a key of ``SAMPLINGS``: ``"series"`` draws all series equally often, ``"windows"`` in proportion to
            their training windows, so that all windows are drawn equally often.
        prior: store of synthetic series, from which a fraction ``prior_share`` of the windows is drawn. :meth:`draw`
            does not use them.

    Raises:
        ValueError: if no series has a training window.
    """

    def __init__(
        self,
        store: WindowStore[BatchT],
        *,
        batch_size: int,
        num_batches: int,
        generator: torch.Generator,
        sampling: str = "series",
        prior: WindowStore[BatchT] | None = None,
        prior_share: float = 0.0,
    ) -> None:
        self.store, self.usable = store, store.trainable()
        self.sampling = sampling
        self.prior, self.prior_share = prior, prior_share
        self.batch_size, self.num_batches, self.generator = batch_size, num_batches, generator
        self.rank, self.processes = 0, 1
        self._ahead: Prefetched[BatchT] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # The state of a generator as an array, because torch cannot send a generator to a spawned process.
        return {**vars(self), "generator": self.generator.get_state().numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.generator = torch.Generator()
        self.generator.set_state(torch.from_numpy(state["generator"]))

    @cached_property
    def ends(self) -> Tensor:
        """Running total of the training windows of the usable series."""
        return self.store.num_cuts(self.usable).cumsum(0)

    def share(self, rank: int, processes: int) -> None:
        """Yield the windows of one of several processes, whose generators have the same state."""
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[BatchT]:
        batches = (self._step() for _ in range(self.num_batches))
        if not isinstance(self.store, MappedStore):
            yield from batches
            return
        self.close()
        self._ahead = Prefetched(batches, self.generator)
        with closing(self._ahead) as ahead:
            yield from ahead

    def close(self) -> None:
        """End the thread of an iteration; the generator is then in the state after the last batch that was used."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None

    def draw(self, count: int) -> BatchT:
        """Draw ``count`` windows of the training series."""
        return _gathered(self._drawn(count))

    def _step(self) -> BatchT:
        """The share of this process in the windows of a step: every ``processes``-th of them."""
        count = self.batch_size * self.processes
        drawn = self._drawn_of_both(count) if self.prior is not None else [self._drawn(count)]
        found, first = list[BatchT](), self.rank
        for windows in drawn:
            own = windows.every(self.processes, first)
            first = (first - len(windows.entry)) % self.processes
            if len(own.entry):
                found.append(_gathered(own))
        return found[0] if len(found) == 1 else type(found[0])(*map(torch.cat, zip(*found, strict=True)))

    def _drawn_of_both(self, count: int) -> list[Drawn[BatchT]]:
        """Windows of the training series and of synthetic series."""
        assert self.prior is not None
        of_prior = int((torch.rand(count, generator=self.generator) < self.prior_share).sum())
        synthetic = torch.randint(len(self.prior), (of_prior,), generator=self.generator)
        further = self._with_cuts(self.prior, synthetic)
        return [self._drawn(count - of_prior), further]

    def _drawn(self, count: int) -> Drawn[BatchT]:
        position = SAMPLINGS[self.sampling](self, count)
        return self._with_cuts(self.store, self.usable[position])

    def _with_cuts(self, store: WindowStore[BatchT], entry: Tensor) -> Drawn[BatchT]:
        count = len(entry)
        share = torch.rand(count, generator=self.generator, dtype=torch.float64)
        return Drawn(store, entry, share, torch.rand(count, store.num_draws, generator=self.generator))


def draw_by_series(windows: TrainingWindows, count: int) -> Tensor:
    """Positions of ``count`` random usable series, each with the same probability."""
    return torch.randint(len(windows.usable), (count,), generator=windows.generator)


def draw_by_windows(windows: TrainingWindows, count: int) -> Tensor:
    """Positions of ``count`` random usable series, in proportion to their training windows."""
    window = torch.randint(int(windows.ends[-1]), (count,), generator=windows.generator)
    return torch.searchsorted(windows.ends, window, right=True)


SAMPLINGS = {"series": draw_by_series, "windows": draw_by_windows}


class LastWindows(Generic[BatchT]):
    """Batches of the last window of every series.

    Args:
        store: the series.
        batch_size: windows per batch.
        known: whether the horizon is the last known one, for validation; otherwise it is the one to forecast.
    """

    def __init__(self, store: WindowStore[BatchT], *, batch_size: int, known: bool) -> None:
        self.store, self.batch_size = store, batch_size
        self.cut: Tensor | None = None
        self.index = torch.arange(len(store))
        if known:
            self.index, self.cut = store.last_cuts()
        self.own, self.padded = torch.arange(len(self.index)), False

    def share(self, rank: int, processes: int) -> None:
        """Yield the windows of one of several processes, which have the same number of batches.

        A process with one window less repeats a window without observed values in its horizon.
        """
        self.own = torch.arange(len(self.index))[rank::processes]
        self.padded = len(self.own) < -(-len(self.index) // processes)
        if self.padded:
            self.own = torch.cat([self.own, self.own.new_zeros(1)])

    def __len__(self) -> int:
        return -(-len(self.own) // self.batch_size)

    def __iter__(self) -> Iterator[BatchT]:
        for begin in range(0, len(self.own), self.batch_size):
            own = self.own[begin : begin + self.batch_size]
            index = self.index[own]
            batch = self.store.gather_ahead(index) if self.cut is None else self.store.gather(index, self.cut[own])
            yield _without_last(batch, len(own)) if self.padded and begin + len(own) == len(self.own) else batch


def _gathered(drawn: Drawn[BatchT]) -> BatchT:
    return drawn.store.gather(drawn.entry, drawn.store.training_cuts(drawn.entry, drawn.share), drawn.draws)


def _without_last(batch: Any, count: int) -> Any:
    """A batch of ``count`` windows without observed values in the horizon of the last one."""
    mask = batch.mask.clone()
    mask[-(len(mask) // count) :, -batch.target.shape[1] :] = 0
    return batch._replace(mask=mask)


def chunks(dataset: Iterable[dict[str, Any]], size: int) -> Iterator[Sequence[dict[str, Any]]]:
    """At most ``size`` entries at a time; slices of a sequence, so that the entries of a frame are not created."""
    if isinstance(dataset, Sequence):
        for begin in range(0, len(dataset), size):
            yield dataset[begin : begin + size]
        return
    entries = iter(dataset)
    while chunk := list(islice(entries, size)):
        yield chunk


def read_store(entries: Iterable[dict[str, Any]], spec: Any, *, forecast: bool) -> WindowStore[Any]:
    """Check entries and store them, to gather the windows that ``spec`` describes.

    Args:
        entries: GluonTS entries, each with ``target_dim`` series if the spec has a ``target_dim``.
        spec: contents of the windows, a ``WindowSpec`` or an ``IrregularSpec``.
        forecast: whether the entries have the known covariates or query times of the horizon.

    Raises:
        ValueError: for an invalid entry, naming the series, the field and the fix; for an empty dataset.
    """
    if isinstance(spec, IrregularSpec):
        return IrregularStore(read_irregular(entries, spec, forecast=forecast), spec)
    rows = entries if spec.target_dim is None else _rows(entries, spec.target_dim)
    series = read_series(rows, spec, forecast=forecast, observed=spec.target_dim is None)
    if not series:
        raise ValueError("the dataset is empty; pass at least one series")
    if isinstance(series, MappedSeries):
        return MappedStore(series, spec)
    return SeriesStore(series, spec) if spec.target_dim is None else JointStore(series, spec)


def _rows(entries: Iterable[dict[str, Any]], dim: int) -> Iterator[dict[str, Any]]:
    """Split each entry into one entry per series; errors name the dimension of the series."""
    for position, entry in enumerate(entries):
        target = np.asarray(entry.get("target", ()))
        if target.ndim != 2 or len(target) != dim:
            raise ValueError(
                f"series {entry.get('item_id', position)!r}: target must have shape ({dim}, T), target_dim={dim}, got "
                f"{target.shape}; group aligned series with GluonTS's MultivariateGrouper"
            )
        info = entry.get("info")
        absent = info.get(ABSENT, ()) if isinstance(info, dict) else ()
        for number, values in enumerate(target):
            unseen = not len(values) or np.asarray(values != values).all()
            if unseen and number not in absent:
                raise ValueError(
                    f"series {entry.get('item_id', position)!r}: dimension {number} of target has no observed value; "
                    "remove it or add its history"
                )
            yield {**entry, "target": values}
