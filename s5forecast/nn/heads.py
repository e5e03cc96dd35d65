"""Output heads: projections of the features of a step to the arguments of an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from s5forecast.distributions import DistributionOutput, Output

FAR_BELOW = -1e9
# Standard deviations of the initial weights of a joint head.
SMALL, SPREAD = 0.02, 0.1
SMALLEST_OFFSET = 1e-4


class SeasonalSkip(nn.Module):
    """A convex combination of the lagged values of each step, which serves as the offset of an output.

    ``offset = sum_k w_k lag_k`` with weights ``w = softmax(W h + b)`` over the observed lags. It is 0, the
    location of the window, if none is observed.
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
        """Compute the offsets ``[R]`` from ``W h + b``, all ``[K, R]``; this layout takes a tenth of the time."""
        weights = torch.softmax(logits.add(1 - lag_mask, alpha=FAR_BELOW), dim=0)
        return (weights * lag_mask * lags).sum(0)


class OutputHead(nn.Module):
    """Projection of features to the arguments of an output, shifted by an offset.

    An output on the whole real line is shifted as a distribution when it is evaluated. For an output with bounded
    support the offset is added to the arguments named in its ``offsets``, each through one of ``LINKS``; an output
    without ``offsets`` takes it into its first argument as ``softplus(x + softplus^-1(offset))``.
    """

    def __init__(self, width: int, output: Output) -> None:
        super().__init__()
        self.sizes = list(output.args_dim.values())
        self.projection = nn.Linear(width, sum(self.sizes))
        self.domain_map = output.domain_map
        names = list(output.args_dim)
        offsets = getattr(output, "offsets", {names[0]: "softplus"})
        self.links = [LINKS[offsets[name]] if name in offsets else None for name in names]
        nn.init.zeros_(self.projection.bias)

    def forward(self, h: Tensor, offset: Tensor | None = None) -> tuple[Tensor, ...]:
        """``h [B, T, H]``, ``offset [B, T]`` for an output with bounded support, to the output's arguments."""
        return self.arguments(self.projection(h), offset)

    def arguments(self, projected: Tensor, offset: Tensor | None = None) -> tuple[Tensor, ...]:
        """Compute the arguments from ``projection(h)``."""
        raw: Sequence[Tensor] = projected.split(self.sizes, dim=-1)
        if offset is not None:
            raw = [
                x if link is None else x + link(offset).unsqueeze(-1) for x, link in zip(raw, self.links, strict=True)
            ]
        return self.domain_map(*raw)


class JointHead(nn.Module):
    r"""Arguments of a joint output, and weights of a convex combination of the lagged values of each series.

    All series share one projection, which an embedding of each series modulates. Only the embeddings and biases grow
    with D:

    .. math:: a_d = P \, ((1 + e_d) \odot h) + b_d

    Args:
        width: features per step.
        num_lags: lagged values of each series, K.
        output: a joint output; the size of each of its arguments is a multiple of D.
    """

    def __init__(self, width: int, num_lags: int, output: DistributionOutput) -> None:
        super().__init__()
        (self.dim,) = output.event_shape
        self.sizes = [num_lags, *(size // self.dim for size in output.args_dim.values())]
        self.domain_map = output.domain_map
        count = sum(self.sizes)
        self.projection = nn.Parameter(SMALL * torch.randn(count, width))
        self.embedding = nn.Parameter(SPREAD * torch.randn(self.dim, width))
        # The factor starts at random, because zero correlations are a saddle point without a gradient.
        bias = torch.zeros(self.dim, count)
        bias[:, -self.sizes[-1] :] = SPREAD * torch.randn(self.dim, self.sizes[-1])
        self.bias = nn.Parameter(bias.flatten())  # flat, because weight decay excludes one-dimensional parameters

    def forward(self, h: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``h [..., width]`` to the logits of the lags ``[..., D, K]`` and the output's arguments."""
        weight = (1 + self.embedding).unsqueeze(1) * self.projection
        projected = F.linear(h, weight.flatten(0, 1), self.bias).unflatten(-1, (self.dim, -1))
        logits, *args = projected.split(self.sizes, dim=-1)
        return logits, self.domain_map(*(arg.flatten(-2) for arg in args))

    @staticmethod
    def mix(logits: Tensor, lags: Tensor, lag_mask: Tensor) -> Tensor:
        """Convex combination ``[..., D]`` of the observed lags, all ``[..., D, K]``; 0 if none is observed."""
        weights = torch.softmax(logits.masked_fill(lag_mask == 0, FAR_BELOW), dim=-1)
        return (weights * lag_mask * lags).sum(-1)


def inverse_softplus(y: Tensor) -> Tensor:
    """``log(exp(y) - 1)`` without overflow; ``y`` is clipped to a small positive number."""
    y = y.clamp_min(SMALLEST_OFFSET)
    return y + torch.log(-torch.expm1(-y))


def identity(y: Tensor) -> Tensor:
    return y


LINKS: dict[str, Callable[[Tensor], Tensor]] = {"softplus": inverse_softplus, "identity": identity}
