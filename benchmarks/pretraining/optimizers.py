"""Which optimizer pretrains fastest? Rows of optimizers.csv.

    python optimizers.py --seconds 100

Pretrains a network with each optimizer for some seconds of processor time, at the constant learning rate after the
warm-up. ``heldout`` is the loss of the averaged weights on synthetic series that no training sees.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from s5forecast.networks.pretrained import PretrainedNetwork
from s5forecast.pretraining.training import LR, Pretraining, draw_batch, make_optimizer, make_optimizers

RESULTS = Path(__file__).with_suffix(".csv")
OPTIMIZERS: dict[str, Callable[[PretrainedNetwork], list[torch.optim.Optimizer]]] = {
    "AdamW": lambda network: [make_optimizer(network)],
    "Muon and AdamW": make_optimizers,
}
# Learning rates of the last optimizer, as multiples of the default.
FACTORS = {"AdamW": (1.0, 2.0), "Muon and AdamW": (0.5, 1.0, 2.0)}
BATCHES, SEED = 60, 12_345


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=100.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row(name, make, factor, args.seconds) for name, make in OPTIMIZERS.items() for factor in FACTORS[name]]
    pd.DataFrame(rows).to_csv(RESULTS, index=False, lineterminator="\n")


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
    found = {
        "optimizer": name, "lr": f"{LR * factor:g}", "seconds": f"{seconds:g}", "steps": training.step,
        "heldout": round(loss, 4),
    }  # fmt: skip
    print(found, flush=True)
    return found


if __name__ == "__main__":
    main()
