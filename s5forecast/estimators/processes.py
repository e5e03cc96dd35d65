"""Data-parallel training: what the processes of a training share, and what each of them does."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    SingleDeviceStrategy,
    Strategy,
    StrategyRegistry,
    XLAStrategy,
)
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from torch import Tensor

from s5forecast.windows.batches import LastWindows, TrainingWindows

# Metrics of the trainer with the number of steps, which reach the process that started the others.
NUM_STEPS, PLANNED_STEPS = "num_steps", "planned_steps"
# Loggers of Lightning's messages about devices and processes.
LOGGERS = ("lightning.pytorch", "lightning.fabric")


def silence() -> None:
    """Silence Lightning's messages about devices, processes, data loaders and tips."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")


def check_strategy(strategy: Any) -> None:
    """Raise ValueError for a strategy, or its name, that divides the network instead of the windows.

    Unknown names and other objects are left to Lightning.
    """
    kind = type(strategy)
    if isinstance(strategy, str):
        kind = StrategyRegistry[strategy]["strategy"] if strategy in StrategyRegistry else SingleDeviceStrategy
    divides_windows = issubclass(kind, DDPStrategy) and not issubclass(kind, DeepSpeedStrategy | XLAStrategy)
    if issubclass(kind, Strategy) and not (divides_windows or issubclass(kind, SingleDeviceStrategy)):
        name = strategy if isinstance(strategy, str) else kind.__name__
        raise ValueError(
            f"trainer_kwargs has strategy={name!r}, which is not supported: networks are not divided, but their "
            "windows are, among several processes; use 'ddp' in a script, 'ddp_spawn', or 'ddp_notebook' in a notebook"
        )


def check_time_limit(trainer: pl.Trainer) -> None:
    """Raise ValueError if each process would decide on its own clock what it trains."""
    if trainer.world_size > 1 and not isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise ValueError(
            "time_limit requires that one process starts the others; use strategy='ddp_spawn' or 'ddp_notebook' in "
            "trainer_kwargs, or give max_epochs instead of time_limit"
        )


class DividedWindows(Callback):
    """Gives each process its share of the windows, and its own random numbers.

    Args:
        windows: training windows.
        validation: validation windows.
    """

    def __init__(self, windows: TrainingWindows, validation: LastWindows | None) -> None:
        self.windows, self.validation = windows, validation

    def __setstate__(self, state: dict[str, Any]) -> None:
        silence()  # in a spawned process, which begins with its callbacks
        vars(self).update(state)

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        if trainer.world_size == 1:
            return
        if getattr(trainer.strategy.launcher, "_start_method", "") == "fork":
            torch.set_num_threads(1)  # several would wait for threads of OpenMP that a fork does not copy
        self._check_same(trainer.strategy)
        generator = self.windows.generator
        generator.set_state(trainer.strategy.broadcast(generator.get_state()))
        for windows in (self.windows, self.validation):
            if windows is not None:
                windows.share(trainer.global_rank, trainer.world_size)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.global_rank:
            torch.manual_seed(int(torch.randint(2**31, (trainer.global_rank,))[-1]))

    def _check_same(self, strategy: Strategy) -> None:
        """Raise ValueError in all processes if one of them has other data or batches."""
        store = self.windows.store
        own = (len(store), int(store.length.sum()), self.windows.batch_size, self.windows.num_batches)
        first = strategy.broadcast(own)
        if not strategy.reduce_boolean_decision(own == first, all=True):
            raise ValueError(
                "the processes of the training have different data or batches; this one has {} series, {} values, "
                "batch_size={} and num_batches_per_epoch={}, and the first one {}, {}, {} and {}. Give the same "
                "data to all processes, which divide the windows among them".format(*own, *first)
            )


class BestWeights(Callback):
    """Restores the weights of the best epoch in all processes.

    Args:
        checkpoint: callback that finds them.
    """

    def __init__(self, checkpoint: ModelCheckpoint) -> None:
        self.checkpoint = checkpoint

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        # Only the first process can read the file if the processes are on several machines.
        path, found = self.checkpoint.best_model_path, None
        if path and trainer.is_global_zero:
            found = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        found = trainer.strategy.broadcast(found)
        if found is not None:
            module.load_state_dict(found)


class StepCount(Callback):
    """Records the number of steps among the metrics of the trainer."""

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        counts = {NUM_STEPS: trainer.global_step, PLANNED_STEPS: trainer.estimated_stepping_batches}
        trainer.callback_metrics.update({name: torch.tensor(count) for name, count in counts.items()})


def shared_loss(trainer: pl.Trainer, loss: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of one process whose mean over the processes is the loss of all their windows, and that loss.

    Args:
        trainer: the trainer, which averages gradients over the processes.
        loss: mean loss of the windows of this process.
        weight: total weight of the values in this mean.
    """
    sums = torch.stack([loss.detach() * weight, weight])
    total, weights = trainer.strategy.reduce(sums, reduce_op="sum")
    share = weight / weights.where(weights > 0, 1.0)
    return loss * share * trainer.world_size, total / weights.where(weights > 0, 1.0)
