"""Comparison of trained networks with seasonal naive."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast import S5Estimator
from s5forecast.estimators import PretrainedEstimator, PretrainedPredictor
from s5forecast.estimators.reference import loss_over_naive, pretrained_loss_over_naive, seasonal_quantiles
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


def test_the_reference_is_the_seasonal_naive_baseline():
    store = read_store([series(35)], estimator().spec, forecast=False)
    batch = store.gather(torch.tensor([0]), torch.tensor([28]))
    quantiles, known = seasonal_quantiles(batch.past, batch.mask[:, :28], 7, 7)
    entry = {**series(35), "target": series(35)["target"][:28]}
    forecast = next(SeasonalNaivePredictor(7).predict([entry]))
    expected = np.stack([forecast.quantile(level) for level in DECILES], axis=-1)
    assert known.all() and np.allclose(quantiles[0], expected)


def test_a_network_that_is_worse_than_seasonal_naive_is_reported():
    exact = {**series(), "target": 1000 + 100 * np.sin(2 * np.pi * np.arange(120) / 7)}
    exact["target"] += 1e-3 * np.random.default_rng(0).standard_normal(120)
    with pytest.warns(UserWarning, match="times the quantile loss of seasonal naive; .* preset='best'"):
        estimator().train([exact])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor = estimator(max_epochs=1).train([exact])
    store = read_store([exact], predictor.spec, forecast=False)
    assert loss_over_naive(predictor.network, store) > 1


def test_a_fine_tuned_network_that_is_worse_than_seasonal_naive_is_reported():
    values = np.tile(np.random.default_rng(0).uniform(-1, 1, 13), 12)  # repeats exactly, with an unusual season
    exact = {**series(), "target": values + 1e-6 * np.random.default_rng(1).standard_normal(156)}
    with pytest.warns(UserWarning, match="times the quantile loss of seasonal naive; .* preset='best'"):
        predictor = PretrainedEstimator("D", 13, num_steps=1, season=13, verbose=False).train([exact])
    ratio = pretrained_loss_over_naive(predictor, [exact["target"], np.arange(5.0)])
    assert ratio > 1 and ratio == pretrained_loss_over_naive(predictor, [exact["target"]])
    assert pretrained_loss_over_naive(predictor, [np.arange(13.0)]) == 0


def test_the_loss_of_a_pretrained_network_is_compared_with_the_baseline():
    target = series(60)["target"]
    predictor = PretrainedPredictor("D", 7)
    forecasts = [one.predict([{**series(60), "target": target[:-7]}]) for one in (predictor, SeasonalNaivePredictor(7))]
    losses = []
    for (forecast,) in forecasts:
        errors = target[-7:, None] - np.stack([forecast.quantile(level) for level in DECILES], axis=-1)
        losses.append(np.maximum(np.array(DECILES) * errors, (np.array(DECILES) - 1) * errors).sum())
    assert pretrained_loss_over_naive(predictor, [target]) == pytest.approx(losses[0] / losses[1], rel=1e-5)


def test_series_that_are_too_short_are_not_compared():
    short = {**series(), "target": np.array([1.0, 2.0, 3.0])}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictor = estimator(max_epochs=1).train([short])
    assert loss_over_naive(predictor.network, read_store([short], predictor.spec, forecast=False)) == 0
