"""Conformal calibration: quantiles moved by what earlier windows say they were off.

With y the target, q the forecast of level tau, m that of level 0.5, s the scale of a forecast, n calibration scores:

    cqr       E = (y - q) / s,    q + s E_(k),  k = ceil((n + 1) tau) for tau > 1/2, mirrored for tau < 1/2
    split     R = |y - m| / s,    m +- s R_(k), k = ceil((n + 1) |2 tau - 1|)
    adaptive  q + s theta, where theta starts as E_(k) and then follows the windows:
              theta += gamma g (tau - share of the last window with y <= q + s theta)

g, the slope of the scores' quantile function at tau, makes gamma the share of a gap in coverage that one window
closes, as in ACI. Where scores are exchangeable, P(y <= q + s E_(k)) lies in [tau, tau + 1 / (n + 1)] for tau > 1/2.
The adaptive form needs no such assumption: over T windows its share below q is tau + O(1 / (gamma T)).

References:
    Conformalized quantile regression (Romano, Patterson, Candes, 2019): cqr, here with a tail on either side.
    A comparison of some conformal quantile regression methods (Sesia, Candes, 2020): scores in units of the width.
    Distribution-free predictive inference for regression (Lei et al., 2018): split.
    Adaptive conformal inference under distribution shift (Gibbs, Candes, 2021).
    Conformal PID control for time series prediction (Angelopoulos, Candes, Tibshirani, 2023): quantile tracking.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from s5forecast.evaluation.arrays import DUST


class Method(NamedTuple):
    """How scores correct a quantile level."""

    share: Callable[[float], float]  # quantile level -> share of the scores that stay within its correction
    around_median: bool = False
    follows: bool = False


METHODS: dict[str, Method] = {
    "cqr": Method(lambda level: max(level, 1 - level)),
    "split": Method(lambda level: abs(2 * level - 1), around_median=True),
    "adaptive": Method(lambda level: max(level, 1 - level), follows=True),
}
"""Name -> method of `ConformalCalibrator`."""


def conformal_quantile(scores: np.ndarray, share: float) -> float:
    """The ceil((n + 1) share)-th smallest of n scores; a further, exchangeable one exceeds it with at most 1 - share.

    Raises:
        ValueError: there are fewer scores than `needed_scores(share)`.
    """
    rank = max(1, int(np.ceil((len(scores) + 1) * share - DUST)))
    if rank > len(scores):
        raise ValueError(f"a share of {share:.4g} needs {needed_scores(share)} scores, there are {len(scores)}")
    return float(np.partition(scores, rank - 1)[rank - 1])


def needed_scores(share: float) -> int:
    """The fewest scores that have a conformal quantile of this share: n >= share / (1 - share)."""
    return max(1, int(np.ceil(share / (1 - share) - DUST)))


def corrections(scores: np.ndarray, levels: np.ndarray, method: Method) -> list[float]:
    """One for each level, in the unit of the scores `[n, Q]`."""
    found = []
    for column, level in zip(scores.T, levels, strict=True):
        if level == 0.5:
            found.append(0.0 if method.around_median else float(np.median(column)))
            continue
        sign = np.sign(level - 0.5)
        outward = abs(column) if method.around_median else sign * column
        found.append(sign * conformal_quantile(outward, method.share(level)))
    return found


def slopes(scores: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Slope of the scores' quantile function at each level, at least their mean absolute deviation."""
    reach = np.minimum(levels, 1 - levels) / 2
    ends = [
        np.quantile(column, (level - h, level + h)) for column, level, h in zip(scores.T, levels, reach, strict=True)
    ]
    spread = abs(scores - np.median(scores, axis=0)).mean(axis=0)
    return np.maximum(np.diff(ends, axis=1)[:, 0] / (2 * reach), spread)
