"""Forecasts of arrays by the pretrained network: seasons, long horizons, signs."""

import numpy as np
import pytest
import torch

from s5forecast.data.frequency import Frequency
from s5forecast.networks import zero_shot as module
from s5forecast.networks.pretrained import LEVELS, PretrainedNetwork
from s5forecast.networks.zero_shot import bounds_of, excess_of, seasons_of, zero_shot

SIZE = {"width": 16, "num_layers": 1, "state_size": 8, "hidden": 16}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PretrainedNetwork(**SIZE).eval()


def series(lengths=(40, 100, 7)):
    rng = np.random.default_rng(0)
    return [10 + rng.normal(size=n) for n in lengths]


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("h", (24, 168)), ("15min", (96, 672)), ("5min", (288, 0)), ("min", (60, 0)), ("s", (60, 0)), ("3h", (8, 56)),
        ("D", (7, 365.25)), ("B", (5, 261)), ("W-SUN", (52, 0)), ("7D", (52, 0)), ("2W-SUN", (26, 0)), ("ME", (12, 0)),
        ("3ME", (4, 0)), ("QE-DEC", (4, 0)), ("YE-DEC", (0, 0)), ("12ME", (0, 0)), (1, (0, 0)), ("step-12", (12, 0)),
    ],
)  # fmt: skip
def test_seasons_follow_from_the_frequency(freq, expected):
    assert seasons_of(Frequency.parse(freq)) == expected


def test_negated_series_have_negated_forecasts(network):
    forecast = zero_shot(network, series(), (24.0, 168.0), 9)
    negated = zero_shot(network, [-target for target in series()], (24.0, 168.0), 9)
    np.testing.assert_allclose(negated, -forecast[..., ::-1], rtol=1e-4, atol=1e-4)


def test_long_horizons_interleave_forecasts_of_coarser_steps(monkeypatch):
    def last_and_count(network, values, seasons, steps):
        last = values[:, -1:, None].expand(-1, steps, len(LEVELS))
        return (last + 1000 * torch.arange(1, steps + 1)[:, None]).numpy()

    monkeypatch.setattr(module, "_symmetric", last_and_count)
    forecast = zero_shot(None, [np.arange(103.0)], (4.0, 0.0), 300)[0, :, 0]
    # Step h follows the latest value that is a multiple of two steps before it.
    expected = [103 + h - 2 * (h // 2 + 1) + 1000 * (h // 2 + 1) for h in range(300)]
    np.testing.assert_array_equal(forecast, expected)


@pytest.mark.parametrize("target", [np.full(3, 20.0), np.where(np.arange(400) % 2, np.nan, 20.0)])
def test_series_with_too_few_values_to_interleave_are_forecast_at_once(network, target):
    forecast = zero_shot(network, [*series((400,)), target], (24.0, 168.0), 300)
    assert (np.abs(forecast[1] - 20) < 10).all()
    for one, expected in zip((*series((400,)), target), forecast, strict=True):
        np.testing.assert_allclose(zero_shot(network, [one], (24.0, 168.0), 300)[0], expected, rtol=1e-4)


def test_a_high_level_does_not_change_the_intervals(network):
    noise = np.random.default_rng(0).normal(size=200)
    noise = (noise - noise.mean()) / noise.std()
    expected = zero_shot(network, [noise + 300], (24.0, 0.0), 9) - 300
    for level in (1e6, 1e9):
        np.testing.assert_allclose(zero_shot(network, [noise + level], (24.0, 0.0), 9) - level, expected, atol=1e-2)
        assert excess_of(-noise - level) == -excess_of(noise + level)
    assert excess_of(np.full(50, 0.1)) == excess_of(noise + 299) == excess_of(np.full(3, np.nan)) == 0


def test_values_that_overflow_are_an_error(network):
    with pytest.raises(ValueError, match="exceed the range of float64; divide it by a constant"):
        zero_shot(network, [1e200 * series()[0]], (24.0, 0.0), 9)


def test_series_without_negative_values_have_no_negative_forecasts(network):
    counts = np.random.default_rng(0).poisson(0.4, size=60).astype(float)
    targets = [counts, counts - 1, -counts]
    forecast = zero_shot(network, targets, (7.0, 0.0), 9)
    assert (forecast[0] >= 0).all() and (forecast[2] <= 0).all()
    assert [bounds_of(target) for target in targets] == [(0.0, np.inf), (-np.inf, np.inf), (-np.inf, 0.0)]
    given = zero_shot(network, targets, (7.0, 0.0), 9, np.array([[-np.inf, 0.0]] * 3))
    assert (given <= 0).all() and np.array_equal(given[2], forecast[2])
