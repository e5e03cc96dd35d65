"""Batches made by a thread equal those made without it, and the thread ends with their use."""

import threading
from contextlib import closing
from contextvars import ContextVar

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.callbacks import Callback

from s5forecast import S5Forecaster
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.prefetch import AHEAD, Prefetched

SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "batch_size": 4, "num_batches_per_epoch": 4,
    "max_epochs": 2, "device": "cpu",
}  # fmt: skip


class Batches:
    """Numbers from 0, of which the last raises an error; counts those that were made."""

    def __init__(self, count, error=None):
        self.count, self.error, self.made = count, error, 0

    def __len__(self):
        return self.count

    def __iter__(self):
        for number in range(self.count):
            if self.error is not None and number == self.count - 1:
                raise self.error
            self.made = number + 1
            yield number


def threads():
    return [one for one in threading.enumerate() if one.name == "s5forecast-batches"]


def test_batches_are_those_without_the_thread():
    batches = Prefetched(Batches(20))
    assert len(batches) == 20
    assert [list(batches) for _ in range(2)] == [list(range(20))] * 2
    assert threads() == []


def test_an_error_is_raised_where_the_batch_is_used():
    iterator = iter(Prefetched(Batches(4, OSError("the disk is gone"))))
    assert [next(iterator) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(iterator)
    assert threads() == []


def test_few_batches_are_made_ahead():
    batches = Batches(100)
    with closing(Prefetched(batches)) as found:
        iterator = iter(found)
        assert next(iterator) == 0
    assert batches.made <= 1 + AHEAD + 2  # one that waits for its place, and one in the place of the used one
    assert threads() == []


def test_the_thread_has_the_context_of_its_user():
    variable = ContextVar("variable")
    variable.set(3)

    class Reading(Batches):
        def __iter__(self):
            yield variable.get()

    assert list(Prefetched(Reading(1))) == [3]


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=60, freq="h")
    parts = [pd.DataFrame({"item_id": item, "timestamp": hours, "target": rng.normal(size=60)}) for item in "abc"]
    pd.concat(parts).to_parquet(tmp_path / "rows.parquet", index=False)
    return tmp_path


def fit(folder, *callbacks):
    kwargs = {**SMALL, "trainer_kwargs": {"callbacks": list(callbacks)}}
    return S5Forecaster(3, freq="h", estimator_kwargs=kwargs, verbose=False).fit(folder)


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
    mixed = TrainingWindows._mixed

    def failing(self, count):
        if threading.current_thread() is not threading.main_thread():
            raise OSError("the disk is gone")
        return mixed(self, count)

    monkeypatch.setattr(TrainingWindows, "_mixed", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        fit(folder)
    assert threads() == []
