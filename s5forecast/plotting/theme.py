"""Common style of all figures: legible on light and dark backgrounds, distinguishable with color blindness."""

import plotly.graph_objects as go

# Okabe and Ito's palette from "Color universal design" (2008), with a lighter blue for dark pages and two more colors.
PALETTE = ("#1b7fc4", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8e6bd0", "#8f8f2f")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
OBSERVED = "#7d838c"  # also the text color: equal contrast to white and black
GRID = "rgba(128, 134, 142, 0.22)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def line_style(number: int, width: float = 2.0) -> dict[str, object]:
    """Line style of the model with this number; color and dash change together, later also the dash of a color."""
    turn = number // len(PALETTE)
    return {"color": PALETTE[number % len(PALETTE)], "dash": DASHES[(number + turn) % len(DASHES)], "width": width}


def translucent(color: str, alpha: float) -> str:
    """A color such as "#1b7fc4" with an opacity in [0, 1]."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha:.3f})"


def styled(figure: go.Figure, *, title: str | None, height: int) -> go.Figure:
    """Apply the common layout: transparent, with the title above the legend and the legend above the plot."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 64, "r": 16, "t": 92 if title else 56, "b": 56},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font={"family": FONT, "size": 13, "color": OBSERVED},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": "rgba(0, 0, 0, 0)"},
        modebar={"bgcolor": "rgba(0, 0, 0, 0)", "color": OBSERVED, "activecolor": PALETTE[0]},
        hoverlabel={
            "bgcolor": "#fcfcfd",
            "bordercolor": OBSERVED,
            "font": {"color": "#22262b"},
            "namelength": -1,
        },
    )
    if title:
        # At the top, where a legend of two lines on a narrow screen does not reach it.
        place = {"x": 0, "xref": "paper", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"}
        figure.update_layout(title={"text": title, **place, "pad": {"t": 16}, "font": {"size": 17}})
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True, "ticks": "outside", "tickcolor": GRID}
    spike = {"spikecolor": OBSERVED, "spikethickness": 1, "spikedash": "solid"}
    figure.update_xaxes(**axis, **spike, showgrid=False, linecolor=OBSERVED, showline=True)
    figure.update_yaxes(**axis, title_standoff=14)
    return figure
