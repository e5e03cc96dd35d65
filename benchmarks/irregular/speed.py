"""How long does an epoch of training on irregular steps take, compared with ``s5-pytorch`` in the same network?

    python speed.py

Two networks, once with the layers of this package and once with those of ``s5-pytorch`` and its ``step_scale``, in
which every step has its own length. The network of ``pendulum.py`` has 4 layers of width 30 with 8 kept states and is
trained on 32 sequences of 50 steps: ``pendulum, network`` is the whole training step, including the image encoder and
the optimizer, which both share; ``pendulum, blocks`` is forward and backward of the residual blocks alone. ``physionet,
blocks`` are those of ``physionet_s5.py``: 2 layers of width 128 with 32 kept states, 64 patients of 64 rows. Both take
turns, round after round. results/speed.csv has medians of the steps, in processor seconds, times the steps of an epoch.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import s5
import torch
from pendulum import BATCH, SYSTEM, WIDTH, PendulumNetwork, batches, loss, parameter_groups
from pendulum_data import SETS, pendulum_sets
from torch import Tensor, nn

from s5forecast.nn import Encoder

PHYSIONET_WIDTH, PATIENTS, ROWS, TRAINING_PATIENTS = 128, 64, 64, 7_193
RESULTS = Path(__file__).parent / "results" / "speed.csv"


class Peer(nn.Module):
    """``s5-pytorch`` with the methods of our layers that training needs."""

    def __init__(self, width: int, state_size: int, **steps: float) -> None:
        super().__init__()
        self.layer = s5.S5(width, state_size // 2, **steps)

    def forward(self, u: Tensor, state: None, dt: Tensor) -> tuple[Tensor, None]:
        return self.layer(u, step_scale=dt), None

    def check_dt(self, dt: Tensor | None) -> None:
        """Accept any ``dt``."""

    def dynamics_parameters(self) -> list[nn.Parameter]:
        system = self.layer.seq
        return [system.Lambda, system.B, system.log_step]


def pendulum_networks() -> dict[str, PendulumNetwork]:
    steps = {name: SYSTEM[name] for name in ("state_size", "dt_min", "dt_max")}
    return {"s5forecast": PendulumNetwork(), "s5-pytorch": PendulumNetwork(layer=Peer, layer_kwargs=steps)}


def network_step(model: PendulumNetwork, batch: tuple[Tensor, ...]) -> Callable[[], None]:
    optimizer, (images, dt, targets) = torch.optim.Adam(parameter_groups(model)), batch

    def step() -> None:
        optimizer.zero_grad()
        loss(*model(images, dt), targets).backward()
        optimizer.step()

    return step


def blocks_step(encoder: Encoder, width: int, dt: Tensor) -> Callable[[], None]:
    u = torch.randn(*dt.shape, width, requires_grad=True)
    wanted = [u, *encoder.parameters()]

    def step() -> None:
        torch.autograd.grad(encoder(u, dt=dt)[0].square().sum(), wanted)

    return step


def candidates() -> Iterator[tuple[str, int, dict[str, Callable[[], None]]]]:
    """Name, steps per epoch and a training step of each candidate."""
    batch, count = next(batches(pendulum_sets({"train": BATCH})["train"])), SETS["train"] // BATCH
    networks = pendulum_networks()
    yield "pendulum, network", count, {name: network_step(model, batch) for name, model in networks.items()}
    yield (
        "pendulum, blocks",
        count,
        {name: blocks_step(model.encoder, WIDTH, batch[1]) for name, model in networks.items()},
    )
    layers: dict[str, Any] = {"s5forecast": ("s5", {"clip_eigs": True}), "s5-pytorch": (Peer, {})}
    encoders = {
        name: Encoder(PHYSIONET_WIDTH, 2, layer=layer, layer_kwargs={"state_size": 64, **further})
        for name, (layer, further) in layers.items()
    }
    dt = torch.empty(PATIENTS, ROWS).exponential_()
    yield (
        "physionet, blocks",
        TRAINING_PATIENTS // PATIENTS,
        {name: blocks_step(encoder, PHYSIONET_WIDTH, dt) for name, encoder in encoders.items()},
    )


def seconds(candidates: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each candidate; the candidates take turns."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 2):  # the first two warm up
        for name, step in candidates.items():
            began = process_time()
            step()
            if turn >= 2:
                times[name].append(process_time() - began)
    return {name: float(np.median(values)) for name, values in times.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.results.parent.mkdir(exist_ok=True, parents=True)
    with args.results.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "s5forecast_seconds_per_epoch", "s5-pytorch / s5forecast", "threads"])
        for part, count, steps in candidates():
            times = seconds(steps, args.rounds)
            ours, peer = (times[name] * count for name in ("s5forecast", "s5-pytorch"))
            writer.writerow([part, round(ours, 2), round(peer / ours, 2), args.threads])
            print(f"{part}: {ours:.2f} s an epoch, s5-pytorch takes {peer / ours:.1f} times as long", flush=True)


if __name__ == "__main__":
    main()
