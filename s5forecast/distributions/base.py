"""Base classes of the distributions of this package and of the outputs that produce them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from s5forecast.distributions.output import ParametricOutput
from s5forecast.distributions.quadrature import unit_interval

LARGEST_GRADIENT = 1e30


class ForecastDistribution(Distribution):
    r"""Adds expectations and the continuous ranked probability score (CRPS) to a torch distribution.

    .. math:: \mathrm{CRPS}(F, y) = E|X - y| - \tfrac12 E|X - X'|

    A subclass defines ``support``, ``icdf``, ``mean``, ``variance`` and ``sample``, unless it inherits them from a
    distribution of torch, and ``_log_prob``, ``_cdf`` and either ``_partial_mean`` or ``_expected_distance``, which
    receive values of the support only.

    References:
        "Strictly Proper Scoring Rules, Prediction, and Estimation" (Gneiting, Raftery, 2007), section 4.2
        "Evaluating Probabilistic Forecasts with scoringRules" (Jordan, Krüger, Lerch, 2019), for closed forms
    """

    arg_constraints: ClassVar[dict[str, Constraint]] = {}

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the support."""
        return getattr(self.support, "lower_bound", -math.inf), getattr(self.support, "upper_bound", math.inf)

    @property
    def _support(self) -> Constraint:
        assert self.support is not None
        return self.support

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the density, or of the probability of a count; ``-inf`` outside the support."""
        outside = self._outside(value)
        return torch.where(outside, -math.inf, self._log_prob(self._replace(outside, value)))

    def cdf(self, value: Tensor) -> Tensor:
        """``P(X <= value)``."""
        _, upper = self.bounds
        outside = self._outside(value) & self._beyond(value)
        limit = (value >= upper).to(value.dtype)
        return torch.where(outside, limit, self._cdf(self._replace(outside, value)))

    def expected_distance(self, value: Tensor) -> Tensor:
        """``E|X - value|``, which is ``|E[X] - value|`` outside the bounds."""
        outside = self._beyond(value)
        return torch.where(outside, (self.mean - value).abs(), self._expected_distance(self._replace(outside, value)))

    def _log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value)

    def _cdf(self, value: Tensor) -> Tensor:
        return super().cdf(value)

    def _partial_mean(self, value: Tensor) -> Tensor:
        """``E[X; X <= value]``."""
        raise NotImplementedError

    def _expected_distance(self, value: Tensor) -> Tensor:
        return value * (2 * self._cdf(value) - 1) + self.mean - 2 * self._partial_mean(value)

    def _outside(self, value: Tensor) -> Tensor:
        """Whether each value is outside the support; ``False`` for NaN."""
        return ~(self._support.check(value) | value.isnan())

    def _beyond(self, value: Tensor) -> Tensor:
        lower, upper = self.bounds
        return (value <= lower) | (value >= upper)

    def _replace(self, outside: Tensor, value: Tensor) -> Tensor:
        """Replace the values that are outside by one with finite gradients."""
        mean = self.mean.detach()
        return torch.where(outside, mean.floor() if self._support.is_discrete else mean, value)

    @property
    def gini_mean_difference(self) -> Tensor:
        """``E|X - X'|`` of two independent draws; by quadrature unless a subclass has a closed form."""
        return self.expectation(self.expected_distance)

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """``E[function(X)]`` by quadrature over the quantiles; ``function`` maps ``[Q, ...]`` to ``[Q, ...]``."""
        levels, weights = (x.view(-1, *[1] * len(self.batch_shape)) for x in unit_interval(self.mean))
        return (weights * function(self.icdf(levels))).sum(0)

    def crps(self, value: Tensor) -> Tensor:
        """Continuous ranked probability score, in units of the value."""
        return self.expected_distance(value) - self.gini_mean_difference / 2


class Affine(ForecastDistribution):
    """Distribution of ``loc + scale * X``, with the support of X: real, or nonnegative with a location of zero."""

    def __init__(self, base: ForecastDistribution, loc: Tensor | float, scale: Tensor | float) -> None:
        self.base, self.loc, self.scale = base, torch.as_tensor(loc), torch.as_tensor(scale)
        shape = torch.broadcast_shapes(base.batch_shape, self.loc.shape, self.scale.shape)
        super().__init__(shape, validate_args=False)

    @property
    def support(self) -> Constraint:
        return self.base._support

    def _log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(self._standard(value)) - self.scale.log()

    def _cdf(self, value: Tensor) -> Tensor:
        return self.base.cdf(self._standard(value))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * self.base.icdf(value)

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * self.base.mean

    @property
    def variance(self) -> Tensor:
        return (self.scale**2 * self.base.variance).expand(self.batch_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * sample_of(self.base, sample_shape, self.batch_shape)

    def _expected_distance(self, value: Tensor) -> Tensor:
        return self.scale * self.base.expected_distance(self._standard(value))

    @property
    def gini_mean_difference(self) -> Tensor:
        return self.scale * self.base.gini_mean_difference

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return self.base.expectation(lambda x: function(self.loc + self.scale * x))

    def _standard(self, value: Tensor) -> Tensor:
        return (value - self.loc) / self.scale


def sample_of(distribution: Distribution, sample_shape: Sequence[int], batch_shape: Sequence[int]) -> Tensor:
    """Independent draws ``[*sample_shape, *batch_shape]``, also along the dimensions to which X is broadcast."""
    s, d = len(sample_shape), len(batch_shape)
    own = [1] * (d - len(distribution.batch_shape)) + list(distribution.batch_shape)
    copies = [size if one == 1 else 1 for one, size in zip(own, batch_shape, strict=True)]
    drawn = distribution.sample(torch.Size([*sample_shape, *copies])).view((*sample_shape, *copies, *own))
    pairs = [s + i + k for i in range(d) for k in (0, d)]
    return drawn.permute((*range(s), *pairs)).reshape((*sample_shape, *batch_shape))


class ForecastOutput(ParametricOutput):
    """An output whose distributions are :class:`ForecastDistribution`.

    Real values take ``loc`` and ``scale``, positive values and counts a ``scale`` only. The loss is computed in
    float64 and returned in the type of the target.
    """

    # Arguments to which a head adds its seasonal offset before the domain map, and the link that transforms the offset.
    offsets: ClassVar[dict[str, str]] = {}
    takes_loc: ClassVar[bool] = True

    @property
    def smooth_quantiles(self) -> bool:
        """Whether quantiles are differentiable, which those of counts are not."""
        return self.support is not constraints.nonnegative_integer

    @property
    def support(self) -> Constraint:
        """Set of possible values."""
        return self.distr_cls.support  # type: ignore[attr-defined]

    def _base_distribution(self, distr_args: tuple[Tensor, ...]) -> ForecastDistribution:
        return self.distr_cls(*distr_args, validate_args=False)

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> ForecastDistribution:
        """Distribution of ``loc + scale * X``.

        Raises:
            ValueError: if a location is given to an output of limited support.
        """
        self._check_loc(loc)
        if loc is None and scale is None:
            return self._base_distribution(distr_args)
        return Affine(self._base_distribution(distr_args), 0.0 if loc is None else loc, 1.0 if scale is None else scale)

    def _check_loc(self, loc: Tensor | None) -> None:
        if loc is not None and not self.takes_loc:
            raise ValueError(f"{type(self).__name__} has a limited support, which cannot be shifted; leave out loc")

    def loss(
        self,
        target: Tensor,
        distr_args: tuple[Tensor, ...],
        loc: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Negative log-likelihood, elementwise."""
        args = tuple(widened(arg) for arg in distr_args)
        loss = super().loss(
            target.double(), args, None if loc is None else widened(loc), None if scale is None else widened(scale)
        )
        return loss.to(target.dtype)


class _Widened(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.dtype = x.dtype
        return x.double()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(-LARGEST_GRADIENT, LARGEST_GRADIENT).to(ctx.dtype)


def widened(x: Tensor) -> Tensor:
    """Convert to float64; the gradient is clamped to the range of the original type."""
    return _Widened.apply(x)
