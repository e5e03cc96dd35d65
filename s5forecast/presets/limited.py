"""TimeLimitedEstimator: training within a time limit, with seasonal naive as the fallback."""

import math
import time
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.dataset.split import split
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from lightning.pytorch.callbacks import Callback

from s5forecast.data.frequency import quiet_periods
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor, quantile_loss
from s5forecast.estimators.defaults import Choices
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.ensemble import EnsembleEstimator
from s5forecast.estimators.plan import planned
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.levels import DECILES
from s5forecast.notices import warn_user
from s5forecast.presets.best import BestEstimator

# Steps of a network that are timed before the training, after a first one that loads the kernels.
TIMED_STEPS = 5
# Forecasts of statistical models that are timed.
TIMED_SERIES = 3
# Share of the limit that is kept for the comparison with seasonal naive.
RESERVE = 0.05
# Series that are compared with seasonal naive, at most: one batch of a prediction.
COMPARED_SERIES = 256


class TimeLimitedEstimator(Estimator):
    """Trains an estimator within a time limit: with fewer members if necessary, then with fewer steps.

    A few steps of each network are timed first. Of an ensemble or combination, the largest part that can be trained in
    the time is trained; a single network that cannot be trained in full is trained for as many steps as the time
    allows. Learning rates follow the time, so that the result depends on the speed of the machine.

    Univariate regular series are forecast by seasonal naive, with a warning, if the time is too short for an epoch, or
    if the network has a larger quantile loss over the last horizon of the training data.

    Args:
        estimator: estimator of a network, ``EnsembleEstimator`` or ``BestEstimator``.
        time_limit: seconds.

    Raises:
        ValueError: for another estimator, or a limit that is not positive.
    """

    @validated()
    def __init__(self, estimator: Estimator, time_limit: float) -> None:
        super().__init__()
        if not isinstance(base_network(estimator), ForecastEstimator):
            raise ValueError(f"time_limit applies to the networks of s5forecast, got {type(estimator).__name__}")
        if not 0 < time_limit < math.inf:
            raise ValueError(f"time_limit must be a positive number of seconds, got {time_limit}")
        self.estimator, self.time_limit = estimator, time_limit

    def train(self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any) -> Predictor:
        """Train on the data within the limit; arguments as of the estimator.

        Raises:
            ValueError: as the estimator; for irregular or multivariate series, if the time is too short for an epoch.
        """
        end = time.monotonic() + (1 - RESERVE) * self.time_limit
        data = list(training_data)
        validation_data = None if validation_data is None else list(validation_data)
        known: dict[type, Any] = {}
        for chosen in reductions(self.estimator, data):
            steps = [_step_time(one, data, known) for one in chosen.trainings(data)]
            left = end - time.monotonic() - _weighing_seconds(chosen, data)
            if sum(step.training for step in steps) <= left:
                break
        if steps[0].epoch > left:
            needed = math.ceil(self.time_limit + steps[0].epoch - left)
            return self._without_network(f"{needed} s are needed to train one epoch")
        with planned([step.training for step in steps], left):
            predictor = chosen.train(data, validation_data, **kwargs)
        return self._better(predictor, data) if _has_naive(self.estimator) else predictor

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that are trained if the limit is long enough, in their order."""
        return self.estimator.trainings(training_data)

    def _better(self, predictor: Predictor, data: Sequence[dict[str, Any]]) -> Predictor:
        """The predictor, or seasonal naive if it has a smaller loss over the last horizon."""
        naive = SeasonalNaivePredictor(predictor.prediction_length)
        ours, other = last_horizon_losses([predictor, naive], data)
        if ours <= other:
            return predictor
        return self._without_network(
            f"its quantile loss over the last horizon of the training data is {other:.4g}, and that of the network is "
            f"{ours:.4g}"
        )

    def _without_network(self, reason: str) -> CombinedPredictor:
        if not _has_naive(self.estimator):
            raise ValueError(f"time_limit={self.time_limit} is too short: {reason}; give a longer limit")
        warn_user(f"time_limit={self.time_limit}: seasonal naive is used, because {reason}; a longer limit may help")
        network = base_network(self.estimator)
        naive = SeasonalNaivePredictor(network.window_spec().prediction_length)
        predictor = CombinedPredictor([naive], [1.0], getattr(network, "quantile_levels", DECILES))
        choices = Choices()
        choices.choose("members", ["seasonal naive"], reason)
        predictor.own_choices = choices.plain()
        return predictor


class StepTime(NamedTuple):
    """Seconds of one training step of a network, and the planned number of epochs and of steps in an epoch."""

    seconds: float
    epochs: int
    steps: int

    @property
    def epoch(self) -> float:
        return self.seconds * self.steps

    @property
    def training(self) -> float:
        return self.epoch * self.epochs


def reductions(estimator: Estimator, data: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """The estimator for some training data, and its ever smaller parts down to one network."""
    if isinstance(estimator, BestEstimator):
        chosen = estimator.choose(data)
        if isinstance(chosen, CombinedEstimator):
            yield chosen
        yield from reductions(estimator.ensemble, data)
    elif isinstance(estimator, EnsembleEstimator):
        for count in range(estimator.num_members, 1, -1):
            yield EnsembleEstimator(estimator.estimator, count, estimator.context_shares)
        yield estimator.estimator
    else:
        yield estimator


def base_network(estimator: Any) -> Any:
    """The first network of an estimator."""
    return base_network(estimator.estimator) if hasattr(estimator, "estimator") else estimator


def last_horizon_losses(predictors: Sequence[Predictor], data: Sequence[dict[str, Any]]) -> list[float]:
    """Quantile loss of each predictor over the last horizon of up to 256 series; zero if all are too short."""
    horizon = predictors[0].prediction_length
    long = [entry for entry in data if np.isfinite(np.asarray(entry["target"][:-horizon], dtype=np.float64)).any()]
    if not long:
        return [0.0 for _ in predictors]
    long = long[:: -(-len(long) // COMPARED_SERIES)]
    with quiet_periods():
        _, template = split(long, offset=-horizon)
        last = template.generate_instances(horizon)
        return [quantile_loss(predictor, last) for predictor in predictors]


class StepTimes(Callback):
    """Records when each training step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.ends.append(time.monotonic())


def _step_time(estimator: ForecastEstimator, data: Sequence[dict[str, Any]], known: dict[type, StepTime]) -> StepTime:
    """Time of a training step, measured once for each kind of network."""
    kind = type(estimator)
    if kind not in known:
        known[kind] = _timed(estimator, data)
    return known[kind]


def _timed(estimator: ForecastEstimator, data: Sequence[dict[str, Any]]) -> StepTime:
    times = StepTimes()
    given = estimator.__init_args__
    quiet = {"max_steps": 1 + TIMED_STEPS, "enable_progress_bar": False, "callbacks": [times]}
    trial = type(estimator)(**{**given, "trainer_kwargs": {**(given["trainer_kwargs"] or {}), **quiet}})
    trial.train(data)
    return StepTime(median(np.diff(times.ends)), trial.choices["max_epochs"].value, trial.num_batches_per_epoch)


def _weighing_seconds(estimator: Any, data: Sequence[dict[str, Any]]) -> float:
    """Expected seconds in which the statistical members of a combination are weighted."""
    if not isinstance(estimator, CombinedEstimator) or estimator.weights is not None:
        return 0.0
    windows, long = estimator.compared_series(list(data))
    sample = long[:: -(-len(long) // TIMED_SERIES)] if long else []
    seconds = 0.0
    for member in estimator.members:
        if isinstance(member, Predictor):
            began = time.monotonic()
            list(member.predict(sample))
            seconds += (time.monotonic() - began) * windows * len(long) / max(len(sample), 1)
    return seconds


def _has_naive(estimator: Any) -> bool:
    return isinstance(base_network(estimator), S5Estimator | S5AutoregressiveEstimator)
