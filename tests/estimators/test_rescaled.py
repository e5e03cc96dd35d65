"""step_scale: forecasts at a finer sampling rate than that of the training data."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import H, entry
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.model import evaluate_model
from gluonts.model.predictor import Predictor

from s5forecast.estimators import EnsembleEstimator, S5AutoregressiveEstimator, S5Estimator

LEVELS = [0.1, 0.5, 0.9]
K = 4


def wave(n, k, amplitude, phase, level, item_id="a", cycle=24.0):
    """A sine of period ``cycle`` hours, in steps of an hour / k."""
    angle = 2 * np.pi * np.arange(n * k) / (cycle * k) + phase
    start = pd.Period("2024-01-01", {1: "h", 4: "15min"}[k])
    return {"start": start, "target": level + amplitude * np.sin(angle), "item_id": item_id}


@pytest.fixture
def single(make_one, data):
    return make_one(patch_length=1).train(data)


def finer(one, k=K, **fields):
    """The same counts, each held for ``k`` quarters of an hour."""
    start = pd.Period(one["start"].start_time, "15min")
    return {**one, "start": start, "target": np.repeat(one["target"], k), **fields}


def test_rescaled_forecasts_have_finer_steps(single, data):
    rescaled = single.rescaled(1 / K)
    assert rescaled.prediction_length == K * H and rescaled.spec.freq == "15min"
    histories = [finer(one) for one in data]
    for given, forecast in zip(histories, rescaled.predict(histories), strict=True):
        assert forecast.start_date == given["start"] + len(given["target"])
        assert len(forecast.index) == K * H and forecast.index.freqstr == "15min"
        quantiles = np.stack([forecast.quantile(level) for level in (0.05, *LEVELS, 0.99)])
        assert np.isfinite(forecast.mean).all() and np.isfinite(quantiles).all()
        assert (np.diff(quantiles, axis=0) >= 0).all(), "quantiles cross"


def test_step_scale_of_one_is_the_same_predictor(single, data):
    assert single.rescaled(1.0) is single
    parts = single.rescaled(0.5).rescaled(0.5)
    for found, expected in zip(
        parts.predict_quantiles([finer(data[0])], LEVELS),
        single.rescaled(0.25).predict_quantiles([finer(data[0])], LEVELS),
        strict=True,
    ):
        assert np.array_equal(found, expected)


def test_the_predictor_and_the_random_state_stay_as_they_are(single, data):
    before = single.predict_quantiles(data, LEVELS)
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    rescaled = single.rescaled(0.25)
    assert torch.equal(torch.rand(1), drawn)
    with torch.no_grad():
        for parameter in rescaled.network.parameters():
            parameter.zero_()
    for found, expected in zip(single.predict_quantiles(data, LEVELS), before, strict=True):
        assert np.array_equal(found, expected)


def test_a_wave_learned_in_hours_is_forecast_in_quarter_hours():
    rng = np.random.default_rng(0)
    hours = [wave(300, 1, *rng.uniform([1, 0, -5], [3, 6, 5])) for _ in range(20)]
    estimator = S5Estimator(
        "h", 24, context_length=48, lags_seq=[1], patch_length=1, width=16, num_layers=1, state_size=16,
        synthetic_share=0.0, dropout=0.0, batch_size=16, num_batches_per_epoch=50, max_epochs=6, lr=1e-2, device="cpu",
        trainer_kwargs={"enable_progress_bar": False},
    )  # fmt: skip
    predictor = estimator.train(hours).rescaled(0.25)
    truth = [wave(324, K, *rng.uniform([1, 0, -5], [3, 6, 5])) for _ in range(20)]
    future = np.stack([one["target"][-24 * K :] for one in truth])
    histories = [{**one, "target": one["target"][: -24 * K]} for one in truth]
    _, quantiles = predictor.predict_quantiles(histories, [0.5])
    error = np.abs(quantiles[..., 0] - future).mean()
    held = np.abs(np.repeat(future[:, ::K], K, axis=1) - future).mean()
    assert error < 0.2 * held  # error of repeating the true value of each hour


def test_features_are_those_of_the_shorter_steps(make_one):
    rng = np.random.default_rng(0)

    def featured(one, k, ahead):
        return one | {
            "feat_dynamic_real": rng.normal(size=(2, len(one["target"]) + ahead)),
            "past_feat_dynamic_real": rng.normal(size=(1, len(one["target"]))),
            "feat_static_real": [0.5],
            "feat_static_cat": [1],
        }

    estimator = make_one(
        patch_length=1, num_feat_dynamic_real=2, num_past_feat_dynamic_real=1, num_feat_static_real=1,
        num_feat_static_cat=1, cardinality=[3],
    )  # fmt: skip
    rescaled = estimator.train([featured(entry(), 1, 0)]).rescaled(0.25)
    (forecast,) = rescaled.predict([featured(finer(entry()), K, K * H)])
    assert np.isfinite(forecast.mean).all() and forecast.mean.shape == (K * H,)
    with pytest.warns(UserWarning, match="starting at step 5; these values are masked"):
        (masked,) = rescaled.predict([featured(finer(entry()), K, H)])
    assert np.isfinite(masked.mean).all()


@pytest.mark.parametrize("kwargs", [{"missing": "skip"}, {"distr_output": "negative_binomial"}, {"scaling": "last"}])
def test_other_networks(make_one, data, kwargs):
    rescaled = make_one(patch_length=1, **kwargs).train(data).rescaled(0.25)
    one = finer(data[0])
    one["target"][[50, 51, 52, -3, -2]] = np.nan
    (forecast,) = rescaled.predict([one])
    assert np.isfinite([forecast.mean, *(forecast.quantile(level) for level in LEVELS)]).all()


def test_it_streams(make_one, data):
    predictor = make_one(patch_length=1, layer_kwargs={"bidirectional": False}).train(data).rescaled(0.25)
    histories = [finer(one) for one in data]
    found = predictor.stream(histories).predict_quantiles([{"item_id": one["item_id"]} for one in data], LEVELS)
    for one, other in zip(found, predictor.predict_quantiles(histories, LEVELS), strict=True):
        assert np.allclose(one, other, rtol=1e-4, atol=1e-4)


def test_saved_and_evaluated_as_any_predictor(single, data, tmp_path):
    rescaled, histories = single.rescaled(0.25), [finer(one) for one in data]
    rescaled.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert again == rescaled
    for found, expected in zip(*(p.predict_quantiles(histories, LEVELS) for p in (again, rescaled)), strict=True):
        assert np.array_equal(found, expected)
    _, template = split(histories, offset=-2 * K * H)
    test = template.generate_instances(K * H, windows=2)
    metrics = evaluate_model(again, test_data=test, metrics=[MeanWeightedSumQuantileLoss(LEVELS), MASE()])
    assert np.isfinite(metrics.to_numpy()).all()


def test_rescaled_ensemble_rescales_its_members(make_one, data):
    ensemble = EnsembleEstimator(make_one(patch_length=1), 2).train(data)
    histories = [finer(one) for one in data]
    _, found = ensemble.rescaled(0.25).predict_quantiles(histories, [0.5])
    members = [member.rescaled(0.25).predict_quantiles(histories, [0.5])[1] for member in ensemble.members]
    assert found.shape == (3, K * H, 1) and np.isfinite(members).all()
    assert (found >= np.min(members, axis=0) - 0.5).all() and (found <= np.max(members, axis=0) + 0.5).all()


@pytest.mark.parametrize("step_scale", [2.0, 0.3, 0.0, -1.0, float("nan")])
def test_other_scales_are_refused(single, step_scale):
    with pytest.raises(ValueError, match="1 / k for a whole number k"):
        single.rescaled(step_scale)


def test_networks_that_cannot_be_rescaled_are_refused_with_the_fix(make_one, data):
    with pytest.raises(ValueError, match=r"takes 4 steps as one.*patch_length=1"):
        make_one(patch_length=4).train(data).rescaled(0.25)
    weeks = [one | {"start": pd.Period(one["start"].start_time, "W-SUN")} for one in data]
    with pytest.raises(ValueError, match="freq='W-SUN' cannot be divided"):
        make_one(patch_length=1, freq="W").train(weeks).rescaled(1 / 7)
    small = make_one().__init_args__
    small = {name: small[name] for name in ("freq", "prediction_length", "context_length", "width", "max_epochs")}
    autoregressive = S5AutoregressiveEstimator(**small, num_batches_per_epoch=1, device="cpu").train(data)
    with pytest.raises(ValueError, match="use S5Estimator to forecast at another one"):
        autoregressive.rescaled(0.25)


def test_histories_in_the_old_steps_are_refused(single, data):
    with pytest.raises(ValueError, match="start has freq 'h'"):
        list(single.rescaled(0.25).predict(data))
