"""HTML tables of a report: the leaderboard, and how often one model beats another."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.evaluation.leaderboard import HIGHER_IS_BETTER, is_error
from s5forecast.evaluation.result import TIMES

HEADINGS = dict(zip(TIMES, ("seconds to fit", "seconds to predict"), strict=True))
SIGNIFICANT = 0.05
# Classes of cells, and the number of characters from which on text is wrapped.
TEXT, LONG_TEXT, LONG = ' class="text"', ' class="text long"', 40


def leaderboard_table(metrics: pd.DataFrame) -> str:
    """HTML table with a row for each model; the best value of each metric is highlighted."""
    best = metrics.apply(_best).to_numpy()
    head = "".join(f"<th>{escape(_heading(str(column)))}</th>" for column in metrics)
    rows = [
        f"<tr><th>{escape(str(name))}</th>{''.join(map(_cell, values, marks))}</tr>"
        for name, values, marks in zip(metrics.index, metrics.to_numpy(dtype=float), best, strict=True)
    ]
    return f"<table><thead><tr><th>model</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def pairwise_table(pairs: pd.DataFrame, names: Sequence[Any]) -> str:
    """HTML table of the share of windows won, from ``Comparison.pairwise``: models in rows, others in columns."""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in names)
    by_pair = dict(pairs.iterrows())
    rows = []
    for model in names:
        cells = [_wins(by_pair[(model, other)]) if other != model else "<td>–</td>" for other in names]
        rows.append(f"<tr><th>{escape(str(model))}</th>{''.join(cells)}</tr>")
    return f"<table><thead><tr><th>wins of … over</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def text_table(frame: pd.DataFrame, *, severity: str = "", marked: Sequence[str] = ()) -> str:
    """HTML table of a frame of text and numbers.

    Args:
        frame: rows to show.
        severity: column of severities, each with a mark of its color.
        marked: columns of numbers that are highlighted if they are not 0.
    """
    style = {name: _style(frame[name]) for name in frame}
    head = "".join(f"<th{style[name]}>{escape(str(name))}</th>" for name in frame)
    rows = [
        "".join(
            _any_cell(value, style[name], name == severity, name in marked)
            for name, value in zip(frame, values, strict=True)
        )
        for values in frame.itertuples(index=False, name=None)
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _style(values: pd.Series) -> str:
    """Class of the cells of a column: none for numbers; long text is wrapped."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return ""
    return LONG_TEXT if values.astype(str).str.len().max() > LONG else TEXT


def _any_cell(value: Any, style: str, severity: bool, marked: bool) -> str:
    if not style:
        text = "–" if pd.isna(value) else f"{value:,}"
        return f'<td class="best">{text}</td>' if marked and text not in ("–", "0") else f"<td>{text}</td>"
    text = escape(str(value))
    return f'<td{style}><span class="{text}">●</span> {text}</td>' if severity else f"<td{style}>{text}</td>"


def number(value: float) -> str:
    """Three to four digits; a dash for values that are not finite."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _wins(pair: pd.Series) -> str:
    alpha = round(0.7 * abs(pair["wins"] - 0.5), 3)
    color = f"rgba(27, 127, 196, {alpha})" if pair["wins"] >= 0.5 else f"rgba(213, 94, 0, {alpha})"
    text = f"{100 * pair['wins']:.0f} %"
    if pair["p_value"] < SIGNIFICANT:
        text = f"<strong>{text} *</strong>"
    span = f"{100 * pair['wins_lower']:.0f} to {100 * pair['wins_upper']:.0f} %, p = {number(pair['p_value'])}"
    return f'<td style="background: {color}" title="{span}">{text}</td>'


def _cell(value: float, best: bool) -> str:
    return f'<td class="best">{number(value)}</td>' if best else f"<td>{number(value)}</td>"


def _best(column: pd.Series) -> pd.Series:
    """Mask of the best values: nearest to nominal for coverage; empty for times and metrics without a best value."""
    name = str(column.name)
    if len(column) == 1:
        return pd.Series(False, index=column.index)
    if name in HIGHER_IS_BETTER:
        return column == column.max()
    if name.startswith("coverage_"):
        distance = (column - float(name.removeprefix("coverage_")) / 100).abs()
        return distance == distance.min()
    return (column == column.min()) & (name == "rank" or is_error(name))


def _heading(column: str) -> str:
    share = column.removeprefix("coverage_")
    return HEADINGS.get(column, column) if share == column else f"coverage of {share} %"
