"""How well is a pendulum tracked from noisy images at irregular times, with and without the time between them?

    python pendulum.py --ablation dt append drop --seeds 0 1 2

The model and its training are those of "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington,
Linderman, 2023, appendix F.3): S5's error is 3.41e-3 with per-step discretization (``dt``), 4.13e-3 with the time as an
input (``append``), 6.68e-3 without it (``drop``); means of 20 seeds. As there, the epoch is chosen by the error on the
validation set, and the test set is used once.

One row per ablation and seed in results/pendulum.csv. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any

import torch
import torch.nn.functional as F
from convolution import POOLED, ConvolvePool
from pendulum_data import SETS, Sequences, pendulum_sets
from torch import Tensor, nn

from s5forecast.nn import Encoder

ABLATIONS = ("dt", "append", "drop")
WIDTH, CHANNELS, LAYERS = 30, 12, 4
SYSTEM = {"state_size": 16, "block_count": 8, "dt_min": 0.01, "dt_max": 0.1}
BATCH, EPOCHS = 32, 100
DYNAMICS_RATE, RATE = 0.003, 0.012
SMALLEST_VARIANCE = 1e-6
COLUMNS = ("ablation", "seed", "sequences", "epochs", "best_epoch", "mse", "seconds", "parameters", "version")
RESULTS = Path(__file__).parent / "results" / "pendulum.csv"


class ImageEncoder(nn.Module):
    """Features ``[N, 30]`` of bytes ``[N, 24, 24]``, and of further inputs ``[N, K]`` that join before the last map."""

    def __init__(self, further: int = 0) -> None:
        super().__init__()
        self.first = ConvolvePool(CHANNELS)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.dense = nn.Linear(CHANNELS * (POOLED // 4) ** 2, WIDTH)
        self.out = nn.Linear(WIDTH + further, WIDTH)

    def forward(self, images: Tensor, further: Tensor | None = None) -> Tensor:
        maps = self.first(images).permute(0, 3, 1, 2)  # channels last in memory
        maps = F.relu(F.max_pool2d(self.second(maps), 2))
        features = F.relu(self.dense(maps.flatten(1)))
        return self.out(features if further is None else torch.cat([features, further], dim=-1))


class PendulumNetwork(nn.Module):
    """Mean and variance ``[B, T, 2]`` of sine and cosine from images ``[B, T, 24, 24]`` and the time between them.

    Args:
        ablation: a key of ``ABLATIONS``.
        layer, layer_kwargs: see :class:`~s5forecast.nn.Encoder`.
    """

    def __init__(self, ablation: str = "dt", layer: Any = "s5", layer_kwargs: dict[str, Any] = SYSTEM) -> None:
        super().__init__()
        self.ablation = ablation
        self.images = ImageEncoder(further=int(ablation == "append"))
        self.encoder = Encoder(WIDTH, LAYERS, layer=layer, layer_kwargs=layer_kwargs, prenorm=False)
        self.mean, self.log_variance = (
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2)) for _ in range(2)
        )
        self.apply(lecun)

    def forward(self, images: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        further = dt.reshape(-1, 1) if self.ablation == "append" else None
        u = self.images(images.flatten(0, 1), further).unflatten(0, dt.shape)
        y, _ = self.encoder(u, dt=dt if self.ablation == "dt" else None)
        v = self.log_variance(y)
        return self.mean(y), torch.where(v < 0, v.clamp(max=0).exp(), v + 1)


def lecun(module: nn.Module) -> None:
    """Weights of variance one over the fan-in, biases of zero, as in the original."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        std = module.weight[0].numel() ** -0.5
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(module.bias)


def loss(mean: Tensor, variance: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of a normal distribution, summed over the two targets, averaged over the rest."""
    return 2 * F.gaussian_nll_loss(mean, targets, variance, full=True, eps=SMALLEST_VARIANCE)


def fit(model: PendulumNetwork, sets: dict[str, Sequences], epochs: int, seed: int) -> int:
    """Train, restore the parameters of the best epoch on the validation set, and return this epoch."""
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(parameter_groups(model))
    steps = len(sets["train"].images) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps, epochs))
    best, best_epoch, kept = math.inf, 0, model.state_dict()
    for epoch in range(1, epochs + 1):
        for images, dt, targets in batches(sets["train"], shuffle=True):
            optimizer.zero_grad()
            loss(*model(images, dt), targets).backward()
            optimizer.step()
            schedule.step()
        error = mean_squared_error(model, sets["validation"])
        if error < best:
            best, best_epoch, kept = error, epoch, {k: v.clone() for k, v in model.state_dict().items()}
        print(f"epoch {epoch}: validation {1e3 * error:.3f}e-3", flush=True)
    model.load_state_dict(kept)
    return best_epoch


def parameter_groups(model: PendulumNetwork) -> list[dict[str, Any]]:
    dynamics = [parameter for block in model.encoder.blocks for parameter in block.layer.dynamics_parameters()]
    chosen = {id(parameter) for parameter in dynamics}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    return [{"params": dynamics, "lr": DYNAMICS_RATE}, {"params": rest, "lr": RATE}]


def rate(step: int, steps: int, epochs: int) -> float:
    """Linear warm-up for an epoch, then a cosine that reaches 0 an epoch before the end: the original's schedule."""
    if step < steps:
        return (step + 1) / steps
    end = max(steps * (epochs - 1), 1)
    return 0.5 * (1 + math.cos(math.pi * min(step / end, 1)))


def batches(data: Sequences, *, shuffle: bool = False) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images, time since the previous one (1 for the first) and targets; training omits an incomplete last batch."""
    images, times, targets = map(torch.from_numpy, data)
    dt = torch.diff(times, dim=1, prepend=times[:, :1] - 1).float()
    order = torch.randperm(len(images)) if shuffle else torch.arange(len(images))
    for chosen in order.split(BATCH):
        if len(chosen) == BATCH or not shuffle:
            yield images[chosen], dt[chosen], targets[chosen]


@torch.no_grad()
def mean_squared_error(model: PendulumNetwork, data: Sequences) -> float:
    total = sum(((model(images, dt)[0] - targets) ** 2).sum().item() for images, dt, targets in batches(data))
    return total / data.targets.size


def run(ablation: str, seed: int, sets: dict[str, Sequences], epochs: int) -> dict[str, Any]:
    """A row of the results; ``mse`` in 1e-3, seconds are processor time of all threads."""
    torch.manual_seed(seed)
    model = PendulumNetwork(ablation)
    began = process_time()
    best_epoch = fit(model, sets, epochs, seed)
    seconds = process_time() - began
    return {
        "ablation": ablation,
        "seed": seed,
        "sequences": len(sets["train"].images),
        "epochs": epochs,
        "best_epoch": best_epoch,
        "mse": round(1e3 * mean_squared_error(model, sets["test"]), 4),
        "seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "version": version("s5forecast"),
    }


def main(arguments: list[str] | None = None) -> None:
    args = _parser().parse_args(arguments)
    torch.set_num_threads(args.threads)
    sets = pendulum_sets({**SETS, "train": args.sequences})
    for seed, ablation in product(args.seeds, args.ablation):
        if (ablation, str(seed), str(args.sequences), str(args.epochs)) in _done(args.results):
            continue
        row = run(ablation, seed, sets, args.epochs)
        _append(args.results, row)
        print(" ".join(f"{key}={row[key]}" for key in COLUMNS), flush=True)


def _done(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open() as file:
        return {(row["ablation"], row["seed"], row["sequences"], row["epochs"]) for row in csv.DictReader(file)}


def _append(path: Path, row: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ablation", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--sequences", type=int, default=SETS["train"], help="of the training set, for short runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    return parser


if __name__ == "__main__":
    main()
