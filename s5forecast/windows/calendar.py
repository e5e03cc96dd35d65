"""Calendar features and lags, computed from integer time.

Time is counted in base units since 1970 (``pd.Period.ordinal``), so that a few array operations compute the features of
many windows and they need not be stored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import DAY, YEAR
from s5forecast.data.spec import WindowSpec

CYCLES = {"hour": 3_600.0, "day": DAY, "week": 7 * DAY, "year": YEAR}
# Seconds from Monday, 1969-12-29, to 1970, so that the phase of the week is 0 on Monday.
EPOCH_WEEKDAY = 3 * DAY
# Units without a fixed length in seconds, and the steps of their cycles.
STEPS = {"B": (5.0, YEAR / DAY * 5 / 7), "M": (12.0,), "Q": (4.0,), "Y": (), "step": ()}
HARMONICS = 2


def calendar_features(frequency: Frequency, time: Tensor, substeps: int = 1) -> Tensor:
    """Sines and cosines of the position in each hour, day, week and year; only of cycles longer than two steps.

    Args:
        frequency: frequency of the steps.
        time: base units since 1970, int64 ``[...]``.
        substeps: steps that count as one in the selection of cycles.

    Returns:
        float32 ``[..., F]`` in [-1, 1].
    """
    if not time.numel():
        return _waves(_phases(frequency, time, substeps), time)
    # Windows of several series share most of their steps, for which the features are computed once.
    first, last = (int(end) for end in time.aminmax())
    if last - first >= time.numel():
        return _waves(_phases(frequency, time, substeps), time)
    span = torch.arange(first, last + 1, device=time.device)
    return _waves(_phases(frequency, span, substeps), span)[time - first]


def window_calendar(spec: WindowSpec, time: Tensor) -> Tensor:
    """Calendar features ``[..., F]`` of the cycles used in training, at ``time [...]`` in base units since 1970."""
    return calendar_features(spec.frequency, time, spec.substeps)


def clock_features(cycles: Sequence[str], seconds: Tensor) -> Tensor:
    """Sines and cosines of the position in each cycle.

    Args:
        cycles: keys of ``CYCLES``.
        seconds: seconds since 1970 in local time, float64 ``[...]``.

    Returns:
        float32 ``[..., F]`` in [-1, 1].
    """
    return _waves([_phase(name, seconds) for name in cycles], seconds)


def num_clock_features(cycles: Sequence[str]) -> int:
    """Number of features that :func:`clock_features` returns."""
    return 2 * HARMONICS * len(cycles)


def num_calendar_features(frequency: Frequency, substeps: int = 1) -> int:
    """Number of features that :func:`calendar_features` returns."""
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


def lag_offsets(lags: Tensor, context_length: int, prediction_length: int, *, recursive: bool = False) -> Tensor:
    """Position of each lagged value relative to its step, ``[L + H, K]``, all negative.

    Over the horizon, unless ``recursive``, a lag is replaced by its smallest multiple that reaches into the context.
    """
    if recursive:
        return -lags.expand(context_length + prediction_length, -1)
    ahead = torch.arange(1, prediction_length + 1).unsqueeze(-1)
    horizon = lags * torch.div(ahead + lags - 1, lags, rounding_mode="floor")
    return -torch.cat([lags.expand(context_length, -1), horizon])
