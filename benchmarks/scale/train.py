"""What memory and time does training on many series on disk take?

The series are those of ``predict.py``. A fresh process trains ``S5Forecaster`` with default arguments for a few steps,
after a training on 20 series, so that all code is loaded. Its peak memory is that above the peak of this first
training, and includes the pages of mapped files. A thread gathers the windows while the network computes: ``wait_ms``
is the part of ``step_ms``, the time of a training step, in which the network waits for it. Both need two free processor
cores, or priority over other processes (``chrt -r 1``). Finished rows of the results are kept, so that an interrupted
run resumes.

    python benchmarks/scale/train.py [--series 10000 100000 1000000] [--steps 200] [--folder /tmp/scale]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from predict import HORIZON, STEPS, peak, values, write_rows

RESULTS = Path(__file__).with_suffix(".csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", type=int, default=200, help="training steps")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/s5forecast-scale"))
    parser.add_argument("--measure", metavar="ROWS", help="used by the script itself")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.measure:
        print(json.dumps(measured(arguments.measure, arguments.steps)))
        return
    done = pd.read_csv(RESULTS).to_dict("records") if RESULTS.exists() else []
    for series in arguments.series:
        if any(row["series"] == series for row in done):
            continue
        rows = arguments.folder / f"training-{series}"
        write_rows(rows, series, "series")
        command = [sys.executable, __file__, "--measure", str(rows), "--steps", str(arguments.steps)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        shutil.rmtree(rows)
        row = {"series": series, "steps": STEPS, "training_steps": arguments.steps}
        done.append({**row, **json.loads(found.stdout.splitlines()[-1])})
        pd.DataFrame(done).to_csv(RESULTS, index=False)
        print(done[-1], flush=True)


def measured(rows: str, steps: int) -> dict[str, float]:
    """Peak memory above that of a small training, processor seconds of its parts, and milliseconds of a step."""
    from s5forecast.data.disk_data import DiskData
    from s5forecast.estimators import base
    from s5forecast.windows.batches import TrainingWindows
    from s5forecast.windows.prefetch import Prefetched

    train(values(np.arange(20), np.random.default_rng(0)), 2)
    found: dict[str, float] = {}
    before, began = peak(), time.process_time()
    for owner, name, label, clock in (
        (DiskData, "table", "read", time.process_time),
        (base.ForecastEstimator, "_store", "store", time.process_time),
        (TrainingWindows, "_step", "gather", time.thread_time),
        (Prefetched, "_next", "wait", time.perf_counter),
        (base, "fit", "step", time.perf_counter),
    ):
        setattr(owner, name, _timed(getattr(owner, name), label, found, before, clock))
    train(rows, steps)
    for label in ("wait", "step"):
        found.pop(f"{label}_mb")
        found[f"{label}_ms"] = 1e3 * found.pop(f"{label}_seconds") / steps
    found |= {"peak_mb": peak() - before, "cpu_seconds": time.process_time() - began}
    return {name: round(value, 2 if name.endswith("_ms") else 1) for name, value in found.items()}


def _timed(function: Any, label: str, found: dict[str, float], before: float, clock: Any) -> Any:
    """The function, which adds its seconds and the peak memory after it."""

    def timed(*arguments: Any, **options: Any) -> Any:
        began = clock()
        result = function(*arguments, **options)
        found[f"{label}_seconds"] = found.get(f"{label}_seconds", 0.0) + clock() - began
        found[f"{label}_mb"] = peak() - before
        return result

    return timed


def train(data: Any, steps: int) -> None:
    from s5forecast import S5Forecaster

    short = {"max_epochs": 1, "num_batches_per_epoch": steps}
    S5Forecaster(HORIZON, freq="D", estimator_kwargs=short, verbose=False).fit(data)


if __name__ == "__main__":
    main()
