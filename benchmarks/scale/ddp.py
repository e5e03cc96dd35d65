"""Data-parallel training: the time of a step and the accuracy, against one process with the same windows.

Two processes with batch size b and one process with batch size 2b train on the same windows. ``steps`` measures a
training step of one process with one and two threads, and of two processes with one thread each: the wall time of the
fastest tenth of the steps, because other work on the machine delays the others, and the mean processor time of the
first process. ``accuracy`` trains on the last 2,000 hours of ``nyc_departures_hourly`` without their last 7 days, and
forecasts each of them. Finished rows of the results are kept, so that an interrupted run resumes.

    python benchmarks/scale/ddp.py steps
    python benchmarks/scale/ddp.py accuracy [--seeds 4]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

RESULTS = Path(__file__).with_suffix(".csv")
# Batch size of the whole step and width of the network.
SIZES = [(64, 64), (256, 128)]
# Steps that are left out and steps that are timed.
FIRST, TIMED = 10, 60
# Number of processes, and of threads of each, whose steps are timed.
PARTITIONS = [(1, 1), (1, 2), (2, 1)]
# Trainings that are compared: number of processes and windows of a step.
TRAININGS = [(1, 64), (2, 64), (1, 32)]
HORIZON, HOURS, DAYS, EPOCHS = 24, 2000, 7, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["steps", "accuracy"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--measure", metavar="JSON", help="used by the script itself")
    arguments = parser.parse_args()
    if arguments.measure:
        warnings.simplefilter("ignore")
        print(json.dumps(MEASURES[arguments.what](**json.loads(arguments.measure))))
        return
    if arguments.what == "steps":
        cases = [{"processes": n, "threads": t, "windows": b, "width": w} for b, w in SIZES for n, t in PARTITIONS]
    else:
        chosen = [(s, n, b) for s in range(arguments.seeds) for n, b in TRAININGS]
        cases = [{"processes": n, "threads": 1, "windows": b, "seed": s} for s, n, b in chosen]
    done = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for case in cases:
        row = {"what": arguments.what, **case}
        if any(all(other.get(name) == value for name, value in row.items()) for other in done):
            continue
        done.append(row | measured(arguments.what, case))
        pd.DataFrame(done).to_csv(RESULTS, index=False)
        print(done[-1], flush=True)


def measured(what: str, case: dict[str, Any]) -> dict[str, float]:
    """The result of a fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(case["threads"])}
    arguments = {name: value for name, value in case.items() if name != "threads"}
    command = [sys.executable, __file__, what, "--measure", json.dumps(arguments)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(found.stdout.splitlines()[-1])


def forecaster(processes: int, windows: int, **arguments: Any) -> Any:
    """A forecaster whose processes see a number of windows together in each step."""
    from s5forecast import S5Forecaster

    seed, trainer_kwargs = arguments.pop("seed", 0), arguments.pop("trainer_kwargs", {})
    if processes > 1:
        trainer_kwargs |= {"accelerator": "cpu", "devices": processes, "strategy": "ddp_notebook"}
    kwargs = {"batch_size": windows // processes, "trainer_kwargs": trainer_kwargs, **arguments}
    return S5Forecaster(HORIZON, freq="h", static=["origin"], seed=seed, verbose=False, estimator_kwargs=kwargs)


def step_time(processes: int, windows: int, width: int) -> dict[str, float]:
    """Milliseconds of a training step in the first process: wall time of the fastest tenth, mean processor time."""
    from lightning.pytorch.callbacks import Callback

    from s5forecast import load_dataset

    class Clock(Callback):
        """Writes the times at which steps end."""

        def on_train_start(self, *_: Any) -> None:
            self.ends: list[tuple[float, float]] = []

        def on_train_batch_end(self, *_: Any) -> None:
            self.ends.append((time.monotonic(), time.process_time()))

        def on_train_end(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                path.write_text(json.dumps(self.ends))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ends.json"
        trainer_kwargs = {"max_steps": FIRST + TIMED, "callbacks": [Clock()]}
        forecaster(processes, windows, width=width, trainer_kwargs=trainer_kwargs).fit(
            load_dataset("nyc_departures_hourly")
        )
        wall, processor = 1000 * np.diff(json.loads(path.read_text())[FIRST - 1 :], axis=0).T
    return {"wall_ms": round(float(np.quantile(wall, 0.1)), 1), "processor_ms": round(float(processor.mean()), 1)}


def accuracy(processes: int, windows: int, seed: int) -> dict[str, float]:
    """Weighted quantile loss over the last days."""
    from s5forecast import load_dataset

    df = load_dataset("nyc_departures_hourly").groupby("item_id").tail(HOURS)
    last = df.timestamp.max() - pd.Timedelta(days=DAYS)
    model = forecaster(processes, windows, seed=seed, max_epochs=EPOCHS)
    found = model.fit(df[df.timestamp <= last]).backtest(df, windows=DAYS)
    return {"WQL": round(float(found.metrics["WQL"].iloc[0]), 5)}


MEASURES = {"steps": step_time, "accuracy": accuracy}

if __name__ == "__main__":
    main()
