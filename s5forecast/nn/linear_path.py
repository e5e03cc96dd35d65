"""A linear map from the context to the horizon, in parallel with the encoder."""

from __future__ import annotations

from torch import Tensor, nn

RANK = 16


class LinearPath(nn.Module):
    """Low-rank linear map ``U V x`` from all steps of the context to all steps of the horizon.

    It lets linear dependencies on recent values, such as a continuing trend, bypass patches and states. Its output is
    zero before training. If steps are k times as short as in training, each of k phases of the context is mapped to the
    same phase of the horizon.

    Args:
        context_length, prediction_length: numbers of steps, L and H.
        rank: rank of the map, R.

    References:
        "Modeling Long- and Short-Term Temporal Patterns with Deep Neural Networks" (Lai, Chang, Yang, Liu, 2018), for
        a linear component in parallel with a network
    """

    def __init__(self, context_length: int, prediction_length: int, rank: int = RANK) -> None:
        super().__init__()
        self.context = nn.Linear(context_length, rank, bias=False)
        self.horizon = nn.Linear(rank, prediction_length, bias=False)
        nn.init.zeros_(self.horizon.weight)

    def forward(self, values: Tensor) -> Tensor:
        """Map ``[B, k L]``, with 0 for missing values, to ``[B, k H]``."""
        phases = values.unflatten(1, (self.context.in_features, -1))  # [B, L, k]
        return self.horizon(self.context(phases.mT)).mT.flatten(1)
