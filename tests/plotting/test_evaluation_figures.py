import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from s5forecast.plotting.evaluation import plot_calibration, plot_error_by_horizon


def frame(spread=1.0):
    target = np.random.default_rng(0).normal(size=20000)
    return pd.DataFrame({"target": target, **{f"0.{k}": spread * ndtri(k / 10) * np.ones(20000) for k in range(1, 10)}})


def test_calibration_lies_on_the_diagonal_or_below_when_too_narrow():
    figure = plot_calibration({"good": frame(), "narrow": frame(0.5)}, title="Calibration")
    assert [trace.name for trace in figure.data] == ["calibrated"] * 2 + ["good"] * 2 + ["narrow"] * 2
    good, inside = figure.data[2:4]
    np.testing.assert_allclose(good.y, good.x, atol=0.015)
    np.testing.assert_allclose(inside.y, inside.x, atol=0.015)
    np.testing.assert_allclose(inside.x, [0.2, 0.4, 0.6, 0.8])
    assert (np.asarray(figure.data[5].y) < np.asarray(figure.data[5].x) - 0.05).all()
    assert sum(trace.showlegend for trace in figure.data) == 3


def test_missing_targets_are_left_out():
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
