"""How many windows are synthetic, and what the synthetic series take over from those of the data."""

import pytest
import torch

from s5forecast.windows.synthetic import default_prior_share


def test_the_share_falls_with_the_steps_of_all_series():
    shares = [default_prior_share(torch.full((count,), 100), prediction_length=5) for count in (1, 10, 100, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99
    assert shares[2] == pytest.approx(1 / (1 + 10_000 / 20_000))


def test_one_long_series_has_a_smaller_share_than_as_many_steps_of_short_ones():
    short, long = torch.full((100,), 100), torch.tensor([10_000])
    assert default_prior_share(long, prediction_length=5) == pytest.approx(1 / (1 + 10_000 * 50 / 20_000))
    assert default_prior_share(short, prediction_length=5) > 10 * default_prior_share(long, prediction_length=5)
    assert default_prior_share(torch.tensor([99]), prediction_length=5) == pytest.approx(1 / (1 + 99 / 20_000))
