"""Fast sampling of many values at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from s5forecast.distributions.normal import NormalOutput
from s5forecast.distributions.output import DistributionOutput
from s5forecast.distributions.student_t import StudentTOutput


def draw(output: DistributionOutput, args: tuple[Tensor, ...], scale: Tensor | None = None) -> Tensor:
    """Draw one value of each distribution, in the shape and type of the arguments."""
    sampler = SAMPLERS.get(type(output))
    if sampler is None or scale is not None:
        return output.distribution(args, scale=scale).sample()
    return sampler(*args)


def student_t(df: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    r"""Draw from Student's t by two uniform numbers, without the rejection sampling of a gamma variate.

    .. math:: t = \sqrt{\nu (U^{-2/\nu} - 1)} \cos(2 \pi V)

    References:
        "Polar Generation of Random Variates with the t-Distribution" (Bailey, 1994)
    """
    U, V = torch.rand(2, *df.shape, dtype=df.dtype, device=df.device)
    radius = (df * torch.expm1(torch.log1p(-U) * (-2 / df))).sqrt()
    return torch.addcmul(loc, scale, radius * torch.cos(2 * math.pi * V))


def normal(loc: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(loc, scale, torch.randn_like(loc))


# Outputs with a sampler that is faster than building a torch distribution.
SAMPLERS: dict[type[DistributionOutput], Callable[..., Tensor]] = {StudentTOutput: student_t, NormalOutput: normal}
