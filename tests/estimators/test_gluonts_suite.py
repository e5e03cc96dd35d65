"""What GluonTS expects of any estimator and predictor, for all of this package."""

import copy
import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from conftest import ESTIMATORS, H, direct, entry, long, regular, small_weights
from gluonts.core.component import equals
from gluonts.core.serde import dump_json, load_json
from gluonts.dataset.common import ListDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MSE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import Evaluator, make_evaluation_predictions
from gluonts.model import evaluate_forecasts, evaluate_model
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import Predictor

from s5forecast.data.frequency import quiet_periods
from s5forecast.estimators import PretrainedPredictor
from s5forecast.estimators.items import train_items
from s5forecast.evaluation import BASELINES, calibrate, split_irregular
from s5forecast.evaluation.statistical import StatisticalPredictor

LEVELS = [0.1, 0.5, 0.9]
UNIVARIATE = [name for name, kind in ESTIMATORS.items() if kind.data in (regular, long)]


@cache
def trained(name):
    """A predictor of each kind, trained once on all data."""
    kind = ESTIMATORS[name]
    return kind.make().train(kind.data(), kind.data())


def _items():
    estimator = ESTIMATORS["S5MultivariateEstimator"].make()
    aligned = [entry(60, name, seed) for seed, name in enumerate("abc")]
    return train_items(estimator, aligned, None), aligned


def _calibrated():
    data = regular()
    return calibrate(BASELINES["seasonal_naive"](H), data, H, windows=9, step=1, quantile_levels=LEVELS), data


def _baseline(cls):
    return cls(H, season=1) if issubclass(cls, StatisticalPredictor) else cls(H)  # long seasons are slow


UNTRAINED = {
    "ItemsPredictor": _items,
    "CalibratedPredictor": _calibrated,
    "PretrainedPredictor": lambda: (PretrainedPredictor("h", H, small_weights()), regular()),
    **{name: lambda cls=cls: (_baseline(cls), regular()) for name, cls in BASELINES.items()},
}


@pytest.fixture(params=[*ESTIMATORS, *UNTRAINED])
def predictor_and_data(request):
    """Every predictor, with data that it forecasts."""
    if request.param in UNTRAINED:
        return UNTRAINED[request.param]()
    return trained(request.param), ESTIMATORS[request.param].data()


def values(forecast):
    return np.stack([forecast.mean, *(forecast.quantile(level) for level in LEVELS)])


def all_values(predictor, data):
    return [values(forecast) for forecast in predictor.predict(data)]


def test_forecasts_follow_the_entries_in_their_order(predictor_and_data):
    predictor, data = predictor_and_data
    assert isinstance(predictor, Predictor) and predictor.prediction_length >= H
    for given, forecast in zip(data, predictor.predict(iter(data)), strict=True):
        assert isinstance(forecast, Forecast)
        assert forecast.item_id == given["item_id"]
        if "query_time" in given:
            assert list(forecast.index) == list(given["query_time"])
        else:
            assert forecast.start_date == given["start"] + given["target"].shape[-1]
            assert len(forecast.index) == forecast.prediction_length == H
        assert np.isfinite(values(forecast)).all()


def test_info_of_the_entries_is_kept(predictor_and_data):
    predictor, data = predictor_and_data
    data = [{**one, "info": {"number": number}} for number, one in enumerate(data)]
    assert [forecast.info for forecast in predictor.predict(data)] == [one["info"] for one in data]


def test_a_saved_predictor_is_equal_and_forecasts_the_same(predictor_and_data, tmp_path):
    predictor, data = predictor_and_data
    (tmp_path / "model").mkdir()
    predictor.serialize(tmp_path / "model")
    again = Predictor.deserialize(tmp_path / "model")
    assert type(again) is type(predictor) and again == predictor
    assert type(predictor).__name__ in repr(again)
    for one, other in zip(all_values(predictor, data), all_values(again, data), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_predictors_of_other_data_differ(name):
    kind = ESTIMATORS[name]
    other = [{**one, "target": one["target"] + 1} for one in kind.data()]
    assert kind.make().train(other) != trained(name)
    assert trained(name) != BASELINES["naive"](H) and trained(name) != "a predictor"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_arguments_make_an_equal_estimator(name):
    estimator = ESTIMATORS[name].make()
    assert isinstance(estimator, Estimator) and estimator.lead_time == 0
    arguments = estimator.__init_args__
    for again in (
        type(estimator).from_hyperparameters(**arguments),
        type(estimator).from_inputs(ESTIMATORS[name].data(), **arguments),
        load_json(dump_json(estimator)),
        copy.deepcopy(estimator),
        pickle.loads(pickle.dumps(estimator)),
    ):
        assert equals(again, estimator)
        if not name.startswith("PeerEstimator"):
            assert not equals(again, ESTIMATORS[name].make(lr=0.5))
    assert estimator in {estimator}
    assert type(estimator).__name__ in repr(estimator) and " at 0x" not in repr(estimator)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_training_continues_from_a_predictor(name):
    kind, before = ESTIMATORS[name], trained(name)
    expected = all_values(before, kind.data())
    after = kind.make().train_from(before, kind.data())
    assert type(after) is type(before) and after != before
    for one, other in zip(all_values(before, kind.data()), expected, strict=True):
        np.testing.assert_array_equal(one, other)  # the first predictor is not changed
    if name.startswith("PeerEstimator"):
        return
    same = kind.make(lr=0.0, ssm_lr=0.0).train_from(before, kind.data())
    for one, other in zip(all_values(same, kind.data()), expected, strict=True):
        np.testing.assert_array_equal(one, other)  # without a step the weights are those of the first


@pytest.mark.parametrize(
    "name", ["EnsembleEstimator-direct", "CombinedEstimator", "BestEstimator", "S5Estimator-normal"]
)
def test_training_does_not_start_from_another_kind(name):
    kind = ESTIMATORS[name]
    for other in (trained("EnsembleEstimator-paths"), BASELINES["naive"](H)):
        with pytest.raises(ValueError, match=r"from_predictor"):
            kind.make().train_from(other, kind.data())


def test_weights_of_other_sizes_are_refused(data):
    with pytest.raises(ValueError, match="the weights of from_predictor do not fit this estimator"):
        direct(width=6).train_from(direct().train(data), data)


@pytest.mark.parametrize("name", UNIVARIATE)
def test_constant_series_are_forecast(name):
    start = pd.Period("2024-01-01", "h")
    data = [{"start": start, "target": np.full(40, 10.0 + n), "item_id": str(n)} for n in range(3)]
    with quiet_periods():
        train, template = split(ListDataset(data, "h"), offset=-H)
        test = template.generate_instances(H)
        predictor = ESTIMATORS[name].make().train(train, train, shuffle_buffer_length=5, cache_data=True)
        errors = [
            np.abs(forecast.quantile(0.5) - label["target"]).sum() / label["target"].sum()
            for forecast, label in zip(predictor.predict(test.input), test.label, strict=True)
        ]
    assert np.mean(errors) < (1.5 if name.startswith("PeerEstimator") else 0.3)


@pytest.mark.parametrize("name", UNIVARIATE)
def test_missing_values_and_short_histories_are_forecast(name):
    data = ESTIMATORS[name].data()
    data[0]["target"][[0, 7, 8, 30, 58]] = np.nan
    assert np.isfinite(all_values(trained(name), [*data, entry(H + 1, "short")])).all()
    assert np.isfinite(all_values(ESTIMATORS[name].make().train(data), data)).all()


@pytest.mark.parametrize("name", UNIVARIATE)
def test_both_evaluations_of_gluonts(name):
    data = ListDataset(ESTIMATORS[name].data(), "h")
    with quiet_periods():
        forecasts, series = make_evaluation_predictions(data, trained(name), num_samples=20)
        totals, items = Evaluator(quantiles=LEVELS, num_workers=0)(series, forecasts, num_series=len(data))
        _, template = split(data, offset=-2 * H)
        metrics = [MeanWeightedSumQuantileLoss(LEVELS), MASE()]
        table = evaluate_model(trained(name), test_data=template.generate_instances(H, 2), metrics=metrics)
    assert list(items["item_id"]) == [one["item_id"] for one in data] and np.isfinite(totals["mean_wQuantileLoss"])
    assert np.isfinite(table.to_numpy()).all()


FEATURES = {
    "num_feat_dynamic_real": 1, "num_past_feat_dynamic_real": 1, "dynamic_cardinalities": [3],
    "past_dynamic_cardinalities": [2], "num_feat_static_real": 1, "num_feat_static_cat": 1, "cardinality": [2],
}  # fmt: skip
WITH_COVARIATES = [
    "S5Estimator-quantile", "S5Estimator-skip", "S5AutoregressiveEstimator-quantile",
    "S5AutoregressiveEstimator-encoder-student_t", "EnsembleEstimator-direct", "EnsembleEstimator-paths",
    "CombinedEstimator",
]  # fmt: skip


def with_covariates(leak=0.0, irregular=False):
    """Entries with covariates of every kind and missing values; the past ones are a ``leak`` in the last horizon."""
    data = []
    for number, one in enumerate(regular()):
        rng, steps = np.random.default_rng(number), len(one["target"])
        known, cat, past = (
            rng.normal(size=(1, steps)),
            rng.integers(0, 3, (1, steps)).astype(float),
            one["target"].copy(),
        )
        known[0, 5], cat[0, 6], past[7] = np.nan, np.nan, np.nan
        past[-H:] += leak
        covariates = {
            "feat_dynamic_real": known, "feat_dynamic_cat": cat, "past_feat_dynamic_real": past[None],
            "past_feat_dynamic_cat": (np.nan_to_num(past) > 5).astype(float)[None],
            "feat_static_real": [0.5], "feat_static_cat": [number % 2],
        }  # fmt: skip
        own = {"time": np.arange(float(steps))} if irregular else {"weight": np.ones(steps)}
        data.append({**one, **covariates, **own})
    return data


@pytest.mark.parametrize("name", WITH_COVARIATES)
def test_evaluations_of_gluonts_with_covariates_of_every_kind(name, tmp_path):
    predictor = ESTIMATORS[name].make(**FEATURES, weighted=True).train(with_covariates())
    with quiet_periods():
        forecasts, series = make_evaluation_predictions(with_covariates(), predictor, num_samples=20)
        totals, _ = Evaluator(quantiles=LEVELS, num_workers=0)(series, forecasts, num_series=3)
        tables = [
            evaluate_model(
                predictor,
                test_data=split(with_covariates(leak), offset=-H)[1].generate_instances(H),
                metrics=[MeanWeightedSumQuantileLoss(LEVELS)],
            )
            for leak in (0.0, 99.0)
        ]
    assert np.isfinite(totals["mean_wQuantileLoss"]) and np.isfinite(tables[0].to_numpy()).all()
    pd.testing.assert_frame_equal(*tables)  # values after the origin are not seen
    predictor.serialize(tmp_path)
    assert Predictor.deserialize(tmp_path) == predictor


@pytest.mark.parametrize("name", ["S5ContinuousEstimator", "EnsembleEstimator-irregular"])
def test_irregular_covariates_of_every_kind(name):
    found = []
    for leak in (0.0, 99.0):
        cut = split_irregular(with_covariates(leak, irregular=True), count=H)
        predictor = ESTIMATORS[name].make(**FEATURES).train(cut.training)
        found.append(evaluate_forecasts(predictor.predict(cut.input), test_data=cut, metrics=[MSE("mean")]))
    assert np.isfinite(found[0].to_numpy()).all()
    pd.testing.assert_frame_equal(*found)


def test_every_saved_class_is_covered():
    """A new predictor joins the lists above."""
    from s5forecast.aliases import CURRENT

    saved = {path.rsplit(".", 1)[1] for path in CURRENT if path.endswith("Predictor")}
    covered = {type(trained(name)).__name__ for name in ESTIMATORS}
    covered |= {type(make()[0]).__name__ for make in UNTRAINED.values()}
    assert saved <= covered
