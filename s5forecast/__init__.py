"""Probabilistic time-series forecasting with S5 state-space layers, on pandas and GluonTS."""

__version__ = "0.1.0"
