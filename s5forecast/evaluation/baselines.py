"""Forecasts that cost nothing, to judge others by: GluonTS predictors with exact Gaussian quantiles.

A season of m steps is repeated, and its uncertainty grows with every repetition (h = 0 ... H - 1):

    mean_h  = y_{T - m + (h mod m)}
    sigma_h = sqrt( sum (y_t - y_{t - m})^2 / (T - m) ) sqrt( floor(h / m) + 1 )

The naive forecast is the case m = 1, a random walk.

Reference:
    Forecasting: principles and practice, 3rd edition (Hyndman and Athanasopoulos, 2021), sections 5.2, 5.5.
"""

from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.dataset.common import DataEntry
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import Forecast, Quantile
from gluonts.model.predictor import RepresentablePredictor
from scipy.special import ndtri

from s5forecast.data.frequency import Frequency, quiet_periods


class GaussianForecast(Forecast):
    """An independent normal distribution per step, so that every quantile is exact.

    Arguments:
        mean, sigma: `[H]`; a sigma of 0 puts all quantiles on the mean.
        start_date: period of the first step.
    """

    def __init__(
        self,
        mean: np.ndarray,
        sigma: np.ndarray,
        start_date: pd.Period,
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
        """Mean, `[H]`."""
        return self._mean

    def quantile(self, q: float | str) -> np.ndarray:
        """mean + sigma Phi^-1(q), `[H]`, for a level in (0, 1) such as 0.9, "0.9" or "p90"."""
        level = Quantile.parse(q).value
        if not 0 < level < 1:
            raise ValueError(f"quantile level {q!r} is not in (0, 1)")
        return self._mean + self.sigma * ndtri(level)

    def dim(self) -> int:
        """One target dimension."""
        return 1


class NaivePredictor(RepresentablePredictor):
    """The last observed value, with the uncertainty of a random walk.

    Raises ValueError for a series without any observed value.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        return _forecast(item, season=1, prediction_length=self.prediction_length)


class SeasonalNaivePredictor(RepresentablePredictor):
    """The last season repeated, with Gaussian intervals from the seasonal differences of the history.

    A missing value of the last season is replaced by the latest observed one at the same phase, else by the
    last observed value; differences are taken over observed pairs. A history no longer than a season, or
    without an observed seasonal pair, is forecast as `NaivePredictor` does. Raises ValueError for a series
    without any observed value.

    Arguments:
        prediction_length: steps to forecast.
        season: steps of a season; by default that of the frequency of each entry.
    """

    @validated()
    def __init__(self, prediction_length: int, season: int | None = None) -> None:
        super().__init__(prediction_length=prediction_length)
        if season is not None and season < 1:
            raise ValueError(f"season={season}: a season has at least 1 step")
        self.season = season

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        season = self.season or Frequency.parse(item["start"].freqstr).season
        return _forecast(item, season=season, prediction_length=self.prediction_length)


def _forecast(item: DataEntry, season: int, prediction_length: int) -> GaussianForecast:
    history = np.asarray(item["target"], dtype=float)
    if history.ndim != 1 or np.isnan(history).all():
        name = item.get("item_id", "without item_id")
        raise ValueError(f"series {name!r}, of shape {history.shape}, has no observed value to repeat")
    mean, sigma = seasonal_naive(history, season, prediction_length)
    with quiet_periods():
        start = forecast_start(item)
    return GaussianForecast(mean, sigma, start, item_id=item.get("item_id"), info=item.get("info"))


def seasonal_naive(history: np.ndarray, season: int, prediction_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sigma `[H]` of the seasonal naive forecast of a history `[T]` with an observed value."""
    residual = history[season:] - history[:-season]
    if np.isnan(residual).all():
        if season > 1:
            return seasonal_naive(history, 1, prediction_length)
        residual = np.zeros(1)
    step = np.arange(prediction_length)
    scale = np.sqrt(np.nanmean(residual**2))
    return _last_season(history, season)[step % season], scale * np.sqrt(step // season + 1)


def _last_season(history: np.ndarray, season: int) -> np.ndarray:
    """The latest observed value at each phase, `[season]`; the last observed one where a phase has none."""
    padding = np.full(-len(history) % season, np.nan)
    latest_first = np.concatenate([padding, history]).reshape(-1, season)[::-1]
    observed = ~np.isnan(latest_first)
    values = latest_first[observed.argmax(axis=0), np.arange(season)]
    return np.where(observed.any(axis=0), values, history[~np.isnan(history)][-1])


BASELINES: dict[str, type[RepresentablePredictor]] = {
    "naive": NaivePredictor,
    "seasonal_naive": SeasonalNaivePredictor,
}
"""Name -> predictor class; each takes `prediction_length`."""
