"""What all estimators share: checked data, training, and the predictor."""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.dataset.stat import calculate_dataset_statistics
from gluonts.torch.model.estimator import PyTorchLightningEstimator, TrainOutput
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.torch.util import resolve_device
from gluonts.transform import Identity, Transformation

from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import Output, OutputChoice, choose_output, is_real, make_output
from s5forecast.estimators.defaults import default_scaling
from s5forecast.estimators.gluonts_predictor import S5Predictor
from s5forecast.estimators.training import ForecastModule, fit
from s5forecast.networks.base import ForecastNetwork, check_support
from s5forecast.seeding import seeded
from s5forecast.windows.batches import LastWindows, TrainingWindows, WindowStore, read_store
from s5forecast.windows.regular import Batch
from s5forecast.windows.synthetic import default_epochs, default_prior_share, prior_store

# Seeds, signals and Lightning's logging belong to the process: one training at a time.
_TRAINING = RLock()
logger = logging.getLogger(__name__)


class ForecastEstimator(PyTorchLightningEstimator):
    """A GluonTS estimator that trains a network on windows gathered by index.

    A subclass gives :meth:`window_spec` and :meth:`create_network`; its network has ``forward(batch)``,
    ``loss(batch)``, ``fit_features(windows)`` and ``fit_support(windows)``.

    Attributes:
        output: of the network; one that is ``automatic`` is known after training, as ``auto_output`` with the reason.
        synthetic_share: of the training windows; chosen by the data where ``None``.
        scaling_by_data: whether ``spec``, what :meth:`window_spec` gives, takes the scaling that the data suggest.
    """

    output: Output
    spec: Any
    automatic: bool = False
    auto_output: OutputChoice | None = None
    synthetic_share: float | None = 0.0
    scaling_by_data: bool = False

    @validated()
    def __init__(
        self,
        lr: float,
        ssm_lr: float,
        weight_decay: float,
        warmup: float,
        patience: int,
        batch_size: int,
        num_batches_per_epoch: int,
        predict_batch_size: int,
        trainer_kwargs: dict[str, Any],
        seed: int | None,
        device: str,
    ) -> None:
        super().__init__(trainer_kwargs=trainer_kwargs)
        check_positive(
            patience=patience,
            batch_size=batch_size,
            num_batches_per_epoch=num_batches_per_epoch,
            predict_batch_size=predict_batch_size,
        )
        for name, rate in (("lr", lr), ("ssm_lr", ssm_lr), ("weight_decay", weight_decay), ("warmup", warmup)):
            if rate < 0:
                raise ValueError(f"{name} must not be negative, got {rate}")
        if device.startswith("mps"):
            raise ValueError("device='mps' has no float64, which forecasts are put together in; use 'cpu' or 'cuda'")
        self.lr, self.ssm_lr, self.weight_decay, self.warmup = lr, ssm_lr, weight_decay, warmup
        self.patience = patience
        self.batch_size = batch_size
        self.num_batches_per_epoch = num_batches_per_epoch
        self.predict_batch_size = predict_batch_size
        self.seed = seed
        self.device = device

    @abstractmethod
    def window_spec(self) -> WindowSpec:
        """What a window holds."""

    @abstractmethod
    def create_network(self) -> ForecastNetwork:
        """The untrained network."""

    def prior_share(self, store: WindowStore) -> float:
        """Of the training windows, those of synthetic series, which have no bounds: none where the output has."""
        if self.synthetic_share == 0 or not is_real(self.output):
            return 0.0
        if self.synthetic_share is not None:
            return self.synthetic_share
        return default_prior_share(store.length, self.window_spec().prediction_length)

    def epochs(self, store: WindowStore) -> int:
        """Of a training whose length is not given."""
        return default_epochs(store.length, self.window_spec().prediction_length, self.prior_share(store))

    def fit_spec(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """Where the data choose the scaling: take that of a predictor to start from, else the one they suggest."""
        if self.scaling_by_data:
            scaling = from_predictor.network.spec.scaling if from_predictor is not None else default_scaling(store)
            self.spec = store.spec = self.spec._replace(scaling=scaling)

    def fit_output(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """For ``distr_output="auto"``: take the output of a predictor to start from, else the one the data suggest."""
        if not self.automatic:
            return
        if from_predictor is not None:
            self.output = from_predictor.network.output
            return
        self.auto_output = choose_output([series.target for series in store.series])
        self.output = make_output(self.auto_output.name)
        logger.info("distr_output='auto': %r, as %s", *self.auto_output)

    @classmethod
    def derive_auto_fields(cls, train_iter: Iterable) -> dict[str, Any]:
        """The number of features of a dataset, for ``from_inputs``."""
        stats = calculate_dataset_statistics(train_iter)
        return {
            "num_feat_dynamic_real": stats.num_feat_dynamic_real or 0,
            "num_past_feat_dynamic_real": stats.num_past_feat_dynamic_real or 0,
            "num_feat_static_real": len(stats.feat_static_real),
            "num_feat_static_cat": len(stats.feat_static_cat),
            "cardinality": [len(categories) for categories in stats.feat_static_cat],
        }

    def create_transformation(self) -> Transformation:
        return Identity()

    def create_lightning_module(self) -> ForecastModule:
        return ForecastModule(self.create_network(), self.lr, self.ssm_lr, self.weight_decay, self.warmup)

    def create_training_data_loader(self, data: Dataset, module: ForecastModule, **kwargs: Any) -> TrainingWindows:
        return self._training_windows(self._store(data))

    def create_validation_data_loader(self, data: Dataset, module: ForecastModule, **kwargs: Any) -> Iterable[Batch]:
        store = self._store(data)
        check_support(module.network.output, store.series)
        windows = LastWindows(store, batch_size=self.predict_batch_size, known=True)
        if not any(batch.mask[:, -self.window_spec().prediction_length :].any() for batch in windows):
            raise ValueError("validation_data has no observed value in the last horizon of any series")
        return windows

    def create_predictor(self, transformation: Transformation, module: ForecastModule) -> S5Predictor:
        # The device is set afterwards: saved as "auto", a predictor loads wherever it is taken.
        predictor = S5Predictor(module.network, module.network.spec, batch_size=self.predict_batch_size)
        return predictor.to(self.device)

    def train_model(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: PyTorchPredictor | None = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> TrainOutput:
        """Train on ``training_data``.

        Arguments:
            training_data: GluonTS dataset. It is read once: ``shuffle_buffer_length`` and ``cache_data``, kept
                for compatibility, change nothing.
            validation_data: the last horizon of each series decides when to stop and which weights are kept.
            from_predictor: start from its weights.
            ckpt_path: resume, with the state of the optimiser, from a checkpoint that a callback wrote. What was chosen
                by the data, such as the scaling, is chosen anew: give it where the data differ.

        Raises:
            ValueError: for data that does not fit, before training starts.
        """
        if from_predictor is not None:
            _check_ours(from_predictor.network)
        with _TRAINING, seeded(self.seed):
            store = self._store(training_data)
            self.fit_spec(store, from_predictor)
            self.fit_output(store, from_predictor)
            module = self.create_lightning_module()
            windows = self._training_windows(store)
            validation = (
                None if validation_data is None else self.create_validation_data_loader(validation_data, module)
            )
            if from_predictor is None:
                module.network.fit_features(windows)
            else:
                _check_same_kind(module.network, from_predictor.network)
                module.network.load_state_dict(from_predictor.network.state_dict())
            module.network.fit_support(windows)
            trainer = fit(
                module,
                windows,
                validation,
                device=str(resolve_device(self.device)),
                patience=self.patience,
                trainer_kwargs=self._trainer_kwargs(store),
                ckpt_path=ckpt_path,
            )
        transformation = self.create_transformation()
        return TrainOutput(transformation, module, trainer, self.create_predictor(transformation, module))

    def train(self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any) -> S5Predictor:
        """Train and return the predictor; arguments as :meth:`train_model`."""
        return self.train_model(training_data, validation_data, **kwargs).predictor

    def _trainer_kwargs(self, store: WindowStore) -> dict[str, Any]:
        if "max_epochs" in self.trainer_kwargs:
            return self.trainer_kwargs
        return {"max_epochs": self.epochs(store), **self.trainer_kwargs}

    def _training_windows(self, store: WindowStore) -> TrainingWindows:
        share = self.prior_share(store)
        with seeded(self.seed) as generator:
            source = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
            return TrainingWindows(
                store,
                batch_size=self.batch_size,
                num_batches=self.num_batches_per_epoch,
                generator=generator,
                prior=prior_store(store, source) if share > 0 else None,
                prior_share=share,
            )

    def _store(self, data: Dataset) -> WindowStore:
        return read_store(data, self.window_spec(), forecast=False)


def _check_ours(network: torch.nn.Module) -> None:
    if not isinstance(network, ForecastNetwork):
        raise ValueError(
            f"from_predictor holds a {type(network).__name__}, which no estimator of s5forecast trains; give a "
            "predictor that this one has trained"
        )


def _check_same_kind(network: ForecastNetwork, before: torch.nn.Module) -> None:
    if type(network) is not type(before):
        raise ValueError(
            f"from_predictor holds a {type(before).__name__}, and this estimator trains a {type(network).__name__}; "
            "give it the settings of the one that trained the first, such as recursion='encoder'"
        )


def check_positive(**arguments: int) -> None:
    """Raise ValueError, naming the argument, for a number below 1."""
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def checked_share(synthetic_share: float | None) -> float | None:
    """The share; raise ValueError for one that is none."""
    if synthetic_share is not None and not 0 <= synthetic_share <= 1:
        raise ValueError(f"synthetic_share must lie in [0, 1], got {synthetic_share}")
    return synthetic_share


def checked_cardinality(cardinality: list[int] | None, count: int) -> list[int]:
    """The number of categories of each of ``count`` features; raise ValueError where there are not as many."""
    cardinality = cardinality or []
    if len(cardinality) != count:
        raise ValueError(
            f"cardinality must give the number of categories of each of num_feat_static_cat={count} features, "
            f"got {cardinality}"
        )
    return cardinality
