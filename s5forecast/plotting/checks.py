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
from s5forecast.data.profile import FENCE, Rows, distances
from s5forecast.plotting.page import figure_html, page, scrollable, section, selectable, write
from s5forecast.plotting.tables import text_table
from s5forecast.plotting.theme import OBSERVED, PALETTE, styled

MAX_ITEMS, MAX_LISTED = 30, 100  # series that are drawn, and rows of tables
BINS, POINTS = 120, 1500  # intervals of time, and points of a line
HEIGHT, ROW_HEIGHT = 400, 16
# Intervals that lack any value differ clearly from complete ones. The scale ends above 1 to show the color of these.
SCALE_END, COMPLETE = 1.2, 0.999999
OBSERVED_SHARES = [
    [0, "#d55e00"],
    [COMPLETE / SCALE_END, "#f3d08a"],
    [COMPLETE / SCALE_END, "#1b7fc4"],
    [1, "#1b7fc4"],
]
SHARE_TICKS = {"tickvals": [0, 0.5, (1 + SCALE_END) / 2], "ticktext": ["0%", "50%", "complete"]}
DATE, EXACT = "%Y-%m-%d", "%Y-%m-%d %H:%M"
MARKED = ("gaps", "duplicates", "missing", "negative", "outliers")
SYMBOLS = np.array(["triangle-down", "circle-open", "triangle-up"])  # outliers below, within and above the axis


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
            _availability_section(check.rows, drawn, check.grid),
            _series_section(check, check.rows, marks, drawn),
            _statistics_section(series),
        ]
    sections.append(_settings_section(choices))
    summary = f"{check.scope.removeprefix('Check of ')}: {check.verdict}."
    return write(page(title, summary, sections), path)


def _findings_section(findings: pd.DataFrame) -> str:
    text = (
        "Errors are raised by fit() or predict(); with on_error='skip', series with an error are left out. Warnings "
        "point to likely mistakes in the data. Notes describe properties that affect the forecasts."
    )
    if findings.empty:
        return section("Findings", "Nothing to report.", "")
    table = findings[["severity", "check", "message", "series"]].head(MAX_LISTED)
    more = f" The first {MAX_LISTED} of {len(findings)} are listed." if len(findings) > MAX_LISTED else ""
    return section("Findings", text + more, scrollable(text_table(table, severity="severity")))


def _availability_section(rows: Rows, drawn: Sequence[int], grid: pd.Index | None) -> str:
    if grid is None:
        text = "Share of the rows with an observed value, by time. Blank areas have no row. Blue: complete."
    else:
        text = (
            "Share of the steps with an observed value, by time. Blank areas are outside of the series. Blue: complete."
        )
    return section("Observed values", text, figure_html(plot_availability(rows, drawn, grid), "availability"))


def _series_section(check: DataCheck, rows: Rows, marks: Mapping[int, str], drawn: Sequence[int]) -> str:
    figure = styled(go.Figure(), title=None, height=HEIGHT)
    steps = None if check.grid is None else _steps(check.grid, rows)
    names = {position: _label(rows, position) for position in drawn}
    for target in rows.targets:
        for number, (position, item) in enumerate(names.items()):
            traces = _traces(rows, position, target, item, steps)
            figure.add_traces([trace.update(visible=number == 0) for trace in traces])
    figure.update_xaxes(title_text=check.columns.timestamp)
    figure.update_yaxes(title_text=check.columns.target if len(rows.targets) == 1 else "value", tickformat="~g")
    found: dict[str, dict[str, str]] = {"with findings": {}, "others": {}}
    for position, name in names.items():
        found["with findings" if position in marks else "others"][name] = f"{name}{marks.get(position, '')}"
    text = (
        "Observed values, outliers and intervals without values. Outliers far from all other values are triangles at "
        "the edge; point at them to see their values. Long series are drawn with fewer points, but with their extremes."
    )
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


def plot_availability(rows: Rows, drawn: Sequence[int], grid: pd.Index | None) -> go.Figure:
    """Share of the steps with an observed value, for each series and interval of time.

    Args:
        rows: rows of all series.
        drawn: positions of the series to draw.
        grid: steps of regular series; without them, the share is that of the rows.
    """
    edges, share = _observed_shares(rows, drawn, grid)
    heatmap = go.Heatmap(
        x=_wall_times(rows, edges),
        y=[_label(rows, position) for position in drawn],
        z=share,
        zmin=0,
        zmax=SCALE_END,
        colorscale=OBSERVED_SHARES,
        colorbar={**SHARE_TICKS, "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y}<br>%{x}<br>%{z:.1%} observed<extra></extra>",
    )
    figure = styled(go.Figure(heatmap), title=None, height=130 + ROW_HEIGHT * len(drawn))
    figure.update_layout(margin_t=40)
    return figure.update_yaxes(autorange="reversed", type="category", showgrid=False)


def _observed_shares(rows: Rows, drawn: Sequence[int], grid: pd.Index | None) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of B intervals, ``[B + 1]``, and shares of observed steps, ``[len(drawn), B]``, NaN without any step."""
    steps = np.unique(rows.instants) if grid is None else _steps(grid, rows)
    bins, end = min(BINS, len(steps)), steps[-1:] + 1
    first = np.array([part[0] for part in np.array_split(steps, bins)])
    edges = np.append(first, end) if grid is not None else np.linspace(steps[0], end[0], bins + 1)
    seen = ~np.isnan(np.stack(list(rows.targets.values()))).all(axis=0)
    share = np.full((len(drawn), bins), np.nan)
    for number, position in enumerate(drawn):
        part = slice(*rows.bounds[position : position + 2])
        own = rows.instants[part]
        due = own if grid is None else steps[(steps >= own[0]) & (steps <= own[-1])]
        observed, expected = (
            np.bincount((np.searchsorted(edges, found, "right") - 1).clip(0, bins - 1), minlength=bins)
            for found in (own[seen[part]], due)
        )
        share[number] = np.minimum(observed / np.where(expected > 0, expected, np.nan), 1)
    return edges, share


def _steps(grid: Any, rows: Rows) -> np.ndarray:
    """Instants of the steps of a grid, in order, as numbers in the unit of the rows."""
    return np.sort(grid.as_unit(rows.times.unit).asi8 if isinstance(rows.times, pd.DatetimeIndex) else grid.to_numpy())


def _wall_times(rows: Rows, instants: np.ndarray) -> Any:
    """Instants as datetimes without a time zone, or as numbers."""
    if not isinstance(rows.times, pd.DatetimeIndex):
        return instants
    stamps = pd.DatetimeIndex(instants.astype(np.int64).astype(f"datetime64[{rows.times.unit}]"))
    zone = rows.times.tz
    return stamps if zone is None else stamps.tz_localize("UTC").tz_convert(zone).tz_localize(None)


def _traces(rows: Rows, position: int, target: str, item: str, steps: np.ndarray | None) -> list[go.Scatter]:
    """Values of a series, its outliers, and for regular series the intervals without a value, which break the line.

    Args:
        rows, position: rows of all series, and the position of this one.
        target: column of the values.
        item: name of the series.
        steps: instants of the grid of regular series.
    """
    part = slice(*rows.bounds[position : position + 2])
    own, seen = rows.instants[part], ~np.isnan(rows.targets[target][part])
    instants, values = own[seen], rows.targets[target][part][seen]
    shown, out = _within_axis(values)
    number = list(rows.targets).index(target)
    color = OBSERVED if number == 0 else PALETTE[number % len(PALETTE)]
    breaks = _gaps(instants, steps)
    line_at, line = np.insert(instants, breaks + 1, instants[breaks]), np.insert(shown, breaks + 1, np.nan)
    kept = _thinned(line, POINTS)
    style = {
        "name": target if len(rows.targets) > 1 else "observed",
        "mode": "lines" if len(values) > 2 else "markers",
        "line": {"color": color, "width": 1.4},
    }
    found = [(line_at[kept], line[kept], style)]
    edges = np.union1d(own[[0, -1]], instants)
    if len(missing := _gaps(edges, steps)[:POINTS]):
        found.append(_missing_line(edges, missing, shown.min() if len(shown) else 0.0))
    if len(out):
        found.append(_outlier_marks(instants, values, shown, out[:: -(-len(out) // POINTS)]))
    meta = {"item": item, "end": _wall_times(rows, own[-1:])[0]}
    return [go.Scatter(x=_wall_times(rows, at), y=y, meta=meta, **style) for at, y, style in found]


def _missing_line(
    edges: np.ndarray, missing: np.ndarray, height: float
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Instants, values and style of a line along the intervals after the positions ``missing`` of ``edges``."""
    at = edges[np.stack([missing, missing + 1, missing + 1], axis=1)].ravel()
    style = {"name": "no values", "mode": "lines", "line": {"color": PALETTE[4], "width": 5}}
    return at, np.resize([height, height, np.nan], len(at)), style


def _outlier_marks(
    instants: np.ndarray, values: np.ndarray, shown: np.ndarray, out: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Instants, heights and style of the outliers at the positions ``out``; triangles point beyond the axis."""
    symbols = SYMBOLS[np.sign(values[out] - shown[out]).astype(int) + 1].tolist()
    edge = {"width": 1.6, "color": PALETTE[1]}
    style = {
        "name": "outliers",
        "mode": "markers",
        "marker": {"color": PALETTE[1], "size": 8, "symbol": symbols, "line": edge},
        "customdata": values[out],
        "hovertemplate": "%{x}<br>%{customdata:,}<extra>outlier</extra>",
    }
    return instants[out], shown[out], style


def _gaps(instants: np.ndarray, steps: np.ndarray | None) -> np.ndarray:
    """Positions after which a step of the grid is absent; none without a grid."""
    return np.flatnonzero([] if steps is None else np.diff(np.searchsorted(steps, instants)) > 1)


def _within_axis(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values without those that would hide the variation of the others, and the positions of all outliers.

    Outliers are moved to at most the range of the other values beyond them.
    """
    counted = np.flatnonzero(values != 0)
    out = counted[distances(values[counted], np.zeros(len(counted), dtype=np.int64), 1) > FENCE]
    if not len(out):
        return values, out
    others = np.delete(values, out)
    low, high = others.min(), others.max()
    return values.clip(low - (high - low), high + (high - low)), out


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
