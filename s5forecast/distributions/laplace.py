"""Laplace output."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Laplace as TorchLaplace

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.normal import positive_scale


class Laplace(ForecastDistribution, TorchLaplace):
    """Laplace distribution with a closed-form CRPS."""

    def _expected_distance(self, value: Tensor) -> Tensor:
        z = (value - self.loc).abs() / self.scale
        return self.scale * (z + torch.exp(-z))

    @property
    def gini_mean_difference(self) -> Tensor:
        return 1.5 * self.scale


class LaplaceOutput(ForecastOutput):
    """Laplace distribution with a scale that cannot underflow."""

    args_dim: ClassVar[dict[str, int]] = {"loc": 1, "scale": 1}
    distr_cls: type = Laplace

    @classmethod
    def domain_map(cls, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return loc.squeeze(-1), positive_scale(scale)
