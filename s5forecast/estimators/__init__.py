"""Forecasting strategies, one per file, as GluonTS estimators."""

from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor
from s5forecast.estimators.continuous import S5ContinuousEstimator
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.ensemble import EnsembleEstimator, EnsemblePredictor
from s5forecast.estimators.multivariate import S5MultivariateEstimator
from s5forecast.estimators.predictor import S5Predictor

__all__ = [
    "CombinedEstimator",
    "CombinedPredictor",
    "EnsembleEstimator",
    "EnsemblePredictor",
    "ForecastEstimator",
    "S5AutoregressiveEstimator",
    "S5ContinuousEstimator",
    "S5Estimator",
    "S5MultivariateEstimator",
    "S5Predictor",
]
