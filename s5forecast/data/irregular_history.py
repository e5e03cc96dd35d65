"""What is kept of irregular series whose rows are not: enough to show their next rows to the network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.features import clock_features
from s5forecast.data.irregular import NANOSECONDS, Instants, IrregularSpec
from s5forecast.data.irregular_windows import IrregularBatch, IrregularStore


class IrregularRows(NamedTuple):
    """R rows of k series, those of a series one after another in order of time, none without an observed value.

    Times asked for are such rows, too, with a target of no columns.
    """

    items: list[Any]  # [k] names of the series
    series: np.ndarray  # [R] int64, position in items, increasing
    instants: Instants  # of the R rows
    target: np.ndarray  # [R, D] float64, NaN where not observed
    covariates: np.ndarray  # [R, F] float32
    column: str  # what the times are called

    def only(self, kept: Any) -> IrregularRows:
        """Some of the rows, by a mask or a slice."""
        exact, clock, aware = self.instants
        instants = Instants(exact[kept], clock[kept], aware)
        return self._replace(
            series=self.series[kept],
            instants=instants,
            target=self.target[kept],
            covariates=self.covariates[kept],
        )


class Slots(NamedTuple):
    """Where rows of k series stand in arrays ``[k, M, ...]``: pushed to the right, or to the left."""

    series: Tensor  # [R]
    slot: Tensor  # [R]
    shape: tuple[int, int]

    @classmethod
    def of(cls, series: np.ndarray, count: int, *, right: bool) -> Slots:
        lengths = np.bincount(series, minlength=count)
        longest = int(lengths.max())
        slot = np.arange(len(series)) - (np.cumsum(lengths) - lengths)[series]
        if right:
            slot += longest - lengths[series]
        return cls(torch.from_numpy(series), torch.from_numpy(slot), (count, longest))

    def lay(self, rows: np.ndarray, empty: float = 0) -> Tensor:
        """``[R, ...]`` to ``[k, M, ...]``."""
        values = torch.from_numpy(np.ascontiguousarray(rows))
        laid = torch.full((*self.shape, *values.shape[1:]), empty, dtype=values.dtype)
        laid[self.series, self.slot] = values
        return laid

    def there(self) -> Tensor:
        """Where a row stands, bool ``[k, M]``."""
        return self.lay(np.ones(len(self.series), dtype=bool))


class IrregularHistory(NamedTuple):
    """S series up to their last observations. Exact times are nanoseconds, int64, or numbers, float64."""

    time: Tensor  # [S] exact, of the last row; anything where there is none
    aware: Tensor  # [S] bool, whether datetimes have a time zone
    value: Tensor  # [S, D] float64, last of each variable, NaN where never seen
    value_time: Tensor  # [S, D] exact, of these values
    total: Tensor  # [S, D] float64, sum of the values since the window began
    number: Tensor  # [S, D] int64, how many these are
    counts: Tensor  # [S, D] bool, whether all are whole numbers, none of them negative
    static_real: Tensor  # [S, F] float32
    static_cat: Tensor  # [S, F] int64

    @classmethod
    def of(cls, store: IrregularStore, window: IrregularBatch) -> IrregularHistory:
        """That of all series of a store, whose values are counted from the beginning of their last ``window``."""
        exact = [torch.from_numpy(one.instants.exact) for one in store.series]
        rows = [np.arange(len(one.time))[:, None] for one in store.series]
        last = [np.where(np.isnan(one.target), 0, row).max(0) for one, row in zip(store.series, rows, strict=True)]
        return cls(
            time=torch.stack([times[-1] for times in exact]),
            aware=torch.tensor([one.instants.aware for one in store.series]),
            value=window.last,
            value_time=torch.stack([times[row] for times, row in zip(exact, last, strict=True)]),
            total=window.values.sum(1),
            number=window.mask[:, : window.context_length].sum(1).long(),
            counts=window.counts[:, 0],
            static_real=window.static_real,
            static_cat=window.static_cat,
        )

    @classmethod
    def empty(cls, dim: int, static_real: Tensor, static_cat: Tensor, instants: Instants) -> IrregularHistory:
        """Of series that begin with the next row, at times like the ``instants``."""
        S = len(static_real)
        none = torch.zeros(S, dim, dtype=torch.float64)
        time = torch.zeros(S, dim, dtype=torch.int64 if instants.datetimes else torch.float64)
        return cls(
            time=time[:, 0],
            aware=torch.full((S,), instants.aware),
            value=torch.full_like(none, torch.nan),
            value_time=time,
            total=none,
            number=none.long(),
            counts=torch.ones_like(none, dtype=torch.bool),
            static_real=static_real,
            static_cat=static_cat,
        )

    @property
    def begun(self) -> Tensor:
        """Whether there is a row, ``[S]``."""
        return (self.number > 0).any(-1)

    def mean(self) -> Tensor:
        """Of the values since the window began, ``[S, D]``; NaN where there are none."""
        return self.total / self.number

    def last_age(self) -> Tensor:
        """Time from the last value of each variable to the last row, ``[S, D]`` in base units; NaN where never seen."""
        return since(self.time.unsqueeze(-1), self.value_time).where(~self.value.isnan(), torch.nan)

    def followed_by(self, rows: IrregularRows, spec: IrregularSpec) -> tuple[IrregularBatch, IrregularHistory]:
        """The next rows as windows that ask for nothing, and the history with them.

        Arguments:
            rows: of all S series, after the last row of each.
            spec: what windows hold.
        """
        slots = Slots.of(rows.series, len(self.time), right=True)
        there, time = slots.there(), slots.lay(rows.instants.exact)
        target = slots.lay(rows.target, torch.nan)
        observed, values = ~target.isnan(), target.nan_to_num(0.0)
        # What came before the first slot stands in a slot of its own.
        past_time = torch.cat([self.value_time.unsqueeze(1), time.unsqueeze(-1).expand_as(target)], dim=1)
        past_value = torch.cat([self.value.unsqueeze(1), values], dim=1)
        slot = torch.arange(1, time.shape[1] + 1).unsqueeze(-1)
        seen = torch.where(observed, slot, 0).cummax(1).values
        before = torch.cat([torch.zeros_like(seen[:, :1]), seen[:, :-1]], dim=1)
        ever = there.unsqueeze(-1) & ~past_value.gather(1, before).isnan()
        after = self._replace(
            time=time[:, -1],
            value=past_value.gather(1, seen[:, -1:])[:, 0],
            value_time=past_time.gather(1, seen[:, -1:])[:, 0],
            total=self.total + values.sum(1),
            number=self.number + observed.sum(1),
            counts=self.counts & ((values >= 0) & (values == values.round())).all(1),
        )
        none = values[:, :0]
        batch = IrregularBatch(
            values=values,
            mask=observed.float(),
            dt=self._gaps(time, there),
            age=since(time.unsqueeze(-1), past_time.gather(1, before)).where(ever, torch.nan),
            last=after.value,
            last_age=after.last_age(),
            elapsed=none[..., 0],
            covariates=slots.lay(rows.covariates, torch.nan),
            calendar=clock_features(spec.cycles, slots.lay(rows.instants.clock)),
            static_real=self.static_real,
            static_cat=self.static_cat,
            target=none,
            counts=after.counts.unsqueeze(1),
        )
        return batch, after

    def _gaps(self, time: Tensor, there: Tensor) -> Tensor:
        """Time since the row before, ``[S, M]``: 0 where there is no row, NaN at the first of a series."""
        first = there.long().cumsum(1) == 1
        before = torch.where(first, self.time.unsqueeze(1), time.roll(1, dims=1))
        gaps = since(time, before).where(there, 0.0)
        return gaps.masked_fill(first & ~self.begun.unsqueeze(1), torch.nan)


def since(time: Tensor, origin: Tensor) -> Tensor:
    """Time from the origin in base units, float64, of exact times."""
    elapsed = time - origin
    return elapsed.double() / NANOSECONDS if elapsed.dtype == torch.int64 else elapsed
