"""DefaultEstimator: a network trained on the series, or the fine-tuned pretrained one if there are few values."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, cast

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import TrainOutput
from gluonts.transform import Identity
from lightning.pytorch import Trainer

from s5forecast.data.content import as_sequence
from s5forecast.data.frame_entries import TableEntries
from s5forecast.estimators.continued import ContinuedTraining
from s5forecast.estimators.defaults import Choice, Choices
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.pretrained import PretrainedPredictor
from s5forecast.estimators.pretrained_estimator import PretrainedEstimator
from s5forecast.presets.presets import base_network

# With fewer values, the pretrained network is fine-tuned. Chosen on validation windows of seven tasks: this is better
# on average for those of 216 to 4,445 values, and worse for that of 6,705, see benchmarks/small/NOTES.md.
MAX_VALUES = 5_000
# The choice of the pretrained network.
TUNED = Choice("the pretrained one, fine-tuned", f"fewer than {MAX_VALUES:,} values", given=False)
# Arguments that both estimators have.
SHARED = ("freq", "prediction_length", "quantile_levels", "predict_batch_size", "seed")


class DefaultEstimator(ContinuedTraining, Estimator):
    """Trains a network on the series, or fine-tunes the pretrained one if all series have fewer than 5,000 values.

    A network that is trained on few values alone may forecast worse than seasonal naive, with too narrow intervals. The
    pretrained network has learned from synthetic series before. Data with covariates need a network of their own.

    Args:
        estimator: estimator of a network that is trained on the series.
        tuned: estimator of the pretrained network.

    Attributes:
        choices: settings of the last training, with their values and reasons; before it, those of ``estimator``.
        spent: seconds of a time limit that passed before :meth:`train`, such as those in which the data were read.
    """

    @validated()
    def __init__(self, estimator: Estimator, tuned: PretrainedEstimator) -> None:
        super().__init__()
        self.estimator, self.tuned, self.spent = estimator, tuned, 0.0
        self.prediction_length = tuned.prediction_length
        self.choices: Choices = base_network(estimator).choices
        self.takes_checkpoint = getattr(estimator, "takes_checkpoint", False)

    def train(self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any) -> Any:
        """Train and return the predictor; arguments as of :meth:`train_model`."""
        return self.train_model(training_data, validation_data, **kwargs).predictor

    def train_model(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: Predictor | None = None,
        ckpt_path: str | None = None,
        checkpoint: str | Path | None = None,
        **kwargs: Any,
    ) -> TrainOutput:
        """Train the network that suits the number of values.

        Args:
            training_data, validation_data: as for the estimators.
            from_predictor: a predictor of this estimator, whose network is trained further.
            ckpt_path: as for :class:`~s5forecast.S5Estimator`, whose network is then trained.
            checkpoint: as for :class:`~s5forecast.S5Estimator`; a fine-tuning, which takes seconds, has none.
            kwargs: further arguments of the estimators.

        Returns:
            The predictor, its network, and Lightning's trainer; ``None`` for a trainer after a fine-tuning or within a
            time limit.

        Raises:
            ValueError: as the estimators.
        """
        data, held_out = as_sequence(training_data), None if validation_data is None else as_sequence(validation_data)
        if from_predictor is not None:
            chosen = self.tuned if isinstance(from_predictor, PretrainedPredictor) else self.estimator
            kwargs["from_predictor"] = from_predictor
        else:
            chosen = self.choose(data, held_out) if ckpt_path is None else self.estimator
        if chosen is self.estimator:
            kwargs |= {"ckpt_path": ckpt_path} | ({} if checkpoint is None else {"checkpoint": checkpoint})
        if hasattr(chosen, "spent"):
            chosen.spent = self.spent
        found = _trained(chosen, data, held_out, **kwargs)
        if chosen is self.tuned and from_predictor is None:
            found.predictor.choices |= Choices(network=TUNED).plain()
        self.choices = Choices({name: Choice(**one) for name, one in found.predictor.choices.items()})
        return found

    def resolve_choices(self, training_data: Dataset) -> Choices:
        """The settings that training on the data would use; nothing is trained."""
        data = as_sequence(training_data)
        chosen = self.choose(data)
        choices = base_network(chosen).resolve_choices(data)
        return Choices(choices | {"network": TUNED}) if chosen is self.tuned else choices

    def choose(
        self, training_data: Sequence[dict[str, Any]], validation_data: Sequence[dict[str, Any]] | None = None
    ) -> Any:
        """The estimator for some data.

        Args:
            training_data, validation_data: as for :meth:`train`; the network is trained on the series if either has too
                few values for a fine-tuning.

        Raises:
            ValueError: for invalid entries.
        """
        few = has_few_values(training_data) and self.tuned.can_train(training_data, validation_data)
        return self.tuned if few else self.estimator

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order."""
        data = as_sequence(training_data)
        return self.choose(data).trainings(data)


def _trained(estimator: Any, *data: Sequence[dict[str, Any]] | None, **kwargs: Any) -> TrainOutput:
    """The result of a training, without Lightning's trainer if the estimator uses none, or several."""
    if hasattr(estimator, "train_model"):
        return estimator.train_model(*data, **kwargs)
    predictor, no_trainer = estimator.train(*data, **kwargs), cast(Trainer, None)
    return TrainOutput(Identity(), getattr(predictor, "network", None), no_trainer, predictor)


def tuned_like(
    arguments: dict[str, Any], num_steps: int, time_limit: float | None = None
) -> PretrainedEstimator | None:
    """The fine-tuning that can take the place of ``S5Estimator(**arguments)``.

    Args:
        arguments: arguments of :class:`~s5forecast.S5Estimator`.
        num_steps: steps of the fine-tuning.
        time_limit: seconds of training.

    Returns:
        ``None`` if the arguments ask for covariates, a GPU, or anything else that the pretrained network does not have.
    """
    defaults = signature(S5Estimator).parameters
    own = {
        name: value
        for name, value in arguments.items()
        if name not in SHARED and _plain(value) not in (defaults[name].default, [], {})
    }
    trainer, device = own.pop("trainer_kwargs", {}), own.pop("device", "cpu")
    if own or device != "cpu" or set(trainer) - {"enable_progress_bar"}:
        return None
    shared = {name: arguments[name] for name in SHARED if name in arguments}
    verbose = trainer.get("enable_progress_bar", True)
    return PretrainedEstimator(**shared, num_steps=num_steps, time_limit=time_limit, verbose=verbose)


def has_few_values(entries: Sequence[dict[str, Any]]) -> bool:
    """Whether there are series, and all together have fewer than 5,000 values; entries are checked later."""
    if isinstance(entries, TableEntries):
        count = entries.num_values
    else:
        count = sum(np.size(entry.get("target", ())) for entry in entries)
    return len(entries) > 0 and count < MAX_VALUES


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
