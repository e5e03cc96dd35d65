"""Probabilistic time-series forecasting with S5 state-space layers, on pandas and GluonTS.

The names below are imported on first use, so that ``import s5forecast`` is fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from s5forecast.aliases import serve_old_modules

if TYPE_CHECKING:
    from s5forecast.data.disk_data import DiskData
    from s5forecast.data.ray_data import RayData
    from s5forecast.data.regularize import regularize
    from s5forecast.data.repository import list_datasets, load_dataset
    from s5forecast.data.wide import from_wide
    from s5forecast.estimators import (
        S5AutoregressiveEstimator,
        S5ContinuousEstimator,
        S5Estimator,
        S5MultivariateEstimator,
        S5Predictor,
    )
    from s5forecast.evaluation import backtest
    from s5forecast.forecaster import S5Forecaster
    from s5forecast.presets import make_estimator

__version__ = "0.1.0"

serve_old_modules()

_HOMES = {
    "DiskData": "s5forecast.data.disk_data",
    "RayData": "s5forecast.data.ray_data",
    "S5Forecaster": "s5forecast.forecaster",
    "S5Estimator": "s5forecast.estimators",
    "S5AutoregressiveEstimator": "s5forecast.estimators",
    "S5ContinuousEstimator": "s5forecast.estimators",
    "S5MultivariateEstimator": "s5forecast.estimators",
    "S5Predictor": "s5forecast.estimators",
    "backtest": "s5forecast.evaluation",
    "make_estimator": "s5forecast.presets",
    "list_datasets": "s5forecast.data.repository",
    "load_dataset": "s5forecast.data.repository",
    "regularize": "s5forecast.data.regularize",
    "from_wide": "s5forecast.data.wide",
}

__all__ = [
    "DiskData",
    "RayData",
    "S5AutoregressiveEstimator",
    "S5ContinuousEstimator",
    "S5Estimator",
    "S5Forecaster",
    "S5MultivariateEstimator",
    "S5Predictor",
    "backtest",
    "from_wide",
    "list_datasets",
    "load_dataset",
    "make_estimator",
    "regularize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 's5forecast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
