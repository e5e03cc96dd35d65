"""How many epochs do 5,000 to 10,000 values need? Rows of epochs.csv.

    python epochs.py --data FOLDER

S5Estimator with different max_epochs on validation windows of the first series of forecasting tasks. Prints the errors
and the processor time relative to those with 60 epochs. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from models import LEVELS
from run import append_row, finished, measure
from tasks import Task, load_tasks

from s5forecast import S5Estimator

RESULTS = Path(__file__).with_suffix(".csv")
# Number of first series with 5,000 to 10,000 values before the validation windows.
TASKS = {
    "us_births/D/short": 1,
    "m4_hourly/H/short": 8,
    "chronos/nn5_daily_with_missing": 11,
    "chronos/tourism_monthly": 32,
    "chronos/tourism_quarterly": 90,
    "hospital/M/short": 120,
    "covid_deaths/D/short": 60,
}
EPOCHS = (60, 30, 20)
METRICS = ["WQL", "MASE", "train_seconds"]
COLUMNS = ["task", "values", "epochs", "seed", *METRICS, "coverage_80"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of other libraries, for short series
    tasks = load_tasks(args.data)
    for seed, (name, count), epochs in product(args.seeds, TASKS.items(), EPOCHS):
        if (name, str(epochs), str(seed)) not in finished(RESULTS, "task", "epochs", "seed"):
            task = replace(tasks[name], items=[0, count], seasonal_naive=None)
            append_row(RESULTS, COLUMNS, row(task.validation(windows=min(task.windows, 20)), epochs, seed))
    print(summary(pd.read_csv(RESULTS)).to_string())


def row(task: Task, epochs: int, seed: int) -> dict[str, object]:
    """Errors and processor time of one training."""
    estimator = S5Estimator(
        task.freq, task.prediction_length, quantile_levels=LEVELS, max_epochs=epochs, seed=seed, device="cpu"
    )
    values = sum(len(entry["target"]) for entry in task.train)
    found = {"epochs": epochs, "seed": seed, "values": values, **measure(estimator, task)}
    return {column: found[column] for column in COLUMNS}


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Errors and seconds relative to those with the most epochs, by task and their geometric means."""
    means = found.groupby(["epochs", "task"], sort=False)[METRICS].mean()
    ratios = pd.concat({epochs: means.loc[epochs] / means.loc[EPOCHS[0]] for epochs in EPOCHS[1:]}, axis=1)
    ratios.loc["mean"] = np.exp(np.log(ratios).mean())
    return ratios.round(3)


if __name__ == "__main__":
    main()
