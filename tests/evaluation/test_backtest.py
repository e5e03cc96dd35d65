"""Backtests of regular series: windows, inputs of models, metrics and errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import load_datasets
from gluonts.model.forecast import QuantileForecast, SampleForecast
from gluonts.model.predictor import Predictor

from s5forecast.evaluation.backtest import Backtest, backtest
from s5forecast.evaluation.baselines import GaussianForecast, NaivePredictor, SeasonalNaivePredictor
from s5forecast.evaluation.comparison import compare
from s5forecast.evaluation.windows import seasonal_error

SHARED = Path(__file__).parents[3] / "shared" / "data" / "gluonts"


class Recorder(Predictor):
    """Forecasts zeros and records its inputs."""

    calls = 0

    def predict(self, dataset, **kwargs):
        self.calls += 1
        self.given = list(dataset)
        for entry in self.given:
            start = entry["start"] + len(entry["target"])
            zeros = np.zeros(self.prediction_length)
            yield GaussianForecast(zeros, zeros, start, item_id=entry.get("item_id"))


def entries(*lengths, freq="h", **fields):
    start = pd.Period("2024-01-01", freq)
    return [{"start": start, "target": np.arange(length, dtype=float), **fields} for length in lengths]


def test_forecast_input_is_the_history_alone():
    series = entries(20, 23)
    for number, entry in enumerate(series):
        time = np.arange(len(entry["target"]))
        entry |= {"item_id": f"s{number}", "feat_static_cat": np.array([number]), "info": {"unit": "m"}}
        entry |= {"feat_dynamic_real": np.stack([time, -time]), "past_feat_dynamic_real": time[None]}
    recorder = Recorder(prediction_length=4)
    result = backtest(recorder, series, prediction_length=4, windows=3, step=2, freq="h")

    assert recorder.calls == 1
    assert [entry["item_id"] for entry in recorder.given] == ["s0", "s1"] * 3
    assert [len(entry["target"]) for entry in recorder.given] == [12, 15, 14, 17, 16, 19]
    for entry in recorder.given:
        cut = len(entry["target"])
        np.testing.assert_array_equal(entry["target"], np.arange(cut))
        np.testing.assert_array_equal(entry["past_feat_dynamic_real"], [np.arange(cut)])
        np.testing.assert_array_equal(entry["feat_dynamic_real"][0], np.arange(cut + 4))
        np.testing.assert_array_equal(entry["feat_static_cat"], [int(entry["item_id"][1])])
        assert entry["info"] == {"unit": "m"}
    assert [len(entry["target"]) for entry in series] == [20, 23]

    first = result.forecasts.query("item_id == 's1'").groupby("cutoff", sort=False).first()
    assert list(first["target"]) == [15, 17, 19]
    assert list(first.index) == list(first["timestamp"] - pd.Timedelta("1h"))
    assert first.index[0] == pd.Timestamp("2024-01-01 14:00")


def test_known_features_beyond_the_target_are_cut_too():
    series = entries(10, feat_dynamic_real=np.arange(30)[None])
    recorder = Recorder(prediction_length=2)
    backtest(recorder, series, prediction_length=2, windows=2, metrics=())
    assert [entry["feat_dynamic_real"].shape for entry in recorder.given] == [(1, 8), (1, 10)]


def test_frame_and_metrics():
    result = backtest(SeasonalNaivePredictor(6, season=4), entries(40, 50), prediction_length=6, windows=2, name="sn")
    assert list(result.forecasts.columns[:5]) == ["item_id", "cutoff", "timestamp", "target", "mean"]
    assert list(result.forecasts.columns[5:]) == [f"0.{level}" for level in range(1, 10)]
    assert result.quantile_levels == tuple(level / 10 for level in range(1, 10))
    assert list(result.forecasts["item_id"].unique()) == ["0", "1"]
    assert (
        len(result.forecasts) == 2 * 2 * 6 and not result.forecasts.duplicated(["item_id", "cutoff", "timestamp"]).any()
    )
    assert list(result.metrics.index) == ["sn"]
    assert list(result.metrics.columns) == ["WQL", "MASE", "sMAPE", "coverage_80", "predict_seconds"]
    # the error is 4 for four steps and 8 for two, and the history grows by 24 in a season
    assert result.metrics.loc["sn", "MASE"] == pytest.approx((4 * 4 + 2 * 8) / 6 / 24)
    assert result.seconds == result.metrics.loc["sn", "predict_seconds"]


def test_by_item_step_and_cutoff():
    result = backtest(NaivePredictor(3), entries(10, 20), prediction_length=3, windows=2, metrics=("MAE", "WQL"))
    np.testing.assert_allclose(result.by("step")["MAE"], [1, 2, 3])
    assert result.by("step").index.name == "step" and list(result.by("step").index) == [1, 2, 3]
    items = result.by("item_id")
    assert list(items.index) == ["0", "1"] and (items["WQL"].iloc[0] > items["WQL"].iloc[1])
    assert len(result.by("cutoff")) == 4
    part = result.forecasts["item_id"] == "1"
    alone = Backtest.from_frame(result.forecasts[part], name="x", metrics=("MAE", "WQL"))
    np.testing.assert_allclose(alone.metrics.loc["x"], items.loc["1"])


@pytest.mark.parametrize(
    ("freq", "period", "first"),
    [
        ("MS", "M", "2024-09-01"),
        ("ME", "M", "2024-09-30"),
        (None, "M", "2024-09-01"),
        ("W-TUE", "W-TUE", "2024-02-27"),
    ],
)
def test_timestamps_follow_the_frequency(freq, period, first):
    result = backtest(NaivePredictor(2), entries(10, freq=period), prediction_length=2, freq=freq)
    assert result.forecasts["timestamp"].iloc[0] == pd.Timestamp(first)


def test_business_days_emit_no_warning():
    with pytest.warns(FutureWarning):
        series = entries(20, freq="B")
    for freq in ("B", None):
        result = backtest(NaivePredictor(2), series, prediction_length=2, windows=2, freq=freq)
        assert result.forecasts["timestamp"].dt.weekday.max() <= 4


def test_frame_of_forecasts_with_other_column_names():
    result = backtest(SeasonalNaivePredictor(6, 4), entries(40, 50), prediction_length=6, windows=2, name="sn")
    names = {"item_id": "unique_id", "timestamp": "ds", "target": "y"}
    frame = result.forecasts.rename(columns=names)
    before = frame.copy()
    errors = pd.Series({"0": seasonal_error(np.arange(30), 24), "1": seasonal_error(np.arange(40), 24)})
    other = Backtest.from_frame(frame, errors, name="sn", item_id="unique_id", timestamp="ds", target="y")
    expected = result.metrics.drop(columns="predict_seconds")
    pd.testing.assert_frame_equal(other.metrics, expected)
    pd.testing.assert_frame_equal(frame, before)


def test_samples_and_quantiles_are_forecasts_too():
    class Other(Predictor):
        def predict(self, dataset, **kwargs):
            for number, entry in enumerate(dataset):
                start = entry["start"] + len(entry["target"])
                if number % 2:
                    yield SampleForecast(np.random.default_rng(0).normal(size=(50, 2)), start)
                else:
                    yield QuantileForecast(np.zeros((3, 2)), start, ["mean", "0.1", "0.9"])

    result = backtest(Other(2), entries(10, 10), prediction_length=2)
    assert np.isfinite(result.metrics.to_numpy()).all()


def test_constant_series_is_excluded_from_mase():
    series = entries(30, 30)
    alone = backtest(NaivePredictor(2), series[:1], prediction_length=2)
    series[1]["target"] = np.ones(30)
    both = backtest(NaivePredictor(2), series, prediction_length=2)
    with pytest.warns(UserWarning, match="MASE: the seasonal error is 0 or unknown in 1 of 2 series, the first '1'"):
        assert both.metrics["MASE"].item() == alone.metrics["MASE"].item()
    assert np.isnan(both.by("item_id").loc["1", "MASE"])


def test_fit_seconds_are_reported_if_given():
    result = backtest(NaivePredictor(2), entries(10), prediction_length=2, metrics=("MAE",))
    timed = Backtest(result.name, result.forecasts, metric_names=("MAE",), seconds=1.0, fit_seconds=2.0)
    assert list(timed.metrics.columns) == ["MAE", "fit_seconds", "predict_seconds"]


def nan_forecast(forecasts):
    for forecast in forecasts:
        forecast.mean[0] = np.nan
        yield forecast


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"windows": 4}, "series 's' has 10 values.*4 windows of 3 steps, 3 apart, need 13 values; use windows=3"),
        ({"prediction_length": 10}, "series 's' has 10 values.*shorter prediction_length"),
        ({"windows": 0}, "windows=0"),
        ({"step": 0}, "step=0"),
        ({"windows": 2.0}, "windows=2.0 must be a whole number of at least 1"),
        ({"season": 0}, "season=0"),
        ({"season": -3}, "season=-3"),
        ({"season": 24.0}, "season=24.0"),
        ({"refit": 1.5}, "refit=1.5"),
        ({"metrics": ("OWA",)}, "OWA requires 'naive_2'"),
        ({"data": [{"start": 0, "target": np.full(9, np.inf), "item_id": "i"}]}, "series 'i' has an infinite target"),
        ({"quantile_levels": (0.5, 1.0)}, "strictly between 0 and 1"),
        ({"quantile_levels": (0.5, 0.5)}, "not repeat"),
        ({"metrics": ("WAPE",)}, "unknown metric 'WAPE'"),
        ({"metrics": ("MSIS",)}, "'0.025'"),
        ({"prediction_length": 2}, r"series 's' has shape \(3,\).*2 steps and starts at 2024-01-01 08:00"),
        ({"data": []}, "no series"),
        ({"data": [{"start": 0, "target": np.ones((2, 9)), "item_id": "d"}]}, "'d'.*one entry per dimension"),
        ({"freq": "fortnight"}, "fortnight"),
    ],
)
def test_errors_name_series_and_fix(arguments, message):
    chosen = {"data": entries(10, item_id="s"), "prediction_length": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        backtest(NaivePredictor(3), **chosen)


def test_a_frame_of_forecasts_is_checked_at_its_own_levels():
    data = entries(60, 60)
    made = backtest("naive", data, 4, quantile_levels=(0.025, 0.5, 0.975), metrics=()).forecasts
    ahead = made.drop(columns="target")
    found = backtest(ahead, data, 4, metrics=("coverage_95", "MSIS"))
    assert np.isfinite(found.metrics.to_numpy()).all()
    with pytest.raises(ValueError, match=r"a metric requires the forecast '0.1'"):
        backtest(ahead, data, 4, metrics=("coverage_80",))
    with pytest.raises(ValueError, match="OWA requires 'naive_2'"):
        backtest(ahead, data, 4, metrics=("OWA",))
    assert backtest(ahead.assign(naive_2=made["mean"]), data, 4, metrics=("OWA",)).metrics["OWA"].item() == 1
    with pytest.raises(ValueError, match=r"no row for .*; its first row is"):
        backtest(ahead.replace({"item_id": {"0": "x"}}), data, 4, metrics=())


def test_float32_levels_and_metric_definitions():
    result = backtest(NaivePredictor(2), entries(10), 2, quantile_levels=np.float32([0.1, 0.5]), metrics=("MAE",))
    assert result.quantile_levels == (0.1, 0.5)
    pd.testing.assert_index_equal(result.by(["window", "step"]).index, result.by(["item_id", "cutoff", "step"]).index)
    for column in ("foo", []):
        with pytest.raises(ValueError, match="use 'step', 'window', or columns among"):
            result.by(column)


def test_crossing_quantiles_warn_and_infinite_targets_raise():
    frame = backtest(NaivePredictor(2), entries(10), 2).forecasts
    with pytest.warns(UserWarning, match="the quantiles by 'x' cross in 2 rows, first in series '0' at 2024"):
        Backtest.from_frame(frame.assign(**{"0.1": 99.0}), name="x")
    with pytest.raises(ValueError, match=r"target of series '0' at .* is infinite"):
        Backtest.from_frame(frame.assign(target=np.inf))


def test_missing_forecasts_are_an_error():
    recorder = Recorder(3)
    recorder.predict = lambda data: nan_forecast(NaivePredictor(3).predict(data))
    with pytest.raises(ValueError, match=r"by 'r' of series '0' at 2024-01-01 07:00:00, made at .*, is NaN"):
        backtest(recorder, entries(10), prediction_length=3, name="r")
    recorder.predict = lambda data: []
    with pytest.raises(ValueError, match="'Recorder' returned 0 forecasts for 1 windows"):
        backtest(recorder, entries(10), prediction_length=3)
    with pytest.raises(ValueError, match=r"no columns \['cutoff', 'target'\]"):
        Backtest.from_frame(pd.DataFrame({"item_id": ["a"], "timestamp": [0]}))


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore:MASE. the seasonal error is 0")
@pytest.mark.parametrize(
    ("name", "season", "wql", "mase"),
    [("hospital", 12, 0.0625, 0.9205), ("m4_weekly", 1, 0.0609, 2.7773), ("covid_deaths", 1, 0.1267, 46.912)],
)
def test_seasonal_naive_equals_the_published_figures(name, season, wql, mase):
    if not (SHARED / name).exists():
        pytest.skip(f"benchmark data {name} is not here")
    metadata = json.loads((SHARED / name / "metadata" / "metadata.json").read_text())
    data = load_datasets(SHARED / name / "metadata", SHARED / name / "train", SHARED / name / "test").test
    length = metadata["prediction_length"]
    result = backtest(SeasonalNaivePredictor(length, season), data, prediction_length=length)
    assert result.metrics["WQL"].item() == pytest.approx(wql, abs=5e-5)
    assert result.metrics["MASE"].item() == pytest.approx(mase, abs=1e-3)


@pytest.mark.parametrize("data", [None, np.arange(9.0), [1.0, 2.0], {"a": 1}, 3])
def test_other_kinds_of_data_are_refused(data):
    for function in (lambda: backtest("naive", data, 4), lambda: compare({"naive": "naive"}, data, 4)):
        with pytest.raises(ValueError, match=f"a data frame or GluonTS entries, got {type(data).__name__}"):
            function()


@pytest.mark.parametrize(
    "evaluate", [lambda data: backtest("naive", data, 4), lambda data: compare({"naive": "naive"}, data, 4)]
)
def test_a_missing_file_is_named(evaluate):
    with pytest.raises(ValueError, match=r"there is no file, folder or pattern of files 'data\.csv'"):
        evaluate("data.csv")


@pytest.mark.parametrize("dtype", ["int64", "int32", "Int64", "category", "string", "string[pyarrow]", object])
def test_item_columns_keep_their_dtype(dtype):
    days = pd.date_range("2024-01-01", periods=20, freq="D")
    items = pd.Series([3] * 20 + [1] * 20).astype(str if "string" in str(dtype) else int).astype(dtype)
    df = pd.DataFrame({"shop": items, "day": [*days, *days], "sales": np.arange(40.0)})
    result = backtest("naive", df, 3, windows=2, columns={"item_id": "shop", "timestamp": "day", "target": "sales"})
    assert result.forecasts["shop"].dtype == df["shop"].dtype
    table = result.by("shop")
    assert table.index.dtype == df["shop"].dtype and table.index.tolist() == df["shop"].unique().tolist()
    assert len(result.by(["shop", "step"])) == 6
    with pytest.raises(ValueError, match=r"among \['shop', 'cutoff', 'day', 'sales', 'mean'"):
        result.by("hour")
