"""Items of any kind in every method of S5Forecaster: they work, and come back as they were given."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster, regularize
from s5forecast.evaluation import Backtest, backtest, compare
from s5forecast.plotting.report import write_report

H = 4
SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=12, max_epochs=1, num_batches_per_epoch=1, batch_size=4,
    device="cpu",
)  # fmt: skip
STREAMING = {**SMALL, "lags_seq": [1], "layer_kwargs": {"bidirectional": False}, "patch_length": 1}
NAMES = ("b", "a")
TUPLES = {"b": ("B", 1), "a": ("A", 2)}


def objects(values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


# For each kind: item_id=, and the columns that replace the text column item_id.
KINDS = {
    "text": ("item_id", lambda names: {"item_id": names.to_numpy(dtype=object)}),
    "tuples": ("item_id", lambda names: {"item_id": objects([TUPLES[name] for name in names])}),
    "two columns": (
        ["store", "sku"],
        lambda names: {"store": names.map({"b": "B", "a": "A"}), "sku": names.map({"b": 1, "a": 2}).astype("int32")},
    ),
    "two categories": (
        ("store", "sku"),
        lambda names: {
            "store": names.map({"b": "B", "a": "A"}).astype("category"),
            "sku": names.map({"b": 1, "a": 2}).astype("category"),
        },
    ),
    "integers": ("item_id", lambda names: {"item_id": names.map({"b": 7, "a": 3})}),
    "nullable": ("item_id", lambda names: {"item_id": names.map({"b": 7, "a": 3}).astype("Int64")}),
    "categories": ("item_id", lambda names: {"item_id": pd.Categorical(names, ["a", "b", "c"])}),
    "codes": ("item_id", lambda names: {"item_id": names.map({"b": 7, "a": 3}).astype("category")}),
    "Arrow text": ("item_id", lambda names: {"item_id": names.astype("string[pyarrow]").array}),
    "dates": ("item_id", lambda names: {"item_id": names.map({"b": pd.Timestamp("2024"), "a": pd.Timestamp("2023")})}),
}


def frame(steps=48, irregular=False):
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=steps, freq="h")
    parts = [
        pd.DataFrame(
            {"item_id": name, "timestamp": times, "target": rng.normal(size=steps), "price": rng.normal(size=steps)}
        )
        for name in NAMES
    ]
    df = pd.concat(parts, ignore_index=True)
    if irregular:
        df["timestamp"] += pd.to_timedelta(rng.uniform(0, 40, len(df)).round(), "min")
    return df


def keyed(df, kind):
    _, columns = KINDS[kind]
    return pd.DataFrame({**columns(df["item_id"]), **df.drop(columns="item_id")}, index=df.index)


def identity(kind):
    return [KINDS[kind][0]] if isinstance(KINDS[kind][0], str) else list(KINDS[kind][0])


def fit(kind, df, irregular=False, **kwargs):
    own = {"freq": None, "horizon": "6h"} if irregular else {"prediction_length": H, "freq": "h"}
    small = {name: value for name, value in STREAMING.items() if name != "patch_length" and name != "lags_seq"}
    arguments = {"estimator_kwargs": small if irregular else STREAMING, "known": ["price"], "verbose": False, **own}
    return S5Forecaster(item_id=KINDS[kind][0], **{**arguments, **kwargs}).fit(keyed(df, kind))


def check(found, expected, kind):
    """The forecasts of text items, with the items of another kind."""
    names, df = identity(kind), keyed(frame(), kind)
    assert found.columns[: len(names)].tolist() == names
    assert found[names].dtypes.tolist() == df[names].dtypes.tolist()
    keys = keyed(expected[["item_id"]], kind)
    for name in names:
        assert found[name].tolist() == keys[name].tolist()
    pd.testing.assert_frame_equal(found.drop(columns=names), expected.drop(columns="item_id"))


def check_backtest(found, expected, kind):
    """The result of a backtest of text items, with the items of another kind."""
    names, keys = identity(kind), keyed(expected.forecasts[["item_id"]], kind)
    for name in names:
        given = keys[name].tolist()
        assert found.forecasts[name].tolist() == given
        for by in (name, [name, "step"]):
            assert set(found.by(by).index.get_level_values(name)) == set(given)
    if len(names) == 1:
        assert set(found.by("window").index.get_level_values(name)) == set(given)
        again = Backtest.from_frame(found.forecasts, found.seasonal_error, item_id=name, metrics=found.metric_names)
        assert again.by(name).sort_index().equals(found.by(name).sort_index())
        chosen = found.forecasts[[one == given[0] for one in found.forecasts[name]]]
        assert replace(found, forecasts=chosen).by(name).index.tolist() == given[:1]
        assert found.rows["item_id"].map(type).isin([str, int]).all()


def ahead(df, kind="text"):
    return keyed(df.groupby("item_id", sort=False).tail(H).drop(columns="target"), kind).reset_index(drop=True)


def history(df, kind="text"):
    return keyed(df[df.groupby("item_id").cumcount(ascending=False) >= H], kind)


@pytest.fixture(scope="module")
def regular():
    df = frame()
    model = fit("text", df[df.groupby("item_id").cumcount(ascending=False) >= H])
    return model, model.predict(future=ahead(df))


@pytest.fixture(scope="module")
def irregular():
    df = frame(irregular=True)
    model = fit("text", df[df.groupby("item_id").cumcount(ascending=False) >= H], irregular=True)
    return model, model.predict(times=ahead(df))


@pytest.mark.parametrize("kind", KINDS)
def test_regular_series(kind, regular, tmp_path):
    df, (plain, expected) = frame(), regular
    known, past = ahead(df, kind), history(df, kind)
    model = fit(kind, df[df.groupby("item_id").cumcount(ascending=False) >= H])
    check(model.predict(future=known), expected, kind)
    check(model.predict(past, known), expected, kind)
    model.save(tmp_path / "model")
    loaded = S5Forecaster.load(tmp_path / "model")
    check(loaded.predict(past, known), expected, kind)
    assert len(model.to_gluonts(past, known)) == 2
    assert model.plot(expected.pipe(keyed, kind), past).data
    first = keyed(expected[["item_id"]], kind)[identity(kind)].iloc[0].tolist()
    chosen = model.plot(expected.pipe(keyed, kind), items=[tuple(first) if len(first) > 1 else first[0]])
    assert len(chosen.data) and not chosen.layout.updatemenus
    history_frame = model.sampling_.history_frame(model.history_)
    check(history_frame, plain.sampling_.history_frame(plain.history_), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_regular_streams(kind, regular, tmp_path):
    df, (model, expected) = frame(), regular
    other = fit(kind, df[df.groupby("item_id").cumcount(ascending=False) >= H])
    early = df.groupby("item_id").cumcount() < 30
    late = ~early & (df.groupby("item_id").cumcount(ascending=False) >= H)
    expected = model.stream(df[early]).update(df[late]).predict(future=ahead(df))
    stream = other.stream(keyed(df[early], kind)).update(keyed(df[late], kind))
    check(stream.predict(future=ahead(df, kind)), expected, kind)
    names = keyed(df, kind)[identity(kind)].drop_duplicates()
    found = list(names.itertuples(index=False, name=None)) if len(names.columns) > 1 else names.iloc[:, 0].tolist()
    assert stream.items == found
    stream.save(tmp_path)
    restored = other.stream(saved=tmp_path)
    again = restored.predict(future=ahead(df, kind))
    assert restored.items == found
    check(again, expected, kind)


PLAIN = {"quantile_levels": [0.1, 0.5, 0.9]}
WINDOWS = {"windows": 2, "metrics": ["WQL", "MASE"]}


def calibrated(model, df):
    return model.calibrate(df, windows=4, step=2, method="split", scale="item", per_step=False)


@pytest.fixture(scope="module")
def of_text():
    """The backtest and the calibrated forecast of text items."""
    df = frame()
    model = fit("text", df[df.groupby("item_id").cumcount(ascending=False) >= H], **PLAIN)
    return model.backtest(df, **WINDOWS), calibrated(model, df).predict(future=ahead(df))


@pytest.mark.parametrize("kind", KINDS)
def test_backtest_calibrate_and_compare(kind, of_text):
    df, (expected, forecast) = frame(), of_text
    names, given = identity(kind), keyed(df, kind)
    model = fit(kind, df[df.groupby("item_id").cumcount(ascending=False) >= H], **PLAIN)
    found = model.backtest(given, **WINDOWS)
    np.testing.assert_array_equal(found.forecasts["0.5"], expected.forecasts["0.5"])
    assert found.metrics[WINDOWS["metrics"]].equals(expected.metrics[WINDOWS["metrics"]])
    check_backtest(found, expected, kind)
    for name in names:
        np.testing.assert_array_equal(found.by(name)["WQL"].sort_values(), expected.by("item_id")["WQL"].sort_values())
    both = compare({"model": model, "naive": "naive"}, given, prediction_length=H, metrics=["WQL"])
    assert all(np.isfinite(one.metrics["WQL"]).all() for one in both.backtests.values())
    if len(names) == 1:
        assert set(both.by_item().index) == set(given[names[0]])
        ready = backtest(found.forecasts.drop(columns="target"), given, H, **WINDOWS)
        pd.testing.assert_frame_equal(ready.forecasts, found.forecasts)
    check(calibrated(model, given).predict(future=ahead(df, kind)), forecast, kind)


@pytest.mark.parametrize("kind", ["tuples", "two columns", "dates"])
def test_report(kind):
    given = keyed(frame(), kind)
    found = backtest("naive", given, H, windows=2, columns={"item_id": KINDS[kind][0]})
    assert "Backtest windows" in write_report(found, history=given)


@pytest.mark.parametrize("kind", KINDS)
def test_irregular_series(kind, irregular, tmp_path):
    df, (model, expected) = frame(irregular=True), irregular
    past = df[df.groupby("item_id").cumcount(ascending=False) >= H]
    other = fit(kind, past, irregular=True)
    check(other.predict(times=ahead(df, kind)), expected, kind)
    check(other.predict(keyed(past, kind), times=ahead(df, kind)), expected, kind)
    early = past.groupby("item_id").cumcount() < 30
    stream = other.stream(keyed(past[early], kind)).update(keyed(past[~early], kind))
    from_stream = stream.predict(times=ahead(df, kind))
    check(from_stream, model.stream(past[early]).update(past[~early]).predict(times=ahead(df)), kind)
    stream.save(tmp_path)
    again = other.stream(saved=tmp_path).predict(times=ahead(df, kind))
    pd.testing.assert_frame_equal(again, from_stream)
    bt, plain = other.backtest(keyed(df, kind), count=3, metrics=["MAE"]), model.backtest(df, count=3, metrics=["MAE"])
    assert bt.metrics["MAE"].equals(plain.metrics["MAE"])
    assert len(bt.by(identity(kind))) == 2
    check_backtest(bt, plain, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_irregular_series_of_a_stream_and_a_grid(kind):
    df = frame(irregular=True)
    only = df["item_id"] == "b"
    model = fit(kind, df[only], irregular=True, known=[])
    found = model.stream().update(keyed(df[~only], kind)).predict(horizon="2h", every="1h")
    names = identity(kind)
    keys = keyed(df, kind)[names].drop_duplicates().loc[lambda one: one.index.repeat(2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[names], keys)


@pytest.mark.parametrize("kind", ["tuples", "two columns", "two categories", "integers"])
@pytest.mark.parametrize("name", ["autoregressive", "multivariate"])
def test_sample_paths(kind, name, tmp_path):
    df = frame()
    past = df[df.groupby("item_id").cumcount(ascending=False) >= H]
    models = [fit(one, past, model=name, estimator_kwargs=SMALL, known=[]) for one in ("text", kind)]
    expected, found = (one.predict() for one in models)
    check(found, expected, kind)
    paths = [one.predict_samples(num_samples=3) for one in models]
    assert paths[1].columns.tolist() == [*identity(kind), "timestamp", "sample_0", "sample_1", "sample_2"]
    models[1].save(tmp_path)
    check(S5Forecaster.load(tmp_path).predict(history(df, kind)), expected, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_regularize(kind):
    df = frame(irregular=True)
    expected, found = (regularize(keyed(df, one), "h", item_id=KINDS[one][0]) for one in ("text", kind))
    check(found.frame, expected.frame, kind)
    assert found.merged.tolist() == expected.merged.tolist() and found.added.tolist() == expected.added.tolist()
    first = keyed(df, kind)[identity(kind)].iloc[0].tolist()
    assert found.merged.index[0] == (tuple(first) if len(first) > 1 else first[0])


def check_skipped(found, kind, name="b"):
    """One series, ``b`` by default, was left out and is named as it is in the frame."""
    given = keyed(frame()[["item_id"]], kind)[frame()["item_id"] == name].iloc[:1].reset_index(drop=True)
    assert list(found) == [*identity(kind), "reason"] and found.index.tolist() == [0]
    pd.testing.assert_frame_equal(found.drop(columns="reason"), given)


def bad(df):
    """The frame with an infinite value of the series b."""
    return df.assign(target=df["target"].mask((df["item_id"] == "b") & (df.groupby("item_id").cumcount() == 3), np.inf))


@pytest.mark.filterwarnings("ignore:.*left out")
@pytest.mark.parametrize("kind", KINDS)
def test_series_that_are_left_out(kind):
    df = frame()
    good = df[df["item_id"] == "a"]
    model = fit(kind, bad(df), on_error="skip")
    check_skipped(model.skipped_, kind)
    known = ahead(df, kind).assign(timestamp=lambda one: one["timestamp"] + pd.Timedelta(hours=H))
    model.predict(keyed(bad(df), kind), known)
    check_skipped(model.skipped_, kind)
    model.predict(keyed(df, kind), known[(known["timestamp"] > "2030") | (np.arange(2 * H) >= H)])
    check_skipped(model.skipped_, kind)
    stream = model.stream(keyed(df, kind))
    assert model.skipped_.empty and list(model.skipped_) == [*identity(kind), "reason"]
    stream.predict(known[np.arange(2 * H) >= H])
    check_skipped(model.skipped_, kind)
    columns = {"item_id": KINDS[kind][0], "known": ["price"]}
    for rows in (bad(df), pd.concat([df[df["item_id"] == "b"].head(H), good])):
        check_skipped(backtest("naive", keyed(rows, kind), H, freq="h", columns=columns, on_error="skip").skipped, kind)
    both = compare({"naive": "naive", "own": model}, keyed(bad(df), kind), H, on_error="skip").backtests
    for one in both.values():
        check_skipped(one.skipped, kind)


@pytest.mark.filterwarnings("ignore:.*left out")
@pytest.mark.parametrize("kind", ["tuples", "two columns", "two categories", "dates"])
def test_irregular_series_that_are_left_out(kind):
    df = frame(irregular=True)
    model = fit(kind, bad(df), irregular=True, on_error="skip")
    check_skipped(model.skipped_, kind)
    found = model.backtest(keyed(bad(df), kind), count=H)
    check_skipped(found.skipped, kind)
    check_skipped(model.skipped_, kind)
    short = pd.concat([df[df["item_id"] == "b"].head(2), df[df["item_id"] == "a"]])
    found = model.backtest(keyed(short, kind), count=H)
    check_skipped(found.skipped, kind)
    assert "no observations both before and after a cut" in found.skipped["reason"][0]
