"""How accurately do layers classify long sequences? One row per task, layer and seed in results/accuracy.csv.

    python run.py --data FOLDER --task mnist listops --layer s5 gru --seeds 0 1 2
    python run.py --data FOLDER --full --task pathx --layer s5 --device cuda

Every network has about as many parameters as that of S5. Training stops after the epochs or the minutes of processor
time in settings.yaml, and the checkpoint with the best validation accuracy is tested. results/curves.csv has the
validation accuracy after every epoch. Only missing rows are computed, so that an interrupted run resumes; results with
other settings need another folder, ``--results``.

With ``--full``, the tasks and settings are those of the papers, in full.yaml, without a limit of time; FOLDER has one
file ``<task>.npz`` for each task, see ``sequences.full``, and the results are in results/full_accuracy.csv. Layers
without published settings of a task are left out.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from classifiers import PEERS, Classifier, SSMStack, build, build_equal, count
from sequences import TASKS, Split, Task, full
from torch import Tensor

from s5forecast.ssm import LAYERS

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
COLUMNS = (
    "task", "layer", "seed", "accuracy", "half_rate_scaled", "half_rate", "validation", "epochs", "train_seconds",
    "parameters",
)  # fmt: skip
CURVE_COLUMNS = ("task", "layer", "seed", "epoch", "train_seconds", "validation")
WARM_UP = 0.05  # fraction of the training
CLIPPED_NORM = 1.0
BUCKETS = 16  # batches that are sorted by length together, so that a batch has little padding


def main() -> None:
    parser = _parser()
    args = parser.parse_args()
    if args.minutes and args.results == RESULTS:
        parser.error("--minutes needs --results with another folder, whose rows have other settings")
    names = task_names(args.full)
    if unknown := set(args.task or []) - set(names):
        parser.error(f"unknown tasks {', '.join(sorted(unknown))}; choose from {', '.join(names)}")
    torch.set_num_threads(args.threads)
    args.results.mkdir(exist_ok=True)
    prefix = "full_" if args.full else ""
    for seed, name, layer in product(args.seeds, args.task or names, args.layer):
        if (name, layer, str(seed)) in finished(args.results / f"{prefix}accuracy.csv", "task", "layer", "seed"):
            continue
        if args.full and not has_full_settings(name, layer):
            print(f"no published settings of {layer} for {name}")
            continue
        settings = full_settings(name, layer) if args.full else task_settings(name, layer)
        settings["minutes"] = args.minutes or settings["minutes"]
        task = full(args.data, name, **full_shape(name)) if args.full else TASKS[name](args.data)
        row, curve = run(task, layer, seed, settings, args.device, make=build if args.full else build_equal)
        key = {"task": name, "layer": layer, "seed": seed}
        for one in curve:
            append_row(args.results / f"{prefix}curves.csv", CURVE_COLUMNS, {**key, **one})
        append_row(args.results / f"{prefix}accuracy.csv", COLUMNS, {**key, **row})
        print({**key, **row}, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", nargs="+", help="all tasks by default")
    parser.add_argument("--layer", nargs="+", default=["s5"], choices=[*LAYERS, *PEERS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--full", action="store_true", help="the tasks and settings of the papers")
    parser.add_argument("--minutes", type=float, help="processor time of a training, instead of that of the settings")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    return parser


def task_names(published: bool) -> list[str]:
    """All tasks, or all full tasks, whose settings are published."""
    return list(_yaml("full.yaml")["tasks"]) if published else list(TASKS)


def task_settings(name: str, layer: str = "s5") -> dict[str, Any]:
    """The settings of a task and a layer, with the common ones where the task has none."""
    found = _yaml("settings.yaml")
    settings = {**found["common"], **found[name]}
    return {**settings, "lr": settings["peer_lr"]} if layer in PEERS else settings


def full_settings(name: str, layer: str) -> dict[str, Any]:
    """The published settings of a full task and layer, with the common ones of the layer where it has none."""
    found = _yaml("full.yaml")[layer]
    settings = {"minutes": math.inf, **found["common"], **found[name]}
    return settings


def has_full_settings(name: str, layer: str) -> bool:
    """Whether there are published settings of a full task and a layer."""
    return name in _yaml("full.yaml").get(layer, {})


def full_shape(name: str) -> dict[str, Any]:
    """Steps, classes and vocabulary of a full task."""
    return _yaml("full.yaml")["tasks"][name]


def _yaml(file: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / file).read_text())


def run(
    task: Task,
    layer: str,
    seed: int,
    settings: dict[str, Any],
    device: str = "cpu",
    make: Callable[..., Classifier] = build_equal,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train and test a classifier that ``make`` builds.

    Returns:
        a row of the results, and the validation accuracy after each epoch.
    """
    torch.manual_seed(seed)
    model = make(layer, settings["width"], task, settings).to(device)
    curve = fit(model, task, settings, torch.Generator().manual_seed(seed))
    row = {
        "accuracy": accuracy(model, task.test, settings),
        "validation": max(one["validation"] for one in curve),
        "epochs": curve[-1]["epoch"],
        "train_seconds": round(curve[-1]["train_seconds"], 1),
        "parameters": count(model),
    }
    if task.halved:
        row["half_rate"] = accuracy(model, halved(task.test), settings)
        if isinstance(model.stack, SSMStack):
            row["half_rate_scaled"] = accuracy(model, halved(task.test), settings, step=2.0)
    return row, curve


def fit(model: Classifier, task: Task, settings: dict[str, Any], generator: torch.Generator) -> list[dict[str, Any]]:
    """Train until the epochs or the minutes are over, and restore the checkpoint with the best validation accuracy."""
    groups = model.parameter_groups(settings["lr"], settings["ssm_lr"], settings["weight_decay"])
    optimizer = torch.optim.AdamW(groups)
    rates = [group["lr"] for group in groups]
    limit, spent, best = 60 * settings["minutes"], 0.0, model.state_dict()
    curve: list[dict[str, Any]] = []
    while len(curve) < settings["epochs"] and spent < limit:
        chosen = list(batches(task.train, settings, generator))
        model.train()
        for number, rows in enumerate(chosen):
            began = process_time()
            progress = max((len(curve) + number / len(chosen)) / settings["epochs"], spent / limit)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(progress)
            train_step(model, optimizer, task.train, rows)
            spent += process_time() - began
            if spent >= limit:
                break
        # The last epoch counts as the part of it that was trained.
        curve.append({"epoch": round(len(curve) + (number + 1) / len(chosen), 2), "train_seconds": round(spent, 1),
                      "validation": accuracy(model, task.validation, settings)})  # fmt: skip
        if curve[-1]["validation"] >= max(one["validation"] for one in curve):
            best = copy.deepcopy(model.state_dict())
    model.load_state_dict(best)
    return curve


def train_step(model: Classifier, optimizer: torch.optim.Optimizer, data: Split, rows: Tensor) -> None:
    """One step of the optimizer on the cross-entropy of some sequences."""
    logits = model(*_selected(data, rows, model))
    loss = F.cross_entropy(logits, data.y[rows].to(logits.device))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPPED_NORM)
    optimizer.step()


def schedule(progress: float) -> float:
    """Factor of the learning rate: a linear warm-up, then a cosine to zero."""
    if progress < WARM_UP:
        return (progress + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@torch.no_grad()
def accuracy(model: Classifier, data: Split, settings: dict[str, Any], step: float = 1.0) -> float:
    """Fraction of the sequences that are classified correctly; ``step`` is the length of their steps."""
    model.eval()
    correct = 0
    for rows in batches(data, settings):
        correct += int((model(*_selected(data, rows, model), step).argmax(1).cpu() == data.y[rows]).sum())
    return correct / len(data)


def batches(data: Split, settings: dict[str, Any], generator: torch.Generator | None = None) -> Iterator[Tensor]:
    """Indices of sequences in batches, in random order if there is a generator.

    A batch has ``settings["batch"]`` sequences or, without this key, about ``settings["batch_steps"]`` steps.
    """
    length = data.length if data.length.ndim == 1 else data.length.amax(1)
    size = settings.get("batch") or max(1, int(settings["batch_steps"] / length.double().mean()))
    if generator is None:
        yield from torch.argsort(length, stable=True).split(size)
        return
    order = torch.randperm(len(data), generator=generator)
    sorted_batches = [
        rows
        for block in order.split(BUCKETS * size)
        for rows in block[torch.argsort(length[block], stable=True)].split(size)
    ]
    for number in torch.randperm(len(sorted_batches), generator=generator).tolist():
        yield sorted_batches[number]


def halved(data: Split) -> Split:
    """Every second sample, without a filter, as in the S5 paper."""
    return Split(data.x[:, ::2], (data.length + 1) // 2, data.y)


def _selected(data: Split, rows: Tensor, model: Classifier) -> tuple[Tensor, Tensor]:
    """Sequences without the padding that all of them have, and their lengths, on the device of the model."""
    length, device = data.length[rows], model.output.weight.device
    return data.x[rows][..., : int(length.max())].to(device), length.to(device)


def finished(path: Path, *keys: str) -> set[tuple[str, ...]]:
    """The values of some columns in the rows of a file of results."""
    if not path.exists():
        return set()
    with path.open() as file:
        return {tuple(row[key] for key in keys) for row in csv.DictReader(file)}


def append_row(path: Path, columns: tuple[str, ...], row: dict[str, Any]) -> None:
    """Add a row to a file of results, with a header if the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
