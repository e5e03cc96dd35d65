"""Windows of irregular series."""

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
    # The first variable was observed at 0, the second not before 1.
    assert np.array_equal(batch.age[0], [[np.nan, np.nan], [1.0, np.nan], [1.5, 0.5]], equal_nan=True)
    assert batch.last[0].tolist() == [3.0, 30.0] and batch.last_age[0].tolist() == [0.0, 0.0]
    # The times up to 1.5 + 3.
    assert batch.elapsed[0].tolist() == [2.5, 3.0]
    assert batch.target[0].tolist() == [[4.0, 0.0], [0.0, 50.0]]
    assert batch.mask[0, 3:].tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_a_shorter_history_is_padded_on_the_left():
    short = entry(time=TIME[:2], target=TARGET[:, :2])
    batch = store(entry(), short).gather(torch.tensor([0, 1]), torch.tensor([6, 1]))
    assert batch.mask[1, :3].sum() == 0 and batch.dt[1, :3].tolist() == [0.0, 0.0, 0.0]
    assert batch.values.shape == (2, 4, 2)


def test_values_seen_before_the_window_are_known():
    target = TARGET.copy()
    target[0, 1:] = np.nan
    # The row at time 4 has no value.
    batch = store(entry(target=target)).gather(torch.tensor([0]), torch.tensor([5]))
    assert batch.mask[0, :4, 0].sum() == 0
    assert batch.last[0, 0] == 1 and batch.last_age[0, 0] == 6.0


def test_rows_without_an_observed_value_are_dropped():
    time = np.insert(TIME, 3, 2.0)
    target = np.insert(TARGET, 3, np.nan, axis=1)
    found = store(entry(time=time, target=target)).gather(torch.tensor([0]), torch.tensor([5]))
    for one, other in zip(found, store(entry()).gather(torch.tensor([0]), torch.tensor([5])), strict=True):
        assert torch.equal(one.nan_to_num(-1.0), other.nan_to_num(-1.0))


def test_many_query_times_are_thinned_out_evenly():
    n = 200
    one = {"time": np.arange(n) / 10, "target": np.ones((2, n))}
    batch = store(one, horizon=10.0).gather(torch.tensor([0]), torch.tensor([20]), torch.rand(1, 8))
    steps = batch.elapsed[0].diff()
    assert len(batch.elapsed[0]) == 8 and (steps > 0).all() and (steps < 2.6).all() and batch.elapsed[0, -1] <= 10


def test_the_next_observations_by_count():
    batch = store(entry(), horizon=None, prediction_length=2).gather(torch.tensor([0]), torch.tensor([2]))
    assert batch.elapsed[0].tolist() == [0.5, 3.0]


def test_training_windows_have_targets():
    windows = TrainingWindows(
        store(entry(), entry(time=TIME[:1], target=TARGET[:, :1])),
        batch_size=50, num_batches=2, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert windows.usable.tolist() == [0]
    for batch in windows:
        assert (batch.mask[:, batch.context_length :].flatten(1).sum(1) > 0).all()
        # A gap of 3.5 is longer than the horizon.
        assert (batch.elapsed <= 3.0).all()


def test_sampling_in_proportion_to_windows():
    long = {"time": np.arange(30.0), "target": np.ones((2, 30))}
    both = store(entry(), long)
    cuts = both.num_cuts(torch.arange(2))
    share = torch.linspace(0, 1, 500, dtype=torch.float64)[:-1]
    for series, expected in enumerate(cuts.tolist()):
        assert len(both.training_cuts(torch.full((499,), series), share).unique()) == expected
    windows = TrainingWindows(
        both, batch_size=1, num_batches=1, generator=torch.Generator().manual_seed(0), sampling="windows"
    )
    drawn = windows._drawn(10_000).entry.double().mean()
    assert abs(drawn - cuts[1] / cuts.sum()) < 0.02


def test_no_observation_within_the_horizon():
    with pytest.raises(ValueError, match="longer horizon"):
        TrainingWindows(store(entry(), horizon=0.1), batch_size=1, num_batches=1, generator=torch.Generator())


def test_cut_time():
    (batch,) = LastWindows(store(entry(cut_time=4.0)), batch_size=2, known=True)
    assert batch.elapsed[0].tolist() == [0.5, 2.0]
    with pytest.raises(ValueError, match=r"'a'.*cut_time"):
        store(entry(cut_time=-1.0))


def test_query_times_in_another_time_zone():
    days = pd.date_range("2024-01-01", periods=7, tz="Europe/Paris")
    query = pd.DatetimeIndex(["2024-01-08 05:00"], tz="Asia/Tokyo")
    (batch,) = LastWindows(
        store(entry(time=days, query_time=query), forecast=True, datetimes=True), batch_size=1, known=False
    )
    # 05:00 in Tokyo is 21:00 of the day before in Paris.
    assert batch.elapsed[0].tolist() == [21 * 3600]


def test_nanoseconds_after_a_century():
    """float64 seconds since the first row could not distinguish these times."""
    time = pd.DatetimeIndex(["1924-01-01", "2024-01-01", "2024-01-01 00:00:00.000000007"])
    query = {"query_time": time[-1:] + pd.Timedelta(5, "ns")}
    windows = store(entry(time=time, target=TARGET[:, :3], **query), forecast=True, datetimes=True)
    (batch,) = LastWindows(windows, batch_size=1, known=False)
    assert batch.elapsed[0].tolist() == [5e-9] and batch.dt[0, -1] == 7e-9


def test_calendar_features_use_local_time():
    """Summer time changes the phase of the day, but not elapsed time."""
    stamps = pd.DatetimeIndex(["2024-03-30 12:00", "2024-03-31 12:00", "2024-04-01 12:00"], tz="Europe/Paris")
    batch = store(
        {"time": stamps, "target": np.ones((2, 3))}, datetimes=True, cycles=["day"], horizon=1e6
    ).gather(torch.tensor([0]), torch.tensor([2]))  # fmt: skip
    assert batch.dt[0, 1] == 23 * 3600 and torch.allclose(batch.calendar[0, 0], batch.calendar[0, 1])
