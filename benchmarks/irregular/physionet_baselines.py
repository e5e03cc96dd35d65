"""What do a constant and the last value reach on PhysioNet 2012, under the protocols of the published numbers?

    python physionet_baselines.py --data FOLDER

FOLDER holds physionet2012_a.csv.gz, _b and _c. The constant is, for each variable, the mean or the distribution of all
training values at query times. The last value is that of the variable, or the constant if it has none. One row per
model and fold in results/physionet36.csv and results/physionet24.csv.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from physionet import Task, Tasks, load_physionet, next_day, next_three_steps

FOLDS = range(5)
RESULTS = Path(__file__).parent / "results"


def baselines(tasks: Tasks, *, by_variable: bool) -> list[dict[str, Any]]:
    """Rows of the results: errors of both baselines on the test part."""
    trained = np.concatenate([task.query_values for task in tasks["train"]])
    constant = np.nan_to_num(np.nanmean(trained, axis=0))
    values = np.concatenate([task.query_values for task in tasks["test"]])
    last = np.concatenate([last_value(task, constant) for task in tasks["test"]])
    spread = np.stack([empirical_crps(trained[:, d], values[:, d]) for d in range(values.shape[1])], axis=1)
    counts = {
        "patients": len(tasks["test"]),
        "values": int((~np.isnan(values)).sum()),
        "version": version("s5forecast"),
    }
    return [
        {"model": name, **scores(forecast, values, crps, by_variable=by_variable), **counts}
        for name, forecast, crps in (
            ("constant", np.broadcast_to(constant, values.shape), spread),
            ("last_value", last, np.abs(last - values)),
        )
    ]


def last_value(task: Task, otherwise: np.ndarray) -> np.ndarray:
    """The last observed value of each variable, ``[q, D]``."""
    known = pd.DataFrame(task.values).ffill().iloc[-1:].to_numpy()
    last = np.where(np.isnan(known), otherwise, known) if len(known) else otherwise[None]
    return np.broadcast_to(last, task.query_values.shape)


def empirical_crps(sample: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``E|X - y| - E|X - X'| / 2`` of the empirical distribution of ``sample``, at each value; NaN is ignored."""
    x = np.sort(sample[~np.isnan(sample)])
    if not len(x):
        return np.abs(values)
    n, total = len(x), np.concatenate([[0.0], np.cumsum(x)])
    below = np.searchsorted(x, values)
    distance = (values * (2 * below - n) + total[-1] - 2 * total[below]) / n
    return distance - ((2 * np.arange(n) - n + 1) @ x) / n**2


def scores(forecast: np.ndarray, values: np.ndarray, crps: np.ndarray, *, by_variable: bool) -> dict[str, float]:
    """Mean over values, or over the values of each variable and then over variables; ``[R, D]`` each."""
    errors = {"mse": (forecast - values) ** 2, "mae": np.abs(forecast - values), "crps": crps}
    asked = ~np.isnan(values).all(axis=0)
    return {
        name: round(float(np.nanmean(np.nanmean(error[:, asked], axis=0) if by_variable else error)), 6)
        for name, error in errors.items()
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    frame = load_physionet(args.data)
    args.results.mkdir(exist_ok=True, parents=True)
    tables = {
        "physionet36": [
            {"fold": fold, **row}
            for fold in FOLDS
            for row in baselines(next_three_steps(frame, fold), by_variable=False)
        ],
        "physionet24": [{"fold": 0, **row} for row in baselines(next_day(frame), by_variable=True)],
    }
    for name, rows in tables.items():
        table = pd.DataFrame(rows)
        table.to_csv(args.results / f"{name}.csv", index=False)
        print(f"\n{name}\n{table.to_string(index=False)}")


if __name__ == "__main__":
    main()
