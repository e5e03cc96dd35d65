from importlib import import_module

import numpy as np
import pandas as pd
import pytest

from s5forecast.data import holiday_calendar
from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.holiday_calendar import HolidayCalendar
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_sampling import RegularSampling


def calendar(*countries):
    pytest.importorskip("holidays", reason="the extra holidays is not installed")
    return HolidayCalendar.parse(list(countries))


def labels_of(found, name):
    rows, labels = found
    return [labels[name][int(code)] for code in rows[list(labels).index(name)]]


def test_daily_steps_have_the_holiday_and_the_distance_to_it():
    found = calendar("US", "DE").covariates(pd.date_range("2024-12-23", periods=5), Frequency.parse("D"))
    assert labels_of(found, "holiday (US)") == ["none", "none", "Christmas Day", "none", "none"]
    assert labels_of(found, "holiday (DE)") == ["none", "none", "Christmas Day", "Second Day of Christmas", "none"]
    rows, labels = found
    assert rows[list(labels).index("days since holiday (US)")].tolist() == [-2, -1, 0, 1, 2]
    assert rows[list(labels).index("days since holiday (DE)")].tolist() == [-2, -1, 0, 0, 1]


def test_days_without_holiday_are_always_a_category():
    """Labels that did not occur in training are no reason for a warning."""
    _, labels = calendar("US").covariates(pd.DatetimeIndex(["2024-12-25"]), Frequency.parse("D"))
    assert labels["holiday (US)"] == ["Christmas Day", "none"]


def test_days_are_those_of_the_time_zone():
    stamps = pd.date_range("2024-12-25 03:00", periods=4, freq="8h", tz="UTC")
    chosen, hours = calendar("US"), Frequency.parse("8h")
    assert labels_of(chosen.covariates(stamps, hours), "holiday (US)") == ["Christmas Day"] * 3 + ["none"]
    local = stamps.tz_convert("America/New_York")  # 22:00 on the day before
    expected = ["none", "Christmas Day", "Christmas Day", "Christmas Day"]
    assert labels_of(chosen.covariates(local, hours), "holiday (US)") == expected


@pytest.mark.parametrize(
    "freq, begin, expected",
    [
        ("MS", "2024-11-01", [2, 1]), ("ME", "2024-11-30", [2, 1]), ("W-SUN", "2024-12-01", [1, 0]),
        ("W-MON", "2024-12-02", [1, 0]), ("2W-SUN", "2024-12-01", [1, 0]), ("14D", "2024-11-20", [1, 0]),
        ("2ME", "2024-10-31", [2, 3]), ("2MS", "2024-09-01", [2, 3]), ("YS", "2024-01-01", None),
    ],
)  # fmt: skip
def test_longer_steps_have_the_number_of_holidays(freq, begin, expected):
    rows, labels = calendar("US").covariates(pd.date_range(begin, periods=2, freq=freq), Frequency.parse(freq))
    assert list(labels) == ["holidays in step (US)"]
    assert rows[0].tolist() == expected if expected else rows[0].min() >= 10


@pytest.mark.parametrize("alias", ["W-SUN", "W-SAT", "W-MON", "2W-SUN", "M", "2M", "Q-DEC"])
def test_periods_have_the_holidays_between_their_start_and_their_end(alias):
    chosen = calendar("US")
    periods = pd.period_range("2022-01-03", periods=20, freq=alias)
    df = pd.DataFrame({"timestamp": periods, "target": 1.0})
    sampling, series = RegularSampling(Columns(), 4, holidays=chosen).learn(df)
    query = sampling.query(sampling.ends(series))
    days = pd.DatetimeIndex(sorted(import_module("holidays").country_holidays("US", years=range(2021, 2034))))
    expected = [
        int(((days >= one.start_time) & (days <= one.end_time)).sum())
        for one in pd.period_range("2022-01-03", periods=24, freq=alias)
    ]
    assert [*series.known[0], *query.known[:, 0]] == expected and any(expected)


def test_business_days_are_days():
    found = calendar("US").covariates(pd.bdate_range("2024-12-24", periods=2), Frequency.parse("B"))
    assert labels_of(found, "holiday (US)") == ["none", "Christmas Day"]


def test_holidays_follow_the_known_columns():
    chosen = calendar("US")
    df = pd.DataFrame({"timestamp": pd.date_range("2024-12-20", periods=6), "target": 1.0, "price": 2.0, "wind": 3.0})
    sampling, series = RegularSampling(Columns(known=("price",), past=("wind",)), 2, holidays=chosen).learn(df)
    assert list(series.labels) == ["price", "holiday (US)", "days since holiday (US)", "wind"]
    assert series.known.shape == (3, 6) and series.past.shape == (1, 6)
    future = df.iloc[:2].assign(timestamp=pd.date_range("2024-12-26", periods=2))
    query = sampling.query(sampling.ends(series), future)
    assert query.known[:, 2].tolist() == [1, 2] and list(query.labels) == list(series.labels)[:3]


def test_numbers_have_no_holidays():
    chosen = calendar("US")
    for times in (pd.Index([1, 2]), pd.Index([1.5, 2.5])):
        with pytest.raises(ValueError, match="holidays= requires timestamps"):
            chosen.covariates(times, None)


@pytest.mark.parametrize("times", [[1.0, 2.5, 4.0], [1, 2, 4]])
def test_irregular_series_with_numbers_as_times_have_no_holidays(times):
    sampling = IrregularSampling(Columns(timestamp="hour"), 2.0, holidays=calendar("US"))
    with pytest.raises(ValueError, match="holidays= requires timestamps, but column 'hour' holds numbers; convert it"):
        sampling.learn(pd.DataFrame({"hour": times, "target": 1.0}))


def test_unknown_countries_and_arguments():
    pytest.importorskip("holidays", reason="the extra holidays is not installed")
    with pytest.raises(ValueError, match="holidays='Atlantis' is not a country"):
        HolidayCalendar.parse("Atlantis")
    with pytest.raises(ValueError, match="country code such as 'US'"):
        HolidayCalendar.parse([])
    assert HolidayCalendar.parse(None) is None


def test_the_package_is_named_if_it_is_absent(monkeypatch):
    monkeypatch.setattr(holiday_calendar, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 's5forecast\[holidays\]'"):
        HolidayCalendar.parse("US")


@pytest.mark.parametrize("year", ["1700", "2250"])
def test_years_without_known_holidays_have_no_distance(year):
    rows, labels = found = calendar("US").covariates(pd.date_range(f"{year}-12-25", periods=3), Frequency.parse("D"))
    assert labels_of(found, "holiday (US)") == ["none"] * 3
    assert np.isnan(rows[list(labels).index("days since holiday (US)")]).all()


def test_a_country_given_twice_counts_once():
    assert calendar("US", "DE", "US") == calendar("US", "DE")
