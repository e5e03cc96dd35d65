"""How many epochs suffice? Errors without covariates on the windows before the test windows.

``training_length.csv`` has one row for each data set, model and number of epochs, each of 50 batches of 32 windows.

    python benchmarks/covariates/training_length.py --epochs 5 10 --data orange_juice.csv
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import departures
import orange_juice
import torch
from comparison import MODELS, Task, add_row, evaluate

CSV = Path(__file__).with_name("training_length.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--data", type=Path, help="CSV file of orange_juice.py, which is left out otherwise")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tasks: dict[str, Task] = {"departures": departures.task()}
    if arguments.data is not None:
        tasks["orange juice"] = orange_juice.task(arguments.data)
    for name, task in tasks.items():
        for epochs in arguments.epochs:
            for model in arguments.models:
                shorter = replace(task.validation(), epochs=epochs)
                key = {"data": name, "model": model, "epochs": epochs}
                add_row(CSV, key, partial(evaluate, shorter, **{"model": model, "kind": "none", "seed": 0}))


if __name__ == "__main__":
    main()
