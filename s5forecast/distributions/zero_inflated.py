"""Zero-inflated and hurdle outputs for intermittent demand."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput, sample_of
from s5forecast.distributions.log_normal import LogNormalOutput
from s5forecast.distributions.negative_binomial import NegativeBinomialOutput
from s5forecast.distributions.poisson import CountDistribution, PoissonOutput

LARGEST_LOGIT = 15.0


class ZeroInflated(ForecastDistribution):
    r"""Zero with probability :math:`\pi`, else a draw from ``base``, which has counts or positive values (a hurdle).

    .. math:: F(y) = \pi + (1 - \pi) F_{base}(y), \quad y \ge 0
    """

    def __init__(self, base: ForecastDistribution, zero_logit: Tensor) -> None:
        self.base, self.zero_logit = base, zero_logit
        super().__init__(torch.broadcast_shapes(base.batch_shape, zero_logit.shape), validate_args=False)

    @property
    def zero_probability(self) -> Tensor:
        return torch.sigmoid(self.zero_logit)

    @property
    def support(self) -> Constraint:
        counts = isinstance(self.base, CountDistribution)
        return constraints.nonnegative_integer if counts else constraints.nonnegative

    def _log_prob(self, value: Tensor) -> Tensor:
        other = F.logsigmoid(-self.zero_logit) + self.base.log_prob(value)
        return torch.where(value == 0, torch.logaddexp(F.logsigmoid(self.zero_logit), other), other)

    def _cdf(self, value: Tensor) -> Tensor:
        return self.zero_probability + (1 - self.zero_probability) * self.base.cdf(value)

    def icdf(self, value: Tensor) -> Tensor:
        share = (value - self.zero_probability) / (1 - self.zero_probability)
        inside = share > 0
        return torch.where(inside, self.base.icdf(torch.where(inside, share, 0.5)), 0.0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            zero = torch.rand(shape, device=self.zero_logit.device) < self.zero_probability
            return torch.where(zero, 0.0, sample_of(self.base, sample_shape, self.batch_shape))

    @property
    def mean(self) -> Tensor:
        return (1 - self.zero_probability) * self.base.mean

    @property
    def variance(self) -> Tensor:
        p = self.zero_probability
        return (1 - p) * (self.base.variance + p * self.base.mean**2)

    def _expected_distance(self, value: Tensor) -> Tensor:
        p = self.zero_probability
        return p * value + (1 - p) * self.base.expected_distance(value)

    @property
    def gini_mean_difference(self) -> Tensor:
        p = self.zero_probability
        return 2 * p * (1 - p) * self.base.mean + (1 - p) ** 2 * self.base.gini_mean_difference

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        p = self.zero_probability
        zero = function(torch.zeros_like(self.base.mean).unsqueeze(0)).squeeze(0)
        return p * zero + (1 - p) * self.base.expectation(function)


class ZeroInflatedOutput(ForecastOutput):
    """Output with an additional probability of zero; a scale applies to the base distribution."""

    base: ClassVar[ForecastOutput]
    takes_loc: ClassVar[bool] = False
    distr_cls: type = ZeroInflated

    @classmethod
    def domain_map(cls, *args: Tensor) -> tuple[Tensor, ...]:
        *of_base, zero_logit = args
        return *cls.base.domain_map(*of_base), zero_logit.clamp(-LARGEST_LOGIT, LARGEST_LOGIT).squeeze(-1)

    @property
    def support(self) -> Constraint:
        return self.base.support

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> ZeroInflated:
        self._check_loc(loc)
        *args, zero_logit = distr_args
        return ZeroInflated(self.base.distribution(tuple(args), scale=scale), zero_logit)


class ZeroInflatedNegativeBinomialOutput(ZeroInflatedOutput):
    """Negative binomial counts with excess zeros."""

    base: ClassVar[ForecastOutput] = NegativeBinomialOutput()
    args_dim: ClassVar[dict[str, int]] = {**NegativeBinomialOutput.args_dim, "zero_logit": 1}
    offsets: ClassVar[dict[str, str]] = NegativeBinomialOutput.offsets


class ZeroInflatedPoissonOutput(ZeroInflatedOutput):
    """Poisson counts with excess zeros."""

    base: ClassVar[ForecastOutput] = PoissonOutput()
    args_dim: ClassVar[dict[str, int]] = {**PoissonOutput.args_dim, "zero_logit": 1}
    offsets: ClassVar[dict[str, str]] = PoissonOutput.offsets


class HurdleLogNormalOutput(ZeroInflatedOutput):
    """Zero with some probability, else log-normal: intermittent demand in real amounts."""

    base: ClassVar[ForecastOutput] = LogNormalOutput()
    args_dim: ClassVar[dict[str, int]] = {**LogNormalOutput.args_dim, "zero_logit": 1}
    offsets: ClassVar[dict[str, str]] = LogNormalOutput.offsets

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative
