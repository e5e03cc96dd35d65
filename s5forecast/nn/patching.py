"""Several steps as one: shorter sequences for the encoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Patching(nn.Module):
    """Groups of ``length`` neighbouring steps enter the encoder as one, and leave it as steps again.

    Patches were introduced to forecasting in "A time series is worth 64 words: long-term forecasting with
    transformers" (Nie, Nguyen, Sinthong, Kalagnanam, 2023).

    Arguments:
        num_features: of each step.
        width: features of a patch, and of the steps that leave.
        length: steps of a patch, P; 1 makes the input a projection and the output what the encoder gave.
    """

    def __init__(self, num_features: int, width: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.input = nn.Linear(length * num_features, width)
        self.output = nn.Identity() if length == 1 else nn.Linear(width, length * width)

    def count(self, steps: int) -> int:
        """Patches of a number of steps."""
        return -(-steps // self.length)

    def group(self, steps: Tensor) -> Tensor:
        """``[B, T, F]`` to ``[B, ceil(T / P), H]``; zeros complete the last patch."""
        padded = F.pad(steps, (0, 0, 0, -steps.shape[1] % self.length))
        return self.input(padded.unflatten(1, (-1, self.length)).flatten(2))

    def split(self, patches: Tensor) -> Tensor:
        """``[B, N, H]`` to ``[B, N P, H]``."""
        return self.output(patches).unflatten(2, (self.length, -1)).flatten(1, 2)
