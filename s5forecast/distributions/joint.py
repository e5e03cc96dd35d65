"""Base class of outputs that are joint over several series, and their training losses."""

from abc import abstractmethod
from typing import Any

import torch
from gluonts.core.component import validated
from torch import Tensor

from s5forecast.distributions.output import ParametricOutput

ENERGY_SAMPLES = 16


class JointOutput(ParametricOutput):
    """Output of vectors of ``dim`` values; the size of each argument is a multiple of ``dim``.

    Args:
        dim: number of series, D.
        rank: rank of the off-diagonal part of the covariance or correlation, R.

    Raises:
        ValueError: if ``dim`` or ``rank`` is less than 1.
    """

    @validated()
    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        if min(dim, rank) < 1:
            raise ValueError(f"dim and rank must be at least 1, got {dim=}, {rank=}")
        self.dim, self.rank = dim, rank

    @property
    def event_shape(self) -> tuple:
        return (self.dim,)

    def loss(self, target: Tensor, distr_args: tuple[Tensor, ...], *args: Any, **kwargs: Any) -> Tensor:
        """Negative log-likelihood ``[...]`` of ``target [..., D]``, computed in float64 and returned in its type."""
        wide = tuple(arg.double() for arg in distr_args)
        return super().loss(target.double(), wide, *args, **kwargs).to(target.dtype)

    @abstractmethod
    def masked_log_prob(self, value: Tensor, mask: Tensor, args: tuple[Tensor, ...]) -> Tensor:
        """Log-density ``[...]`` of ``value [..., D]``; components with a ``mask`` of 0 are integrated out."""

    @abstractmethod
    def rsample(self, args: tuple[Tensor, ...], count: int) -> Tensor:
        """Draw vectors ``[count, ..., D]``, differentiable in the arguments and of their type."""

    def draw(self, args: tuple[Tensor, ...]) -> Tensor:
        """Draw one vector ``[..., D]`` of each distribution."""
        return self.rsample(args, 1)[0]


def nll(output: JointOutput, value: Tensor, mask: Tensor, args: tuple[Tensor, ...]) -> Tensor:
    """Negative log-likelihood ``[...]`` of the observed components."""
    return -output.masked_log_prob(value, mask, args)


def energy(output: JointOutput, value: Tensor, mask: Tensor, args: tuple[Tensor, ...]) -> Tensor:
    r"""Unbiased estimate ``[...]`` of the energy score of the observed components, from a few draws.

    .. math:: \mathrm{ES} = E\|X - y\| - \tfrac12 E\|X - X'\|

    References:
        "Strictly Proper Scoring Rules, Prediction, and Estimation" (Gneiting, Raftery, 2007), section 4.3
    """
    samples = output.rsample(args, ENERGY_SAMPLES) * mask
    distance = _norm(samples - value * mask).mean(0)
    pairs = _norm(samples.unsqueeze(0) - samples.unsqueeze(1)).sum((0, 1))
    return distance - pairs / (2 * ENERGY_SAMPLES * (ENERGY_SAMPLES - 1))


def _norm(x: Tensor) -> Tensor:
    """Euclidean norm with a gradient of zero at zero."""
    square = (x**2).sum(-1)
    return torch.where(square > 0, square, 1.0).sqrt() * (square > 0)


JOINT_LOSSES = {"nll": nll, "energy": energy}
