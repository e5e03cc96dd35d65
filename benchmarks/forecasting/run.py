"""How accurate are the forecasts? Trains and evaluates models; one row per task and seed in results/<model>.csv.

    python run.py --data FOLDER --suite gift --model default --seeds 0 1 2

Existing rows are not computed again, so an interrupted run resumes.
"""

from __future__ import annotations

import argparse
import csv
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import torch
from gluonts.ev.metrics import MeanWeightedSumQuantileLoss
from gluonts.model.estimator import Estimator
from gluonts.torch.model.predictor import PyTorchPredictor
from models import LEVELS, MODELS
from tasks import FOLDER, Task, load_tasks

from s5forecast.estimators.combined import CombinedPredictor
from s5forecast.estimators.ensemble import EnsemblePredictor
from s5forecast.estimators.peers import PeerEstimator
from s5forecast.estimators.predictor import NetworkPredictor
from s5forecast.evaluation.backtest import backtest
from s5forecast.levels import DECILES

# The published WQL is over the deciles, whatever other levels are forecast.
METRICS = {
    "WQL": MeanWeightedSumQuantileLoss(DECILES),
    "MASE": "MASE",
    "sMAPE": "sMAPE",
    "coverage_80": "coverage_80",
    "coverage_90": "coverage_90",
}
COLUMNS = ("task", "seed", *METRICS, "train_seconds", "predict_seconds", "parameters", "version")
SMOKE = ("hospital/M/short", "chronos/tourism_quarterly")
VALIDATION = (
    "ett1/H/short", "ett2/15T/short", "ett1/H/long", "ett2/D/short", "us_births/D/short", "m4_hourly/H/short",
    "covid_deaths/D/short", "chronos/tourism_quarterly",
)  # fmt: skip
TOLERANCE = 0.01
OURS = (NetworkPredictor, EnsemblePredictor, CombinedPredictor)


def main(arguments: list[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    tasks = _selected(load_tasks(args.data), args.suite, args.task)
    args.results.mkdir(exist_ok=True, parents=True)
    for model, seed, task in product(args.model, args.seeds, tasks):
        if (task.name, str(seed)) in finished(args.results / f"{model}.csv", "task", "seed"):
            continue
        check_protocol(task)
        row = run(model, task.validation(windows=min(task.windows, 20)) if args.validation else task, seed)
        append_row(args.results / f"{model}.csv", COLUMNS, row)
        print(model, *(f"{key}={row[key]}" for key in COLUMNS), flush=True)


def run(model: str, task: Task, seed: int) -> dict[str, Any]:
    """Train on the data before the windows, forecast and evaluate them; returns a row of the results."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries, for business days and short series
        return {**measure(MODELS[model](task, seed), task), "seed": seed}


def measure(built: Any, task: Task) -> dict[str, Any]:
    """Train an estimator, or take a predictor as it is, and evaluate its forecasts of the windows.

    Seconds are processor time of all threads.
    """
    began = process_time()
    # Features of whole series are computed once by GluonTS, not for every window; the result is the same.
    cached = {"cache_data": True} if isinstance(built, PeerEstimator) else {}
    predictor = built.train(task.train, **cached) if isinstance(built, Estimator) else built
    trained = process_time()
    result = backtest(
        predictor, task.series, prediction_length=task.prediction_length, windows=task.windows, season=task.season,
        quantile_levels=LEVELS, metrics=tuple(METRICS.values()),
    )  # fmt: skip
    return {
        "task": task.name,
        **{name: round(value, 6) for name, value in zip(METRICS, result.metrics.iloc[0], strict=False)},
        "train_seconds": round(trained - began, 1),
        "predict_seconds": round(process_time() - trained, 2),
        "parameters": _parameters(predictor),
        "version": version("s5forecast" if isinstance(predictor, OURS) else "gluonts"),
    }


def check_protocol(task: Task) -> None:
    """Raise ValueError unless seasonal naive has its published value."""
    if task.seasonal_naive is None:
        return
    result = backtest(
        MODELS["seasonal_naive"](task, 0), task.series, prediction_length=task.prediction_length, windows=task.windows,
        season=task.season, metrics=("WQL", "MASE"),
    )  # fmt: skip
    for name, published in zip(("WQL", "MASE"), task.seasonal_naive, strict=True):
        measured = float(result.metrics[name].iloc[0])
        if published is not None and abs(measured - published) > TOLERANCE * published + 5e-4:
            raise ValueError(f"{task.name}: seasonal naive has {name} {measured:.4f}, published is {published}")


def _selected(tasks: dict[str, Task], suite: str | None, names: list[str] | None) -> list[Task]:
    if names:
        unknown = set(names) - set(tasks)
        if unknown:
            raise SystemExit(f"unknown tasks {sorted(unknown)}; choose from {', '.join(tasks)}")
        return [tasks[name] for name in names]
    if suite == "smoke":
        return [tasks[name] for name in SMOKE]
    if suite == "validation":
        return [tasks[name] for name in VALIDATION]
    return [task for task in tasks.values() if suite in (None, task.suite)]


def finished(path: Path, *keys: str) -> set[tuple[str, ...]]:
    """The values of some columns in the rows of a file of results."""
    if not path.exists():
        return set()
    with path.open() as file:
        return {tuple(row[key] for key in keys) for row in csv.DictReader(file)}


def append_row(path: Path, columns: Sequence[str], row: dict[str, Any]) -> None:
    """Add a row to a file of results, with a header if the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _parameters(predictor: Any) -> int:
    if isinstance(predictor, EnsemblePredictor | CombinedPredictor):
        return sum(map(_parameters, predictor.members))
    if not isinstance(predictor, NetworkPredictor | PyTorchPredictor):
        return 0
    return sum(parameter.numel() for parameter in predictor.prediction_net.parameters())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets in GluonTS format, by name")
    parser.add_argument("--suite", choices=["gift", "chronos", "own", "validation", "smoke"], help="all when not given")
    parser.add_argument("--task", nargs="+", help="names in tasks.yaml, instead of a suite")
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--validation", action="store_true", help="on the windows before the test part")
    parser.add_argument("--results", type=Path, default=FOLDER / "results")
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
