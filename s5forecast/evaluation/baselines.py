"""Simple forecasters to compare models with; statistical models are in ``statistical.py``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.dataset.common import DataEntry
from gluonts.dataset.util import forecast_start

from s5forecast.data.frequency import quiet_periods
from s5forecast.evaluation.base import BaselinePredictor, check_season, season_of
from s5forecast.evaluation.gaussian import GaussianForecast, constant, drift, observed_history, seasonal_naive
from s5forecast.evaluation.statistical import AutoARIMAPredictor, AutoETSPredictor, ThetaPredictor


class NaivePredictor(BaselinePredictor):
    """The last observed value, with the uncertainty of a random walk.

    Raises ValueError for a series without any observed value.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        return _forecast(item, *seasonal_naive(observed_history(item), 1, self.prediction_length))


class SeasonalNaivePredictor(BaselinePredictor):
    """The last season repeated, with Gaussian intervals from the seasonal differences of the history.

    A missing value of the last season is replaced by the latest observed value at the same phase, or else by the
    last observed value. Differences are taken over observed pairs. A history that is not longer than a season, or
    has no observed seasonal pair, is forecast as by ``NaivePredictor``. Raises ValueError for a series
    without any observed value.

    Args:
        prediction_length: steps to forecast.
        season: steps of a season; by default the season of each entry, which is its ``season_length`` if it has integer
            times, otherwise that of its frequency.
    """

    @validated()
    def __init__(self, prediction_length: int, season: int | None = None) -> None:
        super().__init__(prediction_length=prediction_length)
        check_season(season)
        self.season = season

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        season = self.season or season_of(item)
        return _forecast(item, *seasonal_naive(observed_history(item), season, self.prediction_length))


class DriftPredictor(BaselinePredictor):
    """The line through the first and the last observed value, with the uncertainty of a random walk with drift.

    Raises ValueError for a series without any observed value.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        return _forecast(item, *drift(observed_history(item), self.prediction_length))


class ConstantPredictor(BaselinePredictor):
    """The mean of the history at every step, with its standard deviation.

    Raises ValueError for a series without any observed value.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        return _forecast(item, *constant(observed_history(item), self.prediction_length))


def _forecast(item: DataEntry, mean: np.ndarray, sigma: np.ndarray) -> GaussianForecast:
    with quiet_periods():
        start = forecast_start(item)
    return GaussianForecast(mean, sigma, start, item_id=item.get("item_id"), info=item.get("info"))


class ConstantBaseline:
    """For irregular series: the distribution of all training values of each variable, at every time."""

    def train(self, data: Iterable[DataEntry]) -> ConstantBaseline:
        """Collect the values of entries with ``target``, ``[n]`` or ``[D, n]``."""
        self.values = _all_values(data)
        return self

    def predict_quantiles(self, entries: Sequence[DataEntry], levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[M, D]`` and quantiles ``[M, D, Q]`` at the M times in ``query_time`` of all entries, in order."""
        rows = sum(len(entry["query_time"]) for entry in entries)
        mean, quantiles = np.nanmean(self.values, axis=1), np.nanquantile(self.values, levels, axis=1).T
        return np.tile(mean, (rows, 1)), np.tile(quantiles, (rows, 1, 1))


class LastValueBaseline:
    """For irregular series: the last value of each variable, with zero spread; the training mean if it has none."""

    def train(self, data: Iterable[DataEntry]) -> LastValueBaseline:
        """Compute the mean of entries with ``target``, ``[n]`` or ``[D, n]``."""
        self.mean = np.nanmean(_all_values(data), axis=1)
        return self

    def predict_quantiles(self, entries: Sequence[DataEntry], levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means and quantiles as of :class:`ConstantBaseline`."""
        last = np.stack([self._last(np.atleast_2d(entry["target"])) for entry in entries])
        means = np.repeat(last, [len(entry["query_time"]) for entry in entries], axis=0)
        return means, np.repeat(means[..., None], len(levels), axis=-1)

    def _last(self, target: np.ndarray) -> np.ndarray:
        known = pd.DataFrame(target.T).ffill().to_numpy()[-1]
        return np.where(np.isnan(known), self.mean, known)


def _all_values(data: Iterable[DataEntry]) -> np.ndarray:
    return np.concatenate([np.atleast_2d(entry["target"]) for entry in data], axis=1)


BASELINES: dict[str, Any] = {
    "naive": NaivePredictor,
    "seasonal_naive": SeasonalNaivePredictor,
    "drift": DriftPredictor,
    "constant": ConstantPredictor,
    "auto_ets": AutoETSPredictor,
    "auto_arima": AutoARIMAPredictor,
    "theta": ThetaPredictor,
}
"""Name -> predictor class; each takes ``prediction_length``. The last three require the extra ``statsforecast``."""

IRREGULAR_BASELINES: dict[str, Any] = {
    "constant": ConstantBaseline,
    "last_value": LastValueBaseline,
}
"""Name -> estimator class of irregular series."""
