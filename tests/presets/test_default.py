"""The presets of single networks: which network the number of values chooses."""

import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import TrainOutput

from s5forecast import S5Estimator, S5Forecaster, make_estimator
from s5forecast.data.frame_entries import FrameEntries
from s5forecast.data.statics import StaticFeatures
from s5forecast.estimators import EnsembleEstimator, PretrainedEstimator, PretrainedPredictor
from s5forecast.estimators.predictor import S5Predictor
from s5forecast.forecaster_training import untrained_estimator
from s5forecast.presets import BestEstimator, DefaultEstimator
from s5forecast.presets.default import MAX_VALUES, tuned_like

H = 4
SMALL = {"context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "device": "cpu"}
SHORT = {**SMALL, "max_epochs": 1, "num_batches_per_epoch": 2}
QUIET = {"trainer_kwargs": {"enable_progress_bar": False}}


def entries(*lengths):
    rng = np.random.default_rng(4)
    start = pd.Period("2024-01-01", "D")
    return [{"item_id": str(n), "start": start, "target": 5 + rng.random(length)} for n, length in enumerate(lengths)]


def short_default():
    """The default with trainings of one step."""
    network = S5Estimator("D", H, **SHORT, **QUIET)
    return DefaultEstimator(network, PretrainedEstimator("D", H, num_steps=1, verbose=False))


@pytest.mark.parametrize(
    ("lengths", "tuned"),
    [
        ((MAX_VALUES - 1,), True),
        ((MAX_VALUES,), False),
        ((2_000, 2_000, 999), True),
        ((4_000, 1_000), False),
        ((3,), False),
    ],
)
def test_the_number_of_values_in_all_series_decides(lengths, tuned):
    estimator = short_default()
    assert estimator.choose(entries(*lengths)) is (estimator.tuned if tuned else estimator.estimator)


def test_values_that_are_missing_are_not_enough_to_fine_tune():
    estimator, (entry,) = short_default(), entries(60)
    entry["target"][4:] = np.nan
    assert estimator.choose([entry]) is estimator.estimator


def test_a_validation_too_short_to_fine_tune_on_trains_the_network():
    train, held_out = entries(80), entries(6)
    assert isinstance(short_default().train(train, held_out), S5Predictor)
    assert type(short_default().train(train, entries(80))) is PretrainedPredictor


@pytest.mark.parametrize(
    "target, message", [(None, "series 0 has no field 'target'"), (["a"] * 30, "series 0: target must hold numbers")]
)
def test_invalid_entries_are_named(target, message):
    entry = {"start": pd.Period("2024-01-01", "D"), **({} if target is None else {"target": target})}
    with pytest.raises(ValueError, match=message):
        short_default().train([entry])


@pytest.mark.parametrize("lengths, trainer", [((80,), False), ((MAX_VALUES,), True)])
def test_the_model_of_a_training(lengths, trainer):
    estimator = short_default()
    assert estimator.choices == estimator.estimator.choices
    found = estimator.train_model(entries(*lengths))
    assert isinstance(found, TrainOutput) and (found.trainer is not None) == trainer
    assert found.predictor == short_default().train(entries(*lengths))
    network = found.trained_net.network if trainer else found.trained_net
    assert network is found.predictor.network
    assert estimator.choices.plain() == found.predictor.choices


@pytest.mark.parametrize("steps", [60, 3_000])
def test_entries_of_a_frame_are_not_created(steps, monkeypatch):
    stamps = pd.date_range("2024", periods=steps)
    values = np.random.default_rng(0).random(steps)
    df = pd.concat([pd.DataFrame({"item_id": item, "timestamp": stamps, "target": values}) for item in "ab"])
    sampling, series = S5Forecaster(H, freq="D")._make_sampling("D").learn(df)
    data = sampling.entries(series, StaticFeatures.learn(series, sampling.columns))
    part = FrameEntries.__getitem__
    monkeypatch.setattr(
        FrameEntries,
        "__getitem__",
        lambda self, index: part(self, index) if isinstance(index, slice) else pytest.fail("an entry was created"),
    )
    assert isinstance(short_default().train(data), PretrainedPredictor if steps == 60 else S5Predictor)


def test_trains_either_network_and_records_which(tmp_path):
    few = short_default().train(entries(80, 60))
    assert type(few) is PretrainedPredictor and few.choices["network"]["reason"] == "fewer than 5,000 values"
    many = short_default().train(entries(MAX_VALUES))
    assert isinstance(many, S5Predictor) and "network" not in many.choices
    for predictor in (few, many):
        continued = short_default().train_from(predictor, entries(80, 60))
        assert type(continued) is type(predictor) and continued != predictor
        folder = tmp_path / type(predictor).__name__
        folder.mkdir()
        predictor.serialize(folder)
        assert Predictor.deserialize(folder) == predictor


@pytest.mark.parametrize("preset", ["default", "fast"])
def test_presets(preset):
    estimator = make_estimator("D", H, preset, quantile_levels=[0.2, 0.8], seed=3, device="cpu", **QUIET)
    assert type(estimator) is DefaultEstimator and type(estimator.estimator) is S5Estimator
    tuned = estimator.tuned
    assert (tuned.seed, tuned.verbose, tuned.forecasting["quantile_levels"]) == (3, False, [0.2, 0.8])
    assert tuned.num_steps == {"default": 150, "fast": 42}[preset]


@pytest.mark.parametrize(
    "given",
    [
        {"width": 16}, {"num_feat_dynamic_real": 1}, {"distr_output": "student_t"}, {"device": "cuda"},
        {"trainer_kwargs": {"max_epochs": 2}}, {"layer": "s4d"}, {"num_past_feat_dynamic_real": 1},
        {"num_feat_static_real": 1}, {"num_feat_static_cat": 1, "cardinality": [2]}, {"dynamic_cardinalities": [3]},
        {"past_dynamic_cardinalities": [3]}, {"weighted": True},
    ],
)  # fmt: skip
def test_arguments_of_the_network_need_a_network_of_their_own(given):
    assert tuned_like({"freq": "D", "prediction_length": H, **given}, 1) is None


def test_a_time_limit_applies_to_both():
    limited = make_estimator("D", H, time_limit=60.0, **QUIET)
    assert limited.tuned.time_limit == 60 and limited.estimator.time_limit == 60
    limited.spent = 59.999
    assert limited.train(entries(80)).choices["num_steps"]["value"] < 150
    assert limited.tuned.spent == 59.999


def test_frames_and_columns():
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=80), "target": np.arange(80.0) % 7, "price": 1.0})
    few = S5Forecaster(H, freq="D", time_limit=0.5, verbose=False).fit(df.drop(columns="price"))
    assert type(few.predictor_) is PretrainedPredictor
    assert few.summary().loc["network", "reason"] == "fewer than 5,000 values"
    with_price = S5Forecaster(H, freq="D", known=["price"], estimator_kwargs=SHORT, verbose=False).fit(df)
    assert isinstance(with_price.predictor_, S5Predictor)


@pytest.mark.parametrize(
    "given",
    [
        {"known": ["price"]}, {"past": ["price"]}, {"known": ["event"]}, {"past": ["event"]}, {"static": ["shop"]},
        {"weight": "price"}, {"holidays": "US"},
    ],
)  # fmt: skip
def test_covariates_of_any_kind_and_weights_need_a_network_of_their_own(given):
    if "holidays" in given:
        pytest.importorskip("holidays", reason="the extra holidays is not installed")
    days = pd.date_range("2024", periods=80)
    df = pd.DataFrame({"timestamp": days, "target": np.arange(80.0) % 7, "price": 1.0 + np.arange(80) % 2})
    df["shop"], df["event"] = "a", np.where(df["price"] > 1, "sale", "none")
    forecaster = S5Forecaster(H, freq="D", verbose=False, **given)
    sampling, series = forecaster._make_sampling("D").learn(df)
    statics = StaticFeatures.learn(series, sampling.columns)
    assert type(untrained_estimator(forecaster, sampling, series, statics)) is S5Estimator


def test_a_single_member_is_the_default():
    assert type(make_estimator("D", H, num_members=1, **QUIET)) is DefaultEstimator


@pytest.mark.parametrize(("several", "advice"), [(EnsembleEstimator, "num_members="), (BestEstimator, "preset='best'")])
def test_ensembles_of_the_default_name_what_to_do(several, advice):
    with pytest.raises(ValueError, match=f"got DefaultEstimator; .*{advice}"):
        several(short_default())
