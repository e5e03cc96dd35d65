"""Fan charts of forecasts and backtests."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from s5forecast.plotting.forecasts import plot_backtest, plot_forecast

LEVELS = [f"0.{level}" for level in range(1, 10)]


def history(*items, length=60, freq="h"):
    stamps = pd.date_range("2024-01-01", periods=length, freq=freq)
    rng = np.random.default_rng(0)
    return pd.concat(
        [pd.DataFrame({"item_id": item, "timestamp": stamps, "target": rng.normal(size=length)}) for item in items],
        ignore_index=True,
    )


def forecast(*items, start="2024-01-03 12:00", length=4, freq="h"):
    stamps = pd.date_range(start, periods=length, freq=freq)
    quantiles = {level: np.arange(length) + ndtri(float(level)) for level in LEVELS}
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": stamps, "mean": np.arange(length) + 0.1, **quantiles})
        for item in items
    ]
    return pd.concat(parts, ignore_index=True)


def windows(*items, steps=(0, 4, 8)):
    start = pd.Timestamp("2024-01-03 12:00")
    cuts = [start + pd.Timedelta(hours=step) for step in steps]
    frames = [forecast(*items, start=cut).assign(cutoff=cut - pd.Timedelta("1h"), target=1.0) for cut in cuts]
    return pd.concat(frames, ignore_index=True)


def by_name(figure):
    return {trace.name: trace for trace in figure.data}


def test_actuals_may_begin_with_the_history():
    past, future = history("a"), forecast("a")
    whole = pd.concat([past, future.assign(target=2.0)])[["item_id", "timestamp", "target"]]
    observed = by_name(plot_forecast(past, future, actuals=whole, max_history=5))["observed"]
    np.testing.assert_array_equal(observed.y, [*past["target"].tail(5), 2, 2, 2, 2])


def test_one_series_is_a_fan_after_its_history():
    past, future = history("a"), forecast("a")
    before = past.copy(), future.copy()
    figure = plot_forecast(past, future, actuals=future.assign(target=2.0), title="Fan")
    pd.testing.assert_frame_equal(past, before[0])
    pd.testing.assert_frame_equal(future, before[1])

    names = [trace.name for trace in figure.data]
    assert names == ["80, 60, 40, 20 % intervals", "60 %", "40 %", "20 %", "observed", "median"]
    assert not figure.layout.updatemenus
    assert figure.layout.title.text == "Fan"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("timestamp", "target")
    observed = by_name(figure)["observed"]
    np.testing.assert_array_equal(observed.y, [*past["target"].tail(50), 2, 2, 2, 2])
    np.testing.assert_array_equal(pd.to_datetime(by_name(figure)["median"].x), future["timestamp"])
    np.testing.assert_allclose(by_name(figure)["median"].customdata, future[["0.1", "0.9"]])


def test_the_default_title_names_the_target_and_a_single_series():
    assert plot_forecast(None, forecast("a")).layout.title.text == "Forecast of target, a"
    assert plot_forecast(None, forecast("a", "b")).layout.title.text == "Forecast of target"
    assert plot_forecast(None, forecast("a").drop(columns="item_id")).layout.title.text == "Forecast of target"
    assert plot_forecast(None, forecast("a"), title="").layout.title.text is None
    figure = plot_forecast(None, forecast("a")).update_layout(title_text="Mine")
    assert figure.layout.title.text == "Mine"


@pytest.mark.parametrize("shift", [0, 400])
def test_the_end_of_each_series_has_room(shift):
    first, second = forecast("a"), forecast("b", start=pd.Timestamp("2024-01-03 12:00") + pd.Timedelta(hours=shift))
    figure = plot_forecast(history("a", "b"), pd.concat([first, second]))
    ends = [first["timestamp"].max(), second["timestamp"].max()]
    begin = pd.Timestamp("2024-01-01 10:00")  # 50 rows of history
    included = [button.args[1]["xaxis.autorangeoptions.include"] for button in figure.layout.updatemenus[0].buttons]
    assert figure.layout.xaxis.autorangeoptions.include == included[0]
    for end, room in zip(ends, included, strict=True):
        assert pd.Timestamp(room) - end == 0.03 * (end - begin)
    assert figure.layout.xaxis.range is None


def test_numbers_as_times_have_room():
    minutes = plot_forecast(None, forecast("a").assign(timestamp=[0.0, 1.5, 100.0, 200.0]))
    assert minutes.layout.xaxis.autorangeoptions.include == 206


def test_bands_are_nested():
    bands = [np.asarray(trace.y, dtype=float) for trace in plot_forecast(None, forecast("a")).data if trace.fill]
    upper, lower = np.stack([band[:4] for band in bands]), np.stack([band[:3:-1] for band in bands])
    np.testing.assert_allclose(upper[0], forecast("a")["0.9"])
    np.testing.assert_allclose(lower[0], forecast("a")["0.1"])
    assert (np.diff(upper, axis=0) < 0).all() and (np.diff(lower, axis=0) > 0).all() and (lower < upper).all()


def test_several_series_have_a_selector():
    figure = plot_forecast(history("a", "b", "c"), forecast("a", "b", "c"), items=["c", "a"])
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["c", "a"]
    assert [trace.visible for trace in figure.data] == [True] * 6 + [False] * 6
    assert list(buttons[1].args[0]["visible"]) == [False] * 6 + [True] * 6
    assert {trace.meta["item"] for trace in figure.data} == {"c", "a"}


def test_many_series_are_cut_to_thirty():
    figure = plot_forecast(None, forecast(*range(40)))
    assert len(figure.layout.updatemenus[0].buttons) == 30


def test_a_single_series_needs_no_name():
    past, future = history("a").drop(columns="item_id"), forecast("a").drop(columns="item_id")
    for one in (future, future.assign(item_id="x")):
        assert "observed" in by_name(plot_forecast(past, one))


def test_columns_may_have_other_names():
    names = {"target": "y", "item_id": "unique_id", "timestamp": "ds"}
    past, future = history("a").rename(columns=names), forecast("a").rename(columns=names)
    figure = plot_forecast(past, future, **names)
    assert figure.layout.yaxis.title.text == "y"
    with pytest.raises(ValueError, match=r"the history has no column \['y'\]"):
        plot_forecast(past.rename(columns={"y": "z"}), future, **names)
    with pytest.raises(ValueError, match=r"items=\['z'\] have no forecast; choose from \['a'\]"):
        plot_forecast(past, future, items=["z"], **names)


def test_unused_column_may_have_a_standard_name():
    names = {"target": "y", "item_id": "airport"}
    past, future = history("a", "b").rename(columns=names), forecast("a", "b").rename(columns=names)
    figure = plot_forecast(past.assign(item_id="carrier", target=0.0), future, **names)
    expected = plot_forecast(past, future, **names)
    for one, other in zip(figure.data, expected.data, strict=True):
        np.testing.assert_array_equal(one.y, other.y)


def test_irregular_times_are_drawn_unchanged():
    stamps = pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:07", "2024-01-05 13:01", "2024-01-05 13:02"])
    future = forecast("a").assign(timestamp=stamps)
    figure = plot_forecast(None, future)
    np.testing.assert_array_equal(pd.to_datetime(by_name(figure)["median"].x), stamps)
    minutes = plot_forecast(None, forecast("a").assign(timestamp=[0.0, 1.5, 100.0, 100.1]))
    np.testing.assert_array_equal(by_name(minutes)["median"].x, [0.0, 1.5, 100.0, 100.1])


def test_events_are_points_and_steps_a_line():
    rng = np.random.default_rng(0)
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.exponential(30, 60).cumsum().round(), "min")
    events = history("a").assign(timestamp=stamps)
    later = forecast("a", start=stamps[-1] + pd.Timedelta("1h"))
    assert by_name(plot_forecast(events, later))["observed"].mode == "markers"
    minutes = events.assign(timestamp=np.geomspace(1, 9, 60)), later.assign(timestamp=[10.0, 11.0, 12.0, 13.0])
    assert by_name(plot_forecast(*minutes))["observed"].mode == "markers"
    windows = later.assign(cutoff=stamps[-1], target=1.0)
    assert by_name(plot_backtest(windows, events))["observed"].mode == "markers"


@pytest.mark.parametrize("freq", ["h", "MS", "QE", "B", "W-TUE"])
def test_calendar_gaps_are_not_uneven(freq):
    past = history("a", freq=freq).drop(index=[3, 4, 9, 20, 41])
    assert by_name(plot_forecast(past, forecast("a", start="2060-01-01")))["observed"].mode == "lines"


def test_time_zones_show_wall_time():
    past, future = history("a"), forecast("a")
    zoned = [frame.assign(timestamp=frame["timestamp"].dt.tz_localize("America/New_York")) for frame in (past, future)]
    aware, naive = plot_forecast(*zoned), plot_forecast(past, future)
    for one, other in zip(aware.data, naive.data, strict=True):
        np.testing.assert_array_equal(one.x, other.x)


def test_isolated_observations_and_steps_are_visible():
    past = history("a", length=5).assign(target=[1.0, np.nan, 2.0, np.nan, np.nan])
    figure = plot_forecast(past, forecast("a", length=1))
    assert by_name(figure)["observed"].mode == by_name(figure)["median"].mode == "lines+markers"
    assert all(trace.line.width > 0 for trace in figure.data if trace.fill)


def test_means_and_nullable_values():
    point = forecast("a")[["item_id", "timestamp", "mean"]]
    past = history("a").assign(target=pd.array([1, None] * 30, dtype="Int64"))
    assert [trace.name for trace in plot_forecast(past, point).data] == ["observed", "mean"]
    assert "mean" in by_name(plot_forecast(None, forecast("a"), mean=True))


def test_backtest_windows_have_gaps_between_them():
    frame, past = windows("a", "b"), history("a", "b")
    figure = plot_backtest(frame, past, others={"naive": frame})
    traces = by_name(figure)
    median = np.asarray(traces["median"].y, dtype=float)
    assert list(np.flatnonzero(np.isnan(median))) == [4, 9] and traces["median"].x[4] is None
    assert list(np.flatnonzero(np.isnan(np.asarray(traces["60 %"].y, dtype=float)))) == [8, 17]
    np.testing.assert_array_equal(np.asarray(traces["naive"].y, dtype=float), median)
    assert traces["naive"].line.dash != traces["median"].line.dash
    assert len(traces["observed"].x) == 3 * 4 + 3 * 4
    assert [button.label for button in figure.layout.updatemenus[0].buttons] == ["a", "b"]


def test_first_of_overlapping_windows_is_drawn():
    figure = plot_backtest(windows("a", steps=(0, 1, 2, 3, 4)))
    assert np.isnan(np.asarray(by_name(figure)["median"].y, dtype=float)).sum() == 1
    assert len(by_name(figure)["observed"].x) == 8


def test_years_that_are_not_supported_are_refused():
    old = pd.DataFrame({"timestamp": np.arange("1500-01-01", "1500-01-20", dtype="datetime64[D]"), "target": 1.0})
    old["timestamp"] = old["timestamp"].astype("datetime64[s]")
    with pytest.raises(ValueError, match=r"the history has the time 1500-01-01.* from 1678 to 2261"):
        plot_forecast(old, forecast("a").drop(columns="item_id"))


def test_frames_that_cannot_be_drawn():
    days = pd.date_range("2024-01-01", periods=6, freq="D")
    history = pd.DataFrame({"timestamp": days[:4], "target": 1.0})
    forecast = pd.DataFrame({"timestamp": days[4:], "mean": 2.0, "0.5": 2.0})
    text = "the times of the forecast are numbers, but those of the history are datetimes; convert one of them"
    with pytest.raises(ValueError, match=text):
        plot_forecast(history, forecast.assign(timestamp=[4, 5]))
    with pytest.raises(ValueError, match=r"needs the column '0.5' or 'mean', .* its columns are \['timestamp'"):
        plot_forecast(history, forecast.drop(columns=["mean", "0.5"]))
    assert plot_forecast(history, forecast.rename(columns={"0.5": "0.1"})).data[-1].name == "mean"
