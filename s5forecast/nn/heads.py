"""From features per step to the parameters of an output, around a seasonal forecast."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from s5forecast.distributions import Output

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
        weights = torch.softmax(logits.add(1 - lag_mask, alpha=FAR_BELOW), dim=0)
        return (weights * lag_mask * lags).sum(0)


class OutputHead(nn.Module):
    """Parameters of a GluonTS output from features, moved by an offset.

    An output on the whole real line is shifted as a distribution, by whoever evaluates it. One of limited
    support takes the offset into the arguments named in its ``offsets``, each through one of ``LINKS``; into its
    first one as ``softplus(x + softplus^-1(offset))`` where it has no such list.
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
        """``h [B, T, H]``, ``offset [B, T]`` for an output of limited support, to the output's arguments."""
        return self.arguments(self.projection(h), offset)

    def arguments(self, projected: Tensor, offset: Tensor | None = None) -> tuple[Tensor, ...]:
        """The same from ``projection(h)``."""
        raw: Sequence[Tensor] = projected.split(self.sizes, dim=-1)
        if offset is not None:
            raw = [
                x if link is None else x + link(offset).unsqueeze(-1) for x, link in zip(raw, self.links, strict=True)
            ]
        return self.domain_map(*raw)


def inverse_softplus(y: Tensor) -> Tensor:
    """``log(exp(y) - 1)``, without overflow, of ``y`` kept above a small positive number."""
    y = y.clamp_min(SMALLEST_OFFSET)
    return y + torch.log(-torch.expm1(-y))


def identity(y: Tensor) -> Tensor:
    return y


LINKS: dict[str, Callable[[Tensor], Tensor]] = {"softplus": inverse_softplus, "identity": identity}
