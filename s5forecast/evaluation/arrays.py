"""Arrays from a long frame of forecasts, with a row for each series, window and step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.timestamps import read_times
from s5forecast.levels import quantile_columns

ROUNDING = 1e-9  # tolerance for floating point errors


@dataclass(frozen=True)
class ForecastArrays:
    """Quantiles ``[M, Q]`` and target ``[M]`` (NaN if unknown) of M rows, with the series, window and step of each."""

    levels: np.ndarray
    quantiles: np.ndarray
    target: np.ndarray
    item: np.ndarray
    cutoff: np.ndarray
    timestamp: np.ndarray
    step: np.ndarray  # starting at 1

    @classmethod
    def from_frame(cls, frame: Any) -> ForecastArrays:
        """Read a ``Backtest``, or a frame with timestamp and quantiles such as "0.1".

        The columns item_id, cutoff and target are optional. A frame without item_id is one series; a frame without
        cutoff has one window for each series.

        Raises:
            ValueError: timestamp, quantiles or an item_id are missing, a quantile is NaN or a target infinite.
        """
        frame = getattr(frame, "rows", frame)
        columns = quantile_columns(frame)
        if not columns or "timestamp" not in frame:
            raise ValueError(f"a frame of forecasts needs timestamp and quantiles such as '0.1', it has {list(frame)}")
        timestamp = _instants(frame["timestamp"])
        item = frame["item_id"] if "item_id" in frame else pd.Series("0", frame.index)
        cutoff = _instants(frame["cutoff"]) if "cutoff" in frame else pd.Series(timestamp.min(), frame.index)
        given = frame["target"] if "target" in frame else pd.Series(np.nan, frame.index)
        target = given.to_numpy(dtype=float)
        if item.isna().any():
            raise ValueError(
                f"the forecast at {frame['timestamp'][item.isna()].iloc[0]} has no item_id; name its series"
            )
        quantiles = frame[list(columns.values())].to_numpy(dtype=float)
        for what, wrong in {"forecast": np.isnan(quantiles).any(axis=1), "target": np.isinf(target)}.items():
            if wrong.any():
                row = int(wrong.argmax())
                value = "NaN" if what == "forecast" else "infinite"
                when = frame["timestamp"].iloc[row]
                raise ValueError(f"the {what} of series {item.iloc[row]!r} at {when} is {value}")
        windows = timestamp.groupby([item.to_numpy(), cutoff.to_numpy()], sort=False)
        return cls(
            levels=np.array(list(columns)),
            quantiles=quantiles,
            target=target,
            item=item.to_numpy(dtype=object),
            cutoff=cutoff.to_numpy(),
            timestamp=timestamp.to_numpy(),
            step=windows.rank("first").to_numpy(dtype=int),
        )

    @property
    def median(self) -> np.ndarray:
        """Quantile of level 0.5, ``[M, 1]``; raises ValueError if the frame has none."""
        if 0.5 not in self.levels:
            raise ValueError("the forecasts have no median; add the quantile level 0.5")
        return self.quantiles[:, self.levels == 0.5]

    @property
    def width(self) -> np.ndarray:
        """Width of the outermost interval, ``[M, 1]``; raises ValueError if all levels are on one side of 0.5."""
        if not self.levels[0] < 0.5 < self.levels[-1]:
            raise ValueError("the forecasts have no interval; add quantile levels on both sides of 0.5")
        return self.quantiles[:, -1:] - self.quantiles[:, :1]

    @property
    def count_windows(self) -> np.ndarray:
        """Whether all quantiles of the window are non-negative whole numbers, ``[M]``."""
        rows = pd.Series(_whole(self.quantiles).all(axis=1))
        return rows.groupby([self.item, self.cutoff]).transform("all").to_numpy()

    @property
    def count_series(self) -> pd.Series:
        """Whether all quantiles and all known targets of each series are non-negative whole numbers."""
        rows = _whole(self.quantiles).all(axis=1) & ~self._fractional
        return pd.Series(rows).groupby(self.item, sort=False).all()

    @property
    def seen_fractional(self) -> np.ndarray:
        """Whether a target known at the cutoff of the row is not a non-negative whole number, ``[M]``."""
        when = pd.Series(self.timestamp).where(self._fractional)
        return (when.groupby(self.item).transform("min") <= self.cutoff).to_numpy()

    @property
    def _fractional(self) -> np.ndarray:
        return ~(_whole(self.target) | np.isnan(self.target))

    @cached_property
    def opposite(self) -> np.ndarray:
        """Position of the level 1 - tau for each level tau, ``[Q]``; raises ValueError if one is missing."""
        found = [np.flatnonzero(np.isclose(self.levels, 1 - level)) for level in self.levels]
        if not all(map(len, found)):
            raise ValueError(f"the levels {self.levels.tolist()} are not symmetric; add 1 - level for every level")
        return np.concatenate(found)

    def within(self, quantiles: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether the target of m rows is inside or on each of their quantiles ``[m, Q]``; 1/2 if on the median."""
        target = self.target[rows, None]
        inner = np.where(self.levels < 0.5, target > quantiles, target < quantiles)
        return np.where(target == quantiles, np.where(self.levels == 0.5, 0.5, 1.0), inner)

    def inside(self, quantiles: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether the target of m rows is in the central interval bounded by each of their quantiles ``[m, Q]``."""
        within = self.within(quantiles, rows)
        return np.minimum(within, within[:, self.opposite])


def rounded_counts(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Quantiles ``[M, Q]`` rounded to non-negative whole numbers; intervals keep the whole numbers in them."""
    up, down = np.ceil(quantiles - ROUNDING), np.floor(quantiles + ROUNDING)
    return np.select([levels < 0.5, levels > 0.5], [up, down], quantiles.round()).clip(min=0)


def _whole(values: np.ndarray) -> np.ndarray:
    return (values >= 0) & (values == np.floor(values))


def _instants(times: pd.Series) -> pd.Series:
    """Times without a time zone; those with one are converted to UTC."""
    times = read_times(times, "the frame")
    return times.dt.tz_convert(None) if isinstance(times.dtype, pd.DatetimeTZDtype) else times
