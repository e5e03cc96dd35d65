"""FrameStream: streams of the series of long frames."""

from types import SimpleNamespace

import dateutil.tz
import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster

SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=64, num_batches_per_epoch=2, max_epochs=1, batch_size=4,
    device="cpu",
)  # fmt: skip
BEGUN = 12


def irregular(tz=None, n=30):
    rng = np.random.default_rng(0)
    parts = []
    for item in ("a", "b"):
        minutes = np.cumsum(rng.exponential(40.0, n) + 1).round(3)
        stamps = pd.Timestamp("2024-03-30 20:00", tz=tz) + pd.to_timedelta(minutes, "min")
        values = np.sin(minutes / 300)[:, None] + 0.1 * rng.normal(size=(n, 2))
        columns = {"wind": values[:, 0], "pressure": values[:, 1], "holiday": np.arange(n) % 2.0, "coast": item}
        parts.append(pd.DataFrame({"item_id": item, "timestamp": stamps, **columns}))
    both = pd.concat(parts, ignore_index=True)
    both.loc[::3, "wind"] = np.nan
    return both


def split(df):
    number = df.groupby("item_id").cumcount()
    return df[number < BEGUN], df[number >= BEGUN]


def queries(df):
    last = df.groupby("item_id")["timestamp"].max()
    a, b = last.index
    rows = [(b, "2h"), (a, "90min"), (b, "10min")]
    times = [last[item] + pd.Timedelta(after) for item, after in rows]
    return pd.DataFrame({"timestamp": times, "item_id": [item for item, _ in rows], "holiday": 1.0}, index=[5, 1, 8])


def fit(df, **kwargs):
    given = {"target": ["wind", "pressure"], "static": ["coast"], "known": ["holiday"], **kwargs}
    estimator = {**SMALL, "scaling": "global"}
    return S5Forecaster(freq=None, horizon="6h", estimator_kwargs=estimator, verbose=False, **given).fit(df)


@pytest.fixture(scope="module")
def fitted():
    return fit(irregular())


@pytest.mark.parametrize("tz", [None, "Europe/Paris"])
def test_a_stream_equals_a_forecast_from_the_whole_history(fitted, tz):
    """With scaling="global" a stream keeps no scale of its start; the rows span a change to summer time."""
    df = irregular(tz)
    forecaster = fitted if tz is None else fit(df)
    early, later = split(df)
    stream = forecaster.stream(early)
    for _, rows in later.sample(frac=1, random_state=0).groupby(later["timestamp"].dt.floor("2h"), sort=True):
        stream.update(rows.drop(columns="coast"))
    found = stream.predict(times=queries(df))
    pd.testing.assert_frame_equal(found, forecaster.predict(df, times=queries(df)), atol=1e-5)
    assert stream.predict(times=queries(df), quantile_levels=[0.5]).columns.tolist()[-4:] == [
        "wind_mean",
        "wind_0.5",
        "pressure_mean",
        "pressure_0.5",
    ]


def test_the_time_zone_of_new_rows_and_times_does_not_change_the_forecast(tmp_path):
    df = irregular("Europe/Paris")
    forecaster, (early, later) = fit(df), split(df)
    away = later.assign(timestamp=later["timestamp"].dt.tz_convert("Asia/Tokyo"))
    times = queries(df)
    expected = forecaster.stream(early).update(later).predict(times=times)
    stream = forecaster.stream(early).update(away)
    pd.testing.assert_frame_equal(stream.predict(times=times), expected, check_exact=True)
    found = stream.predict(times=times.assign(timestamp=times["timestamp"].dt.tz_convert("Asia/Tokyo")))
    same = [name for name in expected if name != "timestamp"]
    pd.testing.assert_frame_equal(found[same], expected[same], check_exact=True)
    assert str(found["timestamp"].dt.tz) == "Asia/Tokyo"


def test_a_grid_and_times_beyond_the_horizon():
    df = irregular("Europe/Paris")
    forecaster = fit(df, known=[])
    stream = forecaster.stream(df)
    pd.testing.assert_frame_equal(stream.predict(every="90min"), forecaster.predict(every="90min"), atol=1e-5)
    with pytest.warns(UserWarning, match=r"series 'a': .* is 12 h ahead"):
        stream.predict(horizon="12h", every="12h")
    with pytest.raises(ValueError, match="not both"):
        stream.predict(times=queries(df), every="1h")


def test_new_series_and_saved_streams(fitted, tmp_path):
    df = irregular()
    stream = fitted.stream()
    new = df.assign(item_id=df["item_id"] + "2")
    with pytest.raises(ValueError, match=r"series 'a2' is new: add its static columns \['coast'\]"):
        stream.update(new.drop(columns="coast"))
    assert stream.update(new).items == ["a", "b", "a2", "b2"]
    assert repr(stream) == f"FrameStream(4 series, last time {df['timestamp'].max()})"
    stream.save(tmp_path / "stream")
    fitted.save(tmp_path / "model")
    again = S5Forecaster.load(tmp_path / "model").stream(saved=tmp_path / "stream")
    times = queries(new)
    pd.testing.assert_frame_equal(again.predict(times=times), stream.predict(times=times))
    with pytest.raises(ValueError, match="not both"):
        fitted.stream(df, saved=tmp_path / "stream")


def test_streams_with_time_zones_of_any_library_are_saved(tmp_path):
    forecaster = fit(irregular("Europe/Paris"))
    for number, zone in enumerate([dateutil.tz.gettz("Europe/Berlin"), dateutil.tz.tzoffset(None, 7200)]):
        df = irregular("UTC").assign(timestamp=lambda rows, zone=zone: rows["timestamp"].dt.tz_convert(zone))
        stream = forecaster.stream(df)
        stream.save(tmp_path / str(number))
        again = forecaster.stream(saved=tmp_path / str(number))
        expected = stream.predict(times=queries(df))
        pd.testing.assert_frame_equal(again.predict(times=queries(df)), expected, check_exact=True)
    nameless = SimpleNamespace(tz=dateutil.tz.tzstr("CET-1CEST"))  # pandas has no such times
    stream.ends = stream.ends._replace(last=[nameless])
    with pytest.raises(ValueError, match="cannot be saved, because the zone has no name"):
        stream.save(tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda df: df.iloc[[3]],
            r"series 'a': timestamp 2024-\S+ \S+ is not after the last observation, at .*remove rows",
        ),
        (lambda df: df.iloc[[3, 3]], r"series 'a': column 'timestamp' has .* more than once"),
        (lambda df: df.assign(wind="x"), r"series 'a': column 'wind' must hold numbers"),
        (lambda df: df.drop(columns="item_id"), "must both have, or both lack, a column 'item_id'"),
        (lambda df: df.assign(timestamp=1.0, item_id=range(60)), "holds numbers"),
        (lambda df: df.assign(timestamp=df["timestamp"].dt.tz_localize("UTC") + pd.Timedelta("9D")), "has a time zone"),
        (
            lambda df: df.assign(timestamp=df["timestamp"].dt.tz_localize("UTC"), item_id="new").iloc[:1],
            "series 'new': timestamp has a time zone",
        ),
    ],
)
def test_invalid_rows_leave_the_stream_unchanged(fitted, change, message):
    df = irregular()
    stream = fitted.stream(df)
    before = stream.predict(times=queries(df))
    with pytest.raises(ValueError, match=message):
        stream.update(change(df))
    stream.update(df.iloc[:0])
    pd.testing.assert_frame_equal(stream.predict(times=queries(df)), before)


def test_one_series_with_numeric_times():
    df = irregular().query("item_id == 'a'").drop(columns=["item_id", "coast", "holiday"])
    df["timestamp"] = (df["timestamp"] - df["timestamp"].min()) / pd.Timedelta("1h")
    estimator = {**SMALL, "scaling": "global"}
    forecaster = S5Forecaster(freq=None, horizon=6.0, target="pressure", estimator_kwargs=estimator, verbose=False)
    forecaster.fit(df)
    stream = forecaster.stream(df[:9]).update(df[9:])
    pd.testing.assert_frame_equal(stream.predict(every=1.5), forecaster.predict(every=1.5), atol=1e-5)


def regular(tz=None, n=60):
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-03-30", periods=n, freq="h", tz=tz)
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": stamps, "target": np.sin(np.arange(n) / 4) + rng.normal(size=n)})
        for item in (7, 8)
    ]
    return pd.concat(parts, ignore_index=True).assign(holiday=lambda df: np.arange(len(df)) % 2.0)


def autoregressive(df, **kwargs):
    estimator = {**SMALL, "context_length": 24, "lags_seq": [1, 2, 24], "num_parallel_samples": 20, "scaling": "none"}
    estimator["recursion"] = "encoder"
    given = dict(freq="h", known=["holiday"], model="autoregressive", estimator_kwargs=estimator, verbose=False)
    return S5Forecaster(4, **{**given, **kwargs}).fit(df)


@pytest.mark.parametrize("tz", [None, "Europe/Paris"])
def test_regular_series_in_updates_of_any_size(tz, tmp_path):
    """The states do not depend on the size of the updates; the rows span a change to summer time."""
    df = regular(tz)
    forecaster = autoregressive(df)
    number = df.groupby("item_id").cumcount()
    stamps = forecaster.frequency_.range(df["timestamp"].max(), 5)[1:]
    future = pd.DataFrame({"item_id": np.repeat([7, 8], 4), "timestamp": stamps.append(stamps), "holiday": 1.0})
    at_start = forecaster.stream(df)
    pd.testing.assert_frame_equal(at_start.predict(future), forecaster.predict(df, future), atol=1e-5)
    found = []
    for size in (1, 5, 40):
        stream = forecaster.stream(df[number < 24])
        for _, rows in df[(number >= 24) & (number != 30)].groupby(number // size):
            stream.update(rows)
        found.append(stream.predict(future))
    pd.testing.assert_frame_equal(found[0], found[1], atol=1e-5)
    pd.testing.assert_frame_equal(found[0], found[2], atol=1e-5)
    pd.testing.assert_series_equal(found[0]["timestamp"], future["timestamp"], check_freq=False)
    stream.save(tmp_path / "stream")
    forecaster.save(tmp_path / "model")
    again = S5Forecaster.load(tmp_path / "model").stream(saved=tmp_path / "stream")
    pd.testing.assert_frame_equal(again.predict(future), stream.predict(future))
    for wrong, message in (
        (df.iloc[[3]], r"series 7: timestamp 2024-\S+ \S+ is not after the last observation"),
        (df.assign(item_id=df["item_id"] + 2), r"series 9 cannot be normalized.*give its history to stream\(\)"),
        (
            df.assign(timestamp=df["timestamp"] + pd.Timedelta("99.5h")),
            r"series 7: The timestamp .* is not on the grid",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            stream.update(wrong)
    pd.testing.assert_frame_equal(stream.predict(future), again.predict(future))


def test_models_that_cannot_stream():
    df = regular().drop(columns="holiday")
    for kwargs, reason in (
        (
            {"model": "direct", "estimator_kwargs": SMALL},
            "is bidirectional.*'bidirectional': False.*patch_length=1",
        ),
        (
            {"model": "multivariate", "estimator_kwargs": {**SMALL, "context_length": 24}},
            "forecast jointly have one common state",
        ),
    ):
        with pytest.raises(ValueError, match=reason):
            autoregressive(df, known=[], **kwargs).stream()
    causal = {**SMALL, "layer_kwargs": {"bidirectional": False}, "patch_length": 1}
    forecaster = autoregressive(df, known=[], model="direct", estimator_kwargs=causal)
    pd.testing.assert_frame_equal(forecaster.stream().predict(), forecaster.predict(), atol=1e-5)
