"""Report of backtests as one self-contained HTML page: tables, fan charts, errors, calibration, sharpness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from s5forecast.data.frame_kinds import Frame, takes_frames
from s5forecast.evaluation.comparison import check_same_windows
from s5forecast.evaluation.leaderboard import is_error, leaderboard
from s5forecast.evaluation.metrics import points_of
from s5forecast.evaluation.result import Backtest
from s5forecast.plotting.evaluation import (
    plot_calibration,
    plot_coverage_width,
    plot_error_by_horizon,
    plot_pit,
    plot_score_over_time,
)
from s5forecast.plotting.forecasts import plot_backtest, plot_forecast
from s5forecast.plotting.page import figure_html, page, scrollable, section, selectable, write
from s5forecast.plotting.tables import leaderboard_table, number, pairwise_table

MAX_ITEMS, MAX_WINDOWS = 30, 14
RANKING = "WQL"  # relative to the level of a series, so that series can be ranked


@takes_frames("history", "forecast")
def write_report(
    backtests: Backtest | Sequence[Backtest] | Mapping[str, Backtest] | Any,
    path: str | Path | None = None,
    *,
    title: str = "Forecast report",
    history: Frame | None = None,
    forecast: Frame | None = None,
    note: str = "",
) -> Path | str:
    """Write an interactive HTML page with forecasts, errors, calibration and sharpness, which works offline.

    The page shows the last 14 windows, and at most 30 series: those that the first model forecasts best and worst.

    Args:
        backtests: one backtest, several of the same windows, or a comparison (an object with ``backtests``,
            ``leaderboard()`` and ``pairwise()``), whose best model comes first. The first model is drawn as a fan, the
            median of the second (of the ``baseline`` of a comparison) as a line.
        path: file to write; None returns the page as a string.
        title: heading of the page.
        history: long frame with the columns of the backtested frame that ends before the forecast.
        forecast: long frame with item_id, timestamp, mean and quantiles of the future, drawn after the history; also
            with the column names of the backtested frame.
        note: a paragraph below the leaderboard.

    Returns:
        The path, or the page if no path is given.

    Raises:
        ValueError: there is no backtest, two have the same name, or they have different windows.
    """
    named, table, pairs = _read(backtests)
    first = next(iter(named))
    rivals = [name for name in (getattr(backtests, "baseline", None), *named) if name not in (None, first)]
    second = {name: named[name].rows for name in rivals[:1]}
    items = _ranked(named[first])
    history, forecast = (None if one is None else named[first].with_standard_names(one) for one in (history, forecast))
    sections = [_leaderboard_section(table, note), "" if pairs is None else _pairwise_section(pairs, list(named))]
    if forecast is not None:
        sections.append(_forecast_section(first, history, forecast, items))
    sections += [
        _windows_section(first, named[first], second, history, items),
        _horizon_section(named),
        _time_section(named),
        _calibration_section(named),
        _pit_section(named),
        _width_section(named),
    ]
    return write(page(title, _summary(named, table), sections), path)


def _read(given: Any) -> tuple[dict[str, Backtest], pd.DataFrame, pd.DataFrame | None]:
    """Backtests by name, their leaderboard, and the pairwise table of a comparison."""
    if hasattr(given, "backtests"):
        table = given.leaderboard()
        pairs = given.pairwise() if len(table) > 1 else None
        return {name: given.backtests[name] for name in table.index}, table, pairs
    given = [given] if isinstance(given, Backtest) else given
    named = dict(given) if isinstance(given, Mapping) else {one.name: one for one in given}
    if not named or len(named) < len(given):
        raise ValueError("no backtest, or two of the same name; name them: write_report({'a': ..., 'b': ...})")
    check_same_windows(named)
    return named, leaderboard(named), None


def _leaderboard_section(table: pd.DataFrame, note: str) -> str:
    text = "Over all series, windows and steps. Lower errors are better; coverage is best close to its nominal share."
    found = [f"{', '.join(names)} of its {point}" for point, names in points_of(table.columns).items() if names]
    text += f" Errors of the point forecast: {'; '.join(found)}." if found else ""
    if "skill" in table:
        text += " Skill is the reduction of the baseline's error; the rank is the mean over windows."
    extra = f"<p>{escape(note)}</p>" if note else ""
    return section("Leaderboard", text, scrollable(leaderboard_table(table)) + extra)


def _pairwise_section(pairs: pd.DataFrame, names: list[str]) -> str:
    text = (
        "Share of windows in which the model of the row has a lower error than the model of the column. A star marks "
        "mean errors that differ significantly (Diebold-Mariano test, p < 0.05)."
    )
    return section("Pairwise comparison", text, scrollable(pairwise_table(pairs, names)))


def _forecast_section(
    name: str, history: pd.DataFrame | None, forecast: pd.DataFrame, errors: Mapping[str, float]
) -> str:
    known = _items(forecast)
    chosen = {item: error for item, error in errors.items() if item in known}
    chosen = chosen or dict.fromkeys(known[:MAX_ITEMS], np.nan)
    horizon = int(_item_column(forecast).value_counts().max())
    figure = plot_forecast(history, forecast, items=list(chosen), title="")
    text = f"Median and central intervals of the next {horizon} steps by {name}, after the last observed values."
    return section("Forecast", text, _selectable(figure, "forecast", chosen, len(known)))


def _windows_section(
    name: str,
    backtest: Backtest,
    others: Mapping[str, pd.DataFrame],
    history: pd.DataFrame | None,
    errors: Mapping[str, float],
) -> str:
    frames = {other: _last_windows(frame, errors) for other, frame in others.items()}
    figure = plot_backtest(_last_windows(backtest.rows, errors), history, others=frames, items=list(errors))
    medians = "".join(f" The median of {other} is drawn as a line." for other in others)
    text = f"Forecasts of each window by {name} from the values before it, and the observed values.{medians}"
    if backtest.rows.groupby("item_id")["cutoff"].nunique().max() > MAX_WINDOWS:
        text += f" The last {MAX_WINDOWS} windows are drawn."
    count = backtest.rows["item_id"].nunique()
    return section("Backtest windows", text, _selectable(figure, "backtest", errors, count))


def _horizon_section(backtests: Mapping[str, Backtest]) -> str:
    if all(one.step.max() == 1 for one in backtests.values()):
        return ""
    errors, metrics = _errors(backtests, "step")
    text = "Error of each step ahead, over all series and windows."
    return section(
        "Error over the horizon", text, figure_html(plot_error_by_horizon(errors, metrics=metrics), "horizon")
    )


def _time_section(backtests: Mapping[str, Backtest]) -> str:
    if all(one.rows["cutoff"].nunique() == 1 for one in backtests.values()):
        return ""
    errors, metrics = _errors(backtests, "cutoff")
    text = "Error of each window over all series and steps, by the time of the forecast."
    figure = plot_score_over_time({name: frame.sort_index() for name, frame in errors.items()}, metrics=metrics)
    return section("Score over time", text, figure_html(figure, "time"))


def _calibration_section(backtests: Mapping[str, Backtest]) -> str:
    text = (
        "Share of observed values below each quantile (left) and inside each central interval (right). "
        "Values that equal quantiles, as counts often do, are distributed over their levels. Calibrated forecasts lie "
        "on the dotted diagonal; points below it on the right indicate intervals that are too narrow."
    )
    return section("Calibration", text, figure_html(plot_calibration(_frames(backtests)), "calibration"))


def _pit_section(backtests: Mapping[str, Backtest]) -> str:
    text = (
        "Position of the observed values in the forecast distribution. Calibrated forecasts are flat at 1. A U shape "
        "indicates intervals that are too narrow, a hump intervals that are too wide, a slope a bias."
    )
    return section("PIT histogram", text, figure_html(plot_pit(_frames(backtests)), "pit"))


def _width_section(backtests: Mapping[str, Backtest]) -> str:
    text = (
        "Mean width of the central intervals against the share of values inside. At equal coverage, lower is sharper. "
        "Dotted lines mark the nominal shares."
    )
    return section("Coverage against width", text, figure_html(plot_coverage_width(_frames(backtests)), "width"))


def _frames(backtests: Mapping[str, Backtest]) -> dict[str, pd.DataFrame]:
    return {name: one.rows for name, one in backtests.items()}


def _errors(backtests: Mapping[str, Backtest], column: str) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """Errors of each model by the values of a column, and the names of the metrics."""
    scaled = all(one.seasonal_error is not None for one in backtests.values())
    metrics = {"QL": "mean quantile loss", "MASE": "MASE"} if scaled else {"QL": "mean quantile loss"}
    errors = {
        name: replace(one, metric_names=tuple(metrics)).by(column).rename(columns=metrics)
        for name, one in backtests.items()
    }
    return errors, tuple(metrics.values())


def _summary(backtests: Mapping[str, Backtest], table: pd.DataFrame) -> str:
    """One sentence: the scope of the backtest, and how the first model compares."""
    name, first = next(iter(backtests.items()))
    series = _count(first.rows["item_id"].nunique(), "series", "series")
    windows = _count(first.rows.groupby("item_id")["cutoff"].nunique().max(), "window")
    scope = f"{series}, {windows} of {_count(first.step.max(), 'step')}"
    errors = [str(column) for column in table if is_error(str(column))]
    if not errors:
        return f"{name} on {scope}."
    values = dict(zip(table.index, table[errors[0]].astype(float), strict=True))
    rivals = {other: value for other, value in values.items() if other != name and 0 < value < np.inf}
    text = f"{scope}: {name} has a {errors[0]} of {number(values[name])}"
    if rivals:
        rival = min(rivals, key=lambda other: rivals[other])
        change = 100 * (values[name] / rivals[rival] - 1)
        text += f", {abs(change):.0f} % {'lower' if change <= 0 else 'higher'} than {rival}"
    return f"{text}."


def _count(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def _item_column(frame: pd.DataFrame) -> pd.Series:
    return frame["item_id"].astype(str) if "item_id" in frame else pd.Series("", index=frame.index)


def _items(frame: pd.DataFrame) -> list[str]:
    return list(_item_column(frame).unique())


def _ranked(backtest: Backtest) -> dict[str, float]:
    """Errors of the series in ascending order, missing ones last; of many series only the best and the worst."""
    errors = replace(backtest, metric_names=(RANKING,)).by("item_id")[RANKING]
    errors = errors.replace([np.inf, -np.inf], np.nan).sort_values(kind="stable")
    if len(errors) > MAX_ITEMS:
        known = errors.dropna() if errors.notna().any() else errors
        errors = pd.concat([known[: MAX_ITEMS // 2], known[MAX_ITEMS // 2 :][-(MAX_ITEMS // 2) :]])
    return {str(item): float(error) for item, error in errors.items()}


def _last_windows(forecasts: pd.DataFrame, items: Mapping[str, float]) -> pd.DataFrame:
    """The last windows of the chosen series, to limit the size of the page."""
    drawn = forecasts[forecasts["item_id"].astype(str).isin(list(items))]
    age = drawn.groupby("item_id", sort=False)["cutoff"].rank("dense", ascending=False)
    return drawn[age <= MAX_WINDOWS]


def _selectable(figure: go.Figure, name: str, errors: Mapping[str, float], count: int) -> str:
    """The figure with a selector of series, grouped into the best and the worst."""
    items = list(errors)
    half = (len(items) + 1) // 2
    groups = {"forecast best": items[:half], "forecast worst": items[half:][::-1]}
    texts = {label: {item: _option(item, errors[item]) for item in members} for label, members in groups.items()}
    return selectable(figure, name, texts, count)


def _option(item: str, error: float) -> str:
    return item if np.isnan(error) else f"{item} · {RANKING} {number(error)}"
