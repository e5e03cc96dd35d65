"""Which optimizer pretrains fastest? Rows of optimizers.csv.

    python optimizers.py --seconds 200

Pretrains a network with each optimizer for some seconds of processor time, at the constant learning rate after the
warm-up. ``heldout`` is the loss of the averaged weights on synthetic series that no training sees. Existing rows are
not computed again.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from s5forecast.networks.pretrained import PretrainedNetwork
from s5forecast.pretraining.training import LR, Pretraining, draw_batch, make_optimizer, make_optimizers

RESULTS = Path(__file__).with_suffix(".csv")
COLUMNS = ("optimizer", "lr", "seconds", "steps", "heldout")
OPTIMIZERS: dict[str, Callable[[PretrainedNetwork], list[torch.optim.Optimizer]]] = {
    "AdamW": lambda network: [make_optimizer(network)],
    "Muon and AdamW": make_optimizers,
}
# Learning rates of the last optimizer, as multiples of the default.
FACTORS = {"AdamW": (1.0, 2.0), "Muon and AdamW": (0.5, 1.0, 2.0)}
BATCHES, SEED = 60, 12_345


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=200.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, make in OPTIMIZERS.items():
        for factor in FACTORS[name]:
            if (name, f"{LR * factor:g}", f"{args.seconds:g}") not in _done():
                _append(row(name, make, factor, args.seconds))


def row(name: str, make: Callable, factor: float, seconds: float) -> dict[str, object]:
    """Pretrain with an optimizer and evaluate the averaged weights."""
    with tempfile.TemporaryDirectory() as folder:
        training = Pretraining(Path(folder), 1e9)
        training.optimizers = make(training.network)
        for group in training.optimizers[-1].param_groups:
            group["base_lr"] *= factor
        training.run(seconds, every=seconds)
    batches = (draw_batch(np.random.default_rng([SEED, number])) for number in range(BATCHES))
    with torch.no_grad():
        loss = float(np.mean([training.average.loss(*batch).item() for batch in batches]))
    found = {"optimizer": name, "lr": f"{LR * factor:g}", "seconds": f"{seconds:g}", "steps": training.step}
    print({**found, "heldout": round(loss, 4)}, flush=True)
    return {**found, "heldout": round(loss, 4)}


def _done() -> set[tuple[str, ...]]:
    if not RESULTS.exists():
        return set()
    with RESULTS.open() as file:
        return {(one["optimizer"], one["lr"], one["seconds"]) for one in csv.DictReader(file)}


def _append(found: dict[str, object]) -> None:
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(found)


if __name__ == "__main__":
    main()
