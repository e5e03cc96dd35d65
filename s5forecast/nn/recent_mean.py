"""Means of the recent past of variables observed at uneven times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LARGEST_SPREAD = 10.0
SMALLEST_VARIANCE = 1e-6


class RecentMean(nn.Module):
    r"""Means of the values of each variable whose weights decay with the time since, at rates that are learnt.

    .. math:: w_n = e^{-(t - t_n) / \tau}, \qquad m = \frac{\sum_n w_n y_n}{\sum_n w_n}, \qquad
              s^2 = \frac{\sum_n w_n (y_n - m)^2}{\sum_n w_n}

    Arguments:
        num_variables: D.
        memories: where the M time constants of each variable begin, in the units of time.
    """

    def __init__(self, num_variables: int, memories: Sequence[float]) -> None:
        super().__init__()
        self.log_memory = nn.Parameter(torch.tensor(memories).log().repeat(num_variables, 1))

    @property
    def num_features(self) -> int:
        """What is known of the means of a variable: the spread about each, and the logarithm of its weights' sum."""
        return 2 * self.log_memory.shape[1]

    def forward(self, values: Tensor, last: Tensor, mask: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Means ``[B, D, M]`` and what is known of them ``[B, D, 2 M]``.

        Arguments:
            values, mask: ``[B, L, D]``; where ``mask`` is 0 nothing was observed.
            last: ``[B, D]``, the last value of each variable; where it has none, the mean is this.
            dt: ``[B, L]``, since the observation before.
        """
        B, D = last.shape
        window, at, variable = mask.nonzero(as_tuple=True)
        series = window * D + variable
        since = (dt.flip(1).cumsum(1).flip(1) - dt)[window, at]  # from each value to the last observation
        latest = since.new_full((B * D,), torch.inf).scatter_reduce(0, series, since, "amin")
        memory = self.log_memory.exp()[variable]
        weights = torch.exp((latest[series] - since).unsqueeze(-1) / memory)  # 1 at the last value of the variable
        moved = (values[window, at, variable] - last[window, variable]).unsqueeze(-1)
        sums = torch.stack([weights, weights * moved, weights * moved**2])
        count, first, second = sums.new_zeros(3, B * D, sums.shape[-1]).index_add(1, series, sums).unflatten(1, (B, D))
        mean, square = first / count.clamp(min=1.0), second / count.clamp(min=1.0)
        spread = (square - mean**2 + SMALLEST_VARIANCE).clamp(min=SMALLEST_VARIANCE).sqrt()
        return last.unsqueeze(-1) + mean, torch.cat([spread.clamp(max=LARGEST_SPREAD), torch.log1p(count)], dim=-1)
