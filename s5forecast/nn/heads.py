"""From features per step to the parameters of an output, around a seasonal forecast."""

from __future__ import annotations

import torch
from gluonts.torch.distributions import Output
from torch import Tensor, nn

FAR_BELOW = -1e9
SMALLEST_OFFSET = 1e-4


class SeasonalSkip(nn.Module):
    """A convex combination of the lagged values of each step, which the network then corrects.

    ``offset = sum_k w_k lag_k`` with weights ``w = softmax(W h + b)`` over the lags that are observed;
    0, the location of the window, where none is.
    """

    def __init__(self, width: int, num_lags: int) -> None:
        super().__init__()
        self.weights = nn.Linear(width, num_lags)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)

    def forward(self, h: Tensor, lags: Tensor, lag_mask: Tensor) -> Tensor:
        """``h [B, T, H]``, ``lags`` and ``lag_mask [B, T, K]`` to ``[B, T]``."""
        logits = self.weights(h).masked_fill(lag_mask == 0, FAR_BELOW)
        return (torch.softmax(logits, dim=-1) * lag_mask * lags).sum(-1)

    def mix(self, logits: Tensor, lags: Tensor, lag_mask: Tensor) -> Tensor:
        """The same from ``W h + b``, all ``[K, R]``, to ``[R]``: with the lags first it takes a tenth of the time."""
        weights = torch.softmax(logits.masked_fill(lag_mask == 0, FAR_BELOW), dim=0)
        return (weights * lag_mask * lags).sum(0)


class OutputHead(nn.Module):
    """Parameters of a GluonTS output from features, moved by an offset.

    An output on the whole real line is shifted as a distribution, by whoever evaluates it. One of limited
    support takes the offset, positive there, into its first parameter: ``softplus(x + softplus^-1(offset))``.
    """

    def __init__(self, width: int, output: Output) -> None:
        super().__init__()
        self.sizes = list(output.args_dim.values())
        self.projection = nn.Linear(width, sum(self.sizes))
        self.domain_map = output.domain_map
        nn.init.zeros_(self.projection.bias)

    def forward(self, h: Tensor, offset: Tensor | None = None) -> tuple[Tensor, ...]:
        """``h [B, T, H]``, ``offset [B, T]`` for an output of limited support, to the output's arguments."""
        return self.arguments(self.projection(h), offset)

    def arguments(self, projected: Tensor, offset: Tensor | None = None) -> tuple[Tensor, ...]:
        """The same from ``projection(h)``."""
        first, *rest = projected.split(self.sizes, dim=-1)
        if offset is not None:
            first = first + inverse_softplus(offset.clamp_min(SMALLEST_OFFSET)).unsqueeze(-1)
        return self.domain_map(first, *rest)


def inverse_softplus(y: Tensor) -> Tensor:
    """``log(exp(y) - 1)``, without overflow."""
    return y + torch.log(-torch.expm1(-y))
