"""How does the accuracy on validation windows improve with the time of pretraining?

    python zero_shot_curve.py [--image ../../docs/images/pretraining.png]

Reads ``validation.csv`` of ``../pretraining`` and writes ``curve.csv`` beside it, with one row for each file of weights
and suite. The figure needs kaleido.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from tasks import FOLDER
from zero_shot import summary

from s5forecast.plotting.theme import PALETTE, styled

RESULTS = FOLDER.parent / "pretraining"
SUITES = {
    "gift": "GIFT-Eval, 23 tasks",
    "chronos": "Chronos benchmarks, 11 data sets",
    "own": "own splits, 4 data sets",
}
# Symbol of each training, the folder of its weights: with AdamW, and with Muon for the matrices.
SYMBOLS = {"pretraining": "circle", "muon": "star"}
# Weights before these trainings, and with another prior.
OTHERS = ("first/", "multiplicative/")
SECONDS = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="PNG file of WQL against hours of pretraining")
    image = parser.parse_args().image
    table = curve(pd.read_csv(RESULTS / "validation.csv"))
    table.to_csv(RESULTS / "curve.csv", index=False, lineterminator="\n")
    print(table.to_string(index=False))
    if image:
        figure(table).write_image(image, width=900, height=420, scale=2)


def curve(rows: pd.DataFrame) -> pd.DataFrame:
    """Ratios to seasonal naive and coverage of each file of weights, by hours of processor time."""
    table = summary(rows[~rows["weights"].str.startswith(OTHERS)]).reset_index()
    table.insert(1, "hours", (table["seconds"] / SECONDS).round(2))
    return table.drop(columns=["seconds", "predict_seconds"]).sort_values(["suite", "hours"])


def figure(table: pd.DataFrame) -> go.Figure:
    """WQL relative to seasonal naive against the logarithm of the hours, a line for each suite and training."""
    figure = go.Figure()
    training = table["weights"].str.split("/").str[0]
    for color, (suite, name) in zip(PALETTE, SUITES.items(), strict=False):
        for folder, symbol in SYMBOLS.items():
            rows = table[(table["suite"] == suite) & (training == folder)]
            figure.add_scatter(
                x=rows["hours"], y=rows["WQL"], name=name, mode="lines+markers", line_color=color,
                marker={"symbol": symbol, "size": 9}, showlegend=folder == "pretraining",
            )  # fmt: skip
    styled(figure, title="Accuracy on validation windows by time of pretraining (stars: with Muon)", height=420)
    hours = sorted(table["hours"].unique())
    figure.update_xaxes(
        type="log", title_text="hours of processor time", tickvals=hours, ticktext=[f"{x:g}" for x in hours]
    )
    return figure.update_yaxes(title_text="WQL / WQL of seasonal naive", tickformat=".2f")


if __name__ == "__main__":
    main()
