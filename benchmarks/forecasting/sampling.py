"""Should training draw series equally often, or in proportion to their windows? Rows of sampling.csv.

    python sampling.py --data FOLDER

S5Estimator with default settings on validation windows of tasks whose series have different lengths. Prints the errors
with ``sampling="windows"`` relative to ``"series"``. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from models import LEVELS
from run import append_row, finished, measure
from tasks import load_tasks

from s5forecast import S5Estimator
from s5forecast.windows.batches import SAMPLINGS

RESULTS = Path(__file__).with_suffix(".csv")
TASKS = ("chronos/tourism_quarterly", "chronos/tourism_monthly", "m4_weekly/W/short", "m4_hourly/H/short")
METRICS = ["WQL", "MASE"]
COLUMNS = ["task", "sampling", "seed", *METRICS, "coverage_80", "train_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of other libraries, for short series
    tasks = load_tasks(args.data)
    for seed, name, sampling in product(args.seeds, TASKS, SAMPLINGS):
        if (name, sampling, str(seed)) in finished(RESULTS, "task", "sampling", "seed"):
            continue
        task = tasks[name].validation(windows=1)
        estimator = S5Estimator(
            task.freq, task.prediction_length, quantile_levels=LEVELS, sampling=sampling, seed=seed, device="cpu"
        )
        row = {"task": name, "sampling": sampling, "seed": seed, **measure(estimator, task)}
        append_row(RESULTS, COLUMNS, {column: row[column] for column in COLUMNS})
    print(summary(pd.read_csv(RESULTS)).to_string())


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Errors with ``"windows"`` relative to ``"series"``, by task and their geometric means."""
    means = found.groupby(["sampling", "task"], sort=False)[METRICS].mean()
    ratios = means.loc["windows"] / means.loc["series"]
    ratios.loc["mean"] = np.exp(np.log(ratios).mean())
    return ratios.round(3)


if __name__ == "__main__":
    main()
