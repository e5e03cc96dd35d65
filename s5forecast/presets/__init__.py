"""Presets: configurations that trade training time for accuracy."""

from s5forecast.presets.best import BestEstimator
from s5forecast.presets.default import DefaultEstimator
from s5forecast.presets.limited import TimeLimitedEstimator
from s5forecast.presets.presets import PRESETS, make_estimator

__all__ = ["PRESETS", "BestEstimator", "DefaultEstimator", "TimeLimitedEstimator", "make_estimator"]
