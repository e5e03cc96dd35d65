"""Frames of irregular series: rows, times to forecast, and new rows of a stream."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.frames import Columns, SeriesEnds
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.statics import StaticFeatures

SAMPLING = IrregularSampling(Columns("y"), aggregate="mean")


def frame():
    return pd.DataFrame(
        {
            "item_id": ["b", "b", "a", "a", "a"],
            "timestamp": pd.to_datetime(
                ["2024-01-02 10:00:01", "2024-01-02", "2024-01-01", "2024-01-03", "2024-01-01"], format="ISO8601"
            ),
            "y": [2.0, 1.0, 5.0, np.nan, 7.0],
        }
    )


def test_frames_become_series_in_order_of_appearance():
    with pytest.raises(ValueError, match=r"series 'a'.*more than once; aggregate"):
        IrregularSampling(Columns("y")).read(frame())
    series = SAMPLING.read(frame())
    b, a = series
    assert b.item_id == "b" and b.target.tolist() == [[1.0, 2.0]]
    assert a.target[0, 0] == 6.0 and SAMPLING.last_observed(series)[1] == pd.Timestamp("2024-01-01")
    assert IrregularSampling(Columns("y"), aggregate="last").read(frame())[1].target[0, 0] == 7.0


def test_queries_keep_the_order_of_the_rows():
    series = SAMPLING.read(frame())
    days = pd.to_datetime(["2024-02-03", "2024-02-02", "2024-02-01"])
    times = pd.DataFrame({"timestamp": days, "item_id": ["a", "b", "a"]}, index=[9, 4, 4])
    query = SAMPLING.query(SAMPLING.ends(series), times=times)
    assert query.keys.index.tolist() == [9, 4, 4]
    entries = SAMPLING.entries(series, StaticFeatures(), query)
    assert [entry["item_id"] for entry in entries] == ["a", "b"]
    flat = np.concatenate([entry["query_time"] for entry in entries])
    assert (query.in_order(flat) == days.to_numpy()).all()
    rows = SAMPLING.stream_queries(query, StaticFeatures())
    assert rows.items == ["a", "b"] and rows.series.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="contains series 'c', which has no history"):
        SAMPLING.query(SAMPLING.ends(series), times=times.assign(item_id="c"))
    with pytest.raises(ValueError, match="future= requires regular series"):
        SAMPLING.query(SAMPLING.ends(series), times)


def test_a_grid_ahead_of_each_series():
    ends = SAMPLING.ends(SAMPLING.read(frame()))
    grid = SAMPLING.query(ends, horizon="1h", every="20min").keys
    expected = pd.date_range("2024-01-02 10:20:01", periods=3, freq="20min")
    assert grid["item_id"].tolist() == ["b"] * 3 + ["a"] * 3 and (grid["timestamp"][:3] == expected).all()
    for every in ("2h", "0s", "-1min"):
        with pytest.raises(ValueError, match="every"):
            SAMPLING.query(ends, horizon="1h", every=every)


def test_times_beyond_the_horizon_are_reported_once():
    sampling = IrregularSampling(Columns("y"), horizon=2.0)
    ends = SeriesEnds({"a": 0, "b": 1}, [1.0, 2.0])
    near = pd.DataFrame({"item_id": ["a", "b"], "timestamp": [3.0, 4.0]})
    sampling.warn_of_far(sampling.query(ends, times=near))
    with pytest.warns(
        UserWarning, match="series 'b': a forecast time is 6 ahead; .* for horizon=2.0; fit with"
    ) as caught:
        sampling.warn_of_far(sampling.query(ends, times=near.assign(timestamp=[4.0, 8.0])))
    assert len(caught) == 1 and caught[0].filename == __file__


@pytest.mark.parametrize(
    ("horizon", "ahead", "amount"), [("12h", "53h", "53 h"), ("3D", "10D", "10 days"), ("90s", "3min", "3 min")]
)
def test_times_beyond_the_horizon_are_reported_as_durations(horizon, ahead, amount):
    sampling, end = IrregularSampling(Columns("y"), horizon=horizon), pd.Timestamp("2024-01-01")
    query = sampling.query(SeriesEnds({None: 0}, [end]), times=pd.DataFrame({"timestamp": [end + pd.Timedelta(ahead)]}))
    with pytest.warns(UserWarning, match=f"a forecast time is {amount} ahead; the model was trained for.*'{horizon}'"):
        sampling.warn_of_far(query)


def test_a_horizon_of_the_other_kind():
    df = frame().rename(columns={"timestamp": "read_at"})
    columns = Columns("y", timestamp="read_at")
    message = "horizon=12 is a number, but column 'read_at' holds datetimes; pass a duration such as horizon='12h'"
    with pytest.raises(ValueError, match=message):
        IrregularSampling(columns, horizon=12, aggregate="mean").read(df)
    with pytest.raises(ValueError, match="horizon='12h' is a duration, but column 'read_at' holds numbers; pass"):
        IrregularSampling(columns, horizon="12h").read(df.assign(read_at=np.arange(5.0)))


def test_past_times_name_the_column():
    sampling = IrregularSampling(Columns("y", timestamp="read_at"))
    ends, day = (
        SeriesEnds({"a": 0, "b": 1}, list(pd.to_datetime(["2024-01-01", "2024-01-05"]))),
        pd.Timestamp("2024-01-04"),
    )
    times = pd.DataFrame({"item_id": ["a", "b"], "read_at": [day, day]})
    message = "series 'b': column 'read_at' of times= has 2024-01-04 00:00:00, which is not after .* 2024-01-05"
    with pytest.raises(ValueError, match=message):
        sampling.query(ends, times=times)
    with pytest.raises(ValueError, match="series 'a': column 'read_at' of times= has a time zone"):
        sampling.query(ends, times=times.assign(read_at=times["read_at"].dt.tz_localize("UTC")))
    with pytest.raises(ValueError, match="times= has no column 'read_at'; did you mean 'reat_at'"):
        sampling.query(ends, times=times.rename(columns={"read_at": "reat_at"}))
