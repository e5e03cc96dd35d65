"""How much processor time and memory does a saved model need to forecast one series in a fresh process?

    python benchmarks/start_up.py [--python PEERS/bin/python]

Each model is trained for one batch and saved. Fresh processes then load it and forecast one series, in turns; the
reference imports torch and pandas only. neuralforecast and Darts are measured if they are installed in the environment
of ``--python``, which may be another one than that of s5forecast.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
HORIZON, CONTEXT, LENGTH = 24, 48, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter of an environment with the peers")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()

    from timing import save

    with tempfile.TemporaryDirectory() as folder:
        cases = prepared_cases(arguments.python, Path(folder))
        runs = [
            {"model": model, "kernel_cache": cache, **measured(python, model, cache, Path(folder))}
            for _ in range(arguments.repeats)
            for model, cache, python in cases
        ]
    save(summary(pd.DataFrame(runs)).to_dict("records"), "start_up")


def prepared_cases(peers_python: str, folder: Path) -> list[tuple[str, str, str]]:
    """Model, state of the kernel cache and interpreter of each case whose model could be saved."""
    cases = [("import torch, pandas", "", sys.executable)]
    for model in ("s5forecast", "gluonts", "neuralforecast", "darts"):
        python = peers_python if model in ("neuralforecast", "darts") else sys.executable
        done = child(python, "save", model, folder)
        if done.returncode == 0:
            done = child(python, "forecast", model, folder)  # fills the caches of kernels and of compiled Python files
        if done.returncode != 0:
            print(f"{model} is left out: {done.stderr.strip().splitlines()[-1]}")
            continue
        caches = ("filled", "empty") if model == "s5forecast" else ("",)
        cases += [(model, cache, python) for cache in caches]
    return cases


def measured(python: str, model: str, cache: str, folder: Path) -> dict[str, float]:
    """Cost of one fresh process."""
    with tempfile.TemporaryDirectory() as empty:
        began = time.perf_counter()
        done = child(python, "forecast", model, folder, Path(empty) if cache == "empty" else None)
        wall = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{model} failed: {done.stderr}")
    return {**json.loads(done.stdout.splitlines()[-1]), "wall_s": wall}


def child(
    python: str, action: str, model: str, folder: Path, cache: Path | None = None
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(cache or folder / "kernels")}
    command = [python, os.path.abspath(__file__), action, model, str(folder / model.split()[0])]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Medians of all repeats, and their ratios to the reference."""
    table = runs.groupby(["model", "kernel_cache"], sort=False).median()
    reference = table.loc["import torch, pandas"].iloc[0]
    table["processor_ratio"] = table["processor_s"] / reference["processor_s"]
    table["memory_ratio"] = table["memory_mb"] / reference["memory_mb"]
    return table.reset_index()


def forecast(model: str, folder: Path) -> dict[str, float]:
    """Load a model and forecast one series; processor time and memory are those of the whole process."""
    import resource

    import torch  # noqa: F401

    loaded, called = (0.0, 0.0)
    if model in LOADERS:
        began = time.perf_counter()
        call = LOADERS[model](folder)
        loaded = time.perf_counter() - began
        call()
        called = time.perf_counter() - began - loaded
    return {
        "processor_s": time.process_time(),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "load_s": loaded,
        "first_call_s": called,
    }


def series() -> pd.DataFrame:
    """One hourly series as a long frame."""
    hours = np.arange(LENGTH)
    target = 10 + np.sin(hours * np.pi / 12) + np.random.default_rng(0).normal(size=LENGTH) / 10
    return pd.DataFrame(
        {"item_id": "a", "timestamp": pd.date_range("2024-01-01", periods=LENGTH, freq="h"), "target": target}
    )


def entry() -> dict[str, object]:
    """The same as an entry of GluonTS."""
    return {"item_id": "a", "start": pd.Period("2024-01-01", "h"), "target": series()["target"].to_numpy(np.float32)}


def save_s5forecast(folder: Path) -> None:
    from s5forecast import S5Forecaster

    short = {"context_length": CONTEXT, "max_epochs": 1, "num_batches_per_epoch": 1, "device": "cpu"}
    S5Forecaster(HORIZON, "h", verbose=False, estimator_kwargs=short).fit(series()).save(folder)


def load_s5forecast(folder: Path):
    from s5forecast import S5Forecaster

    model = S5Forecaster.load(folder)
    return lambda: model.predict(series())


def save_gluonts(folder: Path) -> None:
    from gluonts.torch import DeepAREstimator

    quiet = {"max_epochs": 1, "enable_progress_bar": False, "logger": False, "accelerator": "cpu"}
    estimator = DeepAREstimator("h", HORIZON, context_length=CONTEXT, num_batches_per_epoch=1, trainer_kwargs=quiet)
    folder.mkdir()
    estimator.train([entry()]).serialize(folder)


def load_gluonts(folder: Path):
    from gluonts.model.predictor import Predictor

    predictor = Predictor.deserialize(folder)
    return lambda: [one.quantile(0.5) for one in predictor.predict([entry()])]


def renamed() -> pd.DataFrame:
    """The series with the column names of neuralforecast."""
    return series().rename(columns={"item_id": "unique_id", "timestamp": "ds", "target": "y"})


def save_neuralforecast(folder: Path) -> None:
    from neuralforecast import NeuralForecast
    from neuralforecast.models import NHITS

    model = NHITS(h=HORIZON, input_size=CONTEXT, max_steps=1, accelerator="cpu", logger=False)
    forecaster = NeuralForecast(models=[model], freq="h")
    forecaster.fit(renamed())
    forecaster.save(str(folder), save_dataset=False)


def load_neuralforecast(folder: Path):
    from neuralforecast import NeuralForecast

    forecaster = NeuralForecast.load(str(folder))
    return lambda: forecaster.predict(renamed())


def darts_series():
    from darts import TimeSeries

    return TimeSeries.from_dataframe(series(), "timestamp", "target").astype(np.float32)


def save_darts(folder: Path) -> None:
    from darts.models import NHiTSModel

    quiet = {"accelerator": "cpu", "enable_progress_bar": False}
    model = NHiTSModel(input_chunk_length=CONTEXT, output_chunk_length=HORIZON, n_epochs=1, pl_trainer_kwargs=quiet)
    model.fit(darts_series())
    folder.mkdir()
    model.save(str(folder / "model.pt"))


def load_darts(folder: Path):
    from darts.models import NHiTSModel

    model = NHiTSModel.load(str(folder / "model.pt"), weights_only=False)
    return lambda: model.predict(HORIZON, series=darts_series())


SAVERS = {
    "s5forecast": save_s5forecast,
    "gluonts": save_gluonts,
    "neuralforecast": save_neuralforecast,
    "darts": save_darts,
}
LOADERS = {
    "s5forecast": load_s5forecast,
    "gluonts": load_gluonts,
    "neuralforecast": load_neuralforecast,
    "darts": load_darts,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["save"]:
        SAVERS[sys.argv[2]](Path(sys.argv[3]))
    elif sys.argv[1:2] == ["forecast"]:
        print(json.dumps(forecast(sys.argv[2], Path(sys.argv[3]))))
    else:
        main()
