"""Choice of an output by the training data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Shorter series are ignored if longer ones exist: they tell little about zeros and tails.
SHORTEST = 10
MOST_SERIES = 2000
# Counts above this level are treated as continuous.
LARGEST_COUNT_LEVEL = 1000.0
# Excess of the share of zeros over that of a negative binomial with the same mean and variance.
EXCESS_ZEROS = 0.05
FEW_ZEROS = 0.02
# Ratio of the 90th to the 10th percentile above which values are treated as log-normal.
WIDE_RATIO = 4.0
# Ratio of standard deviation to level below which positive values do not come near zero.
FAR_FROM_ZERO = 0.2
SMALLEST_SHARE = 1e-3
# Ratio of the central 95 % to the central 50 % of first differences: 2.91 for a normal, 4.8 for a Laplace distribution.
HEAVY_TAILS = 3.5
# Share of a series that one value must reach to count as an atom, at which the density is not bounded.
ATOM = 0.25


class OutputChoice(NamedTuple):
    """Output chosen by ``distr_output="auto"``, and the reason."""

    name: str  # a key of DISTRIBUTIONS
    reason: str


def choose_output(targets: Sequence[np.ndarray]) -> OutputChoice:
    """Choose an output by the first of these rules that applies:

    1. counts with a typical level below 1000: ``"zero_inflated_negative_binomial"`` if the share of zeros exceeds that
       of a negative binomial with the same mean and variance by more than 0.05, else ``"negative_binomial"``;
    2. nonnegative values with zeros: ``"hurdle_log_normal"`` if more than 2 % are zero, else ``"truncated_normal"``;
    3. values between 0 and 1: ``"beta"``;
    4. positive values with a standard deviation above 0.2 of the mean: ``"log_normal"`` if the 90th percentile is more
       than 4 times the 10th, else ``"gamma"``;
    5. other values: ``"student_t"`` if first differences have heavy tails, else ``"normal"``.

    Shares, levels and ratios are medians or means over at most 2,000 series.

    Args:
        targets: training targets, NaN for missing values.
    """
    observed = [values[~np.isnan(values)].astype(np.float64) for values in targets]
    pooled_low = min(values.min() for values in observed)
    whole = all((values == np.rint(values)).all() for values in observed)
    within_one = pooled_low > 0 and max(values.max() for values in observed) < 1
    sample = _sample(observed)
    level = float(np.median([np.abs(values).mean() for values in sample]))
    if pooled_low >= 0 and whole and level < LARGEST_COUNT_LEVEL:
        return _of_counts(sample)
    if pooled_low == 0:
        return _of_amounts(sample)
    if within_one and level > SMALLEST_SHARE:
        return OutputChoice("beta", "all values lie between 0 and 1")
    spread = float(np.median([values.std() / max(np.abs(values).mean(), 1e-300) for values in sample]))
    if pooled_low > 0 and spread > FAR_FROM_ZERO:
        return _of_positives(sample)
    return _of_reals(sample)


def has_atoms(targets: Sequence[np.ndarray]) -> bool:
    """Whether a typical series repeats one value, such as zero, in at least a quarter of its observed steps.

    The likelihood of a continuous output is then unbounded: it grows with ever narrower peaks at that value.

    Args:
        targets: NaN for missing values.
    """
    observed = [values[~np.isnan(values)] for values in targets if not np.isnan(values).all()]
    if not observed:
        return False
    shares = [np.unique(values, return_counts=True)[1].max() / len(values) for values in _sample(observed)]
    return float(np.median(shares)) >= ATOM


def _sample(observed: list[np.ndarray]) -> list[np.ndarray]:
    """At most ``MOST_SERIES`` evenly spaced series, without the short ones if there are longer ones."""
    long = [values for values in observed if len(values) >= SHORTEST] or observed
    return long[:: -(-len(long) // MOST_SERIES)]


def _of_counts(sample: list[np.ndarray]) -> OutputChoice:
    zeros = float(np.mean([(values == 0).mean() for values in sample]))
    expected = float(np.mean([_negative_binomial_zeros(values.mean(), values.var()) for values in sample]))
    if zeros > expected + EXCESS_ZEROS:
        reason = f"all values are counts, {zeros:.0%} of them zero, against {expected:.0%} of a negative binomial"
        return OutputChoice("zero_inflated_negative_binomial", reason)
    return OutputChoice("negative_binomial", f"all values are counts, {zeros:.0%} of them zero")


def _negative_binomial_zeros(mean: float, variance: float) -> float:
    """Share of zeros of a negative binomial with these moments, or of a Poisson if they are not overdispersed."""
    if variance <= mean or mean == 0:
        return float(np.exp(-mean))
    size = mean**2 / (variance - mean)
    return float(np.exp(-size * np.log1p(mean / size)))


def _of_amounts(sample: list[np.ndarray]) -> OutputChoice:
    zeros = float(np.mean([(values == 0).mean() for values in sample]))
    reason = f"no value is negative, {zeros:.1%} are zero"
    return OutputChoice("hurdle_log_normal" if zeros > FEW_ZEROS else "truncated_normal", reason)


def _of_positives(sample: list[np.ndarray]) -> OutputChoice:
    ratio = float(np.median([np.quantile(values, 0.9) / np.quantile(values, 0.1) for values in sample]))
    reason = f"all values are positive, the ninetieth percentile {ratio:.1f} times the tenth"
    return OutputChoice("log_normal" if ratio > WIDE_RATIO else "gamma", reason)


def _of_reals(sample: list[np.ndarray]) -> OutputChoice:
    tails = float(np.median([_tail_ratio(np.diff(values)) for values in sample]))
    reason = f"values are real, the tails of their changes {tails:.2f} times as wide as the middle"
    return OutputChoice("student_t" if tails > HEAVY_TAILS else "normal", reason)


def _tail_ratio(changes: np.ndarray) -> float:
    """Width of the central 95 % over that of the central 50 %."""
    if not len(changes):
        return 0.0
    low, lower, upper, high = np.quantile(changes, [0.025, 0.25, 0.75, 0.975])
    return float((high - low) / (upper - lower)) if upper > lower else float(high > low) * np.inf
