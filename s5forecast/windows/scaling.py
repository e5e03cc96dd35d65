"""Location and scale of a window, which normalize the input of a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# A window is constant if its spread is below this fraction of its level, which is the size of rounding errors.
ROUNDING = 1e-12
# Scale of a constant window, as a fraction of its level.
CONSTANT_SCALE = 1e-2
# A window is steady if it moved by more than this share of the sum of its steps, of which this many were observed. A
# random walk of 32 steps moves by a fifth on average.
STEADY, FEWEST_STEPS = 0.5, 8
# Largest normalized value; the squares of much larger ones overflow float32.
MAX_NORMALIZED = 1e9


def masked_mean(values: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """Mean of the observed values over time, ``[B, T, ...] -> [B, 1, ...]``; 0 if none is observed."""
    return (values * mask).sum(dim, keepdim=True) / mask.sum(dim, keepdim=True).clamp(min=1)


def deviation(values: Tensor, mask: Tensor, dim: int = 1) -> Tensor:
    """Standard deviation over time; 0 if it is within the rounding error of equal values."""
    own = masked_mean((values - masked_mean(values, mask, dim)) ** 2, mask, dim).sqrt()
    return torch.where(own > ROUNDING * masked_mean(values.abs(), mask, dim), own, 0.0)


def normalized(values: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """``(values - loc) / scale`` in float32, 0 for NaN, clipped to ±``MAX_NORMALIZED``."""
    return ((values - loc) / scale).nan_to_num(0.0).clamp(-MAX_NORMALIZED, MAX_NORMALIZED).float()


def standard(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the window."""
    loc = masked_mean(values, mask)
    return loc, _floored(masked_mean((values - loc) ** 2, mask).sqrt(), values, mask)


def last(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Last observed value, and root mean square distance from this value."""
    steps = torch.arange(1, values.shape[1] + 1, device=values.device)
    position = (mask * steps).argmax(1, keepdim=True)
    loc = (values * mask).gather(1, position)
    return loc, _floored(masked_mean((values - loc) ** 2, mask).sqrt(), values, mask)


def increments(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Last observed value, and root mean square difference between neighboring steps: for trends and random walks."""
    loc, _ = last(values, mask)
    both = mask[:, 1:] * mask[:, :-1]
    return loc, _floored(masked_mean(values.diff(dim=1) ** 2, both).sqrt(), values, mask)


def adaptive(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`increments` for windows that rise or fall steadily, :func:`standard` for others."""
    both = mask[:, 1:] * mask[:, :-1]
    steps = values.diff(dim=1) * both
    moved, path = steps.sum(1, keepdim=True).abs(), steps.abs().sum(1, keepdim=True)
    steady = (moved > STEADY * path) & (both.sum(1, keepdim=True) >= FEWEST_STEPS)
    pairs = zip(increments(values, mask), standard(values, mask), strict=True)
    loc, scale = (torch.where(steady, trending, usual) for trending, usual in pairs)
    return loc, scale


def mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """No location, mean absolute value as scale, as in DeepAR."""
    scale = masked_mean(values.abs(), mask)
    return torch.zeros_like(scale), positive(scale)


def none(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """No normalization."""
    return torch.zeros_like(values[:, :1]), torch.ones_like(values[:, :1])


def _floored(spread: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    level = masked_mean(values.abs(), mask)
    return positive(torch.where(spread > ROUNDING * level, spread, CONSTANT_SCALE * level))


def positive(scale: Tensor) -> Tensor:
    """The scale where it is positive, 1 elsewhere."""
    return torch.where(scale > 0, scale, 1.0)


# (values [B, T], mask [B, T]) -> loc [B, 1], scale [B, 1]
SCALINGS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "standard": standard,
    "last": last,
    "increments": increments,
    "adaptive": adaptive,
    "mean": mean,
    "none": none,
}
