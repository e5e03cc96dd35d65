"""Forecasters trained on two processes that are started by the training, or that all run one script."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s5forecast import DiskData, S5Forecaster, load_dataset

SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 2, "max_epochs": 2,
    "dropout": 0.0, "patience": 1, "synthetic_share": 0.3,
}  # fmt: skip
TWO = {"accelerator": "cpu", "devices": 2}
SCRIPT = Path(__file__).with_name("process_script.py")
GUIDE = SCRIPT.parents[1] / "docs" / "how_to" / "train_in_parallel.md"


@pytest.fixture
def df():
    rng = np.random.default_rng(0)
    times = pd.date_range("2024", periods=40, freq="h")
    return pd.concat(
        pd.DataFrame(
            {"item_id": f"item {i}", "timestamp": times, "target": i + rng.normal(size=40), "x": rng.random(40)}
        )
        for i in range(5)
    )


def forecaster(batch_size, **trainer_kwargs):
    kwargs = {**SMALL, "batch_size": batch_size, "trainer_kwargs": trainer_kwargs}
    return S5Forecaster(4, "h", past=["x"], verbose=False, estimator_kwargs=kwargs)


@pytest.mark.slow
def test_spawned_processes_map_the_files_of_the_first(df, tmp_path):
    df.sample(frac=1, random_state=0).to_parquet(tmp_path / "rows.parquet")
    data = DiskData(tmp_path / "rows.parquet", folder=tmp_path / "temporary")
    (tmp_path / "temporary").mkdir()
    one = forecaster(8).fit(data, validation=data)
    files = set((tmp_path / "temporary").iterdir())
    two = forecaster(4, strategy="ddp_spawn", **TWO).fit(data, validation=data)
    pd.testing.assert_frame_equal(two.predict(df), one.predict(df), rtol=1e-4)
    two.save(tmp_path / "model")
    assert set((tmp_path / "temporary").iterdir()) == files


@pytest.mark.slow
def test_processes_of_a_script_train_the_same_forecaster(df, tmp_path):
    df.to_parquet(tmp_path / "rows.parquet")
    run_script(tmp_path, "same")
    expected = forecaster(8).fit(df, validation=df).predict(df)
    for rank in range(2):
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{rank}.parquet"), expected, rtol=1e-4)


@pytest.mark.slow
def test_processes_of_a_script_with_different_data_are_an_error(df, tmp_path):
    df.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(subprocess.CalledProcessError) as error:
        run_script(tmp_path, "different")
    assert "the processes of the training have different data or batches" in error.value.stderr


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "train_with_ray.py"])
def test_scripts_of_the_guide(script, tmp_path):
    if "ray" in script:
        pytest.importorskip("ray.train", reason="Ray is not installed: pip install -c constraints.txt '.[ray]'")
    df = load_dataset("nyc_departures_hourly").groupby("item_id").tail(500)
    df.to_parquet(tmp_path / "departures.parquet")
    code = re.search(rf":caption: {script}\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL).group(1)
    (tmp_path / script).write_text(code.replace("/shared", str(tmp_path)))
    run(tmp_path / script)
    assert len(S5Forecaster.load(tmp_path / "model").predict(df)) == 24 * df.item_id.nunique()


def run_script(folder, data):
    run(SCRIPT, folder, data)


def run(script, *arguments):
    path = os.pathsep.join([str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    folder = arguments[0] if arguments else script.parent
    subprocess.run(
        [sys.executable, script, *arguments], env=environment, cwd=folder, check=True, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
