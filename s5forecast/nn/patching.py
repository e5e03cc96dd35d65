"""Patches of several steps, which shorten the sequences of the encoder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Patching(nn.Module):
    """Groups ``length`` successive steps into one patch for the encoder, and splits its outputs into steps again.

    Args:
        num_features: number of features of each step, F.
        width: number of features of a patch and of the steps after :meth:`split`, H.
        length: number of steps in a patch, P. With 1, :meth:`group` is a projection and :meth:`split` the identity.

    References:
        "A Time Series is Worth 64 Words: Long-term Forecasting with Transformers" (Nie, Nguyen, Sinthong,
        Kalagnanam, 2023)
    """

    def __init__(self, num_features: int, width: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.input = nn.Linear(length * num_features, width)
        self.output = nn.Identity() if length == 1 else nn.Linear(width, length * width)

    def count(self, steps: int) -> int:
        """Number of patches for a number of steps."""
        return -(-steps // self.length)

    def group(self, steps: Tensor) -> Tensor:
        """``[B, T, F]`` to ``[B, ceil(T / P), H]``; the last patch is padded with zeros."""
        padded = F.pad(steps, (0, 0, 0, -steps.shape[1] % self.length))
        return self.input(padded.unflatten(1, (-1, self.length)).flatten(2))

    def split(self, patches: Tensor) -> Tensor:
        """``[B, N, H]`` to ``[B, N P, H]``."""
        return self.output(patches).unflatten(2, (self.length, -1)).flatten(1, 2)
