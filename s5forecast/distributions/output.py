"""The interface of outputs, and the base class of those with a distribution."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Protocol, runtime_checkable

from gluonts.core.component import validated
from torch import Tensor
from torch.distributions import Distribution


@runtime_checkable
class Output(Protocol):
    """Maps the values that a network projects to a forecast of one step, and defines its training loss.

    GluonTS's ``Output`` and classes derived from it satisfy this protocol.
    """

    @property
    def args_dim(self) -> dict[str, int]:
        """Number of projected values of each argument."""

    @property
    def value_in_support(self) -> float:
        """A value with a finite loss, which replaces missing targets."""

    def domain_map(self, *args: Tensor) -> tuple[Tensor, ...]:
        """Map projected values ``[..., dim]`` to valid arguments."""

    def loss(
        self, target: Tensor, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Tensor:
        """Elementwise loss of a target."""


@runtime_checkable
class DistributionOutput(Output, Protocol):
    """An output whose arguments parametrize a distribution; GluonTS's ``DistributionOutput`` satisfies it."""

    @property
    def event_shape(self) -> tuple:
        """Shape of one value of the distribution."""

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Distribution:
        """Distribution of ``loc + scale * X``."""


class ParametricOutput:
    """Base class of the outputs of this package that have a distribution.

    Its attributes and methods are those of GluonTS's ``DistributionOutput``, which cannot be the base class because its
    import loads Lightning and all estimators of GluonTS; see :func:`s5forecast.distributions.to_gluonts`.

    Args:
        beta: exponent of the variance by which the likelihood of each value is weighted.
    """

    args_dim: ClassVar[dict[str, int]]
    distr_cls: type

    @validated()
    def __init__(self, beta: float = 0.0) -> None:
        self.beta = beta

    @property
    def event_shape(self) -> tuple:
        return ()

    @property
    def event_dim(self) -> int:
        return len(self.event_shape)

    @property
    def value_in_support(self) -> float:
        return 0.0

    def domain_map(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """Map projected values ``[..., dim]`` to valid arguments of the distribution."""
        raise NotImplementedError

    @abstractmethod
    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Distribution:
        """Distribution of ``loc + scale * X``."""

    def loss(
        self,
        target: Tensor,
        distr_args: tuple[Tensor, ...],
        loc: Tensor | None = None,
        scale: Tensor | None = None,
    ) -> Tensor:
        """Negative log-likelihood, weighted by the variance to the power ``beta``."""
        distribution = self.distribution(distr_args, loc=loc, scale=scale)
        nll = -distribution.log_prob(target)
        return nll * distribution.variance.detach() ** self.beta if self.beta > 0.0 else nll
