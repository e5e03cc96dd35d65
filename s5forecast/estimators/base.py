"""Training and checks shared by all estimators."""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from gluonts.dataset.common import Dataset
from gluonts.dataset.stat import calculate_dataset_statistics
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.torch.util import resolve_device
from gluonts.transform import Identity, Transformation

from s5forecast.choices import choose
from s5forecast.data.content import as_sequence, by_content
from s5forecast.data.entries import count_categories
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import AUTO, Output, OutputChoice, check_loss, choose_output, is_real, make_output
from s5forecast.estimators.arguments import TRAINING, TrainingArguments, spread_arguments
from s5forecast.estimators.continued import ContinuedTraining
from s5forecast.estimators.defaults import (
    REASONS,
    Choice,
    Choices,
    choose_scaling,
    choose_synthetic_share,
    default_epochs,
    find_typical_window,
)
from s5forecast.estimators.gluonts_predictor import S5Predictor
from s5forecast.estimators.plan import in_plan
from s5forecast.estimators.processes import NUM_STEPS, PLANNED_STEPS, check_strategy
from s5forecast.estimators.reference import loss_over_naive, warn_if_worse_than_naive
from s5forecast.estimators.training import ForecastModule, fit
from s5forecast.levels import DECILES, check_levels
from s5forecast.networks.base import ForecastNetwork, check_support
from s5forecast.seeding import seeded
from s5forecast.windows.batches import LastWindows, TrainingWindows, WindowStore, read_store
from s5forecast.windows.regular import SeriesStore
from s5forecast.windows.scaling import SCALINGS
from s5forecast.windows.synthetic import synthetic_store

# Seeds, signals and Lightning's logging are global to the process: one training at a time.
_TRAINING = RLock()
# Arguments of Lightning's trainer that limit the training, or observe it, in another way than by epochs.
OTHER_LIMITS = ("max_steps", "min_steps", "min_epochs", "max_time", "callbacks", "logger", "fast_dev_run")
logger = logging.getLogger(__name__)


class ForecastEstimator(ContinuedTraining, PyTorchLightningEstimator):
    """A GluonTS estimator that trains a network on windows gathered by index.

    A subclass implements :meth:`window_spec` and :meth:`create_network`. Its network implements ``forward(batch)``,
    ``loss(batch)``, ``loss_weight(batch)``, ``fit_features(windows)`` and ``fit_support(windows)``.

    Attributes:
        choices: settings with an automatic default, with their values and reasons; complete when training starts.
        output: the output of the network; if it is ``automatic``, it is chosen when training starts.
        loss: the training loss as given, for estimators that take one; ``None`` for the default of the output.
        auto_output: what ``distr_output="auto"`` chose, and why.
        synthetic_share: fraction of synthetic training windows as given; ``None`` for the default.
        least_synthetic_share: a default below this share becomes 0.
        automatic_scaling: whether the scaling of ``spec`` is chosen when training starts.
        draws_paths: whether forecasts are sample paths.
        takes_checkpoint: whether ``train`` takes ``checkpoint``.
    """

    output: Output
    spec: Any
    automatic: bool = False
    auto_output: OutputChoice | None = None
    loss: str | None = None
    synthetic_share: float | None = 0.0
    least_synthetic_share: float = 0.0
    automatic_scaling: bool = False
    draws_paths: bool = False
    takes_checkpoint: bool = True

    @spread_arguments
    def __init__(self, training: TrainingArguments = TRAINING) -> None:
        super().__init__(trainer_kwargs=training.for_trainer())
        training.check()
        check_strategy(self.trainer_kwargs.get("strategy"))
        self.choices = Choices()
        self.lr, self.ssm_lr = training.lr, training.ssm_lr
        self.weight_decay, self.warmup = training.weight_decay, training.warmup
        self.patience = training.patience
        self.batch_size = training.batch_size
        self.num_batches_per_epoch = training.num_batches_per_epoch
        self.sampling = training.sampling
        self.predict_batch_size = training.predict_batch_size
        self.seed = training.seed
        self.device = training.device

    @abstractmethod
    def window_spec(self) -> WindowSpec:
        """Contents of a window."""

    @abstractmethod
    def create_network(self) -> ForecastNetwork:
        """The untrained network."""

    def set_scaling(self, scaling: str | None, *, causal: bool) -> str:
        """Record the scaling and return it; ``"standard"`` until the training data are known.

        Args:
            scaling: the argument; ``None`` for the default.
            causal: whether the encoder is causal, so that series can be streamed with the scale of their first window.

        Raises:
            ValueError: for an unknown name.
        """
        self.automatic_scaling = scaling is None and not causal
        reason = "a stream of a causal encoder keeps its scale" if causal else "provisional until training starts"
        scaling = self.choices.resolve("scaling", scaling, "standard", reason)
        choose(SCALINGS, scaling, "scaling")
        return scaling

    def set_output(self, distr_output: Any, quantile_levels: list[float]) -> None:
        """Set the output, by name or as an object; a provisional one for ``"auto"``."""
        self.automatic = distr_output == AUTO
        self.output = make_output("normal" if self.automatic else distr_output, quantile_levels)
        name = distr_output if isinstance(distr_output, str) else type(distr_output).__name__
        self.choices["distr_output"] = Choice(name)

    def set_loss(self, loss: str | None) -> None:
        """Set and record the loss; ``None`` for the default of the output.

        Raises:
            ValueError: for an unknown loss, or one that the output does not support.
        """
        self.loss = loss
        self.choices.resolve("loss", loss, check_loss(loss, self.output))

    def set_quantile_levels(self, quantile_levels: list[float] | None) -> None:
        """Set and record the levels; ``None`` for the deciles."""
        given = None if quantile_levels is None else check_levels(quantile_levels)
        self.quantile_levels = self.choices.resolve("quantile_levels", given, list(DECILES))

    def synthetic_windows(self, store: WindowStore) -> Choice:
        """Fraction of training windows drawn from synthetic series; zero for outputs with bounded support."""
        return choose_synthetic_share(
            self.synthetic_share,
            store.length,
            self.window_spec().prediction_length,
            bounded=self.synthetic_share != 0 and not is_real(self.output),
            least=self.least_synthetic_share,
        )

    def epochs(self, store: WindowStore) -> int:
        """Number of epochs used when ``max_epochs`` is not given."""
        return default_epochs(store.length, self.window_spec().prediction_length, self.synthetic_windows(store).value)

    def fit_choices(self, store: Any, from_predictor: PyTorchPredictor | None) -> None:
        """Resolve the choices that depend on the training data, or on the predictor that training starts from."""
        self.fit_scaling(store, from_predictor)
        self.spec = store.spec = self.spec._replace(typical=find_typical_window(store))
        self.fit_output(store, from_predictor)
        self.fit_loss()
        self.choices["synthetic_share"] = self.synthetic_windows(store)
        self.fit_epochs(store)

    def resolve_choices(self, training_data: Dataset) -> Choices:
        """The settings that training on the data would use; nothing is trained.

        Raises:
            ValueError: if training would raise it before its first step.
        """
        with seeded(self.seed):
            store = self._store(training_data)
            self.fit_choices(store, None)
            self.create_lightning_module().network.fit_support(self._training_windows(store))
        self.choices.mark_defaults(signature(type(self)).parameters)
        return self.choices

    def fit_scaling(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """Choose the scaling by the training data, or take that of the predictor to start from."""
        if not self.automatic_scaling:
            return
        if from_predictor is None:
            self.choices["scaling"] = choose_scaling(store)
        else:
            self.choices.choose("scaling", from_predictor.network.spec.scaling, REASONS["from_predictor"])
        self.spec = store.spec = self.spec._replace(scaling=self.choices["scaling"].value)

    def fit_output(self, store: Any, from_predictor: PyTorchPredictor | None) -> None:
        """Choose the output for ``"auto"`` by the training data, or take that of the predictor to start from."""
        if not self.automatic:
            return
        if from_predictor is not None:
            self.take_output(from_predictor)
            return
        self.auto_output = choose_output([series.target for series in store.series])
        self.output = make_output(self.auto_output.name)
        self.choices.choose("distr_output", *self.auto_output)

    def take_output(self, predictor: PyTorchPredictor) -> None:
        """Take the output of a predictor."""
        self.output = predictor.network.output
        self.choices.choose("distr_output", type(self.output).__name__, REASONS["from_predictor"])

    def fit_loss(self) -> None:
        """Choose the loss again, for the output that was chosen by the training data."""
        if "loss" in self.choices:
            self.set_loss(self.loss)

    def fit_epochs(self, store: Any) -> None:
        """Choose the number of epochs, unless it is given."""
        if "max_epochs" in self.trainer_kwargs:
            self.choices["max_epochs"] = Choice(self.trainer_kwargs["max_epochs"])
        else:
            self.choices.choose("max_epochs", self.epochs(store), REASONS["max_epochs"])

    def has_automatic_length(self) -> bool:
        """Whether the number of training steps is chosen automatically."""
        return not (self.choices["max_epochs"].given or any(name in self.trainer_kwargs for name in OTHER_LIMITS))

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order."""
        return [self]

    @classmethod
    def derive_auto_fields(cls, train_iter: Iterable) -> dict[str, Any]:
        """The number of features of a dataset, and of their categories, for ``from_inputs``."""
        entries = as_sequence(train_iter)
        stats = calculate_dataset_statistics(entries)
        return {
            "num_feat_dynamic_real": stats.num_feat_dynamic_real or 0,
            "num_past_feat_dynamic_real": stats.num_past_feat_dynamic_real or 0,
            "num_feat_static_real": len(stats.feat_static_real),
            "num_feat_static_cat": len(stats.feat_static_cat),
            "cardinality": count_categories(entries, "feat_static_cat"),
            "dynamic_cardinalities": count_categories(entries, "feat_dynamic_cat"),
            "past_dynamic_cardinalities": count_categories(entries, "past_feat_dynamic_cat"),
        }

    def create_transformation(self) -> Transformation:
        return Identity()

    def create_lightning_module(self) -> ForecastModule:
        return ForecastModule(self.create_network(), self.lr, self.ssm_lr, self.weight_decay, self.warmup)

    def create_training_data_loader(self, data: Dataset, module: ForecastModule, **kwargs: Any) -> TrainingWindows:
        return self._training_windows(self._store(data))

    def create_validation_data_loader(self, data: Dataset, module: ForecastModule, **kwargs: Any) -> LastWindows:
        store = self._store(data)
        check_support(module.network.output, store.series)
        windows = LastWindows(store, batch_size=self.predict_batch_size, known=True)
        if not any(batch.mask[:, -self.window_spec().prediction_length :].any() for batch in windows):
            raise ValueError("validation_data has no observed value in the last horizon of any series")
        return windows

    def create_predictor(self, transformation: Transformation, module: ForecastModule) -> S5Predictor:
        return self._with_choices(S5Predictor(module.network, module.network.spec, batch_size=self.predict_batch_size))

    def train_model(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: PyTorchPredictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
        checkpoint: str | Path | None = None,
    ) -> TrainOutput:
        """Train on ``training_data``.

        Args:
            training_data: GluonTS dataset. It is read once; ``shuffle_buffer_length`` and ``cache_data`` are accepted
                for compatibility and have no effect.
            validation_data: the last horizon of each series decides when to stop and which weights are kept.
            from_predictor: a predictor whose weights training starts from.
            ckpt_path: a checkpoint written by a callback, from which training resumes with the state of the optimizer.
                Automatic choices are made again; pass them as arguments if the data have changed.
            checkpoint: folder that the state of the training is written to after every epoch. A training on the same
                data with the same arguments resumes from it; a finished one is not repeated.

        Raises:
            ValueError: if the data do not fit, before training starts.
        """
        if from_predictor is not None:
            _check_ours(from_predictor)
        alone = not in_plan()
        with _TRAINING, seeded(self.seed):
            store = self._store(training_data)
            self.fit_choices(store, from_predictor)
            self.choices.mark_defaults(signature(type(self)).parameters)
            logger.info("training %s with %s", type(self).__name__, self.choices)
            module = self.create_lightning_module()
            windows = self._training_windows(store)
            validation = (
                None if validation_data is None else self.create_validation_data_loader(validation_data, module)
            )
            if from_predictor is None:
                module.network.fit_features(windows)
            else:
                _take_weights(module.network, from_predictor.network)
            module.network.fit_support(windows)
            trainer = fit(
                module,
                windows,
                validation,
                device=str(resolve_device(self.device)),
                patience=self.patience,
                trainer_kwargs={**self.trainer_kwargs, "max_epochs": self.choices["max_epochs"].value},
                ckpt_path=ckpt_path,
                checkpoint=checkpoint,
            )
            if alone and trainer.is_global_zero and isinstance(store, SeriesStore) and self.has_automatic_length():
                warn_if_worse_than_naive(loss_over_naive(module.network, store))
        if module.seconds is not None:
            done, steps = (int(trainer.callback_metrics[name]) for name in (NUM_STEPS, PLANNED_STEPS))
            self.choices.choose("num_steps", done, f"of {steps} steps, within the time limit")
        transformation = self.create_transformation()
        return TrainOutput(transformation, module, trainer, self.create_predictor(transformation, module))

    def train(self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any) -> S5Predictor:
        """Train and return the predictor; arguments as of :meth:`train_model`."""
        return self.train_model(training_data, validation_data, **kwargs).predictor

    def _with_choices(self, predictor: S5Predictor) -> S5Predictor:
        """The predictor on the device, with the choices; saved with ``device="auto"``, it loads on any machine."""
        predictor.choices = self.choices.plain()
        return predictor.to(self.device)

    def _training_windows(self, store: WindowStore) -> TrainingWindows:
        share = self.synthetic_windows(store).value
        with seeded(self.seed) as generator:
            source = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
            return TrainingWindows(
                store,
                batch_size=self.batch_size,
                num_batches=self.num_batches_per_epoch,
                generator=generator,
                sampling=self.sampling,
                prior=synthetic_store(store, source) if share > 0 else None,
                prior_share=share,
            )

    def _store(self, data: Dataset) -> WindowStore:
        return read_store(by_content(data), self.window_spec(), forecast=False)


def _check_ours(predictor: Any) -> None:
    found = getattr(predictor, "network", predictor)
    if not isinstance(found, ForecastNetwork):
        raise ValueError(
            f"from_predictor holds a {type(found).__name__}, which no estimator of s5forecast trains; give a "
            "predictor that this estimator has trained"
        )


def _take_weights(network: ForecastNetwork, before: torch.nn.Module) -> None:
    """Copy the weights of a network; raise ValueError if they do not fit."""
    if type(network) is not type(before):
        raise ValueError(
            f"from_predictor holds a {type(before).__name__}, and this estimator trains a {type(network).__name__}; "
            "give this estimator the settings of the first one, such as recursion='encoder'"
        )
    try:
        network.load_state_dict(before.state_dict())
    except RuntimeError as error:
        raise ValueError(
            "the weights of from_predictor do not fit this estimator; create it with the arguments of the estimator "
            f"that trained from_predictor ({error})"
        ) from error
