"""Every argument of Lightning's Trainer: a forecaster is trained, saved and loaded with it."""

from datetime import timedelta
from inspect import signature

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy

from s5forecast import S5Forecaster

H = 4
SMALL = {"context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 1}
# A valid value of each argument that differs from the default where that is possible; functions take a folder.
VALUES = {
    "accelerator": lambda folder: CPUAccelerator(),
    "accumulate_grad_batches": 1,
    "barebones": True,
    "benchmark": False,
    "callbacks": lambda folder: [EarlyStopping("val_loss"), ModelCheckpoint(folder, monitor="val_loss")],
    "check_val_every_n_epoch": 1,
    "default_root_dir": lambda folder: folder,
    "detect_anomaly": True,
    "deterministic": True,
    "devices": 1,
    "enable_autolog_hparams": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "fast_dev_run": True,
    "gradient_clip_algorithm": "norm",
    "gradient_clip_val": 0.5,
    "inference_mode": False,
    "limit_predict_batches": 1,
    "limit_test_batches": 1,
    "limit_train_batches": 1,
    "limit_val_batches": 1,
    "log_every_n_steps": 1,
    "logger": lambda folder: CSVLogger(folder),
    "max_epochs": np.int64(1),
    "max_steps": 1,
    "max_time": timedelta(minutes=5),
    "min_epochs": 1,
    "min_steps": 1,
    "model_registry": None,
    "num_nodes": 1,
    "num_sanity_val_steps": 1,
    "overfit_batches": 0.0,
    "plugins": lambda folder: [MixedPrecision("bf16-mixed", "cpu")],
    "precision": "32-true",
    "profiler": lambda folder: SimpleProfiler(dirpath=folder),
    "reload_dataloaders_every_n_epochs": 0,
    "strategy": lambda folder: SingleDeviceStrategy("cpu"),
    "sync_batchnorm": False,
    "use_distributed_sampler": False,
    "val_check_interval": 1.0,
}
NOT_SAVED = {"accelerator", "callbacks", "logger", "plugins", "profiler", "strategy"}
ARGUMENTS = [name for name in signature(pl.Trainer).parameters if name != "self"]


@pytest.fixture(scope="module")
def df():
    target = np.random.default_rng(0).normal(size=40)
    return pd.DataFrame({"timestamp": pd.date_range("2024", periods=40, freq="h"), "target": target})


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.filterwarnings("ignore:.*(bf16|fast_dev_run|autocast).*")
def test_forecasters_are_saved_with_every_argument_of_the_trainer(name, df, tmp_path):
    assert name in VALUES, f"Trainer has a new argument {name}; add a valid value"
    value = VALUES[name](tmp_path / "files") if callable(VALUES[name]) else VALUES[name]
    kwargs = {**SMALL, "trainer_kwargs": {"max_epochs": 1, name: value}}
    forecaster = S5Forecaster(H, "h", verbose=False, estimator_kwargs=kwargs).fit(df, validation=df)
    if name in NOT_SAVED:
        with pytest.warns(UserWarning, match=rf"trainer_kwargs \['{name}'\] are not saved, because JSON cannot hold"):
            forecaster.save(tmp_path / "model")
    else:
        forecaster.save(tmp_path / "model")
    loaded = S5Forecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.predict(df), forecaster.predict(df))
    assert (name in loaded.estimator_kwargs["trainer_kwargs"]) == (name not in NOT_SAVED)
    assert loaded.get_params().keys() == forecaster.get_params().keys()
    if name == "max_time":
        loaded.fit(df)


def test_values_are_those_of_arguments():
    assert VALUES.keys() >= set(ARGUMENTS) and VALUES.keys() >= NOT_SAVED


def test_parameters_of_numpy_types_are_saved(df, tmp_path):
    levels = np.array([0.1, 0.5, 0.9], dtype=np.float32)
    kwargs = {**SMALL, "max_epochs": np.int64(1), "lr": np.float32(0.01), "trainer_kwargs": None}
    f = S5Forecaster(np.int64(H), "h", seed=np.int64(1), quantile_levels=levels, verbose=False, estimator_kwargs=kwargs)
    f.fit(df).save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    expected = f.predict(df)
    assert list(expected.columns) == ["timestamp", "mean", "0.1", "0.5", "0.9"]
    pd.testing.assert_frame_equal(loaded.predict(df), expected)
    pd.testing.assert_frame_equal(loaded.predict(df, quantile_levels=list(levels)), expected)
    assert loaded.fit(df).predict().shape == expected.shape
