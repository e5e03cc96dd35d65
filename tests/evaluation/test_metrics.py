import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split
from gluonts.ev import metrics as ev
from gluonts.model import evaluate_model
from scipy.special import ndtri

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.evaluation.metrics import METRICS, evaluate, level_name, quantile_columns
from s5forecast.evaluation.seasonality import default_season, seasonal_error

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
GLUONTS = {
    "WQL": ev.MeanWeightedSumQuantileLoss(LEVELS),
    "MASE": ev.MASE(),
    "sMAPE": ev.SMAPE(),
    "MAE": ev.MAE(),
    "MSE": ev.MSE(),
    "RMSE": ev.RMSE(),
    "ND": ev.ND(),
    "MSIS": ev.MSIS(),
}


def random_entries(seed=0, freq="h"):
    """Series with missing labels, zeros, a constant one (no seasonal error) and a missing history."""
    rng = np.random.default_rng(seed)
    entries = []
    for number in range(6):
        target = rng.poisson(3, size=60 + 5 * number).astype(float)
        target[rng.random(len(target)) < 0.2] = np.nan
        entries.append({"item_id": f"i{number}", "start": pd.Period("2024-01-01", freq), "target": target})
    entries[1]["target"][:] = 2.0
    entries[2]["target"][:30] = np.nan
    return entries


@pytest.mark.parametrize("freq", ["h", "D", "M"])
def test_equals_gluonts_evaluate_model(freq):
    entries, predictor = random_entries(freq=freq), SeasonalNaivePredictor(4, season=3)
    _, template = split(entries, offset=-12)
    test_data = template.generate_instances(4, windows=3)
    expected = evaluate_model(predictor, test_data=test_data, metrics=list(GLUONTS.values()))
    result = backtest(
        predictor, entries, prediction_length=4, windows=3, quantile_levels=LEVELS, metrics=tuple(GLUONTS)
    )
    np.testing.assert_allclose(result.metrics[list(GLUONTS)], expected, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_along_an_axis_equals_each_slice_alone(axis):
    rng = np.random.default_rng(1)
    label = np.where(rng.random((5, 7)) < 0.3, np.nan, rng.normal(size=(5, 7)))
    label[:, 2] = np.nan
    label[3] = np.nan
    forecasts = {name: rng.normal(size=label.shape) for name in ("mean", *map(level_name, LEVELS))}
    errors = np.array([1.0, 0.0, 2.0, 3.0, np.nan])
    result = evaluate(label, forecasts, errors, METRICS.keys() - OTHER_COVERAGE, axis=axis)
    for position in range(label.shape[1 - axis]):
        part = (slice(None), [position]) if axis == 0 else ([position], slice(None))
        rows = errors if axis == 0 else errors[[position]]
        alone = evaluate(label[part], {n: f[part] for n, f in forecasts.items()}, rows, result.keys())
        np.testing.assert_allclose([result[n][position] for n in alone], list(alone.values()), rtol=1e-12)


OTHER_COVERAGE = {f"coverage_{percent}" for percent in (20, 40, 50, 60, 90, 98, 99)}


def test_weighted_quantile_loss_in_closed_form():
    label, forecasts = np.array([[10.0, 0.0, 4.0]]), {"0.1": np.array([[8.0, 1.0, 4.0]])}
    # 2 (10 - 8) 0.1 + 2 (1 - 0) 0.9 + 0, over 14
    assert evaluate(label, forecasts, metrics=["WQL"])["WQL"] == pytest.approx((0.4 + 1.8) / 14)


def test_quantile_losses_differ_by_the_mean_label():
    rng = np.random.default_rng(3)
    label, forecasts = rng.normal(size=(4, 5)), {level_name(q): rng.normal(size=(4, 5)) for q in LEVELS}
    label[0, 0] = np.nan
    values = evaluate(label, forecasts, metrics=["QL", "WQL"])
    assert values["QL"] / np.nanmean(np.abs(label)) == pytest.approx(values["WQL"], rel=1e-12)


def test_weighted_quantile_loss_tends_to_the_crps_of_a_gaussian():
    levels = (np.arange(400) + 0.5) / 400
    y = 0.7
    forecasts = {level_name(q): np.full((1, 1), ndtri(q)) for q in levels}
    density, distribution = np.exp(-(y**2) / 2) / np.sqrt(2 * np.pi), 0.758036347776927
    crps = y * (2 * distribution - 1) + 2 * density - 1 / np.sqrt(np.pi)
    assert evaluate(np.full((1, 1), y), forecasts, metrics=["WQL"])["WQL"] * y == pytest.approx(crps, rel=1e-3)


def test_calibrated_forecasts_cover_as_they_say():
    label = np.random.default_rng(2).normal(size=(200, 200))
    levels = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    forecasts = {level_name(q): np.full(label.shape, ndtri(q)) for q in levels}
    names = ["coverage_50", "coverage_80", "coverage_95"]
    covered = evaluate(label, forecasts, metrics=names)
    np.testing.assert_allclose([covered[name] for name in names], [0.5, 0.8, 0.95], atol=0.01)


def test_what_nothing_was_observed_for_is_nan():
    values = evaluate(np.full((2, 3), np.nan), {"0.5": np.zeros((2, 3))}, np.ones(2), ["WQL", "MASE", "MAE"])
    assert np.isnan(list(values.values())).all()


@pytest.mark.parametrize(
    ("forecasts", "metrics", "message"),
    [
        ({"0.5": [[1.0]]}, ["CRPSS"], "'CRPSS'; choose from WQL, QL"),
        ({"0.5": [[1.0]]}, "WQL", r"metrics=\('WQL',\)"),
        ({"0.5": [[1.0]]}, ["coverage_80"], "needs the forecast '0.1'"),
        ({"0.5": [[1.0]]}, ["MASE"], "give seasonal_error"),
        ({"mean": [[1.0]]}, ["WQL"], "needs forecasts of quantile levels"),
        ({"0.5": [[np.nan]]}, ["MAE"], "'0.5' has 1 NaN of 1 values"),
        ({"0.5": [[1.0, 2.0]]}, ["MAE"], r"shape \(1, 2\), the label \(1, 1\)"),
    ],
)
def test_errors_name_what_is_wrong(forecasts, metrics, message):
    with pytest.raises(ValueError, match=message):
        evaluate(np.ones((1, 1)), forecasts, metrics=metrics)


def test_gluonts_metrics_are_accepted_as_they_are():
    values = evaluate(np.ones((1, 2)), {"0.5": np.zeros((1, 2))}, metrics=[ev.MAE(), "MAE"])
    assert values == {"MAE[0.5]": 1.0, "MAE": 1.0}


def test_seasonal_error_over_observed_pairs():
    assert seasonal_error(np.array([1.0, 2.0, 4.0, np.nan, 8.0]), 2) == pytest.approx((3 + 4) / 2)
    assert seasonal_error(np.array([1.0, 4.0]), 24) == 3.0
    assert np.isnan(seasonal_error(np.array([1.0]), 1))
    assert np.isnan(seasonal_error(np.array([1.0, np.nan, 2.0]), 1))


@pytest.mark.parametrize(
    ("freq", "season"),
    [("h", 24), ("15min", 96), ("D", 1), ("W-TUE", 1), ("M", 12), ("Q-DEC", 4), ("Y-DEC", 1)],
)
def test_default_season_is_that_of_gluonts(freq, season):
    assert default_season(pd.Period("2024-01-02", freq).freqstr) == season


def test_quantile_columns_are_found_by_name():
    frame = pd.DataFrame(columns=["item_id", "0.9", "mean", "0.10", 0.5, "1.5", "nan", 3])
    assert quantile_columns(frame) == {0.1: "0.10", 0.5: 0.5, 0.9: "0.9"}
    assert level_name(0.1 + 0.2) == "0.3"
