"""Conformal calibration: quantiles corrected by the errors of earlier windows.

With y the target, q the forecast of level tau, m that of level 0.5, s the scale of a forecast, n calibration scores:

    cqr            E = (y - q) / s,  q + s E_(k),  k = ceil((n + 1) tau) for tau > 1/2, mirrored for tau < 1/2
    cqr_symmetric  E = max(l - y, y - u) / s of an interval [l, u] of share p, l - s E_(k), u + s E_(k),
                   k = ceil((n + 1) p)
    split          R = |y - m| / s,  m +- s R_(k),  k = ceil((n + 1) p)
    adaptive       l - s (theta + delta), u + s (theta + delta), where theta starts at E_(k), delta of each series at 0,
                   and both are updated after each window:
                   theta += eta d (p - share inside) / w,
                   delta += eta a d (p - share of this series inside) / w
    adaptive_cqr   the same for each tail separately

d is the mean absolute deviation of the scores, eta the learning rate, a the relative learning rate of a single series,
and w the number of windows issued before the target of a window is known: delayed feedback requires smaller steps. For
exchangeable scores the share inside lies in [p, p + 1 / (n + 1)]. The adaptive forms do not need that assumption:
theta stays bounded if the scores are, so that over T windows the share inside is p + O(w / (eta T)).

References:
    Conformalized quantile regression (Romano, Patterson, Candes, 2019): cqr, here for each tail.
    A comparison of some conformal quantile regression methods (Sesia, Candes, 2020): scores in units of the width.
    Distribution-free predictive inference for regression (Lei et al., 2018): split.
    Adaptive conformal inference under distribution shift (Gibbs, Candes, 2021).
    Conformal PID control for time series prediction (Angelopoulos, Candes, Tibshirani, 2023): quantile tracking, theta.
    Online learning under delayed feedback (Joulani, Gyorgy, Szepesvari, 2013): the cost of delayed feedback.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from s5forecast.evaluation.arrays import ROUNDING


class Method(NamedTuple):
    """Properties of a calibration method.

    Args:
        around_median: whether intervals are put around the median, instead of correcting quantiles.
        symmetric: whether both ends of an interval are moved by the same amount.
        follows: whether corrections are updated after each window.
    """

    around_median: bool = False
    symmetric: bool = False
    follows: bool = False

    def shares(self, levels: np.ndarray) -> np.ndarray:
        """The share of scores that the correction of each level should cover, ``[Q]``: of an interval or a tail."""
        return abs(2 * levels - 1) if self.symmetric else np.maximum(levels, 1 - levels)


CONFORMAL_METHODS: dict[str, Method] = {
    "cqr": Method(),
    "cqr_symmetric": Method(symmetric=True),
    "split": Method(around_median=True, symmetric=True),
    "adaptive_cqr": Method(follows=True),
    "adaptive": Method(symmetric=True, follows=True),
}
"""Name -> method of ``ConformalCalibrator``."""


def conformal_quantile(scores: np.ndarray, share: float) -> float:
    """The ceil((n + 1) share)-th smallest of n scores; another exchangeable score exceeds it with p <= 1 - share.

    Raises:
        ValueError: there are fewer than ``needed_scores(share)`` scores.
    """
    rank = max(1, int(np.ceil((len(scores) + 1) * share - ROUNDING)))
    if rank > len(scores):
        raise ValueError(f"a share of {share:.4g} needs {needed_scores(share)} scores, there are {len(scores)}")
    return float(np.partition(scores, rank - 1)[rank - 1])


def needed_scores(share: float) -> int:
    """Minimum number of scores for a conformal quantile of this share: n >= share / (1 - share)."""
    return max(1, int(np.ceil(share / (1 - share) - ROUNDING)))


def outward(levels: np.ndarray) -> np.ndarray:
    """-1 for levels below 1/2, 1 for the others."""
    return np.where(levels < 0.5, -1.0, 1.0)


def in_order(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles ``[M, Q]`` in ascending order, with nested intervals that contain the median.

    Sorting alone would swap the ends of an interval of negative width, and so widen an interval that should be narrow.
    """
    lower, median, upper = (quantiles[:, side] for side in (levels < 0.5, levels == 0.5, levels > 0.5))
    if median.size:
        lower, upper = np.minimum(lower, median), np.maximum(upper, median)
    lower = np.minimum.accumulate(lower[:, ::-1], axis=1)[:, ::-1]
    upper = np.maximum.accumulate(upper, axis=1)
    return np.sort(np.concatenate([lower, median, upper], axis=1), axis=1)


def corrections(scores: np.ndarray, levels: np.ndarray, method: Method) -> np.ndarray:
    """Correction of each level, ``[Q]``, in the unit of the outward scores ``[n, Q]``; 0 at a median that is kept."""
    found = [
        conformal_quantile(column, share) if level != 0.5 else float(np.median(column)) * (not method.symmetric)
        for column, share, level in zip(scores.T, method.shares(levels), levels, strict=True)
    ]
    return outward(levels) * found


def spreads(scores: np.ndarray, levels: np.ndarray, method: Method) -> np.ndarray:
    """Mean absolute deviation of the scores ``[n, Q]`` of each level, ``[Q]``; 0 for a median that is not moved."""
    return abs(scores - np.median(scores, axis=0)).mean(axis=0) * (method.shares(levels) > 0)


class Following:
    """Adaptive corrections: theta of each group ``[G, Q]`` plus delta of each series ``[I, Q]``.

    Args:
        theta, delta: initial values, changed in place.
        unit: step size for each group, ``[G, Q]``.
        item_rate: step size of delta relative to theta.
    """

    def __init__(self, theta: np.ndarray, delta: np.ndarray, unit: np.ndarray, item_rate: float) -> None:
        self.theta, self.delta, self.unit, self.item_rate = theta, delta, unit, item_rate

    def correction(self, groups: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Corrections ``[m, Q]`` of m rows, given their positions in theta and delta, ``[m]`` each."""
        return self.theta[groups] + self.delta[items]

    def observe(self, groups: np.ndarray, items: np.ndarray, gaps: np.ndarray) -> None:
        """Update the corrections of m rows by the differences ``[m, Q]`` of nominal and observed share."""
        steps = self.unit[groups] * gaps
        _add_means(self.theta, groups, steps)
        _add_means(self.delta, items, self.item_rate * steps)


def _add_means(table: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    found, place, count = np.unique(rows, return_inverse=True, return_counts=True)
    total = np.zeros((len(found), values.shape[1]))
    np.add.at(total, place, values)
    table[found] += total / count[:, None]


def rows_of(codes: np.ndarray, count: int) -> list[np.ndarray]:
    """For each of the codes 0, 1 ... count - 1, the rows with that code, in ascending order."""
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(count + 1))
    return [order[begin:end] for begin, end in pairwise(ends)]
