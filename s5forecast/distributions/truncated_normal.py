"""Truncated normal output."""

import math
from typing import Any, ClassVar

import torch
from gluonts.core.component import validated
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.normal import positive_scale
from s5forecast.distributions.special import ndtr

# Maximum distance of the location from the bounds, in scales: beyond it, the truncated density is nearly exponential
# and a smaller scale describes it as well.
FARTHEST = 8.0
# Position that stands for an infinite bound, in scales.
NOWHERE = 40.0
WIDEST = 1e3


class TruncatedNormal(ForecastDistribution):
    """Normal distribution conditioned on an interval, one end of which may be infinite.

    For accuracy, the distribution is mirrored where needed: ``side * z`` lies between ``a < b``.
    """

    def __init__(self, loc: Tensor, scale: Tensor, lower: float = 0.0, upper: float = math.inf) -> None:
        self.lower, self.upper = lower, upper
        self.scale = scale.clamp_max(WIDEST * (upper - lower))
        reach = FARTHEST * self.scale
        loc = torch.maximum(loc, lower - reach) if math.isfinite(lower) else loc
        self.loc = torch.minimum(loc, upper + reach) if math.isfinite(upper) else loc
        super().__init__(torch.broadcast_shapes(self.loc.shape, self.scale.shape), validate_args=False)
        low, high = self._standard_bound(lower), self._standard_bound(upper)
        self._side = torch.where(low + high > 0, -1.0, 1.0).to(self.loc.dtype)
        ends = self._side * low, self._side * high
        self._a, self._b = torch.minimum(*ends), torch.maximum(*ends)
        self._low, self._high = low, high
        self._mass = ndtr(self._b) - ndtr(self._a)

    @property
    def support(self) -> Constraint:
        return _between(self.lower, self.upper)

    def _log_prob(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        return -(z**2) / 2 - math.log(2 * math.pi) / 2 - self.scale.log() - self._mass.log()

    def _cdf(self, value: Tensor) -> Tensor:
        z = self._side * self._clipped(value)
        below = (ndtr(z) - ndtr(self._a)) / self._mass
        above = (ndtr(self._b) - ndtr(z)) / self._mass
        return torch.where(self._side > 0, below, above)

    def icdf(self, value: Tensor) -> Tensor:
        share = torch.where(self._side > 0, value, 1 - value)
        limits = torch.finfo(self.loc.dtype)
        below = (ndtr(self._a) + share * self._mass).clamp(limits.tiny, 1 - limits.eps)
        return (self.loc + self.scale * self._side * torch.special.ndtri(below)).clamp(self.lower, self.upper)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            return self.icdf(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale * self._slope()).clamp(self.lower, self.upper)

    @property
    def variance(self) -> Tensor:
        curve = (self._low * _density(self._low) - self._high * _density(self._high)) / self._mass
        return self.scale**2 * (1 + curve - self._slope() ** 2).clamp_min(0)

    def _partial_mean(self, value: Tensor) -> Tensor:
        fall = (_density(self._low) - _density(self._clipped(value))) / self._mass
        return self.loc * self.cdf(value) + self.scale * fall

    def _slope(self) -> Tensor:
        return (_density(self._low) - _density(self._high)) / self._mass

    def _clipped(self, value: Tensor) -> Tensor:
        return torch.maximum(torch.minimum((value - self.loc) / self.scale, self._high), self._low)

    def _standard_bound(self, bound: float) -> Tensor:
        if math.isfinite(bound):
            return (bound - self.loc) / self.scale
        return torch.full_like(self.loc / self.scale, math.copysign(NOWHERE, bound))


class TruncatedNormalOutput(ForecastOutput):
    """Normal distribution truncated to bounds in units of the data; location and scale are those before truncation.

    Args:
        lower, upper: bounds; ``None`` for no bound.

    Raises:
        ValueError: if both bounds are ``None``, or the lower bound is not below the upper bound.
    """

    args_dim: ClassVar[dict[str, int]] = {"loc": 1, "scale": 1}
    offsets: ClassVar[dict[str, str]] = {"loc": "identity"}
    distr_cls: type = TruncatedNormal

    @validated()
    def __init__(self, lower: float | None = 0.0, upper: float | None = None) -> None:
        super().__init__()
        self.lower = -math.inf if lower is None else lower
        self.upper = math.inf if upper is None else upper
        if not self.lower < self.upper or (math.isinf(self.lower) and math.isinf(self.upper)):
            raise ValueError(f"give at least one bound, with lower < upper; got lower={lower}, upper={upper}")

    @classmethod
    def domain_map(cls, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        return loc.squeeze(-1), positive_scale(scale)

    @property
    def support(self) -> Constraint:
        return _between(self.lower, self.upper)

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> TruncatedNormal:
        mean, spread = distr_args
        if scale is not None:
            mean, spread = mean * scale, spread * scale
        return TruncatedNormal(mean if loc is None else mean + loc, spread, self.lower, self.upper)

    @property
    def value_in_support(self) -> float:
        return min(max(0.0, self.lower), self.upper)


class _Between(constraints.interval):
    """Values between bounds, with a tolerance for rounding in float32."""

    def check(self, value: Tensor) -> Tensor:
        eps = torch.finfo(torch.float32).eps
        lower, upper = self.lower_bound, self.upper_bound
        return (value >= lower - eps * abs(lower)) & (value <= upper + eps * abs(upper))


def _between(lower: float, upper: float) -> Constraint:
    return constraints.nonnegative if (lower, upper) == (0, math.inf) else _Between(lower, upper)


def _density(z: Tensor) -> Tensor:
    return torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
