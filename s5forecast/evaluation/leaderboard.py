"""Leaderboard of several backtests."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from s5forecast.evaluation.metrics import is_loss
from s5forecast.evaluation.result import TIMES, Backtest

HIGHER_IS_BETTER = ("skill",)


def leaderboard(backtests: Mapping[str, Backtest]) -> pd.DataFrame:
    """Metrics and seconds of several backtests, one row per model."""
    table = pd.concat([one.metrics.set_axis([name]) for name, one in backtests.items()]).rename_axis("model")
    times = [column for column in TIMES if column in table]
    return table[[*table.columns.difference(times, sort=False), *times]]


def is_error(column: str) -> bool:
    """Whether a column of a leaderboard is a loss; lower is better."""
    return column not in (*TIMES, *HIGHER_IS_BETTER, "rank") and is_loss(column)
