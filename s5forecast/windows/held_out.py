"""The end of each training series, held out to decide how long to train."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from s5forecast.data.entries import Series
from s5forecast.windows.regular import Batch, SeriesStore

# Share of a series that is held out, at least a horizon, and the least length of such a series in multiples of it.
HELD_OUT_SHARE, LEAST_MULTIPLE = 0.1, 3
# Windows that are evaluated, at most, over all series and of each.
MOST_WINDOWS, WINDOWS_PER_SERIES = 256, 8


class HeldOut(NamedTuple):
    """Training series without their ends, and windows whose horizons lie in these ends."""

    store: SeriesStore
    windows: Batch

    @classmethod
    def of(cls, store: SeriesStore) -> HeldOut | None:
        """Hold out the ends of the series that are long enough; ``None`` if there are none."""
        H = store.spec.prediction_length
        held = (HELD_OUT_SHARE * store.length).long().clamp(min=H)
        held = torch.where(store.length >= LEAST_MULTIPLE * held, held, 0)
        if not held.any():
            return None
        windows = _windows(store, held)
        if not windows.mask[:, store.spec.context_length :].any():
            return None
        shorter = [_shortened(one, int(h)) for one, h in zip(store.series, held, strict=True)]
        observed = [one for one in shorter if one.target.size and not (one.target != one.target).all()]
        return cls(SeriesStore(observed, store.spec), windows)


def _windows(store: SeriesStore, held: Tensor) -> Batch:
    """Windows at evenly spaced cuts within the ends of up to ``MOST_WINDOWS`` series."""
    index = torch.nonzero(held).squeeze(-1)
    index = index[:: -(-len(index) // MOST_WINDOWS)]
    count = min(WINDOWS_PER_SERIES, max(MOST_WINDOWS // len(index), 1))
    range_, last = held[index] - store.spec.prediction_length, store.length[index] - store.spec.prediction_length
    shares = torch.linspace(0, 1, count) if count > 1 else torch.ones(1)
    cut = last[:, None] - ((1 - shares) * range_[:, None]).long()
    pairs = torch.stack([index[:, None].expand_as(cut).flatten(), cut.flatten()]).unique(dim=1)
    return store.gather(*pairs)


def _shortened(series: Series, steps: int) -> Series:
    """The series without its last steps."""
    if steps == 0:
        return series
    return series._replace(
        time=series.time[:-steps], target=series.target[:-steps], covariates=series.covariates[:-steps]
    )
