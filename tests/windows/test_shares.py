"""Windows that several processes divide among them."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from gluonts.dataset.common import ListDataset

from s5forecast.estimators import S5ContinuousEstimator, S5Estimator, S5MultivariateEstimator
from s5forecast.windows.batches import LastWindows

SIZE = {"width": 8, "num_layers": 1, "state_size": 4}


def regular():
    entries = [{"target": np.arange(30.0) + i, "start": "2024-01-01"} for i in range(5)]
    estimator = S5Estimator(prediction_length=3, freq="h", context_length=8, synthetic_share=0.4, **SIZE)
    return estimator, ListDataset(entries, freq="h")


def joint():
    entries = [{"target": np.arange(60.0).reshape(2, 30) + i, "start": "2024-01-01"} for i in range(5)]
    estimator = S5MultivariateEstimator(prediction_length=3, freq="h", context_length=8, target_dim=2, **SIZE)
    return estimator, ListDataset(entries, freq="h", one_dim_target=False)


def irregular():
    time = np.random.default_rng(0).exponential(size=(5, 40)).cumsum(1)
    entries = [{"time": row, "target": row[None] + i} for i, row in enumerate(time)]
    return S5ContinuousEstimator(prediction_horizon=30.0, **SIZE), entries


@pytest.fixture(params=[regular, joint, irregular])
def store_and_windows(request):
    estimator, entries = request.param()
    store = estimator._store(entries)
    return store, estimator._training_windows(store)


def of_rank(windows, rank, processes, batch_size):
    found = deepcopy(windows)
    found.batch_size, found.num_batches = batch_size, 3
    found.share(rank, processes)
    return list(found)


def horizons(batches):
    """Observed values of the horizon of each row, without padding."""
    return sorted(
        tuple(row[mask].tolist())
        for batch in batches
        for row, mask in zip(batch.target, batch.mask[:, -batch.target.shape[1] :] > 0, strict=True)
    )


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_divide_the_windows_of_each_step(store_and_windows, processes):
    _, windows = store_and_windows
    whole = of_rank(windows, 0, 1, 4 * processes)
    shares = [of_rank(windows, rank, processes, 4) for rank in range(processes)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert {processes * len(part.target) for part in parts} == {len(batch.target)}
        assert horizons(parts) == horizons([batch])


def test_windows_are_pickled_with_the_state_of_their_generator(store_and_windows):
    _, windows = store_and_windows
    next(iter(windows))
    restored = pickle.loads(pickle.dumps(windows))
    for one, other in zip(windows.draw(3), restored.draw(3), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("processes", [2, 4, 7])
def test_processes_validate_each_series_once(store_and_windows, processes):
    store, _ = store_and_windows
    shares = [LastWindows(store, batch_size=2, known=True) for _ in range(processes)]
    for rank, windows in enumerate(shares):
        windows.share(rank, processes)
    assert len({len(list(windows)) for windows in shares}) == 1  # all processes take part in each step
    found = [row for row in horizons(batch for windows in shares for batch in windows) if row]
    assert found == horizons(LastWindows(store, batch_size=100, known=True))
