"""GluonTS's estimators as peers: quiet training, errors, seeds and serialization."""

import logging

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor

from s5forecast.estimators.peers import PEERS, PeerEstimator

FEW = {"trainer_kwargs": {"max_epochs": 1}, "num_batches_per_epoch": 2, "batch_size": 4}


def entries(freq="h", length=120, dtype=float):
    rng = np.random.default_rng(0)
    wave = 10 + np.sin(np.arange(length) / 4)
    start = pd.Period("2024-01-01", freq)
    return [
        {"start": start, "target": (wave + rng.normal(size=length) / 9).astype(dtype), "item_id": str(number)}
        for number in range(3)
    ]


@pytest.mark.parametrize("name", PEERS)
def test_trains_quietly_on_any_numeric_type_and_serializes(name, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    data = entries()
    data[1]["target"][5:9] = np.nan
    with caplog.at_level(logging.INFO):
        predictor = PEERS[name](freq="h", prediction_length=6, arguments=FEW).train(data)
        forecasts = list(predictor.predict(data))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "") and not caplog.records

    assert [forecast.item_id for forecast in forecasts] == ["0", "1", "2"]
    values = np.array([forecast.quantile(0.5) for forecast in forecasts])
    assert values.shape == (3, 6) and np.isfinite(values).all()

    again = PEERS[name](freq="h", prediction_length=6, arguments=FEW).train(data)
    np.testing.assert_array_equal(values, [forecast.quantile(0.5) for forecast in again.predict(data)])
    predictor.serialize(tmp_path)
    copy = Predictor.deserialize(tmp_path)
    np.testing.assert_array_equal(values, [forecast.quantile(0.5) for forecast in copy.predict(data)])


@pytest.mark.parametrize("freq", ["MS", "QE-FEB", "W-TUE", "15min"])
@pytest.mark.parametrize("name", ["deepar", "tft", "tide"])
def test_frequencies_of_frames(name, freq):
    estimator = PEERS[name](freq=freq, prediction_length=2, arguments=FEW)
    predictor = estimator.train(entries(estimator.freq))
    assert len(next(iter(predictor.predict(entries(estimator.freq)))).mean) == 2


def test_training_restores_the_global_random_state():
    before = np.random.get_state()[1].copy()
    PEERS["simple_feedforward"](freq="h", prediction_length=2, arguments=FEW).train(entries(dtype=int))
    np.testing.assert_array_equal(before, np.random.get_state()[1])


class Failing(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == 1:
            raise RuntimeError("in the second epoch")


def test_training_errors_are_raised():
    bad = {**FEW, "trainer_kwargs": {"max_epochs": 3, "callbacks": [Failing()]}}
    with pytest.raises(RuntimeError, match="in the second epoch"):
        PEERS["simple_feedforward"](freq="h", prediction_length=2, arguments=bad).train(entries())


def test_arguments():
    assert (
        len(PeerEstimator("patch_tst", "h", 1, arguments=FEW).train(entries()).predict(entries()).__next__().mean) == 1
    )
    with pytest.raises(ValueError, match="unknown peer 'lstnet'; choose one of 'deepar'"):
        PeerEstimator("lstnet", "h", 1)
