"""Backtests of irregular series: inputs of the model, and evaluated values."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from s5forecast.evaluation import backtest, compare

START = pd.Timestamp("2024-01-01")
LEVELS = (0.1, 0.5, 0.9)


def entries(dim=1, count=3, n=40):
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        time = START + pd.to_timedelta(np.cumsum(rng.uniform(0.2, 2, n)), "h")
        target = rng.normal(number, 1, (dim, n))
        target[:, 3] = np.nan
        made.append({"item_id": f"s{number}", "time": time, "target": target if dim > 1 else target[0]})
    return made


class Recorder:
    """An estimator that records its inputs and forecasts the last value."""

    def __init__(self):
        self.trained, self.shown = [], []

    def train(self, data):
        self.trained.append(data)
        return self

    def predict_quantiles(self, asked, levels):
        self.shown.append(asked)
        last = [np.atleast_2d(one["target"])[:, -1] for one in asked for _ in one["query_time"]]
        return np.array(last), np.repeat(np.array(last)[..., None], len(levels), axis=-1)


def test_a_model_is_trained_once_before_the_first_cut_and_shown_each_history():
    moments = [START + pd.Timedelta(hours=h) for h in (20, 12)]
    model, data = Recorder(), entries()
    result = backtest(model, data, horizon="5h", since=moments, quantile_levels=LEVELS)
    (trained,) = model.trained
    assert max(one["time"][-1] for one in trained) <= min(moments)
    for asked, moment in zip(model.shown, sorted(moments), strict=True):
        assert all(one["time"][-1] <= moment < one["query_time"][0] for one in asked)
    rows = result.forecasts.merge(pd.concat([pd.DataFrame(one) for one in data]), on="item_id")
    rows = rows[rows["timestamp"] == rows["time"]]
    assert len(rows) == len(result.forecasts) and rows["target_x"].equals(rows["target_y"])
    assert (result.forecasts["timestamp"] - result.forecasts["cutoff"]).max() <= pd.Timedelta("5h")


def test_window_of_two_cuts_is_counted_once():
    data = entries(count=1)
    gap = data[0]["time"][20] + (data[0]["time"][21] - data[0]["time"][20]) * np.array([0.25, 0.75])
    once = backtest("last_value", data, horizon="5h", since=gap[0])
    twice = backtest("last_value", data, horizon="5h", since=list(gap))
    pd.testing.assert_frame_equal(once.forecasts, twice.forecasts)


@pytest.mark.parametrize("dim", [1, 2])
def test_baselines_are_their_definitions(dim):
    data = entries(dim)
    last = backtest("last_value", data, count=4, quantile_levels=LEVELS, variables=["a", "b"][:dim])
    constant = backtest("constant", data, count=4, quantile_levels=LEVELS, variables=["a", "b"][:dim])
    past = np.concatenate([np.atleast_2d(one["target"])[:, :-4] for one in data], axis=1)
    for number, variable in enumerate("ab"[:dim]):
        for one in data:
            name = one["item_id"] if dim == 1 else f"{one['item_id']}:{variable}"
            rows = [result.forecasts[result.forecasts["item_id"] == name] for result in (last, constant)]
            assert (rows[0][["mean", "0.1", "0.9"]] == np.atleast_2d(one["target"])[number, -5]).all(axis=None)
            np.testing.assert_allclose(rows[1]["0.9"], np.nanquantile(past[number], 0.9))
            np.testing.assert_allclose(rows[1]["mean"], np.nanmean(past[number]))
    assert np.isclose(last.metrics["CRPS"], last.metrics["MAE"]).all()  # equal for any forecast with zero spread


def test_last_value_without_observation_is_the_training_mean():
    data = entries(2)
    data[0]["target"][1, :-4] = np.nan
    found = backtest("last_value", data, count=4).forecasts.query("item_id == 's0:1'")
    past = np.concatenate([one["target"][1, :-4] for one in data])
    np.testing.assert_allclose(found["mean"], np.nanmean(past))


def frame(data):
    parts = [pd.DataFrame({"item_id": one["item_id"], "timestamp": one["time"], "y": one["target"]}) for one in data]
    return pd.concat(parts, ignore_index=True)


def test_a_frame_gives_the_same_as_its_entries():
    data = entries()
    found, expected = (
        backtest("last_value", one, horizon="5h", count=4, **names).forecasts
        for one, names in ((frame(data), {"variables": ["y"]}), (data, {}))
    )
    pd.testing.assert_frame_equal(found, expected)


def test_refitting_at_every_origin():
    moments = [START + pd.Timedelta(hours=h) for h in (12, 20, 25)]
    model = Recorder()
    backtest(model, entries(), horizon="5h", since=moments, refit=True)
    for trained, moment in zip(model.trained, moments, strict=True):
        assert max(one["time"][-1] for one in trained) <= moment
        assert max(one["time"][-1] for one in trained) > moment - pd.Timedelta("5h")


def test_an_interrupted_backtest_is_resumed(tmp_path):
    moments = [START + pd.Timedelta(hours=h) for h in (12, 20)]
    given = {"horizon": "5h", "since": moments, "directory": tmp_path}
    straight = backtest("constant", entries(), **given)
    (tmp_path / "origin_0001.npz").unlink()
    pd.testing.assert_frame_equal(backtest("constant", entries(), **given).forecasts, straight.forecasts)
    with pytest.raises(ValueError, match="another windows"):
        backtest("constant", entries(), **{**given, "since": moments[:1]})
    parallel = backtest("constant", entries(), horizon="5h", since=moments, n_jobs=2)
    pd.testing.assert_frame_equal(parallel.forecasts, straight.forecasts)


@pytest.mark.parametrize("dim", [1, 2])
def test_forecasts_from_other_sources(dim):
    made = backtest("last_value", entries(dim), horizon="5h", count=4, name="model")
    found = backtest(made.forecasts.drop(columns="target"), entries(dim), horizon="5h", count=4, name="model")
    pd.testing.assert_frame_equal(found.forecasts, made.forecasts)


def test_models_of_irregular_series_are_compared():
    models = {"constant": "constant", "last_value": "last_value"}
    found = compare(models, entries(), since=[START + pd.Timedelta(hours=h) for h in (12, 20, 28)], horizon="5h")
    assert found.baseline == "last_value" and found.leaderboard().index[0] == "constant"
    assert list(found.leaderboard().columns[2:6]) == ["WQL", "CRPS", "MAE", "coverage_80"]


class Forecaster(BaseEstimator):
    """A forecaster of frames: the mean of the training data plus the last value, the price and the size."""

    def __init__(self, target=("wind", "rain"), freq=None, horizon="5h", prediction_length=None):
        self.target, self.freq, self.horizon, self.prediction_length = target, freq, horizon, prediction_length
        self.item_id, self.timestamp, self.known, self.static = "site", "when", ("price",), ("size",)

    def fit(self, df):
        self.mean_, self.trained_until_ = df[list(self.target)].mean(), df["when"].max()
        return self

    def predict(self, df, *, times, quantile_levels):
        assert list(times) == ["site", "when", "price"] and not set(self.target) - set(df)
        assert times["when"].min() > df["when"].min()
        last = df.groupby("site")[list(self.target)].last()
        size = times["site"].map(df.groupby("site")["size"].first())
        found = times[["site", "when"]].copy()
        for target in self.target:
            value = self.mean_[target] + times["site"].map(last[target]) + times["price"] + size
            for column in ("mean", *map(str, quantile_levels)):
                found[column if len(self.target) == 1 else f"{target}_{column}"] = value
        return found


def sites():
    parts = []
    for number, one in enumerate(entries(2)):
        rows = {"wind": one["target"][0], "rain": one["target"][1], "price": np.arange(40) % 3.0, "size": 10 * number}
        parts.append(pd.DataFrame({"site": one["item_id"], "when": one["time"], **rows}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("targets", [("wind",), ("wind", "rain")])
def test_a_forecaster_of_irregular_frames_is_compared(targets):
    df, moments = sites(), [START + pd.Timedelta(hours=h) for h in (12, 20)]
    found = compare({"own": Forecaster(targets), "last": "last_value"}, df, since=moments)
    assert found.baseline == "last"
    rows = found.backtests["own"].rows
    assert (rows["timestamp"] - rows["cutoff"]).max() <= pd.Timedelta("5h")  # the horizon of the forecaster
    trained = df[df["when"] <= moments[0]]
    for row in rows.itertuples():
        site, _, name = row.item_id.partition(":")
        name = name or "wind"
        part = df[df["site"] == site].set_index("when")
        last = part.loc[: row.cutoff, name].dropna().iloc[-1]
        at = part.loc[row.timestamp]
        np.testing.assert_allclose(row.mean, trained[name].mean() + last + at["price"] + at["size"], rtol=1e-6)
        np.testing.assert_equal(row.target, at[name])
    single = backtest(Forecaster(targets).fit(trained), df, since=moments)
    pd.testing.assert_frame_equal(single.rows, rows)
    assert single.columns.item_id == "site" and single.by("site").index.name == "site"
    refitted = backtest(Forecaster(targets), df, since=moments, refit=True).rows
    later = refitted["cutoff"] > rows["cutoff"].min() + pd.Timedelta("8h")
    assert later.any() and not np.isclose(refitted["mean"], rows["mean"])[later].any()


def test_forecasters_of_the_other_kind_of_series_are_refused():
    with pytest.raises(ValueError, match=r"regular series .freq='h'.; pass windows="):
        backtest(Forecaster(freq="h"), sites(), count=2)
    with pytest.raises(ValueError, match=r"irregular series .freq=None.; cut them with since="):
        backtest(Forecaster(("wind",), prediction_length=3, horizon=None), regular(), windows=2)
    with pytest.raises(ValueError, match="on a DataFrame"):
        backtest(Forecaster(), entries(2), count=2)


def regular():
    return pd.DataFrame({"site": "a", "when": pd.date_range(START, periods=30), "wind": 1.0, "price": 1.0, "size": 1})


def test_wrong_arguments_are_named():
    for arguments, message in (
        ({"model": "median", "count": 2}, "'constant', 'last_value'"),
        ({}, "since="),
        ({"count": 2, "windows": 2}, "windows=, step= and season= require regular series"),
        ({"count": 2, "freq": "h"}, "freq='h' requires regular series"),
        ({"count": 2, "metrics": ("MASE",)}, "irregular series have none"),
        ({"count": 2, "samples": True}, "draws no sample paths"),
        ({"count": 2, "variables": ["a", "b"]}, "series 's0' has 1 variables"),
        ({"count": 2, "model": object()}, "object is not an estimator"),
        ({"horizon": "5h"}, "exactly one of since="),
        (
            {"horizon": "5h", "since": "1500-01-01"},
            "since='1500-01-01' is out of range, because timestamps are supported",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            backtest(**{"model": "constant", "data": entries(), **arguments})


def test_variables_of_series_named_by_tuples_keep_their_labels():
    times = pd.date_range("2024", periods=20, freq="h")
    frames = [
        pd.DataFrame({"item_id": [item] * 20, "timestamp": times, "x": np.arange(20.0), "y": np.ones(20)})
        for item in (("a", 1), ("b", 2))
    ]
    found = backtest("last_value", pd.concat(frames), count=2, variables=["x", "y"])
    assert found.forecasts["item_id"].unique().tolist() == ["('a', 1):x", "('a', 1):y", "('b', 2):x", "('b', 2):y"]
    alone = backtest("last_value", pd.concat(frames), count=2, columns={"target": "x"})
    assert alone.forecasts["item_id"].unique().tolist() == [("a", 1), ("b", 2)]
