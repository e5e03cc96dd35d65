"""Transformation of each series to a normal distribution, by the empirical quantiles of the training data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KNOTS = 129
# Score of the outermost knots, beyond which the map is extrapolated with the slope of the outermost fifth.
EDGE = 3.0


class Gaussianization(nn.Module):
    r"""Normal scores ``z_d = \Phi^{-1}(F_d(y_d))`` of each series, with empirical ``F_d``, linear between quantiles.

    A value that is repeated in the training data corresponds to an interval of scores. It is mapped to the middle of
    the interval, and the inverse maps all scores of the interval to the value.

    Args:
        dim: number of series, D.

    References:
        "High-Dimensional Multivariate Forecasting with Low-Rank Gaussian Copula Processes" (Salinas,
        Bohlke-Schneider, Callot, Medico, Gasthaus, 2019), section 3
    """

    scores: Tensor
    quantiles: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        scores = torch.linspace(-EDGE, EDGE, KNOTS, dtype=torch.float64)
        self.register_buffer("scores", scores)
        self.register_buffer("quantiles", scores.repeat(dim, 1))

    @torch.no_grad()
    def fit(self, values: Tensor, mask: Tensor) -> None:
        """Compute the quantiles of each series from its observed values.

        Args:
            values: ``[..., D]``.
            mask: ``[..., D]``, 1 for observed values. A series without any keeps its quantiles.
        """
        levels = torch.special.ndtr(self.scores)
        for d, (y, seen) in enumerate(zip(values.flatten(0, -2).T, mask.flatten(0, -2).T, strict=True)):
            if seen.any():
                self.quantiles[d] = torch.quantile(y[seen > 0].double(), levels)

    def forward(self, values: Tensor) -> Tensor:
        """Map values ``[..., D]`` to scores of the same shape and type."""
        y = values.double().movedim(-1, 0).flatten(1)  # [D, M]
        low = self._interpolated(y, right=False)
        z = torch.where(self._repeated(y), (low + self._interpolated(y, right=True)) / 2, low)
        slope = self._slopes().unsqueeze(-1)
        first, last = self.quantiles[:, :1], self.quantiles[:, -1:]
        z = torch.where(y < first, -EDGE + (y - first) / slope[0], z)
        z = torch.where(y > last, EDGE + (y - last) / slope[1], z)
        return z.view(values.shape[-1], *values.shape[:-1]).movedim(0, -1).to(values.dtype)

    def inverse(self, scores: Tensor) -> Tensor:
        """Map scores ``[..., D]`` to values, float64."""
        z = scores.double()
        position = ((z + EDGE) / (2 * EDGE) * (KNOTS - 1)).clamp(0, KNOTS - 1)
        below = position.floor().long().clamp_max(KNOTS - 2)
        series = torch.arange(len(self.quantiles), device=z.device).expand_as(below)
        low, high = self.quantiles[series, below], self.quantiles[series, below + 1]
        down, up = self._slopes()
        return low + (position - below) * (high - low) + down * (z + EDGE).clamp_max(0) + up * (z - EDGE).clamp_min(0)

    def _interpolated(self, y: Tensor, *, right: bool) -> Tensor:
        above = torch.searchsorted(self.quantiles, y.contiguous(), right=right).clamp(1, KNOTS - 1)
        low, high = self.quantiles.gather(1, above - 1), self.quantiles.gather(1, above)
        width = torch.where(high > low, high - low, 1.0)
        share = ((y - low) / width).clamp(0, 1)
        if right:  # a value repeated up to the last knot reaches it
            share = torch.where(y >= self.quantiles[:, -1:], 1.0, share)
        return self.scores[above - 1] + share * (self.scores[1] - self.scores[0])

    def _repeated(self, y: Tensor) -> Tensor:
        left, right = (torch.searchsorted(self.quantiles, y.contiguous(), right=side) for side in (False, True))
        return right - left > 1

    def _slopes(self) -> Tensor:
        """Slopes of the inverse below and above the knots, ``[2, D]``, positive."""
        part = KNOTS // 5
        ends = torch.stack(
            [self.quantiles[:, part] - self.quantiles[:, 0], self.quantiles[:, -1] - self.quantiles[:, -1 - part]]
        )
        whole = self.quantiles[:, -1] - self.quantiles[:, 0]
        slopes = ends / (self.scores[part] - self.scores[0])
        return torch.where(slopes > 0, slopes, torch.where(whole > 0, whole / (2 * EDGE), 1.0))
