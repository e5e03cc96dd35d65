"""Figure of the rates and the memory of ``peers.csv``; needs kaleido.

python benchmarks/scale/report.py [--image docs/images/scale.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from s5forecast.plotting.theme import line_style, styled

FOLDER = Path(__file__).parent
IMAGE = FOLDER.parents[1] / "docs" / "images" / "scale.png"
PANELS = {
    "windows_per_second": "Training windows per second",
    "series_per_second": "Series forecast per second",
    "peak_mb": "Peak memory, MiB",
}
WIDTH, HEIGHT = 1160, 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=IMAGE)
    image = parser.parse_args().image
    figure(pd.read_csv(FOLDER / "peers.csv")).write_image(image, width=WIDTH, height=HEIGHT, scale=2)


def figure(table: pd.DataFrame) -> go.Figure:
    """Rates of processor time and memory against the number of series, a line for each library."""
    table = table.assign(peak_mb=table.filter(regex="_peak_mb$").max(axis=1)).sort_values("series")
    titles = [f"<b>{title}</b>" for title in PANELS.values()]
    figure = make_subplots(1, len(PANELS), horizontal_spacing=0.07, subplot_titles=titles)
    for number, library in enumerate(table["library"].unique()):
        rows = table[table["library"] == library]
        for column, name in enumerate(PANELS, start=1):
            figure.add_scatter(
                x=rows["series"], y=rows[name], name=library, mode="lines+markers", line=line_style(number),
                legendgroup=library, showlegend=column == 1, row=1, col=column,
            )  # fmt: skip
    styled(figure, title="Reading, gathering and forecasting series on disk", height=HEIGHT)
    figure.update_layout(legend_y=1.1, margin_t=120)  # above the titles of the panels
    figure.update_xaxes(type="log", title_text="series", dtick=1, exponentformat="power")
    ticks = [digit * 10**power for power in range(1, 6) for digit in (1, 2, 5)]
    return figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])


if __name__ == "__main__":
    main()
