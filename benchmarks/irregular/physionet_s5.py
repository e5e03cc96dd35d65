"""What does S5 with a step for each gap reach on PhysioNet 2012, under the protocols of the published numbers?

    python physionet_s5.py --data FOLDER --protocol 36h --folds 0 1 2 3 4
    python physionet_s5.py --data FOLDER --protocol 24h --seeds 0 1 2 3 4
    python physionet_s5.py --data FOLDER --protocol 24h --seeds 0 --members 3
    python physionet_s5.py --data FOLDER --protocol 36h --no-dt

FOLDER holds physionet2012_a.csv.gz, _b and _c; the protocols are in physionet.py. Each patient of the training set is
used twice: cut as in the protocol, and at a random observation of the history in the protocol. The epoch is chosen on
the validation set; the test set is used once. ``--no-dt`` advances the states by one step for each observation instead
of by the elapsed time, and hides the gaps from the network. For 24h, variables have equal weight in the loss, as in the
error.

The forecast is of quantiles at ``LEVELS``. The MSE is of the mean, which is the integral of the quantile function; the
CRPS is twice the mean quantile loss over the middles of K equal parts of (0, 1), at which quantiles are interpolated;
K is 100 for 36h, where the CRPS is compared, and 20 for 24h.
Means and quantiles of ``--members`` networks with consecutive seeds are averaged. The forecast of a patient without
history is the distribution of all training values at query times.

One row per protocol, fold, seed and ablation in results/physionet_s5.csv. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
import csv
from importlib.metadata import version
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from physionet import Task, Tasks, load_physionet, next_day, next_three_steps
from physionet_baselines import scores

from s5forecast import S5ContinuousEstimator

PROTOCOLS = ("36h", "24h")
LEVELS = [0.01, *(round(0.05 * i, 2) for i in range(1, 20)), 0.99]
PARTS = {"36h": 100, "24h": 20}
CHUNK = 256  # patients forecast at once
RAREST = 50
# Width, dropout, epochs and the weights for 24h were chosen on the validation set of fold 0, among few.
SETTINGS: dict[str, dict[str, Any]] = {
    "36h": {"prediction_length": 3, "context_length": 40, "width": 128, "dropout": 0.2, "max_epochs": 8},
    "24h": {
        "prediction_horizon": 24.0,
        "context_length": 64,
        "max_queries": 32,
        "width": 128,
        "dropout": 0.2,
        "max_epochs": 16,
    },
}
COMMON: dict[str, Any] = {
    "time_unit": 1.0,
    "scaling": "global",
    "distr_output": "quantile",
    "quantile_levels": LEVELS,
    "batch_size": 64,
    "patience": 20,
}
COLUMNS = (
    "protocol", "fold", "seed", "members", "ablation", "mse", "crps", "mae", "validation_mse", "validation_crps",
    "patients", "values", "seconds", "parameters", "version",
)  # fmt: skip
RESULTS = Path(__file__).parent / "results" / "physionet_s5.csv"


def train(tasks: Tasks, protocol: str, seed: int, *, use_dt: bool = True, **further: Any) -> Any:
    """The predictor of a protocol."""
    training = [task for task in tasks["train"] if is_usable(task)]
    entries = [known(task) for task in training] + [known(task, cut=True) for task in training]
    options = {**COMMON, **SETTINGS[protocol], "use_dt": use_dt, "dt_as_feature": use_dt, **further}
    if protocol == "24h":
        options["variable_weights"] = balance(training)
    estimator = S5ContinuousEstimator(
        target_dim=training[0].values.shape[1],
        num_batches_per_epoch=len(training) // options["batch_size"],
        seed=seed,
        **options,
    )
    return estimator.train(entries, [known(task, cut=True) for task in tasks["validation"] if is_usable(task)])


def balance(tasks: list[Task]) -> list[float]:
    """Weights that give variables the same total weight, as in the error of 24h, however often they are queried."""
    count = sum((~np.isnan(task.query_values)).sum(0) for task in tasks)
    weights = 1 / np.maximum(count, RAREST)
    return (weights / weights.mean()).tolist()


def is_usable(task: Task) -> bool:
    """Whether there is an observation and a query."""
    return bool((~np.isnan(task.values)).any() and (~np.isnan(task.query_values)).any())


def known(task: Task, *, cut: bool = False) -> dict[str, Any]:
    """An entry for training, cut as in the protocol or at a random observation."""
    entry = {
        "item_id": task.item_id,
        "time": np.concatenate([task.time, task.query_time]),
        "target": np.concatenate([task.values, task.query_values]).T,
    }
    return {**entry, "cut_time": task.time[-1]} if cut else entry


def judge(predictors: list[Any], tasks: list[Task], trained: list[Task], protocol: str) -> dict[str, float]:
    """MSE, MAE and CRPS of the forecasts of patients, averaged over predictors."""
    levels = (np.arange(PARTS[protocol]) + 0.5) / PARTS[protocol]
    asked = [task for task in tasks if len(task.query_time)]
    learned = np.concatenate([task.query_values for task in trained])
    constant = np.nan_to_num(np.nanmean(learned, axis=0)), np.nan_to_num(np.nanquantile(learned, levels, axis=0)).T
    parts = []
    for start in range(0, len(asked), CHUNK):
        chunk = asked[start : start + CHUNK]
        members = [forecast(predictor, chunk, levels, *constant) for predictor in predictors]
        means, quantiles = (np.mean(part, axis=0) for part in zip(*members, strict=True))
        values = np.concatenate([task.query_values for task in chunk])
        parts.append((means, values, quantile_score(quantiles, values, levels)))
    means, values, crps = map(np.concatenate, zip(*parts, strict=True))
    judged = scores(means, values, crps, by_variable=protocol == "24h")
    return {**judged, "patients": len(asked), "values": int((~np.isnan(values)).sum())}


def forecast(
    predictor: Any, tasks: list[Task], levels: np.ndarray, mean: np.ndarray, otherwise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means ``[R, D]`` and quantiles ``[R, D, K]``; the given ones of each variable for a patient without history."""
    seen = [bool((~np.isnan(task.values)).any()) for task in tasks]
    entries = [
        {"item_id": task.item_id, "time": task.time, "target": task.values.T, "query_time": task.query_time}
        for task, known in zip(tasks, seen, strict=True)
        if known
    ]
    rows = np.repeat(seen, [len(task.query_time) for task in tasks])
    means, quantiles = np.tile(mean, (len(rows), 1)), np.tile(otherwise, (len(rows), 1, 1))
    means[rows], quantiles[rows] = predictor.predict_quantiles(entries, levels.tolist())
    return means, quantiles


def quantile_score(quantiles: np.ndarray, values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """``2 / K sum_k (u_k - 1[y < q_k]) (y - q_k)``, ``[R, D, K]`` and ``[R, D]`` to ``[R, D]``."""
    error = values[..., None] - quantiles
    return 2 * np.maximum(levels * error, (levels - 1) * error).mean(-1)


def compute(tasks: Tasks, protocol: str, fold: int, seed: int, members: int, *, use_dt: bool) -> dict[str, Any]:
    start = process_time()
    predictors = [train(tasks, protocol, seed + member, use_dt=use_dt) for member in range(members)]
    seconds = process_time() - start
    judged = {part: judge(predictors, tasks[part], tasks["train"], protocol) for part in ("validation", "test")}
    return {
        "protocol": protocol,
        "fold": fold,
        "seed": seed,
        "members": members,
        "ablation": "dt" if use_dt else "no_dt",
        **judged["test"],
        **{f"validation_{name}": judged["validation"][name] for name in ("mse", "crps")},
        "seconds": round(seconds),
        "parameters": sum(p.numel() for one in predictors for p in one.network.parameters()),
        "version": version("s5forecast"),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--protocol", choices=PROTOCOLS, required=True)
    parser.add_argument("--folds", type=int, nargs="+", default=[0], help="of 36h; 24h has one split")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--dt", action=argparse.BooleanOptionalAction, default=True, dest="use_dt")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    if args.protocol == "24h" and args.folds != [0]:
        parser.error("the protocol 24h has one split: leave --folds out")
    torch.set_num_threads(1)
    frame = load_physionet(args.data)
    for fold, seed in product(args.folds, args.seeds):
        key = (args.protocol, str(fold), str(seed), str(args.members), "dt" if args.use_dt else "no_dt")
        if key in computed(args.results):
            print(*key, "is there")
            continue
        tasks = next_three_steps(frame, fold) if args.protocol == "36h" else next_day(frame)
        row = compute(tasks, args.protocol, fold, seed, args.members, use_dt=args.use_dt)
        append(args.results, row)
        print(row, flush=True)


def computed(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open() as file:
        return {tuple(row[name] for name in COLUMNS[:5]) for row in csv.DictReader(file)}


def append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
