"""Negative binomial output for counts, parametrized by its mean."""

import math
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import NegativeBinomial as TorchNegativeBinomial

from s5forecast.distributions.base import ForecastOutput
from s5forecast.distributions.poisson import CountDistribution, sample_poisson
from s5forecast.distributions.special import betainc, from_scipy

# Standard deviation above which quantiles are those of a gamma distribution: scipy is slow there.
GAMMA_FROM = 1e6
GINI_NODES = 160
GINI_REACH = 17.0


class NegativeBinomial(CountDistribution, TorchNegativeBinomial):
    """Negative binomial distribution parametrized by mean and dispersion, with quantiles and a CRPS."""

    def __init__(self, mean: Tensor, dispersion: Tensor, validate_args: Any = None) -> None:
        logits = torch.log(mean) + torch.log(dispersion)
        TorchNegativeBinomial.__init__(self, 1 / dispersion, logits=logits, validate_args=validate_args)

    def _cdf(self, value: Tensor) -> Tensor:
        return betainc(self.total_count, value.floor() + 1, torch.sigmoid(-self.logits))

    def icdf(self, value: Tensor) -> Tensor:
        value = value.to(self.logits.dtype)
        return from_scipy(_quantile, value, self.total_count, self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return sample_poisson(self._gamma.sample(torch.Size(sample_shape)))

    def _partial_mean(self, value: Tensor) -> Tensor:
        below = betainc(self.total_count + 1, value.floor().clamp_min(1), torch.sigmoid(-self.logits))
        return torch.where(value < 1, 0.0, self.mean * below)

    @property
    def gini_mean_difference(self) -> Tensor:
        r"""From the characteristic function, with :math:`w = \tan(t / 2)` on a logarithmic grid.

        .. math:: E|X - X'| = \frac1\pi \int_0^\pi \frac{1 - |\varphi(t)|^2}{1 - \cos t}\,dt, \qquad
                  |\varphi(t)|^2 = (1 + 2 \alpha \mathrm{Var}[X] (1 - \cos t))^{-1 / \alpha}
        """
        r, v = self.total_count.double(), self.variance.double()
        lowest = -torch.log1p(4 * v) / 2 - GINI_REACH
        steps = torch.arange(GINI_NODES, dtype=r.dtype, device=r.device).view(-1, *[1] * r.ndim)
        width = (GINI_REACH - lowest) / (GINI_NODES - 1)
        s = lowest + width * steps
        cosine = 2 * torch.sigmoid(2 * s)  # 1 - cos t
        integrand = -torch.expm1(-r * torch.log1p(2 * v / r * cosine)) * torch.exp(-s)
        return (integrand.sum(0) * width / math.pi).to(self.logits.dtype)


def _quantile(level: np.ndarray, size: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Quantiles; for a large variance, those of a gamma distribution with the same mean and variance."""
    from scipy import special, stats

    level, size, logits = np.broadcast_arrays(level, size, logits)
    mean = size * np.exp(logits)
    small = mean * (1 + mean / size) < GAMMA_FROM**2
    concentration = mean / (1 + mean / size)
    large = np.rint(special.gammaincinv(concentration, level) * mean / concentration)
    return np.where(small, stats.nbinom.ppf(level, size, np.where(small, special.expit(-logits), 0.5)), large)


class NegativeBinomialOutput(ForecastOutput):
    r"""Negative binomial distribution with mean :math:`\mu` and dispersion :math:`\alpha`.

    .. math:: \mathrm{Var}[y] = \mu + \alpha \mu^2

    A scale multiplies the mean, so that values stay counts; a location is not supported.

    References:
        "DeepAR: Probabilistic Forecasting with Autoregressive Recurrent Networks" (Salinas, Flunkert,
        Gasthaus, Januschowski, 2020), section 3.1
    """

    args_dim: ClassVar[dict[str, int]] = {"mean": 1, "dispersion": 1}
    offsets: ClassVar[dict[str, str]] = {"mean": "softplus"}
    takes_loc: ClassVar[bool] = False
    distr_cls: type = NegativeBinomial

    @classmethod
    def domain_map(cls, mean: Tensor, dispersion: Tensor) -> tuple[Tensor, Tensor]:
        # Outside these bounds, float32 cannot represent the probabilities.
        mean = F.softplus(mean).clamp(1e-6, 1e12)
        dispersion = F.softplus(dispersion).clamp(1e-4, 1e4)
        return mean.squeeze(-1), dispersion.squeeze(-1)

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> NegativeBinomial:
        self._check_loc(loc)
        mean, dispersion = distr_args
        return NegativeBinomial(mean if scale is None else mean * scale, dispersion, validate_args=False)
