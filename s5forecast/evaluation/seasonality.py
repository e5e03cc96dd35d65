"""Seasonal errors of a history: what MASE and RMSSE divide by, and over which season."""

import warnings
from functools import lru_cache

import numpy as np
from gluonts.ev.ts_stats import seasonal_error as gluonts_seasonal_error
from gluonts.time_feature.seasonality import get_seasonality


def seasonal_error(history: np.ndarray, season: int) -> float:
    """Mean |y_t - y_{t - season}| over the observed pairs of a history `[T]`, as GluonTS computes it.

    A history shorter than a season is differenced by one step; NaN where there is no observed pair.
    """
    values = np.ma.masked_invalid(np.asarray(history, dtype=float))
    if len(values) in (0, 1, season):
        return float("nan")
    return float(np.ma.filled(gluonts_seasonal_error(values, seasonality=season), np.nan).item())


def squared_seasonal_error(history: np.ndarray, season: int) -> float:
    """Mean (y_t - y_{t - season})^2 over the observed pairs of a history `[T]`.

    A short history is treated as by `seasonal_error`.
    """
    values = np.asarray(history, dtype=float)
    values = np.diff(values) if len(values) < season else values[season:] - values[: len(values) - season]
    seen = values[~np.isnan(values)]
    return float(np.mean(seen**2)) if len(seen) else float("nan")


@lru_cache
def default_season(freq: str) -> int:
    """Season by which GluonTS scales MASE, of a Period's frequency: h 24, min 1440, M 12, Q 4, D and W 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GluonTS turns Period spellings into offsets
        return int(get_seasonality(freq))
