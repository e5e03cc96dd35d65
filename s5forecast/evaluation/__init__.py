"""Judges any GluonTS predictor or frame of forecasts; knows neither torch nor the estimators."""

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import BASELINES, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.comparison import Comparison, compare, diebold_mariano, skill
from s5forecast.evaluation.metrics import METRICS, evaluate
from s5forecast.evaluation.report import leaderboard, report
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.seasonality import seasonal_error, squared_seasonal_error

__all__ = [
    "BASELINES",
    "METRICS",
    "Backtest",
    "Comparison",
    "NaivePredictor",
    "SeasonalNaivePredictor",
    "backtest",
    "compare",
    "diebold_mariano",
    "evaluate",
    "leaderboard",
    "report",
    "seasonal_error",
    "skill",
    "squared_seasonal_error",
]
