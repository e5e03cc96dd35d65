"""Metrics against their definitions and GluonTS."""

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.split import split
from gluonts.ev import metrics as ev
from gluonts.model import evaluate_model
from scipy.special import ndtr, ndtri
from sklearn.metrics import mean_pinball_loss

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.evaluation.metrics import METRICS, NAMED_LEVELS, PERCENTAGES, evaluate
from s5forecast.evaluation.scores import energy_score, variogram_score
from s5forecast.evaluation.windows import default_season, seasonal_error, squared_seasonal_error
from s5forecast.levels import level_name, quantile_columns

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
PLAIN = ("MAE", "MSE", "RMSE", "NRMSE", "MAPE", "ND", "MASE", "MSIS")
SUMS = {
    "sMAPE": ev.SMAPE(),
    "mean_absolute_label": ev.MeanAbsoluteLabel(),
    "sum_absolute_label": ev.SumAbsoluteLabel(),
    "sum_error": ev.SumError(),
    "sum_absolute_error": ev.SumAbsoluteError(),
    "sum_num_masked_target_values": ev.SumNumMaskedTargetValues(),
    "WQL": ev.MeanWeightedSumQuantileLoss(LEVELS),
    "mean_sum_quantile_loss": ev.MeanSumQuantileLoss(LEVELS),
    "average_mean_scaled_quantile_loss": ev.AverageMeanScaledQuantileLoss(LEVELS),
    "MAE_coverage": ev.MAECoverage(LEVELS),
}
GLUONTS = {
    **{name: getattr(ev, name)() for name in PLAIN},
    **SUMS,
    "reliability_0.1": ev.Coverage(0.1),
    "sum_quantile_loss_0.9": ev.SumQuantileLoss(0.9),
    "mean_scaled_quantile_loss_0.5": ev.MeanScaledQuantileLoss(0.5),
    "weighted_sum_quantile_loss_0.9": ev.WeightedSumQuantileLoss(0.9),
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


@pytest.mark.filterwarnings("ignore:.*left out")
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
    by_series = evaluate_model(predictor, test_data=test_data, metrics=list(GLUONTS.values()), axis=1)
    ours = result.by("window").reindex(result.forecasts[["item_id", "cutoff"]].iloc[::4])
    theirs = by_series.to_numpy().reshape(6, 3, -1).swapaxes(0, 1).reshape(18, -1)  # series first
    seen = ~np.isnan(np.ma.filled(theirs, np.nan)) & np.isfinite(theirs)
    np.testing.assert_allclose(ours[list(GLUONTS)].to_numpy()[seen], theirs[seen], rtol=1e-6)


def test_every_metric_of_gluonts_has_a_name():
    definitions = {c for c in vars(ev).values() if isinstance(c, type) and issubclass(c, ev.BaseMetricDefinition)}
    definitions -= {ev.BaseMetricDefinition, ev.MetricDefinitionCollection}
    named = {type(make(LEVELS)) for name, make in METRICS.items()}
    assert definitions <= named


def test_owa_compares_with_the_second_naive_forecast():
    label, forecast = np.array([[1.0, 2.0, 4.0]]), np.array([[2.0, 2.0, 2.0]])
    values = evaluate(label, {"0.5": forecast, "naive_2": forecast}, np.ones(1), ["OWA"])
    assert values["OWA"] == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:.*left out")
@pytest.mark.parametrize("axis", [0, 1])
def test_along_an_axis_equals_each_slice_alone(axis):
    rng = np.random.default_rng(1)
    label = np.where(rng.random((5, 7)) < 0.3, np.nan, rng.normal(size=(5, 7)))
    label[:, 2] = np.nan
    label[3] = np.nan
    names = ("mean", "naive_2", *map(level_name, ALL_LEVELS))
    forecasts = {name: rng.normal(size=label.shape) for name in names}
    forecasts["samples"] = rng.normal(size=(*label.shape, 4))
    errors = np.array([1.0, 0.0, 2.0, 3.0, np.nan])
    unfit = {f"{name}_score{'_series' if axis else ''}" for name in ("energy", "variogram")}
    unfit |= {"CRPS_sum"} if axis else set()
    result = evaluate(label, forecasts, errors, METRICS.keys() - unfit, axis, errors)
    for position in range(label.shape[1 - axis]):
        part = (slice(None), [position]) if axis == 0 else ([position], slice(None))
        rows = errors if axis == 0 else errors[[position]]
        given = {n: f[part] for n, f in forecasts.items()}
        alone = evaluate(label[part], given, rows, METRICS.keys() - unfit, None, rows)
        np.testing.assert_allclose([result[n][position] for n in alone], list(alone.values()), rtol=1e-9, atol=1e-12)


ALL_LEVELS = tuple(
    sorted({(1 - p / 100) / 2 for p in PERCENTAGES} | {(1 + p / 100) / 2 for p in PERCENTAGES} | {*NAMED_LEVELS})
)


def test_pinball_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    label, forecast = rng.poisson(3, (4, 9)).astype(float), rng.poisson(3, (4, 9)).astype(float)
    for level in (0.1, 0.5, 0.95):
        expected = mean_pinball_loss(label.ravel(), forecast.ravel(), alpha=level)
        values = evaluate(label, {level_name(level): forecast}, metrics=["pinball"])
        assert values == {f"pinball_{level}": pytest.approx(expected, rel=1e-12)}


def test_metric_families_cover_all_levels():
    forecasts = {level_name(q): np.full((1, 1), ndtri(q)) for q in LEVELS}
    values = evaluate(np.zeros((1, 1)), forecasts, metrics=["coverage", "width", "interval_score", "reliability"])
    assert list(values)[:6] == [
        "coverage_80",
        "coverage_95",
        "width_80",
        "width_95",
        "interval_score_80",
        "interval_score_95",
    ]
    assert list(values)[6:] == [f"reliability_{level}" for level in LEVELS]
    assert values["width_80"] == values["interval_score_80"] == pytest.approx(2 * ndtri(0.9))
    assert values["reliability_0.1"] == 0 and values["reliability_0.9"] == 1


def test_crps_from_samples_and_from_quantiles():
    levels = (np.arange(99) + 1) / 100
    label = np.array([[0.7, -1.0]])
    forecasts = {level_name(q): np.full((1, 2), ndtri(q)) for q in levels}
    exact = 0.7 * (2 * ndtr(0.7) - 1) + 2 * np.exp(-0.245) / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi)
    values = evaluate(label, forecasts, metrics=["CRPS"], axis=0)["CRPS"]
    assert values[0] == pytest.approx(exact, rel=0.01)
    samples = np.broadcast_to(ndtri((np.arange(500) + 0.5) / 500), (1, 2, 500))
    of_samples = evaluate(label, {"samples": samples}, metrics=["CRPS"], axis=0)["CRPS"]
    assert of_samples[0] == pytest.approx(exact, rel=0.01)
    np.testing.assert_allclose(values, of_samples, rtol=0.01)


def test_pit_of_calibrated_forecasts_is_uniform():
    label = np.random.default_rng(2).normal(size=(100, 100))
    forecasts = {level_name(q): np.full(label.shape, ndtri(q)) for q in np.arange(1, 50) / 50}
    values = evaluate(label, forecasts, metrics=["PIT"])
    assert values["PIT_mean"] == pytest.approx(1 / 2, abs=0.01)
    assert values["PIT_variance"] == pytest.approx(1 / 12, abs=0.003)
    narrow = evaluate(label, {n: f / 2 for n, f in forecasts.items()}, metrics=["PIT"])
    assert narrow["PIT_variance"] > values["PIT_variance"]


@pytest.mark.filterwarnings("ignore:.*left out")
def test_rmsse_by_hand():
    label, mean = np.array([[1.0, 5.0], [np.nan, 2.0], [3.0, 3.0]]), np.zeros((3, 2))
    scale = np.array([4.0, 1.0, 0.0])
    values = evaluate(label, {"mean": mean}, None, ["RMSSE"], 1, scale)["RMSSE"]
    np.testing.assert_allclose(values, [np.sqrt((1 + 25) / 2 / 4), 2.0, np.nan])
    assert squared_seasonal_error(np.array([1.0, 2.0, 4.0, np.nan, 8.0]), 2) == pytest.approx((9 + 16) / 2)
    assert squared_seasonal_error(np.array([1.0, 4.0]), 24) == 9.0
    assert np.isnan(squared_seasonal_error(np.array([1.0]), 1))


def test_joint_scores_along_their_axis():
    rng = np.random.default_rng(6)
    label, samples = rng.normal(size=(3, 4)), rng.normal(size=(3, 4, 8))
    of_windows = evaluate(label, {"samples": samples}, metrics=["energy_score"], axis=1)["energy_score"]
    np.testing.assert_allclose(of_windows, energy_score(label, samples))
    name = "variogram_score_series"
    of_steps = evaluate(label, {"samples": samples}, metrics=[name], axis=0)[name]
    np.testing.assert_allclose(of_steps, variogram_score(label.T, samples.swapaxes(0, 1)))
    assert evaluate(label, {"samples": samples}, metrics=[name])[name] == pytest.approx(of_steps.mean())
    with pytest.raises(ValueError, match="energy_score is a score of whole vectors"):
        evaluate(label, {"samples": samples}, metrics=["energy_score"], axis=0)


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


def test_calibrated_forecasts_reach_the_nominal_coverage():
    label = np.random.default_rng(2).normal(size=(200, 200))
    levels = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    forecasts = {level_name(q): np.full(label.shape, ndtri(q)) for q in levels}
    names = ["coverage_50", "coverage_80", "coverage_95"]
    covered = evaluate(label, forecasts, metrics=names)
    np.testing.assert_allclose([covered[name] for name in names], [0.5, 0.8, 0.95], atol=0.01)


def test_metrics_without_observed_labels_are_nan():
    values = evaluate(np.full((2, 3), np.nan), {"0.5": np.zeros((2, 3))}, np.ones(2), ["WQL", "MASE", "MAE"])
    assert np.isnan(list(values.values())).all()


@pytest.mark.parametrize(
    ("forecasts", "metrics", "message"),
    [
        ({"0.5": [[1.0]]}, ["CRPSS"], "'CRPSS'; choose one of WQL, QL"),
        ({"0.5": [[1.0]]}, ["coverage_80"], "requires the forecast '0.1'"),
        ({"0.5": [[1.0]]}, ["MASE"], "seasonal_error= is required"),
        ({"0.5": [[1.0]]}, ["energy_score"], "samples=True"),
        ({"0.5": [[1.0]]}, ["coverage"], "two levels such as"),
        ({"mean": [[1.0]]}, ["RMSSE"], "squared_seasonal_error= is required"),
        ({"samples": [[1.0]]}, ["CRPS"], r"must be \[S, H, N\]"),
        ({"samples": [[[np.nan]]]}, ["CRPS"], "1 NaN of 1"),
        ({"mean": [[1.0]]}, ["WQL"], "requires quantiles"),
        ({"0.5": [[np.nan]]}, ["MAE"], "'0.5' has 1 NaN of 1 values"),
        ({"0.5": [[1.0, 2.0]]}, ["MAE"], r"shape \(1, 2\), but the label has \(1, 1\)"),
    ],
)
def test_errors_name_the_cause(forecasts, metrics, message):
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


def test_zero_denominators_emit_one_warning():
    label = np.array([[0.0, 0.0], [0.0, 5.0]])
    ones = np.ones((2, 2))
    names = ("MASE", "MAPE", "ND", "sMAPE", "RMSSE")
    forecasts = {"mean": ones, "0.5": ones}
    with pytest.warns(UserWarning) as announced:
        evaluate(label, forecasts, np.array([0.0, 1.0]), names, squared_seasonal_error=np.ones(2))
    (one,) = announced
    assert "MASE: the seasonal error is 0 or unknown in 1 of 2 rows, the first 0, left out" in str(one.message)
    assert "MAPE: 3 of 4 labels are 0" in str(one.message) and "ND" not in str(one.message)
    with pytest.warns(UserWarning, match="ND, NRMSE: divided by the sum of the labels, which are all 0"):
        assert np.isinf(evaluate(np.zeros((2, 2)), forecasts, None, ("ND", "NRMSE"))["ND"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis": 2}, "axis=2"),
        ({"seasonal_error": np.ones(3)}, r"seasonal_error has shape \(3,\)"),
        ({"label": np.zeros(3)}, r"shape \(3,\) must be \[S, H\]"),
        ({"label": np.full((2, 2), np.inf)}, "finite numbers"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    given = {"label": np.ones((2, 2)), "forecasts": {"0.5": np.ones((2, 2))}, "metrics": ("MAE",), **arguments}
    with pytest.raises(ValueError, match=message):
        evaluate(**given)
