"""What a row of the accuracy benchmark says, and of which models."""

import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5AutoregressiveEstimator, S5Estimator
from s5forecast.estimators.combined import CombinedEstimator
from s5forecast.estimators.ensemble import EnsembleEstimator
from s5forecast.evaluation.statistical import AutoARIMAPredictor, AutoETSPredictor

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


def direct(task, seed):
    return S5Estimator("h", HORIZON, quantile_levels=[0.05, 0.5, 0.95], seed=seed, **SMALL)


def recursive_encoder(task, seed):
    return S5AutoregressiveEstimator("h", HORIZON, recursion="encoder", seed=seed, **SMALL)


@pytest.fixture
def benchmark_run(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK))
    for name in ("run", "models", "tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import models
    import run

    for estimator in (direct, recursive_encoder):
        monkeypatch.setitem(run.MODELS, f"s5_{estimator.__name__}", estimator)
        monkeypatch.setattr(models, f"s5_{estimator.__name__}", estimator)
    return run.run


def test_a_row_holds_what_was_measured(benchmark_run):
    pytest.importorskip("statsforecast")
    row = benchmark_run("s5_combined", Sines(), 3)
    networks = [benchmark_run(f"s5_{name}", Sines(), 3) for name in ("direct", "recursive_encoder")]
    assert (row["task"], row["seed"]) == ("sines", 3)
    assert row["parameters"] == sum(network["parameters"] for network in networks)
    assert {one["version"] for one in (row, *networks)} == {version("s5forecast")}
    assert 0 < row["WQL"] < 1 and row["MASE"] > 0 and 0 <= row["coverage_80"] <= row["coverage_90"] <= 1
    untimed = set(row) - {"train_seconds", "predict_seconds"}
    again = benchmark_run("s5_combined", Sines(), 3)
    assert {name: row[name] for name in untimed} == {name: again[name] for name in untimed}


@dataclass
class OfLengths(Sines):
    lengths: tuple[int, ...] = ()

    @property
    def train(self):
        return [{"target": np.ones(length, dtype=np.float32)} for length in self.lengths]


NETWORKS = [S5Estimator, S5AutoregressiveEstimator]


@pytest.mark.parametrize(
    ("lengths", "freq", "horizon", "expected"),
    [
        ((500,) * 19 + (499,), "ME", 4, [*NETWORKS, AutoETSPredictor, AutoARIMAPredictor]),
        ((216,), "W-SUN", 4, [*NETWORKS, AutoETSPredictor, AutoARIMAPredictor]),
        ((600,), "h", 200, [*NETWORKS, AutoETSPredictor, AutoARIMAPredictor]),
        ((1_150,), "h", 4, [*NETWORKS, AutoETSPredictor]),
        ((500,) * 20, "ME", 4, [EnsembleEstimator, AutoETSPredictor]),
    ],
)
def test_statistical_models_stand_beside_where_values_are_few(benchmark_run, lengths, freq, horizon, expected):
    pytest.importorskip("statsforecast")
    import models

    few = models.MODELS["s5_combined"](OfLengths(freq=freq, prediction_length=horizon, lengths=lengths), 7)
    assert isinstance(few, CombinedEstimator) and few.weights is None and few.quantile_levels == models.LEVELS
    assert [type(member) for member in few.members] == expected
    networks = [member for member in few.members if type(member) in NETWORKS]
    assert [network.seed for network in networks] == [7] * len(networks)


@pytest.mark.parametrize("length", [5_000, 60_000])
def test_where_values_are_many_the_autoregressive_network_has_a_quarter(benchmark_run, length):
    import models

    many = models.MODELS["s5_combined"](OfLengths(lengths=(length,)), 7)
    assert [type(member) for member in many.members] == [EnsembleEstimator, S5AutoregressiveEstimator]
    assert many.weights == [0.75, 0.25] and many.quantile_levels == models.LEVELS
    assert many.members[0].estimator.seed == many.members[1].seed == 7


@pytest.mark.parametrize("other", [{"freq": "15min"}, {"prediction_length": 97}])
def test_far_horizons_and_long_seasons_are_not_drawn_step_by_step(benchmark_run, other):
    import models

    together = models.MODELS["s5_combined"](OfLengths(lengths=(60_000,), **other), 7)
    assert isinstance(together, EnsembleEstimator) and together.estimator.seed == 7


@pytest.mark.parametrize(
    ("lengths", "season", "expected"),
    [
        ([216], 12, [(AutoETSPredictor, 1_000), (AutoARIMAPredictor, 1_000)]),
        ([931], 52, [(AutoETSPredictor, 260), (AutoARIMAPredictor, 260)]),
        ([1_000], 52, [(AutoETSPredictor, 260)]),
        ([635] * 7, 7, [(AutoARIMAPredictor, 1_000)]),
        ([1_000] * 7, 7, []),
        ([72] * 767, 12, [(AutoETSPredictor, 260)]),
        ([2_599] * 326, 52, [(AutoETSPredictor, 260)]),
        ([2_600] * 326, 52, []),
        ([2_599] * 327, 52, []),
    ],
)
def test_statistical_models_by_length_season_and_number(benchmark_run, lengths, season, expected):
    pytest.importorskip("statsforecast")
    import models

    chosen = models.statistical_models(lengths, 5, season)
    assert [(type(model), model.max_history) for model in chosen] == expected
    assert all((model.prediction_length, model.season) == (5, season) for model in chosen)
