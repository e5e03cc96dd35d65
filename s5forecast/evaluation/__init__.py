"""Judges any GluonTS predictor or frame of forecasts; knows neither torch nor the estimators."""

from s5forecast.evaluation.backtest import Backtest, backtest
from s5forecast.evaluation.baselines import BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.metrics import METRICS, evaluate, seasonal_error
from s5forecast.evaluation.report import leaderboard, report

__all__ = [
    "BASELINES",
    "METRICS",
    "Backtest",
    "NaivePredictor",
    "SeasonalNaivePredictor",
    "backtest",
    "evaluate",
    "leaderboard",
    "report",
    "seasonal_error",
]
