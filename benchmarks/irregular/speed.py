"""How long is an epoch of training on irregular steps, beside ``s5-pytorch`` in the same network?

    python speed.py

The network is that of ``pendulum.py`` (4 layers of width 30 with 8 kept states, 50 steps of their own length in each of
32 sequences), once with the layers of this package and once with those of ``s5-pytorch`` and its ``step_scale``.
``network`` is the whole training step, in which both share image encoder and optimiser; ``layers`` is forward and
backward of the residual blocks alone. Both take turns round after round; medians of the steps, in seconds of the
processor, times the steps of an epoch, in results/speed.csv.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import s5
import torch
from pendulum import BATCH, SYSTEM, WIDTH, PendulumNetwork, batches, loss, parameter_groups
from pendulum_data import OBSERVED, SETS, pendulum_sets
from torch import Tensor, nn

RESULTS = Path(__file__).parent / "results" / "speed.csv"


class Peer(nn.Module):
    """``s5-pytorch`` under the contract of our layers, as far as training needs it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = s5.S5(width, SYSTEM["state_size"] // 2, dt_min=SYSTEM["dt_min"], dt_max=SYSTEM["dt_max"])

    def forward(self, u: Tensor, state: None, dt: Tensor) -> tuple[Tensor, None]:
        return self.layer(u, step_scale=dt), None

    def dynamics_parameters(self) -> list[nn.Parameter]:
        system = self.layer.seq
        return [system.Lambda, system.B, system.log_step]


def networks() -> dict[str, PendulumNetwork]:
    return {"s5forecast": PendulumNetwork(), "s5-pytorch": PendulumNetwork(layer=Peer, layer_kwargs={})}


def network_step(model: PendulumNetwork, batch: tuple[Tensor, ...]) -> Callable[[], None]:
    optimizer, (images, dt, targets) = torch.optim.Adam(parameter_groups(model)), batch

    def step() -> None:
        optimizer.zero_grad()
        loss(*model(images, dt), targets).backward()
        optimizer.step()

    return step


def layers_step(model: PendulumNetwork, batch: tuple[Tensor, ...]) -> Callable[[], None]:
    u, dt = torch.randn(BATCH, OBSERVED, WIDTH, requires_grad=True), batch[1]
    wanted = [u, *model.encoder.parameters()]

    def step() -> None:
        torch.autograd.grad(model.encoder(u, dt=dt)[0].square().sum(), wanted)

    return step


PARTS = {"network": network_step, "layers": layers_step}


def seconds(candidates: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median of each candidate; they take turns."""
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
    batch = next(batches(pendulum_sets({"train": BATCH})["train"]))
    args.results.parent.mkdir(exist_ok=True, parents=True)
    with args.results.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "s5forecast_seconds_per_epoch", "s5-pytorch / s5forecast", "threads"])
        for part, make in PARTS.items():
            times = seconds({name: make(model, batch) for name, model in networks().items()}, args.rounds)
            ours, peer = (times[name] * (SETS["train"] // BATCH) for name in ("s5forecast", "s5-pytorch"))
            writer.writerow([part, round(ours, 2), round(peer / ours, 2), args.threads])
            print(f"{part}: {ours:.2f} s an epoch, s5-pytorch takes {peer / ours:.1f} times as long", flush=True)


if __name__ == "__main__":
    main()
