"""Expected durations of trainings and forecasts, from a few timed steps and series."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from gluonts.model.predictor import Predictor
from lightning.pytorch.callbacks import Callback

from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.combined import CombinedEstimator
from s5forecast.estimators.plan import without_plan
from s5forecast.estimators.pretrained_estimator import PretrainedEstimator

# Steps of a network that are timed, after a first one that loads the kernels; not measured.
TIMED_STEPS = 5
# Forecasts of statistical models that are timed; not measured.
TIMED_SERIES = 3


class StepTime(NamedTuple):
    """Seconds of one training step of a network, and the planned number of steps in an epoch and in the training."""

    seconds: float
    steps_of_epoch: int
    steps: float

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, or of the whole training if it is shorter."""
        return self.seconds * min(self.steps_of_epoch, self.steps)

    @property
    def training(self) -> float:
        """Seconds of the training."""
        return self.seconds * self.steps


class StepTimes(Callback):
    """Records when each training step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.ends.append(time.monotonic())


def step_time(
    estimator: ForecastEstimator | PretrainedEstimator, data: Sequence[dict[str, Any]], known: dict[type, StepTime]
) -> StepTime:
    """Time of a training step, measured once for each kind of network.

    Args:
        estimator: estimator of a single network.
        data: training data.
        known: times measured so far, which is extended.
    """
    kind = type(estimator)
    if kind not in known:
        measured = _of_fine_tuning if isinstance(estimator, PretrainedEstimator) else _of_training
        known[kind] = measured(estimator, data)
    return known[kind]


def _of_fine_tuning(estimator: PretrainedEstimator, data: Sequence[dict[str, Any]]) -> StepTime:
    return StepTime(estimator.seconds_of_a_step(data, TIMED_STEPS), 1, estimator.num_steps)


def _of_training(estimator: ForecastEstimator, data: Sequence[dict[str, Any]]) -> StepTime:
    times, given = StepTimes(), estimator.__init_args__
    trainer_kwargs = given["trainer_kwargs"] or {}
    quiet = {
        "max_steps": 1 + TIMED_STEPS, "enable_progress_bar": False, "callbacks": [times], "logger": False,
        "enable_checkpointing": False, "strategy": "auto", "devices": 1, "num_nodes": 1,
    }  # fmt: skip
    trial = type(estimator)(**{**given, "trainer_kwargs": {**trainer_kwargs, **quiet}})
    with without_plan():
        trial.train(data)
    gaps = np.diff(times.ends)
    steps = trial.choices["max_epochs"].value * trial.num_batches_per_epoch
    most = trainer_kwargs.get("max_steps", -1)
    return StepTime(
        float(median(gaps)) if len(gaps) else 0.0,
        trial.num_batches_per_epoch,
        min(steps if steps > 0 else np.inf, most if most > 0 else np.inf),
    )


def statistical_seconds(estimator: Any, data: Sequence[dict[str, Any]], further: int) -> float:
    """Expected seconds in which the statistical members of a combination are weighted.

    Args:
        estimator: the combination, which may have others as members, or another estimator, which takes no time.
        data: training data.
        further: number of series that they forecast besides.
    """
    if not isinstance(estimator, CombinedEstimator):
        return 0.0
    within = sum(statistical_seconds(member, data, further) for member in estimator.members)
    if estimator.weights is not None:
        return within
    windows, long = estimator.compared_series(data)
    sample = long[:: -(-len(long) // TIMED_SERIES)] if len(long) else []
    began = time.monotonic()
    for member in estimator.members:
        if isinstance(member, Predictor):
            list(member.predict(sample))
    per_series = (time.monotonic() - began) / max(len(sample), 1)
    return within + per_series * (windows * len(long) + min(further, len(data)))
