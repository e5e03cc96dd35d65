"""S5Forecaster with model="multivariate": joint forecasts of all series of a frame."""

import numpy as np
import pandas as pd
import pytest
from test_forecaster import LEVELS, SMALL, H, frame

from s5forecast import S5Forecaster
from s5forecast.evaluation.backtest import backtest
from s5forecast.levels import sample_columns

ITEMS = ("b", "a", "c")


def forecaster(**kwargs):
    given = {"prediction_length": H, "verbose": False, "estimator_kwargs": SMALL, "model": "multivariate", **kwargs}
    return S5Forecaster(**given)


@pytest.fixture(scope="module")
def fitted():
    return forecaster(freq="h").fit(frame(items=ITEMS))


def permuted(df, items):
    return pd.concat([df[df["item_id"] == item] for item in items], ignore_index=True)


def test_columns_and_rows_of_a_forecast(fitted):
    forecast = fitted.predict()
    assert list(forecast.columns) == ["item_id", "timestamp", "mean", *LEVELS]
    assert forecast["item_id"].tolist() == [item for item in ITEMS for _ in range(H)]
    assert forecast["timestamp"].iloc[0] == pd.Timestamp("2024-01-03 12:00")
    assert np.isfinite(forecast[["mean", *LEVELS]].to_numpy()).all()
    assert (forecast[LEVELS].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)


def test_the_order_of_series_permutes_the_result(fitted):
    other = ("c", "b", "a")
    df = permuted(frame(items=ITEMS), other)
    expected = permuted(fitted.predict(), other)
    pd.testing.assert_frame_equal(fitted.predict(df), expected)
    pd.testing.assert_frame_equal(forecaster(freq="h").fit(df).predict(), expected)


def test_the_mean_of_the_samples_is_that_of_the_forecast(fitted):
    paths = fitted.predict_samples(num_samples=100)
    columns = sample_columns(paths)
    assert list(paths.columns) == ["item_id", "timestamp", *columns] and len(columns) == 100
    forecast = fitted.predict()
    pd.testing.assert_frame_equal(paths[["item_id", "timestamp"]], forecast[["item_id", "timestamp"]])
    assert np.allclose(paths[columns].mean(axis=1), forecast["mean"])
    alone = S5Forecaster(H, verbose=False, model="autoregressive", estimator_kwargs=SMALL).fit(frame())
    assert alone.predict_samples(num_samples=3).shape == (2 * H, 5)
    with pytest.raises(ValueError, match="model='multivariate'"):
        S5Forecaster(H, verbose=False, estimator_kwargs=SMALL).fit(frame()).predict_samples()


def test_samples_are_joint_over_series():
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(2, 400)).cumsum(axis=1)
    df = frame(400, ("a", "b")).assign(target=np.concatenate([walk[0], 100 - 2 * walk[0] + 0.2 * walk[1]]))
    kwargs = {
        **SMALL,
        "lags_seq": [1],
        "scaling": "increments",
        "max_epochs": 4,
        "num_batches_per_epoch": 30,
        "lr": 0.02,
    }
    paths = forecaster(estimator_kwargs=kwargs).fit(df).predict_samples(num_samples=500)
    a, b = (paths.loc[paths["item_id"] == item, sample_columns(paths)].to_numpy() for item in "ab")
    assert np.corrcoef(a[-1], b[-1])[0, 1] < -0.7


def test_saved_and_loaded(fitted, tmp_path):
    fitted.save(tmp_path)
    again = S5Forecaster.load(tmp_path)
    assert again.model == "multivariate"
    pd.testing.assert_frame_equal(again.predict(frame(items=ITEMS)), fitted.predict())


def test_known_columns_and_backtest():
    df = frame(70, ITEMS)
    model = forecaster(known=["price"])
    result = model.backtest(df, windows=2)
    assert len(result.forecasts) == 3 * 2 * H and np.isfinite(result.metrics["WQL"]).all()
    past = df[df["timestamp"] < df["timestamp"].max() - pd.Timedelta(hours=H - 1)]
    fitted = model.fit(past)
    assert len(fitted.predict(future=df[["item_id", "timestamp", "price"]])) == 3 * H
    entries = fitted.to_gluonts(df)
    joint = backtest(fitted.predictor_, entries, H, samples=True, metrics=("CRPS_sum", "energy_score_series"))
    assert np.isfinite(joint.metrics[["CRPS_sum", "energy_score_series"]].to_numpy(dtype=float)).all()


def test_one_series():
    assert len(forecaster().fit(frame(items=("a",)).drop(columns="item_id")).predict()) == H


def test_unaligned_and_unknown_series():
    df = frame(items=("a", "b", "c", "d"))
    late = df[(df["item_id"] != "c") | (df["timestamp"] > df["timestamp"].min())]
    with pytest.raises(ValueError, match=r"most have 60 steps .* 'c' differ, the first with 59 steps from"):
        forecaster().fit(late)
    fitted = forecaster().fit(df)
    with pytest.raises(ValueError, match="missing: 'b'; unknown: 'e'"):
        fitted.predict(df.assign(item_id=df["item_id"].replace("b", "e")))
    with pytest.raises(ValueError, match=r"leave out static=\['shop'\]"):
        forecaster(static=["shop"]).fit(df)


def test_the_warning_of_few_values_names_the_series(fitted):
    df = frame(items=ITEMS)
    outage = (df["item_id"] == "c") & (df.groupby("item_id").cumcount() >= 4)
    with pytest.warns(UserWarning, match="were observed in the context of series 'c'; "):
        fitted.predict(df.assign(target=df["target"].mask(outage)))


def skipping(**kwargs):
    return forecaster(freq="h", on_error="skip", **kwargs)


def shorter(df, item, count=1):
    """The frame without the last rows of a series."""
    return df[(df["item_id"] != item) | (df.groupby("item_id").cumcount(ascending=False) >= count)]


@pytest.mark.parametrize("known", [[], ["price"]])
def test_series_of_another_span_are_left_out_of_the_training(known):
    df, given = frame(items=("a", "b", "c")), {"known": known}
    future = frame(60 + H, ("a", "b", "c")).drop(columns="target") if known else None
    expected = skipping(**given).fit(df[df["item_id"] != "c"]).predict(future=future)
    with pytest.warns(UserWarning, match=r"1 series is left out: 'c'; series 'c' has 59 steps from .*, unlike most"):
        fitted = skipping(**given).fit(shorter(df, "c"), validation=df)
    assert fitted.skipped_["item_id"].tolist() == ["c"]
    with pytest.warns(UserWarning, match="left out: 'c'; series 'c' is not one of the training data"):
        assert fitted.predict(df, future)["item_id"].unique().tolist() == ["a", "b"]
    pd.testing.assert_frame_equal(skipping(**given).fit(df[df["item_id"] != "c"]).predict(future=future), expected)


@pytest.mark.parametrize("known", [[], ["price"]])
def test_series_are_forecast_without_those_of_another_span(known):
    df = frame(items=ITEMS)
    future = frame(60 + H, ITEMS).drop(columns="target") if known else None
    fitted = skipping(known=known).fit(df)
    complete = fitted.predict(df, future)
    for past, reason in {"short": (shorter(df, "c"), "59 steps"), "absent": (df[df["item_id"] != "c"], None)}.values():
        if reason is None:
            found = fitted.predict(past, future)
        else:
            with pytest.warns(UserWarning, match=f"1 series is left out: 'c'; .*{reason}"):
                found = fitted.predict(past, future)
        assert found["item_id"].unique().tolist() == ["b", "a"]
        assert np.isfinite(found[["mean", *LEVELS]].to_numpy()).all()
        assert not found["mean"].equals(complete["mean"][: len(found)])  # they depend on the third series
    with pytest.warns(UserWarning, match="left out: 'c'"):
        paths = fitted.predict_samples(shorter(df, "c"), future, num_samples=100)
    np.testing.assert_allclose(paths[sample_columns(paths)].mean(axis=1), found["mean"])
    with pytest.warns(UserWarning, match="left out: 'c'"):
        assert len(fitted.to_gluonts(shorter(df, "c"), future)) == 2
    infinite = df.assign(target=df["target"].astype(float).mask(df["item_id"] == "c", np.inf))
    with pytest.warns(UserWarning, match="left out: 'c'; .* infinite"):
        pd.testing.assert_frame_equal(fitted.predict(infinite, future), found)


def test_validation_of_some_series():
    df = frame(items=ITEMS)
    with pytest.warns(UserWarning, match="1 series is left out: 'c'; series 'c' has 59 steps"):
        fitted = skipping().fit(df, validation=shorter(df, "c"))
    assert len(fitted.predict()) == 3 * H
    with pytest.raises(ValueError, match="missing: 'c'"):
        forecaster(freq="h").fit(df, validation=df[df["item_id"] != "c"])


def test_backtests_without_series_of_another_span():
    df, given = frame(70, ITEMS), {"windows": 2, "metrics": ["WQL"]}
    past = df[df.groupby("item_id").cumcount() < 60]
    for model in (skipping(), skipping().fit(past)):
        with pytest.warns(UserWarning, match="1 series is left out: 'c'; series 'c' has 69 steps") as caught:
            found = model.backtest(shorter(df, "c"), **given)
        assert len(caught) == 1 and found.skipped["item_id"].tolist() == ["c"]
        assert found.forecasts["item_id"].unique().tolist() == ["b", "a"] and np.isfinite(found.metrics["WQL"]).all()
    expected = skipping().backtest(df[df["item_id"] != "c"], **given)
    with pytest.warns(UserWarning, match="left out: 'c'"):
        found = skipping().backtest(shorter(df, "c"), **given)
    pd.testing.assert_frame_equal(found.forecasts, expected.forecasts)
    with pytest.raises(ValueError, match="series 'c' has 69 steps"):
        forecaster(freq="h").backtest(shorter(df, "c"), **given)
    wide = {"quantile_levels": [0.4, 0.5, 0.6]}
    with pytest.warns(UserWarning, match="left out: 'c'"):
        calibrated = skipping(**wide).fit(past).calibrate(shorter(df, "c"), windows=2)
    with pytest.warns(UserWarning, match="left out: 'c'"):
        assert len(calibrated.predict(shorter(df, "c"))) == 2 * H
