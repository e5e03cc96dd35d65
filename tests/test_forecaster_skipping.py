"""Series with invalid data are left out with on_error="skip", and named."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster, backtest
from s5forecast.data.faults import SeriesError
from s5forecast.evaluation import compare

H = 4
SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 1, "max_epochs": 1,
    "layer_kwargs": {"bidirectional": False}, "patch_length": 1,
}  # fmt: skip


def series(item, length=40, start="2024-01-01"):
    stamps = pd.date_range(start, periods=length, freq="h")
    target = np.random.default_rng(len(item)).normal(size=length)
    return pd.DataFrame({"item_id": item, "timestamp": stamps, "target": target, "price": 1.0, "shop": "x"})


def changed(item, column, row, value):
    one = series(item)
    one[column] = one[column].astype(object if column == "shop" else one[column].dtype)
    one.loc[row, column] = value
    return one


FAULTS = {
    "empty": (series("bad").assign(target=np.nan), "no observed value"),
    "repeated": (pd.concat([series("bad"), series("bad").tail(1)]), "more than once"),
    "infinite": (changed("bad", "target", 3, np.inf), "infinite"),
    "infinite known": (changed("bad", "price", 3, np.inf), "infinite"),
    "static": (changed("bad", "shop", 3, "y"), "changes within the series"),
    "off the grid": (changed("bad", "timestamp", 39, pd.Timestamp("2024-01-02 15:30")), "not on the"),
    "missing time": (changed("bad", "timestamp", 3, pd.NaT), "missing timestamps"),
}


def good():
    return pd.concat([series("a"), series("b")], ignore_index=True)


def forecaster(**kwargs):
    return S5Forecaster(**{
        "prediction_length": H, "freq": "h", "known": ["price"], "static": ["shop"], "verbose": False,
        "on_error": "skip", "estimator_kwargs": SMALL, **kwargs,
    })  # fmt: skip


def future(*items):
    return pd.concat([series(item, H, "2024-01-02 16:00") for item in items])[["item_id", "timestamp", "price"]]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_series_is_left_out_and_named(fault):
    bad, reason = FAULTS[fault]
    df = pd.concat([series("a"), bad, series("b")], ignore_index=True)
    with pytest.raises(ValueError, match="series 'bad'"):
        forecaster(on_error="raise").fit(df)
    expected = forecaster().fit(good())
    assert expected.skipped_.empty and list(expected.skipped_) == ["item_id", "reason"]
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'; series 'bad'"):
        fitted = forecaster().fit(df, validation=good())
    assert list(fitted.skipped_["item_id"]) == ["bad"] and reason in fitted.skipped_["reason"][0]
    with pytest.warns(UserWarning, match="left out: 'bad'"):
        found = expected.predict(df, future("a", "b"))
    pd.testing.assert_frame_equal(found, expected.predict(good(), future("a", "b")))
    with pytest.warns(UserWarning, match="left out: 'bad'"):
        result = expected.backtest(df, metrics=["MAE"])
    assert list(result.skipped["item_id"]) == ["bad"] and set(result.forecasts["item_id"]) == {"a", "b"}
    with pytest.warns(UserWarning, match="left out: 'bad'"):
        assert expected.stream(df).items == ["a", "b"]


def test_several_series_and_reasons():
    df = pd.concat([series("a"), *(one.assign(item_id=name) for name, (one, _) in FAULTS.items()), series("b")])
    with pytest.warns(UserWarning, match=f"{len(FAULTS)} series are left out: .* and {len(FAULTS) - 5} more"):
        fitted = forecaster().fit(df)
    reasons = dict(fitted.skipped_.to_numpy())
    assert set(reasons) == set(FAULTS) and all(FAULTS[name][1] in reason for name, reason in reasons.items())
    with pytest.raises(ValueError, match="no observed value"):
        forecaster().fit(FAULTS["empty"][0])


def test_series_without_future_rows():
    fitted = forecaster().fit(good())
    with pytest.warns(UserWarning, match=r"left out: 'b'; series 'b': future= has no rows"):
        assert set(fitted.predict(good(), future("a"))["item_id"]) == {"a"}
    with pytest.warns(UserWarning, match=r"left out: 'b'"):
        assert set(fitted.predict(future=future("a"))["item_id"]) == {"a"}
    stream = fitted.stream()
    with pytest.warns(UserWarning, match=r"left out: 'a'"):
        found = stream.predict(future("b"))
    both = stream.predict(future("a", "b"))
    expected = both[both["item_id"] == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="future= has no rows"):
        stream.predict(future("c"))


def test_series_that_are_too_short_for_the_windows():
    df = pd.concat([good(), series("short", 6)])
    for found in (
        lambda **kwargs: backtest("naive", df, H, windows=2, **kwargs),
        lambda **kwargs: compare({"n": "naive"}, df, H, windows=2, **kwargs).backtests["n"],
    ):
        with pytest.raises(ValueError, match="series 'short' has 6 values"):
            found()
        with pytest.warns(UserWarning, match="left out: 'short'; series 'short' has 6 values"):
            result = found(on_error="skip")
        assert list(result.skipped["item_id"]) == ["short"] and set(result.forecasts["item_id"]) == {"a", "b"}
    assert backtest("naive", good(), H).skipped is None
    with pytest.warns(UserWarning, match="left out: 'short'"):
        calibrated = forecaster(known=[], quantile_levels=[0.4, 0.5, 0.6]).fit(good()).calibrate(df, windows=3)
    assert len(calibrated.predict()) == 2 * H


def test_a_comparison_names_skipped_series_once():
    df = pd.concat([good(), series("short", 6)])
    with pytest.warns(UserWarning, match="left out: 'short'") as caught:
        found = compare({"n": "naive", "d": "drift"}, df, H, windows=2, on_error="skip")
    assert len(caught) == 1
    assert all(list(one.skipped["item_id"]) == ["short"] for one in found.backtests.values())
    with pytest.warns(UserWarning, match="left out: 'short'"):  # later calls warn again
        backtest("naive", df, H, windows=2, on_error="skip")


def test_updates_of_streams():
    stream = forecaster(known=[]).fit(good()).stream()
    new = pd.concat([series("a", 2, "2024-01-02 16:00"), series("b", 2, "2024-01-01 16:00")])
    with pytest.warns(UserWarning, match=r"left out: 'b'; series 'b': .* is not after the last observation"):
        stream.update(new)
    assert stream.predict().groupby("item_id")["timestamp"].min().tolist() == [
        pd.Timestamp("2024-01-02 18:00"), pd.Timestamp("2024-01-02 16:00"),
    ]  # fmt: skip


def test_irregular_series():
    df = pd.concat([good(), FAULTS["empty"][0], FAULTS["repeated"][0].assign(item_id="twice")])
    small = {"context_length": 12, "width": 8, "max_epochs": 1, "num_batches_per_epoch": 1}
    f = forecaster(freq=None, prediction_length=None, horizon="4h", known=[], estimator_kwargs=small)
    with pytest.warns(UserWarning, match="2 series are left out"):
        f.fit(df)
    with pytest.warns(UserWarning, match="2 series are left out"):
        result = f.backtest(df, count=3)
    assert set(result.skipped["item_id"]) == {"bad", "twice"} and set(result.forecasts["item_id"]) == {"a", "b"}


def test_the_choice_is_checked_and_errors_are_pickled():
    with pytest.raises(ValueError, match="unknown on_error 'ignore'"):
        forecaster(on_error="ignore").fit(good())
    with pytest.raises(ValueError, match="unknown on_error 'ignore'"):
        backtest("naive", good(), H, on_error="ignore")
    error = pickle.loads(pickle.dumps(SeriesError({"series 'a'": "series 'a' is bad"})))
    assert str(error) == "series 'a' is bad" and error.reasons == {"series 'a'": "series 'a' is bad"}


def test_backtests_read_a_frame_once_and_mask_missing_known_values():
    gap = series("gap").drop(index=3)
    df = pd.concat([good(), gap, series("bad").assign(price=lambda one: one["price"].where(one.index < 38))])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = forecaster().backtest(df, metrics=["MAE"])
    assert result.skipped.empty
    texts = [str(one.message) for one in caught]
    assert sum("series 'bad': the known covariates ['price'] are missing" in text for text in texts) == 1
    assert sum("is absent from the 'h' grid of 1 of 4 series" in text for text in texts) == 1


@pytest.mark.parametrize("cut", [{"count": 3}, {"since": pd.Timestamp("2024-01-02 00:00")}])
def test_irregular_series_without_a_window_are_named(cut):
    df = pd.concat([good(), series("short", 2)])
    reason = "series 'short' has no observations both before and after a cut"
    for on_error in ("raise", "skip"):
        with pytest.warns(UserWarning, match=f"1 series is left out: 'short'; {reason}"):
            result = backtest("last_value", df, on_error=on_error, **cut)
        assert set(result.forecasts["item_id"]) == {"a", "b"}
    assert result.skipped["reason"].tolist() == [reason]
    small = {"context_length": 12, "width": 8, "max_epochs": 1, "num_batches_per_epoch": 1}
    f = forecaster(freq=None, prediction_length=None, horizon="4h", known=[], estimator_kwargs=small)
    with pytest.warns(UserWarning, match="1 series is left out: 'short'"):
        assert f.backtest(df, **cut).skipped["item_id"].tolist() == ["short"]


@pytest.mark.parametrize("first", [True, False])
def test_a_series_of_another_frequency(first):
    daily = series("bad").assign(timestamp=pd.date_range("2024-01-01", periods=40, freq="D"))
    df = pd.concat([daily, good()] if first else [good(), daily])
    with pytest.raises(ValueError, match=r"series 'bad': its frequency 'D' differs from 'h' of series 'a'"):
        forecaster(freq="infer", on_error="raise").fit(df)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        fitted = forecaster(freq="infer").fit(df)
    assert fitted.frequency_.alias == "h" and fitted.num_series_ == 2
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        assert backtest("naive", df, H, on_error="skip").skipped["item_id"].tolist() == ["bad"]


def test_a_series_with_a_time_that_cannot_be_read():
    df = pd.concat([series("bad"), good()], ignore_index=True)
    df["timestamp"] = df["timestamp"].astype(str)
    df.loc[3, "timestamp"] = "soon"
    with pytest.raises(ValueError, match=r"series 'bad': column 'timestamp' cannot be read .* example 'soon'"):
        forecaster(on_error="raise").fit(df)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        fitted = forecaster().fit(df)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        found = fitted.predict(df, future("a", "b"))
    pd.testing.assert_frame_equal(found, fitted.predict(good(), future("a", "b")))


def test_a_series_whose_horizon_is_too_late():
    late = series("bad").assign(timestamp=pd.date_range(end="2262-04-11 22:00", periods=40, freq="h"))
    df = pd.concat([series("a"), late, series("b")])
    with pytest.raises(ValueError, match="series 'bad': 4 steps of 'h' after 2262-04-11 22:00:00 are too many"):
        forecaster(on_error="raise", known=[]).fit(df)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        fitted = forecaster(known=[]).fit(df)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        pd.testing.assert_frame_equal(fitted.predict(df), fitted.predict(good()))
    stream = fitted.stream(df)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        assert set(stream.predict()["item_id"]) == {"a", "b"}


@pytest.mark.parametrize("fault", ["repeated", "infinite", "text"])
def test_faults_in_the_rows_of_one_series_in_future(fault):
    fitted, given, rows = forecaster().fit(good()), future("a", "b"), future("b")
    if fault == "repeated":
        rows = pd.concat([rows, rows.tail(1)])
    elif fault == "infinite":
        rows["price"] = np.inf
    else:
        rows["timestamp"] = "soon"
        given["timestamp"] = given["timestamp"].astype(str)
    bad = pd.concat([given[given["item_id"] == "a"], rows])
    for predict in (fitted.predict, fitted.stream().predict):
        expected = predict(future=future("a", "b")).query("item_id == 'a'")
        with pytest.warns(UserWarning, match="1 series is left out: 'b'"):
            found = predict(future=bad)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


def test_irregular_times_and_updates():
    small = {"context_length": 12, "width": 8, "max_epochs": 1, "num_batches_per_epoch": 1}
    f = forecaster(freq=None, prediction_length=None, horizon="4h", known=[], estimator_kwargs=small).fit(good())
    times = future("a", "b", "bad")[["item_id", "timestamp"]]
    expected = f.predict(times=times[times["item_id"] == "a"])
    df = pd.concat([good(), FAULTS["empty"][0]])
    early = times[times["item_id"] != "bad"].copy()
    early.loc[early["item_id"] == "b", "timestamp"] -= pd.Timedelta("2D")
    for predict in (f.predict, f.stream().predict):
        with pytest.warns(UserWarning, match="1 series is left out: 'bad'; times= contains series 'bad', which has no"):
            assert set(predict(times=times)["item_id"]) == {"a", "b"}
        with pytest.warns(UserWarning, match="1 series is left out: 'b'; series 'b': column 'timestamp' of times= has"):
            found = predict(times=early)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-4)
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'; series 'bad': column 'target' has no observed"):
        assert set(f.predict(df, times=times)["item_id"]) == {"a", "b"}
    assert f.skipped_["item_id"].tolist() == ["bad"]
    new = pd.concat([series("a", 2, "2024-01-02 16:00"), series("b", 2, "2024-01-01 16:00")])
    stream = f.stream()
    with pytest.warns(UserWarning, match="left out: 'b'; series 'b': timestamp .* is not after the last observation"):
        stream.update(new)
    assert [str(time) for time in stream.ends.last] == ["2024-01-02 17:00:00", "2024-01-02 15:00:00"]


def test_functions_take_the_choice_of_the_forecaster():
    df = pd.concat([good(), FAULTS["empty"][0]])
    model = forecaster()
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        assert backtest(model, df, H).skipped["item_id"].tolist() == ["bad"]
    with pytest.warns(UserWarning, match="1 series is left out: 'bad'"):
        found = compare({"n": "naive", "model": model}, df, H)
    assert all(one.skipped["item_id"].tolist() == ["bad"] for one in found.backtests.values())
    with pytest.raises(ValueError, match="no observed value"):
        backtest(model, df, H, on_error="raise")
