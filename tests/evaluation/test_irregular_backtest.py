"""Backtests of irregular series: inputs of the model, and evaluated values."""

import numpy as np
import pandas as pd
import pytest

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
    ):
        with pytest.raises(ValueError, match=message):
            backtest(**{"model": "constant", "data": entries(), **arguments})
