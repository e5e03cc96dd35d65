"""Make a file of weights the one that the package ships.

    python benchmarks/pretraining/ship.py WEIGHTS.npz

Writes ``s5forecast/networks/pretrained.npz`` with the parameters of the file and its record, to which the hours of
processor time and the version of the package are added, and prints the record. Then run ``tests/networks`` and
``tests/pretraining``, and commit the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import s5forecast
from s5forecast.networks.pretrained_weights import SHIPPED, load_record, load_weights, save_weights

SECONDS = 3600.0


def main(arguments: list[str] | None = None, shipped: Path = SHIPPED) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="file that python -m s5forecast.pretraining wrote")
    path = parser.parse_args(arguments).weights
    record = load_record(path)
    hours = round(record["seconds"] / SECONDS, 2)
    save_weights(shipped, load_weights(path), {**record, "version": s5forecast.__version__, "hours": hours})
    for name, value in load_record(shipped).items():
        print(f"{name:10} {value}")


if __name__ == "__main__":
    main()
