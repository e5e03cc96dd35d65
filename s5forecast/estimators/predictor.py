"""Predictor of every network, for regular and irregular series.

It needs neither Lightning nor GluonTS's networks, which are slow to import. Estimators return the subclass that is also
a GluonTS ``PyTorchPredictor``, see :mod:`~s5forecast.estimators.gluonts_predictor`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gluonts.core.component import equals, validated
from gluonts.core.serde import decode, load_json
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import Predictor, RepresentablePredictor
from torch import nn

from s5forecast.aliases import check_folder, check_text, load, resolve
from s5forecast.data.missing_known import MissingKnown, collecting, report
from s5forecast.distributions import Output
from s5forecast.networks.loading import limit_to_weights
from s5forecast.networks.prediction import Predictions, collect_quantiles
from s5forecast.picklable import Picklable
from s5forecast.windows.batches import WindowStore, chunks, read_store
from s5forecast.windows.normalization import warn_few_values

if TYPE_CHECKING:
    from typing_extensions import Self

    from s5forecast.estimators.stream import ForecastStream

PREDICTOR_FORMAT = 1
# Field of a checkpoint that describes the network.
CHECKPOINT_FIELD = "s5forecast_network"
ROUNDING = 1e-6
# Class written to saved folders, and those that earlier versions wrote.
GLUONTS_PREDICTOR = "s5forecast.estimators.gluonts_predictor.S5Predictor"
SAVED_CLASSES = (
    GLUONTS_PREDICTOR,
    "s5forecast.estimators.predictor.S5Predictor",
    "s5forecast.estimators.continuous_predictor.ContinuousPredictor",
)


class NetworkPredictor(Picklable, RepresentablePredictor):
    """Forecasts the series of a dataset with a trained network, one batch of series at a time.

    Args:
        prediction_net: a :class:`~s5forecast.networks.base.ForecastNetwork`.
        spec: contents of its windows, a ``WindowSpec`` or an ``IrregularSpec``.
        batch_size: series per batch.
        device: ``"auto"`` is CUDA if available, else the CPU.

    Attributes:
        choices: record of the values that were chosen automatically in training.
        saved_class: import path that saved folders name.
    """

    prediction_net: Any
    device: Any
    saved_class: ClassVar[str] = GLUONTS_PREDICTOR

    @validated()
    def __init__(self, prediction_net: nn.Module, spec: Any, batch_size: int = 256, device: str = "auto") -> None:
        RepresentablePredictor.__init__(self, spec.prediction_length or spec.max_queries)
        self.spec, self.batch_size = spec, batch_size
        self.choices: dict[str, Any] = {}
        self.prediction_net = prediction_net
        self.to(device)

    def __eq__(self, other: object) -> bool:
        """Whether the other predictor has the same arguments and weights; a loaded one may be of another subclass."""
        return isinstance(other, NetworkPredictor) and same_network(self, other)

    @property
    def network(self) -> Any:
        """The trained network."""
        return self.prediction_net

    @property
    def output(self) -> Output:
        """Output of the network; with ``distr_output="auto"``, the one chosen by the training data."""
        return self.prediction_net.output

    def to(self, device: str | torch.device) -> "Self":
        """Move the network to a device, in place."""
        self.device = resolve_device(device)
        self.prediction_net = self.prediction_net.to(self.device)
        return self

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Forecast]:
        """One forecast for each entry, in order.

        Irregular series are forecast at the ``query_time`` of their entry.

        Args:
            dataset: GluonTS entries.
            num_samples: sample paths of each series; ignored by networks that do not sample.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix.
        """
        for found, horizons in self._predictions(dataset, num_samples):
            yield from found.forecasts(horizons)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means and quantiles of all S entries, without a forecast object for each.

        Returns:
            ``[S, H]`` and ``[S, H, Q]`` for regular series, ``[S, H, D]`` and ``[S, H, D, Q]`` for entries of D aligned
            series. ``[M, D]`` and ``[M, D, Q]`` for irregular series of D variables: at all M query times, those of the
            first entry first.

        Raises:
            ValueError: as :meth:`predict`.
        """
        return collect_quantiles(self._predictions(dataset), levels, self.spec)

    def rescaled(self, step_scale: float) -> "Self":
        """Predictor of the same network at a finer sampling rate.

        With ``step_scale=0.25`` a network trained on hourly series forecasts series of quarter-hours: its context and
        its horizon cover the same time in four times as many steps, each of which is a quarter as long to the
        state-space layers. See the experiments on another sampling rate in "Simplified State Space Layers for Sequence
        Modeling" (Smith, Warrington, Linderman, 2023).

        Args:
            step_scale: length of the new steps relative to the old, 1 / k for a whole number k.

        Raises:
            ValueError: for longer steps, or for a network that cannot be rescaled, with the reason and the fix.
        """
        substeps = count_substeps(step_scale)
        if substeps == 1:
            return self
        network = self.prediction_net.divided(substeps)
        predictor = type(self)(network, network.spec, max(self.batch_size // substeps, 1)).to(self.device)
        predictor.choices = self.choices
        return predictor

    def stream(self, dataset: Dataset) -> "ForecastStream":
        """Stream of the series of a dataset, which forecasts them while new observations arrive.

        Raises:
            ValueError: as :meth:`predict`; for a network that cannot be advanced step by step, with the reason.
        """
        from s5forecast.estimators.stream import ForecastStream

        return ForecastStream.start(self, dataset)

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str | torch.device = "auto") -> "Self":
        """Predictor of the weights in a checkpoint that Lightning's ``ModelCheckpoint`` wrote during training.

        Args:
            path: the checkpoint file.
            device: of the predictor.

        Raises:
            ValueError: for a checkpoint that no estimator of s5forecast wrote, or that names classes which are not
                those of its models.
        """
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if CHECKPOINT_FIELD not in stored:
            raise ValueError(f"{path} is not a checkpoint of an estimator of s5forecast")
        check_text(path, stored[CHECKPOINT_FIELD])
        with limit_to_weights(Path(path)):
            network = load_json(stored[CHECKPOINT_FIELD])
        network.load_state_dict({name.removeprefix("network."): x for name, x in stored["state_dict"].items()})
        return cls(network, network.spec, device=device)

    def _predictions(self, dataset: Iterable[dict[str, Any]], num_samples: int | None = None) -> Predictions:
        parts, few, missing = chunks(dataset, self.batch_size), list[Any](), list[MissingKnown]()
        self.prediction_net.eval()
        chunk = next(parts, None)
        while chunk is not None:
            with collecting(missing):
                store = read_store(chunk, self.spec, forecast=True)
            batch = store.gather_ahead(torch.arange(len(store)))
            with torch.no_grad():
                found = self.prediction_net(type(batch)(*(x.to(self.device) for x in batch)), num_samples)
            few += self.items_with_few_values(store)
            chunk = next(parts, None)
            if chunk is None:
                report(missing)
            if few and chunk is None:
                self.warn_of_few_values(few)
            yield found, store.horizons()

    def items_with_few_values(self, store: WindowStore) -> list[Any]:
        """Series that have too few recent values to be normalized by them."""
        return store.items_with_few_values()

    def warn_of_few_values(self, items: Sequence[Any]) -> None:
        """Warn that series have too few recent values to be normalized by them."""
        warn_few_values(items, self.spec)

    def serialize(self, path: Path) -> None:
        """Write to an existing folder: JSON and tensors, no pickled code.

        The folder names :attr:`saved_class`, by default the GluonTS adapter, so that GluonTS reads it.
        """
        RepresentablePredictor.serialize(self, path)
        for name, field in (("gluonts-config.json", "type"), ("predictor.json", "class")):
            stored = json.loads((path / name).read_text())
            (path / name).write_text(json.dumps({**stored, field: self.saved_class}))
        torch.save(self.prediction_net.state_dict(), path / "prediction-net-state.pt")
        (path / "format.json").write_text(json.dumps({"format_version": PREDICTOR_FORMAT}))
        (path / "choices.json").write_text(json.dumps(self.choices))

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device | None = None) -> "Self":
        """Read what :meth:`serialize` wrote, on any device.

        Args:
            path: the folder.
            device: of the predictor; the saved one for ``None``.

        Raises:
            ValueError: if a later version of the format wrote it, or if :func:`~s5forecast.aliases.check_folder`
                refuses the folder.
        """
        check_folder(path)
        found = json.loads((path / "format.json").read_text())["format_version"]
        if found > PREDICTOR_FORMAT:
            raise ValueError(
                f"{path} has format {found}, this version reads up to {PREDICTOR_FORMAT}; update s5forecast"
            )
        weights = path / "prediction-net-state.pt"
        with limit_to_weights(weights):
            predictor = cls(**decode(json.loads((path / "predictor.json").read_text())["kwargs"]))
        predictor.prediction_net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        if (path / "choices.json").exists():
            predictor.choices = json.loads((path / "choices.json").read_text())
        return predictor if device is None else predictor.to(device)


def load_predictor(path: str | Path, device: str | torch.device | None = None) -> Predictor:
    """Read the folder of a predictor, without importing Lightning or GluonTS's networks unless it needs them.

    Args:
        path: folder that ``serialize`` wrote.
        device: of a predictor with a network; the saved one for ``None``.

    Raises:
        ValueError: if :func:`~s5forecast.aliases.check_folder` refuses the folder, or a later version wrote it.
    """
    return load(path, device, dict.fromkeys(SAVED_CLASSES, NetworkPredictor))


def same_network(one: Any, other: Any) -> bool:
    """Whether two predictors of GluonTS with a network have the same arguments and weights."""
    if not equals(one.__init_args__, other.__init_args__):
        return False
    weights, others = one.prediction_net.state_dict(), other.prediction_net.state_dict()
    return weights.keys() == others.keys() and all(
        np.array_equal(weights[name].cpu(), others[name].cpu(), equal_nan=weights[name].is_floating_point())
        for name in weights
    )


def count_substeps(step_scale: float) -> int:
    """Number of steps that replace one step.

    Raises:
        ValueError: if it is not a whole number.
    """
    substeps = round(1 / step_scale) if 0 < step_scale <= 1 else 0
    if substeps == 0 or abs(substeps * step_scale - 1) > ROUNDING:
        raise ValueError(
            f"step_scale={step_scale} must be 1 / k for a whole number k, such as 0.25 for quarter-hours after "
            "training on hours; for longer steps, train on series of that frequency"
        )
    return substeps


def resolve_device(device: str | torch.device) -> str | torch.device:
    """The device, with ``"auto"`` as CUDA if available, else the CPU."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def __getattr__(name: str) -> Any:
    """``S5Predictor``, which saved folders name here, is imported when it is used."""
    if name == "S5Predictor":
        return resolve(GLUONTS_PREDICTOR)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
