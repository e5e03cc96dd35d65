"""Pretraining: random origins of synthetic series, a resumable loop, averaged weights."""

from __future__ import annotations

import csv
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from time import process_time

import numpy as np
import torch
from torch import Tensor

from s5forecast.networks.pretrained import PATCH, Origins, PretrainedNetwork
from s5forecast.pretraining.prior import draw

LENGTHS = (64, 96, 128, 192, 256, 384, 512, 768, 1056)
LENGTH_WEIGHTS = (1.5, 1.5, 1.5, 1.5, 1.5, 1.0, 1.0, 0.7, 0.8)
VALUES = 16_384  # of a step
AHEAD, FARTHEST = 3, 24
# Future patches decoded in a step, about; the decoder costs more than the encoder.
DECODED, MOST_ORIGINS = 1_500, 12
LR, DYNAMICS_LR, WEIGHT_DECAY, BETAS = 2e-3, 1e-3, 0.01, (0.9, 0.98)
WARMUP, DECAY, CLIP, AVERAGE = 200, 0.25, 1.0, 0.998


class Pretraining:
    """A training that can be stopped and resumed at any step.

    Args:
        folder: of its checkpoint and log.
        seconds: of the processor, in all; the learning rate falls over the last quarter.
        seed: of parameters and series.
    """

    def __init__(self, folder: Path, seconds: float, seed: int = 0, network: PretrainedNetwork | None = None) -> None:
        self.folder, self.seconds, self.seed = folder, seconds, seed
        torch.manual_seed(seed)
        self.network = PretrainedNetwork() if network is None else network
        self.average = deepcopy(self.network).requires_grad_(False)
        self.optimizer = _optimizer(self.network)
        self.step, self.spent, self.series = 0, 0.0, 0
        self.losses: list[float] = []

    def run(self, until: float, report: Callable[[Pretraining], None] | None = None, every: float = 300.0) -> None:
        """Train until so many processor seconds are spent, saving and reporting now and then."""
        began, before, next_save = process_time(), self.spent, self.spent + every
        while self.spent < until:
            self.losses.append(self.advance())
            self.spent = before + process_time() - began
            if self.spent >= next_save or self.spent >= until:
                self.save()
                self._log()
                next_save = self.spent + every
                if report is not None:
                    report(self)
                before, began = self.spent, process_time()

    def advance(self) -> float:
        """One step, whose series depend on the seed and the number of the step alone."""
        values, seasons, at = draw_batch(np.random.default_rng([self.seed, self.step]))
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * self._rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.network.loss(values, seasons, at)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()} at step {self.step}")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.optimizer.step()
        self.step += 1
        self.series += len(values)
        self._average()
        return float(loss.detach())

    def save(self) -> None:
        """Write all that a resumed training needs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": {"step": self.step, "spent": self.spent, "series": self.series, "seed": self.seed},
        }
        torch.save(state, self.folder / "checkpoint.tmp")
        (self.folder / "checkpoint.tmp").replace(self.folder / "checkpoint.pt")

    def load(self) -> bool:
        """Resume from the folder; whether there was a checkpoint."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        progress = state["progress"]
        self.step, self.spent, self.series = progress["step"], progress["spent"], progress["series"]
        return True

    def _rate(self) -> float:
        left = (1 - self.spent / self.seconds) / DECAY
        return min(1.0, (self.step + 1) / WARMUP) * min(1.0, max(left, 0.02))

    def _average(self) -> None:
        weight = min(AVERAGE, self.step / (self.step + 10))
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
                mean.lerp_(now, 1 - weight)

    def _log(self) -> None:
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(["step", "seconds", "series", "loss"])
            writer.writerow([self.step, round(self.spent), self.series, round(float(np.mean(self.losses[-500:])), 5)])
        self.losses = self.losses[-500:]


def draw_batch(rng: np.random.Generator) -> tuple[Tensor, Tensor, Origins]:
    """Series of one random length, and origins and future patches in them."""
    weights = np.array(LENGTH_WEIGHTS)
    length = int(rng.choice(LENGTHS, p=weights / weights.sum()))
    count = max(8, VALUES // length)
    batch = draw(count, length, rng)
    patches = length // PATCH
    per = min(MOST_ORIGINS, max(1, DECODED // (count * AHEAD)))
    origin = rng.integers(2, patches, size=(count, per, 1))  # patches before the origin
    reach = np.minimum(FARTHEST, patches - origin)
    ahead = np.minimum(np.floor(np.exp(rng.random((count, per, AHEAD)) * np.log(reach + 1)) - 1), reach - 1)
    series = np.broadcast_to(np.arange(count)[:, None, None], ahead.shape)
    origin = np.broadcast_to(origin, ahead.shape)
    at = Origins(*(torch.from_numpy(x.reshape(-1).astype(np.int64)) for x in (series, origin * PATCH, ahead)))
    return torch.from_numpy(batch.values), torch.from_numpy(batch.seasons), at


def _optimizer(network: PretrainedNetwork) -> torch.optim.AdamW:
    dynamics = {id(p) for block in network.encoder.blocks for p in block.layer.dynamics_parameters()}
    rest = [p for p in network.parameters() if id(p) not in dynamics]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "base": LR},
        {"params": [p for p in rest if p.ndim <= 1], "base": LR, "weight_decay": 0.0},
        {"params": [p for p in network.parameters() if id(p) in dynamics], "base": DYNAMICS_LR, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
