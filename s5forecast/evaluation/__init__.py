"""Judges any GluonTS predictor or frame of forecasts; knows neither torch nor the estimators."""

from s5forecast.evaluation.backtest import Backtest, backtest
from s5forecast.evaluation.baselines import BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.calibrated import CalibratedPredictor, calibrate
from s5forecast.evaluation.calibration import interval_coverage, pit_histogram, reliability
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.metrics import METRICS, evaluate, seasonal_error
from s5forecast.evaluation.report import leaderboard, report

__all__ = [
    "BASELINES",
    "METRICS",
    "Backtest",
    "CalibratedPredictor",
    "ConformalCalibrator",
    "NaivePredictor",
    "SeasonalNaivePredictor",
    "backtest",
    "calibrate",
    "evaluate",
    "interval_coverage",
    "leaderboard",
    "pit_histogram",
    "reliability",
    "report",
    "seasonal_error",
]
