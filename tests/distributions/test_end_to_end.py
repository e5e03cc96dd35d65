"""Train, save and load a model with each output; its forecasts lie in the support."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.torch.distributions import PoissonOutput

from s5forecast.distributions import DISTRIBUTIONS, make_output, support
from s5forecast.estimators import S5Estimator, S5Predictor

LEVELS = [0.05, 0.5, 0.95]
H = 4


def estimator(**kwargs):
    return S5Estimator(
        **{
            "freq": "h", "prediction_length": H, "context_length": 12, "lags_seq": [1, 6], "width": 8,
            "num_layers": 1, "state_size": 4, "batch_size": 4, "num_batches_per_epoch": 2, "max_epochs": 1,
            "device": "cpu", "trainer_kwargs": {"enable_progress_bar": False}, **kwargs,
        }
    )  # fmt: skip


def entries(kind):
    rng = np.random.default_rng(0)
    counts = rng.poisson(5 + 4 * np.sin(np.arange(60) * np.pi / 3)).astype(np.float64)
    target = {"counts": counts, "positive": counts + rng.random(60) + 0.1, "shares": (counts + 1) / 30}[kind]
    return [{"start": pd.Period("2024-01-01", "h"), "target": target, "item_id": "a"}]


def data_for(output):
    within = support(output)
    return entries(
        "shares" if not within.check(torch.tensor(2.0)) else "counts" if within.check(torch.tensor(0.0)) else "positive"
    )


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_trained_saved_and_loaded(name, tmp_path):
    data = data_for(make_output(name))
    predictor = estimator(distr_output=name).train(data)
    mean, quantiles = predictor.predict_quantiles(data, LEVELS)
    assert np.isfinite(mean).all() and (np.diff(quantiles) >= 0).all()
    assert support(predictor.output).check(torch.from_numpy(quantiles)).all()
    predictor.serialize(tmp_path)
    again = S5Predictor.deserialize(tmp_path)
    assert type(again.output) is type(make_output(name))
    assert np.array_equal(again.predict_quantiles(data, LEVELS)[1], quantiles)
    (forecast,) = again.predict(data)
    if name != "quantile":
        samples = forecast.to_sample_forecast(20).samples
        assert support(predictor.output).check(torch.from_numpy(samples)).all()


@pytest.mark.parametrize(
    ("output", "loss"), [("student_t", "crps"), ("gamma", "quantile"), ("negative_binomial", "crps")]
)
def test_trained_by_a_loss(output, loss, tmp_path):
    data = data_for(make_output(output))
    found = {}
    for name in (loss, None):
        predictor = estimator(distr_output=output, loss=name, quantile_levels=LEVELS).train(data)
        assert predictor.network.quantile_levels == sorted({*LEVELS, *(k / 10 for k in range(1, 10))})
        found[name] = predictor.predict_quantiles(data, LEVELS)[0]
    assert np.isfinite(found[loss]).all() and not np.allclose(found[loss], found[None])


@pytest.mark.parametrize(
    ("kind", "name"), [("counts", "negative_binomial"), ("positive", "log_normal"), ("shares", "beta")]
)
def test_automatic_output(kind, name, caplog, capsys):
    model, data = estimator(distr_output="auto"), entries(kind)
    with caplog.at_level(logging.INFO, logger="s5forecast"):
        predictor = model.train(data)
    assert model.auto_output.name == name and type(predictor.output) is type(make_output(name))
    assert name in caplog.text and model.auto_output.reason in caplog.text
    assert name not in capsys.readouterr().out
    again = estimator(distr_output="auto").train_from(predictor, data)
    assert type(again.output) is type(predictor.output)


def test_a_loss_that_the_automatic_output_does_not_support():
    with pytest.raises(ValueError, match="NegativeBinomialOutput cannot be trained with loss='quantile'"):
        estimator(distr_output="auto", loss="quantile").train(entries("counts"))


@pytest.mark.parametrize("name", ["beta", "log_normal", "poisson", "truncated_normal"])
def test_values_outside_the_support_are_refused_before_training(name):
    bad = entries("positive")
    bad[0]["target"][7] = -2.5
    with pytest.raises(ValueError, match=r"series 'a': target contains .* outside the support"):
        estimator(distr_output=name).train(bad)


def test_an_output_of_gluonts_is_replaced():
    assert estimator(distr_output=PoissonOutput()).train(entries("counts")).output.smooth_quantiles is False


def test_the_forecaster_reports_the_automatic_output():
    from s5forecast import S5Forecaster

    frame = pd.DataFrame(
        {"timestamp": pd.date_range("2024", periods=60, freq="h"), "target": entries("counts")[0]["target"]}
    )
    kwargs = {
        "distr_output": "auto",
        "max_epochs": 1,
        "num_batches_per_epoch": 1,
        "context_length": 12,
        "device": "cpu",
    }
    model = S5Forecaster(H, "h", verbose=False, estimator_kwargs=kwargs).fit(frame)
    assert "NegativeBinomialOutput" in repr(model.output_)
