"""Quantile output whose quantiles do not cross."""

import math
from functools import cache

import torch
import torch.nn.functional as F
from gluonts.core.component import validated
from torch import Tensor

from s5forecast.levels import check_levels

SMALLEST = 1e-8  # probability of a tail


class QuantileOutput:
    r"""Quantiles at fixed levels, trained by the pinball loss, increasing by construction.

    The network predicts the middle quantile and, through a softplus, the distances between neighbors:

    .. math:: q_{m+k} = q_m + \sum_{j \le k} \mathrm{softplus}(d_j), \qquad
              q_{m-k} = q_m - \sum_{j \le k} \mathrm{softplus}(d_{-j})

    Args:
        quantiles: levels in (0, 1).

    Raises:
        ValueError: for a level outside (0, 1), or given twice.

    References:
        "Multivariate Quantile Function Forecaster" (Kan, Aubet, Januschowski, Park, Benidis, Ruthotto,
        Gasthaus, 2022), for monotone quantile functions by construction
    """

    @validated()
    def __init__(self, quantiles: list[float]) -> None:
        check_levels(quantiles, "quantiles")
        self.quantiles = sorted(quantiles)
        self.num_quantiles = len(self.quantiles)
        self.args_dim = {"outputs": self.num_quantiles}

    @property
    def event_shape(self) -> tuple:
        return ()

    @property
    def value_in_support(self) -> float:
        return 0.0

    def loss(
        self, target: Tensor, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """Twice the pinball loss, averaged over the levels."""
        (predicted,) = distr_args
        if scale is not None:
            predicted = predicted * scale.unsqueeze(-1)
        if loc is not None:
            predicted = predicted + loc.unsqueeze(-1)
        target = target.unsqueeze(-1)
        levels = torch.as_tensor(self.quantiles, device=predicted.device, dtype=predicted.dtype)
        return 2 * ((target - predicted) * ((target <= predicted).float() - levels)).abs().mean(dim=-1)

    def domain_map(self, outputs: Tensor) -> tuple[Tensor]:
        middle = self.num_quantiles // 2
        below = -F.softplus(outputs[..., :middle]).flip(-1).cumsum(-1).flip(-1)
        center = outputs[..., middle : middle + 1]
        above = F.softplus(outputs[..., middle + 1 :]).cumsum(-1)
        return (torch.cat([center + below, center, center + above], dim=-1),)

    def sample(self, outputs: Tensor) -> Tensor:
        r"""Draw one value of each distribution, as the quantile function at a uniform level U.

        .. math:: Q(U) = q_m + \sum_{j \ge m} (q_{j+1} - q_j)\, w_j(U) - \sum_{j < m} (q_{j+1} - q_j)\, (1 - w_j(U))

        The quantile function is linear between levels: :math:`w_j` grows from 0 to 1 between levels j and j + 1. Beyond
        the outermost levels the tails are exponential and pass through the two outermost quantiles. In
        :meth:`mean_weights` the tails are linear.

        Args:
            outputs: network outputs ``[..., Q]`` before the domain map, for at least two levels.
        """
        raw, middle = outputs.movedim(-1, 0), self.num_quantiles // 2
        share = self._share_below(torch.rand_like(raw[0]))
        above = (F.softplus(raw[middle + 1 :]) * share[middle:]).sum(0)
        return raw[middle] + above - (F.softplus(raw[:middle]) * (1 - share[:middle])).sum(0)

    def _share_below(self, U: Tensor) -> Tensor:
        """Share ``[Q - 1, ...]`` of each gap between quantiles that is below level U; outside [0, 1] in the tails."""
        levels = torch.tensor(self.quantiles, dtype=torch.float64)
        first, gaps = (x.to(U).view(-1, *[1] * U.ndim) for x in (levels[:-1], levels.diff()))
        share = torch.addcmul(-first / gaps, U, 1 / gaps).clamp_(0, 1)
        share[0] += _beyond(U, levels)
        share[-1] -= _beyond(1 - U, 1 - levels.flip(0))
        return share

    def mean_weights(self) -> Tensor:
        """Weights ``[Q]`` for which the weighted sum of the quantiles is the mean.

        The quantile function is taken as linear between the levels and extrapolated with the slope of the outer gaps:
        :math:`E[y] = \\int_0^1 q(u)\\,du`.
        """
        return _mean_weights(tuple(self.quantiles))


@cache
def _mean_weights(quantiles: tuple[float, ...]) -> Tensor:
    levels = torch.tensor(quantiles, dtype=torch.float64)
    if len(levels) == 1:
        return torch.ones(1, dtype=torch.float64)
    gaps = levels.diff()
    weights = torch.zeros_like(levels)
    weights[:-1] += gaps / 2
    weights[1:] += gaps / 2
    for edge, width in ((0, levels[0]), (-1, 1 - levels[-1])):
        # the slope of a tail is measured over at least the width of the tail
        distance = (levels - levels[edge]).abs()
        inner = int(torch.where(distance >= width - 1e-9, distance, torch.inf).argmin())
        if distance[inner] == 0:
            weights[edge] += width
            continue
        weights[edge] += width + width**2 / (2 * distance[inner])
        weights[inner] -= width**2 / (2 * distance[inner])
    return weights


def _beyond(tail: Tensor, outer: Tensor) -> Tensor:
    """``log(tail / p_1) / log(p_2 / p_1)`` of a probability below the outermost ``p_1``, at most 0; else 0."""
    nearest, following = outer[:2].tolist()
    return torch.log(tail.clamp(min=SMALLEST) / nearest).clamp_(max=0) / math.log(following / nearest)
