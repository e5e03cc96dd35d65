"""Attention weights and relative positional biases of Mega."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from s5forecast.ops.attention import LAPLACE_MEAN, LAPLACE_STD

HIDDEN = -1e30  # score of a key that is not visible


def hidden_score(query: Tensor) -> float:
    """``HIDDEN``, or half of the lowest float16 where products are float16: finite, so that no query gives NaN."""
    device = query.device.type
    autocast = device != "meta" and torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else query.dtype
    return max(HIDDEN, torch.finfo(dtype).min / 2)


def laplace(scores: Tensor) -> Tensor:
    """The distribution function of a normal distribution, which approximates the squared ReLU with bounded slope."""
    return 0.5 * (1 + torch.erf((scores - LAPLACE_MEAN) / (LAPLACE_STD * math.sqrt(2))))


class Attention(NamedTuple):
    """How weights ``[..., Q, K]`` are computed from products of queries and keys.

    Attributes:
        weights: function of the scores, the scaled products plus the bias. It is zero at ``hidden_score``.
        by_count: whether products are divided by the number of visible keys, or by the square root of their size.
    """

    weights: Callable[[Tensor], Tensor]
    by_count: bool


ATTENTIONS = {
    "softmax": Attention(partial(torch.softmax, dim=-1), by_count=False),
    "laplace": Attention(laplace, by_count=True),
    "relu2": Attention(lambda scores: torch.relu(scores).square(), by_count=True),
}


class SimpleBias(nn.Module):
    """A learned number for each distance of a key from its query, up to ``max_positions - 1``."""

    def __init__(self, max_positions: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * max_positions - 1))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, distance: Tensor) -> Tensor:
        """Biases at integer distances of any shape, key minus query; distances beyond the largest are not visible."""
        last = len(self.weight) - 1
        return self.weight[(distance + last // 2).clamp(0, last)]


class RotaryBias(nn.Module):
    """The product of two learned vectors, rotated by the positions of query and key; any distance is allowed.

    Args:
        max_positions: not used; as in :class:`SimpleBias`.
        size: number of entries of the vectors, even.
    """

    def __init__(self, max_positions: int, size: int) -> None:
        super().__init__()
        self.alpha, self.beta = (nn.Parameter(torch.empty(size)) for _ in range(2))

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.02)

    def forward(self, distance: Tensor) -> Tensor:
        half = len(self.alpha) // 2
        exponent = torch.arange(half, dtype=self.alpha.dtype, device=distance.device) / half
        frequency = 10_000.0**-exponent
        angle = distance.unsqueeze(-1) * frequency
        (a, b), (c, d) = self.alpha.split(half), self.beta.split(half)
        return ((a * c + b * d) * torch.cos(angle) + (b * c - a * d) * torch.sin(angle)).sum(-1)


BIASES: dict[str, type[SimpleBias] | type[RotaryBias]] = {"simple": SimpleBias, "rotary": RotaryBias}
