"""S5Forecaster(freq=None): forecasts of irregular series at requested times."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from s5forecast import S5Forecaster
from s5forecast.evaluation import compare
from s5forecast.plotting import plot_forecast

SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=12, num_batches_per_epoch=2, max_epochs=1, batch_size=4,
    device="cpu",
)  # fmt: skip


def frame(tz=None, n=30):
    rng = np.random.default_rng(0)
    parts = []
    for item in ("a", "b"):
        minutes = np.cumsum(rng.exponential(40.0, n) + 1).round(3)
        stamps = pd.Timestamp("2024-03-29 05:00", tz=tz) + pd.to_timedelta(minutes, "min")
        values = np.sin(minutes / 300)[:, None] + 0.1 * rng.normal(size=(n, 2))
        columns = {"wind": values[:, 0], "pressure": values[:, 1], "holiday": np.arange(n) % 2.0, "coast": item}
        parts.append(pd.DataFrame({"item_id": item, "timestamp": stamps, **columns}))
    both = pd.concat(parts, ignore_index=True)
    both.loc[::3, "wind"] = np.nan
    return both


def queries(df, offsets=((3, "a", "90min"), (1, "b", "2h"), (8, "a", "10min"))):
    last = df.groupby("item_id")["timestamp"].max()
    rows = [{"timestamp": last[item] + pd.Timedelta(after), "item_id": item} for _, item, after in offsets]
    return pd.DataFrame(rows, index=[index for index, _, _ in offsets])


@pytest.fixture(scope="module")
def fitted():
    return S5Forecaster(freq=None, horizon="6h", target="pressure", estimator_kwargs=SMALL, verbose=False).fit(frame())


@pytest.mark.parametrize("tz", [None, "Europe/Paris"])
def test_forecasts_keep_the_order_of_the_times(tz):
    df = frame(tz)
    given = df.copy()
    forecaster = S5Forecaster(freq=None, horizon="6h", target="pressure", estimator_kwargs=SMALL, verbose=False)
    found = forecaster.fit(df.sample(frac=1, random_state=0)).predict(times=queries(df))
    assert found.index.tolist() == [3, 1, 8] and found["item_id"].tolist() == ["a", "b", "a"]
    assert (found["timestamp"] == queries(df)["timestamp"]).all()
    assert found["timestamp"].dtype == df["timestamp"].dtype
    assert (found["0.1"] <= found["0.9"]).all() and found.notna().all().all()
    pd.testing.assert_frame_equal(df, given)
    alone = forecaster.predict(times=queries(df).iloc[2:], quantile_levels=[0.5])
    assert np.allclose(alone["0.5"], found.loc[8, "0.5"], atol=1e-5)


def test_a_grid_of_times(fitted):
    found = fitted.predict(horizon="6h", every="90min")
    last = frame().groupby("item_id")["timestamp"].max()
    assert found["timestamp"].tolist() == [last[i] + pd.Timedelta("90min") * k for i in "ab" for k in (1, 2, 3, 4)]
    pd.testing.assert_frame_equal(fitted.predict(every="90min"), found)
    assert len(fitted.predict(frame().query("item_id == 'b'"), horizon="1h", every="1h")) == 1
    hours = np.timedelta64(90, "m")
    pd.testing.assert_frame_equal(fitted.predict(every=hours), found)
    for wrong in ({"every": 30}, {"horizon": 6, "every": "1h"}):
        with pytest.raises(ValueError, match="must be a duration such as '30min'"):
            fitted.predict(**wrong)


@pytest.mark.parametrize("form", ["zone", "text"])
def test_the_time_zone_of_times_does_not_change_the_forecast(form):
    """Calendar features and holidays are those of the time zone of the history."""
    df, kwargs = frame("Europe/Paris", 60), {"target": "pressure", "holidays": "FR"}
    small = {**SMALL, "max_epochs": 2}
    forecaster = S5Forecaster(freq=None, horizon="6h", estimator_kwargs=small, verbose=False, **kwargs).fit(df)
    expected = forecaster.predict(times=queries(df))
    times = queries(df)
    away = times["timestamp"].dt.tz_convert("Asia/Tokyo")
    times["timestamp"] = away if form == "zone" else away.map(pd.Timestamp.isoformat)
    found = forecaster.predict(times=times)
    pd.testing.assert_frame_equal(found.drop(columns="timestamp"), expected.drop(columns="timestamp"), check_exact=True)
    assert (found["timestamp"] == away).all() and found["timestamp"].iloc[0].utcoffset() == pd.Timedelta("9h")


def test_times_in_the_index(fitted):
    times, expected = queries(frame()), fitted.predict(times=queries(frame())).reset_index(drop=True)
    for given in (times.set_index(["item_id", "timestamp"]), times.set_index("timestamp")):
        pd.testing.assert_frame_equal(fitted.predict(times=given)[expected.columns].reset_index(drop=True), expected)
    one = frame().query("item_id == 'a'").drop(columns="item_id")
    index = pd.DatetimeIndex(queries(frame())["timestamp"].iloc[:1])
    found = fitted.predict(one, times=pd.DataFrame(index=index))
    assert found["timestamp"].tolist() == index.tolist()


def test_several_targets_statics_and_known_columns(tmp_path):
    df = frame()
    forecaster = S5Forecaster(
        freq=None, horizon="6h", target=["wind", "pressure"], known=["holiday"], static=["coast"],
        estimator_kwargs=SMALL, verbose=False,
    )  # fmt: skip
    forecaster.fit(df, df)
    times = queries(df).assign(holiday=1.0)
    found = forecaster.predict(times=times)
    assert list(found)[:4] == ["item_id", "timestamp", "wind_mean", "wind_0.1"] and "pressure_0.9" in found
    assert found.notna().all().all()
    with pytest.raises(ValueError, match="'holiday'"):
        forecaster.predict(times=queries(df))
    with pytest.raises(ValueError, match="known columns"):
        forecaster.predict(every="1h")
    with pytest.warns(UserWarning, match=r"series 'b': the known covariates \['holiday'\] are missing"):
        forecaster.predict(times=times.assign(holiday=[1.0, np.nan, 1.0]))
    for value, fault in ((np.inf, "infinite at 2024"), ("x", "must hold numbers")):
        wrong = times.assign(holiday=[1.0, value, 1.0])
        for ask in (forecaster, forecaster.stream()):
            with pytest.raises(ValueError, match=rf"series 'b'.*'holiday'.*{fault}"):
                ask.predict(times=wrong)
    forecaster.save(tmp_path)
    again = S5Forecaster.load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(df, times=times), found)
    with pytest.raises(ValueError, match=r"no data to continue.*predict\(df\)"):
        again.predict(times=times)
    with pytest.raises(ValueError, match=r"no data to continue.*stream\(df\)"):
        again.stream()
    assert len(again.to_gluonts(df)) == 2 and clone(again).get_params()["target"] == ["wind", "pressure"]


def test_times_as_numbers_and_one_series():
    df = frame().query("item_id == 'a'").drop(columns="item_id")
    df["timestamp"] = (df["timestamp"] - df["timestamp"].min()) / pd.Timedelta("1h")
    forecaster = S5Forecaster(freq=None, horizon=6.0, target="pressure", estimator_kwargs=SMALL, verbose=False).fit(df)
    last = df["timestamp"].max()
    found = forecaster.predict(times=pd.DataFrame({"timestamp": [last + 2.5, last + 0.001]}))
    assert found["timestamp"].tolist() == [last + 2.5, last + 0.001] and "item_id" not in found
    grid = forecaster.predict(horizon=3.0, every=1.5)
    assert np.allclose(grid["timestamp"], [last + 1.5, last + 3])
    with pytest.raises(ValueError, match="every='1h' must be a number"):
        forecaster.predict(every="1h")


def test_duplicates_are_refused_or_aggregated():
    df = pd.concat([frame(), frame().iloc[[4]]])
    kwargs = dict(freq=None, horizon="6h", target="pressure", estimator_kwargs=SMALL, verbose=False)
    with pytest.raises(ValueError, match=r"series 'a'.*'timestamp'.*more than once; aggregate"):
        S5Forecaster(**kwargs).fit(df)
    found = S5Forecaster(**kwargs, aggregate="mean").fit(df).predict(times=queries(df))
    pd.testing.assert_frame_equal(found, S5Forecaster(**kwargs).fit(frame()).predict(times=queries(df)))


def test_invalid_times(fitted):
    early = queries(frame()).assign(timestamp=frame()["timestamp"].min())
    with pytest.raises(ValueError, match=r"series 'b'.*not after the last observation|series 'a'.*not after"):
        fitted.predict(times=early)
    with pytest.raises(ValueError, match="column 'timestamp' of times= cannot be read"):
        fitted.predict(times=early.assign(timestamp="soon"))
    with pytest.raises(ValueError, match="predict\\(horizon='12h', every='30min'\\)"):
        fitted.predict()
    with pytest.raises(ValueError, match="not both"):
        fitted.predict(times=queries(frame()), every="1h")
    with pytest.raises(ValueError, match="'b', which has no history"):
        fitted.predict(frame().query("item_id == 'a'"), times=queries(frame()))
    with pytest.warns(UserWarning, match=r"series 'a': a forecast time is 12 h ahead; .*horizon='6h'"):
        fitted.predict(times=queries(frame(), [(0, "a", "12h")]))
    for verb in (fitted.predict_samples, lambda: fitted.calibrate(frame(), 2)):
        with pytest.raises(ValueError, match="irregular"):
            verb()
    with pytest.raises(ValueError, match="freq=None"):
        S5Forecaster(3, "h", verbose=False, estimator_kwargs={**SMALL}).fit(regular()).predict(every="1h")


def test_arguments_of_the_other_kind_of_sampling(fitted):
    df = regular()
    regular_forecaster = S5Forecaster(3, "h", verbose=False, estimator_kwargs=SMALL).fit(df)
    for ask, message in (
        (lambda: fitted.predict(future=queries(frame())), "future= requires regular series.*times="),
        (lambda: fitted.to_gluonts(frame(), queries(frame())), "future= requires regular series"),
        (lambda: fitted.stream().predict(queries(frame())), "future= requires regular series"),
        (lambda: fitted.predict(step_scale=2.0), r"step_scale requires regular series. For .*\(freq=None\), .*times="),
        (lambda: fitted.predict_samples(), "requires regular series.*times="),
        (lambda: fitted.calibrate(frame(), 2), "requires regular series"),
        (lambda: fitted.backtest(frame(), windows=2, count=2), "require regular series.*since="),
        (lambda: regular_forecaster.predict(times=df), "times=.*require irregular series.*next 3 steps"),
        (lambda: regular_forecaster.backtest(df, since=df["timestamp"].iloc[20]), "require irregular series.*windows="),
    ):
        with pytest.raises(ValueError, match=message):
            ask()


def test_a_summary_of_irregular_series(fitted):
    table = fitted.summary()
    assert table.loc["sampling", "value"] == "irregular" and table.loc["num_series", "value"] == 2
    assert table.loc["frequency", "value"] is None and fitted.frequency_ is None
    assert table.loc["horizon", "given"] and table.loc["trained_until", "value"] == frame()["timestamp"].max()


def regular():
    return pd.DataFrame({"timestamp": pd.date_range("2024", periods=40, freq="h"), "target": np.arange(40.0)})


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"horizon": None}, "need horizon="),
        ({"model": "autoregressive"}, "autoregressive.*S5ContinuousEstimator"),
        ({"model": "multivariate"}, "model=.multivariate..*S5ContinuousEstimator"),
        ({"prediction_length": 0}, "prediction_length"),
        ({"estimator_kwargs": {"target_dim": 2}}, "own arguments"),
        ({"estimator_kwargs": {"lags_seq": [1]}}, "lags_seq"),
        ({"horizon": 3.0}, "datetimes"),
        ({"target": ["pressure", "pressure"]}, "one role"),
    ],
)
def test_wrong_arguments(kwargs, message):
    given = {"horizon": "6h", "target": "pressure", "estimator_kwargs": SMALL, **kwargs}
    with pytest.raises(ValueError, match=message):
        S5Forecaster(freq=None, verbose=False, **given).fit(frame())


def test_a_figure_of_history_and_forecast(fitted):
    figure = fitted.plot(fitted.predict(every="1h"))
    assert len(figure.data) > 1


def test_a_figure_of_one_of_several_targets():
    forecaster = S5Forecaster(
        freq=None, horizon="6h", target=["wind", "pressure"], estimator_kwargs=SMALL, verbose=False
    ).fit(frame())
    found = forecaster.predict(every="1h")
    plain = found.drop(columns=found.filter(like="wind_")).rename(columns=lambda name: name.removeprefix("pressure_"))
    expected = [trace.y for trace in plot_forecast(frame(), plain, target="pressure").data]
    figure = forecaster.plot(found, target="pressure")
    assert all(np.array_equal(trace.y, y, equal_nan=True) for trace, y in zip(figure.data, expected, strict=True))
    assert len(forecaster.plot(found).data) == len(expected)
    with pytest.raises(ValueError, match="unknown target 'rain'"):
        forecaster.plot(found, target="rain")


@pytest.mark.parametrize("target", ["pressure", ["wind", "pressure"]])
def test_backtest_at_the_true_times(target):
    df = frame()
    cut = pd.Timestamp("2024-03-29 17:00")
    given = dict(freq=None, horizon="6h", target=target, estimator_kwargs=SMALL, verbose=False)
    forecaster = S5Forecaster(**given).fit(df[df["timestamp"] <= cut])
    result = forecaster.backtest(df, since=cut)
    assert result.fit_seconds is None and result.metrics.notna().all().all()
    rows = result.rows
    names = ["a", "b"] if target == "pressure" else ["a:wind", "a:pressure", "b:wind", "b:pressure"]
    assert rows["item_id"].unique().tolist() == names
    assert (rows["timestamp"] <= rows["cutoff"] + pd.Timedelta("6h")).all() and (rows["cutoff"] <= cut).all()
    truth = df[(df["item_id"] == "a") & df["timestamp"].isin(rows["timestamp"])]
    assert np.array_equal(
        rows.query(f"item_id == '{names[0]}'")["target"], truth[np.atleast_1d(target)[0]], equal_nan=True
    )
    last = rows[rows["item_id"] == names[-1]]
    same = forecaster.predict(df[df["timestamp"] <= cut], times=last.assign(item_id="b")[["item_id", "timestamp"]])
    column = "mean" if target == "pressure" else "pressure_mean"
    assert np.allclose(same[column], last["mean"], rtol=1e-5)
    # The forecaster was trained on the last three observations, so a copy is fitted.
    assert S5Forecaster(**given).fit(df).backtest(df, count=3).fit_seconds > 0
    assert len(S5Forecaster(**given).backtest(df, fraction=0.5).forecasts) > 2
    for wrong in (
        {},
        {"since": cut, "count": 2},
        {"fraction": 1.5},
        {"count": 0},
        {"count": 2.5},
        {"windows": 3, "count": 2},
    ):
        with pytest.raises(ValueError, match=r"since=|fraction|count"):
            forecaster.backtest(df, **wrong)


def test_trained_until_includes_training_and_validation():
    df = frame()
    early = df[df["timestamp"] <= df["timestamp"].min() + pd.Timedelta("8h")]
    forecaster = S5Forecaster(freq=None, horizon="6h", target="pressure", estimator_kwargs=SMALL, verbose=False)
    forecaster.fit(df, validation=early)
    assert forecaster.trained_until_ == df["timestamp"].max()
    assert forecaster.backtest(df, since=early["timestamp"].max()).fit_seconds is not None


def test_categories_as_items_and_durations_of_other_types(tmp_path):
    df = frame().astype({"item_id": "category"})
    given = dict(freq=None, target="pressure", verbose=False)
    given["estimator_kwargs"] = {**SMALL, "time_unit": pd.Timedelta("1h")}
    forecaster = S5Forecaster(horizon=np.timedelta64(6, "h"), **given).fit(df)
    forecaster.save(tmp_path)
    assert S5Forecaster.load(tmp_path).horizon == "0 days 06:00:00"
    found = forecaster.predict(times=queries(frame()).astype({"item_id": "category"}))
    expected = S5Forecaster(horizon="6h", **given).fit(frame()).predict(times=queries(frame()))
    pd.testing.assert_frame_equal(found.astype({"item_id": object}), expected)


@pytest.mark.parametrize("target", ["pressure", ["wind", "pressure"]])
@pytest.mark.parametrize("tz", [None, "Europe/Paris"])
def test_compare_gives_the_same_as_backtest(target, tz):
    df = frame(tz).rename(columns={"item_id": "place", "timestamp": "time"})
    given = dict(
        freq=None, horizon="6h", target=target, item_id="place", timestamp="time", known=["holiday"], static=["coast"]
    )
    forecaster = S5Forecaster(**given, estimator_kwargs=SMALL, verbose=False)
    cut = df["time"].min() + pd.Timedelta("8h")
    ready = forecaster.backtest(df, since=cut)
    assert ready.by("place").index.name == "place"
    found = compare({"ready": ready, "S5": forecaster, "last": "last_value"}, df, since=cut)
    pd.testing.assert_frame_equal(found.backtests["S5"].forecasts, ready.forecasts)
    assert found.baseline == "last" and found.leaderboard()["MAE"].notna().all()
    early = forecaster.fit(df[df["time"] <= cut])
    again = compare({"S5": early}, df, since=cut).backtests["S5"]
    pd.testing.assert_frame_equal(again.forecasts, early.backtest(df, since=cut).forecasts)


def test_a_backtest_leaves_out_series_without_a_value_before_the_cut():
    df = frame()
    df.loc[(df["item_id"] == "a") & (df.groupby("item_id").cumcount() < 20), "pressure"] = np.nan
    given = dict(freq=None, horizon="6h", target="pressure", estimator_kwargs=SMALL, verbose=False)
    with pytest.warns(UserWarning, match="series 'a' has no observations both before and after a cut"):
        assert set(S5Forecaster(**given).backtest(df, count=12).forecasts["item_id"]) == {"b"}


def test_windows_of_a_backtest_have_prediction_length():
    given = dict(freq=None, prediction_length=2, target="pressure", estimator_kwargs=SMALL, verbose=False)
    result = S5Forecaster(**given).backtest(frame(), fraction=0.5)
    assert result.forecasts.groupby("item_id").size().tolist() == [2, 2]


def test_short_histories_are_reported(fitted):
    df = frame()
    times = queries(df)
    with pytest.warns(UserWarning, match="series 'a' has 3 rows, fewer than the 12 of the context"):
        fitted.predict(df.groupby("item_id").tail(3), times=times)
    holed = df.assign(pressure=df["pressure"].where(df.groupby("item_id").cumcount(ascending=False) % 2 == 0))
    with pytest.warns(UserWarning, match="series 'a' has 11 rows"):
        fitted.predict(holed.groupby("item_id").tail(22), times=times)
