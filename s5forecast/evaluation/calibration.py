"""Calibration: how often what happened fell below each quantile, and inside each central interval.

A value that equals some of its quantiles, as counts do, is spread evenly between the levels next to them, so that a
right forecast lies on the diagonal for discrete targets too.

References:
    Predictive model assessment for count data (Czado, Gneiting, Held, 2009): the nonrandomised uniform PIT.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from s5forecast.evaluation.metrics import quantile_columns


def reliability(forecasts: pd.DataFrame, target: str = "target") -> pd.DataFrame:
    """Share of the target below each quantile of a long frame: columns level, observed, count."""
    levels, shares = _shares_below(forecasts, target)
    return pd.DataFrame({"level": levels, "observed": _mean(shares), "count": len(shares)})


def interval_coverage(forecasts: pd.DataFrame, target: str = "target") -> pd.DataFrame:
    """Share of the target inside each central interval of a long frame: columns level, observed, count."""
    levels, shares = _shares_below(forecasts, target)
    below = dict(zip(levels, _mean(shares), strict=True))
    ends = [(lower, round(1 - lower, 10)) for lower in sorted(levels, reverse=True) if lower < 0.5]
    ends = [(lower, upper) for lower, upper in ends if upper in below]
    rows = [(round(upper - lower, 10), below[upper] - below[lower], len(shares)) for lower, upper in ends]
    return pd.DataFrame(rows, columns=["level", "observed", "count"])


def _shares_below(forecasts: pd.DataFrame, target: str) -> tuple[list[float], np.ndarray]:
    """Levels `[Q]`, and the part of each observed target that lies below each quantile, `[M, Q]` in [0, 1]."""
    columns = quantile_columns(forecasts)
    label = forecasts[target].to_numpy(dtype=float)
    seen = ~np.isnan(label)
    label, quantiles = label[seen, None], forecasts[list(columns.values())].to_numpy(dtype=float)[seen]
    bounds = np.array([0.0, *columns, 1.0])
    first, last = (quantiles < label).sum(1, keepdims=True), (quantiles <= label).sum(1, keepdims=True)
    lower, upper = bounds[first], bounds[last + 1]
    tied = (bounds[1:-1] - lower) / (upper - lower)
    return list(columns), np.where(quantiles == label, tied, quantiles > label)


def _mean(shares: np.ndarray) -> np.ndarray:
    return shares.mean(0) if len(shares) else np.full(shares.shape[1], np.nan)
