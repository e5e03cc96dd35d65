"""Conformal calibration: finite-sample coverage, order, scale, following a shift, saving."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.evaluation.calibrated import CalibratedPredictor, calibrate
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.conformal import CONFORMAL_METHODS, conformal_quantile, in_order, needed_scores
from s5forecast.evaluation.diagnostics import interval_coverage

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
NAMES = [str(level) for level in LEVELS]
FOLLOWING = [name for name in CONFORMAL_METHODS if CONFORMAL_METHODS[name].follows]


def frame(windows=60, H=3, items=("a", "b"), spread=1.0, seed=0, start="2024-01-01", noise=None, step=None):
    """Normal targets, 100 times as large for series b, and forecasts `spread` times as wide as the targets."""
    rng = np.random.default_rng(seed)
    parts = []
    for window in range(windows):
        cutoff = pd.Timestamp(start) + pd.Timedelta(hours=window * (step or H))
        for number, item in enumerate(items):
            unit = 100.0**number
            target = unit * (1 if noise is None else noise[window]) * rng.normal(size=H)
            keys = {"item_id": item, "cutoff": cutoff, "timestamp": pd.date_range(cutoff, periods=H + 1, freq="h")[1:]}
            quantiles = {name: unit * spread * ndtri(level) for name, level in zip(NAMES, LEVELS, strict=True)}
            parts.append(pd.DataFrame({**keys, "target": target, **quantiles}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
@pytest.mark.parametrize("n", [9, 19, 40])
def test_split_conformal_has_its_exact_finite_sample_coverage(n, share):
    scores = np.random.default_rng(0).exponential(size=(20_000, n + 1))
    covered = np.mean([row[-1] <= conformal_quantile(row[:-1], share) for row in scores])
    assert covered == pytest.approx(np.ceil((n + 1) * share - 1e-9) / (n + 1), abs=0.01)


def test_minimum_number_of_scores():
    assert [needed_scores(share) for share in (0.5, 0.9, 0.95, 0.975)] == [1, 9, 19, 39]
    with pytest.raises(ValueError, match="needs 9 scores, there are 8"):
        conformal_quantile(np.arange(8.0), 0.9)
    assert conformal_quantile(np.arange(9.0), 0.9) == 8


@pytest.mark.parametrize("method", CONFORMAL_METHODS)
@pytest.mark.parametrize("options", [{}, {"per_item": True}, {"per_step": True}, {"scale": "item"}], ids=str)
def test_too_narrow_forecasts_become_calibrated(method, options):
    raw = frame(300, spread=0.4, seed=1, start="2025-01-01")
    calibrated = ConformalCalibrator(method, **options).fit(frame(200, spread=0.4)).transform(raw)
    found = interval_coverage(calibrated)
    np.testing.assert_allclose(found["observed"], found["level"], atol=0.05)
    assert (np.diff(calibrated[NAMES], axis=1) >= 0).all()
    pd.testing.assert_frame_equal(calibrated.drop(columns=NAMES), raw.drop(columns=NAMES))


@pytest.mark.parametrize("method", CONFORMAL_METHODS)
def test_quantiles_stay_in_order_where_corrections_cross(method):
    rng = np.random.default_rng(0)
    wild = frame(40)
    wild[NAMES] = np.sort(rng.standard_cauchy(wild[NAMES].shape), axis=1)
    corrected = ConformalCalibrator(method, learning_rate=1.0).fit(wild).transform(wild)
    assert (np.diff(corrected[NAMES], axis=1) >= 0).all()


def test_in_order_keeps_ascending_quantiles_and_nests_others():
    rng = np.random.default_rng(0)
    levels, wild = np.array(LEVELS), rng.standard_cauchy((500, len(LEVELS)))
    found, ascending = in_order(wild, levels), np.sort(wild, axis=1)
    assert (np.diff(found, axis=1) >= 0).all()
    np.testing.assert_array_equal(found[:, 3], wild[:, 3])
    assert (found[:, :3] <= wild[:, :3]).all() and (found[:, 4:] >= wild[:, 4:]).all()  # no coverage is lost
    np.testing.assert_array_equal(in_order(ascending, levels), ascending)
    np.testing.assert_array_equal(in_order(np.array([[5.0, 3.0]]), np.array([0.1, 0.9])), [[3.0, 5.0]])
    inside_out = np.array([[9.0, 9.0, 9.0, 0.0, -9.0, -9.0, -9.0]])
    assert (in_order(inside_out, levels) == 0).all()


@pytest.mark.parametrize("scale", ["width", "item"])
@pytest.mark.parametrize("method", CONFORMAL_METHODS)
def test_equivariant_to_scale_and_location_of_each_series(method, scale):
    past, later = frame(30, spread=0.5), frame(10, spread=0.5, seed=1, start="2024-02-01")

    def moved(data):
        values = data.copy()
        for item, (factor, shift) in {"a": (1e6, 3e6), "b": (1e-6, -1e-4)}.items():
            rows = data["item_id"] == item
            values.loc[rows, ["target", *NAMES]] = factor * data.loc[rows, ["target", *NAMES]] + shift
        return values

    one = ConformalCalibrator(method, scale=scale).fit(past).transform(later)
    other = ConformalCalibrator(method, scale=scale).fit(moved(past)).transform(moved(later))
    np.testing.assert_allclose(other[NAMES], moved(one)[NAMES], rtol=1e-7)


@pytest.mark.parametrize("method", FOLLOWING)
def test_coverage_in_the_long_run_on_a_series_that_shifts(method):
    noise = np.concatenate([np.ones(100), np.full(150, 4.0), np.full(150, 0.5)])
    everything = frame(400, H=8, noise=noise)
    first = everything["cutoff"] < everything["cutoff"].unique()[50]
    adaptive = ConformalCalibrator(method).fit(everything[first]).transform(everything[~first])
    fixed = ConformalCalibrator("cqr").fit(everything[first]).transform(everything[~first])
    found, missed = interval_coverage(adaptive), interval_coverage(fixed)
    np.testing.assert_allclose(found["observed"], found["level"], atol=0.03)
    assert (abs(missed["observed"] - missed["level"]) > 0.05).any()


@pytest.mark.parametrize("method", FOLLOWING)
def test_each_series_comes_to_its_own_coverage(method):
    def both(windows, seed, start="2024-01-01"):
        narrow = frame(windows, H=8, items=("a",), spread=0.5, seed=seed, start=start)
        wide = frame(windows, H=8, items=("b",), spread=2.0, seed=seed + 1, start=start)
        return pd.concat([narrow, wide], ignore_index=True)

    past, later = both(60, 0), both(300, 2, "2024-06-01")
    gaps = {}
    for item_share in (0.0, 0.2):
        after = ConformalCalibrator(method, item_share=item_share).fit(past).transform(later)
        found = [interval_coverage(series) for _, series in after.groupby("item_id")]
        gaps[item_share] = max(abs(one["observed"] - one["level"]).max() for one in found)
    assert gaps[0.2] < 0.05 < 0.2 < gaps[0.0]


def test_delayed_feedback_does_not_cause_oscillation():
    noise = np.concatenate([np.ones(60), np.full(300, 1.5)])
    everything = frame(360, H=24, step=1, items=("a",), noise=noise, seed=3)
    first = everything["cutoff"] < everything["cutoff"].unique()[60]
    later = ConformalCalibrator(learning_rate=1.0).fit(everything[first]).transform(everything[~first])
    settled = later[later["cutoff"] >= later["cutoff"].unique()[100]]
    found = interval_coverage(settled)
    np.testing.assert_allclose(found["observed"], found["level"], atol=0.03)
    width = (settled["0.75"] - settled["0.25"]).groupby(settled["cutoff"]).first()
    assert width.std() < 0.1 * width.mean()


@pytest.mark.parametrize("method", FOLLOWING)
def test_forecasts_of_zero_width_are_widened(method):
    past, later = frame(60), frame(200, seed=1, start="2024-06-01")
    past[NAMES] = later[NAMES] = 0.3
    found = interval_coverage(ConformalCalibrator(method).fit(past).transform(later))
    np.testing.assert_allclose(found["observed"], found["level"], atol=0.04)


def test_nearly_constant_series_does_not_affect_the_coverage_of_others():
    rng = np.random.default_rng(0)
    data = frame(400, H=8, spread=0.6)
    dry = data["item_id"] == "b"
    near = np.abs(rng.normal(scale=1e-3, size=dry.sum()))[:, None] * np.array([-1, -0.5, 1, 1.5, 2, 50, 100])
    data.loc[dry, NAMES] = np.sort(near, axis=1)
    data.loc[dry, "target"] = np.where(rng.random(dry.sum()) < 0.9, 0.0, rng.exponential(size=dry.sum()))
    first = data["cutoff"] < data["cutoff"].unique()[100]
    later = ConformalCalibrator().fit(data[first]).transform(data[~first])
    found = {item: interval_coverage(series) for item, series in later.groupby("item_id")}
    np.testing.assert_allclose(found["a"]["observed"], found["a"]["level"], atol=0.03)
    assert (found["b"]["observed"] > found["b"]["level"] - 0.05).all()


def test_a_series_not_seen_before_gets_the_correction_of_all():
    fitted = ConformalCalibrator(scale="width").fit(frame(60, spread=0.5))
    new = frame(1, items=("new",), start="2025-01-01").drop(columns="target")
    scale = (new["0.95"] - new["0.05"]).to_numpy()[:, None]
    expected = new[NAMES] + scale * fitted.corrections_.to_numpy()
    np.testing.assert_allclose(fitted.transform(new)[NAMES], expected)
    assert list(fitted.partial_fit(frame(3, items=("new",))).item_corrections_.index) == ["a", "b", "new"]


def test_adapting_never_looks_ahead():
    past, later = frame(40), frame(20, seed=1, start="2024-02-01")
    calibrator = ConformalCalibrator("adaptive").fit(past)
    before = calibrator.transform(later)
    cut = later["cutoff"].unique()[10]
    planted = later.assign(target=later["target"].where(later["timestamp"] <= cut, 1e9))
    after = calibrator.transform(planted)
    same = later["cutoff"] <= cut
    pd.testing.assert_frame_equal(before.loc[same, NAMES], after.loc[same, NAMES])
    assert (before.loc[~same, NAMES] != after.loc[~same, NAMES]).any(axis=None)


def test_following_windows_one_by_one_equals_following_them_together():
    past, later = frame(40), frame(20, seed=1, start="2024-02-01", spread=0.5)
    together = ConformalCalibrator("adaptive").fit(past).partial_fit(later)
    single = ConformalCalibrator("adaptive").fit(past)
    for _, window in later.groupby("cutoff"):
        single.partial_fit(window)
    pd.testing.assert_frame_equal(together.corrections_, single.corrections_)
    pd.testing.assert_frame_equal(together.item_corrections_, single.item_corrections_)
    with pytest.raises(ValueError, match="cannot be updated"):
        ConformalCalibrator("cqr").fit(past).partial_fit(later)


def test_quantiles_of_counts_are_whole_numbers():
    rng = np.random.default_rng(0)
    counts = frame(60)
    counts["target"] = rng.poisson(3.0, len(counts))
    counts[NAMES] = [2.0, 2.0, 3.0, 3.0, 3.0, 4.0, 4.0]
    corrected = ConformalCalibrator("cqr").fit(counts).transform(counts)[NAMES].to_numpy()
    assert (corrected == corrected.round()).all() and (corrected >= 0).all() and (corrected[:, -1] > 4).all()


def test_series_with_fractional_targets_are_not_rounded():
    rng = np.random.default_rng(0)
    rain = frame(60)
    rain["target"] = rng.exponential(0.8, len(rain)) * (rng.random(len(rain)) < 0.4)
    rain[NAMES] = 0.0
    dry = rain["item_id"] == "a"
    rain.loc[dry, "target"] = 0.0
    fitted = ConformalCalibrator("cqr").fit(rain)
    for one in (fitted, ConformalCalibrator.from_json(fitted.to_json())):
        found = one.transform(rain)
        assert (found.loc[dry, NAMES] == 0.0).all(axis=None)
        assert (rain["target"] <= found["0.9"])[~dry].mean() >= 0.89 and found.loc[~dry, "0.9"].iloc[0] % 1


def test_new_series_are_counts_if_all_fitted_series_are():
    rng = np.random.default_rng(0)
    counts = frame(60)
    counts["target"] = rng.poisson(6.0, len(counts)).astype(float)
    counts[NAMES] = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    new = frame(4, items=("new",))
    new[NAMES] = [1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 8.0]
    new["target"] = 2.5  # known at the second cutoff
    kept = ConformalCalibrator("cqr", scale="width").fit(counts).transform(new)[NAMES].to_numpy()
    whole = (kept == kept.round()).all(axis=1)
    assert whole[:3].all() and not whole[3:].any()
    counts.loc[0, "target"] += 0.5
    moved = ConformalCalibrator("cqr", scale="width").fit(counts).transform(new)[NAMES].to_numpy()
    assert (moved[:3] != moved[:3].round()).any()


@pytest.mark.parametrize("method", CONFORMAL_METHODS)
def test_a_frame_without_cutoff_is_one_window(method):
    one = frame(1, H=60, items=("a",), spread=0.5)
    found = ConformalCalibrator(method).fit(one.drop(columns=["cutoff", "item_id"]))
    expected = ConformalCalibrator(method).fit(one)
    pd.testing.assert_frame_equal(found.corrections_.droplevel(0), expected.corrections_.droplevel(0))


@pytest.mark.parametrize("method", FOLLOWING)
def test_following_equals_its_definition(method):
    """Reference loop over windows, with different cutoffs of the series and delayed feedback."""
    rng = np.random.default_rng(0)
    past = frame(40, step=1)
    later = pd.concat(
        [
            frame(12, seed=1, start="2024-02-01", step=2, items=("a",)),
            frame(9, H=2, seed=2, start="2024-02-01 01:00", items=("b",)),
        ]
    )
    later = later.sample(frac=1, random_state=0).sort_values(["item_id", "timestamp"]).reset_index(drop=True)
    later.loc[rng.random(len(later)) < 0.1, "target"] = np.nan
    fitted = ConformalCalibrator(method, learning_rate=0.3, item_share=0.4).fit(past)
    levels, symmetric = np.array(LEVELS), CONFORMAL_METHODS[method].symmetric
    share = CONFORMAL_METHODS[method].shares(levels)
    unit = 0.3 * np.where(levels < 0.5, -1, 1) * fitted.spreads_.to_numpy()[0]
    theta, delta = fitted.corrections_.to_numpy()[0].copy(), fitted.item_corrections_.T.to_dict("series")
    cutoffs = sorted(later["cutoff"].unique())
    found = later[NAMES].to_numpy(dtype=float)
    open_rows = set(later.index[later["target"].notna()])
    for now, cutoff in enumerate(cutoffs):
        known = sorted(r for r in open_rows if later["cutoff"][r] < cutoff and later["timestamp"][r] <= cutoff)
        open_rows -= set(known)
        if known:
            y = later["target"].to_numpy()[known, None]
            inner = np.where(
                levels < 0.5,
                y > found[known],
                np.where(levels > 0.5, y < found[known], 0.5 * (y == found[known]) + (y < found[known])),
            )
            inner = np.minimum(inner, inner[:, ::-1]) if symmetric else inner
            gaps = unit * (share - inner) / np.mean([now - cutoffs.index(later["cutoff"][r]) for r in known])
            theta = theta + gaps.mean(axis=0)
            for item in delta:
                of = later["item_id"].to_numpy()[known] == item
                delta[item] = delta[item] + (0.4 * gaps[of].mean(axis=0) if of.any() else 0.0)
        for row in later.index[later["cutoff"] == cutoff]:
            item = later["item_id"][row]
            found[row] += fitted.item_scales_[item] * (theta + np.asarray(delta[item]))
    np.testing.assert_allclose(fitted.transform(later)[NAMES], in_order(found, levels), rtol=1e-9)


def test_columns_may_be_numbers():
    data = frame(60, spread=0.5).rename(columns={name: float(name) for name in NAMES})
    found = ConformalCalibrator("cqr").fit(data).transform(data)
    assert list(found) == list(data) and (found[0.95] > data[0.95]).all()
    sixths = {"0.05": "0.16666666666666666", "0.5": "0.5", "0.95": "0.8333333333333334"}
    thirds = frame(20)[["target", *sixths]].rename(columns=sixths)
    np.testing.assert_allclose(interval_coverage(thirds)["level"], [2 / 3])


def test_scales_of_zero_are_unchanged_and_missing_targets_ignored():
    flat = frame(30)
    flat.loc[::2, NAMES] = 7.0
    holes = pd.concat([flat, frame(30, seed=5).assign(target=np.nan, item_id="c")])
    one, other = (ConformalCalibrator("cqr", scale="width").fit(data) for data in (flat, holes))
    pd.testing.assert_frame_equal(one.corrections_, other.corrections_)
    assert (one.transform(flat).loc[::2, NAMES] == 7.0).all(axis=None)


def test_float32_in_float32_out():
    data = frame(30).astype({name: np.float32 for name in NAMES})
    assert (ConformalCalibrator().fit(data).transform(data)[NAMES].dtypes == np.float32).all()


def test_errors_name_the_cause():
    with pytest.raises(ValueError, match=r"needs 19 calibration scores of series 'a' at step 1.*at least 19 windows"):
        ConformalCalibrator("cqr", per_item=True, per_step=True).fit(frame(12))
    fitted = ConformalCalibrator("cqr", per_item=True).fit(frame(30))
    with pytest.raises(ValueError, match="series 'new' was not calibrated"):
        fitted.transform(frame(2, items=("new",)))
    with pytest.raises(ValueError, match="the calibrated levels are"):
        fitted.transform(frame(2).drop(columns="0.5"))
    with pytest.raises(ValueError, match="choose one of"):
        ConformalCalibrator("magic").fit(frame(30))
    with pytest.raises(ValueError, match=r"item_share must be in \[0, 1\]"):
        ConformalCalibrator(item_share=2.0).fit(frame(30))
    with pytest.raises(ValueError, match="target of series 'a' at 2024-01-01 01:00:00 is infinite"):
        ConformalCalibrator().fit(frame(30).replace({"target": {frame(30)["target"][0]: np.inf}}))
    with pytest.raises(ValueError, match="at 2024-01-01 01:00:00 has no item_id; name its series"):
        ConformalCalibrator().fit(frame(30, items=(None, "a")))
    with pytest.raises(ValueError, match=r"item_id Timestamp\(.* cannot be written; use text or numbers"):
        ConformalCalibrator("cqr").fit(frame(30, items=(pd.Timestamp("2020"),))).to_json()
    with pytest.raises(ValueError, match="not a calibration: it has no format_version"):
        ConformalCalibrator.from_json("{}")
    with pytest.raises(ValueError, match="cannot calibrate"):
        ConformalCalibrator("cqr").fit(frame(30).assign(target=np.nan))


@pytest.mark.parametrize("options", [{}, {"per_item": True}, {"scale": "item"}, {"per_step": True}], ids=str)
@pytest.mark.parametrize("method", CONFORMAL_METHODS)
def test_json_keeps_everything(method, options):
    fitted = ConformalCalibrator(method, **options).fit(frame(60))
    again = ConformalCalibrator.from_json(fitted.to_json())
    later = frame(5, seed=2, start="2025-01-01")
    pd.testing.assert_frame_equal(fitted.transform(later), again.transform(later))
    assert again.get_params() == fitted.get_params()


@pytest.mark.parametrize("per_item", [False, True])
def test_a_calibrated_predictor_is_a_gluonts_predictor(tmp_path, per_item):
    rng = np.random.default_rng(0)
    start = pd.Period("2024-01-01", "h")
    data = [
        {"item_id": name, "start": start, "target": np.sin(np.arange(700) / 4) + rng.standard_t(3, size=700)}
        for name in ("x", "y")
    ]
    inner = SeasonalNaivePredictor(4, 25)
    calibrated = calibrate(inner, data, 4, windows=60, quantile_levels=LEVELS, method="cqr", per_item=per_item)
    calibrated.serialize(tmp_path)
    again = CalibratedPredictor.deserialize(tmp_path)
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".json"] * 4
    found, read = list(calibrated.predict(data)), list(again.predict(data))
    for one, other, entry in zip(found, read, data, strict=True):
        assert one.item_id == entry["item_id"] and one.start_date == start + 700
        np.testing.assert_array_equal(one.forecast_array, other.forecast_array)
    raw = backtest(inner, data, prediction_length=4, windows=60, quantile_levels=LEVELS).forecasts
    expected = calibrated.calibrator.transform(raw)
    shown = backtest(calibrated, data, prediction_length=4, windows=60, quantile_levels=LEVELS).forecasts
    pd.testing.assert_frame_equal(shown, expected)
