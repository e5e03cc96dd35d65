"""Generated data sets of few values, of the kinds that users bring: seeded, with known peculiarities.

The components differ from those of the synthetic series that networks are trained on: seasons drift and have fractional
lengths, trends turn, noise has memory and bursts, and levels shift.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd


class SmallSet(NamedTuple):
    """Series of one frequency, whose last ``windows`` horizons are forecast."""

    name: str
    freq: str
    prediction_length: int
    windows: int
    series: list[np.ndarray]
    special: int | None = None  # position of the peculiar series, if there is one

    def entries(self, omitted: int) -> list[dict]:
        """GluonTS entries without the last ``omitted`` steps."""
        start = pd.Period("2001-01-01", self.freq)
        return [
            {"item_id": f"s{number}", "start": start, "target": values[: len(values) - omitted]}
            for number, values in enumerate(self.series)
        ]


def make_set(kind: str, number: int) -> SmallSet:
    """Data set ``number`` of a kind."""
    rng = np.random.default_rng([zlib.crc32(kind.encode()), number])
    return KINDS[kind](f"{kind}/{number}", rng)


def one_weekly(name: str, rng: np.random.Generator) -> SmallSet:
    """One series of 900 to 3,000 weeks, such as loads, temperatures or prices, over a quarter to a year."""
    length = int(rng.integers(900, 3001))
    return SmallSet(name, "W", int(rng.choice([13, 26, 52])), 3, [_weekly(length, rng)])


def few_weekly(name: str, rng: np.random.Generator) -> SmallSet:
    """Two to six series of 200 to 600 weeks, over 24 weeks."""
    length = int(rng.integers(200, 601))
    return SmallSet(name, "W", 24, 2, [_weekly(length, rng) for _ in range(rng.integers(2, 7))])


def short_quarterly(name: str, rng: np.random.Generator) -> SmallSet:
    """Eight to 30 series of 40 to 52 quarters, whose trends go on, flatten or turn, over two years."""
    series = [_quarterly(int(rng.integers(40, 53)), rng) for _ in range(rng.integers(8, 31))]
    return SmallSet(name, "Q", 8, 1, series)


def one_flat(name: str, rng: np.random.Generator) -> SmallSet:
    """Five seasonal series of 96 to 240 months, and one that is flat within 1 %."""
    length = int(rng.integers(96, 241))
    series = [_monthly(length, rng) for _ in range(5)]
    level = 10 ** rng.uniform(1, 4)
    flat = level * (1 + 0.003 * _memory(length, 0.7, rng))
    return SmallSet(name, "M", 12, 2, [*series, flat], special=5)


def one_cumulative(name: str, rng: np.random.Generator) -> SmallSet:
    """Seven series of 200 to 500 days, and one that is the sum of all its values so far."""
    length = int(rng.integers(200, 501))
    series = [_daily(length, rng) for _ in range(7)]
    return SmallSet(name, "D", 14, 2, [*series, np.cumsum(_daily(length, rng))], special=7)


def one_large(name: str, rng: np.random.Generator) -> SmallSet:
    """Seven series of 200 to 500 days, and a trending one whose values are 1,000 to 100,000 times as large."""
    length = int(rng.integers(200, 501))
    series = [_daily(length, rng) for _ in range(7)]
    walk = np.cumsum(rng.normal(rng.choice([-1, 1]), 0.7, length))
    large = 10 ** rng.uniform(5, 7) * (1 + 0.5 * walk / np.ptp(walk))
    return SmallSet(name, "D", 14, 2, [*series, large], special=7)


def hourly_counts(name: str, rng: np.random.Generator) -> SmallSet:
    """Four series of 400 to 1,200 hourly counts, over one or two days."""
    length = int(rng.integers(400, 1201))
    return SmallSet(name, "h", int(rng.choice([24, 48])), 3, [_counts(length, rng) for _ in range(4)])


KINDS: dict[str, Callable[[str, np.random.Generator], SmallSet]] = {
    kind.__name__: kind
    for kind in (one_weekly, few_weekly, short_quarterly, one_flat, one_cumulative, one_large, hourly_counts)
}


def _memory(length: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """First-order autoregression of unit variance, with bursts."""
    noise = rng.standard_t(6, length) * np.exp(0.3 * rng.standard_normal(length))
    values = np.zeros(length)
    for t in range(1, length):
        values[t] = share * values[t - 1] + noise[t]
    return values / max(values.std(), 1e-9)


def _wave(length: int, season: float, rng: np.random.Generator, harmonics: int = 3) -> np.ndarray:
    """A season of fractional length whose amplitude changes slowly, of unit variance."""
    t = np.arange(length) / season
    wave = np.zeros(length)
    for k in range(1, harmonics + 1):
        wave += rng.normal() / k * np.sin(2 * np.pi * (k * t + rng.random()))
    return wave / max(wave.std(), 1e-9) * np.exp(0.3 * _memory(length, 0.99, rng))


def _weekly(length: int, rng: np.random.Generator) -> np.ndarray:
    seasonal, drift = rng.uniform(0, 1.5), rng.uniform(0, 0.06)
    values = seasonal * _wave(length, 365.25 / 7, rng)
    values += drift * np.cumsum(rng.standard_normal(length)) + rng.uniform(0.2, 0.8) * _memory(length, 0.6, rng)
    if rng.random() < 0.4:
        values[rng.integers(length) :] += rng.normal(0, 1)
    level = 10 ** rng.uniform(0, 4)
    if rng.random() < 0.5:
        return level * np.exp(0.3 * values)
    return level * (rng.uniform(4, 10) + values)


def _quarterly(length: int, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(length)
    slope = rng.normal(0, 0.02)
    change = int(rng.integers(length // 3, length - 4))
    factor = rng.choice([1.0, 1.0, 0.3, -0.7])  # goes on in half of the cases, flattens or turns
    trend = slope * np.where(t < change, t, change + factor * (t - change))
    wave = rng.uniform(0, 0.12) * np.tile(rng.standard_normal(4), length // 4 + 1)[:length]
    noise = 0.02 * np.cumsum(rng.standard_normal(length)) + rng.uniform(0.01, 0.05) * rng.standard_normal(length)
    return 10 ** rng.uniform(1, 5) * np.exp(trend + wave + noise)


def _monthly(length: int, rng: np.random.Generator) -> np.ndarray:
    values = rng.uniform(0.05, 0.3) * _wave(length, 12, rng) + rng.normal(0, 0.002) * np.arange(length)
    values += 0.02 * np.cumsum(rng.standard_normal(length)) + rng.uniform(0.02, 0.1) * _memory(length, 0.4, rng)
    return 10 ** rng.uniform(1, 4) * np.exp(values)


def _daily(length: int, rng: np.random.Generator) -> np.ndarray:
    week = 1 + rng.uniform(0, 0.4) * np.tile(rng.standard_normal(7), length // 7 + 1)[:length]
    level = np.exp(0.02 * np.cumsum(rng.standard_normal(length)) + rng.uniform(0.05, 0.2) * _memory(length, 0.5, rng))
    return 10 ** rng.uniform(0.5, 2.5) * np.maximum(week, 0.05) * level


def _counts(length: int, rng: np.random.Generator) -> np.ndarray:
    day = np.exp(rng.uniform(0.3, 1.2) * _wave(length, 24, rng, 2).clip(-2.5, 2.5))
    week = np.where(np.arange(length) // 24 % 7 < 5, 1.0, rng.uniform(0.4, 1.2))
    rate = 10 ** rng.uniform(0, 1.5) * day * week * np.exp(0.3 * _memory(length, 0.95, rng))
    shape = rng.uniform(3, 30)
    return rng.poisson(rate * rng.gamma(shape, 1 / shape, length)).astype(np.float64)
