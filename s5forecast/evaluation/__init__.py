"""Judges any GluonTS predictor or frame of forecasts; knows neither torch nor the estimators."""

from s5forecast.evaluation.backtest import Backtest, backtest
from s5forecast.evaluation.baselines import BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.metrics import METRICS, evaluate
from s5forecast.evaluation.report import leaderboard, report
from s5forecast.evaluation.seasonality import seasonal_error

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
