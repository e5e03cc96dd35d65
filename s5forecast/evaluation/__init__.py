"""Backtests, metrics, comparisons and calibration of any forecaster. Uses neither torch nor plotly."""

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import BASELINES, IRREGULAR_BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.calibrated import CalibratedPredictor, calibrate
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.comparison import Comparison, compare, diebold_mariano, skill
from s5forecast.evaluation.diagnostics import interval_coverage, pit_histogram, reliability
from s5forecast.evaluation.leaderboard import leaderboard
from s5forecast.evaluation.metrics import METRICS, evaluate
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.windows import seasonal_error, split_irregular, squared_seasonal_error

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
