"""Training: the LightningModule of all networks, its optimizer, and a trainer that writes no files."""

from __future__ import annotations

import logging
import math
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import lightning.pytorch as pl
import torch
from gluonts.core.serde import dump_json
from lightning.pytorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from s5forecast.estimators.checkpoint import TrainingCheckpoint
from s5forecast.estimators.plan import planned, without_plan
from s5forecast.estimators.predictor import CHECKPOINT_FIELD
from s5forecast.estimators.processes import (
    LOGGERS,
    BestWeights,
    DividedWindows,
    StepCount,
    check_strategy,
    check_time_limit,
    shared_loss,
    silence,
)
from s5forecast.networks.base import ForecastNetwork
from s5forecast.networks.prediction import Prediction
from s5forecast.ops.backends import on_compilation
from s5forecast.ssm import StateSpaceLayer
from s5forecast.windows.batches import LastWindows, TrainingWindows
from s5forecast.windows.regular import Batch

# Values that a ModelCheckpoint can monitor in every training.
COUNTERS = ("epoch", "step")
# State of stateful callbacks before their first training.
_UNUSED: WeakKeyDictionary[Callback, dict[str, Any]] = WeakKeyDictionary()


class ForecastModule(pl.LightningModule):
    """Trains a network by its ``loss(batch)`` with AdamW, a linear warm-up and a cosine decay to zero.

    With a time limit, ``seconds``, learning rates follow the larger of the fraction of the steps that are done and the
    fraction of the time that has passed, and training stops at the limit.

    Timescales and dynamics of state-space layers have the learning rate ``ssm_lr`` and no weight decay, as in
    "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023).
    """

    def __init__(self, network: ForecastNetwork, lr: float, ssm_lr: float, weight_decay: float, warmup: float) -> None:
        super().__init__()
        self.network = network
        self.lr, self.ssm_lr, self.weight_decay, self.warmup = lr, ssm_lr, weight_decay, warmup
        self.seconds: float | None = None
        self.began, self.elapsed = time.monotonic(), 0.0

    def forward(self, batch: Batch) -> Prediction:
        return self.network(batch)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        own = loss = self.network.loss(batch)
        several = self.trainer.world_size > 1
        if several:
            own, loss = shared_loss(self.trainer, loss, self.network.loss_weight(batch))
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the training loss is {loss.item()} at step {self.global_step}; lower lr (now {self.lr}), "
                "choose another distr_output, or check the target for extreme values"
            )
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.values), sync_dist=several)
        return own

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        loss = self.network.loss(batch)
        weight = self.network.loss_weight(batch)
        self.log("val_loss", loss, on_epoch=True, batch_size=weight, sync_dist=self.trainer.world_size > 1)  # type: ignore[arg-type]
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        optimizer = torch.optim.AdamW(self._parameter_groups(), weight_decay=self.weight_decay)
        if not math.isfinite(self.trainer.estimated_stepping_batches):
            raise ValueError("the learning rate schedule needs the number of steps: give max_epochs or max_steps")
        steps = max(int(self.trainer.estimated_stepping_batches), 1)
        warmup = max(1, round(self.warmup * steps))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _warmup_cosine(self.progress(step, steps), warmup, steps)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Describe the network, for :meth:`NetworkPredictor.from_checkpoint`."""
        checkpoint[CHECKPOINT_FIELD] = dump_json(self.network)

    def on_train_start(self) -> None:
        self.began = time.monotonic()

    def on_after_backward(self) -> None:
        if self.seconds is not None:  # the same for all processes, so that they take the same steps
            elapsed = torch.tensor(time.monotonic() - self.began, device=self.device)
            self.elapsed = float(self.trainer.strategy.reduce(elapsed, reduce_op="mean"))

    def progress(self, step: int, steps: int) -> float:
        """The number of steps done, or the elapsed fraction of the time limit times ``steps``, whichever is larger."""
        if self.seconds is None:
            return step
        passed = self.elapsed / self.seconds if self.seconds > 0 else 1.0
        return max(step, min(passed, 1.0) * steps)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        layers = [module for module in self.modules() if isinstance(module, StateSpaceLayer)]
        dynamics = {id(p): p for layer in layers for p in layer.dynamics_parameters()}
        rest = [p for p in self.parameters() if id(p) not in dynamics]
        return [
            {"params": [p for p in rest if p.ndim > 1], "lr": self.lr},
            {"params": [p for p in rest if p.ndim <= 1], "lr": self.lr, "weight_decay": 0.0},
            {"params": list(dynamics.values()), "lr": self.ssm_lr, "weight_decay": 0.0},
        ]


class ProgressBar(Callback):
    """Shows the training steps on the progress bar of the plan, and when kernels are compiled.

    Args:
        number: number of this training in the plan, from 1.
        trainings: number of trainings of the plan.
    """

    def __init__(self, number: int = 1, trainings: int = 1) -> None:
        self.number, self.trainings, self.process = number, trainings, os.getpid()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.open = ExitStack()
        if os.getpid() != self.process:  # which ends with this training, and so does its bar
            self.open.enter_context(without_plan())
        self.bar = self.open.enter_context(planned([1.0] * self.trainings)).bar
        self.steps, self.module = int(trainer.estimated_stepping_batches), module
        self.bar.begin(self.steps, self.number, shown=trainer.is_global_zero)
        self._update(trainer)
        self.compiling = False
        self.open.enter_context(on_compilation(self._compile))

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if self.compiling:
            self.compiling = False
            self.bar.describe()
        self._update(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        names = ("train_loss", "val_loss")
        metrics = {k: f"{trainer.callback_metrics[k].item():.4f}" for k in names if k in trainer.callback_metrics}
        self.bar.bar.set_postfix(metrics, refresh=False)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _compile(self) -> None:
        self.compiling = True
        self.bar.describe(compiling=True)

    def _update(self, trainer: pl.Trainer) -> None:
        done = trainer.global_step
        self.bar.update(self.module.progress(done, self.steps) if isinstance(self.module, ForecastModule) else done)

    def _close(self) -> None:
        if hasattr(self, "open"):
            self.open.close()


class StopAtLimit(Callback):
    """Ends the training when the seconds of the module are over."""

    def on_train_batch_end(self, trainer: pl.Trainer, module: ForecastModule, *args: Any) -> None:  # type: ignore[override]
        steps = int(trainer.estimated_stepping_batches)
        trainer.should_stop = trainer.should_stop or module.progress(trainer.global_step, steps) >= steps


def fit(
    module: ForecastModule,
    windows: TrainingWindows,
    validation: LastWindows | None,
    *,
    device: str,
    patience: int,
    trainer_kwargs: dict[str, Any],
    ckpt_path: str | Path | None,
    checkpoint: str | Path | None = None,
) -> pl.Trainer:
    """Train in place; with validation windows, stop early and restore the best weights.

    An ``EarlyStopping``, or a ``ModelCheckpoint`` that monitors a value, replaces the default one if it is among the
    callbacks in ``trainer_kwargs``. Several processes divide the windows, and all of them, and the process that started
    them, have the trained weights. Exceptions are raised; those of a process that the training has started, as torch's
    ``ProcessRaisedException`` with their traceback. Files are written only by callbacks, loggers
    and profilers that the caller gives, by default to Lightning's folders.

    Args:
        module: the network with its optimizer.
        windows: training batches.
        validation: validation batches.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` …
        patience: epochs without improvement on the validation batches after which training stops.
        trainer_kwargs: arguments of Lightning's ``Trainer``.
        ckpt_path: checkpoint to resume from.
        checkpoint: folder of the state of the training, which resumes from it.

    Returns:
        The trainer.
    """
    with (
        tempfile.TemporaryDirectory(prefix="s5forecast-") as folder,
        _quiet(),
        planned([1.0]) as plan,
        closing(windows),
    ):
        module.seconds = plan.next_seconds()
        callbacks = user_callbacks(trainer_kwargs)
        best, logs = None, not trainer_kwargs.get("barebones")  # which logs no loss
        state = None if checkpoint is None else TrainingCheckpoint(checkpoint, windows)
        _check_distinct(callbacks)
        _check_monitors(callbacks, logs, validation is not None)
        if logs and validation is not None:
            best = _add_validation_callbacks(callbacks, folder if checkpoint is None else str(checkpoint), patience)
        callbacks.append(DividedWindows(windows, validation))
        if best is not None:
            callbacks.append(BestWeights(best))
        if module.seconds is not None:
            callbacks += [StopAtLimit(), StepCount()]
        if trainer_kwargs.get("enable_progress_bar", True):
            callbacks.append(ProgressBar(plan.started, len(plan.costs)))
        if state is not None:
            callbacks.append(state)
            ckpt_path = state.ckpt_path or ckpt_path
        trainer = _trainer(callbacks, device, trainer_kwargs)
        check_strategy(trainer.strategy)
        if module.seconds is not None:
            check_time_limit(trainer)
        if state is not None:
            state.check(trainer)
            if state.load_trained(module):
                return trainer
        with _interruptible():
            trainer.fit(module, windows, validation, ckpt_path=ckpt_path)
        if state is not None:
            state.finish(module)
    return trainer


def user_callbacks(trainer_kwargs: dict[str, Any]) -> list[Callback]:
    """The callbacks given by the caller; a first training leaves no trace in a second one."""
    given = trainer_kwargs.get("callbacks") or []
    callbacks = [given] if isinstance(given, Callback) else list(given)
    for callback in callbacks:
        if isinstance(callback, EarlyStopping | ModelCheckpoint):
            unused = _UNUSED.setdefault(callback, deepcopy(vars(callback)))
            vars(callback).update(deepcopy(unused))
    return callbacks


def monitors_validation(callback: Callback) -> bool:
    """Whether a callback follows the loss of the validation data."""
    return getattr(callback, "monitor", None) == "val_loss"


def _check_distinct(callbacks: list[Callback]) -> None:
    """Raise ValueError for two callbacks that Lightning cannot tell apart in a checkpoint."""
    known = set()
    for callback in callbacks:
        if type(callback).state_dict is Callback.state_dict:
            continue
        if callback.state_key in known:
            raise ValueError(
                f"callbacks has two {type(callback).__name__} with the same settings, {callback.state_key}; leave one "
                "out, or change one of these settings"
            )
        known.add(callback.state_key)


def _check_monitors(callbacks: list[Callback], logs: bool, validated: bool) -> None:
    """Raise ValueError for a callback that monitors a value that the training does not log.

    Args:
        callbacks: callbacks given by the caller.
        logs: whether the training logs its losses.
        validated: whether there are validation data.
    """
    if not validated:
        for callback in filter(monitors_validation, callbacks):
            raise ValueError(
                f"{type(callback).__name__} monitors 'val_loss', which requires validation data; pass validation_data "
                "to train, or validation= to S5Forecaster.fit, or monitor 'train_loss'"
            )
    if any(map(_may_log, callbacks)):
        return
    names = ["train_loss", *(["val_loss"] if validated else [])] if logs else []
    for callback in callbacks:
        monitor, strict = getattr(callback, "monitor", None), getattr(callback, "strict", True)
        counted = COUNTERS if isinstance(callback, ModelCheckpoint) else ()
        if strict and monitor is not None and monitor not in (*names, *counted):
            fix = f"monitor {' or '.join(map(repr, names))}" if names else "omit barebones=True"
            raise ValueError(f"{type(callback).__name__} monitors {monitor!r}, which the training does not log; {fix}")


def _may_log(callback: Callback) -> bool:
    """Whether a callback may log values of its own, which others may monitor."""
    return isinstance(callback, LambdaCallback | LearningRateMonitor) or not type(callback).__module__.startswith(
        "lightning."
    )


def _add_validation_callbacks(callbacks: list[Callback], folder: str, patience: int) -> ModelCheckpoint:
    """Add early stopping and a checkpoint of the best weights unless they are given; return the checkpoint."""
    given = [one for one in callbacks if isinstance(one, ModelCheckpoint) and one.monitor is not None]
    best = given[0] if given else ModelCheckpoint(folder, monitor="val_loss", save_weights_only=True)
    if not given:
        callbacks.append(best)
    if not any(isinstance(callback, EarlyStopping) for callback in callbacks):
        callbacks.append(EarlyStopping("val_loss", patience=patience))
    return best


def _trainer(callbacks: list[Callback], device: str, given: dict[str, Any]) -> pl.Trainer:
    keeps = any(isinstance(callback, Checkpoint) for callback in callbacks)
    defaults = {
        "accelerator": "gpu" if device.startswith("cuda") else device,
        "devices": [int(device.split(":")[1])] if ":" in device else 1,
        "gradient_clip_val": 1.0,
        "logger": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    fixed = {
        "callbacks": callbacks,
        "enable_progress_bar": False,
        "enable_checkpointing": keeps or given.get("enable_checkpointing", False),
    }
    return pl.Trainer(**{**defaults, **given, **fixed})


@contextmanager
def _interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt, which Lightning turns into SystemExit, and restore the signal handler."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as stop:
        raise KeyboardInterrupt("training was interrupted") from stop
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning inside the block."""
    loggers = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    try:
        with warnings.catch_warnings():
            silence()
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def _warmup_cosine(step: float, warmup: int, steps: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))
