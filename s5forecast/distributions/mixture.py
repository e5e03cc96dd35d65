"""Mixtures of other outputs."""

from collections.abc import Callable
from typing import Any

import torch
from gluonts.core.component import validated
from torch import Tensor
from torch.distributions.constraints import Constraint

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput, sample_of
from s5forecast.distributions.poisson import CountDistribution
from s5forecast.distributions.special import implicit
from s5forecast.distributions.zero_inflated import ZeroInflated

BISECTIONS = 64


class Mixture(ForecastDistribution):
    r"""``components`` with weights ``softmax(logits)``: :math:`F(y) = \sum_k w_k F_k(y)`."""

    def __init__(self, components: list[ForecastDistribution], logits: Tensor) -> None:
        self.components, self.logits = components, logits
        super().__init__(torch.broadcast_shapes(logits.shape[:-1], components[0].mean.shape), validate_args=False)

    @property
    def support(self) -> Constraint:
        return self.components[0]._support

    @property
    def weights(self) -> Tensor:
        """``[..., K]``."""
        return torch.softmax(self.logits, -1)

    @property
    def smooth(self) -> bool:
        """Whether no component has an atom."""
        return not any(isinstance(one, CountDistribution | ZeroInflated) for one in self.components)

    def _log_prob(self, value: Tensor) -> Tensor:
        return torch.logsumexp(torch.log_softmax(self.logits, -1) + self._stack(lambda one: one.log_prob(value)), -1)

    def _cdf(self, value: Tensor) -> Tensor:
        return self._average(lambda one: one.cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        """Quantiles by bisection between the smallest and the largest quantile of the components."""
        value = value.to(self.logits.dtype)
        with torch.no_grad():
            ends = self._stack(lambda one: one.icdf(value))
            low, high = ends.amin(-1), ends.amax(-1)
            high = torch.where(self.cdf(low) >= value, low, high)  # the lower end may be an atom
            for _ in range(BISECTIONS):
                middle = low + (high - low) / 2
                reached = self.cdf(middle) >= value
                low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
            if self._counts:
                high = high.floor()
        return implicit(high, value, self.cdf, self.log_prob) if self.smooth else high

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            drawn = self._stack(lambda one: sample_of(one, sample_shape, self.batch_shape))
            weights = self.weights.expand(*shape, -1)
            chosen = torch.distributions.Categorical(weights, validate_args=False).sample()
            return drawn.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)

    @property
    def mean(self) -> Tensor:
        return self._average(lambda one: one.mean)

    @property
    def variance(self) -> Tensor:
        return self._average(lambda one: one.variance + (one.mean - self.mean) ** 2)

    def _expected_distance(self, value: Tensor) -> Tensor:
        return self._average(lambda one: one.expected_distance(value))

    @property
    def gini_mean_difference(self) -> Tensor:
        """From closed forms within each component and expectations across components."""
        total = torch.zeros_like(self.mean)
        for i, one in enumerate(self.components):
            total = total + self.weights[..., i] ** 2 * one.gini_mean_difference
            for j, other in enumerate(self.components[:i]):
                across = other.expectation(one.expected_distance)
                total = total + 2 * self.weights[..., i] * self.weights[..., j] * across
        return total

    def expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return self._average(lambda one: one.expectation(function))

    @property
    def _counts(self) -> bool:
        return all(isinstance(getattr(one, "base", one), CountDistribution) for one in self.components)

    def _average(self, function: Callable[[ForecastDistribution], Tensor]) -> Tensor:
        return (self.weights * self._stack(function)).sum(-1)

    def _stack(self, function: Callable[[ForecastDistribution], Tensor]) -> Tensor:
        return torch.stack(torch.broadcast_tensors(*map(function, self.components)), -1)


class MixtureOutput(ForecastOutput):
    """Mixture of outputs with the same support; location and scale are passed on to all components.

    Args:
        components: outputs of this package, at least two.

    Raises:
        ValueError: for components of different support, or of another package.
    """

    distr_cls: type = Mixture

    @validated()
    def __init__(self, components: list) -> None:
        super().__init__()
        if len(components) < 2 or not all(isinstance(one, ForecastOutput) for one in components):
            raise ValueError(f"a mixture needs at least two outputs of s5forecast.distributions, got {components}")
        supports = {str(one.support) for one in components}
        if len(supports) > 1:
            raise ValueError(f"the components of a mixture must have the same support, got {sorted(supports)}")
        self.components = components
        self.args_dim = {f"{name}_{k}": dim for k, one in enumerate(components) for name, dim in one.args_dim.items()}  # type: ignore[misc]
        self.args_dim["logits"] = len(components)
        links = {f"{name}_{k}": link for k, one in enumerate(components) for name, link in one.offsets.items()}
        self.offsets = links  # type: ignore[misc]
        self.takes_loc = all(one.takes_loc for one in components)  # type: ignore[misc]

    def domain_map(self, *args: Tensor) -> tuple[Tensor, ...]:
        *of_components, logits = args
        parts = zip(self.components, self._parts(of_components), strict=True)
        mapped = [one.domain_map(*part) for one, part in parts]
        return *(arg for part in mapped for arg in part), logits

    @property
    def support(self) -> Constraint:
        return self.components[0].support

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Mixture:
        self._check_loc(loc)
        *args, logits = distr_args
        parts = zip(self.components, self._parts(args), strict=True)
        return Mixture([one.distribution(tuple(part), loc=loc, scale=scale) for one, part in parts], logits)

    @property
    def smooth_quantiles(self) -> bool:
        return all(one.smooth_quantiles and one.distr_cls is not ZeroInflated for one in self.components)

    @property
    def value_in_support(self) -> float:
        return self.components[0].value_in_support

    def _parts(self, args: list[Tensor]) -> list[list[Tensor]]:
        """Split the arguments by component."""
        rest = iter(args)
        return [[next(rest) for _ in one.args_dim] for one in self.components]
