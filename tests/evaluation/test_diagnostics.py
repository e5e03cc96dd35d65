"""Calibration of continuous and discrete forecasts."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from s5forecast.evaluation.diagnostics import interval_coverage, reliability

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def frame(distribution, rows=40_000, forecast=None):
    forecast = forecast or distribution
    quantiles = {str(level): forecast.ppf(level) for level in LEVELS}
    return pd.DataFrame({"target": distribution.rvs(rows, random_state=0), **quantiles})


@pytest.mark.parametrize(
    "distribution", [stats.norm(3, 2), stats.gamma(2), stats.uniform()], ids=["normal", "gamma", "uniform"]
)
def test_calibrated_continuous_forecast_is_on_the_diagonal(distribution):
    found = reliability(frame(distribution))
    np.testing.assert_allclose(found["observed"], LEVELS, atol=0.01)
    assert (found["count"] == 40_000).all()
    covered = interval_coverage(frame(distribution))
    np.testing.assert_allclose(covered["level"], [0.5, 0.8, 0.9])
    np.testing.assert_allclose(covered["observed"], [0.5, 0.8, 0.9], atol=0.01)


@pytest.mark.parametrize("mean", [0.0, 0.3, 2.0, 40.0])
def test_calibrated_forecast_of_counts_is_near_the_diagonal(mean):
    found = reliability(frame(stats.poisson(mean)))
    # the distribution between two levels is unknown
    np.testing.assert_allclose(found["observed"], LEVELS, atol=0.13)
    assert abs(found["observed"] - found["level"]).mean() < 0.06


def test_deterministic_forecast_of_a_constant_is_calibrated():
    found = reliability(pd.DataFrame({"target": np.zeros(7), **{str(level): np.zeros(7) for level in LEVELS}}))
    np.testing.assert_allclose(found["observed"], LEVELS)


def test_narrow_intervals_cover_too_little():
    found = interval_coverage(frame(stats.norm(0, 2), forecast=stats.norm()))
    assert (found["observed"] < found["level"] - 0.1).all()


def test_missing_values_are_excluded():
    full = frame(stats.norm(), 1000)
    holes = pd.concat([full, full.assign(target=np.nan)])
    pd.testing.assert_frame_equal(reliability(holes), reliability(full))
    assert reliability(full.assign(target=np.nan))["observed"].isna().all()
