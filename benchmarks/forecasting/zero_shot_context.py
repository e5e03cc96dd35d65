"""How much of a series should the pretrained network see? Rows of zero_shot_context.csv.

    python zero_shot_context.py --data FOLDER WEIGHTS.npz

Evaluates the weights with contexts of different lengths on validation windows of the tasks whose series are longer
than the shortest of these contexts. Prints the errors relative to it. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from run import append_row, finished
from tasks import load_tasks
from zero_shot import evaluate

from s5forecast.estimators import pretrained
from s5forecast.networks import zero_shot

RESULTS = Path(__file__).with_suffix(".csv")
CONTEXTS = (1056, 1408, 2112)
SUITES = ("gift", "chronos")
METRICS = ["WQL", "MASE", "predict_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [task for task in load_tasks(args.data).values() if task.suite in SUITES]
    long = [task for task in tasks if max(len(entry["target"]) for entry in task.series) > CONTEXTS[0]]
    for path, task, context in product(args.weights, long, CONTEXTS):
        key = {"weights": path.stem, "task": task.name, "context": context}
        if tuple(map(str, key.values())) not in finished(RESULTS, *key):
            for module in (zero_shot, pretrained):
                module.CONTEXT = context
            row = evaluate(path, task)
            append_row(RESULTS, [*key, *METRICS], {**key, **{name: row[name] for name in METRICS}})
    print(summary(pd.read_csv(RESULTS)).to_string())


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Geometric means of errors and seconds relative to the shortest context, by weights."""
    values = found.set_index(["weights", "context", "task"])[METRICS]
    ratios = {
        context: np.log(values.xs(context, level="context") / values.xs(CONTEXTS[0], level="context"))
        for context in CONTEXTS[1:]
    }
    return np.exp(pd.concat(ratios, axis=1).groupby("weights").mean()).round(4)


if __name__ == "__main__":
    main()
