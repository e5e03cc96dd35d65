"""How do time and memory of training grow with the length of the sequences? Rows of results/length.csv.

    python length.py

Networks as for ``pathfinder32`` take training steps on generated sequences of 16,384 steps in all: 16 of 1,024 steps,
4 of 4,096, or one of 16,384, as many as in an image of Path-X (128 x 128). Each case runs in its own process, on one
thread: median of the processor time of a training step, and peak memory above that of a training step on 64 steps.
Existing rows are not measured again.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from itertools import product
from pathlib import Path
from time import process_time

import numpy as np
import torch
from classifiers import PEERS, Classifier, build_equal
from run import append_row, finished, task_settings, train_step
from sequences import Task, generated

from s5forecast.ssm import LAYERS

RESULTS = Path(__file__).parent / "results" / "length.csv"
COLUMNS = ("layer", "steps", "seconds", "peak_mib")
LENGTHS = (1_024, 4_096, 16_384)
TOTAL = 16_384
ROUNDS = 5
NAMES = [*LAYERS, *PEERS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(*measure(args.case[0], int(args.case[1])))
        return
    for layer, steps in product(args.layer, LENGTHS):
        if (layer, str(steps)) not in finished(RESULTS, "layer", "steps"):
            command = [sys.executable, __file__, "--case", layer, str(steps)]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            row = {"layer": layer, "steps": steps, "seconds": found[0], "peak_mib": found[1]}
            append_row(RESULTS, COLUMNS, row)
            print(row, flush=True)


def measure(layer: str, steps: int) -> tuple[float, float]:
    """Seconds of a training step, and peak memory in MiB."""
    torch.set_num_threads(1)
    settings = task_settings("pathfinder32")
    short, task = (generated(length, 2, count=TOTAL // steps) for length in (64, steps))
    torch.manual_seed(0)
    model = build_equal(layer, settings["width"], task, settings).train()
    optimizer = torch.optim.AdamW(model.parameter_groups(settings["lr"], settings["ssm_lr"], settings["weight_decay"]))
    _step(model, optimizer, short)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = [_step(model, optimizer, task) for _ in range(ROUNDS)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return round(float(np.median(seconds)), 4), round(peak / 1024, 1)


def _step(model: Classifier, optimizer: torch.optim.Optimizer, task: Task) -> float:
    began = process_time()
    train_step(model, optimizer, task.train, torch.arange(len(task.train)))
    return process_time() - began


if __name__ == "__main__":
    main()
