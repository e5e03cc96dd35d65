"""Trials that choose the length of the training of short records, and the comparison with seasonal naive."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast import S5Estimator
from s5forecast.estimators.defaults import FEW_EPOCHS, MANY_EPOCHS, Choice, choose_epochs
from s5forecast.estimators.reference import loss_over_naive, seasonal_quantiles
from s5forecast.estimators.trial import Trial
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.levels import DECILES
from s5forecast.windows.batches import read_store

QUIET = {"enable_progress_bar": False}
SMALL = {"context_length": 28, "lags_seq": [1, 7], "width": 8, "state_size": 4, "num_batches_per_epoch": 2}


def series(length=120, seed=0):
    rng = np.random.default_rng(seed)
    target = 10 + 3 * np.sin(2 * np.pi * np.arange(length) / 7) + rng.standard_normal(length)
    return {"start": pd.Period("2024-01-01", "D"), "target": target, "item_id": seed}


def estimator(**kwargs):
    return S5Estimator("D", 7, **{**SMALL, "trainer_kwargs": QUIET, **kwargs})


@pytest.fixture(autouse=True)
def no_comparison(monkeypatch):
    monkeypatch.setattr("s5forecast.estimators.base.warn_if_worse_than_naive", lambda *args: None)


@pytest.mark.parametrize(
    ("losses", "coverage", "epochs"),
    [([2.0, 3.0], 0.8, FEW_EPOCHS), ([1.0, 0.99], 0.8, FEW_EPOCHS), ([1.0, 0.9], 0.8, MANY_EPOCHS),
     ([1.0, 0.9], 0.6, FEW_EPOCHS), ([-1.0, -1.2], 0.9, MANY_EPOCHS), ([0.1, 0.2], 0.9, FEW_EPOCHS)],
)  # fmt: skip
def test_many_epochs_follow_if_held_out_values_were_forecast_better_with_more(losses, coverage, epochs):
    choice = choose_epochs(losses, coverage)
    assert choice.value == epochs and not choice.given and "held-out" in choice.reason


@pytest.mark.parametrize("epochs", [FEW_EPOCHS, MANY_EPOCHS])
def test_the_result_is_that_of_the_chosen_number_of_epochs(monkeypatch, epochs):
    monkeypatch.setattr("s5forecast.estimators.base.choose_epochs", lambda *found: Choice(epochs, "tried", given=False))
    predictor = estimator().train([series()])
    assert predictor.choices["max_epochs"] == {"value": epochs, "reason": "tried", "given": False}
    expected = estimator(max_epochs=epochs).train([series()]).network.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in predictor.network.state_dict().items())


def test_the_trial_does_not_see_the_held_out_end(monkeypatch):
    seen = []

    def train_in_stages(module, held_out, epochs, fit):
        fit(epochs[0])
        seen.append((held_out, {name: one.clone() for name, one in module.state_dict().items()}))
        return Trial([1.0, 1.0], 0.8)

    monkeypatch.setattr("s5forecast.estimators.base.train_in_stages", train_in_stages)
    changed = series()
    changed["target"] = np.r_[changed["target"][:-12], np.full(12, 10.0)]
    for one in (series(), changed):
        estimator().train([one])
    (first, weights), (second, others) = seen
    assert not torch.equal(first.target, second.target)
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_few_epochs_are_chosen_for_noise_and_the_number_is_recorded():
    noise = {**series(), "target": np.random.default_rng(0).standard_normal(120)}
    choice = estimator(num_batches_per_epoch=10).train([noise]).choices["max_epochs"]
    assert choice["value"] == FEW_EPOCHS and "of a trial" in choice["reason"]


@pytest.mark.parametrize(
    "kwargs",
    [{"max_epochs": 2}, {"trainer_kwargs": {**QUIET, "max_steps": 3}}, {"synthetic_share": 0.0}],
)
def test_nothing_is_tried_for_other_trainings(monkeypatch, kwargs):
    monkeypatch.setattr("s5forecast.estimators.base.train_in_stages", None)
    estimator(**kwargs).train([series()])


def test_validation_data_decide_if_they_are_given(monkeypatch):
    monkeypatch.setattr("s5forecast.estimators.base.train_in_stages", None)
    estimator(patience=1).train([series()], [series()])


def test_the_reference_is_the_seasonal_naive_baseline():
    store = read_store([series(35)], estimator().spec, forecast=False)
    batch = store.gather(torch.tensor([0]), torch.tensor([28]))
    quantiles, known = seasonal_quantiles(batch, 7)
    entry = {**series(35), "target": series(35)["target"][:28]}
    forecast = next(SeasonalNaivePredictor(7).predict([entry]))
    expected = np.stack([forecast.quantile(level) for level in DECILES], axis=-1)
    assert known.all() and np.allclose(quantiles[0], expected)


def test_a_network_that_is_worse_than_seasonal_naive_is_reported(monkeypatch):
    monkeypatch.undo()
    exact = {**series(), "target": 1000 + 100 * np.sin(2 * np.pi * np.arange(120) / 7)}
    exact["target"] += 1e-3 * np.random.default_rng(0).standard_normal(120)
    with pytest.warns(UserWarning, match="times the quantile loss of seasonal naive; .* preset='best'"):
        estimator().train([exact])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor = estimator(max_epochs=1).train([exact])
    store = read_store([exact], predictor.spec, forecast=False)
    assert loss_over_naive(predictor.network, store) > 1


def test_series_that_are_too_short_are_not_compared():
    short = {**series(), "target": np.array([1.0, 2.0, 3.0])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor = estimator(max_epochs=1).train([short])
    assert loss_over_naive(predictor.network, read_store([short], predictor.spec, forecast=False)) == 0
