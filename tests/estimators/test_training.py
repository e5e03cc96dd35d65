"""Training: callbacks, errors, resuming, random state and schedule."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from conftest import ESTIMATORS, entry
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from s5forecast.estimators.training import ForecastModule
from s5forecast.windows.batches import SAMPLINGS


class Recorder(Callback):
    def __init__(self):
        self.losses = []

    def on_train_epoch_end(self, trainer, module):
        self.losses.append({k: v.item() for k, v in trainer.callback_metrics.items()})


def test_callbacks_are_kept_across_calls(make_one, data):
    recorder = Recorder()
    estimator = make_one(trainer_kwargs={"callbacks": [recorder], "enable_progress_bar": False})
    estimator.train(data)
    estimator.train(data, data)
    assert len(recorder.losses) == 2
    assert "train_loss" in recorder.losses[0] and "val_loss" in recorder.losses[1]


def test_nothing_is_written_and_nothing_printed(make_one, data, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    make_one().train(data, data)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


def test_one_progress_bar(make_one, data, capfd):
    make_one(trainer_kwargs={}, max_epochs=2).train(data)
    out, err = capfd.readouterr()
    assert out == "" and "4/4" in err and err.count("\n") == 1


def test_exceptions_are_raised(make_one, data):
    class Failing(Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 2:
                raise RuntimeError("out of luck")

    estimator = make_one(max_epochs=5, trainer_kwargs={"callbacks": [Failing()], "enable_progress_bar": False})
    with pytest.raises(RuntimeError, match="out of luck"):
        estimator.train(data, data)


def test_a_loss_that_is_not_finite_is_raised(make_one, data):
    class Poison(Callback):
        def on_train_start(self, trainer, module):
            torch.nn.init.constant_(module.network.patching.input.weight, torch.nan)

    estimator = make_one(trainer_kwargs={"callbacks": [Poison()], "enable_progress_bar": False})
    with pytest.raises(FloatingPointError, match="lower lr"):
        estimator.train(data)


def test_resumed_training_equals_uninterrupted_training(make_one, data, tmp_path):
    def estimator(callbacks):
        kwargs = {"callbacks": callbacks, "enable_progress_bar": False}
        return make_one(max_epochs=4, dropout=0.0, trainer_kwargs=kwargs)

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, module):
            trainer.should_stop = trainer.current_epoch == 1

    keep = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    whole = estimator([keep]).train_model(data)
    checkpoint = torch.load(tmp_path / "epoch=1.ckpt", weights_only=True)
    assert checkpoint["optimizer_states"][0]["state"], "the state of the optimizer was not saved"
    resumed = estimator([]).train_model(data, ckpt_path=tmp_path / "epoch=1.ckpt")
    assert resumed.trainer.global_step == whole.trainer.global_step == 8
    restored = resumed.trainer.optimizers[0].state_dict()["state"][0]["step"]
    assert restored == 8, "the optimizer was reset"


def test_validation_stops_early_and_keeps_the_best_weights(make_one, data):
    recorder = Recorder()
    estimator = make_one(
        lr=1.0,
        max_epochs=30,
        patience=2,
        trainer_kwargs={"callbacks": [recorder], "enable_progress_bar": False},
    )
    output = estimator.train_model(data, data)
    losses = [epoch["val_loss"] for epoch in recorder.losses]
    assert len(losses) < 30
    module = output.trained_net.eval()
    batches = list(estimator.create_validation_data_loader(data, module))
    with torch.no_grad():
        best = np.mean([module.network.loss(batch).item() for batch in batches])
    assert best == pytest.approx(min(losses), rel=1e-5)


def test_state_space_parameters_are_a_group_of_their_own(make_one):
    module = make_one(lr=0.1, ssm_lr=0.01).create_lightning_module()
    module.trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu")
    groups = module._parameter_groups()
    assert [group["lr"] for group in groups] == [0.1, 0.1, 0.01]
    assert groups[2]["weight_decay"] == 0.0
    names = {id(p): name for name, p in module.named_parameters()}
    assert {names[id(p)].split(".")[-1] for p in groups[2]["params"]} == {"Lambda", "B_tilde", "log_step"}
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_training_reduces_the_loss(make_one):
    data = [entry(200, "a"), entry(200, "b", seed=1)]
    recorder = Recorder()
    make_one(
        max_epochs=12, num_batches_per_epoch=20,
        trainer_kwargs={"callbacks": [recorder], "enable_progress_bar": False},
    ).train(data)  # fmt: skip
    assert recorder.losses[-1]["train_loss"] < 0.8 * recorder.losses[0]["train_loss"]


def test_training_reports_what_gluonts_reports(make_one, data):
    output = make_one().train_model(data)
    assert isinstance(output.trained_net, ForecastModule)
    assert output.predictor.network is output.trained_net.network


NETWORKS = (
    "S5Estimator-quantile",
    "S5AutoregressiveEstimator-quantile",
    "S5MultivariateEstimator",
    "S5ContinuousEstimator",
)


@pytest.mark.parametrize("name", NETWORKS)
def test_sampling_of_the_training_windows(name):
    make, data, _ = ESTIMATORS[name]
    long, short = data()[:2]
    entries = [{**long, "item_id": "long"}, *({**short, "item_id": f"short {number}"} for number in range(5))]
    drawn = {}
    for sampling in SAMPLINGS:
        estimator = make(sampling=sampling)
        windows = estimator.create_training_data_loader(entries, estimator.create_lightning_module())
        of_long = [series.item_id == "long" for series in windows.store.series].index(True)
        drawn[sampling] = int((windows._drawn(6000).entry == of_long).sum()) / 6000
        expected = {
            "series": 1 / 6,
            "windows": float(windows.store.num_cuts(torch.tensor([of_long])) / windows.ends[-1]),
        }
        assert abs(drawn[sampling] - expected[sampling]) < 0.025
    with pytest.raises(ValueError, match="unknown sampling 'steps'; choose one of 'series', 'windows'"):
        make(sampling="steps")


def test_unknown_arguments_are_refused(make_one, data):
    with pytest.raises(TypeError, match="num_workers"):
        make_one().train(data, num_workers=4)


def test_keyboard_interrupt_is_raised(make_one, data):
    class Interrupt(Callback):
        def on_train_epoch_start(self, trainer, module):
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        make_one(trainer_kwargs={"callbacks": [Interrupt()], "enable_progress_bar": False}).train(data)
    assert signal.getsignal(signal.SIGINT) is before


def test_validation_without_an_observed_horizon(make_one, data):
    blind = entry(60)
    blind["target"][-4:] = np.nan
    with pytest.raises(ValueError, match="no observed value in the last horizon"):
        make_one().train(data, [blind])
    make_one().train(data, [blind, entry(50, "b")])


def test_trainings_in_threads_do_not_disturb_each_other(make_one, data):
    def train():
        (forecast, *_) = make_one(seed=4).train(data).predict(data)
        return forecast.mean

    alone = train()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(2) as pool:
        together = [future.result() for future in [pool.submit(train) for _ in range(3)]]
    assert all(np.array_equal(alone, mean) for mean in together)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_schedule_needs_an_end(make_one, data):
    with pytest.raises(ValueError, match="max_epochs or max_steps"):
        make_one(trainer_kwargs={"max_epochs": -1, "max_time": "00:00:00:05", "enable_progress_bar": False}).train(data)


def test_short_and_long_records_take_more_epochs(make_one, data):
    few = make_one(max_epochs=None, num_batches_per_epoch=1)
    trainer = few.train_model(data).trainer
    assert trainer.max_epochs == few.epochs(few._store(data)) == 60
    alone = make_one(max_epochs=None, num_batches_per_epoch=1, synthetic_share=0.0)
    assert alone.train_model(data).trainer.max_epochs == 20
    plenty = few._store([entry(10_000)])
    assert few.epochs(plenty) == 20
    assert few.epochs(few._store([entry(60_000)])) == 60
    assert few.epochs(few._store([entry(600, str(item)) for item in range(100)])) == 20
    assert make_one(max_epochs=3).train_model(data).trainer.max_epochs == 3
