"""Forecasts with a normal distribution per step, and simple methods that produce them.

    seasonal naive  mean_h = y_{T - m + (h - 1 mod m)},  sigma_h^2 = s^2 ceil(h / m),  s^2 = mean (y_t - y_{t - m})^2
    drift           mean_h = y_T + h (y_T - y_1) / (T - 1),  sigma_h^2 = s^2 h (1 + h / (T - 1))
    constant        mean_h = mean y,  sigma_h^2 = s^2 (1 + 1 / T)

for h = 1 ... H. s^2 is the mean squared error one step ahead, with one degree of freedom less for a slope or a mean.
A history is an array ``[T]`` with NaN for gaps.

Reference:
    Forecasting: principles and practice, 3rd edition (Hyndman and Athanasopoulos, 2021), sections 5.2, 5.5.
"""

from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.model.forecast import Forecast, Quantile
from scipy.special import ndtri


def observed_history(item: DataEntry) -> np.ndarray:
    """The target ``[T]`` of an entry, NaN for gaps; raises ValueError unless it is a series with an observed value."""
    history = np.asarray(item["target"], dtype=float)
    if history.ndim != 1 or np.isnan(history).all():
        name = item.get("item_id", "without item_id")
        raise ValueError(f"series {name!r}, of shape {history.shape}, has no observed value to forecast from")
    return history


class GaussianForecast(Forecast):
    """An independent normal distribution per step, so that every quantile is exact.

    Args:
        mean, sigma: mean and standard deviation ``[H]``; if sigma is 0, all quantiles equal the mean.
        start_date: period of the first step.
        item_id, info: of the entry.
    """

    def __init__(
        self,
        mean: np.ndarray,
        sigma: np.ndarray,
        start_date: pd.Period | None,
        item_id: str | None = None,
        info: dict[str, Any] | None = None,
    ) -> None:
        self._mean = mean
        self.sigma = sigma
        self.start_date = start_date
        self.item_id = item_id
        self.info = info
        self.prediction_length = len(mean)

    @property
    def mean(self) -> np.ndarray:
        """Mean, ``[H]``."""
        return self._mean

    def quantile(self, q: float | str) -> np.ndarray:
        """mean + sigma Phi^-1(q), ``[H]``, for a level in (0, 1) such as 0.9, "0.9" or "p90"."""
        level = Quantile.parse(q).value
        if not 0 < level < 1:
            raise ValueError(f"quantile level {q!r} is not in (0, 1)")
        return self._mean + self.sigma * ndtri(level)

    def dim(self) -> int:
        """Number of target dimensions, 1."""
        return 1


def seasonal_naive(history: np.ndarray, season: int, prediction_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sigma ``[H]`` of the seasonal naive forecast of a history ``[T]`` with an observed value."""
    residual = history[season:] - history[:-season]
    if np.isnan(residual).all():
        if season > 1:
            return seasonal_naive(history, 1, prediction_length)
        residual = np.zeros(1)
    step = np.arange(prediction_length)
    scale = np.sqrt(np.nanmean(residual**2))
    return _last_season(history, season)[step % season], scale * np.sqrt(step // season + 1)


def _last_season(history: np.ndarray, season: int) -> np.ndarray:
    """The latest observed value at each phase, ``[season]``; for a phase without any, the last observed value."""
    padding = np.full(-len(history) % season, np.nan)
    latest_first = np.concatenate([padding, history]).reshape(-1, season)[::-1]
    observed = ~np.isnan(latest_first)
    values = latest_first[observed.argmax(axis=0), np.arange(season)]
    return np.where(observed.any(axis=0), values, history[~np.isnan(history)][-1])


def drift(history: np.ndarray, prediction_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sigma ``[H]`` of the line through the first and the last observed value of a history ``[T]``."""
    (observed,) = np.nonzero(~np.isnan(history))
    first, last = observed[0], observed[-1]
    span = max(last - first, 1)
    slope = (history[last] - history[first]) / span
    ahead = np.arange(len(history), len(history) + prediction_length) - last
    sigma = _deviation(np.diff(history) - slope) * np.sqrt(ahead * (1 + ahead / span))
    return history[last] + slope * ahead, sigma


def constant(history: np.ndarray, prediction_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sigma ``[H]`` of the mean of a history ``[T]`` with an observed value."""
    mean, count = np.nanmean(history), np.sum(~np.isnan(history))
    sigma = _deviation(history - mean) * np.sqrt(1 + 1 / count)
    return np.full(prediction_length, mean), np.full(prediction_length, sigma)


def _deviation(errors: np.ndarray) -> float:
    """Root mean squared error with one fitted parameter; 0 for fewer than two observed values."""
    freedom = np.sum(~np.isnan(errors)) - 1
    return float(np.sqrt(np.nansum(errors**2) / freedom)) if freedom > 0 else 0.0
