"""Poisson output, for counts."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Poisson as TorchPoisson

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.quadrature import unit_interval
from s5forecast.distributions.special import from_scipy, gammainc

# Rate above which draws and quantiles use a normal approximation corrected for skewness, which differs by at most 1.
# For large rates scipy's quantile function is slow and then fails, and torch's draws overflow 64 bits.
NORMAL_FROM = 1e6


class CountDistribution(ForecastDistribution):
    """Distribution of counts, whose expectations are sums instead of integrals."""

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Sum over the quantiles; ``function`` is taken as linear between two neighboring ones."""
        levels, _ = unit_interval(self.mean)
        with torch.no_grad():
            upper = self.icdf(levels.view(-1, *[1] * len(self.batch_shape)))
            lower = torch.cat([-torch.ones_like(upper[:1]), upper[:-1]])
        masses = self.cdf(upper) - self.cdf(lower)
        values = (function(torch.minimum(lower + 1, upper)) + function(upper)) / 2
        return (masses * values).sum(0)


class Poisson(CountDistribution, TorchPoisson):
    """Poisson distribution with quantiles and a closed-form CRPS."""

    def _cdf(self, value: Tensor) -> Tensor:
        return 1 - gammainc(value.floor() + 1, self.rate)

    def icdf(self, value: Tensor) -> Tensor:
        from scipy import stats

        value = value.to(self.rate.dtype)
        count = from_scipy(stats.poisson.ppf, value, self.rate.clamp_max(NORMAL_FROM))
        return torch.where(self.rate < NORMAL_FROM, count, _normal_count(self.rate, torch.special.ndtri(value)))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return sample_poisson(self.rate.expand(self._extended_shape(torch.Size(sample_shape))))

    def _partial_mean(self, value: Tensor) -> Tensor:
        return self.rate * self.cdf(value - 1)

    @property
    def gini_mean_difference(self) -> Tensor:
        return 2 * self.rate * (torch.special.i0e(2 * self.rate) + torch.special.i1e(2 * self.rate))


class PoissonOutput(ForecastOutput):
    """Poisson distribution; a scale multiplies the rate, so that values stay counts."""

    args_dim: ClassVar[dict[str, int]] = {"rate": 1}
    offsets: ClassVar[dict[str, str]] = {"rate": "softplus"}
    takes_loc: ClassVar[bool] = False
    distr_cls: type = Poisson

    @classmethod
    def domain_map(cls, rate: Tensor) -> tuple[Tensor]:
        return (F.softplus(rate).clamp(1e-6, 1e12).squeeze(-1),)

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Poisson:
        self._check_loc(loc)
        (rate,) = distr_args
        return Poisson(rate if scale is None else rate * scale, validate_args=False)


def sample_poisson(rate: Tensor) -> Tensor:
    """Draw counts of any rate."""
    normal = _normal_count(rate, torch.randn_like(rate))
    return torch.where(rate < NORMAL_FROM, torch.poisson(rate.clamp_max(NORMAL_FROM)), normal)


def _normal_count(rate: Tensor, z: Tensor) -> Tensor:
    return (rate + rate.sqrt() * z + (z**2 - 1) / 6).round().clamp_min(0)
