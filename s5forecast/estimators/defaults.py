"""Do series go on as they went? Cumulative counts do, and want another scaling than most series."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from s5forecast.windows.batches import TrainingWindows, WindowStore

# A slope that goes on must err so much less than the better of two naive forecasts for a set to count as growing,
CLEARLY = 0.8
# in windows drawn of the training data, of which so many must be whole enough to tell.
WINDOWS, ENOUGH = 512, 50


def default_scaling(store: WindowStore) -> str:
    """``"increments"`` where going on as before is clearly the best of three naive forecasts, else ``"standard"``.

    One choice for all series, in which large ones count for more.
    """
    spec = store.spec
    season = min(spec.frequency.season, spec.context_length - 1)
    if season < 1:
        return "standard"
    generator = torch.Generator().manual_seed(0)
    drawn = TrainingWindows(store, batch_size=1, num_batches=1, generator=generator).draw(WINDOWS)
    known, asked = drawn.mask.split([spec.context_length, spec.prediction_length], dim=1)
    return "increments" if growth_error(drawn.past, drawn.target, known, asked, season) < CLEARLY else "standard"


def growth_error(past: Tensor, target: Tensor, known: Tensor, asked: Tensor, season: int) -> float:
    """Absolute error of going on at the slope of the last season, relative to the better of two naive forecasts.

    They repeat the last value, and the last season. All errors are summed as they are, so that large series count
    for more, as in the weighted quantile loss.

    Arguments:
        past, known: values ``[B, L]`` of context and whether they were observed.
        target, asked: the same of the horizon, ``[B, H]``.
        season: steps, below L.

    Returns:
        Infinity where too few windows can be judged, or a naive forecast is never wrong.
    """
    ahead = torch.arange(1, target.shape[1] + 1, dtype=past.dtype)
    before, last = past[:, -season - 1 : -season], past[:, -1:]
    # Judged are steps whose three forecasts can all be made.
    judged = asked * _repeated(known, season, len(ahead)) * known[:, -1:] * known[:, -season - 1 : -season]
    if int(judged.any(1).sum()) < ENOUGH:
        return math.inf
    forecasts = (last + ahead * (last - before) / season, last, _repeated(past, season, len(ahead)))
    growing, *naive = [((target - forecast).abs() * judged).sum().item() for forecast in forecasts]
    return growing / min(naive) if min(naive) > 0 else math.inf


def _repeated(past: Tensor, season: int, count: int) -> Tensor:
    """The last season again and again, ``[B, count]``."""
    return past[:, -season:].repeat(1, -(-count // season))[:, :count]
