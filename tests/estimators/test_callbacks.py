"""Callbacks of the user: their place beside ours, repeated trainings, and predictors of checkpoints."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ESTIMATORS, H, direct, regular
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from test_gluonts_suite import all_values

from s5forecast import S5Forecaster
from s5forecast.estimators import CombinedEstimator, EnsembleEstimator, S5Predictor
from s5forecast.estimators.training import ForecastModule
from s5forecast.evaluation import BASELINES

KINDS = [
    "S5Estimator-quantile",
    "S5AutoregressiveEstimator-student_t",
    "S5MultivariateEstimator",
    "S5ContinuousEstimator",
]


def same_weights(one, other):
    weights, others = (predictor.network.state_dict() for predictor in (one, other))
    return all(torch.equal(weights[name], others[name]) for name in {**weights, **others})


def quiet(*callbacks, **kwargs):
    return {"enable_progress_bar": False, "callbacks": list(callbacks), **kwargs}


@pytest.mark.parametrize("name", KINDS)
def test_callbacks_of_the_user_replace_the_default_ones(name, tmp_path):
    kind = ESTIMATORS[name]
    stop, best = EarlyStopping("val_loss", patience=1), ModelCheckpoint(tmp_path, monitor="val_loss")
    output = kind.make(max_epochs=2, trainer_kwargs=quiet(stop, best)).train_model(kind.data(), kind.data())
    kinds = [type(callback) for callback in output.trainer.callbacks]
    assert kinds.count(EarlyStopping) == kinds.count(ModelCheckpoint) == 1
    again = S5Predictor.from_checkpoint(best.best_model_path, device="cpu")
    assert same_weights(again, output.predictor)
    for one, other in zip(all_values(again, kind.data()), all_values(output.predictor, kind.data()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_checkpoint_without_a_monitor_leaves_the_best_weights(data, tmp_path):
    every = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_epochs=1, filename="{epoch}")
    output = direct(max_epochs=2, trainer_kwargs=quiet(every)).train_model(data, data)
    assert sum(isinstance(callback, ModelCheckpoint) for callback in output.trainer.callbacks) == 2
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["epoch=0.ckpt", "epoch=1.ckpt"]
    assert any(same_weights(S5Predictor.from_checkpoint(tmp_path / one), output.predictor) for one in names)


@pytest.mark.parametrize("alone", [True, False])
def test_a_single_callback_need_not_be_in_a_list(alone, data):
    stop = EarlyStopping("val_loss")
    kwargs = {"enable_progress_bar": False, "callbacks": stop if alone else (stop,)}
    assert len(list(direct(trainer_kwargs=kwargs).train(data, data).predict(data))) == 3


def test_a_second_training_does_not_continue_the_state_of_callbacks(data, tmp_path):
    stop, best = EarlyStopping("val_loss", patience=1), ModelCheckpoint(tmp_path, monitor="val_loss")
    estimator = direct(trainer_kwargs=quiet(stop, best))
    first = estimator.train(data, data)
    worse = [{**one, "target": one["target"] * 100.0 + 7} for one in data]
    best.best_model_score = torch.tensor(-1e9)  # better than any loss
    second = estimator.train(worse, worse)
    assert second == direct().train(worse, worse) != first
    ensemble = EnsembleEstimator(direct(trainer_kwargs=quiet(stop, best)), 2, [1.0]).train(data, data)
    assert ensemble == EnsembleEstimator(direct(), 2, [1.0]).train(data, data)


def test_callbacks_that_monitor_validation_data_require_them(data):
    estimator = direct(trainer_kwargs=quiet(EarlyStopping("val_loss")))
    with pytest.raises(ValueError, match=r"EarlyStopping monitors 'val_loss', which requires validation data; pass"):
        estimator.train(data)
    # The copies that weights are computed with have no validation data.
    combined = CombinedEstimator(H, [estimator, BASELINES["naive"](H)], windows=1)
    assert len(combined.train(data, data).members) == 2


@pytest.mark.parametrize("callback", [EarlyStopping("loss"), ModelCheckpoint(monitor="val_los")])
@pytest.mark.parametrize("name", KINDS)
def test_an_unknown_monitor_is_refused_before_training(callback, name):
    kind, begun = ESTIMATORS[name], []
    step = patch.object(ForecastModule, "training_step", side_effect=begun.append)
    known = {None: "monitor 'train_loss'$", True: "monitor 'train_loss' or 'val_loss'$"}
    for validation, text in known.items():
        estimator = kind.make(trainer_kwargs=quiet(callback))
        message = f"{type(callback).__name__} monitors '{callback.monitor}', which the training does not log; {text}"
        with step, pytest.raises(ValueError, match=message):
            estimator.train(kind.data(), validation and kind.data())
    assert not begun
    with pytest.raises(ValueError, match="does not log; omit barebones=True"):
        kind.make(trainer_kwargs={"barebones": True, "callbacks": [EarlyStopping("train_loss")]}).train(kind.data())


def test_a_forecaster_refuses_an_unknown_monitor():
    target = regular()[0]["target"]
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=len(target), freq="h"), "target": target})
    for kwargs in ({}, {"num_members": 2}, {"max_epochs": 1}):
        given = {"trainer_kwargs": {"callbacks": EarlyStopping("val_WQL")}, "device": "cpu", **kwargs}
        with pytest.raises(ValueError, match=r"EarlyStopping monitors 'val_WQL', .* 'train_loss' or 'val_loss'"):
            S5Forecaster(H, "h", verbose=False, estimator_kwargs=given).fit(df, validation=df)


def test_other_values_that_may_be_monitored(data, tmp_path):
    class Own(Callback):
        def on_train_epoch_end(self, trainer, module):
            module.log("own", 1.0)

    for callbacks in (
        [Own(), EarlyStopping("own")],
        [EarlyStopping("own", strict=False)],
        [ModelCheckpoint(tmp_path, monitor="step", mode="max")],
    ):
        assert direct(trainer_kwargs=quiet(*callbacks)).train(data, data)


def test_other_files_are_no_checkpoints(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="is not a checkpoint of an estimator of s5forecast"):
        S5Predictor.from_checkpoint(tmp_path / "other.ckpt")
    named = '{"__kind__": "instance", "class": "os.system", "args": ["true"], "kwargs": {}}'
    torch.save({"state_dict": {}, "s5forecast_network": named}, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match=r"os\.system.*not a class of s5forecast's models"):
        S5Predictor.from_checkpoint(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("model", ["direct", "multivariate"])
def test_a_forecaster_takes_the_predictor_of_a_checkpoint(model, tmp_path):
    target = regular()[0]["target"]
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=len(target), freq="h"), "target": target})
    df = pd.concat([df.assign(item_id="b"), df.assign(item_id="a", target=df["target"] + 1)])
    best = ModelCheckpoint(tmp_path, monitor="val_loss")
    small = {"context_length": 12, "width": 8, "max_epochs": 1, "num_batches_per_epoch": 1, "device": "cpu"}
    forecaster = S5Forecaster(
        H, "h", model=model, verbose=False, estimator_kwargs={**small, "trainer_kwargs": {"callbacks": [best]}}
    )
    expected = forecaster.fit(df, validation=df).predict()
    forecaster.predictor_ = forecaster.predictor_.from_checkpoint(best.best_model_path, device="cpu")
    pd.testing.assert_frame_equal(forecaster.predict(), expected)
    forecaster.predictor_ = S5Predictor.from_checkpoint(best.best_model_path, device="cpu")
    if model == "direct":
        pd.testing.assert_frame_equal(forecaster.predict(), expected)
    else:
        for use in (forecaster.predict, forecaster.predict_samples, lambda: forecaster.stream(df)):
            with pytest.raises(ValueError, match=r"predictor_ = forecaster\.predictor_\.from_checkpoint\(path\)"):
                use()


def test_files_that_the_user_asks_for_are_kept(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    direct().train(data, data)
    assert list(tmp_path.iterdir()) == []
    best = ModelCheckpoint(monitor="val_loss")
    predictor = direct(trainer_kwargs=quiet(best, logger=True)).train(data, data)
    assert same_weights(S5Predictor.from_checkpoint(best.best_model_path, device="cpu"), predictor)
    assert (tmp_path / "lightning_logs" / "version_0" / "checkpoints").is_dir()
    every = ModelCheckpoint()
    direct(trainer_kwargs=quiet(every, default_root_dir="runs")).train(data)
    assert S5Predictor.from_checkpoint(every.best_model_path).prediction_length == H
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["checkpoints"]


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_callbacks_that_lightning_cannot_tell_apart_are_refused(kind, data, tmp_path):
    twice = quiet(kind(monitor="val_loss"), kind(monitor="val_loss"))
    with pytest.raises(ValueError, match=rf"callbacks has two {kind.__name__} with the same settings, .*val_loss"):
        direct(trainer_kwargs=twice).train(data, data)
    others = quiet(ModelCheckpoint(tmp_path, "val_loss", monitor="val_loss"), ModelCheckpoint(tmp_path, "all"))
    direct(trainer_kwargs=others).train(data, data)


def test_arguments_that_are_no_dictionaries():
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=40, freq="h"), "target": np.arange(40.0)})
    for kwargs, name in (({"trainer_kwargs": 1}, r"estimator_kwargs\['trainer_kwargs'\]"), (1, "estimator_kwargs")):
        with pytest.raises(ValueError, match=rf"^{name} must be a dictionary of arguments, .* got 1$"):
            S5Forecaster(H, "h", verbose=False, estimator_kwargs=kwargs).fit(df)
