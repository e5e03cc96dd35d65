"""An interrupted training resumes from its checkpoint, with the result of an uninterrupted one."""

import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster
from s5forecast.estimators.training import ForecastModule

SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "batch_size": 4, "num_batches_per_epoch": 3,
    "max_epochs": 4, "device": "cpu",
}  # fmt: skip
REGULAR = {"prediction_length": 3, "freq": "h", "estimator_kwargs": SMALL, "verbose": False}
IRREGULAR = {name: value for name, value in SMALL.items() if name != "context_length"}
CASES = {
    "direct": REGULAR,
    "sample paths": {**REGULAR, "model": "autoregressive"},
    "multivariate": {**REGULAR, "model": "multivariate"},
    "ensemble": {**REGULAR, "estimator_kwargs": {**SMALL, "num_members": 2, "max_epochs": 2}},
    "irregular": {"horizon": "3h", "freq": None, "verbose": False, "estimator_kwargs": IRREGULAR},
}


def rows(steps=60):
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=steps, freq="h")
    parts = [pd.DataFrame({"item_id": item, "timestamp": hours, "target": rng.normal(size=steps)}) for item in "abc"]
    return pd.concat(parts, ignore_index=True)


def asked(parameters):
    return {"every": "1h"} if parameters["freq"] is None else {}


def interrupt(monkeypatch, step):
    """Interrupt the training before a step of the call, from 0; return the list of the steps that were made."""
    made, training_step = [], ForecastModule.training_step

    def interrupted(self, *arguments):
        if len(made) == step:
            raise RuntimeError("interrupted")
        made.append(self.global_step)
        return training_step(self, *arguments)

    monkeypatch.setattr(ForecastModule, "training_step", interrupted)
    return made


def resumed(parameters, monkeypatch, folder, interruptions, *data, **kwargs):
    """The forecaster after a training that is interrupted at several steps, and the steps after the last time."""
    for step in interruptions:
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="interrupted"):
            interrupt(patch, step)
            S5Forecaster(**parameters).fit(*data, checkpoint=folder, **kwargs)
    with monkeypatch.context() as patch:
        made = interrupt(patch, None)
        return S5Forecaster(**parameters).fit(*data, checkpoint=folder, **kwargs), made


@pytest.mark.parametrize("name", CASES)
def test_resumed_training_equals_uninterrupted_training(name, tmp_path, monkeypatch):
    parameters = CASES[name]
    expected = S5Forecaster(**parameters).fit(rows())
    found, made = resumed(parameters, monkeypatch, tmp_path / "training", [4, 2, 5], rows())
    kwargs = asked(parameters)
    pd.testing.assert_frame_equal(found.predict(**kwargs), expected.predict(**kwargs), check_exact=True)
    last = SMALL["num_batches_per_epoch"] * parameters["estimator_kwargs"]["max_epochs"]
    assert made == list(range(last - len(made), last))
    assert 0 < len(made) < last * parameters["estimator_kwargs"].get("num_members", 1)


def test_early_stopping_resumes(tmp_path, monkeypatch):
    parameters = {**REGULAR, "estimator_kwargs": {**SMALL, "lr": 0.5, "max_epochs": 30, "patience": 2}}
    early = rows()[rows()["timestamp"] < "2024-01-03"]
    with monkeypatch.context() as patch:
        steps = interrupt(patch, None)
        expected = S5Forecaster(**parameters).fit(early, rows())
    assert len(steps) < 90
    found, made = resumed(parameters, monkeypatch, tmp_path / "training", [len(steps) - 4, 1], early, rows())
    assert made[-1] == steps[-1]
    pd.testing.assert_frame_equal(found.predict(), expected.predict(), check_exact=True)


def test_a_finished_training_is_not_repeated(tmp_path, monkeypatch):
    expected = S5Forecaster(**REGULAR).fit(rows(), checkpoint=tmp_path / "training")
    interrupt(monkeypatch, 0)
    found = S5Forecaster(**{**REGULAR, "verbose": True}).fit(rows(), checkpoint=tmp_path / "training")
    pd.testing.assert_frame_equal(found.predict(), expected.predict(), check_exact=True)
    assert sorted(path.name for path in (tmp_path / "training").iterdir()) == ["_manifest.json", "trained.ckpt"]


class TestErrors:
    def test_other_data(self, tmp_path):
        S5Forecaster(**REGULAR).fit(rows(), checkpoint=tmp_path)
        changed = rows().assign(target=lambda df: df["target"] + (df.index == 3))
        with pytest.raises(ValueError, match="holds the training of another call: data differ"):
            S5Forecaster(**REGULAR).fit(changed, checkpoint=tmp_path)
        with pytest.raises(ValueError, match="holds the training of another call: validation differ"):
            S5Forecaster(**REGULAR).fit(rows(), rows(), checkpoint=tmp_path)

    def test_other_parameters(self, tmp_path):
        S5Forecaster(**REGULAR).fit(rows(), checkpoint=tmp_path)
        with pytest.raises(ValueError, match="holds the training of another call: parameters differ"):
            S5Forecaster(**REGULAR, seed=1).fit(rows(), checkpoint=tmp_path)

    def test_other_files(self, tmp_path):
        (tmp_path / "mine.txt").write_text("")
        with pytest.raises(ValueError, match=r"has other files and no _manifest\.json"):
            S5Forecaster(**REGULAR).fit(rows(), checkpoint=tmp_path)
        with pytest.raises(ValueError, match=r"mine\.txt' is a file; give a new or an empty folder"):
            S5Forecaster(**REGULAR).fit(rows(), checkpoint=tmp_path / "mine.txt")

    @pytest.mark.parametrize(
        ("parameters", "text"), [({"preset": "best"}, "preset='best'"), ({"time_limit": 60}, "time_limit="),
                                 ({"preset": "zero_shot"}, "preset='zero_shot'")]
    )  # fmt: skip
    def test_trainings_without_a_checkpoint(self, parameters, text, tmp_path):
        with pytest.raises(ValueError, match=f"checkpoint= is not available with {text}"):
            S5Forecaster(3, freq="h", verbose=False, **parameters).fit(rows(), checkpoint=tmp_path / "training")
        assert not (tmp_path / "training").exists()

    def test_several_processes(self, tmp_path):
        trainer = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_spawn"}
        parameters = {**REGULAR, "estimator_kwargs": {**SMALL, "trainer_kwargs": trainer}}
        with pytest.raises(ValueError, match="checkpoint= requires training in one process"):
            S5Forecaster(**parameters).fit(rows(), checkpoint=tmp_path)


KILLED = """
    import os, signal, sys
    from s5forecast import S5Forecaster
    from s5forecast.estimators.training import ForecastModule
    made, training_step = [], ForecastModule.training_step
    def step_or_die(self, *arguments):
        if len(made) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        made.append(self.global_step)
        return training_step(self, *arguments)
    ForecastModule.training_step = step_or_die
    f = S5Forecaster(**PARAMETERS).fit(sys.argv[1], checkpoint=sys.argv[2])
    f.predict().to_pickle(sys.argv[2] + "/forecast.pkl")
    print(made)
"""


def test_killed_training_on_disk_resumes(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")
    rows().to_parquet(tmp_path / "rows.parquet", index=False)
    expected = S5Forecaster(**REGULAR).fit(tmp_path / "rows.parquet").predict()
    program = textwrap.dedent(KILLED).replace("PARAMETERS", repr(REGULAR))
    paths = [str(tmp_path / "rows.parquet"), str(tmp_path / "training")]
    killed = subprocess.run([sys.executable, "-c", program, *paths, "7"])
    assert killed.returncode == -9
    found = subprocess.run([sys.executable, "-c", program, *paths, "-1"], stdout=subprocess.PIPE, text=True, check=True)
    assert found.stdout.split() == str(list(range(6, 12))).split()
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "training" / "forecast.pkl"), expected, check_exact=True)
