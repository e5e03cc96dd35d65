"""What a row of the accuracy benchmark says, and of which models."""

import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5AutoregressiveEstimator, make_estimator

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "forecasting"
HORIZON = 4


@dataclass
class Sines:
    name: str = "sines"
    freq: str = "h"
    prediction_length: int = HORIZON
    steps: int = 60
    windows: int = 2
    season: int = 6

    @property
    def series(self):
        wave = np.sin(np.arange(self.steps) * np.pi / 3) + np.random.default_rng(0).normal(0, 0.1, self.steps)
        return [{"start": pd.Period("2024-01-01", "h"), "item_id": "a", "target": wave.astype(np.float32)}]

    @property
    def train(self):
        return [{**entry, "target": entry["target"][: -self.windows * HORIZON]} for entry in self.series]


SMALL = {
    "context_length": 12, "lags_seq": [1, 6], "width": 8, "num_layers": 1, "state_size": 8, "max_epochs": 2,
    "num_batches_per_epoch": 4, "trainer_kwargs": {"enable_progress_bar": False},
}  # fmt: skip


MODELS = {
    "default": lambda task, seed: make_estimator("h", HORIZON, seed=seed, **SMALL),
    "best": lambda task, seed: make_estimator("h", HORIZON, "best", seed=seed, **SMALL),
    "s5_recursive_encoder": lambda task, seed: S5AutoregressiveEstimator(
        "h", HORIZON, recursion="encoder", seed=seed, **SMALL
    ),
}


@pytest.fixture
def benchmark_run(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    for name in ("run", "models", "tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import run

    for name, make in MODELS.items():
        monkeypatch.setitem(run.MODELS, name, make)
    return run.run


def test_a_row_holds_what_was_measured(benchmark_run):
    pytest.importorskip("statsforecast")
    row = benchmark_run("best", Sines(), 3)
    networks = [benchmark_run(name, Sines(), 3) for name in ("default", "s5_recursive_encoder")]
    assert (row["task"], row["seed"]) == ("sines", 3)
    assert row["parameters"] == sum(network["parameters"] for network in networks)
    assert {one["version"] for one in (row, *networks)} == {version("s5forecast")}
    assert 0 < row["WQL"] < 1 and row["MASE"] > 0 and 0 <= row["coverage_80"] <= row["coverage_90"] <= 1
    untimed = set(row) - {"train_seconds", "predict_seconds"}
    again = benchmark_run("best", Sines(), 3)
    assert {name: row[name] for name in untimed} == {name: again[name] for name in untimed}
