"""Which weight should the pretrained network have in the preset "best"? Rows of pretrained_member.csv.

    python pretrained_member.py --data FOLDER --task hospital/M/short ett1/H/short --weights WEIGHTS.npz

Trains the preset without the pretrained network on the data before the validation windows of each task, averages its
forecasts with those of the pretrained network, as it is or fine-tuned, by different weights, and prints the errors
relative to weight zero. The weight "error" is that by the inverse squared losses on the last
horizons of the training data, for presets whose members are weighted so. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from gluonts.dataset.common import Dataset
from gluonts.dataset.split import split
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import Predictor
from models import LEVELS, MODELS
from run import append_row, finished, measure
from tasks import Task, load_tasks

from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor, quantile_loss
from s5forecast.estimators.pretrained_estimator import PretrainedEstimator
from s5forecast.presets import BestEstimator

RESULTS = Path(__file__).with_suffix(".csv")
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 1.0)
METRICS = ["WQL", "MASE", "coverage_80"]
NETWORKS: dict[str, dict[str, Any]] = {
    "as it is": {"num_steps": 0},
    "150 steps": {},
    "600 steps": {"num_steps": 600, "lr": 6e-4, "ssm_lr": 3e-4, "synthetic_share": 0.25},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--task", nargs="+", required=True)
    parser.add_argument("--network", nargs="+", default=["as it is"], choices=NETWORKS)
    parser.add_argument("--weights", type=Path, help="of the pretrained network; those of the package by default")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tasks = load_tasks(args.data)
    for name in args.task:
        networks = [one for one in args.network if (name, one) not in finished(RESULTS, "task", "network")]
        if networks:
            task = tasks[name].validation(windows=min(tasks[name].windows, 20))
            for row in rows(task, networks, args.weights and str(args.weights)):
                append_row(RESULTS, ["task", "network", "weight", "value", *METRICS], row)
    print(summary(pd.read_csv(RESULTS, dtype={"weight": str})).to_string())


class Remembered(Predictor):
    """Forecasts of a predictor, which are computed once for data that is forecast several times."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor.prediction_length)
        self.predictor, self.forecasts = predictor, list[Forecast]()

    def predict(self, dataset: Dataset, **kwargs: Any) -> Iterator[Forecast]:
        self.forecasts = self.forecasts or list(self.predictor.predict(dataset, **kwargs))
        yield from self.forecasts


def rows(task: Task, networks: Sequence[str], file: str | None) -> Iterator[dict[str, Any]]:
    """Errors on the windows of a task by network and its weight."""
    warnings.simplefilter("ignore")  # of other libraries, for business days and short series
    preset = MODELS["best"](task, 0)
    estimator = BestEstimator(preset.estimator, preset.num_members)
    best = Remembered(estimator.train(task.train))
    chosen = estimator.choose(task.train)
    for network in networks:
        tuned = PretrainedEstimator(
            task.freq, task.prediction_length, weights=file, quantile_levels=LEVELS, verbose=False, **NETWORKS[network]
        )
        pretrained = Remembered(tuned.train(task.train))
        weights = {str(weight): weight for weight in WEIGHTS}
        if isinstance(chosen, CombinedEstimator) and chosen.weights is None:
            weights["error"] = weight_by_error(chosen, best.predictor, tuned, task.train)
        for name, weight in weights.items():
            row = measure(CombinedPredictor([best, pretrained], [1 - weight, weight], LEVELS), task)
            found = {"task": task.name, "network": network, "weight": name, "value": round(weight, 3)}
            yield found | {metric: row[metric] for metric in METRICS}


def weight_by_error(chosen: CombinedEstimator, best: Any, tuned: PretrainedEstimator, train: list[dict]) -> float:
    """Weight of the pretrained network by its loss and that of a statistical member on the last horizons."""
    windows, long = chosen.compared_series(train)
    horizon = chosen.prediction_length
    before, template = split(long, offset=-windows * horizon)
    last = template.generate_instances(horizon, windows=windows)
    number = next(n for n, member in enumerate(chosen.members) if isinstance(member, Predictor))
    losses = [quantile_loss(member, last) for member in (chosen.members[number], tuned.train(before))]
    share = best.weights[number] * (losses[0] / losses[1]) ** 2
    return share / (1 + share)


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Errors relative to weight zero, by network and task."""
    tables = {name: found.pivot(index=["network", "task"], columns="weight", values=name) for name in ("WQL", "MASE")}
    return pd.concat({name: table.div(table["0.0"], axis=0) for name, table in tables.items()}, axis=1).round(3)


if __name__ == "__main__":
    main()
