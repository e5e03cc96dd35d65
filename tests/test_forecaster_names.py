"""Results have the column names of the user's frame."""

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster, backtest
from s5forecast.evaluation import Backtest, ConformalCalibrator, compare
from s5forecast.plotting import plot_backtest, write_report

H = 4
SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 1, "max_epochs": 1,
    "layer_kwargs": {"bidirectional": False}, "patch_length": 1,
}  # fmt: skip
NAMES = {"item_id": "unique_id", "timestamp": "ds", "target": "y"}


@pytest.fixture(scope="module")
def df():
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024", periods=60, freq="h")
    parts = [pd.DataFrame({"unique_id": item, "ds": stamps, "y": rng.normal(size=60)}) for item in "ab"]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def forecaster(df):
    return S5Forecaster(H, "h", **NAMES, verbose=False, estimator_kwargs=SMALL).fit(df)


@pytest.fixture(scope="module")
def result(forecaster, df):
    return forecaster.backtest(df, windows=2, metrics=["MAE", "RMSE", "WQL"])


def test_backtests_have_the_names_of_the_frame(result):
    assert list(result.forecasts.columns[:4]) == ["unique_id", "cutoff", "ds", "y"]
    assert list(result.rows.columns[:4]) == ["item_id", "cutoff", "timestamp", "target"]
    assert result.by("unique_id").index.name == "unique_id" and result.by("item_id").index.name == "item_id"
    assert list(result.by("window").index.names) == ["unique_id", "cutoff"]
    assert list(result.by(["ds", "unique_id"]).index.names) == ["ds", "unique_id"]


@pytest.mark.parametrize("model", ["naive", "constant"])
def test_backtests_of_other_models_have_them_too(model, df, result):
    found = backtest(model, df, H, windows=2, columns=NAMES)
    assert list(found.forecasts.columns[:4]) == ["unique_id", "cutoff", "ds", "y"]
    again = backtest(result.forecasts, df, H, windows=2, columns=NAMES, metrics=["MAE"])
    pd.testing.assert_frame_equal(again.forecasts, result.forecasts, check_dtype=False)


def test_comparisons_calibration_and_streams(forecaster, df, result):
    comparison = compare({"ours": result, "naive": "naive"}, df, H, windows=2)
    assert comparison.by_item("MAE").index.name == "unique_id"
    assert comparison.pairwise("MAE").notna().all(axis=None)
    assert ConformalCalibrator("split").fit(result.rows).levels_ == ConformalCalibrator("split").fit(result).levels_
    assert list(forecaster.stream(df).predict().columns[:2]) == ["unique_id", "ds"]
    fitted = S5Forecaster(H, "h", **NAMES, verbose=False, quantile_levels=[0.4, 0.5, 0.6], estimator_kwargs=SMALL)
    calibrated = fitted.fit(df).calibrate(df, windows=4, step=1)
    assert list(calibrated.predict().columns) == ["unique_id", "ds", "mean", "0.4", "0.5", "0.6"]


def test_reports_and_figures(forecaster, df, result):
    page = write_report(result, history=df, forecast=forecaster.predict())
    assert "MAE of its median; RMSE of its mean" in page
    first, second = (
        plot_backtest(one, df, target="y", item_id="unique_id", timestamp="ds") for one in (result, result.rows)
    )
    assert first == second
    assert len(forecaster.plot(forecaster.predict(), df).data) > 2


def test_frames_with_names_of_their_own(result):
    given = Backtest.from_frame(result.forecasts, name="again", metrics=["MAE"], **NAMES)
    assert list(given.forecasts.columns) == list(result.forecasts.columns)
    assert given.metrics["MAE"].iloc[0] == pytest.approx(result.metrics["MAE"].iloc[0])


def test_irregular_series():
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"unique_id": "a", "ds": np.cumsum(rng.exponential(size=80)), "y": rng.normal(size=80)})
    f = S5Forecaster(
        horizon=4.0, freq=None, **NAMES, verbose=False,
        estimator_kwargs={"context_length": 12, "width": 8, "max_epochs": 1, "num_batches_per_epoch": 1},
    )  # fmt: skip
    assert list(f.backtest(df, count=5).forecasts.columns[:4]) == ["unique_id", "cutoff", "ds", "y"]


CLASHES = {
    "item_id": {"item_id": "cutoff"},
    "timestamp": {"timestamp": "cutoff"},
    "target": {"target": "mean"},
    "quantile": {"target": "0.5"},
    "exchanged": {"item_id": "target", "target": "item_id"},
}


@pytest.mark.parametrize("clash", CLASHES)
def test_names_that_another_column_of_a_backtest_has(clash, df, result):
    names = {"item_id": "item_id", "timestamp": "timestamp", "target": "target", **CLASHES[clash]}
    given = df.rename(columns={own: names[role] for role, own in NAMES.items()})
    found = backtest("naive", given, H, columns=names, metrics=["MAE"])
    assert found.forecasts.columns.is_unique
    assert list(found.rows.columns[:4]) == ["item_id", "cutoff", "timestamp", "target"]
    expected = backtest("naive", df, H, columns=NAMES, metrics=["MAE"])
    assert found.metrics["MAE"].equals(expected.metrics["MAE"])
    assert found.by("window")["MAE"].tolist() == expected.by("window")["MAE"].tolist()
