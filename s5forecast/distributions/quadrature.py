"""Quadrature over the unit interval for integrands that may be singular at its ends."""

import math

import torch
from torch import Tensor

NODES = 96
REACH = 3.2


def unit_interval(like: Tensor) -> tuple[Tensor, Tensor]:
    r"""Nodes and weights ``[Q]`` of the tanh-sinh rule on (0, 1), with type and device as given.

    .. math:: u(t) = \tfrac12 (1 + \tanh(\tfrac\pi2 \sinh t)), \qquad \int_0^1 f(u)\,du \approx h \sum_k f(u_k) u'(t_k)

    References:
        "Double Exponential Formulas for Numerical Integration" (Takahasi, Mori, 1974)
    """
    t = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    inner = math.pi / 2 * torch.sinh(t)
    levels = torch.sigmoid(2 * inner)
    weights = (t[1] - t[0]) * math.pi * torch.cosh(t) * levels * torch.sigmoid(-2 * inner)
    eps = torch.finfo(like.dtype).eps
    levels, weights = levels.clamp(eps / 4, 1 - eps), weights / weights.sum()
    return levels.to(like), weights.to(like)
