"""Forecasts of series of any length, season and horizon by the pretrained network."""

from __future__ import annotations

from math import gcd

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import DAY
from s5forecast.networks.pretrained import FEWEST_OBSERVED, LEVELS, PATCH, PretrainedNetwork

CONTEXT = 1408
# Longest season in steps: two of them must fit into the context.
LONGEST_SEASON = CONTEXT // 2
# Steps that the network forecasts at once; the farthest that it is trained on.
FARTHEST = 192
# Largest level in standard deviations, because scales in the network are limited by the level. A season of 24 steps
# with noise has intervals that are 1.6 times as wide at 2,000 as at 0, and 100 times as wide at 400,000.
HIGHEST = 300.0
# Standard deviations below this part of the level may be rounding errors.
ROUNDING = 1e-12
SEASONS = {"D": (7.0, 365.25), "B": (5.0, 261.0), "W": (52.0, 0.0), "M": (12.0, 0.0), "Q": (4.0, 0.0), "Y": (0.0, 0.0)}


def seasons_of(frequency: Frequency) -> tuple[float, float]:
    """Short and long season in steps, 0 for none."""
    if frequency.integer:
        return whole_seasons(float(frequency.season), 0.0)
    if frequency.unit not in SEASONS:
        day = DAY / frequency.seconds
        short = day if day <= LONGEST_SEASON else day / 24
        if short > LONGEST_SEASON:
            short /= 60
        long = 7 * day if 7 * day <= CONTEXT else 0.0
        return whole_seasons(short, long)
    short, long = SEASONS[frequency.unit]
    if frequency.unit == "D" and frequency.multiple % 7 == 0:
        return whole_seasons(SEASONS["W"][0] * 7 / frequency.multiple, 0.0)
    short, long = (season / frequency.multiple for season in (short, long))
    return whole_seasons(short, long)


def whole_seasons(short: float, long: float) -> tuple[float, float]:
    """The seasons of two steps or more; a short one must be a whole number."""
    if short < 2 or short != round(short):
        short, long = (long if long >= 2 else 0.0), 0.0
    return float(short), float(long if long >= 2 else 0.0)


def zero_shot(
    network: PretrainedNetwork,
    targets: list[np.ndarray],
    seasons: tuple[float, float],
    steps: int,
    bounds: np.ndarray | None = None,
) -> np.ndarray:
    """Quantiles of the network ``[B, steps, Q]`` after series ``[T_i]`` of different lengths.

    Args:
        network: the network.
        targets: B series.
        seasons: short and long season of all series.
        steps: steps to forecast.
        bounds: limits of the quantiles ``[B, 2]``, see :func:`bounds_of`, which is the default.

    Raises:
        ValueError: for values that are too large to be squared.
    """
    parts = np.array([parts_of(target, steps, seasons[0]) for target in targets])
    shifts = np.array([excess_of(target) for target in targets])
    quantiles = np.empty((len(targets), steps, len(LEVELS)))
    for count in np.unique(parts):
        rows = np.flatnonzero(parts == count)
        lowered = [targets[row] - shifts[row] for row in rows]
        quantiles[rows] = _in_parts(network, lowered, seasons, steps, int(count))
    quantiles += shifts[:, None, None]
    if not np.isfinite(quantiles).all():
        raise ValueError("the target has values whose squares exceed the range of float64; divide it by a constant")
    limits = np.array([bounds_of(target) for target in targets]) if bounds is None else bounds
    return np.clip(quantiles, limits[:, None, :1], limits[:, None, 1:])


def bounds_of(target: np.ndarray) -> tuple[float, float]:
    """Limits of the forecasts of a series: zero and above if it has no negative values, as counts, and the reverse."""
    return 0.0 if np.nanmin(target) >= 0 else -np.inf, 0.0 if np.nanmax(target) <= 0 else np.inf


def excess_of(target: np.ndarray) -> float:
    """Level of a series beyond ``HIGHEST`` standard deviations, which is subtracted before forecasts; 0 for most."""
    recent = target[-CONTEXT:]
    values = recent[~np.isnan(recent)]
    if not len(values):
        return 0.0
    with np.errstate(over="ignore"):
        level, spread = values.mean(), values.std()
    excess = abs(level) - HIGHEST * spread
    return float(np.copysign(excess, level)) if excess > 0 and spread > ROUNDING * abs(level) else 0.0


def count_parts(steps: int, season: float) -> int:
    """Number of interleaved series as which a horizon is forecast: the fewest, at best a divisor of the season."""
    fewest = -(-steps // FARTHEST)
    choices = range(fewest, most_parts(steps) + 1)
    return next((parts for parts in choices if season and season % parts == 0), fewest)


def most_parts(steps: int) -> int:
    """Largest number of interleaved series for any season."""
    fewest = -(-steps // FARTHEST)
    return 2 * fewest if fewest > 1 else 1


def parts_of(target: np.ndarray, steps: int, season: float) -> int:
    """Number of interleaved series for a series; 1 if any of them had too few values, as after regular gaps."""
    parts = count_parts(steps, season)
    recent = (interleaved(target, part, parts)[-CONTEXT:] for part in range(parts))
    return parts if all((~np.isnan(one)).sum() >= FEWEST_OBSERVED for one in recent) else 1


def interleaved(target: np.ndarray, part: int, parts: int) -> np.ndarray:
    """Every ``parts``-th value of a series, followed by the step ``part`` of its horizon."""
    return target[(len(target) + part) % parts :: parts]


def thinned_seasons(seasons: tuple[float, float], parts: int) -> list[float]:
    """The seasons in steps of every ``parts``-th value."""
    return [_thinned(season, parts) for season in seasons]


def _thinned(season: float, parts: int) -> float:
    """A season in steps of every ``parts``-th value; a short one that is not divisible is repeated until it is."""
    if season % parts == 0 or season > FARTHEST:
        return season / parts
    return season // gcd(int(season), parts)


def _in_parts(
    network: PretrainedNetwork, targets: list[np.ndarray], seasons: tuple[float, float], steps: int, parts: int
) -> np.ndarray:
    """Quantiles ``[B, steps, Q]``, from a forecast of each of the interleaved series."""
    each = -(-steps // parts)
    thinned = torch.tensor(thinned_seasons(seasons, parts), dtype=torch.float32)
    quantiles = np.empty((len(targets), each * parts, len(LEVELS)))
    for part in range(parts):
        series = [interleaved(target, part, parts) for target in targets]
        quantiles[:, part::parts] = _symmetric(network, _padded(series), thinned.expand(len(series), 2), each)
    return quantiles[:, :steps]


def _symmetric(network: PretrainedNetwork, values: Tensor, seasons: Tensor, steps: int) -> np.ndarray:
    """Mean of the forecasts of the series and of the negated series."""
    forecast, negated = network.forecast(values, seasons, steps), network.forecast(-values, seasons, steps)
    return ((forecast - negated.flip(-1)) / 2).numpy()


def _padded(series: list[np.ndarray]) -> Tensor:
    """The last values of the series, NaN before shorter ones: ``[B, T]`` with T a multiple of the patch."""
    length = min(CONTEXT, max(len(one) for one in series))
    padded = np.full((len(series), -(-length // PATCH) * PATCH), np.nan)
    for row, one in zip(padded, series, strict=True):
        last = one[-len(row) :]
        row[len(row) - len(last) :] = last
    return torch.from_numpy(padded)
