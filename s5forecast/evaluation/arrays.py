"""A long frame of forecasts as arrays: one row for each series, window and step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from s5forecast.evaluation.metrics import quantile_columns

DUST = 1e-9  # of floating point


@dataclass(frozen=True)
class ForecastArrays:
    """Quantiles `[M, Q]` of M rows, the target `[M]` (NaN: not known), and the series, window and step of each row."""

    levels: np.ndarray
    quantiles: np.ndarray
    target: np.ndarray
    item: np.ndarray
    cutoff: np.ndarray
    timestamp: np.ndarray
    step: np.ndarray  # from 1 on

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> ForecastArrays:
        """Of a frame with timestamp, quantile columns such as "0.1", and item_id, cutoff, target where it has them.

        Raises:
            ValueError: there is no timestamp, no quantile, or a quantile is NaN.
        """
        columns = quantile_columns(frame)
        if not columns or "timestamp" not in frame:
            raise ValueError(f"a frame of forecasts has a timestamp and quantiles such as '0.1', not {list(frame)}")
        item = frame["item_id"] if "item_id" in frame else pd.Series("0", frame.index)
        cutoff = frame["cutoff"] if "cutoff" in frame else pd.Series(0, frame.index)
        target = frame["target"] if "target" in frame else pd.Series(np.nan, frame.index)
        quantiles = frame[list(columns.values())].to_numpy(dtype=float)
        if np.isnan(quantiles).any():
            row = int(np.isnan(quantiles).any(axis=1).argmax())
            raise ValueError(f"the forecast of series {item.iloc[row]!r} at {frame['timestamp'].iloc[row]} is NaN")
        windows = frame["timestamp"].groupby([item.to_numpy(), cutoff.to_numpy()], sort=False)
        return cls(
            levels=np.array(list(columns)),
            quantiles=quantiles,
            target=target.to_numpy(dtype=float),
            item=item.to_numpy(dtype=object),
            cutoff=cutoff.to_numpy(),
            timestamp=frame["timestamp"].to_numpy(),
            step=windows.rank("first").to_numpy(dtype=int),
        )

    @property
    def median(self) -> np.ndarray:
        """Quantile of level 0.5, `[M, 1]`; raises ValueError when the frame has none."""
        if 0.5 not in self.levels:
            raise ValueError("the forecasts have no median: add the quantile level 0.5")
        return self.quantiles[:, self.levels == 0.5]

    @property
    def width(self) -> np.ndarray:
        """Width of the outermost interval, `[M, 1]`; raises ValueError when the levels lie on one side of 0.5."""
        if not self.levels[0] < 0.5 < self.levels[-1]:
            raise ValueError("the forecasts have no interval: add quantile levels on both sides of 0.5")
        return self.quantiles[:, -1:] - self.quantiles[:, :1]

    @property
    def counts(self) -> np.ndarray:
        """Whether all quantiles of the window are whole numbers, none of them negative, `[M, 1]`."""
        whole = ((self.quantiles >= 0) & (self.quantiles == np.floor(self.quantiles))).all(axis=1)
        return pd.Series(whole).groupby([self.item, self.cutoff]).transform("all").to_numpy()[:, None]

    @property
    def opposite(self) -> np.ndarray:
        """Place of the level 1 - tau for each level tau, `[Q]`; raises ValueError when there is none."""
        found = [np.flatnonzero(np.isclose(self.levels, 1 - level)) for level in self.levels]
        if not all(map(len, found)):
            raise ValueError(f"of the levels {self.levels.tolist()}, some have no opposite 1 - level: add it")
        return np.concatenate(found)

    def within(self, quantiles: np.ndarray) -> np.ndarray:
        """Where the target is on the inner side of each of the quantiles `[M, Q]`, or on it; 1/2 where on a median."""
        target = self.target[:, None]
        inner = np.where(self.levels < 0.5, target > quantiles, target < quantiles)
        return np.where(target == quantiles, np.where(self.levels == 0.5, 0.5, 1.0), inner)

    def inside(self, quantiles: np.ndarray) -> np.ndarray:
        """Where the target is within both ends of the interval that each of the quantiles `[M, Q]` ends."""
        within = self.within(quantiles)
        return np.minimum(within, within[:, self.opposite])


def rounded_counts(quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Whole, non-negative quantiles `[M, Q]` whose central intervals hold the same whole numbers as before."""
    up, down = np.ceil(quantiles - DUST), np.floor(quantiles + DUST)
    return np.select([levels < 0.5, levels > 0.5], [up, down], quantiles.round()).clip(min=0)
