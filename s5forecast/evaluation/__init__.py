"""Judges any GluonTS predictor or frame of forecasts; knows neither torch nor the estimators."""

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.calibrated import CalibratedPredictor, calibrate
from s5forecast.evaluation.calibration import interval_coverage, pit_histogram, reliability
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.comparison import Comparison, compare, diebold_mariano, skill
from s5forecast.evaluation.irregular import split_irregular
from s5forecast.evaluation.irregular_backtest import backtest_irregular
from s5forecast.evaluation.irregular_baselines import IRREGULAR_BASELINES
from s5forecast.evaluation.metrics import METRICS, evaluate
from s5forecast.evaluation.report import leaderboard, report
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.seasonality import seasonal_error, squared_seasonal_error

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
    "backtest_irregular",
    "calibrate",
    "compare",
    "diebold_mariano",
    "evaluate",
    "interval_coverage",
    "leaderboard",
    "pit_histogram",
    "reliability",
    "report",
    "seasonal_error",
    "skill",
    "split_irregular",
    "squared_seasonal_error",
]
