"""Forecasters to judge others by, as GluonTS predictors: the simple ones here, the statistical ones beside them."""

from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import DataEntry
from gluonts.dataset.util import forecast_start
from gluonts.model.predictor import RepresentablePredictor

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.evaluation.gaussian import GaussianForecast, constant, drift, observed_history, seasonal_naive
from s5forecast.evaluation.statistical import AutoARIMAPredictor, AutoETSPredictor, ThetaPredictor


class NaivePredictor(RepresentablePredictor):
    """The last observed value, with the uncertainty of a random walk.

    Raises ValueError for a series without any observed value.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        return _forecast(item, *seasonal_naive(observed_history(item), 1, self.prediction_length))


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
        return _forecast(item, *seasonal_naive(observed_history(item), season, self.prediction_length))


class DriftPredictor(RepresentablePredictor):
    """The line through the first and the last observed value, with the uncertainty of a random walk with drift.

    Raises ValueError for a series without any observed value.
    """

    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item: DataEntry) -> GaussianForecast:
        """Forecast of one entry."""
        return _forecast(item, *drift(observed_history(item), self.prediction_length))


class ConstantPredictor(RepresentablePredictor):
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


BASELINES: dict[str, Any] = {
    "naive": NaivePredictor,
    "seasonal_naive": SeasonalNaivePredictor,
    "drift": DriftPredictor,
    "constant": ConstantPredictor,
    "auto_ets": AutoETSPredictor,
    "auto_arima": AutoARIMAPredictor,
    "theta": ThetaPredictor,
}
"""Name -> predictor class; each takes `prediction_length`. The last three need the extra `statsforecast`."""
