"""Scores of forecast distributions, from plain arrays of samples or quantiles; lower is better.

With X, X' independent draws of the forecast, y the label, and y_q the forecast of level q:

    CRPS             E |X - y| - E |X - X'| / 2  =  integral over q of  2 (y - y_q) (q - [y < y_q])
    interval score   u - l + 2 / a (l - y)^+ + 2 / a (y - u)^+,  for the central interval [l, u] that holds 1 - a
    energy score     E ||X - y|| - E ||X - X'|| / 2,  for vectors over the horizon, or over series
    variogram score  sum over i, j of  (|y_i - y_j|^p - E |X_i - X_j|^p)^2,  with p = 1/2
    CRPS-sum         mean QL of the sum over series, levels 0.05, 0.1 ... 0.95, divided by sum over steps of |sum of y|
    PIT              F(y), the midpoint at jumps of F; uniform for calibrated forecasts

Expectations are over the empirical distribution of the samples. In one dimension the energy score equals the CRPS.

References:
    Strictly proper scoring rules, prediction, and estimation (Gneiting and Raftery, 2007): CRPS, interval, energy.
    Variogram-based proper scoring rules for probabilistic forecasts of multivariate quantities (Scheuerer and
    Hamill, 2015).
    High-dimensional multivariate forecasting with low-rank Gaussian copula processes (Salinas et al., 2019): CRPS-sum.
    Predictive model assessment for count data (Czado, Gneiting, Held, 2009): PIT with ties.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

SUM_LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))


def crps(label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """CRPS of the empirical distribution of samples ``[..., N]``, for labels ``[...]``; NaN for labels of NaN."""
    samples = np.sort(samples.astype(float), axis=-1)
    count = samples.shape[-1]
    weight = (2 * np.arange(1, count + 1) - count - 1) / count**2
    return np.abs(samples - label[..., None]).mean(axis=-1) - samples @ weight


def crps_weights(levels: Sequence[float]) -> np.ndarray:
    """Length of the part of (0, 1) closest to each of the ascending levels, ``[Q]``.

    The CRPS is the integral of the quantile loss over all levels; these are the weights of its sum over some levels.
    """
    middles = (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2
    return np.diff(middles, prepend=0.0, append=1.0)


def interval_score(label: np.ndarray, lower: np.ndarray, upper: np.ndarray, share: float) -> np.ndarray:
    """Interval (Winkler) score of central intervals with probability ``share``; arrays of one shape."""
    outside = np.maximum(lower - label, 0) + np.maximum(label - upper, 0)
    return upper - lower + 2 / (1 - share) * outside


def pit(label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Probability integral transform of labels ``[...]`` from samples ``[..., N]``; NaN for labels of NaN."""
    label = label[..., None]
    value = ((samples < label).mean(axis=-1) + (samples <= label).mean(axis=-1)) / 2
    return np.where(np.isnan(label[..., 0]), np.nan, value)


def pit_from_quantiles(label: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """The transform from quantiles ``[..., Q]`` of ascending levels, linear between them, midpoints outside."""
    label = label[..., None]
    bounds = np.array([0.0, *levels, 1.0])
    below, upto = (quantiles < label).sum(axis=-1), (quantiles <= label).sum(axis=-1)
    inside = (below == upto) & (below > 0) & (upto < len(levels))
    left = np.take_along_axis(quantiles, np.maximum(below - 1, 0)[..., None], axis=-1)
    right = np.take_along_axis(quantiles, np.minimum(upto, len(levels) - 1)[..., None], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(inside, ((label - left) / (right - left))[..., 0], 0.5)
    # A label that equals quantiles is distributed evenly between the adjacent levels.
    value = bounds[below] + part * (bounds[upto + 1] - bounds[below])
    return np.where(np.isnan(label[..., 0]), np.nan, value)


def energy_score(label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Energy scores ``[B]`` of vectors ``[B, D]`` for samples ``[B, D, N]``; missing labels are ignored."""
    return _of_each(_energy_score, label, samples)


def variogram_score(label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Variogram scores ``[B]`` of vectors ``[B, D]`` for samples ``[B, D, N]``; missing labels are ignored."""
    return _of_each(_variogram_score, label, samples)


def sum_quantile_loss(label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Quantile losses ``[B]`` of the sums of vectors ``[B, D]`` for samples ``[B, D, N]``.

    They are averaged over ``SUM_LEVELS``, and NaN if a label is missing. The CRPS-sum is their sum divided by the
    sum of ``sum_size``. Quantiles are the order statistics that GluonTS uses.
    """
    total, levels = label.sum(axis=1), np.array(SUM_LEVELS)
    paths = np.sort(samples.astype(float).sum(axis=1), axis=-1)
    quantiles = paths[:, np.round((paths.shape[-1] - 1) * levels).astype(int)]
    error = total[:, None] - quantiles
    return 2 * np.maximum(levels * error, (levels - 1) * error).mean(axis=1)


def sum_size(label: np.ndarray) -> np.ndarray:
    """Absolute sums ``[B]`` of vectors ``[B, D]``."""
    return np.abs(label.sum(axis=1))


def _of_each(score: Callable[..., float], label: np.ndarray, samples: np.ndarray) -> np.ndarray:
    seen = ~np.isnan(label)
    found = [
        score(y[here], x[here].astype(float)) if here.any() else np.nan
        for y, x, here in zip(label, samples, seen, strict=True)
    ]
    return np.array(found, dtype=float)


def _energy_score(label: np.ndarray, samples: np.ndarray) -> float:
    from scipy.spatial.distance import pdist

    count = samples.shape[1]
    # pdist counts each pair once, the mean over all N^2 pairs twice.
    spread = pdist(samples.T).sum() / count**2
    return float(np.linalg.norm(samples - label[:, None], axis=0).mean() - spread)


def _variogram_score(label: np.ndarray, samples: np.ndarray) -> float:
    return _variogram_kernel()(label, np.ascontiguousarray(samples))


@cache
def _variogram_kernel() -> Callable[[np.ndarray, np.ndarray], float]:
    """The compiled score: a thousand series have half a million pairs, with a square root for every sample."""
    import numba

    @numba.njit(nogil=True, fastmath=True)
    def score(label, samples):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        total = 0.0
        for i in range(len(label)):
            for j in range(i):
                roots = np.float32(0)  # square roots take a third of the time in float32; differences stay in float64
                for n in range(samples.shape[1]):
                    roots += np.sqrt(np.abs(np.float32(samples[i, n] - samples[j, n])))
                expected = roots / samples.shape[1]
                total += 2 * (np.sqrt(np.abs(label[i] - label[j])) - expected) ** 2
        return total

    return score
