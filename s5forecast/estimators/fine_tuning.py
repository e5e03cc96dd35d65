"""Fine-tuning of the pretrained network on series, together with synthetic ones."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.estimators.plan import TrainingPlan, planned
from s5forecast.networks.pretrained import FEWEST_OBSERVED, PATCH, Origins, PretrainedNetwork
from s5forecast.networks.zero_shot import CONTEXT, FARTHEST, excess_of, interleaved, parts_of, thinned_seasons
from s5forecast.ops.backends import on_compilation
from s5forecast.pretraining.prior import draw
from s5forecast.pretraining.training import FEWEST_SERIES, descend, draw_length, draw_origins, make_optimizer

# Values of a step, half as many as in pretraining; part of the steps in which the learning rate rises.
VALUES, WARMUP = 8_192, 0.1
# Number of validations, and of the series that they are made on, at most; not measured.
VALIDATIONS, VALIDATED = 6, 256


class Settings(NamedTuple):
    """Settings of a fine-tuning."""

    num_steps: int
    lr: float
    ssm_lr: float
    synthetic_share: float  # of the series of each step
    patience: int  # validations without improvement after which the training stops
    seed: int


class TuningSeries(NamedTuple):
    """Series to train on; those of a long horizon are divided into interleaved series, as for its forecasts."""

    targets: list[np.ndarray]  # [T_i] float64 each, NaN where not observed
    seasons: np.ndarray  # [S, 2] float32
    horizon: int  # steps to forecast of each

    @classmethod
    def of(cls, targets: Sequence[np.ndarray], seasons: Sequence[tuple[float, float]], horizon: int) -> TuningSeries:
        """The series with enough observed values to train on."""
        parts = [parts_of(target, horizon, short) for target, (short, _) in zip(targets, seasons, strict=True)]
        divided = [
            (interleaved(target - excess_of(target), part, count), thinned_seasons(pair, count))
            for target, pair, count in zip(targets, seasons, parts, strict=True)
            for part in range(count)
        ]
        usable = [one for one in divided if (~np.isnan(one[0])).sum() > FEWEST_OBSERVED]
        found = np.array([pair for _, pair in usable], dtype=np.float32).reshape(-1, 2)
        return cls([target for target, _ in usable], found, min(-(-horizon // min(parts)), FARTHEST))

    @property
    def patches(self) -> int:
        """Patches of the horizon."""
        return -(-self.horizon // PATCH)

    def windows(self, count: int, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Windows of random series that end at random steps, half of them negated, ``[N, T]``; their seasons."""
        rows = rng.integers(len(self.targets), size=count)
        values = np.full((count, length), np.nan, dtype=np.float64)
        for window, row in zip(values, rows, strict=True):
            target = self.targets[row]
            # Shorter series end up to a patch earlier, so that their patches begin at different steps.
            first = length if len(target) > length else max(len(target) - PATCH + 1, FEWEST_OBSERVED + 1)
            end = int(rng.integers(min(first, len(target)), len(target) + 1))
            piece = target[max(end - length, 0) : end]
            window[length - len(piece) :] = piece
        values *= rng.choice([-1.0, 1.0], size=(count, 1))
        return values, self.seasons[rows]

    def last_windows(self) -> tuple[Tensor, Tensor, Origins]:
        """The last horizon of each series and its past, for validation; of evenly chosen ones if there are many."""
        every = -(-len(self.targets) // VALIDATED)
        targets, count = self.targets[::every], self.patches
        longest = max(len(target) - self.horizon for target in targets)
        context = PATCH * -(-min(CONTEXT, max(longest, 1)) // PATCH)
        end = context + self.horizon
        values = np.full((len(targets), context + count * PATCH), np.nan)
        for window, target in zip(values, targets, strict=True):
            piece = target[-end:]
            window[end - len(piece) : end] = piece
        S = len(values)
        at = Origins(
            torch.arange(S).repeat_interleave(count), torch.full((S * count,), context), torch.arange(count).repeat(S)
        )
        return torch.from_numpy(values), torch.from_numpy(self.seasons[::every]), at

    def have_scored_horizon(self) -> bool:
        """Whether the loss of the last horizon of any series counts: a value in it, and enough values before it."""
        seen = [~np.isnan(target) for target in self.targets]
        return any(
            one[-self.horizon :].any() and one[: -self.horizon][-CONTEXT:].sum() >= FEWEST_OBSERVED for one in seen
        )


class BestWeights:
    """The weights with the smallest loss of the last horizons of some series.

    Attributes:
        loss, state: smallest loss, and the parameters that have it.
        waited: validations since then.
    """

    def __init__(self, series: TuningSeries) -> None:
        self.windows = series.last_windows()
        self.loss, self.waited = math.inf, 0
        self.state: dict[str, Any] = {}

    @torch.no_grad()
    def validate(self, network: PretrainedNetwork) -> None:
        """Compute the loss of a network, and keep its parameters if it is the smallest."""
        training = network.training
        loss = network.eval().loss(*self.windows).item()
        network.train(training)
        if loss < self.loss:
            self.loss, self.waited, self.state = loss, 0, deepcopy(network.state_dict())
        else:
            self.waited += 1


class FineTuning:
    """Trains a network in place for a number of steps, with a linear warm-up and a cosine decay of the learning rate.

    With a time limit, the learning rate follows the larger of the fraction of the steps that are done and the fraction
    of the time that has passed, and the training stops at the limit.

    Args:
        network: the network.
        series: series to train on.
        settings: settings of the training.
        validation: series whose last horizons decide when to stop and which weights are kept.
    """

    def __init__(
        self, network: PretrainedNetwork, series: TuningSeries, settings: Settings, validation: TuningSeries | None
    ) -> None:
        self.network, self.series, self.settings = network, series, settings
        self.best = None if validation is None else BestWeights(validation)
        self.optimizer = make_optimizer(network, settings.lr, settings.ssm_lr)
        self.step, self.compiling = 0, False
        self.longest = max(map(len, series.targets))

    def run(self, seconds: float | None, *, verbose: bool) -> tuple[int, str]:
        """Train, and return the number of steps and why there are not more.

        Args:
            seconds: time limit; ``None`` for no limit of its own.
            verbose: whether to show a progress bar.
        """
        steps, began = self.settings.num_steps, time.monotonic()
        with ExitStack() as stack:
            plan = stack.enter_context(planned([1.0], seconds))
            seconds = plan.next_seconds()
            if verbose:
                plan.bar.begin(steps)
                stack.enter_context(on_compilation(lambda: self._show_compiling(plan)))
            if self.best is not None:
                self.best.validate(self.network)
            self.network.train()
            while self.step < steps and (passed := _passed(began, seconds)) < 1 and not self._stopped_early():
                self.advance(max(self.step / steps, passed))
                self._show(plan, verbose)
                if self.best is not None and (self.step % max(1, steps // VALIDATIONS) == 0 or self.step == steps):
                    self.best.validate(self.network)
        if self.best is not None:
            self.network.load_state_dict(self.best.state)
        self.network.eval()
        return self.step, self._reason()

    def advance(self, progress: float) -> float:
        """Take a step, whose series depend on the seed and its number only, and return its loss.

        Args:
            progress: done fraction of the training, which determines the learning rate.

        Raises:
            FloatingPointError: if the loss is not finite.
        """
        batch = self.draw(np.random.default_rng([self.settings.seed, self.step]))
        loss = descend(self.network, [self.optimizer], batch, _rate(progress, self.settings.num_steps))
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} at step {self.step}; lower lr (now {self.settings.lr}), or check the target for "
                "extreme values"
            )
        self.step += 1
        return loss

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Origins]:
        """Windows of the series, then synthetic series, of one random length; their seasons; origins in them."""
        length = draw_length(rng, self.longest)
        count = max(FEWEST_SERIES, VALUES // length)
        of_prior = round(self.settings.synthetic_share * count)
        values, seasons = self.series.windows(count - of_prior, length, rng)
        if of_prior:
            synthetic = draw(of_prior, length, rng)
            values, seasons = np.concatenate([values, synthetic.values]), np.concatenate([seasons, synthetic.seasons])
        at = draw_origins(count, length, rng, self.series.patches)
        return torch.from_numpy(values), torch.from_numpy(seasons), at

    def _stopped_early(self) -> bool:
        return self.best is not None and self.best.waited >= self.settings.patience

    def _reason(self) -> str:
        steps = self.settings.num_steps
        if self.step == steps:
            return "all steps"
        cause = "until the validation loss rose" if self._stopped_early() else "within the time limit"
        return f"of {steps} steps, {cause}"

    def _show_compiling(self, plan: TrainingPlan) -> None:
        self.compiling = True
        plan.bar.describe(compiling=True)

    def _show(self, plan: TrainingPlan, verbose: bool) -> None:
        if not verbose:
            return
        if self.compiling:
            self.compiling = False
            plan.bar.describe()
        plan.bar.update(self.step)


def _passed(began: float, seconds: float | None) -> float:
    """Elapsed fraction of a time limit, 0 without one."""
    if seconds is None:
        return 0.0
    return (time.monotonic() - began) / seconds if seconds > 0 else 1.0


def _rate(progress: float, steps: int) -> float:
    """Factor of the learning rate: linear to 1, then along a half cosine to 0."""
    if progress < WARMUP:
        return (progress + 1 / steps) / (WARMUP + 1 / steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARMUP) / (1 - WARMUP))))
