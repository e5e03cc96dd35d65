"""The page of a check: shares of observed steps, missing intervals, outliers and marked statistics."""

import re

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster
from s5forecast.plotting.checks import (
    BINS,
    _observed_shares,
    _series_section,
    _traces,
    _within_axis,
    plot_availability,
    write_check,
)


def frame(n, items=("a", "b"), freq="h"):
    stamps = pd.date_range("2024-01-01", periods=n, freq=freq)
    values = np.random.default_rng(0).poisson(20, (len(items), n)).astype(float)
    return pd.concat(
        [pd.DataFrame({"item_id": i, "timestamp": stamps, "target": y}) for i, y in zip(items, values, strict=True)],
        ignore_index=True,
    )


def check(df, freq="h"):
    return S5Forecaster(6, freq=freq, estimator_kwargs={"context_length": 12}).check(df)


def shares(result, drawn=(0, 1)):
    return _observed_shares(result.rows, drawn, result.grid)[1]


@pytest.mark.parametrize("n", [50, 250, 3000, 3100])
def test_complete_series_are_observed_at_all_steps(n):
    found = shares(check(frame(n)))
    assert found.shape == (2, min(n, BINS)) and (found == 1).all()


def test_shares_count_missing_values_and_absent_rows():
    df = frame(240)
    df.loc[[0, 4, 5], "target"] = np.nan
    df = df.drop(index=[2, 3, *range(240, 260), 479])
    found = shares(check(df))  # two steps in each interval
    np.testing.assert_array_equal(found[0, :4], [0.5, 0, 0, 1])
    assert np.isnan(found[1, :10]).all() and (found[1, 10:] == 1).all()


def test_the_color_bar_shows_the_color_of_complete_intervals():
    result = check(frame(50))
    (heatmap,) = plot_availability(result.rows, [0], result.grid).data
    positions, colors = zip(*heatmap.colorscale, strict=True)
    one = 1 / heatmap.zmax
    assert positions[1] == positions[2] < one < positions[3] and colors[1] != colors[2] == colors[3]
    assert dict(zip(heatmap.colorbar.ticktext, heatmap.colorbar.tickvals, strict=True))["complete"] > 1
    assert "Blue: complete." in write_check(result)


@pytest.mark.parametrize("freq", ["B", "MS"])
def test_steps_of_different_lengths(freq):
    result = check(frame(200, freq=freq), freq)
    assert (shares(result) == 1).all()
    assert [trace.name for trace in _traces(result.rows, 0, "target", "a", result.grid.asi8)] == ["observed"]


def test_irregular_series_are_not_interrupted():
    df = frame(200, ["a"]).drop(index=range(10, 180))
    df["timestamp"] += pd.to_timedelta(df.index**2 % 50, "min")
    df.loc[185, "target"] = np.nan
    result = S5Forecaster(6, freq=None).check(df)
    assert result.grid is None and "<html" in write_check(result)
    found = shares(result, [0])[0]
    assert np.isnan(found).any() and np.nanmin(found) < 1
    (line,) = _traces(result.rows, 0, "target", "a", None)
    assert not np.isnan(line.y).any()


def test_intervals_without_values_are_drawn():
    df = frame(100, ["a"])
    df.loc[[0, 1, 2, *range(50, 60)], "target"] = np.nan
    result = check(df.drop(index=[80, 81]))
    line, missing = _traces(result.rows, 0, "target", "a", np.sort(result.grid.asi8))
    assert missing.name == "no values"
    hours = [(pd.Timestamp(at) - df["timestamp"][0]) // pd.Timedelta("1h") for at in missing.x]
    assert list(zip(hours[::3], hours[1::3], strict=True)) == [(0, 3), (49, 60), (79, 82)]
    assert np.isnan(line.y).sum() == 2  # a break for each interval within the series


def test_outliers_do_not_hide_the_other_values():
    df = frame(300, ["a"])
    df.loc[[50, 70], "target"] = [99_999.0, -5_000.0]
    result = check(df)
    line, outliers = _traces(result.rows, 0, "target", "a", np.sort(result.grid.asi8))
    others = df["target"].drop([50, 70])
    assert line.y.max() - line.y.min() == 3 * (others.max() - others.min())
    assert list(outliers.customdata) == [99_999.0, -5_000.0]
    assert list(outliers.marker.symbol) == ["triangle-up", "triangle-down"]
    shown, out = _within_axis(others.to_numpy())
    assert len(out) == 0 and (shown == others).all()


def test_missing_values_are_marked():
    df = frame(100)
    df.loc[[110, 111], "target"] = np.nan
    text = write_check(check(df))
    assert '<td class="best">2</td>' in text and "b · missing 2" in text


def test_the_section_of_series_names_outliers_and_gaps():
    result = check(frame(100))
    assert "intervals without values" in _series_section(result, result.rows, {}, [0, 1])
    assert len(re.findall("<h2>", write_check(result))) == 5
