"""How many networks should the ensemble of the preset "best" have? Rows of ensemble_size.csv.

    python ensemble_size.py --data FOLDER --task hospital/M/short ett1/H/short

Trains the preset with six networks in its ensemble on the data before the validation windows of each task and measures
the forecasts with the first one to six of them; all other members and weights stay the same. Existing rows are not
computed again. Prints the errors relative to three networks.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from models import LEVELS, MODELS
from pretrained_member import METRICS, Remembered
from run import append_row, finished, measure
from tasks import Task, load_tasks

from s5forecast.estimators.combined import CombinedPredictor
from s5forecast.estimators.ensemble import EnsemblePredictor
from s5forecast.presets import BestEstimator

RESULTS = Path(__file__).with_suffix(".csv")
MOST = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--task", nargs="+", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    tasks = load_tasks(args.data)
    for name in args.task:
        if (name,) not in finished(RESULTS, "task"):
            for row in rows(tasks[name].validation(windows=min(tasks[name].windows, 20))):
                append_row(RESULTS, ["task", "networks", *METRICS], row)
    print(summary(pd.read_csv(RESULTS)).to_string())


def rows(task: Task) -> Iterator[dict[str, Any]]:
    """Errors on the windows of a task by the number of networks."""
    warnings.simplefilter("ignore")  # of other libraries, for business days and short series
    preset = MODELS["best"](task, 0)
    predictor = BestEstimator(preset.estimator, MOST, preset.tuned).train(task.train)
    networks, others = members(predictor)
    share = sum(weight for _, weight in networks)
    for number in range(1, MOST + 1):
        chosen = [*((one, share / number) for one, _ in networks[:number]), *others]
        row = measure(CombinedPredictor(*map(list, zip(*chosen, strict=True)), LEVELS), task)
        yield {"task": task.name, "networks": number, **{metric: row[metric] for metric in METRICS}}


def members(predictor: Any, weight: float = 1.0) -> tuple[list[tuple[Remembered, float]], ...]:
    """Networks of the ensemble in a predictor, and all other members, with their weights."""
    if isinstance(predictor, EnsemblePredictor):
        return [(Remembered(one), weight / len(predictor.members)) for one in predictor.members], []
    if not isinstance(predictor, CombinedPredictor):
        return [], [(Remembered(predictor), weight)]
    found = [members(one, weight * share) for one, share in zip(predictor.members, predictor.weights, strict=True)]
    networks, others = zip(*found, strict=True)
    return list(chain(*networks)), list(chain(*others))


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Errors relative to three networks, by task, and their geometric means."""
    tables = {name: found.pivot(index="task", columns="networks", values=name) for name in ("WQL", "MASE")}
    ratios = pd.concat({name: table.div(table[3], axis=0) for name, table in tables.items()}, axis=1)
    means = ratios.prod() ** (1 / len(ratios))
    return pd.concat([ratios, means.rename("mean").to_frame().T]).round(3)


if __name__ == "__main__":
    main()
