"""Pretrain the network on synthetic series, or resume an interrupted pretraining.

    python -m s5forecast.pretraining --hours 8 --folder pretraining

The folder holds the checkpoint and ``log.csv``. Hours are processor time of one thread; the averaged weights are
written to ``weights.pt`` at the end.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tqdm.auto import tqdm

from s5forecast.pretraining.training import Pretraining

SECONDS = 3600.0


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, required=True, help="processor time of the whole pretraining")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the checkpoint and the log")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    training = Pretraining(args.folder, args.hours * SECONDS, args.seed)
    training.load()
    with tqdm(total=round(training.seconds), initial=round(training.spent), unit="s", desc="pretraining") as bar:
        training.run(training.seconds, lambda: bar.update(round(training.spent) - bar.n))
    torch.save(training.average.state_dict(), args.folder / "weights.pt")


if __name__ == "__main__":
    main()
