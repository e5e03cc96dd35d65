"""Comparison of a trained network with seasonal naive, on the last horizon of its training data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.special import ndtri

from s5forecast.levels import DECILES
from s5forecast.notices import warn_user
from s5forecast.windows.regular import Batch, SeriesStore

# Series that are compared, at most.
COMPARED_SERIES = 64


def warn_if_worse_than_naive(network: Any, store: SeriesStore) -> None:
    """Warn if the quantile loss over the last horizon of the training series exceeds that of seasonal naive."""
    ratio = loss_over_naive(network, store)
    if ratio > 1:
        warn_user(
            f"over the last horizon of its training data, the network has {ratio:.2f} times the quantile loss of "
            "seasonal naive; a longer history, preset='best', which adds statistical models, or another scaling may "
            "help; compare them in a backtest"
        )


@torch.no_grad()
def loss_over_naive(network: Any, store: SeriesStore) -> float:
    """Quantile loss of a network relative to that of seasonal naive; 0 if the series are too short to compare."""
    index, cut = store.last_cuts()
    few = slice(None, None, -(-len(index) // COMPARED_SERIES) or 1)
    batch = store.gather(index[few], cut[few])
    season = min(store.spec.frequency.season, store.spec.context_length - 1)
    if not len(batch.past) or season < 1:
        return 0.0
    device = next(network.parameters()).device
    found = network.eval()(Batch(*(x.to(device) for x in batch)), None)
    naive, compared = seasonal_quantiles(batch, season)
    ours = torch.from_numpy(found.quantiles(DECILES))
    own, other = (float((_loss(batch.target, x) * compared).sum()) for x in (ours, naive))
    return own / other if other > 0 else 0.0


def seasonal_quantiles(batch: Batch, season: int) -> tuple[Tensor, Tensor]:
    """Deciles ``[B, H, 9]`` of seasonal naive, and whether they and the target are known, ``[B, H]``.

    The spread is that of the seasonal differences within the context, which grows with each further season.
    """
    L, H = batch.past.shape[1], batch.target.shape[1]
    mask = batch.mask[:, :L].double()
    pairs = mask[:, season:] * mask[:, :-season]
    differences = (batch.past[:, season:] - batch.past[:, :-season]) * pairs
    spread = ((differences**2).sum(1, keepdim=True) / pairs.sum(1, keepdim=True).clamp(min=1)).sqrt()
    step = torch.arange(H)
    source = L - season + step % season
    sigma = spread * (step // season + 1).sqrt()
    quantiles = batch.past[:, source, None] + sigma[..., None] * ndtri(torch.tensor(DECILES, dtype=torch.float64))
    return quantiles, batch.mask[:, L:] * mask[:, source] * (pairs.sum(1, keepdim=True) > 0)


def _loss(target: Tensor, quantiles: Tensor) -> Tensor:
    error = target.unsqueeze(-1) - quantiles
    levels = torch.tensor(DECILES, dtype=error.dtype)
    return torch.maximum(levels * error, (levels - 1) * error).sum(-1)
