"""Invalid entries and arguments raise a ValueError that names the series, the field and the fix."""

import numpy as np
import pandas as pd
import pytest
from conftest import H, entry
from gluonts.torch.distributions import ISQFOutput

from s5forecast.estimators import S5Estimator

BAD_ENTRIES = {
    "no target": ({"target": None}, "no field 'target'"),
    "two dimensions": ({"target": np.ones((2, 30))}, "one dimension"),
    "text": ({"target": np.array(["1", "x"] * 20)}, "must hold numbers"),
    "infinite": ({"target": np.r_[np.ones(30), np.inf]}, "infinite value at step 30"),
    "all missing": ({"target": np.full(30, np.nan)}, "no observed value"),
    "empty": ({"target": np.empty(0)}, "no observed value"),
    "no start": ({"start": None}, "no field 'start'"),
    "a timestamp": ({"start": pd.Timestamp("2024-01-01")}, "pandas Period"),
    "another frequency": ({"start": pd.Period("2024-01-01", "D")}, "freq 'D'"),
    "no covariate": ({"feat_dynamic_real": None}, "no field 'feat_dynamic_real'"),
    "one covariate too many": ({"feat_dynamic_real": np.ones((2, 64))}, "2 rows"),
    "covariate too short": ({"feat_dynamic_real": np.ones((1, 40))}, "has 40 steps"),
    "static of another shape": ({"feat_static_cat": [0, 1]}, "feat_static_cat has shape"),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_bad_entries(make_one, case):
    change, message = BAD_ENTRIES[case]
    estimator = make_one(num_feat_dynamic_real=1, num_feat_static_cat=1, cardinality=[2])
    good = entry(feat_dynamic_real=np.ones((1, 60)), feat_static_cat=[0])
    bad = {k: v for k, v in {**good, "item_id": "broken", **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message) as error:
        estimator.train([good, bad])
    assert "'broken'" in str(error.value)


def test_a_horizon_without_its_covariates(make_one):
    estimator = make_one(num_feat_dynamic_real=1)
    predictor = estimator.train([entry(feat_dynamic_real=np.ones((1, 60)))])
    with pytest.raises(ValueError, match=r"series 'a'.*60 steps, but at least 61 are needed"):
        list(predictor.predict([entry(feat_dynamic_real=np.ones((1, 60)))]))
    ahead = np.ones((1, 60 + H))
    ahead[0, -1] = np.nan
    with pytest.warns(UserWarning, match="series 'a': the known covariates .* starting at step 4"):
        list(predictor.predict([entry(feat_dynamic_real=ahead)]))


def test_no_data(make_one):
    with pytest.raises(ValueError, match="empty"):
        make_one().train([])
    with pytest.raises(ValueError, match="longer history"):
        make_one().train([entry(1)])
    assert list(make_one().train([entry()]).predict([])) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"freq": "fortnight"}, "15min"),
        ({"prediction_length": 0}, "prediction_length"),
        ({"context_length": 0}, "context_length"),
        ({"scaling": "max"}, "'standard'"),
        ({"distr_output": "cauchy"}, "'student_t'"),
        ({"layer": "s6"}, "'s5'"),
        ({"activation": "relu"}, "'half_glu2'"),
        ({"quantile_levels": [0.5, 1.0]}, "between 0 and 1"),
        ({"quantile_levels": [0.5, 0.5]}, "repeat"),
        ({"num_feat_static_cat": 2}, "cardinality"),
        ({"lags_seq": [0]}, "lags_seq"),
        ({"batch_size": 0}, "batch_size"),
        ({"width": 0}, "width"),
        ({"lr": -1.0}, "lr"),
        ({"device": "mps"}, "float64"),
        ({"loss": "mse"}, "'crps'"),
        ({"loss": "energy"}, "multivariate"),
        ({"loss": "crps"}, "QuantileOutput cannot be trained with loss='crps'"),
        ({"distr_output": "poisson", "loss": "quantile"}, "PoissonOutput cannot be trained with loss='quantile'"),
        ({"distr_output": ISQFOutput(5, [0.1, 0.9])}, "GluonTS's ISQFOutput is not supported"),
    ],
)
def test_bad_arguments(make_one, argument, message):
    with pytest.raises(ValueError, match=message):
        make_one(**argument)


def test_defaults_follow_the_frequency():
    hourly = S5Estimator(freq="h", prediction_length=24).spec
    assert hourly.context_length == 336 and hourly.lags == [1, 24, 48, 168, 336, 504, 672]
    assert S5Estimator(freq="YS", prediction_length=4).spec.lags == [1]
