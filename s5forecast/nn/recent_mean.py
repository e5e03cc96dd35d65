"""Exponentially weighted means of variables observed at irregular times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

LARGEST_SPREAD = 10.0
SMALLEST_VARIANCE = 1e-6


class Recent(NamedTuple):
    """Weighted statistics of D variables with M time constants each, at the time of the last value of each variable."""

    age: Tensor  # [B, D] float64, time from that value to the last observation
    weight: Tensor  # [B, D, M] sum of the weights, at least 1; 0 for a variable without a value
    mean: Tensor  # [B, D, M]
    squares: Tensor  # [B, D, M] weighted sum of squared distances to the mean


class RecentMean(nn.Module):
    r"""Means and variances of each variable with weights that decay exponentially at learned rates.

    .. math:: w_n = e^{-(t - t_n) / \tau}, \qquad m = \frac{\sum_n w_n y_n}{\sum_n w_n}, \qquad
              s^2 = \frac{\sum_n w_n (y_n - m)^2}{\sum_n w_n}

    Args:
        num_variables: number of variables, D.
        memories: initial values of the M time constants of each variable, in units of ``dt``.
    """

    def __init__(self, num_variables: int, memories: Sequence[float]) -> None:
        super().__init__()
        self.log_memory = nn.Parameter(torch.tensor(memories).log().repeat(num_variables, 1))

    @property
    def num_features(self) -> int:
        """Number of features of each variable besides the means, the spreads and logarithms of the sums of weights."""
        return 2 * self.log_memory.shape[1]

    def initial_state(self, batch_size: int) -> Recent:
        """The state before the first value."""
        none = self.log_memory.new_zeros(batch_size, *self.log_memory.shape)
        return Recent(none[..., 0].double(), none, none, none)

    def forward(self, values: Tensor, last: Tensor, mask: Tensor, dt: Tensor, before: Recent) -> Recent:
        """Update the state by further observations.

        Args:
            values, mask: ``[B, L, D]``; a ``mask`` of 0 marks missing values.
            last: ``[B, D]``, the last value of each variable, relative to which sums are computed.
            dt: ``[B, L]``, the time since the previous observation; 0 for padding.
            before: the state before the observations.
        """
        B, D = last.shape
        gaps = dt.double()
        age = before.age + gaps.sum(1, keepdim=True)  # from the last value of `before` to the last observation
        window, at, variable = mask.nonzero(as_tuple=True)
        series = window * D + variable
        since = (gaps.flip(1).cumsum(1).flip(1) - gaps)[window, at]  # from each value to the last observation
        latest = age.flatten().scatter_reduce(0, series, since, "amin")
        memory = self.log_memory.exp()
        weights = torch.exp((latest[series] - since).to(memory).unsqueeze(-1) / memory[variable])
        moved = (values[window, at, variable] - last[window, variable]).unsqueeze(-1)
        sums = torch.stack([weights, weights * moved, weights * moved**2])
        weight, first, second = sums.new_zeros(3, B * D, sums.shape[-1]).index_add(1, series, sums).unflatten(1, (B, D))
        mean = first / weight.clamp(min=1.0)
        squares = (second - mean * first).clamp(min=0.0)
        latest = latest.view(B, D)
        kept = torch.exp((latest - age).to(memory).unsqueeze(-1) / memory)
        decayed = before._replace(weight=kept * before.weight, squares=kept * before.squares)
        return _merge(decayed, Recent(latest, weight, last.unsqueeze(-1) + mean, squares))

    def describe(self, state: Recent, last: Tensor) -> tuple[Tensor, Tensor]:
        """Means ``[B, D, M]``, or ``last [B, D]`` for variables without a value, and features ``[B, D, 2 M]``."""
        mean = torch.where(state.weight > 0, state.mean, last.unsqueeze(-1))
        spread = (state.squares / state.weight.clamp(min=1.0) + SMALLEST_VARIANCE).sqrt()
        return mean, torch.cat([spread.clamp(max=LARGEST_SPREAD), torch.log1p(state.weight)], dim=-1)


def _merge(before: Recent, after: Recent) -> Recent:
    """Merge statistics with weights at the same time (Chan, Golub, LeVeque, "Updating Formulae", 1979)."""
    weight = before.weight + after.weight
    share = after.weight / weight.clamp(min=1.0)
    distance = after.mean - before.mean
    squares = before.squares + after.squares + distance**2 * before.weight * share
    return Recent(after.age, weight, before.mean + share * distance, squares)
