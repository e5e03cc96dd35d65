"""Batches made by a thread equal those made without it, and the thread ends with their use."""

import threading
from contextlib import closing
from contextvars import ContextVar
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from s5forecast import S5Forecaster
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.prefetch import AHEAD, Prefetched

SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "batch_size": 4, "num_batches_per_epoch": 4,
    "max_epochs": 2, "device": "cpu",
}  # fmt: skip


class Batches:
    """Random numbers, of which the last raises an error; counts those that were made."""

    def __init__(self, count, error=None):
        self.count, self.error, self.made = count, error, 0
        self.generator = torch.Generator().manual_seed(0)

    def __iter__(self):
        for number in range(self.count):
            if self.error is not None and number == self.count - 1:
                raise self.error
            self.made = number + 1
            yield torch.rand((), generator=self.generator).item()

    def prefetched(self):
        return Prefetched(self, self.generator)


def threads():
    return [one for one in threading.enumerate() if one.name == "s5forecast-batches"]


def test_batches_are_those_without_the_thread():
    expected, batches = Batches(20), Batches(20)
    for _ in range(2):
        with closing(batches.prefetched()) as found:
            assert list(found) == list(expected)
    assert threads() == []


@pytest.mark.parametrize("used", [0, 1, 5])
def test_an_abandoned_iteration_leaves_no_trace(used):
    expected, batches = Batches(used), Batches(100)
    with closing(batches.prefetched()) as found:
        assert list(islice(found, used)) == list(expected)
    assert torch.equal(batches.generator.get_state(), expected.generator.get_state())
    assert batches.made <= used + AHEAD + 1  # one waits for a place
    assert threads() == []
    torch.rand((), generator=batches.generator)
    state = batches.generator.get_state()
    found.close()
    assert torch.equal(batches.generator.get_state(), state)


def test_an_error_is_raised_where_the_batch_is_used():
    with closing(Batches(4, OSError("the disk is gone")).prefetched()) as found:
        iterator = iter(found)
        assert len([next(iterator) for _ in range(3)]) == 3
        with pytest.raises(OSError, match="the disk is gone"):
            next(iterator)
    assert threads() == []


def test_the_thread_has_the_context_of_its_user():
    variable = ContextVar("variable")
    variable.set(3)
    reading = (variable.get() for _ in range(1))
    with closing(Prefetched(reading, torch.Generator())) as found:
        assert list(found) == [3]


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=60, freq="h")
    parts = [pd.DataFrame({"item_id": item, "timestamp": hours, "target": rng.normal(size=60)}) for item in "abc"]
    pd.concat(parts).to_parquet(tmp_path / "rows.parquet", index=False)
    return tmp_path


def fit(data, *callbacks, **trainer_kwargs):
    kwargs = {**SMALL, "trainer_kwargs": {"callbacks": list(callbacks), **trainer_kwargs}}
    return S5Forecaster(3, freq="h", estimator_kwargs=kwargs, verbose=False).fit(data)


class Seen(Callback):
    """Records the threads during the training, and raises an error in the second epoch if there is one."""

    def __init__(self, error=None):
        self.error, self.threads = error, set()

    def on_train_batch_start(self, trainer, *args):
        self.threads.update(threads())
        if self.error is not None and trainer.current_epoch == 1:
            raise self.error


@pytest.mark.parametrize("error", [None, RuntimeError("stop"), KeyboardInterrupt("stop")])
def test_the_thread_ends_with_the_training(error, folder):
    seen = Seen(error)
    if error is None:
        fit(folder, seen)
    else:
        with pytest.raises(type(error)):
            fit(folder, seen)
    assert len(seen.threads) >= 1 and threads() == []


def test_an_error_of_the_thread_ends_the_training(folder, monkeypatch):
    step = TrainingWindows._step

    def failing(self):
        if threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is gone")
        return step(self)

    monkeypatch.setattr(TrainingWindows, "_step", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        fit(folder)
    assert threads() == []


def test_epochs_that_end_early_give_the_same_forecasts(folder):
    found, expected = (
        fit(data, limit_train_batches=2).predict() for data in (folder, pd.read_parquet(folder / "rows.parquet"))
    )
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert threads() == []
