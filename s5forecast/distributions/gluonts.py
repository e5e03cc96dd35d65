"""Outputs of this package as GluonTS's own classes; importing this module loads Lightning."""

from typing import Any

from gluonts.core.component import validated
from gluonts.model.forecast_generator import ForecastGenerator, QuantileForecastGenerator
from gluonts.torch.distributions import DistributionOutput, Output
from torch import Tensor
from torch.distributions import Distribution


class _Delegate:
    """Delegates to an output of this package.

    Args:
        output: an output of :mod:`s5forecast.distributions`.
    """

    @validated()
    def __init__(self, output: Any) -> None:
        self.output = output
        self.args_dim = output.args_dim

    @property
    def event_shape(self) -> tuple:
        return self.output.event_shape

    @property
    def value_in_support(self) -> float:
        return self.output.value_in_support

    def domain_map(self, *args: Tensor) -> tuple[Tensor, ...]:
        return self.output.domain_map(*args)

    def loss(
        self, target: Tensor, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Tensor:
        return self.output.loss(target, distr_args, loc=loc, scale=scale)


class GluonTSQuantileOutput(_Delegate, Output):
    """A quantile output of this package as an output of GluonTS."""

    @property
    def forecast_generator(self) -> ForecastGenerator:
        return QuantileForecastGenerator(quantiles=self.output.quantiles)


class GluonTSDistributionOutput(_Delegate, DistributionOutput):
    """An output of this package that has a distribution as an output of GluonTS."""

    @property
    def distr_cls(self) -> type:
        return self.output.distr_cls

    @property
    def beta(self) -> float:
        return self.output.beta

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> Distribution:
        return self.output.distribution(distr_args, loc=loc, scale=scale)
