"""Backtests of irregular series: what a model is shown, and what is judged."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.evaluation import backtest_irregular

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
    """An estimator that keeps what it is shown, and forecasts the last value."""

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
    result = backtest_irregular(model, data, "5h", since=moments, quantile_levels=LEVELS)
    (trained,) = model.trained
    assert max(one["time"][-1] for one in trained) <= min(moments)
    for asked, moment in zip(model.shown, sorted(moments), strict=True):
        assert all(one["time"][-1] <= moment < one["query_time"][0] for one in asked)
    rows = result.forecasts.merge(pd.concat([pd.DataFrame(one) for one in data]), on="item_id")
    rows = rows[rows["timestamp"] == rows["time"]]
    assert len(rows) == len(result.forecasts) and rows["target_x"].equals(rows["target_y"])
    assert (result.forecasts["timestamp"] - result.forecasts["cutoff"]).max() <= pd.Timedelta("5h")


def test_a_window_that_two_cuts_share_counts_once():
    data = entries(count=1)
    gap = data[0]["time"][20] + (data[0]["time"][21] - data[0]["time"][20]) * np.array([0.25, 0.75])
    once = backtest_irregular("last_value", data, "5h", since=gap[0])
    twice = backtest_irregular("last_value", data, "5h", since=list(gap))
    pd.testing.assert_frame_equal(once.forecasts, twice.forecasts)


@pytest.mark.parametrize("dim", [1, 2])
def test_baselines_are_their_definitions(dim):
    data = entries(dim)
    last = backtest_irregular("last_value", data, count=4, quantile_levels=LEVELS, variables=["a", "b"][:dim])
    constant = backtest_irregular("constant", data, count=4, quantile_levels=LEVELS, variables=["a", "b"][:dim])
    past = np.concatenate([np.atleast_2d(one["target"])[:, :-4] for one in data], axis=1)
    for number, variable in enumerate("ab"[:dim]):
        for one in data:
            name = one["item_id"] if dim == 1 else f"{one['item_id']}:{variable}"
            rows = [result.forecasts[result.forecasts["item_id"] == name] for result in (last, constant)]
            assert (rows[0][["mean", "0.1", "0.9"]] == np.atleast_2d(one["target"])[number, -5]).all(axis=None)
            np.testing.assert_allclose(rows[1]["0.9"], np.nanquantile(past[number], 0.9))
            np.testing.assert_allclose(rows[1]["mean"], np.nanmean(past[number]))
    assert np.isclose(last.metrics["CRPS"], last.metrics["MAE"]).all()  # as of any forecast without a spread


def test_a_last_value_that_was_never_seen_is_the_mean_of_the_training():
    data = entries(2)
    data[0]["target"][1, :-4] = np.nan
    found = backtest_irregular("last_value", data, count=4).forecasts.query("item_id == 's0:1'")
    past = np.concatenate([one["target"][1, :-4] for one in data])
    np.testing.assert_allclose(found["mean"], np.nanmean(past))


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="'constant', 'last_value'"):
        backtest_irregular("median", entries(), count=2)
    with pytest.raises(ValueError, match="since="):
        backtest_irregular("constant", entries())
