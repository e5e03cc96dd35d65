"""The alias that timestamps suggest, and why they have none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from s5forecast.data.base_units import count_units, split_days
from s5forecast.data.offset_aliases import MONTHS, TICKS, WEEKDAYS

IRREGULAR_WAYS = (
    "forecast irregular series with S5Forecaster(freq=None, horizon=...), or resample with s5forecast.regularize()"
)


def candidates(stamps: pd.DatetimeIndex) -> Iterator[tuple[str, float]]:
    """Aliases whose grid contains all (ascending) timestamps, best first, and the fraction of gaps of one step."""
    first = np.zeros(len(stamps), dtype=np.int64)
    days, off_clock = split_days(stamps, first)
    if off_clock.any() or not np.diff(days).all():
        step, share = _step(stamps.as_unit("ns").asi8)
        stem = next((stem for stem in ("h", "min", "s", "ms") if step % TICKS[stem] == 0), None)
        if stem is not None:
            yield f"{step // TICKS[stem]}{stem}", share
        return
    for stem in ("MS", "ME", "D", "B"):
        units, off_grid = count_units(stamps, stem, "", first)
        if not off_grid.any():
            step, share = _step(units)
            yield _spell(step, stem, stamps[0]), share


def _step(units: np.ndarray) -> tuple[int, float]:
    gaps = np.diff(units)
    step = int(np.gcd.reduce(gaps))
    return step, float(np.mean(gaps == step))


def _spell(step: int, stem: str, first: pd.Timestamp) -> str:
    if stem == "D" and step % 7 == 0:
        return f"{step // 7}W-{WEEKDAYS[first.weekday()]}"
    if stem in ("MS", "ME") and step % 12 == 0:
        return f"{step // 12}Y{stem[1]}-{MONTHS[first.month - 1]}"
    if stem in ("MS", "ME") and step == 3:
        month = (first.month - 1) % 3 + (0 if stem == "MS" else 9)
        return f"Q{stem[1]}-{MONTHS[month]}"
    return f"{step}{stem}"


def describe_gaps(stamps: pd.DatetimeIndex) -> str:
    """The most common step and the first other one, or that the steps are too short."""
    gaps = pd.Series(stamps[1:] - stamps[:-1])
    common = gaps.mode()[0]
    if common < pd.Timedelta(milliseconds=1):
        return f"most of its steps are {_spelled(common)}, and steps shorter than 1 ms are not supported"
    row = int((gaps != common).to_numpy().argmax())
    share = (gaps == common).mean()
    return (
        f"{share:.0%} of its steps are {_spelled(common)}, the most common one, but {stamps[row + 1]} comes "
        f"{_spelled(gaps[row])} after "
        f"{stamps[row]}"
    )


def _spelled(gap: pd.Timedelta) -> str:
    """A duration such as ``"1 h"`` or ``"1 day 2 h"``."""
    units = gap.components._asdict()
    spelled = {"days": "days" if units["days"] != 1 else "day", "hours": "h", "minutes": "min", "seconds": "s",
               "milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}  # fmt: skip
    return " ".join(f"{units[name]} {text}" for name, text in spelled.items() if units[name])


def zone_hint(stamps: pd.DatetimeIndex) -> str:
    """How to convert times whose time zone may be the reason that they are not on a grid."""
    if stamps.tz is None:
        return ""
    if stamps.tz.utcoffset(None) is None:
        return " If the steps follow the wall clock, drop the time zone with .dt.tz_localize(None)."
    return (
        " If these are local times with daylight saving, convert them to their time zone first, for example with "
        ".dt.tz_convert('Europe/Berlin')."
    )
