"""A linear map from the context to the horizon, beside the encoder."""

from __future__ import annotations

from torch import Tensor, nn

RANK = 16


class LinearPath(nn.Module):
    """``U V x``: each step of the horizon as a weighted sum of all steps of the context, of low rank.

    What is linear in the last values, such as a trend that goes on, reaches the forecast without passing through
    patches and states. It is zero before training. A linear path beside a network was proposed in "Modeling long- and
    short-term temporal patterns with deep neural networks" (Lai, Chang, Yang, Liu, 2018).

    Where the steps are k times as short, each of k phases of the context is mapped to the same phase of the horizon.

    Arguments:
        context_length, prediction_length: steps, L and H.
        rank: of the map, R.
    """

    def __init__(self, context_length: int, prediction_length: int, rank: int = RANK) -> None:
        super().__init__()
        self.context = nn.Linear(context_length, rank, bias=False)
        self.horizon = nn.Linear(rank, prediction_length, bias=False)
        nn.init.zeros_(self.horizon.weight)

    def forward(self, values: Tensor) -> Tensor:
        """``[B, k L]``, 0 where not observed, to ``[B, k H]``."""
        phases = values.unflatten(1, (self.context.in_features, -1))  # [B, L, k]
        return self.horizon(self.context(phases.mT)).mT.flatten(1)
