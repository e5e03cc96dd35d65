"""Synthetic series for pretraining."""

import numpy as np
import pytest

from s5forecast.pretraining.prior import FEWEST_STEPS, draw


def test_the_same_generator_gives_the_same_series():
    first, again = (draw(20, 96, np.random.default_rng(3)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("length", [64, 200])
def test_series_are_finite_where_observed_and_vary(length):
    values, seasons = draw(400, length, np.random.default_rng(0))
    assert values.shape == (400, length) and values.dtype == np.float32 and not np.isinf(values).any()
    assert ((~np.isnan(values)).sum(1) >= FEWEST_STEPS // 2).all()
    assert (np.nanstd(values, axis=1) > 0).mean() > 0.95
    assert (seasons >= 0).all() and (seasons == 0).any() and (seasons[:, 0] == 7).any()


def test_weeks_repeat():
    values, seasons = draw(2000, 210, np.random.default_rng(1))
    weekly = values[(seasons[:, 0] == 7) & ~np.isnan(values).any(1)]
    weekly = weekly - weekly.mean(1, keepdims=True)

    def distance(lag):
        return np.median(np.abs(weekly[:, lag:] - weekly[:, :-lag]).mean(1) / np.abs(weekly).mean(1))

    assert distance(7) < 0.95 * distance(10)
