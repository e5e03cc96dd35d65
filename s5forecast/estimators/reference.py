"""Comparison of a trained network with seasonal naive, on the last horizon of its training data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.special import ndtri

from s5forecast.levels import DECILES
from s5forecast.notices import warn_user
from s5forecast.windows.regular import Batch, SeriesStore

# Series that are compared, at most.
COMPARED_SERIES = 64


def warn_if_worse_than_naive(ratio: float) -> None:
    """Warn if a network has more than the quantile loss of seasonal naive.

    Args:
        ratio: quantile loss relative to that of seasonal naive, over the last horizon of the training series.
    """
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
    L, H = batch.past.shape[1], batch.target.shape[1]
    naive, known = seasonal_quantiles(batch.past, batch.mask[:, :L], H, season)
    ours = torch.from_numpy(found.quantiles(DECILES))
    compared = batch.mask[:, L:] * known
    own, other = (float((_loss(batch.target, x) * compared).sum()) for x in (ours, naive))
    return own / other if other > 0 else 0.0


def pretrained_loss_over_naive(predictor: Any, targets: Sequence[np.ndarray]) -> float:
    """Quantile loss of a pretrained network relative to that of seasonal naive; 0 if the series are too short.

    Args:
        predictor: a :class:`~s5forecast.estimators.PretrainedPredictor`.
        targets: series ``[T_i]``, NaN where not observed.
    """
    H = predictor.prediction_length
    long = [one for one in targets if np.isfinite(one[:-H]).any()]
    long = long[:: -(-len(long) // COMPARED_SERIES) or 1]
    if not long:
        return 0.0
    found = torch.from_numpy(predictor.prediction([one[:-H] for one in long]).quantiles(DECILES))
    own = other = 0.0
    for target, ours in zip(long, found, strict=True):
        past, future = (torch.from_numpy(one.astype(np.float64)) for one in (target[:-H], target[-H:]))
        season = max(1, round(predictor.seasons(target[:-H])[0]))
        if len(past) <= season:
            continue
        naive, known = seasonal_quantiles(past[None].nan_to_num(), (~past.isnan())[None], H, season)
        compared = known[0] * ~future.isnan()
        own, other = (
            total + float((_loss(future.nan_to_num(), x) * compared).sum())
            for total, x in ((own, ours), (other, naive[0]))
        )
    return own / other if other > 0 else 0.0


def seasonal_quantiles(past: Tensor, mask: Tensor, horizon: int, season: int) -> tuple[Tensor, Tensor]:
    """Deciles ``[B, H, 9]`` of seasonal naive, and whether they are known, ``[B, H]``.

    The spread is that of the seasonal differences within the context, which grows with each further season.

    Args:
        past: values ``[B, L]``, 0 where not observed.
        mask: whether each is observed, ``[B, L]``.
        horizon: steps to forecast, H.
        season: steps of the season, less than L.
    """
    L = past.shape[1]
    mask = mask.double()
    pairs = mask[:, season:] * mask[:, :-season]
    differences = (past[:, season:] - past[:, :-season]) * pairs
    spread = ((differences**2).sum(1, keepdim=True) / pairs.sum(1, keepdim=True).clamp(min=1)).sqrt()
    step = torch.arange(horizon)
    source = L - season + step % season
    sigma = spread * (step // season + 1).sqrt()
    quantiles = past[:, source, None] + sigma[..., None] * ndtri(torch.tensor(DECILES, dtype=torch.float64))
    return quantiles, mask[:, source] * (pairs.sum(1, keepdim=True) > 0)


def _loss(target: Tensor, quantiles: Tensor) -> Tensor:
    error = target.unsqueeze(-1) - quantiles
    levels = torch.tensor(DECILES, dtype=error.dtype)
    return torch.maximum(levels * error, (levels - 1) * error).sum(-1)
