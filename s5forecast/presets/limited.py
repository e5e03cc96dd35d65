"""TimeLimitedEstimator: training within a time limit, with seasonal naive as the fallback."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.dataset.split import split
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from s5forecast.data.content import by_content, take
from s5forecast.data.frequency import quiet_periods
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor, entries_with_arrays, quantile_loss
from s5forecast.estimators.continued import ContinuedTraining
from s5forecast.estimators.defaults import Choices
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.ensemble import EnsembleEstimator, EnsemblePredictor
from s5forecast.estimators.plan import TrainingPlan, planned
from s5forecast.evaluation.baselines import SeasonalNaivePredictor
from s5forecast.levels import DECILES
from s5forecast.notices import warn_user
from s5forecast.presets.best import BestEstimator, record_members
from s5forecast.presets.presets import base_network
from s5forecast.presets.timing import StepTime, statistical_seconds, step_time

# Share of the limit that is kept for the comparison with seasonal naive; not measured.
RESERVE = 0.05
# Series that are compared with seasonal naive, at most: one batch of a prediction.
COMPARED_SERIES = 256


class TimeLimitedEstimator(ContinuedTraining, Estimator):
    """Trains an estimator within a time limit: with fewer members if necessary, then with fewer steps.

    A few steps of each network are timed first. Then the largest part of the ensemble or combination that fits the
    limit is trained. If a single network does not fit, it is trained for fewer steps. Learning rates follow the elapsed
    time, so results depend on the speed of the machine.

    Univariate regular series are forecast by seasonal naive, with a warning, if the time is too short for an epoch, or
    if the trained model has a larger quantile loss over the last horizon of the validation data. Without validation
    data, it is compared on the last horizon of the training data, which it has seen.

    Args:
        estimator: estimator of a network, ``EnsembleEstimator`` or ``BestEstimator``.
        time_limit: seconds.

    Attributes:
        spent: seconds of the limit that passed before :meth:`train`, such as those in which the data were read.

    Raises:
        ValueError: for another estimator, or a limit that is not positive.
    """

    @validated()
    def __init__(self, estimator: Estimator, time_limit: float) -> None:
        super().__init__()
        if not isinstance(base_network(estimator), ForecastEstimator):
            raise ValueError(f"time_limit applies to the networks of s5forecast, got {type(estimator).__name__}")
        if not (isinstance(time_limit, int | float) and 0 < time_limit < math.inf):
            raise ValueError(f"time_limit must be a positive number of seconds, got {time_limit!r}")
        self.estimator, self.time_limit = estimator, time_limit
        self.spent = 0.0

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: Predictor | None = None,
        **kwargs: Any,
    ) -> Predictor:
        """Train on the data within the limit.

        Args:
            training_data, validation_data: as for the estimator.
            from_predictor: a predictor of this estimator, whose members are kept and trained further.
            kwargs: further arguments of the estimator.

        Raises:
            ValueError: as the estimator; for irregular or multivariate series, if the time is too short for an epoch.
        """
        end = time.monotonic() + (1 - RESERVE) * self.time_limit - self.spent
        data = entries_with_arrays(by_content(training_data))
        held_out = None if validation_data is None else entries_with_arrays(by_content(validation_data))
        if from_predictor is None:
            options = list(reductions(self.estimator, data, held_out))
        else:
            options = [continued(self.estimator, from_predictor, data, held_out)]
            kwargs["from_predictor"] = from_predictor
        known = dict[type, StepTime]()
        for chosen in options:
            steps = [step_time(one, data, known) for one in chosen.trainings(data)]
            other = statistical_seconds(chosen, data, COMPARED_SERIES)
            left = end - time.monotonic() - other
            if sum(step.training for step in steps) <= left:
                break
        if steps[0].epoch > left:
            needed = math.ceil(self.time_limit + steps[0].epoch - left)
            return self._without_network(f"{needed} s are needed to train one epoch")
        with planned([step.training for step in steps], left) as plan:
            predictor = chosen.train(data, held_out, **kwargs)
            reason = "all members fit" if chosen is options[0] else "the largest part that fits"
            record_members(predictor, chosen, f"{reason} time_limit={self.time_limit:.4g}")
            return self._better(predictor, held_out if held_out is not None and len(held_out) else data, plan)

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that are trained if the limit is long enough, in their order."""
        return self.estimator.trainings(training_data)

    def _better(self, predictor: Predictor, data: Sequence[dict[str, Any]], plan: TrainingPlan) -> Predictor:
        """The predictor, or seasonal naive if it has a smaller loss over the last horizon."""
        if not _has_naive(self.estimator):
            return predictor
        plan.bar.note("comparing with seasonal naive")
        naive = SeasonalNaivePredictor(predictor.prediction_length)
        ours, other = last_horizon_losses([predictor, naive], data)
        if ours <= other:
            return predictor
        return self._without_network(
            f"its quantile loss over the last horizon is {other:.4g}, and that of the trained model is {ours:.4g}"
        )

    def _without_network(self, reason: str) -> CombinedPredictor:
        if not _has_naive(self.estimator):
            raise ValueError(f"time_limit={self.time_limit:.4g} is too short: {reason}; give a longer limit")
        warn_user(
            f"time_limit={self.time_limit:.4g}: seasonal naive is used, because {reason}; a longer limit may help"
        )
        network = base_network(self.estimator)
        naive = SeasonalNaivePredictor(network.window_spec().prediction_length)
        predictor = CombinedPredictor([naive], [1.0], getattr(network, "quantile_levels", DECILES))
        choices = Choices()
        choices.choose("members", [type(naive).__name__], reason)
        predictor.own_choices = choices.plain()
        return predictor


def reductions(
    estimator: Estimator, data: Sequence[dict[str, Any]], held_out: Sequence[dict[str, Any]] | None = None
) -> Iterator[Any]:
    """Yield the estimator for the training data, then ever fewer of its members, down to one network."""
    if isinstance(estimator, BestEstimator):
        chosen = estimator.choose(data, held_out)
        while isinstance(chosen, CombinedEstimator):
            yield chosen
            chosen = chosen.members[0]
        if chosen is estimator.tuned:
            yield chosen
        else:
            yield from reductions(estimator.ensemble, data)
    elif isinstance(estimator, EnsembleEstimator):
        for count in range(estimator.num_members, 1, -1):
            yield EnsembleEstimator(estimator.estimator, count, estimator.context_shares)
        yield estimator.estimator
    else:
        yield estimator


def continued(
    estimator: Any,
    predictor: Any,
    data: Sequence[dict[str, Any]],
    held_out: Sequence[dict[str, Any]] | None = None,
) -> Any:
    """The part of an estimator that trained a predictor, to train it further."""
    if isinstance(estimator, BestEstimator):
        return estimator.like(predictor, data, held_out)
    if not isinstance(estimator, EnsembleEstimator):
        return estimator
    if not isinstance(predictor, EnsemblePredictor):
        return estimator.estimator
    return EnsembleEstimator(estimator.estimator, len(predictor.members), estimator.context_shares)


def last_horizon_losses(predictors: Sequence[Predictor], data: Sequence[dict[str, Any]]) -> list[float]:
    """Quantile loss of each predictor over the last horizon of up to 256 series; zero if all are too short."""
    horizon = predictors[0].prediction_length
    long = [np.isfinite(entry["target"][:-horizon].astype(np.float64)).any() for entry in data]
    positions = np.flatnonzero(long).tolist()
    if not positions:
        return [0.0 for _ in predictors]
    compared = take(data, positions[:: -(-len(positions) // COMPARED_SERIES)])
    with quiet_periods():
        _, template = split(compared, offset=-horizon)
        last = template.generate_instances(horizon)
        return [quantile_loss(predictor, last) for predictor in predictors]


def _has_naive(estimator: Any) -> bool:
    return isinstance(base_network(estimator), S5Estimator | S5AutoregressiveEstimator)
