"""What a row of the accuracy benchmark says of an ensemble and its members."""

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
    import run

    monkeypatch.setitem(run.MODELS, "s5_direct", small)
    monkeypatch.setitem(run.MODELS, "s5_ensemble", lambda task, seed: EnsembleEstimator(small(task, seed), 2))
    return run.run


def test_members_are_judged_as_models_of_their_own(benchmark_run):
    timed = {"train_seconds", "predict_seconds"}

    def untimed(rows):
        return [(name, {key: value for key, value in row.items() if key not in timed}) for name, row in rows]

    *members, ensemble = untimed(benchmark_run("s5_ensemble", Sines(), 3))
    alone = untimed([*benchmark_run("s5_direct", Sines(), 3), *benchmark_run("s5_direct", Sines(), 4)])
    assert members == alone
    assert [row["seed"] for _, row in members] == [3, 4]
    assert ensemble[0] == "s5_ensemble" and ensemble[1]["seed"] == 3
    assert ensemble[1]["parameters"] == sum(row["parameters"] for _, row in members)
    assert ensemble[1]["WQL"] < max(row["WQL"] for _, row in members)


def test_only_for_few_values_is_there_a_statistical_model_beside(benchmark_run):
    pytest.importorskip("statsforecast")
    import models

    few = models.MODELS["s5_combined"](Sines(), 7)
    assert isinstance(few, CombinedEstimator) and few.members[0].seed == 7 and few.members[1].season == 24
    assert isinstance(models.MODELS["s5_combined"](Sines(steps=1_200), 7), S5Estimator)
