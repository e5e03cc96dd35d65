"""How accurate are pretrained networks? Evaluates weights on validation windows; one row per file and task.

    python zero_shot.py --data FOLDER --results ../pretraining/validation.csv WEIGHTS.npz ...

The validation windows end where the test part begins, up to 20 for each series. Existing rows are not computed again.
Prints the geometric means of the ratios to seasonal naive on the same windows.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from models import LEVELS, seasonal_naive
from run import measure
from tasks import FOLDER, Task, load_tasks

from s5forecast.estimators.pretrained import PretrainedPredictor
from s5forecast.networks.pretrained_weights import load_record

WINDOWS = 20
NAIVE = "seasonal_naive"
KEYS = ["weights", "seconds", "task", "suite"]
METRICS = ["WQL", "MASE", "coverage_80", "predict_seconds"]


def main(arguments: list[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    tasks = [task for task in load_tasks(args.data).values() if task.suite in args.suite]
    rows = pd.read_csv(args.results).to_dict("records") if args.results.exists() else []
    done = {(row["weights"], row["task"]) for row in rows}
    for path in [None, *args.weights]:
        name = NAIVE if path is None else _name(path)
        for task in tasks:
            if (name, task.name) not in done:
                rows.append({"weights": name, **evaluate(path, task)})
                pd.DataFrame(rows)[KEYS + METRICS].to_csv(args.results, index=False, lineterminator="\n")
    print(summary(pd.DataFrame(rows)).to_string())


def evaluate(path: Path | None, task: Task) -> dict[str, Any]:
    """Metrics on the validation windows, of seasonal naive without weights."""
    validation = task.validation(windows=WINDOWS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, for business days and short series
        predictor = (
            seasonal_naive(task, 0)
            if path is None
            else PretrainedPredictor(task.freq, task.prediction_length, str(path), quantile_levels=LEVELS)
        )
        row = measure(predictor, validation)
    seconds = 0.0 if path is None else load_record(path)["seconds"]
    return {**row, "suite": task.suite, "seconds": seconds}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Geometric means of the ratios to seasonal naive and mean coverage, of each file and suite."""
    naive = rows[rows["weights"] == NAIVE].set_index("task")
    rows = rows[rows["weights"] != NAIVE]
    ratios = {metric: np.log(rows[metric] / rows["task"].map(naive[metric])) for metric in ("WQL", "MASE")}
    groups = rows.assign(**ratios).groupby(["weights", "seconds", "suite"], sort=False)
    means = groups[["WQL", "MASE", "coverage_80", "predict_seconds"]].mean()
    return means.assign(WQL=np.exp(means["WQL"]), MASE=np.exp(means["MASE"])).round(4)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--suite", nargs="+", default=["gift", "chronos", "own"])
    parser.add_argument("--results", type=Path, default=FOLDER.parent / "pretraining" / "validation.csv")
    return parser


if __name__ == "__main__":
    main()
