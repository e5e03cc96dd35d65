"""Pretrain the network on synthetic series, or resume an interrupted pretraining.

    python -m s5forecast.pretraining --hours 8 --folder pretraining

The folder holds ``checkpoint.pt`` (everything that resuming needs), ``log.csv``, and the averaged weights in float16:
``weights.npz`` and copies of it after 300 s, 600 s, 1200 s and so on. Hours are processor time of one thread. The
learning rate is constant up to the last quarter of them; more hours can be given later, if it has not decayed yet.
Without a checkpoint, ``--weights`` starts from such a file and continues the count of its hours.
"""

from __future__ import annotations

import argparse
import shutil
from importlib.metadata import version
from math import log2
from pathlib import Path

import torch
from tqdm.auto import tqdm

from s5forecast.networks.pretrained_weights import load_record, load_weights, save_weights
from s5forecast.pretraining.training import Pretraining

SECONDS = 3600.0
# Processor seconds between checkpoints, and of the first copy of the weights.
EVERY, FIRST_COPY = 100.0, 300.0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, required=True, help="processor time of the whole pretraining")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the checkpoint, the log and the weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, help="file of weights to start from if there is no checkpoint")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    training = _begun(args.folder, args.hours * SECONDS, args.seed, args.weights)
    with tqdm(total=round(training.seconds), initial=round(training.spent), unit="s", desc="pretraining") as bar:

        def report() -> None:
            bar.update(round(training.spent) - bar.n)
            write_weights(training)

        training.run(training.seconds, report, EVERY)


def _begun(folder: Path, seconds: float, seed: int, weights: Path | None) -> Pretraining:
    """The training of the checkpoint, else one from ``weights``, else a new one."""
    training = Pretraining(folder, seconds, seed)
    if training.load() or weights is None:
        return training
    training = Pretraining(folder, seconds, seed, load_weights(weights).train())
    training.start_from(load_record(weights))
    return training


def write_weights(training: Pretraining) -> None:
    """Write the averaged weights and, each time the processor time has doubled, a copy of them."""
    path = training.folder / "weights.npz"
    save_weights(path, training.average, {"version": version("s5forecast"), **training.record()})
    if training.spent >= FIRST_COPY:
        copy = training.folder / f"weights-{round(FIRST_COPY * 2 ** int(log2(training.spent / FIRST_COPY)))}.npz"
        if not copy.exists():
            shutil.copyfile(path, copy)


if __name__ == "__main__":
    main()
