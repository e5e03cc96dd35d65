"""GluonTS's neural forecasters by name, for comparison, with its defaults.

PEERS["deepar"](freq="h", prediction_length=24).train(dataset)
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import Forecast
from gluonts.model.forecast_generator import ForecastGenerator, SampleForecastGenerator
from gluonts.torch.model.deepar import DeepAREstimator
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from gluonts.torch.model.patch_tst import PatchTSTEstimator
from gluonts.torch.model.predictor import OutputTransform, PyTorchPredictor
from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator
from gluonts.torch.model.tft import TemporalFusionTransformerEstimator
from gluonts.torch.model.tide import TiDEEstimator
from gluonts.transform import Transformation
from torch import nn

from s5forecast.aliases import check_folder
from s5forecast.choices import choose
from s5forecast.data.frequency import Frequency
from s5forecast.estimators.base import _TRAINING
from s5forecast.estimators.continued import ContinuedTraining
from s5forecast.estimators.predictor import same_network
from s5forecast.estimators.training import ProgressBar
from s5forecast.networks.loading import limit_to_weights
from s5forecast.picklable import Picklable
from s5forecast.seeding import seeded

LOGGERS = ("lightning.pytorch", "gluonts")
UPSTREAM = r"(lightning|gluonts|torch|pandas)(\..*)?"


class PeerEstimator(ContinuedTraining, Estimator):
    """GluonTS estimator that trains without log messages and files, and raises errors of the training.

    Args:
        name: a key of ``PEERS``.
        freq: offset alias of the series.
        prediction_length: steps to forecast.
        seed: of training; with None, torch and NumPy are not seeded.
        verbose: whether a progress bar is shown while training.
        arguments: further arguments of the GluonTS estimator, such as ``{"trainer_kwargs": {"max_epochs": 10}}``.

    Raises:
        ValueError: unknown name, or a frequency outside the table.
    """

    @validated()
    def __init__(
        self,
        name: str,
        freq: str,
        prediction_length: int,
        seed: int | None = 0,
        verbose: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.make = choose(PEER_ESTIMATORS, name, "peer")
        self.name, self.prediction_length, self.seed, self.verbose = name, prediction_length, seed, verbose
        self.freq = Frequency.parse(freq).period_alias
        self.arguments = dict(arguments or {})

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: "PeerPredictor | None" = None,
        shuffle_buffer_length: int | None = None,
        cache_data: bool = False,
        ckpt_path: str | Path | None = None,
    ) -> "PeerPredictor":
        """Train with GluonTS's arguments; the predictor takes targets of any numeric type.

        Args:
            training_data, validation_data: GluonTS datasets.
            from_predictor: a predictor whose weights training starts from.
            shuffle_buffer_length, cache_data, ckpt_path: as for GluonTS.
        """
        data, held_out = _float32(training_data), None if validation_data is None else _float32(validation_data)
        failure = _Failure()
        with tempfile.TemporaryDirectory(prefix="s5forecast-") as folder, _TRAINING, _quiet(), _seeded(self.seed):
            trained = self._estimator(folder, failure).train_model(
                data, held_out, from_predictor, shuffle_buffer_length, cache_data, ckpt_path
            )
        if failure.error is not None:
            raise failure.error
        return PeerPredictor(**{**trained.predictor.__init_args__, "seed": self.seed})

    def _estimator(self, folder: str, failure: pl.Callback) -> PyTorchLightningEstimator:
        given = dict(self.arguments.get("trainer_kwargs", {}))
        callbacks = [*given.pop("callbacks", []), failure, *([ProgressBar()] if self.verbose else [])]
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer_kwargs = {**quiet, "default_root_dir": folder, **given, "callbacks": callbacks}
        arguments = {**self.arguments, "trainer_kwargs": trainer_kwargs}
        return self.make(freq=self.freq, prediction_length=self.prediction_length, **arguments)


class _Failure(pl.Callback):
    """Keeps the exception that ends a training, after which GluonTS would continue with the last checkpoint."""

    error: BaseException | None = None

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self.error = exception


class PeerPredictor(Picklable, PyTorchPredictor):
    """GluonTS predictor for targets of any numeric type, which draws the same samples at every call.

    Args:
        seed: of the samples; with None, torch is not seeded. The other arguments are GluonTS's.
    """

    @validated()
    def __init__(
        self,
        input_names: list[str],
        prediction_net: nn.Module,
        batch_size: int,
        prediction_length: int,
        input_transform: Transformation,
        forecast_generator: ForecastGenerator = SampleForecastGenerator(),  # noqa: B008, as GluonTS has it
        output_transform: OutputTransform | None = None,
        lead_time: int = 0,
        device: str = "auto",
        seed: int | None = 0,
    ) -> None:
        super().__init__(
            input_names=input_names,
            prediction_net=prediction_net,
            batch_size=batch_size,
            prediction_length=prediction_length,
            input_transform=input_transform,
            forecast_generator=forecast_generator,
            output_transform=output_transform,
            lead_time=lead_time,
            device=device,
        )
        self.seed = seed

    def __eq__(self, other: object) -> bool:
        """Whether the other predictor has the same arguments and weights."""
        return isinstance(other, PeerPredictor) and same_network(self, other)

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device | None = None) -> "PeerPredictor":
        """Read what ``serialize`` wrote.

        Raises:
            ValueError: if :func:`~s5forecast.aliases.check_folder` refuses the folder.
        """
        check_folder(path)
        with limit_to_weights(path / "prediction-net-state.pt"):
            return super().deserialize(path, device)

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Forecast]:
        """One forecast for each entry, in order."""
        with _quiet(), _seeded(self.seed):
            forecasts = list(super().predict(_float32(dataset), num_samples))
        yield from forecasts


def _float32(data: Dataset) -> list[dict[str, Any]]:
    """Entries with float32 targets, item_id and info; some estimators fail on other types, or if some have none."""
    return [
        {"item_id": None, "info": None, **entry, "target": np.asarray(entry["target"], dtype=np.float32)}
        for entry in data
    ]


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Seed torch and NumPy, from which GluonTS samples windows, and restore their states afterwards."""
    state = np.random.get_state()
    with seeded(seed):
        if seed is not None:
            np.random.seed(seed)
        try:
            yield
        finally:
            if seed is not None:
                np.random.set_state(state)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log messages and warnings of Lightning and GluonTS."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=UPSTREAM)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _deepar(freq: str, prediction_length: int, **arguments: Any) -> DeepAREstimator:
    return DeepAREstimator(freq, prediction_length, **arguments)


def _tft(freq: str, prediction_length: int, **arguments: Any) -> TemporalFusionTransformerEstimator:
    return TemporalFusionTransformerEstimator(freq, prediction_length, **arguments)


def _tide(freq: str, prediction_length: int, **arguments: Any) -> TiDEEstimator:
    return TiDEEstimator(freq, prediction_length, **arguments)


def _patch_tst(freq: str, prediction_length: int, **arguments: Any) -> PatchTSTEstimator:
    """Patches of 16 steps as published; GluonTS has no default for them."""
    context = arguments.get("context_length") or 10 * prediction_length
    return PatchTSTEstimator(prediction_length, **{"patch_len": min(16, context), **arguments})


def _simple_feedforward(freq: str, prediction_length: int, **arguments: Any) -> SimpleFeedForwardEstimator:
    return SimpleFeedForwardEstimator(prediction_length, **arguments)


PEER_ESTIMATORS: dict[str, Callable[..., PyTorchLightningEstimator]] = {
    "deepar": _deepar,
    "tft": _tft,
    "patch_tst": _patch_tst,
    "tide": _tide,
    "simple_feedforward": _simple_feedforward,
}

PEERS: dict[str, Callable[..., PeerEstimator]] = {name: partial(PeerEstimator, name) for name in PEER_ESTIMATORS}
"""Name -> function of ``freq``, ``prediction_length`` and the other arguments of ``PeerEstimator``."""
