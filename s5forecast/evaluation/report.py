"""Backtests as one self-contained page: a table, fan charts, calibration, the error over the horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from s5forecast.evaluation.backtest import Backtest

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_ITEMS = 30
TIMES = {"fit_seconds": "seconds to fit", "predict_seconds": "seconds to predict"}
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


def report(
    backtests: Sequence[Backtest] | Mapping[str, Backtest],
    path: str | Path | None = None,
    *,
    title: str = "Forecast report",
    history: pd.DataFrame | None = None,
    forecast: pd.DataFrame | None = None,
    note: str = "",
) -> Path | str:
    """One interactive HTML page that needs no network.

    Arguments:
        backtests: of the same windows; the first is drawn as a fan, the median of the second as a line.
        path: file to write; None returns the page as a string.
        title: heading of the page.
        history: long frame item_id, timestamp, target that ends before the forecast.
        forecast: long frame item_id, timestamp, mean, quantiles of the future, drawn after the history.
        note: a paragraph below the table.

    Returns:
        The path, or the page if no path is given. Of many series, the 30 with the largest targets are drawn.

    Raises:
        ValueError: there is no backtest, or two have the same name.
    """
    named = dict(backtests) if isinstance(backtests, Mapping) else {one.name: one for one in backtests}
    if not named or len(named) < len(backtests):
        raise ValueError("report needs a backtest, and names that differ: report({'a': ..., 'b': ...})")
    first = next(iter(named))
    second = {name: one.forecasts for name, one in list(named.items())[1:2]}
    sections = [_leaderboard_section(named, note)]
    items = _largest(named[first].forecasts)
    if forecast is not None:
        sections.append(_forecast_section(first, history, forecast, items))
    sections += [
        _windows_section(first, named[first], second, history, items),
        _calibration_section(named),
        _horizon_section(named),
    ]
    page = _page(title, _summary(named), sections)
    if path is None:
        return page
    Path(path).write_text(page, encoding="utf-8")
    return Path(path)


def leaderboard(backtests: Mapping[str, Backtest]) -> pd.DataFrame:
    """Metrics and seconds, one row per model."""
    table = pd.concat([one.metrics.set_axis([name]) for name, one in backtests.items()]).rename_axis("model")
    times = [column for column in TIMES if column in table]
    return table[[*table.columns.difference(times, sort=False), *times]]


def _leaderboard_section(backtests: Mapping[str, Backtest], note: str) -> str:
    text = "Over all series, windows and steps. Lower is better; coverage is best near its nominal share."
    extra = f"<p>{escape(note)}</p>" if note else ""
    return _section("Leaderboard", text, f'<div class="scroll">{_table(leaderboard(backtests))}</div>{extra}')


def _forecast_section(name: str, history: pd.DataFrame | None, forecast: pd.DataFrame, items: list[str]) -> str:
    from s5forecast.plotting.forecasts import plot_forecast

    known = _items(forecast)
    items = [item for item in items if item in known] or known[:MAX_ITEMS]
    horizon = int(_item_column(forecast).value_counts().max())
    figure = plot_forecast(history, forecast, items=items)
    text = f"The next {horizon} steps by {name}: median and central intervals after the last observed values."
    return _section("Forecast", text, _selectable(figure, "forecast", items, len(known)))


def _windows_section(
    name: str,
    backtest: Backtest,
    others: Mapping[str, pd.DataFrame],
    history: pd.DataFrame | None,
    items: list[str],
) -> str:
    from s5forecast.plotting.forecasts import plot_backtest

    figure = plot_backtest(backtest, history, others=others, items=items)
    beside = "".join(f"; the median of {other} is drawn as a line" for other in others)
    text = f"What {name} forecast for each window from the values before it, and what happened{beside}."
    count = backtest.forecasts["item_id"].nunique()
    return _section("Backtest windows", text, _selectable(figure, "backtest", items, count))


def _calibration_section(backtests: Mapping[str, Backtest]) -> str:
    from s5forecast.plotting.evaluation import plot_calibration

    figure = plot_calibration({name: one.forecasts for name, one in backtests.items()})
    text = (
        "How often the values fell below each quantile (left) and inside each central interval (right). "
        "Values that equal quantiles, as counts do, are spread over their levels. Calibrated forecasts lie on the "
        "dotted diagonal; below it on the right, intervals are too narrow."
    )
    return _section("Calibration", text, _figure(figure, "calibration"))


def _horizon_section(backtests: Mapping[str, Backtest]) -> str:
    from s5forecast.plotting.evaluation import plot_error_by_horizon

    if all(one.step.max() == 1 for one in backtests.values()):
        return ""
    scaled = all(one.seasonal_error is not None for one in backtests.values())
    metrics = {"QL": "mean quantile loss", "MASE": "MASE"} if scaled else {"QL": "mean quantile loss"}
    errors = {
        name: replace(one, metric_names=tuple(metrics)).by("step").rename(columns=metrics)
        for name, one in backtests.items()
    }
    figure = plot_error_by_horizon(errors, metrics=tuple(metrics.values()))
    text = "The error of each step ahead, over all series and windows."
    return _section("Error over the horizon", text, _figure(figure, "horizon"))


def _summary(backtests: Mapping[str, Backtest]) -> str:
    """What was measured, and how the first model compares, in words."""
    name, first = next(iter(backtests.items()))
    series = _count(first.forecasts["item_id"].nunique(), "series", "series")
    windows = _count(first.forecasts.groupby("item_id")["cutoff"].nunique().max(), "window")
    scope = f"{series}, {windows} of {_count(first.step.max(), 'step')}"
    table = leaderboard(backtests)
    errors = [str(name) for name in table if name not in TIMES and not str(name).startswith("coverage_")]
    if not errors:
        return f"{name} on {scope}."
    values = dict(zip(table.index, table[errors[0]].astype(float), strict=True))
    rivals = {other: value for other, value in values.items() if other != name and 0 < value < np.inf}
    text = f"{scope}: {name} has a {errors[0]} of {_number(values[name])}"
    if rivals:
        rival = min(rivals, key=lambda other: rivals[other])
        change = 100 * (values[name] / rivals[rival] - 1)
        text += f", {abs(change):.0f} % {'lower' if change <= 0 else 'higher'} than {rival}"
    return f"{text}."


def _table(metrics: pd.DataFrame) -> str:
    best = metrics.apply(_best).to_numpy()
    head = "".join(f"<th>{escape(_heading(str(column)))}</th>" for column in metrics)
    rows = [
        f"<tr><th>{escape(str(name))}</th>{''.join(map(_cell, values, marks))}</tr>"
        for name, values, marks in zip(metrics.index, metrics.to_numpy(dtype=float), best, strict=True)
    ]
    return f"<table><thead><tr><th>model</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(value: float, best: bool) -> str:
    return f'<td class="best">{_number(value)}</td>' if best else f"<td>{_number(value)}</td>"


def _best(column: pd.Series) -> pd.Series:
    """Where a metric is at its best: nearest to nominal for coverage, else lowest; nowhere for times."""
    name = str(column.name)
    if name in TIMES or len(column) == 1:
        return pd.Series(False, index=column.index)
    share = float(name.removeprefix("coverage_")) / 100 if name.startswith("coverage_") else None
    distance = column if share is None else (column - share).abs()
    return distance == distance.min()


def _heading(column: str) -> str:
    share = column.removeprefix("coverage_")
    return TIMES.get(column, column) if share == column else f"coverage of {share} %"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _item_column(frame: pd.DataFrame) -> pd.Series:
    return frame["item_id"].astype(str) if "item_id" in frame else pd.Series("", index=frame.index)


def _items(frame: pd.DataFrame) -> list[str]:
    return list(_item_column(frame).unique())


def _largest(frame: pd.DataFrame) -> list[str]:
    size = frame["target"].abs().groupby(_item_column(frame), sort=False).mean()
    return list(size.sort_values(ascending=False, kind="stable").index[:MAX_ITEMS])


def _selectable(figure: go.Figure, name: str, items: list[str], count: int) -> str:
    """The figure below a selector of its series."""
    if len(items) < 2:
        return _figure(figure, name)
    figure.layout.updatemenus = None
    figure.layout.margin.t = 56
    options = "".join(f'<option value="{escape(item)}">{escape(item)}</option>' for item in items)
    shown = f" {len(items)} of {count}, the largest" if count > len(items) else ""
    selector = f'<label>series <select data-figure="{name}">{options}</select>{shown}</label>'
    return selector + _figure(figure, name)


def _figure(figure: go.Figure, name: str) -> str:
    content = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=CONFIG)
    return f"<figure>{content}</figure>"


def _section(heading: str, text: str, content: str) -> str:
    return f"<section><h2>{heading}</h2><p>{escape(text)}</p>{content}</section>"


def _page(title: str, summary: str, sections: list[str]) -> str:
    from plotly.offline import get_plotlyjs

    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title), summary=escape(summary), plotly=get_plotlyjs(), sections="\n".join(sections)
    )
