"""Small estimators and data sets for all tests of estimators."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from s5forecast.estimators import (
    CombinedEstimator,
    EnsembleEstimator,
    PretrainedEstimator,
    S5AutoregressiveEstimator,
    S5ContinuousEstimator,
    S5Estimator,
    S5MultivariateEstimator,
)
from s5forecast.estimators.peers import PEERS
from s5forecast.evaluation import BASELINES
from s5forecast.networks.pretrained import PretrainedNetwork
from s5forecast.networks.pretrained_weights import save_weights
from s5forecast.presets import BestEstimator, DefaultEstimator, TimeLimitedEstimator
from s5forecast.seeding import seeded

H, L = 4, 12
SMALL = dict(
    freq="h",
    prediction_length=H,
    context_length=L,
    lags_seq=[1, 6],
    width=8,
    num_layers=1,
    state_size=4,
    batch_size=4,
    num_batches_per_epoch=2,
    max_epochs=1,
    device="cpu",
    trainer_kwargs={"enable_progress_bar": False},
)

D = 3


def entry(length=60, item_id="a", seed=0, start="2024-01-01 05:00", dtype=np.float32, **fields):
    """Hourly counts with a cycle of six hours."""
    rng = np.random.default_rng(seed)
    target = rng.poisson(5 + 4 * np.sin(np.arange(length) * np.pi / 3)).astype(dtype)
    return {"start": pd.Period(start, "h"), "target": target, "item_id": item_id, **fields}


def regular():
    return [entry(60, "a", 0, info={"note": 1}), entry(45, "b", 1), entry(80, "c", 2)]


def long():
    """Series for which the preset "best" has no statistical models, which are slow."""
    return [entry(1300, "a", 0, info={"note": 1}), entry(1250, "b", 1)]


def many():
    """Series with so many values that the preset "default" trains a network on them."""
    return [entry(1300, name, seed) for seed, name in enumerate("abcd")]


def swings():
    """Series with a cycle of 16 hours, which a network forecasts better than the same hour of the day before does."""
    phase = [np.arange(len(one["target"]), dtype=np.float32) * np.pi / 8 for one in regular()]
    return [{**one, "target": 100 + 10 * np.sin(steps)} for one, steps in zip(regular(), phase, strict=True)]


def joint():
    """Entries of several series each."""
    return [{**one, "target": np.stack([one["target"] + shift for shift in range(D)])} for one in regular()[:2]]


def irregular():
    """The same entries with times as numbers, and the times to forecast."""
    times = [np.cumsum(np.random.default_rng(n).exponential(1.0, 60) + 0.01) for n in range(3)]
    return [
        {"item_id": one["item_id"], "target": one["target"][:40], "time": time[:40], "query_time": time[40 : 40 + H]}
        for one, time in zip(regular(), times, strict=False)
        if len(one["target"]) >= 40
    ]


class Kind(NamedTuple):
    """An estimator with small arguments, and its data."""

    make: Callable[..., Any]
    data: Callable[[], list[dict[str, Any]]] = regular
    contract: bool = False  # whether test_contract.py covers it: a single network of regular series


def small(cls, **own):
    return lambda **kwargs: cls(**{**SMALL, **own, **kwargs})


def continuous(**kwargs):
    names = ("freq", "prediction_length", "lags_seq")
    arguments = {name: value for name, value in SMALL.items() if name not in names}
    return S5ContinuousEstimator(**{**arguments, "prediction_horizon": 5.0, **kwargs})


_FOLDER = TemporaryDirectory()


@cache
def small_weights():
    """File of a small network, instead of the pretrained weights."""
    path = Path(_FOLDER.name) / "weights.npz"
    with seeded(0):
        save_weights(path, PretrainedNetwork(width=16, num_layers=1, state_size=8, hidden=16), {"seconds": 1})
    return str(path)


def pretrained(**kwargs):
    given = {"freq": "h", "prediction_length": H, "weights": small_weights(), "num_steps": 2, "verbose": False}
    return PretrainedEstimator(**{**given, **kwargs})


def peer(name):
    few = {"num_batches_per_epoch": 2, "batch_size": 4}
    return lambda **kwargs: PEERS[name](
        "h", H, arguments={**few, **kwargs, "trainer_kwargs": {"max_epochs": 1, **kwargs.get("trainer_kwargs", {})}}
    )


# Every estimator: test_gluonts_suite.py covers all of them, test_contract.py those of a single network.
OUTPUTS = {
    S5Estimator: ("quantile", "student_t", "normal", "negative_binomial"),
    S5AutoregressiveEstimator: ("quantile", "student_t", "normal", "negative_binomial"),
}
ENCODERS = [{"recursion": "encoder", "distr_output": name} for name in ("student_t", "negative_binomial")]
direct, paths = small(S5Estimator), small(S5AutoregressiveEstimator)
multivariate = small(S5MultivariateEstimator, target_dim=D, rank=2, num_parallel_samples=20)
ESTIMATORS = {
    **{
        f"{cls.__name__}-{name}": Kind(small(cls, distr_output=name), contract=True)
        for cls, names in OUTPUTS.items()
        for name in names
    },
    "S5Estimator-skip": Kind(small(S5Estimator, missing="skip"), contract=True),
    **{
        f"S5AutoregressiveEstimator-encoder-{own['distr_output']}": Kind(
            small(S5AutoregressiveEstimator, **own), contract=True
        )
        for own in ENCODERS
    },
    "S5MultivariateEstimator": Kind(multivariate, joint),
    "S5ContinuousEstimator": Kind(continuous, irregular),
    "EnsembleEstimator-direct": Kind(lambda **kwargs: EnsembleEstimator(direct(**kwargs), 2)),
    "EnsembleEstimator-paths": Kind(lambda **kwargs: EnsembleEstimator(paths(**kwargs), 2)),
    "EnsembleEstimator-irregular": Kind(lambda **kwargs: EnsembleEstimator(continuous(**kwargs), 2), irregular),
    "CombinedEstimator": Kind(
        lambda **kwargs: CombinedEstimator(H, [direct(**kwargs), BASELINES["seasonal_naive"](H)], windows=1)
    ),
    "PretrainedEstimator": Kind(pretrained),
    "BestEstimator": Kind(lambda **kwargs: BestEstimator(direct(**kwargs), 2), long),
    "DefaultEstimator": Kind(lambda **kwargs: DefaultEstimator(direct(**kwargs), pretrained(**kwargs))),
    "DefaultEstimator-network": Kind(lambda **kwargs: DefaultEstimator(direct(**kwargs), pretrained(**kwargs)), many),
    "TimeLimitedEstimator": Kind(lambda **kwargs: TimeLimitedEstimator(direct(**kwargs), 1000.0), swings),
    # Which has no seasonal naive that could replace the trained model.
    "TimeLimitedEstimator-joint": Kind(lambda **kwargs: TimeLimitedEstimator(multivariate(**kwargs), 1000.0), joint),
    **{f"PeerEstimator-{name}": Kind(peer(name)) for name in PEERS},
}


@pytest.fixture(params=[name for name, kind in ESTIMATORS.items() if kind.contract])
def make(request):
    return ESTIMATORS[request.param].make


@pytest.fixture
def make_one():
    return direct


@pytest.fixture
def data():
    return regular()
