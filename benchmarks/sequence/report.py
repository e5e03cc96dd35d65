"""Which layer classifies best, at equal parameters and at equal time? Writes results/report.md and a figure.

    python report.py
    python report.py --image accuracy.png   # needs kaleido

The figure shows the accuracy on the validation part over the processor time of the training.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from s5forecast.plotting.theme import line_style, styled

FOLDER = Path(__file__).parent
NEAREST_NEIGHBOR, N_GRAMS, COUNTS = "nearest neighbor", "n-grams", "token counts and root"
# Accuracy of a simple method on the same test part, see the description of the data.
BASELINES = {
    "mnist": (NEAREST_NEIGHBOR, 0.923), "mnist_permuted": (NEAREST_NEIGHBOR, 0.923), "digits": ("raw samples", 0.190),
    "commands": ("raw samples", 0.260), "listops": (COUNTS, 0.298), "subjectivity": (N_GRAMS, 0.891),
    "movie_reviews": (N_GRAMS, 0.860), "pathfinder16": (NEAREST_NEIGHBOR, 0.844),
    "pathfinder32": (NEAREST_NEIGHBOR, 0.547),
}  # fmt: skip
PANEL_COLUMNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FOLDER / "results")
    parser.add_argument("--image", type=Path, help="PNG file of the figure")
    given = parser.parse_args()
    results = pd.read_csv(given.results / "accuracy.csv")
    text = "\n\n".join(f"## {name}\n\n{table.to_markdown()}" for name, table in tables(results).items())
    (given.results / "report.md").write_text(f"# Accuracy on long sequences\n\n{text}\n")
    print(text)
    if given.image:
        figure(pd.read_csv(given.results / "curves.csv")).write_image(given.image, width=1160, height=760, scale=2)


def tables(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Mean test accuracy by task and layer, beside a simple method; half the sampling rate; epochs and seeds."""
    groups = results.groupby(["task", "layer"], sort=False)
    accuracy = groups["accuracy"].mean().unstack()
    simple = [f"{BASELINES[task][1]:.3f} ({BASELINES[task][0]})" for task in accuracy.index]
    half = results.dropna(subset="half_rate").groupby(["task", "layer"], sort=False)
    return {
        "Test accuracy": accuracy.round(3).assign(**{"simple method": simple}),
        "Half the sampling rate": half[["accuracy", "half_rate_scaled", "half_rate"]].mean().round(3).reset_index(),
        "Epochs": groups["epochs"].mean().unstack().round(0),
        "Seeds": groups["seed"].nunique().unstack(),
    }


def figure(curves: pd.DataFrame) -> go.Figure:
    """Validation accuracy over processor time: one panel for each task, one line for each layer."""
    names = list(dict.fromkeys(curves["task"]))
    rows = -(-len(names) // PANEL_COLUMNS)
    panels = make_subplots(rows, PANEL_COLUMNS, subplot_titles=names, vertical_spacing=0.09)
    styles = {layer: line_style(number) for number, layer in enumerate(dict.fromkeys(curves["layer"]))}
    for (task, layer), part in curves.groupby(["task", "layer"], sort=False):
        place = names.index(task)
        mean = part.groupby("epoch")[["train_seconds", "validation"]].mean()
        line = go.Scatter(
            x=mean["train_seconds"] / 60, y=mean["validation"].cummax(), name=layer, legendgroup=layer,
            showlegend=task == names[0], line=styles[layer],
        )  # fmt: skip
        panels.add_trace(line, row=place // PANEL_COLUMNS + 1, col=place % PANEL_COLUMNS + 1)
    panels.update_xaxes(title_text="minutes", row=rows)
    panels.update_yaxes(title_text="validation accuracy", col=1)
    return styled(panels, title=None, height=280 * rows)


if __name__ == "__main__":
    main()
