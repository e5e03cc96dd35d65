"""Beta output, for shares."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Beta as TorchBeta
from torch.distributions.constraints import Constraint

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.special import betainc, from_scipy, implicit, scipy_special

SHARPNESS = 8
EDGE = 1e-6


class OpenUnitInterval(Constraint):
    """Values between 0 and 1, both excluded."""

    lower_bound, upper_bound = 0.0, 1.0

    def check(self, value: Tensor) -> Tensor:
        return (value > 0) & (value < 1)


class Beta(ForecastDistribution, TorchBeta):
    """Beta distribution parametrized by mean and concentration, with quantiles and a closed-form CRPS."""

    support = OpenUnitInterval()  # type: ignore[assignment]

    def __init__(self, mean: Tensor, concentration: Tensor, validate_args: Any = None) -> None:
        TorchBeta.__init__(self, mean * concentration, (1 - mean) * concentration, validate_args=validate_args)

    def _cdf(self, value: Tensor) -> Tensor:
        return betainc(self.concentration1, self.concentration0, value)

    def icdf(self, value: Tensor) -> Tensor:
        value = value.to(self.concentration1.dtype)
        inverse = scipy_special("betaincinv")
        x = from_scipy(lambda q, a, b: inverse(a, b, q), value, self.concentration1, self.concentration0)
        return implicit(_inside(x), value, self.cdf, self.log_prob)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return _inside(super().sample(torch.Size(sample_shape)))

    def _partial_mean(self, value: Tensor) -> Tensor:
        return self.mean * betainc(self.concentration1 + 1, self.concentration0, value)

    @property
    def gini_mean_difference(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return 4 * self.mean / a * torch.exp(_log_beta(2 * a, 2 * b) - 2 * _log_beta(a, b))


class BetaOutput(ForecastOutput):
    r"""Beta distribution with mean :math:`\mu` and concentration :math:`\kappa`, on the open unit interval.

    .. math:: \mathrm{Var}[y] = \mu (1 - \mu) / (1 + \kappa)

    The values are not scaled. A scale :math:`s` multiplies the argument of the mean instead, which stays below one:
    :math:`\mu = s m\,(1 + (s m)^8)^{-1/8}`.
    """

    args_dim: ClassVar[dict[str, int]] = {"mean": 1, "concentration": 1}
    offsets: ClassVar[dict[str, str]] = {"mean": "softplus"}
    takes_loc: ClassVar[bool] = False
    distr_cls: type = Beta

    @classmethod
    def domain_map(cls, mean: Tensor, concentration: Tensor) -> tuple[Tensor, Tensor]:
        mean = F.softplus(mean).clamp(1e-6, 1e12)
        concentration = F.softplus(concentration).clamp(0.1, 1e6)
        return mean.squeeze(-1), concentration.squeeze(-1)

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Beta:
        self._check_loc(loc)
        mean, concentration = distr_args
        mean = mean if scale is None else mean * scale
        # m (1 + m^p)^(-1/p) through the logarithm, which does not overflow
        mean = torch.exp(-F.softplus(-SHARPNESS * mean.log()) / SHARPNESS)
        return Beta(mean.clamp(EDGE, 1 - EDGE), concentration, validate_args=False)

    @property
    def value_in_support(self) -> float:
        return 0.5


def _inside(x: Tensor) -> Tensor:
    return x.clamp(torch.finfo(x.dtype).tiny, 1 - torch.finfo(x.dtype).eps)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
