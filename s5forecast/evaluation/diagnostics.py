"""Calibration of forecasts: reliability of quantiles, coverage and width of intervals, and PIT histograms.

A target that equals some of its quantiles, as counts often do, is distributed evenly between the adjacent levels, so
that calibrated forecasts lie on the diagonal for discrete targets too.

References:
    Predictive model assessment for count data (Czado, Gneiting, Held, 2009): the nonrandomized uniform PIT.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from s5forecast.data.frame_kinds import Frame, takes_frames
from s5forecast.levels import level_name, quantile_columns


@takes_frames("forecasts")
def reliability(forecasts: Frame, target: str = "target") -> pd.DataFrame:
    """Share of targets below each quantile of a long frame, in columns level, observed, count."""
    levels, shares = _shares_below(forecasts, target)
    return pd.DataFrame({"level": levels, "observed": _mean(shares), "count": len(shares)})


@takes_frames("forecasts")
def interval_coverage(forecasts: Frame, target: str = "target") -> pd.DataFrame:
    """Share of targets inside each central interval of a long frame, in columns level, observed, count, width.

    The width is the mean over the rows with a target, in the unit of the target.
    """
    columns = quantile_columns(forecasts)
    levels, shares = _shares_below(forecasts, target)
    below = dict(zip(levels, _mean(shares), strict=True))
    named = {level_name(level): level for level in levels}
    seen = forecasts[forecasts[target].notna()]
    rows = []
    for lower in sorted((level for level in levels if level < 0.5), reverse=True):
        upper = named.get(level_name(1 - lower))
        if upper is not None:
            width = float((seen[columns[upper]] - seen[columns[lower]]).mean())
            rows.append((round(upper - lower, 10), below[upper] - below[lower], len(shares), width))
    return pd.DataFrame(rows, columns=["level", "observed", "count", "width"])


@takes_frames("forecasts")
def pit_histogram(forecasts: Frame, target: str = "target") -> pd.DataFrame:
    """Histogram of the probability integral transform, in columns lower, upper, observed, density.

    The bins are bounded by the quantile levels. ``observed`` is the share of targets in a bin, and density = observed /
    (upper - lower), which is 1 in all bins for calibrated forecasts.
    """
    levels, shares = _shares_below(forecasts, target)
    below = np.array([0.0, *_mean(shares), 1.0])
    bounds = np.array([0.0, *levels, 1.0])
    observed = np.diff(below)
    return pd.DataFrame(
        {"lower": bounds[:-1], "upper": bounds[1:], "observed": observed, "density": observed / np.diff(bounds)}
    )


def _shares_below(forecasts: pd.DataFrame, target: str) -> tuple[list[float], np.ndarray]:
    """Levels ``[Q]``, and the share of each observed target below each quantile, ``[M, Q]`` in [0, 1]."""
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
