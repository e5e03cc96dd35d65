"""Outputs of a network as distributions: GluonTS's, by name, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gluonts.torch.distributions import Output, StudentTOutput
from torch.distributions import constraints

from s5forecast.choices import choose
from s5forecast.distributions.negative_binomial import NegativeBinomialOutput
from s5forecast.distributions.normal import NormalOutput
from s5forecast.distributions.quantile import QuantileOutput

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

# quantile levels -> output
DISTRIBUTIONS: dict[str, Callable[[Sequence[float]], Output]] = {
    "quantile": lambda levels: QuantileOutput(list(levels)),
    "student_t": lambda levels: StudentTOutput(),
    "normal": lambda levels: NormalOutput(),
    "negative_binomial": lambda levels: NegativeBinomialOutput(),
}


def make_output(distr_output: str | Output, quantile_levels: Sequence[float] = DECILES) -> Output:
    """The output named, or the object itself.

    Raises:
        ValueError: for an unknown name, or a quantile level outside (0, 1).
    """
    check_levels(quantile_levels)
    if isinstance(distr_output, Output):
        return distr_output
    return choose(DISTRIBUTIONS, distr_output, "distr_output")(quantile_levels)


def check_levels(quantile_levels: Sequence[float]) -> None:
    """Raise ValueError unless all levels lie in (0, 1), at least one is given, and none twice."""
    if not quantile_levels or not all(0 < level < 1 for level in quantile_levels):
        raise ValueError(f"quantile_levels must lie strictly between 0 and 1, got {list(quantile_levels)}")
    if len(set(quantile_levels)) < len(quantile_levels):
        raise ValueError(f"quantile_levels must not repeat, got {list(quantile_levels)}")


def is_real(output: Output) -> bool:
    """Whether the output covers the whole real line, so that it may be shifted."""
    distr_cls = getattr(output, "distr_cls", None)
    return distr_cls is None or distr_cls.support is constraints.real


__all__ = [
    "DECILES",
    "DISTRIBUTIONS",
    "NegativeBinomialOutput",
    "NormalOutput",
    "Output",
    "QuantileOutput",
    "StudentTOutput",
    "check_levels",
    "is_real",
    "make_output",
]
