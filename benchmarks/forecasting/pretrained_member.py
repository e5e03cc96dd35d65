"""Which weight should the pretrained network have in the preset "best"? Rows of pretrained_member.csv.

    python pretrained_member.py --data FOLDER --task hospital/M/short ett1/H/short

Trains the preset on the data before the validation windows of each task, averages its forecasts with those of the
pretrained network by different weights, and prints the geometric means of the errors relative to weight zero. Existing
rows are not computed again.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from models import LEVELS, MODELS
from run import append_row, finished, measure
from tasks import Task, load_tasks

from s5forecast.estimators.combined import CombinedPredictor
from s5forecast.estimators.pretrained import PretrainedPredictor

RESULTS = Path(__file__).with_suffix(".csv")
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 1.0)
METRICS = ["WQL", "MASE", "coverage_80"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--task", nargs="+", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tasks = load_tasks(args.data)
    for name in args.task:
        if (name,) not in finished(RESULTS, "task"):
            for row in rows(tasks[name].validation(windows=min(tasks[name].windows, 20))):
                append_row(RESULTS, ["task", "weight", *METRICS], row)
    print(summary(pd.read_csv(RESULTS)).to_string())


def rows(task: Task) -> list[dict[str, Any]]:
    """Errors on the windows of a task by weight of the pretrained network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, for business days and short series
        best = MODELS["best"](task, 0).train(task.train)
        members = [best, PretrainedPredictor(task.freq, task.prediction_length, quantile_levels=LEVELS)]
        combined = {w: CombinedPredictor(members, [1 - w, w], LEVELS) for w in WEIGHTS}
        found = {w: measure(predictor, task) for w, predictor in combined.items()}
    return [{"task": task.name, "weight": w, **{name: row[name] for name in METRICS}} for w, row in found.items()]


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Errors relative to weight zero, by task and their geometric means."""
    tables = {name: found.pivot(index="task", columns="weight", values=name) for name in ("WQL", "MASE")}
    ratios = pd.concat({name: table.div(table[0.0], axis=0) for name, table in tables.items()}, axis=1)
    ratios.loc["mean"] = np.exp(np.log(ratios).mean())
    return ratios.round(3)


if __name__ == "__main__":
    main()
