"""Backtests, metrics, comparisons and calibration of any forecaster. Uses neither torch nor plotly.

The names that need scikit-learn are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import BASELINES, IRREGULAR_BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.comparison import Comparison, compare, diebold_mariano, skill
from s5forecast.evaluation.diagnostics import interval_coverage, pit_histogram, reliability
from s5forecast.evaluation.leaderboard import leaderboard
from s5forecast.evaluation.metrics import METRICS, evaluate
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.splitters import split_irregular
from s5forecast.evaluation.windows import seasonal_error, squared_seasonal_error

if TYPE_CHECKING:
    from s5forecast.evaluation.calibrated import CalibratedPredictor, calibrate
    from s5forecast.evaluation.calibrator import ConformalCalibrator

_LAZY = {
    "CalibratedPredictor": "s5forecast.evaluation.calibrated",
    "ConformalCalibrator": "s5forecast.evaluation.calibrator",
    "calibrate": "s5forecast.evaluation.calibrated",
}

__all__ = [
    "BASELINES",
    "IRREGULAR_BASELINES",
    "METRICS",
    "Backtest",
    "CalibratedPredictor",
    "Comparison",
    "ConformalCalibrator",
    "NaivePredictor",
    "SeasonalNaivePredictor",
    "backtest",
    "calibrate",
    "compare",
    "diebold_mariano",
    "evaluate",
    "interval_coverage",
    "leaderboard",
    "pit_histogram",
    "reliability",
    "seasonal_error",
    "skill",
    "split_irregular",
    "squared_seasonal_error",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 's5forecast.evaluation' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
