"""Sequences of trainings with one progress bar and one time limit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm.auto import tqdm

# Descriptions of the progress bar.
TRAINING, COMPILING = "training", "compiling kernels (once)"


class TrainingPlan:
    """A sequence of trainings with one progress bar and one time limit.

    Args:
        costs: expected durations of the trainings in their order, in any unit.
        seconds: time limit for all of them; ``None`` for no limit.
    """

    def __init__(self, costs: Sequence[float], seconds: float | None = None) -> None:
        self.costs = list(costs)
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.started = 0
        self.bar = PlanBar(len(self.costs))

    @property
    def expired(self) -> bool:
        """Whether the time limit is over."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def next_seconds(self) -> float | None:
        """Time for the next training: its share of the remaining time, by the expected durations."""
        left = self.costs[self.started :]
        self.started += 1
        if self.deadline is None:
            return None
        share = left[0] / sum(left) if left else 1.0
        return max(self.deadline - time.monotonic(), 0.0) * share


class PlanBar:
    """One progress bar over the steps of all trainings of a plan, shown from the first of them on."""

    def __init__(self, trainings: int) -> None:
        self.trainings, self.number = trainings, 0
        self.before = self.steps = 0
        self.bar: Any = None

    def begin(self, steps: int, number: int = 1, shown: bool = True) -> None:
        """Begin a training of a number of steps; the later ones are expected to take as many.

        Args:
            steps: number of steps.
            number: number of this training, from 1, if earlier ones ran in other processes and took as many steps.
            shown: whether a new bar is shown.
        """
        if self.bar is None:
            total = steps * max(self.trainings, 1)
            self.bar = tqdm(total=total, desc=TRAINING, unit="step", mininterval=0.5, disable=not shown)
        elsewhere = max(number - self.number - 1, 0)
        self.before += self.steps + steps * elsewhere
        self.number, self.steps = self.number + 1 + elsewhere, steps
        self.bar.total = self.before + steps * (1 + max(self.trainings - self.number, 0))
        self.describe()

    def note(self, text: str) -> None:
        """Say what is done between the trainings, if the bar is shown."""
        if self.bar is not None:
            self.bar.set_description(text)

    def describe(self, compiling: bool = False) -> None:
        """Say which training this is, or that kernels are compiled."""
        number = f" {self.number}/{self.trainings}" if self.trainings > 1 else ""
        self.bar.set_description(COMPILING if compiling else TRAINING + number)

    def update(self, steps: float) -> None:
        """Show how many steps of the current training are done."""
        self.bar.update(self.before + int(steps) - self.bar.n)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()


_PLAN: ContextVar[TrainingPlan | None] = ContextVar("plan", default=None)


@contextmanager
def planned(costs: Sequence[float], seconds: float | None = None) -> Iterator[TrainingPlan]:
    """The plan of the trainings inside the block; without a time limit, that of an outer block if there is one.

    Args:
        costs, seconds: as for :class:`TrainingPlan`.
    """
    outer = _PLAN.get()
    if outer is not None and seconds is None:
        yield outer
        return
    with _active(TrainingPlan(costs, seconds)) as plan:
        if outer is not None:
            plan.bar = outer.bar
        try:
            yield plan
        finally:
            if outer is None:
                plan.bar.close()


def in_plan() -> bool:
    """Whether the current training is one of a plan, such as that of a member of an ensemble."""
    return _PLAN.get() is not None


@contextmanager
def without_plan() -> Iterator[None]:
    """Trainings inside the block do not belong to a plan of an outer block."""
    with _active(None):
        yield


@contextmanager
def _active(plan: Any) -> Iterator[Any]:
    token = _PLAN.set(plan)
    try:
        yield plan
    finally:
        _PLAN.reset(token)
