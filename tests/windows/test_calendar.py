"""Calendar features and lags."""

import pandas as pd
import pytest
import torch

from s5forecast.data.frequency import Frequency
from s5forecast.windows.calendar import calendar_features, lag_offsets, num_calendar_features


def test_lags_over_the_horizon_refer_to_the_context():
    offsets = lag_offsets(torch.tensor([1, 3]), context_length=2, prediction_length=7)
    assert offsets[:2].tolist() == [[-1, -3], [-1, -3]]
    assert offsets[2:, 0].tolist() == [-1, -2, -3, -4, -5, -6, -7]
    assert offsets[2:, 1].tolist() == [-3, -3, -3, -6, -6, -6, -9]


@pytest.mark.parametrize("alias", ["ms", "s", "min", "15min", "h", "D", "B", "W-TUE", "MS", "QS-FEB", "YS", "2h"])
def test_calendar_features_follow_the_calendar(alias):
    frequency = Frequency.parse(alias)
    start = frequency.period(pd.Timestamp("2023-11-01"), exact=False)
    steps = torch.arange(400)
    features = calendar_features(frequency, start.ordinal + frequency.multiple * steps)
    assert features.shape == (400, num_calendar_features(frequency)) and (features.abs() <= 1).all()
    for season in frequency.seasons:
        if season < 200 and alias != "W-TUE":  # a year is not a whole number of weeks
            assert any(torch.allclose(column[season:], column[:-season], atol=1e-4) for column in features.T)


def test_the_week_begins_on_monday():
    frequency = Frequency.parse("D")
    monday = torch.tensor([pd.Period("2024-01-01", "D").ordinal])
    week = calendar_features(frequency, monday)
    assert week[0, 0].item() == pytest.approx(0.0, abs=1e-6)  # sine of the week's phase
