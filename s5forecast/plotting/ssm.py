"""Figures of state-space layers from arrays: transfer functions, eigenvalues, timescales."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from s5forecast.plotting.theme import OBSERVED, PALETTE, line_style, styled, translucent

HEIGHT = 400
SYMBOLS = ("circle-open", "x-thin-open", "diamond-open", "triangle-up-open", "square-open", "cross-thin-open")


def plot_transfer_functions(
    frequencies: ArrayLike,
    transfer_functions: Mapping[str, ArrayLike],
    *,
    reference: str,
    title: str | None = None,
) -> go.Figure:
    r"""Magnitude of transfer functions ``G(i omega)`` and their error relative to one of them, on log axes.

    .. math:: |G(i\omega)|, \qquad |G(i\omega) - G_\mathrm{ref}(i\omega)| / |G_\mathrm{ref}(i\omega)|

    Args:
        frequencies: positive omega ``[F]``, in radians per unit of time.
        transfer_functions: complex ``[F]``, by name.
        reference: name of the transfer function that errors are relative to, drawn in gray.
        title: title of the figure.

    Raises:
        ValueError: the reference is missing, or lengths differ.
    """
    omega = np.asarray(frequencies, dtype=float)
    responses = {name: np.asarray(response) for name, response in transfer_functions.items()}
    if reference not in responses:
        raise ValueError(f"reference={reference!r} is not one of the transfer functions {list(responses)}")
    for name, response in responses.items():
        if response.shape != omega.shape:
            raise ValueError(f"{name!r} has shape {response.shape}, the frequencies {omega.shape}")
    exact = responses.pop(reference)
    figure = make_subplots(1, 2, horizontal_spacing=0.12)
    line = {"color": OBSERVED, "width": 5}
    figure.add_trace(_curve(omega, np.abs(exact), reference, line), 1, 1)
    for number, (name, response) in enumerate(responses.items()):
        figure.add_trace(_curve(omega, np.abs(response), name, line_style(number)), 1, 1)
        error = _curve(omega, np.abs(response - exact) / np.abs(exact), name, line_style(number))
        figure.add_trace(error.update(showlegend=False), 1, 2)
    styled(figure, title=title, height=HEIGHT)
    figure.update_xaxes(title_text="frequency ω", type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    figure.update_yaxes(title_text="magnitude |G(iω)|", col=1)
    return figure.update_yaxes(title_text=f"relative error against {reference}", col=2)


def plot_eigenvalues(eigenvalues: Mapping[str, ArrayLike], *, title: str | None = None) -> go.Figure:
    """Eigenvalues of stable dynamics by decay rate and frequency, on log axes; conjugates coincide.

    Args:
        eigenvalues: complex with negative real parts, by name. Real eigenvalues are drawn at the bottom of the figure.
        title: title of the figure.

    Raises:
        ValueError: a real part is not negative.
    """
    values = {name: np.asarray(Lambda).ravel() for name, Lambda in eigenvalues.items()}
    for name, Lambda in values.items():
        if (Lambda.real >= 0).any():
            raise ValueError(f"{name!r} has eigenvalues with a non-negative real part, which do not decay")
    frequencies = np.abs(np.concatenate(list(values.values())).imag)
    foot = frequencies[frequencies > 0].min(initial=1.0) / 2
    figure = go.Figure([_points(Lambda, name, number, foot) for number, (name, Lambda) in enumerate(values.items())])
    styled(figure, title=title, height=HEIGHT)
    figure.update_xaxes(title_text="rate of decay −Re λ", type="log", dtick=1, exponentformat="power")
    return figure.update_yaxes(title_text="frequency |Im λ|", type="log", dtick=1, exponentformat="power")


def plot_timescales(
    timescales: Mapping[str, ArrayLike], *, unit: str = "steps", bins: int = 30, title: str | None = None
) -> go.Figure:
    """Histograms of timescales on a log axis, such as the times in which states decay by a factor e.

    Args:
        timescales: positive times of any shape, by name; for an S5 layer ``1 / (step * |Re Lambda|)``.
        unit: unit of the times.
        bins: number of bins, shared by all histograms, of equal width in the logarithm.
        title: title of the figure.

    Raises:
        ValueError: a time is not positive.
    """
    times = {name: np.asarray(values, dtype=float).ravel() for name, values in timescales.items()}
    for name, values in times.items():
        if not (values > 0).all():
            raise ValueError(f"{name!r} has times that are not positive")
    edges = _log_edges(list(times.values()), bins)
    figure = go.Figure([_steps(edges, values, name, number) for number, (name, values) in enumerate(times.items())])
    styled(figure, title=title, height=HEIGHT)
    figure.update_xaxes(title_text=f"timescale ({unit})", type="log", dtick=1, exponentformat="power")
    return figure.update_yaxes(title_text="share of the states", rangemode="tozero", tickformat=".0%")


def _curve(x: np.ndarray, y: np.ndarray, name: str, line: dict[str, object]) -> go.Scatter:
    hover = "%{x:.3~g}: %{y:.3~g}"
    return go.Scatter(x=x, y=y, name=name, mode="lines", line=line, legendgroup=name, hovertemplate=hover)


def _points(Lambda: np.ndarray, name: str, number: int, foot: float) -> go.Scatter:
    frequency = np.abs(Lambda.imag)
    marker = {"symbol": SYMBOLS[number % len(SYMBOLS)], "color": PALETTE[number % len(PALETTE)], "size": 8}
    points = go.Scatter(x=-Lambda.real, y=np.maximum(frequency, foot), name=name, mode="markers", marker=marker)
    hover = "decay %{x:.3~g}<br>frequency %{customdata:.3~g}"
    return points.update(customdata=frequency, hovertemplate=hover, marker_line_width=1.5)


def _log_edges(values: Sequence[np.ndarray], bins: int) -> np.ndarray:
    together = np.concatenate(values)
    return np.geomspace(together.min() * (1 - 1e-9), together.max() * (1 + 1e-9), bins + 1)


def _steps(edges: np.ndarray, values: np.ndarray, name: str, number: int) -> go.Scatter:
    """A histogram as a filled line, so that overlapping histograms can be distinguished."""
    shares = np.histogram(values, edges)[0] / len(values)
    line, fill = line_style(number), translucent(PALETTE[number % len(PALETTE)], 0.15)
    outline = go.Scatter(x=np.repeat(edges, 2), y=np.repeat([0, *shares, 0], 2)[1:-1], name=name, mode="lines")
    return outline.update(line=line, fill="tozeroy", fillcolor=fill, hovertemplate="%{x:.3~g}: %{y:.1%}")
