"""Presets: what each trains, by the number and length of the series, and within a time limit."""

import sys

import numpy as np
import pandas as pd
import pytest
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from lightning.pytorch.callbacks import Callback

from s5forecast import (
    S5AutoregressiveEstimator,
    S5ContinuousEstimator,
    S5Estimator,
    S5Forecaster,
    S5MultivariateEstimator,
    make_estimator,
)
from s5forecast.data.frame_entries import FrameEntries
from s5forecast.data.statics import StaticFeatures
from s5forecast.estimators import CombinedEstimator, EnsembleEstimator, PretrainedEstimator
from s5forecast.estimators.plan import planned
from s5forecast.evaluation import BASELINES
from s5forecast.forecaster_parameters import ESTIMATORS
from s5forecast.presets import PRESETS, BestEstimator, TimeLimitedEstimator
from s5forecast.presets.best import autoregressive_like, single_members, statistical_models
from s5forecast.presets.estimator import MODELS
from s5forecast.presets.limited import last_horizon_losses, reductions
from s5forecast.presets.timing import statistical_seconds, step_time

H = 4
SMALL = {"context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "device": "cpu"}
SHORT = {**SMALL, "max_epochs": 1, "num_batches_per_epoch": 2}
QUIET = {"trainer_kwargs": {"enable_progress_bar": False}}


NAIVE = BASELINES["seasonal_naive"](H)


def entries(count=3, length=60, freq="h", seed=0, cycle=24):
    rng = np.random.default_rng(seed)
    start = pd.Period("2024-01-01 00:00", freq)
    wave = np.sin(np.arange(length) * 2 * np.pi / cycle)
    return [
        {"item_id": str(n), "start": start, "target": 5 + wave + 0.1 * rng.standard_normal(length)}
        for n in range(count)
    ]


def lengths(count, length):
    return [{"target": np.zeros(length)} for _ in range(count)]


def kinds(estimator):
    members = single_members(estimator)
    return ["ensemble" if isinstance(member, EnsembleEstimator) else type(member).__name__ for member in members]


DIRECT, RECURSIVE = "S5Estimator", "S5AutoregressiveEstimator"
ETS, ARIMA = "AutoETSPredictor", "AutoARIMAPredictor"


@pytest.mark.parametrize(
    ("freq", "horizon", "count", "length", "expected"),
    [
        ("MS", 12, 10, 240, [DIRECT, RECURSIVE, ETS, ARIMA]),
        ("MS", 12, 4, 800, [DIRECT, RECURSIVE, ARIMA]),  # more than 50 seasons
        ("h", 24, 5, 1199, [DIRECT, RECURSIVE, ETS]),  # more than 1,000 values in a series
        ("h", 24, 20, 1100, ["ensemble", ETS]),  # more than 10,000 values
        ("h", 24, 400, 1100, ["ensemble", RECURSIVE]),  # more than 85,000 recent values
        ("h", 24, 20, 1300, ["ensemble", RECURSIVE]),
        ("h", 97, 20, 1300, ["ensemble"]),
        ("15min", 24, 1, 40_000, ["ensemble"]),
    ],
)
def test_members_of_best(freq, horizon, count, length, expected):
    assert kinds(make_estimator(freq, horizon, "best", **SMALL).choose(lengths(count, length))) == expected


@pytest.mark.parametrize(
    ("lengths", "season", "expected"),
    [
        ([216], 12, [(ETS, 1_000), (ARIMA, 1_000)]),
        ([931], 52, [(ETS, 260), (ARIMA, 260)]),
        ([1_000], 52, [(ETS, 260)]),
        ([635] * 7, 7, [(ARIMA, 1_000)]),
        ([1_000] * 7, 7, []),
        ([72] * 767, 12, [(ETS, 260)]),
        ([2_599] * 326, 52, [(ETS, 260)]),
        ([2_600] * 326, 52, []),
        ([2_599] * 327, 52, []),
    ],
)
def test_statistical_models_by_length_season_and_number(lengths, season, expected):
    chosen = statistical_models(lengths, 5, season)
    assert [(type(model).__name__, model.max_history) for model in chosen] == expected
    assert all((model.prediction_length, model.season) == (5, season) for model in chosen)


TUNED, PRETRAINED = "PretrainedEstimator", "PretrainedPredictor"


@pytest.mark.parametrize(
    ("freq", "count", "length", "arguments", "expected"),
    [
        ("M", 10, 240, {}, [TUNED, PRETRAINED, ARIMA]),
        ("h", 2, 1100, {}, [TUNED, PRETRAINED]),  # more than 1,000 values in a series
        ("M", 10, 500, {}, [DIRECT, RECURSIVE, ETS, ARIMA]),  # 5,000 values
        ("M", 10, 1000, {}, ["ensemble", RECURSIVE, TUNED]),  # 10,000 values
        ("M", 20, 500, {}, ["ensemble", ETS, TUNED]),
        ("15min", 2, 10_000, {}, ["ensemble", TUNED]),
        ("M", 10, 240, {"num_feat_dynamic_real": 1}, [DIRECT, RECURSIVE, ETS, ARIMA]),
        ("M", 10, 240, {"width": 16}, [DIRECT, RECURSIVE, ETS, ARIMA]),
    ],
)
def test_best_uses_the_pretrained_network(freq, count, length, arguments, expected):
    chosen = make_estimator(freq, 12, "best", device="cpu", **arguments).choose(entries(count, length, freq))
    assert kinds(chosen) == expected
    if PRETRAINED in expected:
        np.testing.assert_allclose(chosen.weights, 1 / len(expected))
        assert 0 < chosen.members[1].relative_spread < 1
    elif TUNED in expected:
        assert chosen.weights == [0.7, 0.3]
    assert all(one.num_steps == 150 for one in single_members(chosen) if isinstance(one, PretrainedEstimator))


def few_best():
    tuned = PretrainedEstimator("h", H, num_steps=2, synthetic_share=0.0, verbose=False)
    return BestEstimator(S5Estimator("h", H, **SHORT, **QUIET), 2, tuned)


def test_best_of_few_values_trains_saves_loads_and_continues(tmp_path):
    predictor = few_best().train(entries(), validation_data=entries())
    assert predictor.choices["members"]["value"] == [TUNED, PRETRAINED, ARIMA]
    assert [member.was_trained for member in predictor.members[:2]] == [True, False]
    predictor.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    for one, other in zip(predictor.predict(entries()), loaded.predict(entries()), strict=True):
        np.testing.assert_array_equal(one.quantile(0.3), other.quantile(0.3))
    continued = few_best().train(entries(), from_predictor=loaded)
    assert [member.was_trained for member in continued.members[:2]] == [True, False]
    assert continued.weights == predictor.weights
    before, after = (
        [member.quantiles([entries()[0]["target"]])[0, 0, 6] for member in one.members[:2]]
        for one in (loaded, continued)
    )
    assert before[0] != after[0] and before[1] == after[1]


def test_best_trains_saves_loads_and_continues_beside_the_pretrained_network(tmp_path):
    estimator = BestEstimator(S5Estimator("h", H, **SHORT, **QUIET), 2, few_best().tuned)
    data = entries(10, 1000)
    predictor = estimator.train(data)
    members = ["EnsembleEstimator", ETS, TUNED]
    assert predictor.choices["members"]["value"] == members and predictor.weights == [0.7, 0.3]
    trained, tuned = predictor.members
    assert tuned.was_trained
    arrays = [part.predict_quantiles(data, [0.3])[1] for part in (predictor, trained, tuned)]
    np.testing.assert_allclose(arrays[0], 0.7 * arrays[1] + 0.3 * arrays[2], rtol=1e-6)
    predictor.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    for one, other in zip(predictor.predict(data), loaded.predict(data), strict=True):
        np.testing.assert_array_equal(one.quantile(0.3), other.quantile(0.3))
    continued = estimator.train(data, from_predictor=loaded)
    assert continued.choices["members"]["value"] == members
    assert continued.members[0].weights == trained.weights
    short = entries(3, H + 2)
    kept = estimator.train(data, short, from_predictor=loaded).members[1]
    target = [data[0]["target"]]
    np.testing.assert_array_equal(kept.quantiles(target), loaded.members[1].quantiles(target))
    # validation data with too few values for a fine-tuning
    assert TUNED not in kinds(next(reductions(estimator, data, short)))
    # the statistical model of the inner combination takes time as well
    assert statistical_seconds(estimator.choose(data), data, 4) > statistical_seconds(estimator, data, 4) == 0.0


def test_a_time_limit_leaves_out_the_tuned_network_before_others():
    estimator = BestEstimator(S5Estimator("h", H, **SHORT, **QUIET), 2, few_best().tuned)
    found = list(reductions(estimator, entries(10, 1000)))
    assert [kinds(one) for one in found] == [["ensemble", ETS, TUNED], ["ensemble", ETS], ["ensemble"], [DIRECT]]
    assert [kinds(one) for one in reductions(estimator, entries())] == [[TUNED, PRETRAINED, ARIMA], [TUNED]]


def test_best_of_few_values_within_a_time_limit(monkeypatch):
    monkeypatch.setattr("s5forecast.presets.limited.last_horizon_losses", lambda predictors, data: [0.0, 1.0])
    predictor = TimeLimitedEstimator(few_best(), 1000.0).train(entries())
    assert predictor.choices["members"]["value"] == [TUNED, PRETRAINED, ARIMA]
    with pytest.warns(UserWarning, match="seasonal naive is used, because"):
        predictor = TimeLimitedEstimator(few_best(), 1e-3).train(entries())
    assert predictor.choices["members"]["value"] == ["SeasonalNaivePredictor"]


def test_weights_and_levels_of_best():
    best = make_estimator("h", H, "best", quantile_levels=[0.2, 0.5], seed=7, **SMALL)
    many, few = best.choose(lengths(1, 60_000)), best.choose(lengths(1, 240))
    assert many.weights == [0.75, 0.25] and few.weights is None
    assert many.quantile_levels == few.quantile_levels == [0.2, 0.5]
    assert many.members[0].estimator.seed == many.members[1].seed == few.members[0].seed == 7


def test_statistical_models_are_left_out_with_a_warning_if_they_are_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.warns(UserWarning, match="leaves out auto_ets and auto_arima.*pip install"):
        chosen = make_estimator("MS", 12, "best", **SMALL).choose(lengths(10, 240))
    assert kinds(chosen) == ["ensemble", RECURSIVE]


def test_the_autoregressive_member_shares_the_given_arguments():
    direct = S5Estimator("h", H, lr=0.01, quantile_levels=[0.2], patch_length=4, seed=None)
    member = autoregressive_like(direct)
    assert (member.lr, member.seed, member.recursion) == (0.01, None, "encoder")
    assert member.choices["patch_length"].value == 1
    causal = S5Estimator("h", H, layer_kwargs={"bidirectional": True, "state_size": 8})
    assert autoregressive_like(causal).network_kwargs["layer_kwargs"]["state_size"] == 8


@pytest.mark.parametrize(
    ("preset", "model", "single"),
    [
        ("default", "direct", S5Estimator),
        ("fast", "autoregressive", S5AutoregressiveEstimator),
        ("fast", "multivariate", S5MultivariateEstimator),
    ],
)
def test_presets_of_one_network(preset, model, single):
    dim = {"target_dim": 2} if model == "multivariate" else {}
    estimator = make_estimator("h", H, preset, model, **SMALL, **dim)
    assert type(estimator) is single
    assert estimator.num_batches_per_epoch == PRESETS[preset].arguments.get("num_batches_per_epoch", 50)
    several = make_estimator("h", H, preset, model, **SMALL, **dim, num_members=2)
    assert type(several) is EnsembleEstimator and several.num_members == 2
    best = make_estimator("h", H, "best", model, **SMALL, **dim)
    assert type(best) is (BestEstimator if model == "direct" else EnsembleEstimator) and best.num_members == 3


def test_given_arguments_have_priority_over_those_of_the_preset():
    assert make_estimator("h", H, "fast", num_batches_per_epoch=7).num_batches_per_epoch == 7


def test_models_of_frames_and_of_entries_are_the_same():
    assert {name: make.__name__ for name, make in MODELS.items()} == ESTIMATORS["regular"]


def test_unknown_names():
    with pytest.raises(ValueError, match=r"unknown preset 'bset'; choose one of 'fast', 'default', 'best'"):
        make_estimator("h", H, "bset")
    with pytest.raises(ValueError, match=r"unknown model 'deep'; choose one of 'direct'"):
        make_estimator("h", H, model="deep")
    with pytest.raises(ValueError, match="S5Estimator"):
        BestEstimator(S5AutoregressiveEstimator("h", H))
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=40, freq="h"), "target": np.arange(40.0)})
    for given, message in [
        ({"preset": "slow"}, "unknown preset 'slow'"),
        ({"model": "deep"}, "unknown model 'deep'"),
        ({"preset": None}, "unknown preset 'None'"),
        ({"time_limit": 0}, "time_limit must be a positive number of seconds, got 0"),
        ({"model": "multivariate", "freq": None, "horizon": "2h"}, "not available for irregular series"),
    ]:
        with pytest.raises(ValueError, match=message):
            S5Forecaster(H, **given).fit(df)


def test_best_trains_predicts_saves_and_loads(tmp_path):
    best = make_estimator("h", H, "best", **SHORT, **QUIET)
    assert [type(one).__name__ for one in best.trainings(entries())] == [DIRECT, RECURSIVE] * 2
    predictor = best.train(entries())
    assert predictor.choices["members"]["value"] == [DIRECT, RECURSIVE, ETS, ARIMA]
    assert np.isclose(sum(predictor.weights), 1) and min(predictor.weights) > 0
    predictor.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    for one, other in zip(predictor.predict(entries()), loaded.predict(entries()), strict=True):
        np.testing.assert_array_equal(one.quantile(0.3), other.quantile(0.3))
    assert loaded.choices == predictor.choices


def test_best_forecaster_summarizes_its_members(tmp_path):
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=60, freq="h"), "target": entries(1)[0]["target"]})
    forecaster = S5Forecaster(H, "h", preset="best", verbose=False, estimator_kwargs=SHORT).fit(df)
    summary = forecaster.summary()
    assert summary.loc["preset", "value"] == "best" and summary.loc["members", "value"][-1] == ARIMA
    forecaster.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    assert loaded.preset == "best"
    pd.testing.assert_frame_equal(loaded.predict(df), forecaster.predict())


def test_best_of_irregular_series_is_an_ensemble():
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=60, freq="h"), "target": entries(1)[0]["target"]})
    small = {name: value for name, value in SHORT.items() if name != "device"}
    forecaster = S5Forecaster(freq=None, horizon="4h", preset="best", verbose=False, estimator_kwargs=small).fit(df)
    members = forecaster.predictor_.members
    assert [member.spec.context_length for member in members] == [12, 6, 3]
    assert len(forecaster.predict(every="2h")) == 2


def test_one_progress_bar_over_all_trainings(capfd):
    make_estimator("h", H, "best", **SHORT).train(entries())
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    assert "training 4/4" in err and "comparing members: 100%" in err and "8/8" in err


def test_the_bar_counts_the_steps_of_a_training_that_stops_early():
    with planned([1.0, 1.0]) as plan:
        plan.bar.begin(10)
        plan.bar.update(4)
        plan.bar.begin(10)
        assert (plan.bar.bar.total, plan.bar.bar.n) == (20, 4)
        plan.bar.update(1)
        assert plan.bar.bar.n == 11


def test_a_plan_shares_the_time_by_the_expected_durations(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with planned([3.0, 1.0], 8.0) as plan:
        assert plan.next_seconds() == 6.0
        now[0] = 4.0
        assert plan.next_seconds() == 4.0
        now[0] = 9.0
        assert plan.next_seconds() == 0.0


def test_a_time_limit_reduces_members_and_then_steps():
    best = make_estimator("h", 24, "best", **SMALL)
    names = [
        (type(one).__name__, getattr(one, "num_members", len(getattr(one, "members", [0]))))
        for one in reductions(best, lengths(10, 240))
    ]
    assert names == [
        ("CombinedEstimator", 4), ("EnsembleEstimator", 3), ("EnsembleEstimator", 2), ("S5Estimator", 1),
    ]  # fmt: skip
    assert len(list(reductions(best, lengths(1, 40_000)))) == 4
    alone = S5AutoregressiveEstimator("h", H)
    assert list(reductions(alone, [])) == [alone]


class Clock(Callback):
    """A clock that advances by a second with each training step, and the learning rates of the steps."""

    def __init__(self):
        self.now, self.rates = 0.0, []

    def monotonic(self):
        return self.now

    def on_train_batch_start(self, trainer, *args):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.now += 1.0


def test_training_ends_at_the_limit_and_learning_rates_follow_the_time(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("s5forecast.estimators.plan.time", clock)
    monkeypatch.setattr("s5forecast.estimators.training.time", clock)
    quiet = {"enable_progress_bar": False, "callbacks": [clock]}
    estimator = S5Estimator("h", H, **{**SHORT, "max_epochs": 500}, trainer_kwargs=quiet)
    with planned([1.0, 3.0], 80.0):
        estimator.train(entries())
    assert clock.now == 20.0
    # of 1,000 planned steps, 50 for each second
    progress = np.arange(20) / 20
    cosine = 0.5 * (1 + np.cos(np.pi * (progress * 1000 - 100) / 900))
    expected = 3e-3 * np.where(progress < 0.1, (progress * 1000 + 1) / 100, cosine)
    np.testing.assert_allclose(clock.rates, expected)


def test_seasonal_naive_replaces_a_network_that_is_worse_or_cannot_be_trained(tmp_path):
    data = [{**entry, "target": np.tile(np.arange(24.0), 5) + 0.01 * np.arange(120) % 1} for entry in entries()]
    limited = TimeLimitedEstimator(S5Estimator("h", H, **SHORT, **QUIET), 60.0)
    with pytest.warns(UserWarning, match=r"time_limit=60: seasonal naive is used, because its quantile"):
        predictor = limited.train(data)
    naive = BASELINES["seasonal_naive"](H)
    for one, other in zip(predictor.predict(data), naive.predict(data), strict=True):
        np.testing.assert_allclose(one.quantile(0.9), other.quantile(0.9), rtol=1e-6)
    predictor.serialize(tmp_path)
    assert Predictor.deserialize(tmp_path).choices["members"]["value"] == ["SeasonalNaivePredictor"]
    slow = {**SHORT, "num_batches_per_epoch": 10_000_000}
    with pytest.warns(UserWarning, match=r"because \d+ s are needed to train one epoch"):
        TimeLimitedEstimator(S5Estimator("h", H, **slow, **QUIET), 1.0).train(entries())


def test_a_forecaster_says_that_seasonal_naive_is_used(tmp_path):
    df = pd.DataFrame(
        {"timestamp": pd.date_range("2024", periods=120, freq="h"), "target": np.tile(np.arange(24.0), 5)}
    )
    forecaster = S5Forecaster(H, "h", time_limit=60, verbose=False, estimator_kwargs=SHORT)
    with pytest.warns(UserWarning, match="seasonal naive is used"):
        forecaster.fit(df)
    np.testing.assert_allclose(forecaster.predict()["mean"], np.arange(H))
    summary = forecaster.summary()
    assert summary.loc["members", "value"] == ["SeasonalNaivePredictor"] and summary.loc["output", "value"] == ""
    for call in (forecaster.stream, forecaster.predict_samples):
        with pytest.raises(ValueError, match=r"requires a trained network.*because its quantile loss"):
            call()
    forecaster.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(df), forecaster.predict())


def test_reading_counts_for_the_limit(monkeypatch):
    seen = []
    monkeypatch.setattr(TimeLimitedEstimator, "train", lambda self, *data: seen.append(self.spent) or NAIVE)
    clock = iter([0.0, 40.0, 50.0])
    monkeypatch.setattr("s5forecast.forecaster.perf_counter", lambda: next(clock))
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=60, freq="h"), "target": entries(1)[0]["target"]})
    S5Forecaster(H, "h", time_limit=60, verbose=False, estimator_kwargs=SHORT).fit(df)
    assert seen == [40.0]


def test_validation_data_are_compared_with_seasonal_naive():
    noise = np.random.default_rng(0).normal(size=120)
    data = [{**entries(1)[0], "target": noise}]
    validation = [
        {**data[0], "target": np.concatenate([noise, np.full(H, 100.0), np.full(20, 100.0), np.full(H, 100.0)])}
    ]
    limited = TimeLimitedEstimator(S5Estimator("h", H, **SHORT, **QUIET), 60.0)
    with pytest.warns(UserWarning, match="its quantile loss over the last horizon is"):
        limited.train(data, validation)


def test_lists_and_single_rows_of_features_are_converted():
    data = [
        {**entry, "target": entry["target"].tolist(), "feat_dynamic_real": np.arange(60.0)}
        for entry in entries(cycle=7)
    ]
    given = {**SHORT, "max_epochs": 10, "num_batches_per_epoch": 20, "num_feat_dynamic_real": 1, **QUIET}
    predictor = make_estimator("h", H, time_limit=60.0, **given).train(data)
    assert predictor.choices["members"]["value"] in ([DIRECT], ["SeasonalNaivePredictor"])


def test_best_of_series_with_a_time_zone():
    times = pd.date_range("2024", periods=60, freq="h", tz="Europe/Berlin")
    df = pd.DataFrame({"timestamp": times, "target": entries(1)[0]["target"]})
    forecaster = S5Forecaster(H, "h", preset="best", verbose=False, estimator_kwargs=SHORT).fit(df)
    assert len(forecaster.predict()) == H


class Counted(dict):
    """An entry of a frame that counts how many exist at the same time."""

    alive = most = 0

    def __init__(self, entry):
        super().__init__(entry)
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self):
        Counted.alive -= 1


NETWORK = S5Estimator("h", H, **SHORT, **QUIET)
WRAPPERS = {
    "ensemble": EnsembleEstimator(NETWORK, 2),
    "best": BestEstimator(NETWORK, 2),
    "combination": CombinedEstimator(H, [NETWORK, BASELINES["naive"](H)], weights=[0.5, 0.5]),
    "limited": TimeLimitedEstimator(NETWORK, 1000.0),
    "limited best": TimeLimitedEstimator(BestEstimator(NETWORK, 2), 1000.0),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_entries_of_a_frame_are_not_kept(name, monkeypatch):
    values = np.random.default_rng(0).normal(size=1300)
    stamps = pd.date_range("2024", periods=len(values), freq="h")
    items = [pd.DataFrame({"item_id": item, "timestamp": stamps, "target": values}) for item in range(20)]
    sampling, series = S5Forecaster(H, freq="h")._make_sampling("h").learn(pd.concat(items))
    data = sampling.entries(series, StaticFeatures.learn(series, sampling.columns))
    get = FrameEntries.__getitem__
    monkeypatch.setattr(Counted, "most", 0)
    monkeypatch.setattr(
        FrameEntries, "__getitem__", lambda self, i: get(self, i) if isinstance(i, slice) else Counted(get(self, i))
    )
    monkeypatch.setattr(
        "s5forecast.presets.limited.last_horizon_losses", lambda *given: (last_horizon_losses(*given), [0, 1])[1]
    )
    WRAPPERS[name].train(data, data)
    assert Counted.most < 5


def test_an_ensemble_stops_when_the_time_is_over(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("s5forecast.estimators.plan.time", clock)
    monkeypatch.setattr("s5forecast.estimators.training.time", clock)
    quiet = {"trainer_kwargs": {"enable_progress_bar": False, "callbacks": [clock]}}
    with planned([5.0, 1.0, 1.0], 1.0):
        predictor = EnsembleEstimator(S5Estimator("h", H, **SHORT, **quiet)).train(entries())
    assert len(predictor.members) == 1
    assert predictor.choices["num_steps"]["value"] == 1


def test_a_limit_inside_a_combination():
    limited = make_estimator("h", H, time_limit=1000.0, **SHORT, **QUIET)
    with planned([1.0]) as outer:
        with planned([2.0], 10.0) as inner:
            assert inner is not outer and inner.bar is outer.bar and 9 < inner.next_seconds() <= 10
        with planned([1.0, 1.0]) as same:
            assert same is outer
        began = outer.started
        limited.train(entries(cycle=7))
        assert outer.started == began


def test_best_refuses_what_it_cannot_do():
    best = make_estimator("h", H, "best", **SHORT, **QUIET)
    with pytest.raises(ValueError, match="the dataset is empty"):
        best.train([])
    with pytest.raises(ValueError, match="cannot start from ckpt_path"):
        best.train(entries(), ckpt_path="epoch.ckpt")
    with pytest.raises(ValueError, match="from_predictor is a SeasonalNaivePredictor without a network"):
        best.train(entries(), from_predictor=NAIVE)
    df = pd.DataFrame({"timestamp": pd.date_range("2024", periods=60, freq="h"), "target": entries(1)[0]["target"]})
    forecaster = S5Forecaster(H, "h", preset="best", verbose=False, estimator_kwargs=SHORT).fit(df)
    fine = df.assign(timestamp=pd.date_range("2024", periods=60, freq="15min"))
    with pytest.raises(ValueError, match="step_scale requires a single network"):
        forecaster.predict(fine, step_scale=0.25)


def test_a_limit_of_very_short_trainings():
    for given in (
        {"max_epochs": 1, "num_batches_per_epoch": 1},
        {"trainer_kwargs": {"max_steps": 3, **QUIET["trainer_kwargs"]}},
    ):
        estimator = S5Estimator("h", H, **{**SMALL, **QUIET, **given})
        found = step_time(estimator, entries(), {})
        assert found.steps == (1 if "max_epochs" in given else 3) and found.seconds >= 0


def test_irregular_series_have_no_seasonal_naive():
    slow = {name: value for name, value in SHORT.items()} | {"num_batches_per_epoch": 10_000_000}
    times = np.arange(60.0)
    data = [{"item_id": "a", "time": times, "target": np.sin(times)}]
    continuous = S5ContinuousEstimator(prediction_horizon=4.0, **slow, **QUIET)
    with pytest.raises(ValueError, match=r"time_limit=1 is too short: \d+ s are needed to train one epoch"):
        TimeLimitedEstimator(continuous, 1.0).train(data)


def test_bad_limits():
    with pytest.raises(ValueError, match="positive number of seconds, got inf"):
        TimeLimitedEstimator(S5Estimator("h", H), float("inf"))
    with pytest.raises(ValueError, match="networks of s5forecast, got CombinedEstimator"):
        members = [S5Estimator("h", H), BASELINES["naive"](H)]
        TimeLimitedEstimator(CombinedEstimator(H, members), 60.0)


def test_losses_over_the_last_horizon_are_those_of_the_definition():
    data, naive = entries(2), BASELINES["naive"](H)
    (found,) = last_horizon_losses([naive], data)
    levels = np.arange(1, 10) / 10
    expected = 0.0
    for entry in data:
        before = {**entry, "target": entry["target"][:-H]}
        forecast = next(iter(naive.predict([before])))
        for level in levels:
            error = entry["target"][-H:] - forecast.quantile(level)
            expected += np.maximum(level * error, (level - 1) * error).sum()
    assert found == pytest.approx(expected)
    assert last_horizon_losses([naive, naive], entries(1, length=H)) == [0.0, 0.0]


def test_estimators_are_gluonts_estimators():
    best = make_estimator("h", H, "best", time_limit=60.0, **SMALL)
    assert isinstance(best, Estimator) and isinstance(best, TimeLimitedEstimator)
    copy = type(best)(**best.__init_args__)
    assert copy.time_limit == 60.0 and copy.estimator.num_members == 3
