"""Outputs of a network as distributions, by name: GluonTS outputs that all work, and their training losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gluonts.torch import distributions as upstream
from gluonts.torch.distributions import Output
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from s5forecast.choices import choose
from s5forecast.distributions.automatic import OutputChoice, choose_output, has_atoms
from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.beta import BetaOutput
from s5forecast.distributions.gamma import GammaOutput
from s5forecast.distributions.laplace import LaplaceOutput
from s5forecast.distributions.log_normal import LogNormalOutput
from s5forecast.distributions.losses import LOSSES, check_loss, losses_of
from s5forecast.distributions.mixture import MixtureOutput
from s5forecast.distributions.negative_binomial import NegativeBinomialOutput
from s5forecast.distributions.normal import NormalOutput
from s5forecast.distributions.poisson import PoissonOutput
from s5forecast.distributions.quantile import QuantileOutput
from s5forecast.distributions.student_t import StudentTOutput
from s5forecast.distributions.truncated_normal import TruncatedNormalOutput
from s5forecast.distributions.zero_inflated import (
    HurdleLogNormalOutput,
    ZeroInflatedNegativeBinomialOutput,
    ZeroInflatedPoissonOutput,
)
from s5forecast.levels import DECILES, check_levels

# quantile levels -> output
DISTRIBUTIONS: dict[str, Callable[[Sequence[float]], Output]] = {
    "quantile": lambda levels: QuantileOutput(list(levels)),
    "student_t": lambda levels: StudentTOutput(),
    "normal": lambda levels: NormalOutput(),
    "laplace": lambda levels: LaplaceOutput(),
    "log_normal": lambda levels: LogNormalOutput(),
    "gamma": lambda levels: GammaOutput(),
    "beta": lambda levels: BetaOutput(),
    "truncated_normal": lambda levels: TruncatedNormalOutput(),
    "poisson": lambda levels: PoissonOutput(),
    "negative_binomial": lambda levels: NegativeBinomialOutput(),
    "zero_inflated_poisson": lambda levels: ZeroInflatedPoissonOutput(),
    "zero_inflated_negative_binomial": lambda levels: ZeroInflatedNegativeBinomialOutput(),
    "hurdle_log_normal": lambda levels: HurdleLogNormalOutput(),
    "mixture": lambda levels: MixtureOutput([NormalOutput(), NormalOutput(), StudentTOutput()]),
}
# What stands in for an output of GluonTS: the same distribution, with what a forecast of the whole horizon needs.
REPLACEMENTS: dict[type[Output], type[ForecastOutput]] = {
    upstream.NormalOutput: NormalOutput,
    upstream.LaplaceOutput: LaplaceOutput,
    upstream.StudentTOutput: StudentTOutput,
    upstream.GammaOutput: GammaOutput,
    upstream.BetaOutput: BetaOutput,
    upstream.PoissonOutput: PoissonOutput,
    upstream.NegativeBinomialOutput: NegativeBinomialOutput,
}
AUTO = "auto"


def make_output(distr_output: str | Output, quantile_levels: Sequence[float] = DECILES) -> Output:
    """The output named, or the object itself, of this package or of a class of your own.

    An output of GluonTS is replaced by ours of the same distribution. The quantile output is trained at the deciles
    and at the levels asked for, so that its mean is known.

    Raises:
        ValueError: for an unknown name, an output of GluonTS that does not serve, or a level outside (0, 1).
    """
    check_levels(quantile_levels)
    if isinstance(distr_output, str):
        return choose(DISTRIBUTIONS, distr_output, "distr_output")(sorted({*DECILES, *quantile_levels}))
    if isinstance(distr_output, upstream.QuantileOutput) and not isinstance(distr_output, QuantileOutput):
        return QuantileOutput(distr_output.quantiles)
    if type(distr_output) in REPLACEMENTS:
        return REPLACEMENTS[type(distr_output)](beta=distr_output.beta)
    if type(distr_output).__module__.startswith("gluonts."):
        raise ValueError(
            f"{type(distr_output).__name__} of GluonTS does not serve here; choose one of "
            f"{', '.join(map(repr, DISTRIBUTIONS))}, or an output of your own"
        )
    return distr_output


def support(output: Output) -> Constraint:
    """The values an output can give: quantiles any."""
    if isinstance(output, ForecastOutput):
        return output.support
    distr_cls = getattr(output, "distr_cls", None)
    return constraints.real if distr_cls is None else distr_cls.support


def is_real(output: Output) -> bool:
    """Whether the output covers the whole real line, so that it may be shifted."""
    return support(output) is constraints.real


__all__ = [
    "AUTO",
    "DISTRIBUTIONS",
    "LOSSES",
    "BetaOutput",
    "ForecastDistribution",
    "ForecastOutput",
    "GammaOutput",
    "HurdleLogNormalOutput",
    "LaplaceOutput",
    "LogNormalOutput",
    "MixtureOutput",
    "NegativeBinomialOutput",
    "NormalOutput",
    "Output",
    "OutputChoice",
    "PoissonOutput",
    "QuantileOutput",
    "StudentTOutput",
    "TruncatedNormalOutput",
    "ZeroInflatedNegativeBinomialOutput",
    "ZeroInflatedPoissonOutput",
    "check_loss",
    "choose_output",
    "has_atoms",
    "is_real",
    "losses_of",
    "make_output",
    "support",
]
