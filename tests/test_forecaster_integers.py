"""S5Forecaster(freq=1): integer times in every method, given back as integers."""

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster, backtest
from s5forecast.data.frequency import Frequency
from s5forecast.evaluation import SeasonalNaivePredictor, compare
from s5forecast.windows.calendar import num_calendar_features

H = 4
SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=12, lags_seq=[1, 6], max_epochs=1, num_batches_per_epoch=2,
    batch_size=4, device="cpu", patch_length=1, layer_kwargs={"bidirectional": False},
)  # fmt: skip


def frame(start=0, step=1, steps=60, dtype="int64"):
    rng = np.random.default_rng(0)
    times = start + step * np.arange(steps)
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": times, "target": rng.normal(size=steps), "price": times / 100.0})
        for item in "ba"
    ]
    return pd.concat(parts, ignore_index=True).astype({"timestamp": dtype})


def fit(df, step=1, **kwargs):
    given = {"prediction_length": H, "freq": step, "estimator_kwargs": SMALL, "verbose": False, **kwargs}
    return S5Forecaster(**given).fit(df)


@pytest.mark.parametrize(
    ("start", "step"), [(0, 1), (1400, 1), (-50, 1), (7, 5), (1_700_000_000, 3600), (4_000_000_000, 1)]
)
def test_forecasts_continue_the_integers(start, step, tmp_path):
    df = frame(start, step)
    model = fit(df, step)
    found = model.predict()
    after = df["timestamp"].max() + step * np.arange(1, H + 1)
    assert found["timestamp"].dtype == np.int64 and found["timestamp"].tolist() == [*after, *after]
    one, other = (fit(data[data["item_id"] == "a"], step) for data, step in ((df, step), (frame(), 1)))
    assert one.predict()["0.5"].equals(other.predict()["0.5"])  # only the order of the times matters
    model.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(df), found)
    assert loaded.trained_until_ == df["timestamp"].max() and model.plot(found).data
    bt = model.backtest(df, windows=2, metrics=["MAE"])
    assert bt.forecasts["timestamp"].dtype == bt.forecasts["cutoff"].dtype == np.int64
    assert sorted(bt.forecasts["timestamp"].unique()) == df["timestamp"].iloc[52:60].tolist()


def test_known_columns_gaps_and_streams(tmp_path):
    df = frame()
    history, ahead = df[df["timestamp"] < 56], df[df["timestamp"] >= 56].drop(columns="target")
    model = fit(history, known=["price"])
    expected = model.predict(future=ahead.sample(frac=1, random_state=0))
    early, late = history[history["timestamp"] < 40], history[history["timestamp"] >= 40]
    stream = model.stream(early).update(late)
    stream.save(tmp_path)
    for one in (stream, model.stream(saved=tmp_path)):
        assert one.predict(future=ahead)["timestamp"].tolist() == expected["timestamp"].tolist()
    with pytest.warns(UserWarning, match="series 'b' and 1 other series: the known covariates .* starting at 57"):
        model.predict(future=ahead[ahead["timestamp"] != 57])
    with pytest.raises(ValueError, match="series 'b': timestamp 50 is not after the last observation, at 55"):
        stream.update(late[late["timestamp"] >= 50])
    with pytest.warns(UserWarning, match="2 timestamps are absent from the freq=1 grid of 2 of 2 series"):
        gappy = model.predict(history[history["timestamp"] != 30], ahead)
    assert gappy["timestamp"].tolist() == expected["timestamp"].tolist()


def test_calibration_comparison_and_baselines():
    df = frame()
    model = fit(df[df["timestamp"] < 56], quantile_levels=[0.1, 0.5, 0.9])
    calibrated = model.calibrate(df, windows=3, method="split", per_step=False).predict(df)
    assert calibrated["timestamp"].tolist() == [60, 61, 62, 63] * 2
    both = compare({"model": model, "naive": "seasonal_naive"}, df, H, metrics=["MASE"])
    assert all(np.isfinite(one.metrics["MASE"]).all() for one in both.backtests.values())
    ready = both.backtests["naive"].forecasts
    again = backtest(ready, df, H, freq=1, metrics=["MASE"], quantile_levels=[0.1, 0.5, 0.9])
    np.testing.assert_array_equal(again.metrics["MASE"], both.backtests["naive"].metrics["MASE"])


@pytest.mark.parametrize("model", ["autoregressive", "multivariate"])
def test_other_models(model):
    df = frame(start=1900)
    small = {name: value for name, value in SMALL.items() if name not in ("patch_length", "layer_kwargs", "lags_seq")}
    forecaster = fit(df, model=model, estimator_kwargs=small)
    assert forecaster.predict()["timestamp"].tolist() == [1960, 1961, 1962, 1963] * 2
    assert forecaster.predict_samples(num_samples=2)["timestamp"].dtype == np.int64


@pytest.mark.parametrize("dtype", ["int32", "uint16", "float64", "Int64", "int64[pyarrow]", "category", object])
def test_integers_of_any_dtype(dtype):
    expected = fit(frame()).predict()
    pd.testing.assert_frame_equal(fit(frame(dtype=dtype)).predict(), expected)


def test_one_series_of_pandas():
    values = pd.Series(np.random.default_rng(0).normal(size=60))
    assert fit(values).predict()["timestamp"].tolist() == [60, 61, 62, 63]


def test_no_calendar():
    frequency = Frequency.parse(1)
    assert frequency.with_season(12).period_alias == frequency.period_alias == "Y-DEC"
    assert frequency.alias == "step" and Frequency.parse("step") == frequency and frequency.integer
    assert num_calendar_features(frequency) == 0 and frequency.seasons == ()
    assert Frequency.parse(np.int64(5)).multiple == 5


def test_the_season_is_given_or_found(tmp_path):
    df = frame(steps=80)
    df["target"] += 5 * np.sin(2 * np.pi * df["timestamp"] / 9)
    kwargs = {name: value for name, value in SMALL.items() if name != "lags_seq"}
    found = fit(df, estimator_kwargs=kwargs)
    assert found.frequency_.seasons == (9,) and 18 in found.predictor_.choices["lags_seq"]["value"]
    given = fit(df, season=7, estimator_kwargs=kwargs)
    assert given.frequency_.seasons == (7,) and 14 in given.predictor_.choices["lags_seq"]["value"]
    given.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    assert loaded.frequency_ == given.frequency_
    pd.testing.assert_frame_equal(loaded.predict(df), given.predict())
    assert fit(df, season=1).frequency_.seasons == () and fit(frame()).frequency_.seasons == ()
    scaled = found.backtest(df, metrics=["MASE"]).metrics["MASE"]
    assert scaled.equals(found.backtest(df, metrics=["MASE"], season=9).metrics["MASE"])
    with pytest.raises(ValueError, match=r"season=7 requires integer times, freq=1"):
        fit(df, step="h", season=7)
    with pytest.raises(ValueError, match="season must be a number of steps"):
        fit(df, season=0)


def test_times_that_do_not_fit():
    df = frame()
    with pytest.raises(ValueError, match=r"series 'b': column 'timestamp' has the time 0.5, which is not an integer"):
        fit(df.assign(timestamp=df["timestamp"] + 0.5))
    with pytest.raises(ValueError, match=r"'timestamp' of df holds datetime64\[ns\], but freq= is a number"):
        fit(df.assign(timestamp=pd.to_datetime(df["timestamp"], unit="s")))
    with pytest.raises(ValueError, match=r"series 'b': The time 1 is not a multiple of 2 after 0"):
        fit(df, step=2)
    with pytest.raises(ValueError, match=r"must hold timestamps, got int64; pass freq=1 if they are numbers of steps"):
        fit(df, step="infer")
    with pytest.raises(ValueError, match="'timestamp' has 3 more than once"):
        fit(pd.concat([df, df[df["timestamp"] == 3]]))
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"freq={wrong} must be a whole number of at least 1"):
            fit(df, step=wrong)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
def test_integers_that_are_too_large_are_refused(dtype):
    df = frame(start=2**62).astype({"timestamp": dtype})
    with pytest.raises(ValueError, match=r"series 'b': column 'timestamp' has the time .* are supported up to"):
        fit(df)


def test_text_is_refused_with_the_line_that_converts_it():
    df = frame(dtype=str)
    with pytest.raises(ValueError, match="requires integer times; convert it: ") as caught:
        fit(df)
    found = {"df": df, "pd": pd}
    exec(str(caught.value).split("convert it: ")[1], found)
    assert len(fit(found["df"]).predict()) == 2 * H


SCORES = {"metrics": ["MASE", "MAE"], "windows": 2}


def seasonal_frame(season=9):
    df = frame(steps=80)
    return df.assign(target=df["target"] / 5 + 5 * np.sin(2 * np.pi * df["timestamp"] / season))


def scores(result):
    return result.metrics[["MASE", "MAE"]].iloc[0].to_dict()


def test_the_season_is_the_same_in_all_backtests():
    df = seasonal_frame()
    zero_shot = {"prediction_length": H, "freq": 1, "preset": "zero_shot", "verbose": False}
    fitted, unfitted = S5Forecaster(**zero_shot).fit(df), S5Forecaster(**zero_shot)
    expected = scores(fitted.backtest(df, **SCORES))
    assert scores(unfitted.backtest(df, **SCORES)) == expected
    naive = scores(backtest(SeasonalNaivePredictor(H, season=9), df, H, freq=1, season=9, **SCORES))
    assert naive["MAE"] < 0.5 * scores(backtest("naive", df, H, freq=1, **SCORES))["MAE"]
    entries = fitted.to_gluonts(df)
    assert entries[0]["season_length"] == 9
    for model, data, freq in [
        ("seasonal_naive", df, 1),
        (SeasonalNaivePredictor(H), df, 1),
        ("seasonal_naive", entries, None),
        ("seasonal_naive", [{**entry, "season_length": None} for entry in entries], 1),
    ]:
        assert scores(backtest(model, data, H, freq=freq, **SCORES)) == naive
    for one in (fitted, unfitted):
        found = compare({"model": one, "baseline": "seasonal_naive"}, df, H, **SCORES).backtests
        assert scores(found["baseline"]) == naive and scores(found["model"]) == expected


def test_the_season_that_is_given_is_used_in_all_backtests():
    df = seasonal_frame()
    given = S5Forecaster(H, freq=1, season=7, preset="zero_shot", verbose=False)
    expected = scores(given.backtest(df, **SCORES))
    naive = scores(backtest(SeasonalNaivePredictor(H, season=7), df, H, freq=1, season=7, **SCORES))
    assert scores(backtest("seasonal_naive", df, H, freq=1, season=7, **SCORES)) == naive
    for arguments in ({}, {"freq": 1}):
        found = compare({"model": given, "baseline": "seasonal_naive"}, df, H, **arguments, **SCORES).backtests
        assert scores(found["baseline"]) == naive and scores(found["model"]) == expected
    assert scores(given.fit(df).backtest(df, **SCORES)) == expected
    for wrong in (True, 0, 2.5):
        with pytest.raises(ValueError, match="season"):
            S5Forecaster(H, freq=1, season=wrong, preset="zero_shot").fit(df)
        with pytest.raises(ValueError, match="season"):
            backtest("naive", df, H, freq=1, season=wrong)


def test_durations_are_divided_by_their_step():
    df = frame()
    df["timestamp"] = pd.to_timedelta(df["timestamp"] * 900, unit="s")
    with pytest.raises(ValueError, match="requires integer times; divide it by the length of a step: ") as caught:
        fit(df)
    exec(str(caught.value).split("of a step: ")[1], {"df": df, "pd": pd})
    assert df["timestamp"].tolist() == frame()["timestamp"].tolist()
