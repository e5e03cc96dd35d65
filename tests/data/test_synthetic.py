"""Synthetic series for training on small data sets."""

import numpy as np
import pytest

from s5forecast.data.synthetic import synthetic_series


def draw(seasons=(24,), seed=0, count=200, length=480):
    return synthetic_series(count, length, seasons, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_series():
    np.testing.assert_array_equal(draw(seed=1), draw(seed=1))
    assert not np.array_equal(draw(seed=1), draw(seed=2))


@pytest.mark.parametrize("seasons", [(), (1,), (4,), (24, 168)])
@pytest.mark.parametrize("length", [1, 5, 400])
def test_every_series_is_finite(seasons, length):
    series = draw(seasons, length=length)
    assert series.shape == (200, length)
    assert series.dtype == np.float32
    assert np.isfinite(series).all()


def test_no_series_is_constant_and_no_two_are_alike():
    series = draw()
    assert (series.std(axis=1) > 0).all()
    assert len(np.unique(series, axis=0)) == len(series)


def test_seasons_are_found_at_their_lag():
    def correlation(series, lag):
        change = np.diff(series, axis=1)
        change = change - change.mean(axis=1, keepdims=True)
        return np.mean((change[:, lag:] * change[:, :-lag]).mean(axis=1) / (change**2).mean(axis=1))

    seasonal, plain = draw((24,)), draw(())
    assert correlation(seasonal, 24) > correlation(seasonal, 17) + 0.1
    assert abs(correlation(plain, 24)) < 0.05
