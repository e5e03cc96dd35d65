"""From features of a step to the parameters of an output that is joint over series."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s5forecast.distributions import DistributionOutput
from s5forecast.nn.heads import FAR_BELOW

SMALL, SPREAD = 0.02, 0.1


class JointHead(nn.Module):
    r"""Arguments of a joint output, around a convex combination of the lagged values of each series.

    One projection serves all series, seen by each through an embedding of its own, so that the number of parameters
    grows with D as slowly as the embeddings do:

    .. math:: a_d = P \, ((1 + e_d) \odot h) + b_d

    Arguments:
        width: features per step.
        num_lags: values shown of each series, K.
        output: whose arguments are a number of values for each of its D series.
    """

    def __init__(self, width: int, num_lags: int, output: DistributionOutput) -> None:
        super().__init__()
        (self.dim,) = output.event_shape
        self.sizes = [num_lags, *(size // self.dim for size in output.args_dim.values())]
        self.domain_map = output.domain_map
        count = sum(self.sizes)
        self.projection = nn.Parameter(SMALL * torch.randn(count, width))
        self.embedding = nn.Parameter(SPREAD * torch.randn(self.dim, width))
        # Correlations of zero are a saddle, from which no gradient leads.
        bias = torch.zeros(self.dim, count)
        bias[:, -self.sizes[-1] :] = SPREAD * torch.randn(self.dim, self.sizes[-1])
        self.bias = nn.Parameter(bias.flatten())  # flat, as what has one dimension does not decay

    def forward(self, h: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``h [..., width]`` to the logits of the lags ``[..., D, K]`` and the output's arguments."""
        weight = (1 + self.embedding).unsqueeze(1) * self.projection
        projected = F.linear(h, weight.flatten(0, 1), self.bias).unflatten(-1, (self.dim, -1))
        logits, *args = projected.split(self.sizes, dim=-1)
        return logits, self.domain_map(*(arg.flatten(-2) for arg in args))

    @staticmethod
    def mix(logits: Tensor, lags: Tensor, lag_mask: Tensor) -> Tensor:
        """Convex combination ``[..., D]`` of the lags that are observed, all ``[..., D, K]``; 0 where none is."""
        weights = torch.softmax(logits.masked_fill(lag_mask == 0, FAR_BELOW), dim=-1)
        return (weights * lag_mask * lags).sum(-1)
