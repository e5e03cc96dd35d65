"""Calendar features and lags, from integer time.

Time is counted in base units since 1970 (``pd.Period.ordinal``), so features of any number of windows are a
few array operations, and none of them is stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from s5forecast.data.frequency import DAY, YEAR, Frequency
from s5forecast.data.spec import WindowSpec

CYCLES = {"hour": 3_600.0, "day": DAY, "week": 7 * DAY, "year": YEAR}
# Monday, 1969-12-29, so that the week's phase is 0 on Monday.
EPOCH_WEEKDAY = 3 * DAY
# Units that are not of equal length in seconds: the steps of their cycles.
STEPS = {"B": (5.0, YEAR / DAY * 5 / 7), "M": (12.0,), "Q": (4.0,), "Y": ()}
HARMONICS = 2
# Steps of a year of days, by date and in whole weeks.
YEARS = {"D": (365, 364), "B": (261, 260)}


def calendar_features(frequency: Frequency, time: Tensor, substeps: int = 1) -> Tensor:
    """Sines and cosines of the time of hour, day, week and year, those that are longer than two steps.

    Arguments:
        frequency: of the steps.
        time: base units since 1970, int64 ``[...]``.
        substeps: of what counts as a step in the choice of cycles.

    Returns:
        float32 ``[..., F]`` in [-1, 1].
    """
    return _waves(_phases(frequency, time, substeps), time)


def window_calendar(spec: WindowSpec, time: Tensor) -> Tensor:
    """Calendar features of the cycles seen in training, at ``time [...]`` in base units since 1970, ``[..., F]``."""
    return calendar_features(spec.frequency, time, spec.substeps)


def clock_features(cycles: Sequence[str], seconds: Tensor) -> Tensor:
    """Sines and cosines of the position in each of some cycles.

    Arguments:
        cycles: keys of ``CYCLES``.
        seconds: since 1970 by the clock on the wall, float64 ``[...]``.

    Returns:
        float32 ``[..., F]`` in [-1, 1].
    """
    return _waves([_phase(name, seconds) for name in cycles], seconds)


def num_clock_features(cycles: Sequence[str]) -> int:
    return 2 * HARMONICS * len(cycles)


def num_calendar_features(frequency: Frequency, substeps: int = 1) -> int:
    return calendar_features(frequency, torch.zeros(1, dtype=torch.int64), substeps).shape[-1]


def _phases(frequency: Frequency, time: Tensor, substeps: int) -> list[Tensor]:
    """Position within each cycle, in [0, 1), float64."""
    if frequency.unit in STEPS:
        offset = 3 if frequency.unit == "B" else 0  # 1970-01-01 was a Thursday
        return [(time + offset).double().remainder(cycle) / cycle for cycle in STEPS[frequency.unit]]
    seconds = time.double() * (frequency.seconds / frequency.multiple)
    shortest = 2 * substeps * frequency.seconds
    return [_phase(name, seconds) for name, length in CYCLES.items() if length > shortest]


def _phase(cycle: str, seconds: Tensor) -> Tensor:
    length = CYCLES[cycle]
    return (seconds + (EPOCH_WEEKDAY if cycle == "week" else 0)).remainder(length) / length


def _waves(phases: list[Tensor], time: Tensor) -> Tensor:
    if not phases:
        return torch.zeros(*time.shape, 0)
    angle = 2 * math.pi * torch.stack(phases, dim=-1)
    return torch.cat([f(k * angle) for k in range(1, HARMONICS + 1) for f in (torch.sin, torch.cos)], dim=-1).float()


def default_lags(frequency: Frequency) -> list[int]:
    """The last value, the same position in the last two of each season and four of the longest, and, of days, in the
    last three years: on the same date, and on the same day of the week.
    """
    lags = {1} | {season * k for season in frequency.seasons for k in (1, 2)}
    lags |= {season * k for season in frequency.seasons[-1:] for k in (3, 4)}
    if frequency.alias in YEARS:
        lags |= {days * k for days in YEARS[frequency.alias] for k in (1, 2, 3)}
    return sorted(lags)


def default_context_length(frequency: Frequency, prediction_length: int) -> int:
    """Two horizons, two of the longest and four of the dominant season, between 32 and 512 steps."""
    seasons = frequency.seasons or (1,)
    return min(max(2 * prediction_length, 2 * seasons[-1], 4 * seasons[0], 32), 512)


def default_patch_length(context_length: int) -> int:
    """The largest power of two up to 8 that leaves 40 patches of the context."""
    return min(8, 2 ** (max(context_length // 40, 1).bit_length() - 1))


def lag_offsets(lags: Tensor, context_length: int, prediction_length: int, *, recursive: bool = False) -> Tensor:
    """Where each lag of each step of a window is found, relative to the step, ``[L + H, K]``, all negative.

    Over the horizon a lag is the smallest multiple of itself that reaches back to what is known at the forecast,
    or, where ``recursive``, the lag itself.
    """
    if recursive:
        return -lags.expand(context_length + prediction_length, -1)
    ahead = torch.arange(1, prediction_length + 1).unsqueeze(-1)
    horizon = lags * torch.div(ahead + lags - 1, lags, rounding_mode="floor")
    return -torch.cat([lags.expand(context_length, -1), horizon])
