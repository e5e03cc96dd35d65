"""Comparisons of models: leaderboard, pairwise wins and the Diebold-Mariano test."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import RepresentablePredictor
from scipy.stats import t as student_t

from s5forecast.evaluation import Backtest, Comparison, backtest, compare, diebold_mariano, skill

MODELS = {"seasonal": "seasonal_naive", "naive": "naive", "constant": "constant"}


def series(count=5, length=120, seed=0):
    """Noise around a daily wave: seasonal naive beats the mean, the mean beats the last value."""
    rng = np.random.default_rng(seed)
    wave = 5 * np.sin(np.arange(length) * np.pi / 12)
    start = pd.Period("2024-01-01", "h")
    return [
        {"start": start, "item_id": f"s{n}", "target": 10 + wave + rng.normal(size=length) / 3} for n in range(count)
    ]


@pytest.fixture(scope="module")
def comparison():
    return compare(
        MODELS, iter(series()), 8, windows=4, step=6, baseline="naive", metrics=("WQL", "MAE", "coverage_80")
    )


def test_leaderboard(comparison):
    table = comparison.leaderboard()
    assert table.index[0] == "seasonal"
    assert list(table) == ["skill", "rank", "WQL", "MAE", "coverage_80", "predict_seconds"]
    np.testing.assert_allclose(table["skill"], 1 - table["WQL"] / table.loc["naive", "WQL"])
    assert table["rank"].sum() == pytest.approx(1 + 2 + 3)
    assert table.loc["seasonal", "WQL"] == comparison.backtests["seasonal"].metrics["WQL"].item()
    by_error = comparison.leaderboard("MAE")
    assert by_error["MAE"].is_monotonic_increasing
    full = skill(table[["WQL", "MAE"]], "naive")
    np.testing.assert_allclose(full.loc["naive"], 0)


def test_pairwise(comparison):
    table = comparison.pairwise("MAE")
    assert len(table) == 6
    row, back = table.loc[("seasonal", "naive")], table.loc[("naive", "seasonal")]
    losses = {name: one.by("window")["MAE"] for name, one in comparison.backtests.items()}
    assert row["wins"] == (losses["seasonal"] < losses["naive"]).mean()
    assert row["difference"] == pytest.approx((losses["seasonal"] - losses["naive"]).mean())
    for name in ("wins", "difference"):
        assert (table[f"{name}_lower"] <= table[name]).all() and (table[name] <= table[f"{name}_upper"]).all()
    assert row["wins"] + back["wins"] == 1 and row["statistic"] == pytest.approx(-back["statistic"])
    assert row["p_value"] < 0.05 and row["difference_upper"] < 0
    pd.testing.assert_frame_equal(table, comparison.pairwise("MAE"))


def test_by_item(comparison):
    table = comparison.by_item("MAE")
    assert list(table) == [*MODELS, "best"] and list(table.index) == [f"s{n}" for n in range(5)]
    np.testing.assert_allclose(table["naive"], comparison.backtests["naive"].by("item_id")["MAE"])
    assert (table["best"] == "seasonal").all()


def test_equal_models_tie():
    data = series(3)
    result = compare({"a": "naive", "b": "naive"}, data, 4, windows=3, metrics=("MAE",))
    assert (result.leaderboard()["rank"] == 1.5).all() and (result.leaderboard()["skill"] == 0).all()
    table = result.pairwise()
    assert (table[["wins", "wins_lower", "wins_upper"]] == 0.5).all(axis=None)
    assert (table["difference"] == 0).all() and (table["p_value"] == 1).all()


def test_missing_values_are_excluded():
    data = series(3)
    data[0]["target"][-6:] = np.nan
    data[1]["target"][:] = 4.0
    result = compare(MODELS, data, 6, windows=2, metrics=("MASE", "WQL"), baseline="seasonal")
    with pytest.warns(UserWarning) as announced:
        assert np.isfinite(result.leaderboard().to_numpy(dtype=float)).all()
        assert np.isfinite(result.pairwise().drop(columns=["statistic", "p_value"]).to_numpy()).all()
    texts = {str(one.message) for one in announced}
    assert "MASE: the seasonal error is 0 or unknown in 1 of 3 series, the first 's1', left out" in texts
    assert any(text.startswith("2 of 6 windows have no finite MASE of every model and are left out") for text in texts)
    table = result.by_item("MASE")
    assert table.loc["s1"].isna().all() and table.loc["s0", "best"] == "seasonal"


def test_windows_of_zeros_are_excluded_from_ratios_but_not_from_errors():
    data = series(3)
    for one in data:
        one["target"][-6:] = 0.0
    result = compare(MODELS, data, 6, windows=4, metrics=("WQL", "QL"), baseline="seasonal")
    with pytest.warns(UserWarning, match="are left out; QL and MAE are finite") as announced:
        table = result.pairwise("WQL")
    texts = [str(one.message) for one in announced]
    assert any("3 of 12 windows" in text for text in texts) and not any("timestamps" in text for text in texts)
    of_errors, tests = result.pairwise("QL"), ["statistic", "p_value"]
    assert np.isfinite(table.to_numpy()).all() and np.isfinite(of_errors.to_numpy()).all()
    pd.testing.assert_frame_equal(table[tests], of_errors[tests])


class Paths(RepresentablePredictor):
    """Draws normal paths around a level, independent of the history."""

    def __init__(self, prediction_length, level):
        super().__init__(prediction_length)
        self.level = level

    def predict_item(self, item):
        samples = np.random.default_rng(0).normal(self.level, size=(20, self.prediction_length))
        return SampleForecast(samples, item["start"] + len(item["target"]), item.get("item_id"))


def test_scores_over_series_are_compared_by_cutoff():
    models, data = {"near": Paths(4, 10.0), "far": Paths(4, 30.0)}, series(3)
    result = compare(models, data, 4, windows=5, metrics=("CRPS_sum",), samples=True)
    assert list(result.leaderboard()["rank"]) == [1.0, 2.0]
    row = result.pairwise().loc[("near", "far")]
    assert row["wins"] == 1 and row["difference_upper"] < 0 and row["p_value"] < 0.05
    with pytest.raises(ValueError, match="'CRPS_sum' has no value for each item_id"):
        result.by_item()
    data[0]["target"] = data[0]["target"][:-1]
    ragged = backtest(models["near"], data, 4, metrics=("CRPS_sum",), samples=True)
    with pytest.warns(UserWarning, match="CRPS_sum of 'Paths': at some times only a part of the series has a forecast"):
        assert np.isfinite(ragged.metrics["CRPS_sum"].item())


def test_finished_backtests_take_the_given_metrics():
    data = series(2)
    ready = backtest("drift", data, 4, windows=2)
    found = compare({"ready": ready, "naive": "naive"}, data, 4, windows=2, metrics=("CRPS", "MAE"))
    assert np.isfinite(found.leaderboard()[["CRPS", "MAE"]]).all(axis=None)
    other = replace(ready, metric_names=("MAE",))
    assert list(compare({"b": other, "naive": "naive"}, data, 4, windows=2).backtests["naive"].metric_names) == ["MAE"]
    with pytest.raises(ValueError, match="'a' and 'b' have the metrics"):
        Comparison({"a": ready, "b": other}, "a")
    with pytest.raises(ValueError, match="seasonal_error of series 's0' is"):
        Comparison({"a": ready, "b": replace(ready, seasonal_error=ready.seasonal_error * 2)}, "a")
    coarse = ready.forecasts.astype({"timestamp": "datetime64[us]", "cutoff": "datetime64[us]"})
    Comparison({"a": ready, "b": replace(ready, forecasts=coarse)}, "a")
    moved = ready.forecasts.assign(target=ready.forecasts["target"] + 1)
    with pytest.raises(ValueError, match="labels: target of series 's0' is"):
        Comparison({"a": ready, "b": replace(ready, forecasts=moved)}, "a")
    for arguments in ({"level": 95}, {"resamples": 0}):
        with pytest.raises(ValueError, match=r"level=.* must be in"):
            found.pairwise(**arguments)


def test_finished_backtests_are_not_repeated(tmp_path):
    data = series(2)
    ready = backtest("drift", data, 4, windows=2)
    found = compare({"ready": ready, "naive": "naive"}, data, 4, windows=2, directory=tmp_path)
    assert found.backtests["ready"].name == "ready" and found.baseline == "naive"
    assert [path.name for path in tmp_path.iterdir()] == ["naive"]
    compare({1: "naive", "..": "naive", "/x": "naive"}, data, 4, directory=tmp_path / "named")
    assert sorted(path.name for path in (tmp_path / "named").iterdir()) == ["%2E%2E", "%2Fx", "1"]
    assert len(list(tmp_path.iterdir())) == 2
    other = backtest("naive", data, 4, windows=3)
    with pytest.raises(ValueError, match="'ready' and 'other' were not backtested on the same"):
        Comparison({"ready": ready, "other": other}, "ready")


def test_errors(comparison):
    with pytest.raises(ValueError, match="models is empty"):
        compare({}, series(1), 4)
    with pytest.raises(ValueError, match="baseline='best' is not among"):
        Comparison(comparison.backtests, "best")
    with pytest.raises(ValueError, match="'coverage_80' cannot rank these models; choose one of WQL, MAE"):
        comparison.leaderboard("coverage_80")
    frame = comparison.backtests["naive"].forecasts
    only = Comparison({"a": Backtest.from_frame(frame, metrics=("coverage_80",))}, "a")
    with pytest.raises(ValueError, match="can rank models"):
        only.leaderboard()


def shops(count=3, length=90):
    """The series of a frame with columns of its own."""
    days = pd.date_range("2024-01-01", periods=length, freq="D")
    rng = np.random.default_rng(0)
    return pd.concat(
        [pd.DataFrame({"shop": f"s{n}", "day": days, "sales": rng.normal(size=length)}) for n in range(count)]
    )


ROLES = {"item_id": "shop", "timestamp": "day", "target": "sales"}


def test_columns_of_a_frame_are_named_by_a_dict():
    df = shops()
    found = backtest("naive", df, 7, windows=2, columns=ROLES, metrics="MAE")
    standard = df.rename(columns={name: role for role, name in ROLES.items()})
    expected = backtest("naive", standard, 7, windows=2, metrics=("MAE",))
    pd.testing.assert_frame_equal(found.forecasts, expected.forecasts.rename(columns=ROLES))
    assert found.by("shop").index.name == "shop"
    np.testing.assert_array_equal(found.by("shop")["MAE"], expected.by("item_id")["MAE"])
    assert found.by(["shop", "step"]).index.names == ["shop", "step"]
    both = compare({"ready": found, "drift": "drift"}, df, 7, windows=2)
    assert list(both.by_item().index) == ["s0", "s1", "s2"] and list(both.leaderboard()["MAE"] > 0) == [True, True]
    of_frame = Backtest.from_frame(found.rows.rename(columns={"item_id": "shop"}), item_id="shop", metrics="MAE")
    np.testing.assert_array_equal(of_frame.by("shop")["MAE"], found.by("item_id")["MAE"])


def test_missing_columns_are_named_with_the_fix():
    df = shops()
    for columns, message in (
        (None, r"no column 'timestamp'; .*\['shop', 'day', 'sales'\].* columns=\{'timestamp': ...\}"),
        ({"timestamp": "day"}, r"no column 'target'; .* columns=\{'target': ...\}"),
        ({"timestamp": "day", "target": "sales"}, r"repeats times in 'day'; .* columns=\{'item_id': ...\}"),
        ({"time": "day"}, r"unknown roles \['time'\]; choose from \['target', 'item_id'"),
        ({**ROLES, "target": ["sales", "day"]}, "several targets, .* require irregular series"),
    ):
        with pytest.raises(ValueError, match=message):
            compare({"naive": "naive"}, df, 7, columns=columns)


def test_default_baseline():
    data = series(2)
    for models, expected in (
        ({"Theta-like": "drift", "last": "naive", "season": "seasonal_naive"}, "season"),
        ({"d": "drift", "naive": "constant"}, "naive"),
        ({"d": "drift", "c": "constant"}, "d"),
        ({"d": "drift", "ready": backtest("naive", data, 4)}, "ready"),
    ):
        assert compare(models, data, 4, metrics="MAE").baseline == expected


def test_wrong_baseline_is_refused_before_any_work():
    for baseline in ("best", ""):
        with pytest.raises(ValueError, match=f"baseline='{baseline}' is not among the models"):
            compare({"never run": object()}, series(1), 4, baseline=baseline)


def test_metric_that_was_not_computed_is_named_with_the_fix(comparison):
    with pytest.raises(
        ValueError, match=r"'RMSE' was not computed; pass metrics=\('WQL', 'MAE', 'coverage_80', 'RMSE'\)"
    ):
        comparison.by_item("RMSE")
    with pytest.raises(ValueError, match="'coverage_80' cannot rank these models"):
        comparison.by_item("coverage_80")
    family = compare({"naive": "naive"}, series(1), 4, metrics="pinball")
    with pytest.raises(ValueError, match=r"'pinball' cannot rank these models; choose one of pinball_0.1"):
        family.by_item("pinball")


def test_short_texts(comparison):
    text = repr(comparison)
    assert text.startswith("Comparison of 3 models with the baseline 'naive': 5 series, 20 windows, 160 rows\n")
    assert "WQL" in text and len(text.splitlines()) == 6
    assert all(name in text for name in MODELS)
    one = repr(comparison.backtests["seasonal"])
    assert one.startswith("Backtest of 'seasonal': 5 series, 20 windows, 160 rows\n") and len(one.splitlines()) == 4
    assert f"{comparison.backtests['seasonal'].metrics['WQL'].item():.4g}" in one


def test_backtests_pickled_without_columns_are_read():
    one = backtest("naive", series(1), 4, metrics="MAE")
    state = {name: value for name, value in vars(one).items() if name != "columns"}
    old = object.__new__(Backtest)
    old.__dict__.update(state)
    assert pickle.loads(pickle.dumps(old)).by("item_id").equals(one.by("item_id"))


def test_diebold_mariano_of_one_step_is_the_t_test():
    difference = np.random.default_rng(0).normal(0.3, 1, size=40)
    statistic, p_value = diebold_mariano(difference, horizon=1)
    expected = difference.mean() / (difference.std(ddof=1) / np.sqrt(40))
    assert statistic == pytest.approx(expected)
    assert p_value == pytest.approx(2 * student_t.sf(abs(expected), 39))


def test_diebold_mariano_by_hand():
    difference = np.array([1.0, 2.0, 0.0, 3.0, 4.0, 2.0])
    waves = [np.sqrt(2 / 6) * difference @ np.cos(np.pi * j * (np.arange(6) + 0.5) / 6) for j in (1, 2)]
    expected = 2 / np.sqrt((waves[0] ** 2 + waves[1] ** 2) / 2 / 6)
    statistic, p_value = diebold_mariano(difference, 2)
    assert statistic == pytest.approx(expected)
    assert p_value == pytest.approx(2 * student_t.sf(expected, 2))


def null_differences(kind, windows, steps, draws=6000):
    """Loss differences ``[draws, windows * steps]`` with mean zero."""
    rng = np.random.default_rng(0)
    shocks = rng.normal(size=(draws, (windows + 1) * steps))
    if kind == "moving average":
        return np.lib.stride_tricks.sliding_window_view(shocks, steps, axis=1).sum(-1)[:, : windows * steps]
    shocks = shocks[:, steps:].reshape(draws, windows, steps)
    return (shocks.cumsum(-1) if kind == "random walk" else shocks).reshape(draws, -1)


@pytest.mark.parametrize("windows, steps", [(2, 14), (6, 14), (12, 7)])
@pytest.mark.parametrize("kind", ["white noise", "moving average", "random walk"])
def test_diebold_mariano_keeps_its_level(kind, windows, steps):
    p_values = np.array([diebold_mariano(path, steps)[1] for path in null_differences(kind, windows, steps)])
    assert 0.03 < (p_values < 0.05).mean() < (0.09 if kind == "moving average" else 0.08)
    assert p_values.min() > 1e-6


def test_diebold_mariano_finds_a_difference():
    paths = 1 + null_differences("white noise", 6, 14, draws=200)
    assert np.mean([diebold_mariano(path, 14)[1] < 0.05 for path in paths]) > 0.95


def test_pairwise_counts_windows_of_irregular_series():
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2024-01-01")
    times = [start + pd.to_timedelta(np.sort(rng.uniform(0, 96, 80)), "h") for _ in range(3)]
    data = [{"item_id": n, "time": time, "target": rng.normal(size=80)} for n, time in enumerate(times)]
    moments = [start + pd.Timedelta(hours=h) for h in (48, 60, 72, 84)]
    result = compare({"constant": "constant", "last_value": "last_value"}, data, since=moments, horizon="12h")
    errors = {name: replace(one, metric_names=("QL",)).by("timestamp")["QL"] for name, one in result.backtests.items()}
    difference = (errors["constant"] - errors["last_value"]).sort_index().to_numpy()
    forecasts = result.backtests["constant"].forecasts
    inside = [
        forecasts["timestamp"].between(cutoff, part["timestamp"].max(), inclusive="right")
        for (_, cutoff), part in forecasts.groupby(["item_id", "cutoff"])
    ]
    horizon = max(forecasts.loc[rows, "timestamp"].nunique() for rows in inside)
    assert horizon > forecasts.groupby(["item_id", "cutoff"]).size().max()
    row = result.pairwise().loc[("constant", "last_value")]
    assert (row["statistic"], row["p_value"]) == pytest.approx(diebold_mariano(difference, horizon))
    alone = compare({"a": "constant", "b": "last_value"}, data, since=moments[:1], horizon="12h")
    assert alone.pairwise()["p_value"].isna().all()


def test_diebold_mariano_of_little_or_equal_losses():
    assert np.isnan(diebold_mariano(np.ones(5), 3)).all() and np.isnan(diebold_mariano(np.array([]), 1)).all()
    assert diebold_mariano(np.zeros(9), 2) == (0.0, 1.0)
    assert diebold_mariano(np.full(9, -1.0), 2) == (-np.inf, 0.0)
    assert diebold_mariano(np.full(20, 0.1), 3) == (np.inf, 0.0)  # deviations are rounding errors
