"""Automatic choices: rules and record."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast import S5Estimator
from s5forecast.data.frequency import Frequency
from s5forecast.estimators import defaults
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.continuous import S5ContinuousEstimator
from s5forecast.estimators.defaults import (
    choose_scaling,
    default_cycles,
    default_lags,
    default_synthetic_share,
    growth_errors,
)
from s5forecast.estimators.multivariate import S5MultivariateEstimator
from s5forecast.levels import DECILES

LENGTH, HORIZON = 200, 10
RNG = np.random.default_rng(0)
CASES = RNG.poisson(np.exp(3 * np.sin(np.arange(LENGTH) / 60))).astype(float)
SERIES = {
    "cumulative counts": (np.cumsum(CASES), "increments"),
    "new counts": (CASES, "standard"),
    "random walk": (np.cumsum(RNG.normal(size=LENGTH)), "standard"),
    "season": (np.sin(2 * np.pi * np.arange(LENGTH) / 7) + 0.1 * RNG.normal(size=LENGTH), "standard"),
    "constant": (np.full(LENGTH, 5.0), "standard"),
}


def dataset(target):
    return [{"start": pd.Period("2024-01-01", "D"), "target": target.astype(np.float32)}]


def estimator(kind=S5Estimator, **kwargs):
    settings = {"width": 4, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 1, "max_epochs": 1}
    return kind("D", HORIZON, trainer_kwargs={"enable_progress_bar": False}, **{**settings, **kwargs})


@pytest.mark.parametrize(("target", "scaling"), SERIES.values(), ids=SERIES)
def test_only_trending_series_are_scaled_by_increments(target, scaling):
    assert choose_scaling(estimator()._store(dataset(target))).value == scaling


def test_single_step_context_is_not_trending():
    store = estimator(context_length=1)._store(dataset(SERIES["cumulative counts"][0]))
    assert choose_scaling(store).value == "standard"


def test_growth_error_equals_a_loop_over_observed_values(monkeypatch):
    monkeypatch.setattr(defaults, "ENOUGH_WINDOWS", 1)
    torch.manual_seed(0)
    B, L, H, season = 5, 12, 8, 3
    past, target = torch.randn(B, L, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)
    past_mask, target_mask = torch.ones(B, L), (torch.rand(B, H) < 0.7).float()
    past_mask[1, -1] = past_mask[2, -1 - season] = past_mask[3, -2] = 0
    growing = last = repeated = 0.0
    for b in (0, 3, 4):  # in the other windows a value that determines the slope is missing
        for h in range(H):
            if not past_mask[b, L - season + h % season]:
                continue
            slope = (past[b, -1] - past[b, -1 - season]) / season
            growing += target_mask[b, h] * abs(target[b, h] - past[b, -1] - (h + 1) * slope)
            last += target_mask[b, h] * abs(target[b, h] - past[b, -1])
            repeated += target_mask[b, h] * abs(target[b, h] - past[b, L - season + h % season])
    error, _ = growth_errors(past, target, past_mask, target_mask, season)
    assert error == pytest.approx(float(growing / min(last, repeated)))


def test_scaling_is_chosen_at_each_training_and_kept_by_the_predictor():
    grows, noise = (dataset(SERIES[name][0]) for name in ("cumulative counts", "new counts"))
    model = estimator()
    first = model.train(grows)
    assert first.network.spec.scaling == first.spec.scaling == "increments"
    assert model.train(noise).spec.scaling == "standard"
    assert model.train(noise, from_predictor=first).spec.scaling == "increments"


def test_trend_is_detected_despite_gaps():
    for share in (0.1, 0.3):
        target = SERIES["cumulative counts"][0].copy()
        target[np.random.default_rng(1).random(LENGTH) < share] = np.nan
        assert choose_scaling(estimator()._store(dataset(target))).value == "increments"


def test_growth_errors_are_unknown_for_few_windows():
    past, target = torch.arange(20.0).repeat(3, 1).double(), torch.arange(20.0, 25.0).repeat(3, 1).double()
    assert growth_errors(past, target, torch.ones_like(past), torch.ones_like(target), 7) is None


def test_one_large_or_cumulative_series_does_not_decide_for_all():
    noise = [SERIES["new counts"][0] + seed for seed in range(5)]
    others = [{**dataset(one)[0], "item_id": str(number)} for number, one in enumerate(noise)]
    for last in (SERIES["cumulative counts"][0], 1e6 * SERIES["cumulative counts"][0]):
        assert choose_scaling(estimator()._store([*others, *dataset(last)])).value == "adaptive"


def test_chosen_scaling_equals_the_same_scaling_as_argument():
    grows = dataset(SERIES["cumulative counts"][0])
    chosen, given = (estimator(**kwargs).train(grows) for kwargs in ({}, {"scaling": "increments"}))
    one, other = (next(iter(predictor.predict(grows))) for predictor in (chosen, given))
    np.testing.assert_array_equal(one.quantile(0.5), other.quantile(0.5))


@pytest.mark.parametrize(
    ("kind", "kwargs"),
    [
        (S5Estimator, {"layer_kwargs": {"bidirectional": False}}),
        (S5AutoregressiveEstimator, {"recursion": "decoder", "layer_kwargs": {"bidirectional": False}}),
        (S5AutoregressiveEstimator, {"recursion": "encoder"}),
    ],
)
def test_a_causal_encoder_keeps_its_scale_for_streams(kind, kwargs):
    model = estimator(kind, **kwargs)
    assert model.train(dataset(SERIES["cumulative counts"][0])).spec.scaling == "standard"


def test_recursive_decoder_chooses_the_same_scaling_as_the_direct_estimator():
    model = estimator(S5AutoregressiveEstimator, recursion="decoder")
    predictor = model.train(dataset(SERIES["cumulative counts"][0]))
    assert predictor.spec.scaling == predictor.network.direct.spec.scaling == "increments"
    assert model.train(dataset(SERIES["new counts"][0])).spec.scaling == "standard"


def test_given_scaling_is_kept():
    assert estimator(scaling="standard").train(dataset(SERIES["cumulative counts"][0])).spec.scaling == "standard"


def test_the_share_falls_with_the_steps_of_all_series():
    shares = [default_synthetic_share(torch.full((count,), 100), prediction_length=5) for count in (1, 10, 100, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.99
    assert shares[2] == pytest.approx(1 / (1 + 10_000 / 20_000))


def test_one_long_series_has_a_smaller_share_than_as_many_steps_of_short_ones():
    short, long = torch.full((100,), 100), torch.tensor([10_000])
    assert default_synthetic_share(long, prediction_length=5) == pytest.approx(1 / (1 + 10_000 * 50 / 20_000))
    assert default_synthetic_share(short, prediction_length=5) > 10 * default_synthetic_share(long, prediction_length=5)
    assert default_synthetic_share(torch.tensor([99]), prediction_length=5) == pytest.approx(1 / (1 + 99 / 20_000))


def test_default_lags():
    assert default_lags(Frequency.parse("h")) == [1, 24, 48, 168, 336, 504, 672]
    assert default_lags(Frequency.parse("MS")) == [1, 12, 24, 36, 48]
    assert default_lags(Frequency.parse("D")) == [1, 7, 14, 21, 28, 364, 365, 728, 730, 1092, 1095]


def test_cycles_are_longer_than_two_gaps_and_seen_twice():
    hours = SimpleNamespace(timestamps=pd.date_range("2024-01-01", periods=24 * 15, freq="h"))
    assert default_cycles([hours]) == ["day", "week"]
    assert default_cycles([SimpleNamespace(timestamps=pd.Index(np.arange(5.0)))]) == []


def test_choices_are_recorded_logged_and_handed_to_the_predictor(caplog):
    model = estimator(lags_seq=[1, 7], max_epochs=None, distr_output="auto")
    assert model.choices["lags_seq"].given and model.choices["lags_seq"].reason == "given"
    with caplog.at_level(logging.INFO, logger="s5forecast"):
        predictor = model.train(dataset(SERIES["cumulative counts"][0] - 50.5))
    found = json.loads(json.dumps(predictor.choices))
    assert {name: choice["value"] for name, choice in found.items()} == {
        "context_length": 32, "lags_seq": [1, 7], "patch_length": 1, "scaling": "increments",
        "distr_output": model.auto_output.name, "synthetic_share": pytest.approx(20_000 / 20_200),
        "max_epochs": found["max_epochs"]["value"], "quantile_levels": list(DECILES), "loss": "nll",
    }  # fmt: skip
    assert not found["scaling"]["given"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "s5forecast.estimators.base"]
    assert "context_length=32 (the longest of two horizons" in line and "lags_seq=[1, 7] (given)" in line
    assert model.auto_output.reason in line


def test_later_training_keeps_the_earlier_record():
    model = estimator()
    first = model.train(dataset(SERIES["cumulative counts"][0]))
    second = model.train(dataset(SERIES["new counts"][0]))
    third = model.train(dataset(SERIES["new counts"][0]), from_predictor=first)
    scalings = [predictor.choices["scaling"]["value"] for predictor in (first, second, third)]
    assert scalings == ["increments", "standard", "increments"]
    assert third.choices["scaling"]["reason"] == "as in from_predictor"


def test_recursion_and_output_of_the_autoregressive_estimator():
    for freq, recursion, output in (("h", "decoder", "quantile"), ("D", "encoder", "student_t")):
        choices = S5AutoregressiveEstimator(freq, HORIZON).choices
        assert (choices["recursion"].value, choices["distr_output"].value) == (recursion, output)
        assert not choices["recursion"].given and not choices["distr_output"].given
    given = S5AutoregressiveEstimator("h", HORIZON, recursion="encoder", distr_output="normal").choices
    assert given["recursion"].given and given["distr_output"].given
    repeated = dataset(np.where(np.arange(LENGTH) % 2, 0.0, CASES))
    choice = estimator(S5AutoregressiveEstimator).train(repeated).choices["distr_output"]
    assert choice["value"] == "quantile" and "one value makes up a quarter" in choice["reason"]


def test_timescales_and_unit_of_time_of_the_continuous_estimator():
    small = {"width": 4, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 1, "max_epochs": None}
    model = S5ContinuousEstimator(
        5.0, context_length=60, layer_kwargs={"dt_max": 2.0}, trainer_kwargs={"max_epochs": 1}, **small
    )
    assert model.choices["dt_min"] == (0.1, "initially, the slowest state keeps 5 % of its value over a context", False)
    assert model.choices["dt_max"] == (2.0, "given", True)
    data = [{"time": np.arange(50) * 2.0, "target": np.arange(50.0)}]
    model.trainer_kwargs["enable_progress_bar"] = False
    choices = model.train(data).choices
    assert choices["time_unit"] == {"value": 2.0, "reason": "median gap between observations", "given": False}
    assert choices["max_epochs"] == {"value": 1, "reason": "given", "given": True}
    assert S5ContinuousEstimator(5.0, max_epochs=None).epochs(None) == 20


def test_joint_series_have_no_synthetic_windows():
    model = estimator(S5MultivariateEstimator, target_dim=2)
    entry = dataset(np.stack([SERIES["season"][0]] * 2))
    choices = model.train(entry).choices
    assert choices["synthetic_share"]["value"] == 0 and choices["context_length"]["value"] == 32


def test_values_that_nobody_gave_are_not_recorded_as_given():
    one = estimator(scaling="last")
    one.train(dataset(np.arange(60.0)))
    assert one.choices["scaling"].given and one.choices["max_epochs"].given
    assert one.choices["distr_output"] == ("quantile", "default of the argument", False)
