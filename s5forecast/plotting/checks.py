"""Page of a check of a frame before training: findings, observed values, statistics and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from s5forecast.data.check import DataCheck, plain_value
from s5forecast.data.frame_kinds import to_pandas
from s5forecast.data.frames import Columns
from s5forecast.data.profile import FENCE, Rows, distances
from s5forecast.plotting.page import figure_html, page, scrollable, section, selectable, write
from s5forecast.plotting.tables import text_table
from s5forecast.plotting.theme import OBSERVED, PALETTE, styled

MAX_ITEMS, MAX_LISTED = 30, 100  # series that are drawn, and rows of tables
BINS, POINTS = 120, 1500  # intervals of time, and points of a line
HEIGHT, ROW_HEIGHT = 400, 16
OBSERVED_SHARES = [[0, "#d55e00"], [0.5, "#e69f00"], [1, "#1b7fc4"]]
DATE, EXACT = "%Y-%m-%d", "%Y-%m-%d %H:%M"
MARKED = ("gaps", "duplicates", "negative", "outliers")


def write_check(check: DataCheck, path: str | Path | None = None, *, title: str = "Data check") -> Path | str:
    """Write a check of a frame as an interactive HTML page, which works offline.

    The page draws at most 30 series: those with findings first.

    Args:
        check: result of :meth:`~s5forecast.S5Forecaster.check`.
        path: file to write; None returns the page as a string.
        title: heading of the page.

    Returns:
        The path, or the page if no path is given.
    """
    findings, series, choices = map(to_pandas, (check.findings, check.series, check.choices))
    sections = [_findings_section(findings)]
    if check.rows is not None:
        marks = _marks(check.rows, findings, series)
        drawn = [*marks, *(position for position in range(len(check.rows.keys)) if position not in marks)][:MAX_ITEMS]
        sections += [
            _availability_section(check.rows, drawn),
            _series_section(check.rows, marks, drawn, check.columns),
            _statistics_section(series),
        ]
    sections.append(_settings_section(choices))
    summary = f"{check.scope.removeprefix('Check of ')}: {check.verdict}."
    return write(page(title, summary, sections), path)


def _findings_section(findings: pd.DataFrame) -> str:
    text = (
        "Errors are raised by fit() or predict(); with on_error='skip', series that have one are left out. Warnings "
        "are likely mistakes in the data, notes affect the forecasts."
    )
    if findings.empty:
        return section("Findings", "Nothing to report.", "")
    table = findings[["severity", "check", "message", "series"]].head(MAX_LISTED)
    more = f" The first {MAX_LISTED} of {len(findings)} are listed." if len(findings) > MAX_LISTED else ""
    return section("Findings", text + more, scrollable(text_table(table, severity="severity")))


def _availability_section(rows: Rows, drawn: Sequence[int]) -> str:
    text = "Share of the steps with an observed value, by time. Blank areas have no row at all."
    return section("Observed values", text, figure_html(plot_availability(rows, drawn), "availability"))


def _series_section(rows: Rows, marks: Mapping[int, str], drawn: Sequence[int], columns: Columns) -> str:
    figure = styled(go.Figure(), title=None, height=HEIGHT)
    names = {position: _label(rows, position) for position in drawn}
    for target in rows.targets:
        for number, (position, item) in enumerate(names.items()):
            figure.add_traces([trace.update(visible=number == 0) for trace in _traces(rows, position, target, item)])
    figure.update_xaxes(title_text=columns.timestamp)
    figure.update_yaxes(title_text=columns.target if len(rows.targets) == 1 else "value", tickformat="~g")
    found: dict[str, dict[str, str]] = {"with findings": {}, "others": {}}
    for position, name in names.items():
        found["with findings" if position in marks else "others"][name] = f"{name}{marks.get(position, '')}"
    text = "Observed values and outliers. Long series are thinned out for drawing; their extremes are kept."
    return section("Series", text, selectable(figure, "series", found, len(rows.keys)))


def _statistics_section(series: pd.DataFrame) -> str:
    text = (
        "Outliers are more than three interquartile ranges beyond the quartiles of the values that are not 0. Constant "
        "is the length of the longest stretch of equal values."
    )
    if len(series) > MAX_LISTED:
        text += f" The first {MAX_LISTED} of {len(series)} rows are listed."
    marked = [name for name in MARKED if name in series]
    return section("Statistics", text, scrollable(text_table(_short_times(series.head(MAX_LISTED)), marked=marked)))


def _short_times(series: pd.DataFrame) -> pd.DataFrame:
    """Times as text, without seconds, and without hours if all are midnight."""
    times = series.select_dtypes(["datetime", "datetimetz"])
    exact = any((times[name] != times[name].dt.normalize()).any() for name in times)
    return series.assign(**{str(name): times[name].dt.strftime(EXACT if exact else DATE) for name in times})


def _settings_section(choices: pd.DataFrame) -> str:
    if choices.empty:
        return section("Settings", "Nothing can be trained on these data.", "")
    text = (
        "Settings that training would use. Those of an ensemble or combination are the settings of its first network."
    )
    origin = choices["given"].map({True: "given", False: "chosen"})
    table = choices.assign(value=choices["value"].map(plain_value), origin=origin)[
        ["name", "value", "origin", "reason"]
    ]
    return section("Settings", text, scrollable(text_table(table)))


def plot_availability(rows: Rows, drawn: Sequence[int]) -> go.Figure:
    """Share of the steps with an observed value, for each series and interval of time."""
    instants = rows.instants.astype(np.float64)
    edges = np.linspace(instants.min(), instants.max() + 1, min(BINS, len(np.unique(instants[:BINS]))) + 1)
    bins = len(edges) - 1
    place = np.clip(np.searchsorted(edges, instants, "right") - 1, 0, bins - 1)
    seen = ~np.isnan(np.stack(list(rows.targets.values()))).all(axis=0)
    size = (len(rows.keys), bins)
    cells = rows.codes * bins + place
    observed, present = (
        np.bincount(cells[chosen], minlength=size[0] * bins).reshape(size) for chosen in (seen, seen | True)
    )
    most = np.maximum(present.max(axis=1, keepdims=True), 1)
    share = np.where(present > 0, np.minimum(observed / most, 1), np.nan)[list(drawn)]
    times = _wall_times(rows, edges[:-1])
    heatmap = go.Heatmap(
        x=times,
        y=[_label(rows, position) for position in drawn],
        z=share,
        zmin=0,
        zmax=1,
        colorscale=OBSERVED_SHARES,
        colorbar={"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y}<br>%{x}<br>%{z:.0%} observed<extra></extra>",
    )
    figure = styled(go.Figure(heatmap), title=None, height=130 + ROW_HEIGHT * len(drawn))
    figure.update_layout(margin_t=40)
    return figure.update_yaxes(autorange="reversed", type="category", showgrid=False)


def _wall_times(rows: Rows, instants: np.ndarray) -> Any:
    """Instants as datetimes without a time zone, or as numbers."""
    if not isinstance(rows.times, pd.DatetimeIndex):
        return instants
    stamps = pd.DatetimeIndex(instants.astype(np.int64).astype(f"datetime64[{rows.times.unit}]"))
    zone = rows.times.tz
    return stamps if zone is None else stamps.tz_localize("UTC").tz_convert(zone).tz_localize(None)


def _traces(rows: Rows, position: int, target: str, item: str) -> list[go.Scatter]:
    """Values of a series, with breaks where rows are absent or have no value, and its outliers."""
    part = slice(*rows.bounds[position : position + 2])
    instants, values = rows.instants[part], rows.targets[target][part]
    counted = np.flatnonzero(~np.isnan(values) & (values != 0))
    out = counted[distances(values[counted], np.zeros(len(counted), dtype=np.int64), 1) > FENCE]
    gaps = np.diff(instants)
    breaks = np.flatnonzero(gaps > 1.5 * np.median(gaps)) + 1 if len(gaps) else np.array([], dtype=int)
    line_at, line = np.insert(instants, breaks, instants[breaks - 1]), np.insert(values, breaks, np.nan)
    kept = _thinned(line, POINTS)
    end = _wall_times(rows, instants[-1:].astype(np.float64))[0]
    meta = {"item": item, "end": end}
    name = target if len(rows.targets) > 1 else "observed"
    number = list(rows.targets).index(target)
    color = OBSERVED if number == 0 else PALETTE[number % len(PALETTE)]
    mode = "lines" if len(values) > 2 else "markers"
    times = _wall_times(rows, line_at[kept])
    found = [go.Scatter(x=times, y=line[kept], name=name, mode=mode, line={"color": color, "width": 1.4}, meta=meta)]
    if len(out):
        marks = out[:: -(-len(out) // POINTS)]
        style = {"color": PALETTE[1], "size": 7, "symbol": "circle-open", "line": {"width": 1.6}}
        outlying = _wall_times(rows, instants[marks])
        found.append(go.Scatter(x=outlying, y=values[marks], name="outliers", mode="markers", marker=style, meta=meta))
    return found


def _thinned(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the smallest, the largest and a missing value in each of ``count`` parts of equal length."""
    size = -(-len(values) // count)
    if size <= 2:
        return np.arange(len(values))
    padded = np.full(size * (-(-len(values) // size)), np.nan)
    padded[: len(values)] = values
    parts = padded.reshape(-1, size)
    begins, missing = np.arange(len(parts)) * size, np.isnan(parts)
    low = begins + np.where(missing, np.inf, parts).argmin(axis=1)
    high = begins + np.where(missing, -np.inf, parts).argmax(axis=1)
    lost = (begins + missing.argmax(axis=1))[missing.any(axis=1)]
    kept = np.unique(np.concatenate([low, high, lost]))
    return kept[kept < len(values)]


def _marks(rows: Rows, findings: pd.DataFrame, series: pd.DataFrame) -> dict[int, str]:
    """Positions of the series with findings, those that findings name first, each with its numbers for the selector."""
    places = {str(label): position for position, label in enumerate(rows.labels)}
    named = [places[str(item)] for item in findings["item_id"] if str(item) in places]
    numbers = series.iloc[: len(rows.keys)][[name for name in MARKED if name in series]].fillna(0).astype(int)
    most = np.argsort(-numbers.sum(axis=1).to_numpy(), kind="stable")
    marked = [position for position in most.tolist() if numbers.iloc[position].any()]
    return {position: _counts(numbers.iloc[position]) for position in dict.fromkeys([*named, *marked])}


def _counts(numbers: pd.Series) -> str:
    texts = [f"{name} {number}" for name, number in numbers.items() if number]
    return f" · {', '.join(texts)}" if texts else ""


def _label(rows: Rows, position: int) -> str:
    label = rows.labels[position]
    return "the series" if label is None else str(label)
