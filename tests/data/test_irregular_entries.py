"""Checks of irregular entries."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.irregular_entries import read_irregular
from s5forecast.data.spec import IrregularSpec

SPEC = IrregularSpec(
    target_dim=2, context_length=4, horizon=3.0, prediction_length=None, max_queries=8, datetimes=False, cycles=[]
)
TIME = np.array([0.0, 1.0, 1.5, 4.0, 4.5, 6.0, 9.5])
TARGET = np.array([[1, np.nan, 3, 4, np.nan, 6, 7], [np.nan, 20, 30, np.nan, 50, 60, 70]])


def entry(**fields):
    return {"item_id": "a", "time": TIME, "target": TARGET, **fields}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time": np.array([0, 1, 1, 4, 4.5, 6, 9.5])}, r"'a'.*1\.0 more than once, in rows 1 and 2.*aggregate"),
        ({"time": np.array([0, 2, 1.5, 4, 4.5, 6, 9.5])}, r"'a'.*goes back to 1\.5 in row 2; sort"),
        ({"time": np.array([0, 1, np.nan, 4, 4.5, 6, 9.5])}, r"'a'.*nan in row 2"),
        ({"time": np.array([0, 1, np.inf, 4, 4.5, 6, 9.5])}, r"'a'.*inf in row 2"),
        ({"time": pd.DatetimeIndex(["2024-01-01", pd.NaT])}, r"'a'.*NaT.*row 1"),
        ({"time": pd.date_range("2024", periods=7)}, r"'a'.*datetimes.*a duration"),
        ({"target": TARGET[:, :3]}, r"'a'.*target has shape \(2, 3\)"),
        ({"target": np.where(TARGET == 4, np.inf, TARGET)}, r"'a'.*target has an infinite value"),
        ({"target": np.full((2, 7), np.nan)}, r"'a'.*no observed value"),
        ({"query_time": [9.5]}, r"'a': query_time 9\.5 is not after the last observation"),
        ({"query_time": []}, r"'a'.*query_time is empty"),
        ({"query_time": [np.nan]}, r"'a'.*query_time is nan"),
        ({"query_time": pd.to_datetime(["2024-01-01"])}, r"'a'.*query_time"),
        ({}, r"'a' has no field 'query_time'"),
    ],
)
def test_invalid_entries(fields, message):
    with pytest.raises(ValueError, match=message):
        read_irregular([entry(**fields)], SPEC, forecast=True)


def test_the_wall_time_of_queries_is_that_of_the_history():
    days = pd.date_range("2024-01-01", periods=7, tz="Europe/Paris")
    spec, query = SPEC._replace(datetimes=True), pd.date_range("2024-02-01 06:00", periods=2, tz="Europe/Paris")
    local, away = (
        read_irregular([entry(time=days, query_time=times)], spec, forecast=True)[0]
        for times in (query, list(query.tz_convert("Asia/Tokyo")))
    )
    np.testing.assert_array_equal(away.query_clock, local.query_clock)
    np.testing.assert_array_equal(away.query, local.query)


def test_time_zones_must_agree():
    days = pd.date_range("2024-01-01", periods=7, tz="Europe/Paris")
    spec = SPEC._replace(datetimes=True)
    with pytest.raises(ValueError, match="query_time has no time zone"):
        read_irregular([entry(time=days, query_time=[pd.Timestamp("2024-02-01")])], spec, forecast=True)
    with pytest.raises(ValueError, match="cut_time has no time zone"):
        read_irregular([entry(time=days, cut_time=pd.Timestamp("2024-01-04"))], spec, forecast=False)
