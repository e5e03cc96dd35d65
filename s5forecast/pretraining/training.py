"""Pretraining: random forecast origins of synthetic series, a resumable loop and averaged weights."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from math import isfinite
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5forecast.networks.pretrained import PATCH, Origins, PretrainedNetwork
from s5forecast.pretraining.prior import draw
from s5forecast.ssm import StateSpaceLayer

# Lengths of the synthetic series of a step, and the relative frequency of each.
LENGTHS = (64, 96, 128, 192, 256, 384, 512, 768, 1408)
LENGTH_WEIGHTS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.0, 1.0, 0.7, 0.8)
VALUES, FEWEST_SERIES = 16_384, 8
# Future patches per origin, the farthest one, and about how many are decoded in a step.
AHEAD, FARTHEST, DECODED, MOST_ORIGINS = 3, 24, 1_500, 12
LR, DYNAMICS_LR, WEIGHT_DECAY, BETAS = 2e-3, 1e-3, 0.01, (0.9, 0.98)
# Steps of warm-up, part of the time in which the rate decays, its lowest value, norm of gradients, weight of averages.
WARMUP, DECAY, LOWEST, CLIP, AVERAGE = 200, 0.25, 0.02, 1.0, 0.9998
LOGGED = 500
# The average spans about the last tenth of the steps, so that it is useful whenever the training is stopped.
AVERAGED = 10
# Attributes of a training that a checkpoint holds; first_step is the first one after a file of weights.
PROGRESS = ("step", "first_step", "spent", "series")


class Pretraining:
    """A training that can be stopped and resumed at any step.

    Args:
        folder: of the checkpoint and the log.
        seconds: processor time of the whole training; the learning rate decays over the last quarter.
        seed: of the parameters and the series.
        network: to train; a new one by default.

    Attributes:
        average: the network with exponentially averaged weights.
        spent: processor seconds so far.
    """

    def __init__(self, folder: Path, seconds: float, seed: int = 0, network: PretrainedNetwork | None = None) -> None:
        self.folder, self.seconds, self.seed = folder, seconds, seed
        torch.manual_seed(seed)
        self.network = PretrainedNetwork() if network is None else network
        self.average = deepcopy(self.network).requires_grad_(False)
        self.optimizers = make_optimizers(self.network)
        self.step, self.spent, self.series = 0, 0.0, 0
        self.first_step = 0
        self.losses: list[float] = []

    def start_from(self, record: dict[str, Any]) -> None:
        """Count the steps, series and seconds of :meth:`record` as done; the learning rate is warmed up again."""
        self.step, self.spent, self.series = record["steps"], float(record["seconds"]), record["series"]
        self.first_step = self.step

    def run(self, until: float, report: Callable[[], None] | None = None, every: float = 300.0) -> None:
        """Train until ``until`` processor seconds are spent, with a checkpoint ``every`` so many of them."""
        next_save = self.spent + every
        while self.spent < until:
            began = process_time()
            self.losses.append(self.advance())
            self.spent += process_time() - began
            if self.spent >= min(next_save, until):
                next_save = self.spent + every
                self.save()
                self._log()
                if report is not None:
                    report()

    def advance(self) -> float:
        """Take one step, whose series depend on the seed and the number of the step only, and return its loss.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        batch = draw_batch(np.random.default_rng([self.seed, self.step]))
        loss = descend(self.network, self.optimizers, batch, self._rate())
        if not isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {self.step}; lower the learning rate")
        self.step += 1
        self.series += len(batch[0])
        self._update_average()
        return loss

    def save(self) -> None:
        """Write a checkpoint with everything that a resumed training needs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": {name: getattr(self, name) for name in PROGRESS},
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")

    def load(self) -> bool:
        """Read the checkpoint of the folder; whether there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimizer, found in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(found)
        for name in PROGRESS:
            setattr(self, name, state["progress"][name])
        return True

    def record(self) -> dict[str, Any]:
        """What is known about the training: seed, steps, series, processor seconds, and the mean of the last losses."""
        loss = round(float(np.mean(self.losses[-LOGGED:])), 5) if self.losses else None
        return {
            "seed": self.seed, "steps": self.step, "series": self.series, "seconds": round(self.spent), "loss": loss
        }  # fmt: skip

    def _rate(self) -> float:
        remaining = (1 - self.spent / self.seconds) / DECAY
        return min(1.0, (self.step - self.first_step + 1) / WARMUP) * min(1.0, max(remaining, LOWEST))

    @torch.no_grad()
    def _update_average(self) -> None:
        steps = self.step - self.first_step
        weight = min(AVERAGE, steps / (steps + AVERAGED))
        for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, 1 - weight)

    def _log(self) -> None:
        self.losses = self.losses[-LOGGED:]
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(["step", "seconds", "series", "loss"])
            writer.writerow([self.step, round(self.spent), self.series, round(float(np.mean(self.losses)), 5)])


def draw_batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Origins]:
    """Series of one random length ``[B, T]``, their seasons ``[B, 2]``, and forecast origins in them."""
    length = draw_length(rng)
    count = max(FEWEST_SERIES, VALUES // length)
    batch = draw(count, length, rng)
    return torch.from_numpy(batch.values), torch.from_numpy(batch.seasons), draw_origins(count, length, rng)


def draw_length(rng: np.random.Generator, longest: int = LENGTHS[-1]) -> int:
    """A random length of series, at most the first one that is not below ``longest``."""
    count = 1 + sum(length < longest for length in LENGTHS[:-1])
    weights = np.array(LENGTH_WEIGHTS[:count])
    return int(rng.choice(LENGTHS[:count], p=weights / weights.sum()))


def draw_origins(count: int, length: int, rng: np.random.Generator, farthest: int = FARTHEST) -> Origins:
    """Forecast origins in ``count`` series of ``length`` steps, each with some of the next ``farthest`` patches."""
    patches = length // PATCH
    num_origins = min(MOST_ORIGINS, max(1, DECODED // (count * AHEAD)))
    origin = rng.integers(1, patches, size=(count, num_origins, 1))  # patches before the origin
    reach = np.minimum(farthest, patches - origin)
    # Near patches are drawn more often than far ones.
    ahead = np.minimum(np.floor(np.exp(rng.random((count, num_origins, AHEAD)) * np.log(reach + 1)) - 1), reach - 1)
    series = np.broadcast_to(np.arange(count)[:, None, None], ahead.shape)
    origin = np.broadcast_to(origin, ahead.shape)
    return Origins(*(torch.from_numpy(x.reshape(-1).astype(np.int64)) for x in (series, origin * PATCH, ahead)))


def descend(
    network: PretrainedNetwork,
    optimizers: Sequence[torch.optim.Optimizer],
    batch: tuple[Tensor, Tensor, Origins],
    rate: float,
) -> float:
    """Take a step at ``rate`` times the learning rates of the optimizers, unless the loss is not finite; the loss."""
    network.zero_grad(set_to_none=True)
    loss = network.loss(*batch)
    if torch.isfinite(loss):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * rate
            optimizer.step()
    return loss.item()


def make_optimizers(network: PretrainedNetwork) -> list[torch.optim.Optimizer]:
    """Muon for the weight matrices outside of the dynamics, AdamW for all other parameters.

    References:
        "Muon is Scalable for LLM Training" (Liu et al., 2025), for the learning rate of the matrices, which is that of
        AdamW times 0.2 times the root of the larger size.
    """
    dynamics = _dynamics(network)
    matrices = [one for one in network.parameters() if one.ndim == 2 and id(one) not in dynamics]
    muon = torch.optim.Muon(matrices, lr=LR, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw")
    muon.param_groups[0]["base_lr"] = LR
    return [make_optimizer(network, without=set(map(id, matrices))), muon]


def make_optimizer(
    network: PretrainedNetwork, lr: float = LR, ssm_lr: float = DYNAMICS_LR, without: Collection[int] = ()
) -> torch.optim.AdamW:
    """AdamW with the dynamics of the state-space layers in a group of their own, without weight decay.

    The learning rate of each group is also its ``base_lr``.

    Args:
        network: the network.
        lr, ssm_lr: learning rates of the network and of the dynamics.
        without: ``id`` of the parameters that are left out.
    """
    dynamics = _dynamics(network)
    left_out = {*dynamics, *without}
    others = [parameter for parameter in network.parameters() if id(parameter) not in left_out]
    groups = [
        {"params": [one for one in others if one.ndim > 1], "base_lr": lr},
        {"params": [one for one in others if one.ndim <= 1], "base_lr": lr, "weight_decay": 0.0},
        {"params": list(dynamics.values()), "base_lr": ssm_lr, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)


def _dynamics(network: PretrainedNetwork) -> dict[int, torch.nn.Parameter]:
    """Parameters of the dynamics of the state-space layers by ``id``."""
    layers = [module for module in network.modules() if isinstance(module, StateSpaceLayer)]
    return {id(parameter): parameter for layer in layers for parameter in layer.dynamics_parameters()}
