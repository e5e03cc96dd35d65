"""Synthetic series for pretraining, each from a random family and a random chain of transformations.

A series is described by its seasons, a short and a long one in steps, as a calendar frequency has them. Each family is
one scalar function compiled by Numba that fills a series; the transformations then make it look like data:
exponentials, saturation, shifts, outliers, rounding, missing values, averages of finer steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from s5forecast.pretraining.families import fill_all

# Short and long season in steps and how often each pair is drawn: those of calendar frequencies.
SEASONS: dict[tuple[int, float], float] = {
    (24, 168.0): 5.0,  # hours
    (96, 672.0): 3.0,  # quarter-hours
    (48, 336.0): 1.5,  # half-hours
    (144, 1008.0): 0.5,  # 10 minutes
    (288, 0.0): 0.5,  # 5 minutes
    (60, 0.0): 0.5,  # minutes, seconds
    (12, 24.0): 0.3,
    (8, 56.0): 0.3,  # 3 hours
    (4, 28.0): 0.3,  # 6 hours
    (7, 365.25): 5.0,  # days
    (7, 30.44): 0.5,
    (5, 261.0): 2.0,  # business days
    (52, 0.0): 2.5,  # weeks
    (12, 0.0): 4.0,  # months
    (4, 0.0): 2.0,  # quarters
    (1, 0.0): 1.5,  # years, or none
}
# Fractions of series with random seasons, with seasons that the network is not told or told wrong, that begin late.
RANDOM_SEASONS, TOLD_NONE, TOLD_WRONG, LATE = 0.12, 0.10, 0.08, 0.25
FEWEST_STEPS = 16


class SyntheticBatch(NamedTuple):
    """N synthetic series of T steps."""

    values: np.ndarray  # [N, T] float32, NaN where missing
    seasons: np.ndarray  # [N, 2] float32, short and long season passed to the network, in steps; 0 for none


def draw(count: int, length: int, rng: np.random.Generator) -> SyntheticBatch:
    """Draw ``count`` series of ``length`` steps."""
    true = _draw_seasons(count, rng)
    values = np.empty((count, length), dtype=np.float32)
    fill_all(values, true, rng.integers(2**31, size=count))
    told = true.copy()
    chance = rng.random(count)
    wrong = chance < TOLD_WRONG
    told[wrong] = _draw_seasons(int(wrong.sum()), rng)
    told[(chance >= TOLD_WRONG) & (chance < TOLD_WRONG + TOLD_NONE)] = 0.0
    told[told == 1.0] = 0.0
    _begin_late(values, rng)
    return SyntheticBatch(values, told.astype(np.float32))


def _draw_seasons(count: int, rng: np.random.Generator) -> np.ndarray:
    pairs, weights = np.array(list(SEASONS)), np.array(list(SEASONS.values()))
    seasons = pairs[rng.choice(len(pairs), size=count, p=weights / weights.sum())]
    free = rng.random(count) < RANDOM_SEASONS
    short = np.rint(np.exp(rng.uniform(np.log(3), np.log(200), count)))
    long = np.where(rng.random(count) < 0.5, short * rng.integers(2, 9, count), 0.0)
    return np.where(free[:, None], np.stack([short, long], axis=1), seasons)


def _begin_late(values: np.ndarray, rng: np.random.Generator) -> None:
    """Remove the beginning of some series, except the last ``FEWEST_STEPS`` steps."""
    count, length = values.shape
    begin = (rng.random(count) * max(length - FEWEST_STEPS, 0)).astype(int) * (rng.random(count) < LATE)
    values[np.arange(length) < begin[:, None]] = np.nan
