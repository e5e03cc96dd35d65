"""PretrainedEstimator: the pretrained network as it is, or fine-tuned on the training data."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from copy import deepcopy
from math import inf
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from s5forecast.data.content import by_content
from s5forecast.data.entries import read_series
from s5forecast.data.series import Series
from s5forecast.estimators.arguments import check_positive, check_share
from s5forecast.estimators.continued import ContinuedTraining
from s5forecast.estimators.defaults import REASONS, Choice, Choices
from s5forecast.estimators.fine_tuning import FineTuning, Settings, TuningSeries
from s5forecast.estimators.plan import in_plan
from s5forecast.estimators.pretrained import PretrainedPredictor
from s5forecast.estimators.reference import pretrained_loss_over_naive, warn_if_worse_than_naive
from s5forecast.networks.pretrained import FEWEST_OBSERVED
from s5forecast.windows.batches import chunks

logger = logging.getLogger(__name__)
LARGEST_SEED = 2**31
# Series that are checked at a time.
CHECKED_SERIES = 4096


class PretrainedEstimator(ContinuedTraining, Estimator):
    """Fine-tunes the network that was pretrained on synthetic series, or uses it as it is.

    Fine-tuning starts from the pretrained weights and takes a few steps on windows of the training data, together with
    synthetic series, so that a small data set does not erase what was learned before. Covariates and static features
    are not used. The number of steps, ``lr`` and ``synthetic_share`` come from experiments with an earlier network on
    five small data sets; the other defaults are not tuned.

    Args:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast, H.
        num_steps: training steps; 0 to train nothing.
        weights: path of a file that ``python -m s5forecast.pretraining`` wrote, as text; by default the shipped one.
        season, quantile_levels: as for :class:`~s5forecast.estimators.PretrainedPredictor`.
        synthetic_share: fraction of synthetic series in each step.
        lr, ssm_lr: learning rates, the second one of the dynamics of the state-space layers.
        patience: validations without improvement after which training stops; there are six of them.
        predict_batch_size: series per batch of a forecast.
        time_limit: seconds after which the training stops. If none are left at its start, nothing is trained.
        seed: the same seed gives the same result; ``None`` for a random one.
        device: ``"cpu"``, or ``"auto"``, which is the same.
        verbose: whether to show a progress bar.

    Attributes:
        choices: settings of the last training, with their values and reasons.
        spent: seconds of the limit that passed before :meth:`train`, such as those in which the data were read.

    Raises:
        ValueError: for an argument out of range, or as :class:`~s5forecast.estimators.PretrainedPredictor`.
    """

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        num_steps: int = 150,
        weights: str | None = None,
        season: int | str | None = None,
        quantile_levels: list[float] | None = None,
        synthetic_share: float = 0.5,
        lr: float = 3e-4,
        ssm_lr: float = 1.5e-4,
        patience: int = 3,
        predict_batch_size: int = 64,
        time_limit: float | None = None,
        seed: int | None = 0,
        device: str = "cpu",
        verbose: bool = True,
    ) -> None:
        super().__init__()
        check_positive(patience=patience)
        check_share(synthetic_share)
        for name, value in {"num_steps": num_steps, "lr": lr, "ssm_lr": ssm_lr}.items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        if time_limit is not None and not 0 < time_limit < inf:
            raise ValueError(f"time_limit must be a positive number of seconds, got {time_limit!r}")
        self.num_steps, self.synthetic_share, self.lr, self.ssm_lr = num_steps, synthetic_share, lr, ssm_lr
        self.patience, self.time_limit, self.seed, self.verbose = patience, time_limit, seed, verbose
        self.prediction_length, self.spent = prediction_length, 0.0
        self.forecasting = {
            "freq": freq, "prediction_length": prediction_length, "season": season, "quantile_levels": quantile_levels,
            "batch_size": predict_batch_size, "device": device,
        }  # fmt: skip
        self.weights = weights
        self.choices = Choices()
        self._predictor(None)  # checks the arguments and the weights before any data are read

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: Predictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
    ) -> PretrainedPredictor:
        """Fine-tune on ``training_data``.

        Args:
            training_data: GluonTS dataset. It is read once; ``shuffle_buffer_length`` and ``cache_data`` are accepted
                for compatibility and have no effect.
            validation_data: the last horizon of each series decides when to stop and which weights are kept.
            from_predictor: a predictor of this estimator, whose weights training starts from.

        Raises:
            ValueError: if the data do not fit, before training starts.
        """
        predictor = self._predictor(from_predictor)
        self.choices, alone = Choices(), not in_plan()
        if self.num_steps:
            series = self._read(predictor, training_data)
            held_out = None if validation_data is None else self._held_out(predictor, validation_data)
            predictor.learn_spread([one.target for one in series])
            tuning = FineTuning(predictor.network, self._tuning(predictor, series), self._settings(), held_out)
            seconds = None if self.time_limit is None else max(self.time_limit - self.spent, 0.0)
            self.choices.choose("num_steps", *tuning.run(seconds, verbose=self.verbose))
            if alone:
                warn_if_worse_than_naive(pretrained_loss_over_naive(predictor, [one.target for one in series]))
        else:
            self._check(predictor, training_data)
            self.choices.choose("num_steps", 0, "the pretrained network is not trained further")
        predictor.choices = {**predictor.choices, **self.choices.plain()}
        logger.info("%s with %s", type(self).__name__, self.choices)
        return predictor

    def resolve_choices(self, training_data: Dataset) -> Choices:
        """The settings that training on the data would use; nothing is trained."""
        predictor = self._predictor(None)
        self._read(predictor, training_data)
        return Choices({name: Choice(**one) for name, one in predictor.choices.items()})

    def can_train(self, training_data: Dataset, validation_data: Dataset | None = None) -> bool:
        """Whether the data have enough observed values for the fine-tuning.

        Args:
            training_data, validation_data: as for :meth:`train`.

        Raises:
            ValueError: for invalid entries among those that decide.
        """
        predictor = self._predictor(None)
        # Read up to the first part with a usable series, so that a large dataset is not held in memory.
        parts = (self._read(predictor, chunk) for chunk in chunks(training_data, CHECKED_SERIES))
        usable = any(self._usable(predictor, part).targets for part in parts)
        if not usable or validation_data is None:
            return usable
        return self._usable(predictor, self._read(predictor, validation_data)).have_scored_horizon()

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order."""
        return [self] if self.num_steps else []

    def seconds_of_a_step(self, training_data: Dataset, count: int) -> float:
        """Median duration of ``count`` steps, after a first one that loads the kernels."""
        predictor = self._predictor(None)
        tuning = FineTuning(
            predictor.network, self._tuning(predictor, self._read(predictor, training_data)), self._settings(), None
        )
        ends = []
        for _ in range(1 + count):
            tuning.advance(0.0)
            ends.append(time.monotonic())
        return float(np.median(np.diff(ends)))

    def untrained(self) -> PretrainedPredictor:
        """The predictor of the network as it is."""
        return self._predictor(None)

    def _predictor(self, start: Any) -> PretrainedPredictor:
        """A predictor with weights of its own: those of the predictor to start from, or the pretrained ones.

        Raises:
            ValueError: for a predictor of another kind.
        """
        if start is None:
            return PretrainedPredictor(weights=self.weights, **self.forecasting)
        if not isinstance(start, PretrainedPredictor):
            raise ValueError(
                f"from_predictor is a {type(start).__name__}; give a predictor that PretrainedEstimator trained"
            )
        spread = start.relative_spread
        predictor = PretrainedPredictor(weights=deepcopy(start.network), relative_spread=spread, **self.forecasting)
        given = {"value": None, "reason": REASONS["from_predictor"], "given": False}
        predictor.choices["weights"] = {**given, **start.choices.get("weights", {})}
        return predictor

    def _read(self, predictor: PretrainedPredictor, data: Dataset) -> Sequence[Series]:
        """Checked series, in an order that depends on their content only."""
        series = read_series(by_content(data), predictor.spec, forecast=False)
        if not series:
            raise ValueError("the dataset is empty; give at least one series")
        return series

    def _check(self, predictor: PretrainedPredictor, data: Dataset) -> None:
        """Check the series, a chunk at a time; errors are those of :meth:`_read`."""
        count = sum(len(self._read(predictor, chunk)) for chunk in chunks(data, CHECKED_SERIES))
        if not count:
            self._read(predictor, [])

    def _tuning(self, predictor: PretrainedPredictor, series: Sequence[Series]) -> TuningSeries:
        found = self._usable(predictor, series)
        if not found.targets:
            raise ValueError(
                f"no series has more than {FEWEST_OBSERVED} observed values, which fine-tuning needs; give longer "
                "histories, or use preset='zero_shot', which trains nothing"
            )
        return found

    def _usable(self, predictor: PretrainedPredictor, series: Sequence[Series]) -> TuningSeries:
        targets = [one.target.astype(np.float64) for one in series]
        return TuningSeries.of(targets, list(map(predictor.seasons, targets)), self.prediction_length)

    def _held_out(self, predictor: PretrainedPredictor, data: Dataset) -> TuningSeries:
        found = self._tuning(predictor, self._read(predictor, data))
        if not found.have_scored_horizon():
            raise ValueError(
                f"validation_data has no observed value in the last horizon of any series with {FEWEST_OBSERVED} "
                "observed values before it; pass whole histories"
            )
        return found

    def _settings(self) -> Settings:
        seed = int(torch.randint(LARGEST_SEED, ())) if self.seed is None else self.seed
        return Settings(self.num_steps, self.lr, self.ssm_lr, self.synthetic_share, self.patience, seed)
