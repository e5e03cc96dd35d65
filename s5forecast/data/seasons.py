"""Seasons found in series, for times without a calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

# Field of the entries of integer times, whose Periods have no season.
SEASON_FIELD = "season_length"
# A season found in a series: its autocorrelation, and the number of times that it is observed.
CORRELATED, FEWEST_SEASONS = 0.3, 3
# Peaks of about the same height are one season and its multiples.
SAME = 0.9


def find_season(target: np.ndarray) -> float:
    """Season of a series ``[T]`` in steps, the first of the highest peaks of its autocorrelation; 0 if there is none.

    A peak must exceed ``CORRELATED``, and the season be observed at least ``FEWEST_SEASONS`` times.
    """
    seen = ~np.isnan(target)
    steps = np.arange(len(target))
    if seen.sum() < 4 * FEWEST_SEASONS:
        return 0.0
    rest = np.where(seen, target - np.polyval(np.polyfit(steps[seen], target[seen], 1), steps), 0.0)
    size = 2 * len(target)
    products = np.fft.irfft(np.abs(np.fft.rfft(rest, size)) ** 2)[: len(target) // FEWEST_SEASONS + 1]
    pairs = np.fft.irfft(np.abs(np.fft.rfft(seen, size)) ** 2)[: len(products)]
    correlation = products / np.maximum(pairs, 1.0) / max(products[0] / pairs[0], 1e-300)
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]) & (inner > CORRELATED)) + 1
    if not len(peaks):
        return 0.0
    return float(peaks[correlation[peaks] > SAME * correlation[peaks].max()][0])


def common_season(targets: Iterable[np.ndarray]) -> int:
    """The season that most of the series have, 1 if there is none."""
    found = Counter(round(find_season(target)) for target in targets)
    season, count = next(iter(found.most_common(1)), (1, 0))
    return season if season > 1 and 2 * count > found.total() else 1
