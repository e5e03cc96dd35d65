"""Baselines: forecasts by hand, against statsforecast and published figures, and serialization."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor
from scipy.special import ndtri

from s5forecast.evaluation.baselines import (
    BASELINES,
    ConstantPredictor,
    DriftPredictor,
    NaivePredictor,
    SeasonalNaivePredictor,
)

STATISTICAL = ("auto_ets", "auto_arima", "theta")


def entry(target, start="2024-01-01", freq="h", **fields):
    return {"start": pd.Period(start, freq), "target": np.asarray(target, dtype=float), **fields}


def forecast(predictor, target, **fields):
    return next(iter(predictor.predict([entry(target, **fields)])))


def test_seasonal_naive_by_hand():
    result = forecast(SeasonalNaivePredictor(5, season=2), [1, 10, 2, 13, 5, 14])
    # residuals 1, 3, 3, 1; sigma^2 = (1 + 9 + 9 + 1) / (6 - 2)
    np.testing.assert_allclose(result.mean, [5, 14, 5, 14, 5])
    np.testing.assert_allclose(result.sigma, np.sqrt(5 * np.array([1, 1, 2, 2, 3])))
    np.testing.assert_allclose(result.quantile(0.975), result.mean + 1.959964 * result.sigma, rtol=1e-6)
    np.testing.assert_allclose(result["p10"], result.mean + ndtri(0.1) * result.sigma)
    np.testing.assert_allclose(result["median"], result.mean)


def test_naive_by_hand():
    result = forecast(NaivePredictor(3), [1, 3, 2])
    np.testing.assert_allclose(result.mean, [2, 2, 2])
    np.testing.assert_allclose(result.sigma, np.sqrt((4 + 1) / 2 * np.array([1, 2, 3])))


def test_drift_by_hand():
    # slope (7 - 1) / 3 = 2, errors of the steps 1, -1, 0 with one parameter fitted
    result = forecast(DriftPredictor(2), [1, 4, 5, 7])
    np.testing.assert_allclose(result.mean, [9, 11])
    np.testing.assert_allclose(result.sigma, np.sqrt([1 + 1 / 3, 2 * (1 + 2 / 3)]))
    gap = forecast(DriftPredictor(1), [np.nan, 1, 4, 5, 7, np.nan])
    np.testing.assert_allclose([gap.mean[0], gap.sigma[0]], [result.mean[1], result.sigma[1]])


def test_constant_by_hand():
    result = forecast(ConstantPredictor(2), [1, np.nan, 2, 6])
    np.testing.assert_allclose(result.mean, 3)
    np.testing.assert_allclose(result.sigma, np.sqrt(7 * 4 / 3))


def test_simple_methods_are_those_of_statsforecast():
    models = pytest.importorskip("statsforecast.models")
    target = np.random.default_rng(0).normal(size=60).cumsum()
    pairs = [
        (NaivePredictor(4), models.Naive()),
        (SeasonalNaivePredictor(4, 3), models.SeasonalNaive(3)),
        (DriftPredictor(4), models.RandomWalkWithDrift()),
        (ConstantPredictor(4), models.HistoricAverage()),
    ]
    for ours, theirs in pairs:
        result, expected = forecast(ours, target), theirs.forecast(target, h=4, level=[80])
        np.testing.assert_allclose(result.mean, expected["mean"], rtol=1e-5)
        np.testing.assert_allclose(result.quantile(0.9), expected["hi-80"], rtol=0.03)


@pytest.mark.parametrize("name", STATISTICAL)
def test_statistical_models_follow_season_and_trend(name):
    time = np.arange(48)
    clean = 20 + time / 4 + 3 * np.sin(time * np.pi / 2)
    target = clean + np.random.default_rng(1).normal(size=48) / 5
    target[20] = np.nan
    result = forecast(BASELINES[name](4), target[:44], freq="Q", item_id="x", info={"a": 1})
    assert np.abs(result.quantile(0.5) - clean[44:]).max() < 1.2
    quantiles = np.array([result.quantile(level) for level in (0.01, 0.1, 0.33, 0.5, 0.9, 0.99)])
    assert (np.diff(quantiles, axis=0) > 0).all() and (np.ptp(quantiles, axis=0) < 12).all()
    assert (result.item_id, result.info) == ("x", {"a": 1})


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_model_that_cannot_be_fitted_falls_back_to_the_season(name):
    target = [1.0, 2.0] if name != "auto_arima" else [3.0] * 9
    result = forecast(BASELINES[name](4, season=1), target)
    expected = forecast(NaivePredictor(4), target)
    for level in (0.1, 0.5, 0.9):
        np.testing.assert_allclose(result.quantile(level), expected.quantile(level))


@pytest.mark.parametrize(
    ("length", "season", "approximation"), [(150, 1, False), (151, 1, True), (40, 12, False), (40, 13, True)]
)
def test_long_fits_of_auto_arima_are_approximate(length, season, approximation):
    models = pytest.importorskip("statsforecast.models")
    time = np.arange(length)
    target = np.random.default_rng(2).normal(size=length).cumsum() / 4 + np.sin(2 * np.pi * time / season)
    result = forecast(BASELINES["auto_arima"](4, season=season), target)
    model = models.AutoARIMA(season_length=season, approximation=approximation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence warnings of rejected orders
        expected = model.forecast(target, h=4)
    np.testing.assert_allclose(result.mean, expected["mean"], rtol=1e-5)


def test_only_the_last_values_are_fitted():
    target = np.concatenate([np.full(50, 1e6), np.random.default_rng(0).normal(size=50)])
    result = forecast(BASELINES["auto_ets"](2, season=1, max_history=50), target)
    assert np.abs(result.quantile(0.99)).max() < 10
    late = forecast(BASELINES["auto_ets"](2, season=1, max_history=5), [*target, *[np.nan] * 10])
    assert np.isfinite(late.mean).all()


def test_without_statsforecast_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(ImportError, match=r"AutoETS requires statsforecast: pip install 's5forecast\[statsforecast\]'"):
        BASELINES["auto_ets"](3)


def test_missing_values():
    nan = np.nan
    result = forecast(SeasonalNaivePredictor(3, season=3), [1, nan, 3, 4, nan, nan, 7, nan, nan])
    # phases: 7, never observed -> last observed, 3 two seasons ago; residuals 3 and 3
    np.testing.assert_allclose(result.mean, [7, 7, 3])
    np.testing.assert_allclose(result.sigma, 3)
    np.testing.assert_allclose(forecast(NaivePredictor(2), [1, 3, nan]).sigma, 2 * np.sqrt([1, 2]))


@pytest.mark.parametrize("target", [[5.0], [5.0, 5.0, 5.0], [np.nan, 5.0, np.nan], [5.0] * 30])
@pytest.mark.parametrize("name", BASELINES)
def test_little_history_is_repeated_without_spread(name, target):
    result = forecast(BASELINES[name](prediction_length=4), target)
    np.testing.assert_array_equal(np.stack([result.mean, result.quantile(0.9)]), 5.0)


def test_a_history_no_longer_than_a_season_falls_back_to_naive():
    short, seasonal, naive = [1.0, 4.0, 2.0], SeasonalNaivePredictor(3, season=3), NaivePredictor(3)
    for q in (0.1, 0.5, 0.9):
        np.testing.assert_array_equal(forecast(seasonal, short).quantile(q), forecast(naive, short).quantile(q))


@pytest.mark.parametrize(("freq", "season"), [("h", 24), ("D", 7), ("M", 12), ("Q-DEC", 4), ("15min", 96)])
def test_season_follows_the_frequency(freq, season):
    result = forecast(SeasonalNaivePredictor(season), np.arange(3 * season), freq=freq)
    np.testing.assert_array_equal(result.mean, np.arange(2 * season, 3 * season))


def test_business_days_emit_no_warning():
    with pytest.warns(FutureWarning):
        start = pd.Period("2024-01-01", "B")
    result = next(SeasonalNaivePredictor(5).predict([{"start": start, "target": np.arange(20.0)}]))
    np.testing.assert_array_equal(result.mean, np.arange(15, 20))


@pytest.mark.parametrize("target", [[], [np.nan, np.nan], [[1.0, 2.0]]])
def test_a_series_without_observed_value_is_named(target):
    with pytest.raises(ValueError, match=r"series 'x'.*no observed value"):
        forecast(SeasonalNaivePredictor(2), target, item_id="x")


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="season=0"):
        SeasonalNaivePredictor(2, season=0)
    with pytest.raises(ValueError, match=r"1.0 is not in \(0, 1\)"):
        forecast(NaivePredictor(2), [1.0]).quantile(1.0)


@pytest.mark.parametrize(
    "predictor",
    [SeasonalNaivePredictor(3, 2), BASELINES["theta"](3, season=1), *(make(3) for make in BASELINES.values())],
    ids=repr,
)
def test_serialization(predictor, tmp_path):
    predictor.serialize(tmp_path)
    copy = Predictor.deserialize(tmp_path)
    assert copy == predictor
    target = [1.0, 5.0, 2.0, 7.0, 3.0, 9.0, 2.0]
    np.testing.assert_array_equal(forecast(copy, target).quantile(0.3), forecast(predictor, target).quantile(0.3))


def test_keeps_item_id_info_and_start():
    result = forecast(NaivePredictor(2), [1, 2, 3], item_id="x", info={"a": 1})
    assert (result.item_id, result.info, result.start_date) == (
        "x",
        {"a": 1},
        pd.Period("2024-01-01 03:00", "h"),
    )
    assert len(result.index) == result.prediction_length == 2


def test_importing_evaluation_is_light():
    heavy = "{'torch', 'lightning', 'gluonts.torch', 'plotly', 'statsforecast', 'numba', 'sklearn'}"
    code = f"import sys, s5forecast.evaluation; assert not {heavy} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
