"""Which layer classifies best, at equal parameters and at equal time? Writes results/report.md and a figure.

    python report.py
    python report.py --image ../../docs/images/sequences.png   # needs kaleido

The figure shows the best validation accuracy so far over the processor time of the training, as a mean over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from classifiers import PEERS
from plotly.subplots import make_subplots

from s5forecast.plotting.theme import line_style, styled
from s5forecast.ssm import LAYERS

FOLDER = Path(__file__).parent
NEAREST_NEIGHBOR, N_GRAMS, SPECTROGRAM = "nearest neighbor", "n-grams", "log-spectrogram"
# Best accuracy of a simple method, see the description of the data; that of mnist is on 3,000 of the test images.
BASELINES = {
    "mnist": (NEAREST_NEIGHBOR, 0.923), "mnist_permuted": (NEAREST_NEIGHBOR, 0.923), "digits": (SPECTROGRAM, 0.927),
    "commands": (SPECTROGRAM, 0.705), "listops": ("token counts and root", 0.298), "subjectivity": (N_GRAMS, 0.891),
    "movie_reviews": (N_GRAMS, 0.860), "pathfinder16": (NEAREST_NEIGHBOR, 0.844),
    "pathfinder32": (NEAREST_NEIGHBOR, 0.547),
}  # fmt: skip
NAMES = [*LAYERS, *PEERS]
HALF = {"accuracy": "full rate", "half_rate_scaled": "half rate, steps doubled", "half_rate": "half rate"}
MISSING = "–"
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
        figure(pd.read_csv(given.results / "curves.csv")).write_image(given.image, width=1160, height=900, scale=2)


def tables(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Test accuracy by task and layer, beside a simple method; half the sampling rate; epochs and parameters.

    Means over seeds; with several, ``±`` is followed by the standard deviation and the number of seeds.
    """
    accuracy = _by_layer(results, "accuracy", _mean_and_deviation)
    simple = [_simple(task) for task in accuracy.index]
    half = results.dropna(subset="half_rate").groupby(["task", "layer"])[list(HALF)].mean().round(3)
    order = [key for key in _keys(results) if key in half.index]
    return {
        "Test accuracy at equal parameters and equal training time": accuracy.assign(**{"simple method": simple}),
        "Half the sampling rate": half.loc[order].rename(columns=HALF).reset_index("layer").fillna(MISSING),
        "Epochs": _by_layer(results, "epochs", lambda values: f"{values.mean():.1f}"),
        "Parameters": _by_layer(results, "parameters", lambda values: f"{values.mean():,.0f}"),
    }


def _by_layer(results: pd.DataFrame, column: str, text: Callable[[pd.Series], str]) -> pd.DataFrame:
    """A table of the values of a column as text: one row for each task, one column for each layer."""
    table = results.groupby(["task", "layer"])[column].agg(text).unstack()
    tasks = dict.fromkeys(results["task"])
    ordered = [task for task in BASELINES if task in tasks]
    ordered += [task for task in tasks if task not in BASELINES]
    return table.loc[ordered, [layer for layer in NAMES if layer in table]].fillna(MISSING)


def _keys(results: pd.DataFrame) -> list[tuple[str, str]]:
    """Tasks and layers in the order of the tables."""
    tasks = [*BASELINES, *results["task"].unique()]
    return list(dict.fromkeys((task, layer) for task in tasks for layer in NAMES))


def _mean_and_deviation(values: pd.Series) -> str:
    several = f" ± {values.std():.3f} ({len(values)})" if len(values) > 1 else ""
    return f"{values.mean():.3f}{several}"


def _simple(task: str) -> str:
    if task not in BASELINES:
        return MISSING
    name, value = BASELINES[task]
    return f"{value:.3f} ({name})"


def figure(curves: pd.DataFrame) -> go.Figure:
    """Best validation accuracy so far over processor time: a panel for each task, a line for each layer."""
    tasks = [task for task in dict.fromkeys([*BASELINES, *curves["task"]]) if task in set(curves["task"])]
    layers = [layer for layer in NAMES if layer in set(curves["layer"])]
    rows = -(-len(tasks) // PANEL_COLUMNS)
    panels = make_subplots(rows, PANEL_COLUMNS, subplot_titles=tasks, vertical_spacing=0.09)
    shown = set[str]()
    for number, task in enumerate(tasks):
        for layer in layers:
            part = curves[(curves["task"] == task) & (curves["layer"] == layer)]
            if len(part):
                mean = best_so_far(part)
                line = go.Scatter(
                    x=mean.index / 60, y=mean, name=layer, legendgroup=layer, legendrank=layers.index(layer),
                    showlegend=layer not in shown,
                    line=line_style(layers.index(layer)), mode="lines+markers",
                    marker={"size": 6, "symbol": "x"} if layer in PEERS else {"size": 4},
                )  # fmt: skip
                panels.add_trace(line, row=number // PANEL_COLUMNS + 1, col=number % PANEL_COLUMNS + 1)
                shown.add(layer)
    panels.update_xaxes(title_text="minutes", row=rows)
    panels.update_yaxes(title_text="validation accuracy", col=1)
    return styled(panels, title=None, height=300 * rows).update_layout(legend_y=1.05, margin_t=90)


def best_so_far(part: pd.DataFrame) -> pd.Series:
    """Mean over seeds of the best validation accuracy so far, by seconds; from the first epoch of all seeds on."""
    by_seed = part.drop_duplicates(["seed", "epoch"], keep="last").pivot_table(
        index="train_seconds", columns="seed", values="validation"
    )
    mean = by_seed.cummax().ffill().mean(axis=1, skipna=False)
    return mean[np.isfinite(mean)]


if __name__ == "__main__":
    main()
