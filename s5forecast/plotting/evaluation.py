"""Figures of how good forecasts were: calibration, and the error over the horizon."""

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from s5forecast.evaluation.calibration import interval_coverage, reliability
from s5forecast.plotting.theme import OBSERVED, line_style, styled

HEIGHT = 400


def plot_calibration(
    forecasts: Mapping[str, pd.DataFrame], *, target: str = "target", title: str | None = None
) -> go.Figure:
    """Nominal against observed shares: of values below each quantile, and inside each central interval.

    A calibrated forecast lies on the diagonal. Below it on the right, the intervals are too narrow.

    Arguments:
        forecasts: by model, a frame with the target and quantile columns such as "0.1".
        title: above the figure.
    """
    figure = make_subplots(1, 2, horizontal_spacing=0.12)
    for column in (1, 2):
        diagonal = go.Scatter(x=[0, 1], y=[0, 1], name="calibrated", mode="lines", hoverinfo="skip")
        diagonal.line = {"color": OBSERVED, "width": 1, "dash": "dot"}
        figure.add_trace(diagonal.update(showlegend=column == 1, legendgroup="calibrated"), 1, column)
    for number, (name, frame) in enumerate(forecasts.items()):
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
    """Metrics over the steps of the horizon, a panel for each.

    Arguments:
        errors: by model, metrics with one row per step, as `Backtest.by("step")` gives them.
        metrics: columns to show.
        title: above the figure.

    Raises:
        ValueError: a metric is missing.
    """
    figure = make_subplots(1, len(metrics), horizontal_spacing=0.12)
    for column, metric in enumerate(metrics, start=1):
        for number, (name, frame) in enumerate(errors.items()):
            if metric not in frame.columns:
                raise ValueError(f"{name!r} has no metric {metric!r}; it has {list(frame.columns)}")
            figure.add_trace(_curve(frame.index, frame[metric], name, number, column == 1), 1, column)
        figure.update_yaxes(title_text=metric, rangemode="tozero", tickformat="~g", col=column)
    styled(figure, title=title, height=HEIGHT)
    figure.update_layout(hovermode="x unified")
    return figure.update_xaxes(title_text="step ahead", tickformat="d")


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
        hovertemplate="%{x:~g}: %{y:.4~g}",
    )
