"""Summary of each series' past, sufficient to encode its next observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.irregular_entries import IrregularSeries
from s5forecast.data.series import Series
from s5forecast.data.spec import IrregularSpec, WindowSpec
from s5forecast.data.times import Instants, IrregularRows
from s5forecast.windows.calendar import clock_features, lag_offsets, window_calendar
from s5forecast.windows.counts import are_counts
from s5forecast.windows.irregular import IrregularBatch
from s5forecast.windows.regular import Batch
from s5forecast.windows.rows import Slots, Steps, look_back, since
from s5forecast.windows.scaling import masked_mean, normalized


class IrregularHistory(NamedTuple):
    """Past of S irregular series. Exact times are int64 nanoseconds for datetimes and float64 for numbers."""

    time: Tensor  # [S] exact time of the last row; arbitrary for a series without rows
    aware: Tensor  # [S] bool, whether datetimes have a time zone
    value: Tensor  # [S, D] float64, last value of each variable, NaN if it has none
    value_time: Tensor  # [S, D] exact times of these values
    total: Tensor  # [S, D] float64, sum of the values since the beginning of the window
    number: Tensor  # [S, D] int64, number of the values since the beginning of the window
    counts: Tensor  # [S, D] bool, whether all values are non-negative integers
    static_real: Tensor  # [S, F] float32
    static_cat: Tensor  # [S, F] int64

    @classmethod
    def of(cls, series: Sequence[IrregularSeries], window: IrregularBatch) -> IrregularHistory:
        """History of S series.

        Args:
            series: series with all their observations.
            window: their last windows; values are summed and counted from the beginning of the window.
        """
        exact = [torch.from_numpy(one.instants.exact) for one in series]
        rows = [np.arange(len(one.time))[:, None] for one in series]
        last = [np.where(np.isnan(one.target), 0, row).max(0) for one, row in zip(series, rows, strict=True)]
        return cls(
            time=torch.stack([times[-1] for times in exact]),
            aware=torch.tensor([one.instants.aware for one in series]),
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
        """History of S series without rows.

        Args:
            dim: number of variables, D.
            static_real: static numeric features, ``[S, F]``.
            static_cat: static categorical features, ``[S, F]``.
            instants: times of the same kind as those of the series.
        """
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
        """Whether each series has a row, ``[S]``."""
        return (self.number > 0).any(-1)

    def mean(self) -> Tensor:
        """Mean of the values since the beginning of the window, ``[S, D]``; NaN without values."""
        return self.total / self.number

    def last_age(self) -> Tensor:
        """Time from the last value of each variable to the last row, ``[S, D]`` in base units; NaN without a value."""
        return since(self.time.unsqueeze(-1), self.value_time).where(~self.value.isnan(), torch.nan)

    def followed_by(self, rows: IrregularRows, spec: IrregularSpec) -> tuple[IrregularBatch, IrregularHistory]:
        """The next rows as windows without queries, and the history including them.

        Args:
            rows: next rows of all S series.
            spec: contents of the windows.
        """
        slots = Slots.of(rows.series, len(self.time), right=True)
        present, time = slots.mask(), slots.lay(rows.instants.exact)
        target = slots.lay(rows.target, torch.nan)
        observed, values = ~target.isnan(), target.nan_to_num(0.0)
        # Slot 0 holds the values before the first row.
        past_time = torch.cat([self.value_time.unsqueeze(1), time.unsqueeze(-1).expand_as(target)], dim=1)
        past_value = torch.cat([self.value.unsqueeze(1), values], dim=1)
        slot = torch.arange(1, time.shape[1] + 1).unsqueeze(-1)
        seen = torch.where(observed, slot, 0).cummax(1).values
        before = torch.cat([torch.zeros_like(seen[:, :1]), seen[:, :-1]], dim=1)
        known = present.unsqueeze(-1) & ~past_value.gather(1, before).isnan()
        after = self._replace(
            time=time[:, -1],
            value=past_value.gather(1, seen[:, -1:])[:, 0],
            value_time=past_time.gather(1, seen[:, -1:])[:, 0],
            total=self.total + values.sum(1),
            number=self.number + observed.sum(1),
            counts=self.counts & are_counts(target, dim=1),
        )
        none = values[:, :0]
        batch = IrregularBatch(
            values=values,
            mask=observed.float(),
            dt=self._gaps(time, present),
            age=since(time.unsqueeze(-1), past_time.gather(1, before)).where(known, torch.nan),
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

    def _gaps(self, time: Tensor, present: Tensor) -> Tensor:
        """Time since the previous row, ``[S, M]``: 0 for padding, NaN for the first row of a series."""
        first = present.long().cumsum(1) == 1
        before = torch.where(first, self.time.unsqueeze(1), time.roll(1, dims=1))
        gaps = since(time, before).where(present, 0.0)
        return gaps.masked_fill(first & ~self.begun.unsqueeze(1), torch.nan)


class SeriesHistory(NamedTuple):
    """Past of S regular series.

    Location, scale, level and center are those of the window at the start of the stream.
    """

    time: Tensor  # [S] int64, last step in base units since 1970, in local time
    past: Tensor  # [S, R] float64, the last R steps, NaN where not observed
    centre: Tensor  # [S, 1] float32, see center; saved streams have this name
    loc: Tensor  # [S, 1] float64
    scale: Tensor  # [S, 1] float64
    level: Tensor  # [S, 1] float64
    counts: Tensor  # [S, 1] bool
    static_real: Tensor  # [S, F] float32, as in a batch
    static_cat: Tensor  # [S, F] int64

    @property
    def center(self) -> Tensor:
        """Mean of the window, normalized, ``[S, 1]``."""
        return self.centre

    @classmethod
    def of(cls, series: Sequence[Series], window: Batch, spec: WindowSpec) -> SeriesHistory:
        """History of S series, with the location and scale of their last windows.

        Args:
            series: series with all their steps.
            window: their last windows.
            spec: contents of the windows.
        """
        L, reach = window.past.shape[1], look_back(spec)
        past = np.full((len(series), reach), np.nan)
        for row, one in zip(past, series, strict=True):
            recent = one.target[-reach:]
            row[reach - len(recent) :] = recent
        return cls(
            time=torch.tensor([one.time[len(one.target) - 1] for one in series]),
            past=torch.from_numpy(past),
            centre=masked_mean(window.values[:, :L], window.mask[:, :L]),
            loc=window.loc,
            scale=window.scale,
            level=window.level,
            counts=window.counts,
            static_real=window.static_real,
            static_cat=window.static_cat,
        )

    def next(self, steps: Steps, spec: WindowSpec) -> tuple[Batch, SeriesHistory]:
        """The next steps as input of the network, and the history including them.

        Args:
            steps: next steps of all S series.
            spec: contents of the windows.
        """
        # Move the padding to the beginning, so that the lags of the first step refer to the past.
        values = torch.cat([self.past, steps.values], dim=1)
        missing = (~steps.mask).sum(1, keepdim=True)
        width = torch.arange(values.shape[1])
        reach = self.past.shape[1]
        source = torch.where(width < reach + missing, width - missing, width)
        values = values.gather(1, source.clamp(min=0)).masked_fill(source < 0, torch.nan)
        offsets = lag_offsets(torch.tensor(spec.lags, dtype=torch.long), steps.time.shape[1], 0)
        batch = self._batch(spec, steps.time, values, offsets, steps.covariates)
        return batch, self._replace(
            time=steps.time[:, -1],
            past=values[:, -reach:],
            counts=self.counts & are_counts(steps.values, dim=1).unsqueeze(1),
        )

    def ahead(self, time: Tensor, covariates: Tensor, spec: WindowSpec) -> Batch:
        """The horizon as input of the network.

        Args:
            time: local time of the steps, ``[S, H]``.
            covariates: covariates over the horizon, ``[S, H, F]``.
            spec: contents of the windows.
        """
        unknown = self.past.new_full(time.shape, torch.nan)
        offsets = lag_offsets(torch.tensor(spec.lags, dtype=torch.long), 0, time.shape[1], recursive=spec.recursive)
        return self._batch(spec, time, torch.cat([self.past, unknown], dim=1), offsets, covariates)

    def _batch(self, spec: WindowSpec, time: Tensor, values: Tensor, offsets: Tensor, covariates: Tensor) -> Batch:
        """The last T steps of ``values [S, R + T]``, with their lags at ``offsets [T, K]``."""
        S, T = time.shape
        own = torch.arange(values.shape[1] - T, values.shape[1])
        mask = ~values.isnan()
        shown = normalized(values, self.loc, self.scale)
        lagged = (own.unsqueeze(-1) + offsets).flatten()
        return Batch(
            values=shown[:, own],
            mask=mask[:, own].float(),
            lags=shown[:, lagged].view(S, T, -1),
            lag_mask=mask[:, lagged].float().view(S, T, -1),
            calendar=window_calendar(spec, time),
            covariates=covariates,
            static_real=self.static_real,
            static_cat=self.static_cat,
            loc=self.loc,
            scale=self.scale,
            past=values[:, own].nan_to_num(0.0),
            target=values[:, :0],
            level=self.level,
            counts=self.counts,
            weight=torch.ones_like(mask[:, own], dtype=torch.float32),
        )
