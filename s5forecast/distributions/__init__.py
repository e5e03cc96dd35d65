"""Network outputs by name: distributions, quantiles, and their training losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
from s5forecast.distributions.output import DistributionOutput, Output, ParametricOutput
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
# GluonTS's outputs of these names are replaced by ours, which have quantiles and a mean for every step of the horizon.
REPLACEMENTS: dict[str, type[ForecastOutput]] = {
    output.__name__: output
    for output in (
        NormalOutput,
        LaplaceOutput,
        StudentTOutput,
        GammaOutput,
        BetaOutput,
        PoissonOutput,
        NegativeBinomialOutput,
    )
}
GLUONTS = "gluonts.torch.distributions."
AUTO = "auto"


def make_output(distr_output: str | Output, quantile_levels: Sequence[float] = DECILES) -> Output:
    """Build an output by name, or check an output object.

    An output of GluonTS is replaced by ours of the same distribution; an output of this package or of your own class is
    returned unchanged.

    Args:
        distr_output: a key of ``DISTRIBUTIONS``, or an output.
        quantile_levels: levels in (0, 1) of the quantile output, which is also trained at the deciles, from which
            its mean is computed.

    Raises:
        ValueError: for an unknown name, an output of GluonTS that has no replacement, or a level outside (0, 1).
    """
    quantile_levels = check_levels(quantile_levels)
    if isinstance(distr_output, str):
        return choose(DISTRIBUTIONS, distr_output, "distr_output")(sorted({*DECILES, *quantile_levels}))
    if _derives_from_gluonts(distr_output, "QuantileOutput"):
        return QuantileOutput(distr_output.quantiles)  # type: ignore[attr-defined]
    if not type(distr_output).__module__.startswith(GLUONTS):
        return distr_output
    name = type(distr_output).__name__
    if name not in REPLACEMENTS:
        raise ValueError(
            f"GluonTS's {name} is not supported; choose one of {', '.join(map(repr, DISTRIBUTIONS))}, or an output "
            "of your own"
        )
    return REPLACEMENTS[name](beta=distr_output.beta)  # type: ignore[attr-defined]


def _derives_from_gluonts(output: Output, name: str) -> bool:
    """Whether the output derives from GluonTS's class of this name, whose import would load Lightning."""
    return any(base.__name__ == name and base.__module__.startswith(GLUONTS) for base in type(output).__mro__)


def to_gluonts(output: Output) -> Any:
    """Wrap an output of this package for an estimator of GluonTS, as in ``DeepAREstimator(distr_output=...)``.

    Returns:
        A ``gluonts.torch.distributions.DistributionOutput``; for quantiles, a ``gluonts.torch.distributions.Output``.
    """
    from s5forecast.distributions.gluonts import GluonTSDistributionOutput, GluonTSQuantileOutput

    has_distribution = isinstance(output, DistributionOutput)
    return GluonTSDistributionOutput(output) if has_distribution else GluonTSQuantileOutput(output)


def support(output: Output) -> Constraint:
    """The set of values that an output can predict; all real numbers for quantiles."""
    if isinstance(output, ForecastOutput):
        return output.support
    distr_cls = getattr(output, "distr_cls", None)
    return constraints.real if distr_cls is None else distr_cls.support


def is_real(output: Output) -> bool:
    """Whether the support is the whole real line, so that the output can be shifted."""
    return support(output) is constraints.real


__all__ = [
    "AUTO",
    "DISTRIBUTIONS",
    "LOSSES",
    "BetaOutput",
    "DistributionOutput",
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
    "ParametricOutput",
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
    "to_gluonts",
]
