"""What is kept of regular series: as many steps as the network looks back, and what normalises them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.features import lag_offsets
from s5forecast.data.scaling import masked_mean, normalised
from s5forecast.data.windows import Batch, WindowSpec, WindowStore


class Steps(NamedTuple):
    """M steps of each of S series, pushed to the right; those missing on the left are not there."""

    time: Tensor  # [S, M] int64, base units since 1970, in local time
    values: Tensor  # [S, M] float64, NaN where not observed
    covariates: Tensor  # [S, M, F] float32, NaN where not observed
    there: Tensor  # [S, M] bool

    @classmethod
    def of(cls, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Steps:
        """From time ``[m]``, values ``[m]`` and covariates ``[m, F]`` of each series."""
        longest = max(len(time) for time, _, _ in parts)

        def laid(arrays: list[np.ndarray], empty: float) -> Tensor:
            pads = [((longest - len(x), 0), *[(0, 0)] * (x.ndim - 1)) for x in arrays]
            rows = [np.pad(x, pad, constant_values=empty) for x, pad in zip(arrays, pads, strict=True)]
            return torch.from_numpy(np.stack(rows))

        time, values, covariates = (list(x) for x in zip(*parts, strict=True))
        return cls(
            laid([x.astype(np.int64) for x in time], 0),
            laid([x.astype(np.float64) for x in values], np.nan),
            laid([x.astype(np.float32) for x in covariates], np.nan),
            laid([np.ones(len(x), dtype=bool) for x in time], False),
        )


class SeriesHistory(NamedTuple):
    """S series up to their last steps. Location, scale and the like are those of the window a stream began with."""

    time: Tensor  # [S] int64, of the last step, base units since 1970, in local time
    past: Tensor  # [S, R] float64, the last R steps, NaN where not observed
    centre: Tensor  # [S, 1] float32, mean of the window, normalised
    loc: Tensor  # [S, 1] float64
    scale: Tensor  # [S, 1] float64
    level: Tensor  # [S, 1] float64
    counts: Tensor  # [S, 1] bool
    static_real: Tensor  # [S, F] float32, as in a batch
    static_cat: Tensor  # [S, F] int64

    @classmethod
    def of(cls, store: WindowStore, window: Batch) -> SeriesHistory:
        """That of all series of a store, placed by their last ``window``."""
        L, reach = window.past.shape[1], look_back(store.spec)
        past = np.full((len(store.series), reach), np.nan)
        for row, one in zip(past, store.series, strict=True):
            recent = one.target[-reach:]
            row[reach - len(recent) :] = recent
        return cls(
            time=torch.tensor([one.time[len(one.target) - 1] for one in store.series]),
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
        """The next steps as the network sees them, and the history with them."""
        # What is not there is shifted out of the way, so that lags of the first step reach into the past.
        values = torch.cat([self.past, steps.values], dim=1)
        missing = (~steps.there).sum(1, keepdim=True)
        width = torch.arange(values.shape[1])
        reach = self.past.shape[1]
        source = torch.where(width < reach + missing, width - missing, width)
        values = values.gather(1, source.clamp(min=0)).masked_fill(source < 0, torch.nan)
        offsets = lag_offsets(torch.tensor(spec.lags, dtype=torch.long), steps.time.shape[1], 0)
        batch = self._batch(spec, steps.time, values, offsets, steps.covariates)
        counts = ((steps.values >= 0) & (steps.values == steps.values.round()) | steps.values.isnan()).all(1)
        return batch, self._replace(
            time=steps.time[:, -1], past=values[:, -reach:], counts=self.counts & counts.unsqueeze(1)
        )

    def ahead(self, time: Tensor, covariates: Tensor, spec: WindowSpec) -> Batch:
        """The horizon as the network sees it, from its local time ``[S, H]`` and covariates ``[S, H, F]``."""
        unknown = self.past.new_full(time.shape, torch.nan)
        offsets = lag_offsets(torch.tensor(spec.lags, dtype=torch.long), 0, time.shape[1], recursive=spec.recursive)
        return self._batch(spec, time, torch.cat([self.past, unknown], dim=1), offsets, covariates)

    def _batch(self, spec: WindowSpec, time: Tensor, values: Tensor, offsets: Tensor, covariates: Tensor) -> Batch:
        """The last T steps of ``values [S, R + T]``, with their lags at ``offsets [T, K]``."""
        S, T = time.shape
        own = torch.arange(values.shape[1] - T, values.shape[1])
        mask = ~values.isnan()
        shown = normalised(values, self.loc, self.scale)
        lagged = (own.unsqueeze(-1) + offsets).flatten()
        return Batch(
            values=shown[:, own],
            mask=mask[:, own].float(),
            lags=shown[:, lagged].view(S, T, -1),
            lag_mask=mask[:, lagged].float().view(S, T, -1),
            calendar=spec.calendar(time),
            covariates=covariates,
            static_real=self.static_real,
            static_cat=self.static_cat,
            loc=self.loc,
            scale=self.scale,
            past=values[:, own].nan_to_num(0.0),
            target=values[:, :0],
            level=self.level,
            counts=self.counts,
        )


def look_back(spec: WindowSpec) -> int:
    """Steps of the past that a window shows: the context, or the longest lag."""
    return max(spec.context_length, *spec.lags, 1)
