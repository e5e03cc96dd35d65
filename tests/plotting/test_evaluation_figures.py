"""Figures of forecast quality."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from s5forecast.plotting.evaluation import (
    plot_calibration,
    plot_coverage_width,
    plot_error_by_horizon,
    plot_pit,
    plot_score_over_time,
)
from s5forecast.plotting.theme import line_style


def frame(spread=1.0):
    target = np.random.default_rng(0).normal(size=20000)
    return pd.DataFrame({"target": target, **{f"0.{k}": spread * ndtri(k / 10) * np.ones(20000) for k in range(1, 10)}})


def test_calibration_is_on_the_diagonal_or_below_for_narrow_intervals():
    figure = plot_calibration({"good": frame(), "narrow": frame(0.5)}, title="Calibration")
    assert [trace.name for trace in figure.data] == ["calibrated"] * 2 + ["good"] * 2 + ["narrow"] * 2
    good, inside = figure.data[2:4]
    np.testing.assert_allclose(good.y, good.x, atol=0.015)
    np.testing.assert_allclose(inside.y, inside.x, atol=0.015)
    np.testing.assert_allclose(inside.x, [0.2, 0.4, 0.6, 0.8])
    assert (np.asarray(figure.data[5].y) < np.asarray(figure.data[5].x) - 0.05).all()
    assert sum(trace.showlegend for trace in figure.data) == 3


def test_missing_targets_are_excluded():
    half = frame()
    half.loc[::2, "target"] = np.nan
    np.testing.assert_allclose(plot_calibration({"half": half}).data[2].y, np.arange(1, 10) / 10, atol=0.02)


def test_error_by_horizon_has_a_panel_for_each_metric():
    errors = pd.DataFrame({"QL": [1.0, 2.0], "MASE": [0.5, 0.7]}, index=pd.Index([1, 2], name="step"))
    figure = plot_error_by_horizon({"a": errors, "b": errors * 2}, metrics=("QL", "MASE"))
    assert [(trace.name, trace.xaxis) for trace in figure.data] == [
        ("a", "x"),
        ("b", "x"),
        ("a", "x2"),
        ("b", "x2"),
    ]
    np.testing.assert_array_equal(figure.data[3].y, [1.0, 1.4])
    assert figure.layout.yaxis2.title.text == "MASE"
    assert len({trace.line.color for trace in figure.data}) == len({trace.line.dash for trace in figure.data}) == 2
    with pytest.raises(ValueError, match="'a' has no metric 'WQL'"):
        plot_error_by_horizon({"a": errors})


def test_pit_is_flat_if_calibrated_and_u_shaped_for_narrow_intervals():
    figure = plot_pit({"good": frame(), "narrow": frame(0.5)})
    good, narrow = (np.asarray(trace.y)[1:-1] for trace in figure.data[1:])
    np.testing.assert_allclose(good, 1, atol=0.1)
    assert narrow[0] > 2 and narrow[-1] > 2 and narrow[len(narrow) // 2] < 0.7
    widths = np.diff(figure.data[1].x)[1:-1:2]
    assert widths @ good[::2] == pytest.approx(1)
    assert plot_pit({"one": frame()}).data[1].fill == "tozeroy"


def test_coverage_against_width():
    figure = plot_coverage_width({"good": frame(), "wide": frame(2.0)})
    good, wide = figure.data
    np.testing.assert_allclose(good.x, [0.2, 0.4, 0.6, 0.8], atol=0.02)
    np.testing.assert_allclose(wide.y, 2 * np.asarray(good.y))
    np.testing.assert_allclose(good.y, 2 * ndtri([0.6, 0.7, 0.8, 0.9]))
    assert len(figure.layout.shapes) == 4


def test_score_over_time():
    stamps = pd.Index(pd.date_range("2024", periods=3, freq="D"), name="cutoff")
    scores = pd.DataFrame({"WQL": [1.0, 2.0, 3.0]}, index=stamps)
    figure = plot_score_over_time({"a": scores})
    assert list(figure.data[0].y) == [1, 2, 3] and len(figure.data[0].x) == 3
    with pytest.raises(ValueError, match="no metric 'QL'"):
        plot_score_over_time({"a": scores}, metrics=("QL",))


def test_lines_of_many_models_differ():
    styles = [(style["color"], style["dash"]) for style in map(line_style, range(12))]
    assert len(set(styles)) == 12
    assert len({color for color, _ in styles[:8]}) == 8 and len({dash for _, dash in styles[:6]}) == 6
