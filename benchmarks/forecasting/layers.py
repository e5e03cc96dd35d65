"""Which layer forecasts best, at equal numbers of parameters? One row per task, layer and seed in layers.csv.

    python layers.py --data FOLDER
    python layers.py --report

S5Estimator with the ``fast`` preset and one layer in all blocks, on validation windows of six tasks. The width of each
network is the multiple of 4 for which its encoder has about as many parameters as that with S5. Existing rows are not
computed again, so an interrupted run resumes. ``--report`` writes the table of layers.md.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from run import append_row, finished, measure
from tasks import FOLDER, Task, load_tasks

from s5forecast import make_estimator
from s5forecast.nn import Encoder

RESULTS = FOLDER / "layers.csv"
COLUMNS = ("task", "layer", "seed", "WQL", "MASE", "coverage_80", "train_seconds", "predict_seconds", "parameters")
TASKS = (
    "us_births/D/short", "ett1/H/short", "m4_hourly/H/short", "covid_deaths/D/short", "chronos/tourism_quarterly",
    "ett2/15T/short",
)  # fmt: skip
WINDOWS = 20
WIDTH, STATES = 64, 64  # of S5Estimator
# Layer and its arguments. All keep 32 states of each channel or of the system; Liquid-S4 keeps 8, to end in time.
LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "s5": ("s5", {"state_size": STATES}),
    "s5 ptd": ("s5", {"state_size": STATES, "initialization": "hippo_ptd"}),
    "lru": ("lru", {"state_size": STATES // 2}),
    "s4d": ("s4d", {"state_size": STATES}),
    "s4d ptd": ("s4d", {"state_size": STATES, "initialization": "ptd"}),
    "dss": ("dss", {"state_size": STATES // 2}),
    "mega": ("mega", {}),
    "s4": ("s4", {"state_size": STATES}),
    "dss_softmax": ("dss_softmax", {"state_size": STATES // 2}),
    "liquid_s4": ("liquid_s4", {"state_size": 16}),
}
SEEDS = {"s5": 3, "s4d": 3, "mega": 3, "lru": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--layer", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--task", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    if given.report:
        text = report(pd.read_csv(RESULTS))
        (FOLDER / "layers.md").write_text(text)
        print(text)
        return
    torch.set_num_threads(1)
    tasks = load_tasks(given.data)
    for seed, layer, name in product(range(3), given.layer, given.task):
        if seed < SEEDS.get(layer, 1) and (name, layer, str(seed)) not in finished(RESULTS, "task", "layer", "seed"):
            task = tasks[name]
            row = {"task": name, "layer": layer, "seed": seed, **run(layer, task, seed)}
            append_row(RESULTS, COLUMNS, row)
            print(row, flush=True)


def run(layer: str, task: Task, seed: int) -> dict[str, Any]:
    """Train with a layer on the data before the validation windows, and evaluate the forecasts."""
    name, arguments = LAYERS[layer]
    arguments = dict(arguments)
    state_size = arguments.pop("state_size", STATES)
    estimator = make_estimator(
        task.freq, task.prediction_length, "fast", layer=name, width=equal_width(layer), state_size=state_size,
        layer_kwargs=arguments, seed=seed, device="cpu",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, for business days and short series
        found = measure(estimator, task.validation(windows=min(task.windows, WINDOWS)))
    return {column: found[column] for column in COLUMNS if column in found}


def equal_width(layer: str) -> int:
    """The width with which an encoder has about as many parameters as that with S5."""

    def size(name: str, width: int) -> int:
        kind, arguments = LAYERS[name]
        return sum(p.numel() for p in Encoder(width, 1, layer=kind, layer_kwargs=arguments).parameters())

    if layer == "s5":
        return WIDTH
    wanted = size("s5", WIDTH)
    return min(range(16, 2 * WIDTH + 1, 4), key=lambda width: abs(size(layer, width) - wanted))


def report(rows: pd.DataFrame) -> str:
    """Geometric means of WQL and MASE over tasks, and of the times, relative to S5; the rows of each task below."""
    mean = rows.groupby(["task", "layer"], sort=False).mean(numeric_only=True)
    reference = mean.xs("s5", level="layer")
    ratios = (mean / reference)[["WQL", "MASE", "train_seconds", "predict_seconds"]]
    table = np.exp(np.log(ratios).groupby("layer", sort=False).mean())
    table["coverage_80"] = mean["coverage_80"].groupby("layer", sort=False).mean()
    table["parameters"] = mean["parameters"].groupby("layer", sort=False).mean()
    table["tasks"] = mean.groupby("layer", sort=False).size()
    table["seeds"] = rows.groupby("layer", sort=False)["seed"].nunique()
    by_task = ratios["WQL"].unstack("layer")
    note = (
        "Validation windows; geometric means over tasks of WQL, MASE and processor time divided by those of S5. "
        "Encoders have about as many parameters; `parameters` counts the whole network, whose decoder grows with the "
        "width. Written by `layers.py --report`."
    )
    return (
        f"# Forecasts of each layer, relative to S5\n\n{note}\n\n{table.round(3).to_markdown()}\n\n"
        f"## WQL of each task, relative to S5\n\n{by_task.round(3).to_markdown()}\n"
    )


if __name__ == "__main__":
    main()
