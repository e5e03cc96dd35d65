"""Figures of state-space layers."""

import numpy as np
import pytest

from s5forecast.plotting.ssm import plot_eigenvalues, plot_timescales, plot_transfer_functions

OMEGA = np.geomspace(0.1, 100, 50)
RESPONSES = {"first": 1 / (1j * OMEGA + 1), "exact": 1 / (1j * OMEGA + 2), "second": 2 / (1j * OMEGA + 2)}


def test_magnitudes_and_relative_errors_have_a_panel_each():
    figure = plot_transfer_functions(OMEGA, RESPONSES, reference="exact", title="Transfer functions")
    assert [(trace.name, trace.xaxis) for trace in figure.data] == [
        ("exact", "x"),
        ("first", "x"),
        ("first", "x2"),
        ("second", "x"),
        ("second", "x2"),
    ]
    np.testing.assert_allclose(figure.data[0].y, 1 / np.hypot(OMEGA, 2))
    np.testing.assert_allclose(figure.data[2].y, np.abs((1j * OMEGA + 2) / (1j * OMEGA + 1) - 1))
    np.testing.assert_allclose(figure.data[4].y, 1)
    assert {axis.type for axis in (*figure.select_xaxes(), *figure.select_yaxes())} == {"log"}
    assert sum(trace.showlegend is not False for trace in figure.data) == 3
    assert figure.layout.yaxis2.title.text == "relative error against exact"


def test_lines_differ_in_color_and_dash():
    traces = plot_transfer_functions(OMEGA, RESPONSES, reference="exact").data
    assert len({(trace.line.color, trace.line.dash) for trace in traces}) == 3


def test_transfer_functions_that_cannot_be_compared_are_refused():
    with pytest.raises(
        ValueError, match=r"reference='hippo' is not one of the transfer functions \['first', 'exact', 'second'\]"
    ):
        plot_transfer_functions(OMEGA, RESPONSES, reference="hippo")
    with pytest.raises(ValueError, match=r"'short' has shape \(3,\), the frequencies \(50,\)"):
        plot_transfer_functions(OMEGA, {**RESPONSES, "short": np.ones(3)}, reference="exact")


def test_conjugate_eigenvalues_coincide_and_real_ones_are_at_the_bottom():
    figure = plot_eigenvalues({"pairs": [-0.5 + 3j, -0.5 - 3j], "real": [-1.0, -2.0]})
    pairs, real = figure.data
    np.testing.assert_array_equal(pairs.x, 0.5)
    np.testing.assert_array_equal(pairs.y, 3)
    np.testing.assert_array_equal(real.x, [1, 2])
    assert (np.asarray(real.y) > 0).all() and (np.asarray(real.y) < 3).all()
    np.testing.assert_array_equal(real.customdata, 0)
    assert pairs.marker.symbol != real.marker.symbol and pairs.marker.color != real.marker.color
    with pytest.raises(ValueError, match="'grows'"):
        plot_eigenvalues({"grows": [0.1 + 1j]})


def test_timescales_are_shares_over_common_intervals():
    times = {"one": np.geomspace(1, 1000, 31).reshape(1, 31), "other": [10.0, 10.0, 1000.0]}
    figure = plot_timescales(times, unit="hours", bins=6)
    one, other = figure.data
    np.testing.assert_array_equal(one.x, other.x)
    for trace in (one, other):
        heights = np.asarray(trace.y)
        assert heights[0] == heights[-1] == 0 and len(heights) == len(trace.x) == 14
        np.testing.assert_array_equal(heights[1:-1:2], heights[2:-1:2])
        assert heights[1:-1:2].sum() == pytest.approx(1)
    np.testing.assert_allclose(other.x[[0, -1]], [1, 1000])
    assert max(other.y) == pytest.approx(2 / 3)
    assert figure.layout.xaxis.title.text == "timescale (hours)"
    with pytest.raises(ValueError, match="'none'"):
        plot_timescales({"none": [0.0, 1.0]})
