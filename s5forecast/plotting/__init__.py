"""Frame in, plotly Figure out; nothing is shown as a side effect."""

from s5forecast.plotting.evaluation import plot_calibration, plot_error_by_horizon
from s5forecast.plotting.forecasts import plot_backtest, plot_forecast

__all__ = ["plot_backtest", "plot_calibration", "plot_error_by_horizon", "plot_forecast"]
