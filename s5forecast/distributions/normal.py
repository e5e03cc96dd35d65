"""Normal output."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal as TorchNormal

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.special import ndtr


class Normal(ForecastDistribution, TorchNormal):
    """Normal distribution with a closed-form CRPS."""

    def _expected_distance(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return self.scale * (z * (2 * ndtr(z) - 1) + 2 * density)

    @property
    def gini_mean_difference(self) -> Tensor:
        return 2 * self.scale / math.sqrt(math.pi)


class NormalOutput(ForecastOutput):
    """Normal distribution with a scale that cannot underflow."""

    args_dim: ClassVar[dict[str, int]] = {"loc": 1, "scale": 1}
    distr_cls: type = Normal

    @classmethod
    def domain_map(cls, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return loc.squeeze(-1), positive_scale(scale)


def positive_scale(scale: Tensor) -> Tensor:
    """``softplus``, clamped to at least the resolution of the type."""
    return F.softplus(scale).clamp_min(torch.finfo(scale.dtype).eps).squeeze(-1)
