"""Outputs of a network as distributions: GluonTS's, by name, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gluonts.torch.distributions import LaplaceOutput, Output, StudentTOutput
from gluonts.torch.distributions import QuantileOutput as GluonTSQuantileOutput
from torch.distributions import constraints

from s5forecast.choices import choose
from s5forecast.distributions.negative_binomial import NegativeBinomialOutput
from s5forecast.distributions.normal import NormalOutput
from s5forecast.distributions.quantile import QuantileOutput
from s5forecast.levels import DECILES, check_levels

# quantile levels -> output
DISTRIBUTIONS: dict[str, Callable[[Sequence[float]], Output]] = {
    "quantile": lambda levels: QuantileOutput(list(levels)),
    "student_t": lambda levels: StudentTOutput(),
    "normal": lambda levels: NormalOutput(),
    "negative_binomial": lambda levels: NegativeBinomialOutput(),
}
# GluonTS's own that have a mean, quantiles and a scale that serve a forecast of the whole horizon
GLUONTS_OUTPUTS = (StudentTOutput, LaplaceOutput)


def make_output(distr_output: str | Output, quantile_levels: Sequence[float] = DECILES) -> Output:
    """The output named, or the object itself: one of ``GLUONTS_OUTPUTS``, or of a class of your own.

    The quantile output is trained at the deciles and at the levels asked for, so that its mean is known.

    Raises:
        ValueError: for an unknown name, an output of GluonTS that does not serve, or a level outside (0, 1).
    """
    check_levels(quantile_levels)
    levels = sorted({*DECILES, *quantile_levels})
    if isinstance(distr_output, GluonTSQuantileOutput) and not isinstance(distr_output, QuantileOutput):
        return QuantileOutput(distr_output.quantiles)
    if type(distr_output).__module__.startswith("gluonts.") and not isinstance(distr_output, GLUONTS_OUTPUTS):
        raise ValueError(
            f"{type(distr_output).__name__} of GluonTS does not serve here; choose one of "
            f"{', '.join(map(repr, DISTRIBUTIONS))}, LaplaceOutput(), or an output of your own"
        )
    return (
        choose(DISTRIBUTIONS, distr_output, "distr_output")(levels) if isinstance(distr_output, str) else distr_output
    )


def is_real(output: Output) -> bool:
    """Whether the output covers the whole real line, so that it may be shifted."""
    distr_cls = getattr(output, "distr_cls", None)
    return distr_cls is None or distr_cls.support is constraints.real


__all__ = [
    "DISTRIBUTIONS",
    "NegativeBinomialOutput",
    "NormalOutput",
    "Output",
    "QuantileOutput",
    "StudentTOutput",
    "is_real",
    "make_output",
]
