"""Standardised features, with what is missing marked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 10.0


class Standardization(nn.Module):
    """``clamp((x - mean) / std)`` of each feature and whether it is observed, ``[..., F] -> [..., 2 F]``.

    Mean and standard deviation are those of :meth:`fit`; a missing value, NaN, becomes 0. Values further than
    ten standard deviations from what was seen in training are held there.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation over all but the last dimension; a constant feature keeps scale 1."""
        x = x.flatten(0, -2).double()
        count = (~x.isnan()).sum(0).clamp(min=1)
        mean = x.nansum(0) / count
        std = (((x - mean) ** 2).nansum(0) / count).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        z = ((x - self.mean) / self.std).clamp(-LIMIT, LIMIT)
        return torch.cat([z.nan_to_num(0.0), (~x.isnan()).to(z.dtype)], dim=-1)
