"""Neither the order of the rows nor the names of the series change trained models and forecasts."""

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import ListDataset

from s5forecast import S5AutoregressiveEstimator, S5Estimator, S5Forecaster
from s5forecast.data.content import _in_order_of_others, by_content, content_order

SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "batch_size": 4, "num_batches_per_epoch": 4,
    "max_epochs": 1, "device": "cpu", "trainer_kwargs": {"enable_progress_bar": False},
}  # fmt: skip
REGULAR = {"prediction_length": 4, "freq": "h", "verbose": False}
KINDS = {
    "direct": REGULAR,
    "ensemble": {**REGULAR, "estimator_kwargs": {**SMALL, "num_members": 2}},
    "decoder": {**REGULAR, "model": "autoregressive", "estimator_kwargs": {**SMALL, "recursion": "decoder"}},
    "encoder": {**REGULAR, "model": "autoregressive", "estimator_kwargs": {**SMALL, "recursion": "encoder"}},
    "multivariate": {**REGULAR, "model": "multivariate", "estimator_kwargs": {**SMALL, "rank": 2}},
    "irregular": {"horizon": "4h", "freq": None, "verbose": False},
}
METRICS = ["WQL", "MASE"]
NAMES = {"a": "z", "b": "m", "c": "k", "d": "y"}


def frame(kind, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for number, item in enumerate(NAMES):
        length = 60 if kind == "multivariate" else 50 + 5 * number
        target = rng.poisson(5 + 4 * np.sin(np.arange(length) * np.pi / 3 + number)) * 10.0**number
        stamps = pd.date_range("2024-01-01", periods=length, freq="h")
        parts.append(pd.DataFrame({"item_id": item, "timestamp": stamps, "target": target, "shop": "xyxx"[number]}))
    df = pd.concat(parts, ignore_index=True)
    return df.drop(columns="shop") if kind == "multivariate" else df


def forecaster(kind):
    static = [] if kind == "multivariate" else ["shop"]
    return S5Forecaster(**{"estimator_kwargs": SMALL, "static": static, **KINDS[kind]})


def shuffled(df):
    return df.sample(frac=1.0, random_state=1, ignore_index=True)


def renamed(df):
    return shuffled(df.assign(item_id=df["item_id"].replace(NAMES)))


def restored(forecast):
    names = {new: old for old, new in NAMES.items()}
    return by_item(forecast.assign(item_id=forecast["item_id"].replace(names)))


def by_item(forecast):
    return forecast.sort_values(["item_id", "timestamp"], ignore_index=True)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_in_another_order_and_other_names_give_the_same_forecasts(kind):
    df, asked = frame(kind), {"every": "1h"} if kind == "irregular" else {}
    first, second = (forecaster(kind).fit(data, validation=data) for data in (df, renamed(df)))
    expected = by_item(first.predict(**asked))
    order = list(second.predict(**asked)["item_id"].unique())
    assert order == list(renamed(df)["item_id"].unique()), "forecasts are not in the order of first appearance"
    pd.testing.assert_frame_equal(restored(second.predict(**asked)), expected, rtol=1e-6)
    again = shuffled(df) if kind == "multivariate" else renamed(df)  # of which the names are known
    pd.testing.assert_frame_equal(restored(first.predict(again, **asked)), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["decoder", "encoder", "multivariate"])
def test_sample_paths_do_not_depend_on_the_order_of_the_series(kind):
    df = frame(kind)
    fitted = forecaster(kind).fit(df)
    first = by_item(fitted.predict_samples(num_samples=7))
    pd.testing.assert_frame_equal(by_item(fitted.predict_samples(shuffled(df), num_samples=7)), first, rtol=1e-6)


@pytest.mark.parametrize("kind", ["decoder", "encoder"])
def test_batches_do_not_depend_on_the_order_of_the_series(kind):
    df = frame(kind)
    kwargs = {**KINDS[kind]["estimator_kwargs"], "predict_batch_size": 3}
    fitted = forecaster(kind).set_params(estimator_kwargs=kwargs).fit(df)
    for predict in (fitted.predict, lambda data: fitted.predict_samples(data, num_samples=3)):
        pd.testing.assert_frame_equal(restored(predict(renamed(df))), by_item(predict(df)), rtol=1e-6)


def test_streams_do_not_depend_on_the_order_of_the_series():
    df = frame("encoder")
    fitted = forecaster("encoder").fit(df)
    first = by_item(fitted.stream(df).predict())
    pd.testing.assert_frame_equal(restored(fitted.stream(renamed(df)).predict()), first, rtol=1e-6)


def test_backtests_do_not_depend_on_the_order_of_the_series():
    df = frame("direct")
    first, second = (forecaster("direct").backtest(data, windows=2) for data in (df, renamed(df)))
    pd.testing.assert_frame_equal(first.metrics[METRICS], second.metrics[METRICS], rtol=1e-6)


@pytest.mark.parametrize("cls", [S5Estimator, S5AutoregressiveEstimator])
def test_entries_in_another_order_give_the_same_predictor(cls):
    rows = [
        {"item_id": item, "start": "2024-01-01", "target": one["target"]} for item, one in frame("").groupby("item_id")
    ]
    given, backwards = ListDataset(rows, "h"), ListDataset(rows[::-1], "h")
    first, second = (cls("h", 4, **SMALL).train(data, data) for data in (given, backwards))
    assert first == second
    for one, other in zip(first.predict(given), list(second.predict(backwards))[::-1], strict=True):
        np.testing.assert_allclose(one.quantile(0.9), other.quantile(0.9), rtol=1e-6)


def test_content_includes_values_and_features_but_no_names():
    start = pd.Period("2024-01-01", "h")
    entries = [
        {"item_id": "a", "start": start, "target": np.array([1.0, 2.0])},
        {"item_id": "b", "start": start + 1, "target": np.array([1.0, 2.0])},
        {"item_id": "c", "start": start, "target": [3.0, 2.0], "feat_dynamic_real": [[1, 2]]},
        {"item_id": "d", "start": start, "target": [3.0, 2.0], "feat_dynamic_real": [[1, 3]], "info": object()},
        {"item_id": "e", "start": start, "target": [3.0, 2.0], "feat_static_cat": [1]},
    ]
    found = [entries[position]["item_id"] for position in content_order(entries)]
    backwards = [entries[::-1][position]["item_id"] for position in content_order(entries[::-1])]
    assert found == backwards and sorted(found) == list("abcde")
    other_names = [{**entry, "item_id": None} for entry in entries]
    assert content_order(other_names).tolist() == content_order(entries).tolist()


def test_entries_without_a_name_are_named_by_their_position():
    entries = [{"target": np.array([float(number)])} for number in (5, 3, 4)]
    assert {entry["item_id"]: entry["target"][0] for entry in by_content(entries)} == {0: 5, 1: 3, 2: 4}


def test_other_units_keep_the_order_of_the_content():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 30))
    values[3, 5] = np.nan
    first, second = ([{"start": pd.Period(start, "h"), "target": factor * one} for one in values]
                     for start, factor in (("2024-01-01", 1.0), ("1999-01-01", 1000.0)))  # fmt: skip
    assert content_order(first).tolist() == content_order(second).tolist() != list(range(20))


def test_the_order_is_that_of_all_hashes():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 5, (300, 4)).astype(np.uint64)  # many equal ones
    order = _in_order_of_others(np.argsort(words[:, 0], kind="stable"), words)
    assert order.tolist() == np.lexsort(words.T[::-1]).tolist()
