"""What a row of the accuracy benchmark says, and of which models."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Estimator
from s5forecast.estimators.combined import CombinedEstimator
from s5forecast.estimators.ensemble import EnsembleEstimator

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


def small(task, seed):
    return S5Estimator(
        "h", HORIZON, context_length=12, lags_seq=[1, 6], width=8, num_layers=1, state_size=8, max_epochs=2,
        num_batches_per_epoch=4, quantile_levels=[0.05, 0.5, 0.95], trainer_kwargs={"enable_progress_bar": False},
        seed=seed,
    )  # fmt: skip


@pytest.fixture
def benchmark_run(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    for name in ("run", "models", "tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import models
    import run

    monkeypatch.setitem(run.MODELS, "s5_direct", small)
    monkeypatch.setattr(models, "s5_direct", small)
    return run.run


def test_a_row_holds_what_was_measured(benchmark_run):
    row, alone = benchmark_run("s5_combined", Sines(), 3), benchmark_run("s5_direct", Sines(), 3)
    assert (row["task"], row["seed"], row["parameters"]) == ("sines", 3, 2 * alone["parameters"])
    assert 0 < row["WQL"] < 1 and 0 < row["MASE"] and 0 <= row["coverage_80"] <= row["coverage_90"] <= 1
    untimed = set(row) - {"train_seconds", "predict_seconds"}
    again = benchmark_run("s5_combined", Sines(), 3)
    assert {name: row[name] for name in untimed} == {name: again[name] for name in untimed}


def test_only_for_few_values_are_there_statistical_models_beside(benchmark_run):
    pytest.importorskip("statsforecast")
    import models

    few = models.MODELS["s5_combined"](Sines(), 7)
    networks, statistical = few.members[:2], few.members[2:]
    assert isinstance(few, CombinedEstimator) and [network.seed for network in networks] == [7, 8]
    assert [member.season for member in statistical] == [24, 24]
    assert isinstance(models.MODELS["s5_combined"](Sines(steps=10_020), 7), EnsembleEstimator)
