"""Outputs of this package in GluonTS's estimators, and outputs derived from GluonTS's classes in ours."""

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.predictor import Predictor
from gluonts.torch import distributions as upstream
from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

from s5forecast.distributions import (
    DISTRIBUTIONS,
    DistributionOutput,
    Output,
    QuantileOutput,
    make_output,
    support,
    to_gluonts,
)

H = 4


@pytest.fixture
def entries():
    target = (np.random.default_rng(0).poisson(6, 60) + 1) / 30
    return [{"start": pd.Period("2024-01-01", "h"), "target": target.astype(np.float32), "item_id": "a"}]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_wrapped_output_delegates(name):
    output = make_output(name)
    wrapped = to_gluonts(output)
    assert isinstance(wrapped, upstream.DistributionOutput) == (name != "quantile")
    assert isinstance(wrapped, upstream.Output) and isinstance(wrapped, Output)
    torch.manual_seed(0)
    args = wrapped.get_args_proj(8)(torch.randn(3, 5, 8))
    target = torch.full((3, 5), wrapped.value_in_support)
    scale = torch.full((3, 5), 2.0)
    assert torch.equal(wrapped.loss(target, args, scale=scale), output.loss(target, args, scale=scale))
    assert wrapped.event_shape == ()
    if name != "quantile":
        found, expected = (one.distribution(args, scale=scale).mean for one in (wrapped, output))
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["normal", "student_t", "quantile"])
def test_estimator_of_gluonts_trains_with_a_wrapped_output(name, entries, tmp_path):
    output = make_output(name)
    estimator = SimpleFeedForwardEstimator(
        prediction_length=H, distr_output=to_gluonts(output), hidden_dimensions=[8], num_batches_per_epoch=2,
        batch_size=4,
        trainer_kwargs={"max_epochs": 1, "enable_progress_bar": False, "logger": False, "accelerator": "cpu",
                        "default_root_dir": tmp_path / "training"},
    )  # fmt: skip
    predictor = estimator.train(entries)
    (tmp_path / "model").mkdir()
    predictor.serialize(tmp_path / "model")
    (forecast,), (again,) = (
        list(one.predict(entries)) for one in (predictor, Predictor.deserialize(tmp_path / "model"))
    )
    assert np.array_equal(forecast.quantile(0.5), again.quantile(0.5))
    assert support(output).check(torch.from_numpy(np.asarray(forecast.quantile(0.5)))).all()


def test_which_outputs_have_a_distribution():
    assert isinstance(upstream.NormalOutput(), DistributionOutput)
    assert isinstance(upstream.QuantileOutput([0.5]), Output)
    for output in (QuantileOutput([0.5]), upstream.QuantileOutput([0.5])):
        assert not isinstance(output, DistributionOutput)
    assert not isinstance("normal", Output)


def test_quantile_outputs_derived_from_gluonts_are_replaced():
    class Own(upstream.QuantileOutput):
        pass

    assert type(make_output(Own([0.2, 0.7]))) is QuantileOutput


def test_distribution_outputs_derived_from_gluonts_are_kept():
    class Own(upstream.NormalOutput):
        pass

    output = Own()
    assert make_output(output) is output
