"""Figures of forecast quality: calibration, PIT, sharpness, and errors over the horizon and over time."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from s5forecast.data.frame_kinds import Frame, to_pandas
from s5forecast.evaluation.diagnostics import interval_coverage, pit_histogram, reliability
from s5forecast.plotting.theme import OBSERVED, PALETTE, line_style, styled, translucent

HEIGHT = 400


def plot_calibration(forecasts: Mapping[str, Frame], *, target: str = "target", title: str | None = None) -> go.Figure:
    """Reliability diagrams: observed against nominal shares of targets below quantiles and inside intervals.

    Calibrated forecasts lie on the diagonal. Points below it in the right panel indicate intervals that are too narrow.

    Args:
        forecasts: frame with the target and quantile columns such as "0.1", by model.
        target: name of the target column.
        title: title of the figure.
    """
    figure = make_subplots(1, 2, horizontal_spacing=0.12)
    for column in (1, 2):
        diagonal = go.Scatter(x=[0, 1], y=[0, 1], name="calibrated", mode="lines", hoverinfo="skip")
        diagonal.line = {"color": OBSERVED, "width": 1, "dash": "dot"}
        figure.add_trace(diagonal.update(showlegend=column == 1, legendgroup="calibrated"), 1, column)
    for number, (name, frame) in enumerate(_pandas(forecasts).items()):
        for column, shares in enumerate((reliability(frame, target), interval_coverage(frame, target)), start=1):
            figure.add_trace(_curve(shares["level"], shares["observed"], name, number, column == 1), 1, column)
    styled(figure, title=title, height=HEIGHT)
    figure.update_xaxes(range=[0, 1], dtick=0.2, constrain="domain")
    figure.update_yaxes(range=[0, 1], dtick=0.2)
    figure.update_xaxes(title_text="quantile level", col=1)
    figure.update_yaxes(title_text="observed share below", col=1)
    figure.update_xaxes(title_text="share of the central interval", col=2)
    figure.update_yaxes(title_text="observed share inside", col=2)
    return figure


def plot_error_by_horizon(
    errors: Mapping[str, pd.DataFrame], *, metrics: Sequence[str] = ("WQL",), title: str | None = None
) -> go.Figure:
    """Metrics over the steps of the horizon, one panel per metric.

    Args:
        errors: metrics with one row per step, as returned by ``Backtest.by("step")``, by model.
        metrics: columns to show.
        title: title of the figure.

    Raises:
        ValueError: a metric is missing.
    """
    figure = _panels(errors, metrics, title)
    return figure.update_xaxes(title_text="step ahead", tickformat="d")


def plot_score_over_time(
    scores: Mapping[str, pd.DataFrame], *, metrics: Sequence[str] = ("WQL",), title: str | None = None
) -> go.Figure:
    """Metrics of the windows over the time of the forecast, one panel per metric.

    Args:
        scores: metrics with one row per cutoff, as returned by ``Backtest.by("cutoff")``, by model.
        metrics: columns to show.
        title: title of the figure.

    Raises:
        ValueError: a metric is missing.
    """
    return _panels(scores, metrics, title).update_xaxes(title_text="time of the forecast")


def plot_pit(forecasts: Mapping[str, Frame], *, target: str = "target", title: str | None = None) -> go.Figure:
    """Histograms of the probability integral transform (PIT), between the quantile levels of the forecast.

    A calibrated forecast is flat at 1. A U shape indicates intervals that are too narrow, a hump intervals that are too
    wide, and a slope a bias.

    Args:
        forecasts: frame with the target and quantile columns such as "0.1", by model.
        target: name of the target column.
        title: title of the figure.
    """
    traces = [go.Scatter(x=[0, 1], y=[1, 1], name="calibrated", mode="lines", hoverinfo="skip")]
    traces[0].line = {"color": OBSERVED, "width": 1, "dash": "dot"}
    for number, (name, frame) in enumerate(_pandas(forecasts).items()):
        bins = pit_histogram(frame, target)
        edges = np.repeat([*bins["lower"], 1.0], 2)
        density = np.concatenate([[0.0], np.repeat(bins["density"], 2), [0.0]])
        trace = go.Scatter(x=edges, y=density, name=name, mode="lines", line=line_style(number))
        if len(forecasts) == 1:
            trace.update(fill="tozeroy", fillcolor=translucent(PALETTE[0], 0.2))
        traces.append(trace.update(hovertemplate="%{y:.3~g}"))
    figure = styled(go.Figure(traces), title=title, height=HEIGHT)
    figure.update_xaxes(range=[0, 1], dtick=0.1, title_text="quantile level of the target")
    return figure.update_yaxes(title_text="density", rangemode="tozero")


def plot_coverage_width(
    forecasts: Mapping[str, Frame], *, target: str = "target", title: str | None = None
) -> go.Figure:
    """Mean width of the central intervals against their observed coverage, one point for each interval.

    At equal coverage, the lower line is the sharper forecast. Dotted lines are the nominal shares.

    Args:
        forecasts: frame with the target and quantile columns such as "0.1", by model.
        target: name of the target column.
        title: title of the figure.
    """
    figure = go.Figure()
    nominal = set()
    for number, (name, frame) in enumerate(_pandas(forecasts).items()):
        found = interval_coverage(frame, target)
        nominal |= set(found["level"])
        trace = _curve(found["observed"], found["width"], name, number, True)
        trace.update(mode="lines+markers", customdata=100 * found["level"])
        figure.add_trace(trace.update(hovertemplate="%{customdata:.4~g} % interval: %{x:.1%} inside, width %{y:.4~g}"))
    for level in sorted(nominal):
        figure.add_vline(level, line={"color": OBSERVED, "width": 1, "dash": "dot"}, opacity=0.6)
    styled(figure, title=title, height=HEIGHT)
    figure.update_xaxes(range=[0, 1], dtick=0.2, tickformat=".0%", title_text="observed share inside")
    return figure.update_yaxes(title_text="mean width", rangemode="tozero", tickformat="~g")


def _panels(frames: Mapping[str, pd.DataFrame], metrics: Sequence[str], title: str | None) -> go.Figure:
    """Columns of frames over their index, with a panel for each column and a line for each frame."""
    figure = make_subplots(1, len(metrics), horizontal_spacing=0.12)
    for column, metric in enumerate(metrics, start=1):
        for number, (name, frame) in enumerate(frames.items()):
            if metric not in frame.columns:
                raise ValueError(f"{name!r} has no metric {metric!r}; it has {list(frame.columns)}")
            figure.add_trace(_curve(frame.index, frame[metric], name, number, column == 1), 1, column)
        figure.update_yaxes(title_text=metric, rangemode="tozero", tickformat="~g", col=column)
    styled(figure, title=title, height=HEIGHT)
    return figure.update_layout(hovermode="x unified")


def _curve(x: pd.Series | pd.Index, y: pd.Series, name: str, number: int, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers" if len(x) <= 60 else "lines",
        line=line_style(number),
        marker={"size": 6},
        legendgroup=name,
        showlegend=legend,
        hovertemplate="%{y:.4~g}",
    )


def _pandas(frames: Mapping[str, Frame]) -> dict[str, pd.DataFrame]:
    return {name: to_pandas(frame) for name, frame in frames.items()}
