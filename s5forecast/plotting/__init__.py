"""Figures and a report page of forecasts and models: data frames in, plotly Figures out."""

from s5forecast.plotting.checks import write_check
from s5forecast.plotting.evaluation import (
    plot_calibration,
    plot_coverage_width,
    plot_error_by_horizon,
    plot_pit,
    plot_score_over_time,
)
from s5forecast.plotting.forecasts import plot_backtest, plot_forecast
from s5forecast.plotting.report import write_report
from s5forecast.plotting.ssm import plot_eigenvalues, plot_timescales, plot_transfer_functions

__all__ = [
    "plot_backtest",
    "plot_calibration",
    "plot_coverage_width",
    "plot_eigenvalues",
    "plot_error_by_horizon",
    "plot_forecast",
    "plot_pit",
    "plot_score_over_time",
    "plot_timescales",
    "plot_transfer_functions",
    "write_check",
    "write_report",
]
