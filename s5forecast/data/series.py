"""Checked regular series: one by one, and as concatenated arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import pandas as pd

from s5forecast.data.frequency import quiet_periods


class Series(NamedTuple):
    """One checked entry with T steps, and H steps to forecast."""

    item_id: Any
    info: Any
    start: pd.Period
    time: np.ndarray  # [T + H] int64, base units since 1970, in local time
    target: np.ndarray  # [T] float32 or float64, NaN where not observed
    covariates: np.ndarray  # [T + H, F] float32: known over the horizon, then observed only; NaN where missing
    static_real: np.ndarray  # [F] float32
    static_cat: np.ndarray  # [F] int64
    weight: np.ndarray  # [T] weight of each step in the training loss

    @property
    def forecast_start(self) -> pd.Period:
        """The first step after the target."""
        with quiet_periods():
            return self.start + len(self.target)


@dataclass(frozen=True, eq=False)
class SeriesArrays(Sequence[Series]):
    """S checked series, each followed by the H steps of its horizon, N steps in total; each element is a view.

    Args:
        item_ids: name of each series, ``[S]``.
        infos: ``info`` of each entry, ``[S]``.
        starts: first step of each series, ``[S]``.
        bounds: position of each series, and N, int64 ``[S + 1]``.
        horizon: steps of the horizon, H.
        time: base units since 1970, in local time, int64 ``[N]``.
        target: float32 or float64 ``[N]``, NaN where not observed and over the horizon.
        covariates: float32 ``[N, F]``, NaN where missing.
        static_real: float32 ``[S, F]``.
        static_cat: int64 ``[S, F]``.
        weight: weight of each step in the training loss, ``[N]``; 0 over the horizon.
    """

    item_ids: Sequence[Any]
    infos: Sequence[Any]
    starts: Sequence[pd.Period] | pd.PeriodIndex
    bounds: np.ndarray
    horizon: int
    time: np.ndarray
    target: np.ndarray
    covariates: np.ndarray
    static_real: np.ndarray
    static_cat: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, series: Sequence[Series]) -> SeriesArrays:
        """Concatenate series; a float64 target among float32 ones makes all float64."""
        if isinstance(series, SeriesArrays):
            return series
        H = len(series[0].time) - len(series[0].target)
        nothing = np.full(H, np.nan, dtype=np.float32)
        return cls(
            item_ids=[one.item_id for one in series],
            infos=[one.info for one in series],
            starts=[one.start for one in series],
            bounds=np.cumsum([0, *(len(one.time) for one in series)]),
            horizon=H,
            time=np.concatenate([one.time for one in series]),
            target=np.concatenate([part for one in series for part in (one.target, nothing)]),
            covariates=np.concatenate([one.covariates for one in series]),
            static_real=np.stack([one.static_real for one in series]),
            static_cat=np.stack([one.static_cat for one in series]),
            weight=np.concatenate([part for one in series for part in (one.weight, np.zeros(H, dtype=np.float32))]),
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    @overload
    def __getitem__(self, index: int) -> Series: ...
    @overload
    def __getitem__(self, index: slice) -> list[Series]: ...
    def __getitem__(self, index: int | slice) -> Series | list[Series]:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        position = range(len(self))[index]
        begin, end = self.bounds[position], self.bounds[position + 1]
        return Series(
            item_id=self.item_ids[position],
            info=self.infos[position],
            start=self.starts[position],
            time=self.time[begin:end],
            target=self.target[begin : end - self.horizon],
            covariates=self.covariates[begin:end],
            static_real=self.static_real[position],
            static_cat=self.static_cat[position],
            weight=self.weight[begin : end - self.horizon],
        )

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each series before its horizon, T, int64 ``[S]``."""
        return np.diff(self.bounds) - self.horizon
