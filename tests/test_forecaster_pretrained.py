"""S5Forecaster with the pretrained network: without training, and fine-tuned."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from s5forecast import S5Forecaster, backtest, make_estimator
from s5forecast.estimators import PretrainedEstimator, PretrainedPredictor
from s5forecast.evaluation import compare
from s5forecast.forecaster_parameters import PRETRAINED, ZERO_SHOT
from s5forecast.networks.pretrained_weights import SHIPPED
from s5forecast.presets import PRESETS

H = 6
SHORT = {"num_steps": 1}


def frame(freq="h", count=2, length=90, **columns):
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=length, freq=freq)
    season = 5 * np.sin(np.arange(length) * np.pi / 12)
    parts = [
        pd.DataFrame({"item_id": f"s{n}", "timestamp": stamps, "target": 20 + season + rng.normal(size=length)})
        for n in range(count)
    ]
    return pd.concat(parts, ignore_index=True).assign(**columns)


def zero_shot(**kwargs):
    return S5Forecaster.pretrained(H, **kwargs)


def fine_tuned(**kwargs):
    given = {"estimator_kwargs": SHORT, "verbose": False, **kwargs}
    return S5Forecaster(H, preset="fine_tuned", **given)


def expected(df, freq="h"):
    """Quantiles of the shipped network."""
    start = df["timestamp"].iloc[0].to_period("M" if freq == "MS" else freq)
    entries = [{"start": start, "target": part["target"].to_numpy()} for _, part in df.groupby("item_id", sort=False)]
    return PretrainedPredictor(freq, H).predict_quantiles(entries, [0.1, 0.5, 0.9])[1]


@pytest.mark.parametrize("freq", ["h", "D", "MS"])
def test_one_forecaster_forecasts_any_frame_without_fit(freq):
    df, forecaster = frame(freq), zero_shot()
    found = forecaster.predict(df, quantile_levels=[0.1, 0.5, 0.9])
    assert list(found) == ["item_id", "timestamp", "mean", "0.1", "0.5", "0.9"] and len(found) == 2 * H
    np.testing.assert_array_equal(found[["0.1", "0.5", "0.9"]].to_numpy().reshape(2, H, 3), expected(df, freq))
    assert found["timestamp"].iloc[0] == df["timestamp"].max() + pd.tseries.frequencies.to_offset(freq)
    assert vars(forecaster) == vars(zero_shot()), "predict changed the forecaster"


def test_fit_stores_the_histories_and_their_frequency():
    df = frame()
    fitted = zero_shot(freq="infer").fit(df)
    pd.testing.assert_frame_equal(fitted.predict(), zero_shot().predict(df))
    other = df.assign(target=df["target"] + 1)
    pd.testing.assert_frame_equal(fitted.predict(other), zero_shot().predict(other))
    assert fitted.frequency_.alias == "h" and fitted.num_series_ == 2
    summary = fitted.summary()["value"]
    assert (summary["num_steps"], summary["seasons"]) == (0, [24.0, 168.0]) and summary["num_network_parameters"] > 5e5
    assert summary["weights"]["sha256"]
    with pytest.warns(UserWarning, match="absent from the 'h' grid"):
        fitted.predict(frame("D"))


def test_names_of_columns_and_single_series():
    df = frame().rename(columns={"item_id": "store", "timestamp": "day", "target": "sales"})
    found = zero_shot(item_id="store", timestamp="day", target="sales").predict(df)
    assert list(found)[:2] == ["store", "day"]
    one = frame(count=1).drop(columns="item_id")
    assert "item_id" not in zero_shot().predict(one)
    assert len(zero_shot().predict(one.set_index("timestamp")["target"])) == H
    years = one.assign(timestamp=np.arange(1934, 1934 + len(one)))
    assert zero_shot(freq=1).predict(years)["timestamp"].tolist() == list(range(2024, 2024 + H))


def test_methods_that_need_fit_say_so(tmp_path):
    forecaster = zero_shot()
    for call in (forecaster.predict, forecaster.summary, forecaster.stream, lambda: forecaster.save(tmp_path)):
        with pytest.raises(NotFittedError, match=r"call fit\(df\) first, which trains nothing, or pass the histories"):
            call()
    with pytest.raises(NotFittedError, match=r"call fit\(df\) first$"):
        fine_tuned().predict(frame())


def test_methods_without_fit():
    df, forecaster = frame(length=200), zero_shot()
    forecast = forecaster.predict(df)
    assert len(forecaster.plot(forecast, df).data) > 0 and len(forecaster.plot(forecast).data) > 0
    assert [one["item_id"] for one in forecaster.to_gluonts(df)] == ["s0", "s1"]
    stream = forecaster.stream(df[df["timestamp"] < "2024-01-08"])
    stream.update(df[df["timestamp"] >= "2024-01-08"])
    pd.testing.assert_frame_equal(stream.predict(), forecast, rtol=1e-3)
    with pytest.raises(ValueError, match=r"draws no paths; use model='autoregressive'.*leave out preset="):
        forecaster.predict_samples(df)
    with pytest.raises(ValueError, match="forecasts series of any frequency, so pass their freq="):
        forecaster.predict(df, step_scale=0.5)


def test_backtests_and_comparisons():
    df, forecaster = frame(length=120), zero_shot()
    found = forecaster.backtest(df, windows=2)
    assert len(found.forecasts) == 2 * 2 * H and found.metrics["WQL"].item() > 0
    early = df[df["timestamp"] < found.forecasts["timestamp"].min()]
    first = found.forecasts[found.forecasts["cutoff"] == found.forecasts["cutoff"].min()]
    np.testing.assert_allclose(first["0.1"], zero_shot().predict(early)["0.1"])
    pd.testing.assert_frame_equal(forecaster.fit(df).backtest(df, windows=2).rows, found.rows)
    assert backtest(zero_shot(), df, H, windows=2, freq="h").metrics["WQL"].item() == found.metrics["WQL"].item()
    table = compare({"zero_shot": zero_shot(), "naive": "seasonal_naive"}, df, H, windows=2, freq="h")
    assert set(table.leaderboard().index) == {"zero_shot", "naive"}


def test_calibration():
    df = frame(length=200)
    forecaster = zero_shot().calibrate(df, windows=10)
    calibrated = forecaster.predict()
    assert forecaster.frequency_.alias == "h" and not np.allclose(calibrated["0.1"], zero_shot().predict(df)["0.1"])
    np.testing.assert_array_equal(calibrated["mean"], zero_shot().predict(df)["mean"])


def test_a_calibration_that_fails_changes_nothing():
    forecaster = zero_shot()
    with pytest.raises(ValueError, match="windows"):
        forecaster.calibrate(frame(), windows=50)
    assert vars(forecaster) == vars(zero_shot())


def test_bad_series_are_skipped():
    df = frame(count=3)
    df.loc[df["item_id"] == "s1", "target"] = np.nan
    with pytest.raises(ValueError, match="'s1'"):
        zero_shot().predict(df)
    forecaster = zero_shot(on_error="skip")
    with pytest.warns(UserWarning, match="s1"):
        found = forecaster.predict(df)
    assert found["item_id"].unique().tolist() == ["s0", "s2"] and forecaster.skipped_["item_id"].tolist() == ["s1"]
    for call in (forecaster.stream, forecaster.to_gluonts):
        with pytest.warns(UserWarning, match="s1"):
            call(df)
        assert forecaster.skipped_["item_id"].tolist() == ["s1"]
    forecaster.predict(df[df["item_id"] != "s1"])
    assert len(forecaster.skipped_) == 0


@pytest.mark.parametrize("make", [zero_shot, fine_tuned])
def test_saved_and_loaded(make, tmp_path):
    df = frame()
    forecaster = make(freq="h").fit(df)
    forecaster.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    assert loaded.get_params() == {**forecaster.get_params(), "known": [], "past": [], "static": [],
                                   "estimator_kwargs": forecaster.estimator_kwargs or {},
                                   "quantile_levels": list(forecaster.quantile_levels)}  # fmt: skip
    pd.testing.assert_frame_equal(loaded.predict(df), forecaster.predict())
    with pytest.raises(ValueError, match="a loaded model has no data to continue"):
        loaded.predict()
    assert clone(forecaster).preset == forecaster.preset


@pytest.mark.filterwarnings("ignore:over the last horizon")  # a single step
def test_fine_tuning_trains_and_streams():
    df = frame(length=120)
    tuned = fine_tuned(freq="h").fit(df)
    assert tuned.predictor_ != PretrainedPredictor("h", H)
    assert tuned.summary().loc["num_steps", "value"] == 1 and tuned.summary().loc["preset", "value"] == "fine_tuned"
    pd.testing.assert_frame_equal(tuned.predict(), fine_tuned(freq="h").fit(df).predict())
    pd.testing.assert_frame_equal(tuned.stream().predict(), tuned.predict(), rtol=1e-3)
    held_out = fine_tuned().fit(df[df["timestamp"] < "2024-01-05"], validation=df)
    assert held_out.trained_until_ == df["timestamp"].max()


def test_time_limits():
    df = frame()
    short = S5Forecaster(H, preset="fine_tuned", time_limit=1e-3, verbose=False).fit(df)
    assert short.summary().loc["num_steps", ["value", "reason"]].tolist() == [0, "of 150 steps, within the time limit"]
    pd.testing.assert_frame_equal(short.predict(), zero_shot().predict(df))
    pd.testing.assert_frame_equal(zero_shot(time_limit=1e-3).predict(df), zero_shot().predict(df))
    with pytest.raises(ValueError, match="time_limit must be a positive number of seconds"):
        S5Forecaster(H, preset="fine_tuned", time_limit=0).fit(df)


@pytest.mark.parametrize("preset", PRETRAINED)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"known": ["price"]}, r"uses no covariates.*leave out known=\['price'\]"),
        ({"static": ["region"]}, r"uses no covariates.*leave out static=\['region'\]"),
        ({"model": "autoregressive"}, "regular series and model='direct' only"),
        ({"model": "multivariate"}, "regular series and model='direct' only"),
        ({"freq": None, "horizon": "6h"}, "regular series and model='direct' only"),
        ({"estimator_kwargs": {"width": 32}}, "estimator_kwargs has 'width'"),
        ({"estimator_kwargs": {"num_members": 2}}, r"does not take \['num_members'\]"),
        ({"estimator_kwargs": {"verbose": True}}, "'verbose', which S5Forecaster sets"),
    ],
)
def test_what_the_pretrained_network_cannot_do_is_an_error(preset, given, message):
    forecaster = S5Forecaster(H, preset=preset, verbose=False, **given)
    with pytest.raises(ValueError, match=message):
        forecaster.fit(frame(price=1.0, region="x"))


def test_zero_shot_refuses_what_would_have_no_effect():
    with pytest.raises(ValueError, match="validation= has no effect with preset='zero_shot'"):
        zero_shot().fit(frame(), validation=frame())
    with pytest.raises(ValueError, match=r"preset='zero_shot' does not take \['num_steps'\]"):
        zero_shot(estimator_kwargs={"num_steps": 5}).fit(frame())
    with pytest.raises(ValueError, match=r"does not take \['lr'\].*is not trained") as caught:
        zero_shot(estimator_kwargs={"lr": 0.1}).fit(frame())
    with pytest.raises(ValueError, match=r"estimator_kwargs has 'width'; the arguments of") as other:
        zero_shot(estimator_kwargs={"width": 8}).fit(frame())
    for error in (caught, other):
        listed = str(error.value).split("arguments")[-1]
        assert "season" in listed and not any(name in listed for name in ("num_steps", "lr", "patience", "synthetic"))


def test_season_and_weights_of_the_estimator():
    df = frame("D")
    given = zero_shot(estimator_kwargs={"season": 12, "weights": str(SHIPPED)})
    assert not np.allclose(given.predict(df)["0.1"], zero_shot().predict(df)["0.1"])


def test_the_error_for_a_season_of_datetimes_names_the_argument():
    with pytest.raises(ValueError, match=r"unless estimator_kwargs=\{'season': 12\} sets another one"):
        zero_shot(season=12).predict(frame("D"))


def test_estimators_for_gluonts():
    start = pd.Period("2024-01-01", "h")
    data = [{"item_id": "a", "start": start, "target": np.arange(60.0)}]
    estimator = make_estimator("h", H, preset="zero_shot", quantile_levels=[0.2, 0.5])
    assert isinstance(estimator, PretrainedEstimator) and estimator.num_steps == 0
    assert estimator.train(data) == PretrainedPredictor("h", H, quantile_levels=[0.2, 0.5])
    limited = make_estimator("h", H, preset="fine_tuned", time_limit=60)
    assert isinstance(limited, PretrainedEstimator) and limited.time_limit == 60 and limited.num_steps == 150
    with pytest.raises(ValueError, match=r"does not take \['num_feat_dynamic_real'\].*uses no covariates"):
        make_estimator("h", H, preset="fine_tuned", num_feat_dynamic_real=1)
    with pytest.raises(ValueError, match="model='direct' only"):
        make_estimator("h", H, preset="zero_shot", model="autoregressive")


def test_names_of_presets():
    replaced = [name for name, preset in PRESETS.items() if preset.estimator is not None]
    assert tuple(replaced) == PRETRAINED and ZERO_SHOT in PRETRAINED
