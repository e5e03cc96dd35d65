"""Log-normal output, for positive values that vary by factors."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import LogNormal as TorchLogNormal

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.special import ndtr


class LogNormal(ForecastDistribution, TorchLogNormal):
    """Log-normal distribution parametrized by the median and the standard deviation of the logarithm."""

    def __init__(self, median: Tensor, sigma: Tensor, validate_args: Any = None) -> None:
        TorchLogNormal.__init__(self, median.log(), sigma, validate_args=validate_args)

    def _partial_mean(self, value: Tensor) -> Tensor:
        z = (value.log() - self.loc) / self.scale
        return self.mean * ndtr(z - self.scale)

    @property
    def gini_mean_difference(self) -> Tensor:
        return 2 * self.mean * torch.erf(self.scale / 2)


class LogNormalOutput(ForecastOutput):
    r"""Log-normal distribution with median :math:`m`: :math:`\log y \sim N(\log m, \sigma^2)`."""

    args_dim: ClassVar[dict[str, int]] = {"median": 1, "sigma": 1}
    offsets: ClassVar[dict[str, str]] = {"median": "softplus"}
    takes_loc: ClassVar[bool] = False
    distr_cls: type = LogNormal

    @classmethod
    def domain_map(cls, median: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        # With sigma above 5, the moments overflow float32.
        median = F.softplus(median).clamp(1e-6, 1e12)
        sigma = F.softplus(sigma).clamp(1e-4, 5.0)
        return median.squeeze(-1), sigma.squeeze(-1)

    @property
    def value_in_support(self) -> float:
        return 1.0
