"""The predictor of every estimator: vectorised, portable between devices, safe to load."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import Forecast
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.torch.util import resolve_device
from gluonts.transform import Identity
from torch import nn

from s5forecast.aliases import check_folder
from s5forecast.data.entries import Series
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import Output
from s5forecast.networks.loading import limit_to_weights
from s5forecast.networks.prediction import Prediction, SamplePaths
from s5forecast.windows.batches import LastWindows, read_store

if TYPE_CHECKING:
    from s5forecast.estimators.streaming import ForecastStream

FORMAT_VERSION = 1
ROUNDING = 1e-6


def count_substeps(step_scale: float) -> int:
    """Steps in place of one; raise ValueError where their number is not whole."""
    substeps = round(1 / step_scale) if 0 < step_scale <= 1 else 0
    if substeps == 0 or abs(substeps * step_scale - 1) > ROUNDING:
        raise ValueError(
            f"step_scale={step_scale} must be 1 / k for a whole number k, as 0.25 for quarter-hours after training on "
            "hours: longer steps do not show what the network was trained to see; train on those"
        )
    return substeps


class S5Predictor(PyTorchPredictor):
    """Forecasts what follows each series of a dataset, a batch of series at a time.

    Arguments:
        prediction_net: maps a :class:`~s5forecast.windows.regular.Batch` to a ``Prediction`` or ``SamplePaths``.
        spec: what the windows hold.
        batch_size: series per pass.
        device: ``"auto"`` is CUDA where there is one, else the CPU.
    """

    @validated()
    def __init__(
        self, prediction_net: nn.Module, spec: WindowSpec, batch_size: int = 256, device: str = "auto"
    ) -> None:
        super().__init__(
            input_names=[],
            prediction_net=prediction_net,
            batch_size=batch_size,
            prediction_length=spec.prediction_length,
            input_transform=Identity(),
            device=device,
        )
        self.spec = spec

    @property
    def output(self) -> Output:
        """What its forecasts are: the one picked, where that was left to the data."""
        return self.prediction_net.output

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Forecast]:
        """One forecast for each entry, in order.

        Arguments:
            dataset: GluonTS entries.
            num_samples: paths of each series, where the estimator draws paths; else it has no meaning.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix.
        """
        for prediction, series in self._predictions(dataset, num_samples):
            yield from prediction.forecasts(series)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]`` for all S entries, without an object for each.

        Where an entry is D series observed together these are ``[S, H, D]`` and ``[S, H, D, Q]``.

        Raises:
            ValueError: as :meth:`predict`.
        """
        pairs = [(p.mean(), p.quantiles(levels)) for p, _ in self._predictions(dataset)]
        shape = (0, self.prediction_length, *([] if self.spec.target_dim is None else [self.spec.dim]))
        means, quantiles = zip(*pairs, strict=True) if pairs else ([np.empty(shape)], [np.empty((*shape, len(levels)))])
        return np.concatenate(means), np.concatenate(quantiles)

    def rescaled(self, step_scale: float) -> "S5Predictor":
        """A predictor of the same network for steps ``step_scale`` times as long, a unit fraction.

        With 0.25 what was trained on hours forecasts quarter-hours, from histories of these: context and horizon span
        the time they did, in four times as many steps, of which each moves the states a quarter as far. The test at
        another sampling rate is that of "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington,
        Linderman, 2023).

        Raises:
            ValueError: for longer steps, or a network that cannot, with the reason and the fix.
        """
        substeps = count_substeps(step_scale)
        if substeps == 1:
            return self
        network = self.prediction_net.divided(substeps)
        return type(self)(network, network.spec, max(self.batch_size // substeps, 1)).to(self.device)

    def stream(self, dataset: Dataset) -> "ForecastStream":
        """The series of a dataset, from their histories on forecast while they are observed.

        Raises:
            ValueError: as :meth:`predict`; with the reason, for a network that cannot.
        """
        from s5forecast.estimators.regular_stream import RegularStream

        return RegularStream.start(self, dataset)

    def _predictions(
        self, dataset: Iterable[dict[str, Any]], num_samples: int | None = None
    ) -> Iterator[tuple[Prediction | SamplePaths, list[Series]]]:
        entries = iter(dataset)
        self.prediction_net.eval()
        while chunk := list(islice(entries, self.batch_size)):
            store = read_store(chunk, self.spec, forecast=True)
            (batch,) = LastWindows(store, batch_size=self.batch_size, known=False)
            with torch.no_grad():
                found = self.prediction_net(type(batch)(*(x.to(self.device) for x in batch)), num_samples)
            yield found, store.series

    def serialize(self, path: Path) -> None:
        """Write to an existing folder: JSON and tensors, no pickled code."""
        super().serialize(path)
        (path / "format.json").write_text(json.dumps({"format_version": FORMAT_VERSION}))

    @classmethod
    def deserialize(cls, path: Path, device: str | torch.device | None = None) -> "S5Predictor":
        """Read what :meth:`serialize` wrote, on whatever device it was trained.

        Raises:
            ValueError: if it was written by a later format, or if :func:`~s5forecast.aliases.check_folder` refuses it.
        """
        check_folder(path)
        found = json.loads((path / "format.json").read_text())["format_version"]
        if found > FORMAT_VERSION:
            raise ValueError(f"{path} has format {found}, this version reads up to {FORMAT_VERSION}; update s5forecast")
        weights = path / "prediction-net-state.pt"
        with limit_to_weights(weights):
            predictor = super(PyTorchPredictor, cls).deserialize(path)
        state = torch.load(weights, map_location="cpu", weights_only=True)
        predictor.prediction_net.load_state_dict(state)
        return predictor.to(predictor.device if device is None else resolve_device(device))
