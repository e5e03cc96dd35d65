"""Small estimators and data sets for all tests of estimators."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.estimators import S5AutoregressiveEstimator, S5Estimator

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

# The estimators that test_contract.py covers.
OUTPUTS = {
    S5Estimator: ("quantile", "student_t", "normal", "negative_binomial"),
    S5AutoregressiveEstimator: ("quantile", "student_t", "normal", "negative_binomial"),
}
ESTIMATORS = {
    f"{cls.__name__}-{name}": (cls, {"distr_output": name}) for cls, names in OUTPUTS.items() for name in names
}
ESTIMATORS["S5Estimator-skip"] = (S5Estimator, {"missing": "skip"})
for name in ("student_t", "negative_binomial"):
    encoder = {"recursion": "encoder", "distr_output": name}
    ESTIMATORS[f"S5AutoregressiveEstimator-encoder-{name}"] = (S5AutoregressiveEstimator, encoder)


@pytest.fixture(params=ESTIMATORS)
def make(request):
    cls, own = ESTIMATORS[request.param]
    return lambda **kwargs: cls(**{**SMALL, **own, **kwargs})


@pytest.fixture
def make_one():
    return lambda **kwargs: S5Estimator(**{**SMALL, **kwargs})


def entry(length=60, item_id="a", seed=0, start="2024-01-01 05:00", dtype=np.float32, **fields):
    """Hourly counts with a cycle of six hours."""
    rng = np.random.default_rng(seed)
    target = rng.poisson(5 + 4 * np.sin(np.arange(length) * np.pi / 3)).astype(dtype)
    return {"start": pd.Period(start, "h"), "target": target, "item_id": item_id, **fields}


@pytest.fixture
def data():
    return [entry(60, "a", 0, info={"note": 1}), entry(45, "b", 1), entry(80, "c", 2)]
