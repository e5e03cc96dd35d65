"""Statistical models of statsforecast as GluonTS predictors with quantile forecasts, fitted to each series.

References:
    A state space framework for automatic forecasting using exponential smoothing methods (Hyndman et al., 2002).
    Automatic time series forecasting: the forecast package for R (Hyndman and Khandakar, 2008).
    The theta model: a decomposition approach to forecasting (Assimakopoulos and Nikolopoulos, 2000).
"""

import warnings
from typing import Any, ClassVar

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import DataEntry
from gluonts.dataset.util import forecast_start
from gluonts.model.forecast import QuantileForecast

from s5forecast.data.frequency import quiet_periods
from s5forecast.evaluation.base import BaselinePredictor, check_season, season_of
from s5forecast.evaluation.gaussian import GaussianForecast, observed_history, seasonal_naive
from s5forecast.levels import DECILES, level_name

STATISTICAL_LEVELS = (0.005, 0.01, 0.025, 0.05, *DECILES, 0.95, 0.975, 0.99, 0.995)


class StatisticalPredictor(BaselinePredictor):
    """A model of statsforecast, fitted to the history of each series at prediction time.

    Gaps are interpolated linearly, since these models do not support missing values. If a model cannot be fitted, as on
    a constant or very short history, the forecast is that of ``SeasonalNaivePredictor``.

    Args:
        prediction_length: steps to forecast.
        season: steps of a season; by default the season of each entry. Long seasons are slow to fit.
        max_history: maximum number of last values that a model is fitted to.

    Raises:
        ImportError: statsforecast is not installed.
    """

    model: str
    arguments: ClassVar[dict[str, Any]] = {}  # of the model, in addition to the season

    @validated()
    def __init__(self, prediction_length: int, season: int | None = None, max_history: int = 1000) -> None:
        super().__init__(prediction_length=prediction_length)
        check_season(season)
        if max_history < 1:
            raise ValueError(f"max_history={max_history} must be at least 1")
        self.season = season
        self.max_history = max_history
        _models(self.model)

    def predict_item(self, item: DataEntry) -> QuantileForecast:
        """Forecast of one entry; raises ValueError for one without any observed value."""
        history = observed_history(item)
        season = self.season or season_of(item)
        history = _without_gaps(history[-max(self.max_history, _since_last(history)) :])
        values = self._fitted(history, season)
        if values is None:
            values = _fallback(history, season, self.prediction_length)
        with quiet_periods():
            start = forecast_start(item)
        keys = ["mean", *map(level_name, STATISTICAL_LEVELS)]
        return QuantileForecast(values, start, keys, item_id=item.get("item_id"), info=item.get("info"))

    def _fitted(self, history: np.ndarray, season: int) -> np.ndarray | None:
        """Mean and quantiles ``[1 + Q, H]``; None if the model cannot be fitted."""
        if np.ptp(history) == 0:
            return None
        model = getattr(_models(self.model), self.model)(season_length=season, **self.arguments)
        widths = sorted({_width(level) for level in STATISTICAL_LEVELS})
        try:
            # On short or degenerate histories the models warn, divide by zero or raise errors of many types.
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found = model.forecast(history, h=self.prediction_length, level=widths)
        except Exception:
            return None
        ends = [f"{'lo' if level <= 0.5 else 'hi'}-{_width(level)}" for level in STATISTICAL_LEVELS]
        values = np.array([found[key] for key in ["mean", *ends]], dtype=float)
        return values if np.isfinite(values).all() else None


class AutoETSPredictor(StatisticalPredictor):
    """Exponential smoothing with the form chosen by AICc; seasons of more than 24 steps are ignored."""

    model = "AutoETS"


class AutoARIMAPredictor(StatisticalPredictor):
    """Seasonal ARIMA with orders chosen stepwise by AICc; takes seconds per series, up to 30 for long seasons.

    For more than 150 values or 12 steps per season, orders are compared by conditional sums of squares and only the
    chosen model is fitted by maximum likelihood, as in the R package forecast. Otherwise all models are.
    """

    model = "AutoARIMA"
    arguments: ClassVar[dict[str, Any]] = {"approximation": None}


class ThetaPredictor(StatisticalPredictor):
    """The standard theta method on the deseasonalized series."""

    model = "Theta"


def _models(name: str) -> Any:
    try:
        from statsforecast import models
    except ImportError as error:
        raise ImportError(f"{name} requires statsforecast: pip install 's5forecast[statsforecast]'") from error
    return models


def _width(level: float) -> float:
    """Probability, in percent, of the central interval that ends at a level."""
    return round(abs(200 * level - 100), 6)


def _since_last(history: np.ndarray) -> int:
    """Number of steps from the last observed value to the end."""
    return len(history) - int(np.nonzero(~np.isnan(history))[0][-1])


def _without_gaps(history: np.ndarray) -> np.ndarray:
    (observed,) = np.nonzero(~np.isnan(history))
    return np.interp(np.arange(observed[0], len(history)), observed, history[observed])


def _fallback(history: np.ndarray, season: int, prediction_length: int) -> np.ndarray:
    forecast = GaussianForecast(*seasonal_naive(history, season, prediction_length), start_date=None)
    return np.array([forecast.mean, *map(forecast.quantile, STATISTICAL_LEVELS)])
