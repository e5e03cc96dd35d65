"""Series with few observed values are forecast with the location and spread of older values, or typical ones."""

import warnings

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5AutoregressiveEstimator, S5Estimator, S5MultivariateEstimator
from s5forecast.estimators.predictor import load_predictor

CONTEXT, HORIZON = 32, 4
FIRST = pd.Period("2024-01-01", "D")
SMALL = {
    "context_length": CONTEXT, "lags_seq": [1, 7], "width": 16, "state_size": 8, "max_epochs": 3,
    "num_batches_per_epoch": 40, "trainer_kwargs": {"enable_progress_bar": False},
}  # fmt: skip
ESTIMATORS = {
    "direct": lambda: S5Estimator("D", HORIZON, **SMALL),
    "causal": lambda: S5Estimator("D", HORIZON, patch_length=1, layer_kwargs={"bidirectional": False}, **SMALL),
    "bounded": lambda: S5Estimator("D", HORIZON, distr_output="gamma", **SMALL),
    "decoder": lambda: S5AutoregressiveEstimator("D", HORIZON, recursion="decoder", **SMALL),
    "encoder": lambda: S5AutoregressiveEstimator("D", HORIZON, recursion="encoder", **SMALL),
}


def noise(level, seed, length=150):
    return level * (1 + 0.1 * np.random.default_rng(seed).standard_normal(length))


def entry(target, item="a"):
    return {"start": FIRST, "target": target, "item_id": item}


@pytest.fixture(scope="module", params=ESTIMATORS)
def predictor(request):
    training = [entry(noise(level, seed), str(level)) for seed, level in enumerate([0.1, 2.0, 30.0, 1000.0])]
    return ESTIMATORS[request.param]().train(training)


CASES = {
    "outage as long as the context": np.r_[noise(50, 9), [np.nan] * CONTEXT],
    "longer outage": np.r_[noise(50, 9), [np.nan] * 3 * CONTEXT],
    "one value in the context": np.r_[noise(50, 9), [np.nan] * CONTEXT, 52.0, [np.nan] * 5],
    "one row": np.array([50.0]),
}


@pytest.mark.parametrize("case", CASES)
def test_intervals_have_the_location_and_width_of_similar_series(predictor, case):
    levels = [0.1, 0.5, 0.9]
    _, (usual,) = predictor.predict_quantiles([entry(noise(50, 8))], levels)
    with pytest.warns(UserWarning, match="fewer than 4 values were observed in the context of series 'a'"):
        _, (found,) = predictor.predict_quantiles([entry(CASES[case])], levels)
    low, median, high = found.T
    assert (np.abs(median / 50 - 1) < 0.3).all()
    width = (high - low).mean() / (usual[:, 2] - usual[:, 0]).mean()
    assert 1 / 3 < width < 3


def test_one_warning_names_the_series_of_all_batches(predictor):
    entries = [entry(noise(50, 1), "long"), *(entry(np.array([float(i)]), f"new {i}") for i in range(1, 8))]
    size, predictor.batch_size = predictor.batch_size, 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        forecasts = list(predictor.predict(entries))
    predictor.batch_size = size
    assert len(forecasts) == 8 and len(caught) == 1
    assert "'new 1', 'new 2', 'new 3', 'new 4', 'new 5' and 2 more" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_the_typical_window_is_saved(predictor, tmp_path):
    predictor.serialize(tmp_path)
    loaded = load_predictor(tmp_path)
    assert loaded.spec.typical == predictor.spec.typical
    assert loaded.spec.typical.ratio == pytest.approx(0.1, rel=0.3)
    with pytest.warns(UserWarning, match="series 'a'"):
        expected = next(predictor.predict([entry(np.array([50.0]))])).mean
    with pytest.warns(UserWarning, match="series 'a'"):
        assert np.array_equal(next(loaded.predict([entry(np.array([50.0]))])).mean, expected)


def test_streams_begin_with_older_or_typical_values():
    training = [entry(noise(level, seed), str(level)) for seed, level in enumerate([0.1, 2.0, 30.0, 1000.0])]
    predictor = ESTIMATORS["causal"]().train(training)
    for case, target in CASES.items():
        with pytest.warns(UserWarning, match=f"series '{case}'"):
            stream = predictor.stream([entry(target, case)])
        stream.update([{"start": FIRST + len(target), "target": np.array([51.0]), "item_id": case}])
        (forecast,) = stream.predict([{"item_id": case}])
        low, high = forecast.quantile(0.1), forecast.quantile(0.9)
        assert (np.abs(forecast.quantile(0.5) / 50 - 1) < 0.3).all() and (high - low > 2).all()


def test_finer_steps_have_the_same_typical_window():
    training = [entry(noise(level, seed), str(level)) for seed, level in enumerate([0.1, 2.0, 30.0, 1000.0])]
    predictor = S5Estimator("D", HORIZON, patch_length=1, **SMALL).train(training)
    finer = predictor.rescaled(0.5)
    assert finer.spec.typical == predictor.spec.typical
    series = {"start": pd.Period("2024-01-01", "12h"), "target": np.array([50.0]), "item_id": "a"}
    with pytest.warns(UserWarning, match="series 'a'"):
        forecast = next(finer.predict([series]))
    assert (np.abs(forecast.quantile(0.5) / 50 - 1) < 0.3).all()


def test_joint_series_with_an_outage_keep_their_location_and_spread():
    target = np.stack([noise(1.0, 0), noise(100.0, 1)])
    predictor = S5MultivariateEstimator("D", HORIZON, target_dim=2, **SMALL).train([{"start": FIRST, "target": target}])
    target[1, -CONTEXT:] = np.nan
    with pytest.warns(UserWarning, match="series 1"):
        forecast = next(predictor.predict([{"start": FIRST, "target": target}]))
    low, high = forecast.quantile(0.1)[:, 1], forecast.quantile(0.9)[:, 1]
    assert (low > 50).all() and (high < 150).all() and (high - low > 8).all()
