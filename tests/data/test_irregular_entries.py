"""Irregular entries and windows: what is checked, and what a window holds."""

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast.data.irregular_entries import read_irregular
from s5forecast.data.spec import IrregularSpec
from s5forecast.windows.batches import LastWindows, TrainingWindows
from s5forecast.windows.irregular import IrregularStore

SPEC = IrregularSpec(
    target_dim=2, context_length=4, horizon=3.0, prediction_length=None, max_queries=8, datetimes=False, cycles=[]
)
TIME = np.array([0.0, 1.0, 1.5, 4.0, 4.5, 6.0, 9.5])
TARGET = np.array([[1, np.nan, 3, 4, np.nan, 6, 7], [np.nan, 20, 30, np.nan, 50, 60, 70]])


def entry(**fields):
    return {"item_id": "a", "time": TIME, "target": TARGET, **fields}


def store(*entries, forecast=False, **spec):
    spec = SPEC._replace(**spec)
    return IrregularStore(read_irregular(entries, spec, forecast=forecast), spec)


def test_a_window_by_its_definition():
    batch = store(entry()).gather(torch.tensor([0]), torch.tensor([3]))
    assert torch.equal(batch.values[0], torch.tensor([[1.0, 0], [0, 20], [3, 30]], dtype=torch.float64))
    assert torch.equal(batch.mask[0, :3], torch.tensor([[1.0, 0], [0, 1], [1, 1]]))
    assert batch.dt[0].isnan().tolist() == [True, False, False] and batch.dt[0, 1:].tolist() == [1.0, 0.5]
    # the first variable was last seen at 0, the second never, then at 1
    assert np.array_equal(batch.age[0], [[np.nan, np.nan], [1.0, np.nan], [1.5, 0.5]], equal_nan=True)
    assert batch.last[0].tolist() == [3.0, 30.0] and batch.last_age[0].tolist() == [0.0, 0.0]
    # the times up to 1.5 + 3
    assert batch.elapsed[0].tolist() == [2.5, 3.0]
    assert batch.target[0].tolist() == [[4.0, 0.0], [0.0, 50.0]]
    assert batch.mask[0, 3:].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_shorter_history_is_padded_on_the_left_with_steps_of_no_length():
    short = entry(time=TIME[:2], target=TARGET[:, :2])
    batch = store(entry(), short).gather(torch.tensor([0, 1]), torch.tensor([6, 1]))
    assert batch.mask[1, :3].sum() == 0 and batch.dt[1, :3].tolist() == [0.0, 0.0, 0.0]
    assert batch.values.shape == (2, 4, 2)


def test_values_seen_before_the_window_are_known():
    target = TARGET.copy()
    target[0, 1:] = np.nan
    # the row at 4 is without a value now
    batch = store(entry(target=target)).gather(torch.tensor([0]), torch.tensor([5]))
    assert batch.mask[0, :4, 0].sum() == 0
    assert batch.last[0, 0] == 1 and batch.last_age[0, 0] == 6.0


def test_rows_without_an_observed_value_are_dropped():
    time = np.insert(TIME, 3, 2.0)
    target = np.insert(TARGET, 3, np.nan, axis=1)
    found = store(entry(time=time, target=target)).gather(torch.tensor([0]), torch.tensor([5]))
    for one, other in zip(found, store(entry()).gather(torch.tensor([0]), torch.tensor([5])), strict=True):
        assert torch.equal(one.nan_to_num(-1.0), other.nan_to_num(-1.0))


def test_many_times_within_the_horizon_are_taken_evenly_and_once():
    n = 200
    one = {"time": np.arange(n) / 10, "target": np.ones((2, n))}
    batch = store(one, horizon=10.0).gather(torch.tensor([0]), torch.tensor([20]), torch.Generator())
    steps = batch.elapsed[0].diff()
    assert len(batch.elapsed[0]) == 8 and (steps > 0).all() and (steps < 2.6).all() and batch.elapsed[0, -1] <= 10


def test_the_next_observations_by_count():
    batch = store(entry(), horizon=None, prediction_length=2).gather(torch.tensor([0]), torch.tensor([2]))
    assert batch.elapsed[0].tolist() == [0.5, 3.0]


def test_training_cuts_leave_something_to_learn():
    windows = TrainingWindows(
        store(entry(), entry(time=TIME[:1], target=TARGET[:, :1])),
        batch_size=50, num_batches=2, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert windows.usable.tolist() == [0]
    for batch in windows:
        assert (batch.mask[:, batch.context_length :].flatten(1).sum(1) > 0).all()
        # a gap of 3.5 is longer than the horizon
        assert (batch.elapsed <= 3.0).all()


def test_nothing_within_the_horizon_is_an_error():
    with pytest.raises(ValueError, match="longer horizon"):
        TrainingWindows(store(entry(), horizon=0.1), batch_size=1, num_batches=1, generator=torch.Generator())


def test_a_cut_time_is_kept_to():
    (batch,) = LastWindows(store(entry(cut_time=4.0)), batch_size=2, known=True)
    assert batch.elapsed[0].tolist() == [0.5, 2.0]
    with pytest.raises(ValueError, match=r"'a'.*cut_time"):
        store(entry(cut_time=-1.0))


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
def test_what_does_not_fit_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        store(entry(**fields), forecast=True)


def test_time_zones_must_agree():
    days = pd.date_range("2024-01-01", periods=7, tz="Europe/Paris")
    with pytest.raises(ValueError, match="no time zone"):
        store(entry(time=days, query_time=[pd.Timestamp("2024-02-01")]), forecast=True, datetimes=True)
    with pytest.raises(ValueError, match="cut_time has no time zone"):
        store(entry(time=days, cut_time=pd.Timestamp("2024-01-04")), datetimes=True)
    query = pd.DatetimeIndex(["2024-01-08 05:00"], tz="Asia/Tokyo")
    (batch,) = LastWindows(
        store(entry(time=days, query_time=query), forecast=True, datetimes=True), batch_size=1, known=False
    )
    # five o'clock in Tokyo is nine in the evening before in Paris
    assert batch.elapsed[0].tolist() == [21 * 3600]


def test_nanoseconds_after_a_century():
    """Seconds since the first row, in float64, would not tell them apart."""
    time = pd.DatetimeIndex(["1924-01-01", "2024-01-01", "2024-01-01 00:00:00.000000007"])
    asked = {"query_time": time[-1:] + pd.Timedelta(5, "ns")}
    windows = store(entry(time=time, target=TARGET[:, :3], **asked), forecast=True, datetimes=True)
    (batch,) = LastWindows(windows, batch_size=1, known=False)
    assert batch.elapsed[0].tolist() == [5e-9] and batch.dt[0, -1] == 7e-9


def test_the_clock_is_that_of_the_wall():
    """The day's phase follows summer time, elapsed time does not."""
    stamps = pd.DatetimeIndex(["2024-03-30 12:00", "2024-03-31 12:00", "2024-04-01 12:00"], tz="Europe/Paris")
    batch = store(
        {"time": stamps, "target": np.ones((2, 3))}, datetimes=True, cycles=["day"], horizon=1e6
    ).gather(torch.tensor([0]), torch.tensor([2]))  # fmt: skip
    assert batch.dt[0, 1] == 23 * 3600 and torch.allclose(batch.calendar[0, 0], batch.calendar[0, 1])
