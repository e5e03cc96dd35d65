"""Forecasting strategies as GluonTS estimators, one per file.

The names below are imported on first use, because estimators need Lightning and predictors do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
    from s5forecast.estimators.base import ForecastEstimator
    from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor
    from s5forecast.estimators.continuous import S5ContinuousEstimator
    from s5forecast.estimators.direct import S5Estimator
    from s5forecast.estimators.ensemble import EnsembleEstimator, EnsemblePredictor
    from s5forecast.estimators.gluonts_predictor import S5Predictor
    from s5forecast.estimators.multivariate import S5MultivariateEstimator
    from s5forecast.estimators.pretrained import PretrainedPredictor
    from s5forecast.estimators.pretrained_estimator import PretrainedEstimator

_HOMES = {
    "CombinedEstimator": "combined",
    "CombinedPredictor": "combined",
    "EnsembleEstimator": "ensemble",
    "EnsemblePredictor": "ensemble",
    "ForecastEstimator": "base",
    "PretrainedEstimator": "pretrained_estimator",
    "PretrainedPredictor": "pretrained",
    "S5AutoregressiveEstimator": "autoregressive",
    "S5ContinuousEstimator": "continuous",
    "S5Estimator": "direct",
    "S5MultivariateEstimator": "multivariate",
    "S5Predictor": "gluonts_predictor",
}

__all__ = [
    "CombinedEstimator",
    "CombinedPredictor",
    "EnsembleEstimator",
    "EnsemblePredictor",
    "ForecastEstimator",
    "PretrainedEstimator",
    "PretrainedPredictor",
    "S5AutoregressiveEstimator",
    "S5ContinuousEstimator",
    "S5Estimator",
    "S5MultivariateEstimator",
    "S5Predictor",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
