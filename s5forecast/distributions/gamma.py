"""Gamma output, for positive values."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Gamma as TorchGamma
from torch.distributions import constraints

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.special import from_scipy, gammainc, implicit, scipy_special


class Gamma(ForecastDistribution, TorchGamma):
    """Gamma distribution parametrized by mean and concentration, with quantiles and a closed-form CRPS."""

    support = constraints.positive  # type: ignore[assignment]

    def __init__(self, mean: Tensor, concentration: Tensor, validate_args: Any = None) -> None:
        TorchGamma.__init__(self, concentration, concentration / mean, validate_args=validate_args)

    def _cdf(self, value: Tensor) -> Tensor:
        return gammainc(self.concentration, self.rate * value)

    def icdf(self, value: Tensor) -> Tensor:
        value = value.to(self.rate.dtype)
        inverse = scipy_special("gammaincinv")
        x = from_scipy(lambda q, a: inverse(a, q), value, self.concentration) / self.rate.detach()
        return implicit(x.clamp_min(torch.finfo(x.dtype).tiny), value, self.cdf, self.log_prob)

    def _partial_mean(self, value: Tensor) -> Tensor:
        return self.mean * gammainc(self.concentration + 1, self.rate * value)

    @property
    def gini_mean_difference(self) -> Tensor:
        a = self.concentration
        return 2 / self.rate * torch.exp(torch.lgamma(a + 0.5) - torch.lgamma(a)) / torch.pi**0.5


class GammaOutput(ForecastOutput):
    r"""Gamma distribution with mean :math:`\mu` and concentration :math:`\alpha`.

    .. math:: \mathrm{Var}[y] = \mu^2 / \alpha
    """

    args_dim: ClassVar[dict[str, int]] = {"mean": 1, "concentration": 1}
    offsets: ClassVar[dict[str, str]] = {"mean": "softplus"}
    takes_loc: ClassVar[bool] = False
    distr_cls: type = Gamma

    @classmethod
    def domain_map(cls, mean: Tensor, concentration: Tensor) -> tuple[Tensor, Tensor]:
        # Below 0.1, quantiles leave the range of float32; above 1e6, the relative spread is less than 0.1 %.
        mean = F.softplus(mean).clamp(1e-6, 1e12)
        concentration = F.softplus(concentration).clamp(0.1, 1e6)
        return mean.squeeze(-1), concentration.squeeze(-1)

    @property
    def value_in_support(self) -> float:
        return 1.0
