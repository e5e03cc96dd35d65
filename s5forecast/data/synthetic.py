"""Random series of level, slope, seasons and noise, which reduce overfitting on small data sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.signal import lfilter

DAMPING = (1.0, 0.98, 0.9)
HARMONICS = 6


def synthetic_series(count: int, length: int, seasons: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Random series, float32 ``[count, length]``, each with its own components.

    A series is the sum of a random walk, a damped random slope, sometimes a first-order autoregression, a sum of
    sines for each season, white noise and sometimes a level shift; some series are exponentiated. The scales of the
    components are log-normal, so that any of them may dominate a series. Training on synthetic series was proposed in
    "ForecastPFN: synthetically-trained zero-shot forecasting" (Dooley, Khurana, Mohapatra, Naidu, White, 2023).

    Args:
        count, length: number of series and of their steps.
        seasons: lengths in steps of the seasons that a series may have.
        rng: random number generator.
    """
    series = _level(count, length, rng) + _autoregression(count, length, rng)
    for season in seasons:
        series += _season(count, length, season, rng)
    series += _size(count, -2.0, 1.0, rng) * rng.standard_normal((count, length))
    return _exponential(_shifted(series, rng), rng).astype(np.float32)


def _size(count: int, mean: float, deviation: float, rng: np.random.Generator) -> np.ndarray:
    return rng.lognormal(mean, deviation, (count, 1))


def _sometimes(count: int, share: float, rng: np.random.Generator) -> np.ndarray:
    return rng.random((count, 1)) < share


def _level(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """A random walk whose increments are noise and a damped slope, itself a random walk."""
    noise = _size(count, -2.5, 1.5, rng) * rng.standard_normal((count, length))
    push = _size(count, -6.0, 1.5, rng) * rng.standard_normal((count, length)) * _sometimes(count, 0.5, rng)
    push[:, :1] += _size(count, -5.0, 1.0, rng) * rng.standard_normal((count, 1))
    damping = rng.choice(DAMPING, count)
    slope = np.concatenate([lfilter([1.0], [1.0, -d], row[None]) for d, row in zip(damping, push, strict=True)])
    return np.cumsum(noise + slope, axis=1)


def _autoregression(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    noise = _size(count, -1.5, 1.0, rng) * rng.standard_normal((count, length)) * _sometimes(count, 0.5, rng)
    memory = rng.uniform(0.3, 0.98, count)
    return np.concatenate([lfilter([1.0], [1.0, -m], row[None]) for m, row in zip(memory, noise, strict=True)])


def _season(count: int, length: int, season: int, rng: np.random.Generator) -> np.ndarray:
    """Sines of decreasing amplitude at multiples of the season's frequency; some vary in amplitude over time."""
    harmonic = np.arange(1, max(2, min(HARMONICS, season // 2) + 1))
    kept = harmonic <= rng.integers(1, len(harmonic) + 1, (count, 1))
    size = rng.standard_normal((count, len(harmonic))) / harmonic ** rng.uniform(0, 1.5, (count, 1)) * kept
    phase = rng.uniform(0, 2 * np.pi, (count, len(harmonic)))
    # One period is computed and repeated.
    angle = 2 * np.pi * harmonic[:, None] * np.arange(season) / season
    period = (size[..., None] * np.sin(angle + phase[..., None])).sum(axis=1)
    wave = np.tile(period, (1, -(-length // season)))[:, :length]
    walk = np.exp(np.cumsum(0.01 * rng.standard_normal((count, length)), axis=1))
    wave = np.where(_sometimes(count, 0.3, rng), wave * walk, wave)
    return _size(count, -0.5, 1.0, rng) * wave * _sometimes(count, 0.6, rng)


def _shifted(series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add a level shift, on the scale of their spread, to some series at a random step."""
    count, length = series.shape
    after = np.arange(length) >= rng.integers(length, size=(count, 1))
    shift = rng.standard_normal((count, 1)) * series.std(axis=1, keepdims=True) * _sometimes(count, 0.2, rng)
    return series + shift * after


def _exponential(series: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace some series by the exponential of themselves, scaled to a spread below 1."""
    spread = series.std(axis=1, keepdims=True).clip(min=1e-6)
    centered = (series - series.mean(axis=1, keepdims=True)) / spread
    growth = np.exp(centered * rng.uniform(0.1, 0.8, (len(series), 1)))
    return np.where(_sometimes(len(series), 0.3, rng), growth, series)
