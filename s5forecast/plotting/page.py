"""HTML pages that work offline: sections of text, tables and interactive figures, with selectors of series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


def page(title: str, summary: str, sections: Sequence[str]) -> str:
    """The whole page."""
    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title), summary=escape(summary), plotly=get_plotlyjs(), sections="\n".join(sections)
    )


def write(content: str, path: str | Path | None) -> Path | str:
    """Write a page to a file and return its path; without a path, return the page."""
    if path is None:
        return content
    Path(path).write_text(content, encoding="utf-8")
    return Path(path)


def section(heading: str, text: str, content: str) -> str:
    """A heading, a paragraph, and tables or figures."""
    return f"<section><h2>{heading}</h2><p>{escape(text)}</p>{content}</section>"


def scrollable(table: str) -> str:
    """A table that is scrolled if it is wider than the page."""
    return f'<div class="scroll">{table}</div>'


def figure_html(figure: go.Figure, name: str) -> str:
    """A figure with the name that identifies it in the page."""
    content = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=CONFIG)
    return f"<figure>{content}</figure>"


def selectable(figure: go.Figure, name: str, groups: Mapping[str, Mapping[str, str]], count: int) -> str:
    """A figure with a selector of its series, if there are several.

    Args:
        figure: each trace has the ``item`` that it shows and an ``end`` of its axis in ``meta``; those of the first
            item are visible.
        name: name of the figure.
        groups: text of each item in the selector, by item and by the label of a group.
        count: number of all series.
    """
    items = [item for group in groups.values() for item in group]
    if len(items) < 2:
        return figure_html(figure, name)
    figure.layout.updatemenus = None
    figure.layout.margin.t = 56
    options = "".join(
        f'<optgroup label="{escape(label)}">'
        + "".join(f'<option value="{escape(item)}">{escape(text)}</option>' for item, text in members.items())
        + "</optgroup>"
        for label, members in groups.items()
        if members
    )
    shown = f" {len(items)} of {count}" if count > len(items) else ""
    return f'<label>series <select data-figure="{name}">{options}</select>{shown}</label>' + figure_html(figure, name)
