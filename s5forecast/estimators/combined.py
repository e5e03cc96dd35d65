"""Different forecasters together, weighted by how well they forecast the end of the training data."""

import json
from collections.abc import Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.dataset.split import TestData, split
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import Predictor

from s5forecast.estimators.base import check_positive
from s5forecast.levels import DECILES

# Of the shortest series, a third is weighed on at most.
LEFT = 3
LEAST = 1e-9


class CombinedEstimator(Estimator):
    r"""Averages the quantiles of different forecasters, each with a weight that it earns on the training data.

    .. math:: w_m = \frac{L_m^{-2}}{\sum_j L_j^{-2}}

    with :math:`L_m` the quantile loss of member m, trained on what comes before, over the last horizons of the training
    data. All are then trained on the whole of it. A network and a statistical model err in different ways; the fewer
    the data, the more is gained. Inverse squared errors as weights are those of "The combination of forecasts" (Bates,
    Granger, 1969).

    Arguments:
        prediction_length: steps to forecast.
        members: estimators, and predictors that need no training, such as ``evaluation.AutoETSPredictor(12)``.
        windows: horizons that weigh the members; fewer where the shortest series has not three times as many, and equal
            weights where it has not three horizons.

    Raises:
        ValueError: for less than two members, or no windows.
    """

    @validated()
    def __init__(self, prediction_length: int, members: list[Any], windows: int = 3) -> None:
        super().__init__()
        check_positive(prediction_length=prediction_length, windows=windows)
        if len(members) < 2:
            raise ValueError(f"members must be two or more estimators or predictors, got {len(members)}")
        self.prediction_length, self.members, self.windows = prediction_length, members, windows

    def train(
        self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any
    ) -> "CombinedPredictor":
        """Weigh the members, then train them on all of the data; arguments as of the members that are estimators."""
        training_data = list(training_data)
        weights = self._weights(training_data)
        return CombinedPredictor(self._trained(training_data, validation_data, **kwargs), weights)

    def _trained(self, *data: Dataset | None, **kwargs: Any) -> list[Predictor]:
        return [member.train(*data, **kwargs) if isinstance(member, Estimator) else member for member in self.members]

    def _weights(self, data: list[dict[str, Any]]) -> list[float]:
        horizon = self.prediction_length
        shortest = min(np.shape(entry["target"])[-1] for entry in data)
        windows = min(self.windows, shortest // (LEFT * horizon))
        if windows == 0:
            return [1 / len(self.members)] * len(self.members)
        before, template = split(data, offset=-windows * horizon)
        last = template.generate_instances(horizon, windows=windows)
        losses = np.array([_quantile_loss(predictor, last) for predictor in self._trained(before)])
        share = (losses / losses.max()).clip(min=LEAST) ** -2.0 if losses.max() > 0 else np.ones(len(losses))
        return (share / share.sum()).tolist()


class CombinedPredictor(Predictor):
    r"""Means and quantiles that are weighted averages of those of M predictors, :math:`\sum_m w_m q_{m, \tau}`.

    Arguments:
        members: of the same horizon.
        weights: of each, that add up to one.

    Raises:
        ValueError: without members, for different horizons, or for weights that do not fit.
    """

    def __init__(self, members: Sequence[Predictor], weights: Sequence[float]) -> None:
        horizons = sorted({member.prediction_length for member in members})
        if len(horizons) != 1:
            raise ValueError(f"members must be predictors of one prediction_length, got {horizons}")
        super().__init__(prediction_length=horizons[0])
        if len(weights) != len(members) or min(weights) < 0 or abs(sum(weights) - 1) > 1e-6:
            raise ValueError(f"weights must be {len(members)} numbers that add up to one, got {list(weights)}")
        self.members, self.weights = list(members), list(weights)

    def predict(
        self, dataset: Dataset, num_samples: int | None = None, levels: Sequence[float] = (0.05, *DECILES, 0.95)
    ) -> Iterator[QuantileForecast]:
        """One forecast for each entry, in order; ``num_samples`` has no meaning here, as no paths are drawn."""
        copies = tee(dataset, len(self.members))
        for several in zip(*(m.predict(c) for m, c in zip(self.members, copies, strict=True)), strict=True):
            parts = [[one.mean, *(one.quantile(level) for level in levels)] for one in several]
            arrays = np.tensordot(self.weights, np.array(parts, dtype=np.float64), 1)
            first = several[0]
            keys = ["mean", *map(str, levels)]
            yield QuantileForecast(arrays.astype(np.float32), first.start_date, keys, first.item_id, first.info)

    def serialize(self, path: Path) -> None:
        """Write to an existing folder, each member to a folder of its own."""
        super().serialize(path)
        (path / "weights.json").write_text(json.dumps(self.weights))
        for number, member in enumerate(self.members):
            folder = path / str(number)
            folder.mkdir(exist_ok=True)
            member.serialize(folder)

    @classmethod
    def deserialize(cls, path: Path, **kwargs: Any) -> "CombinedPredictor":
        """Read what :meth:`serialize` wrote. Members are read by GluonTS, as what their files say they are."""
        weights = json.loads((path / "weights.json").read_text())
        return cls([Predictor.deserialize(path / str(number)) for number in range(len(weights))], weights)


def _quantile_loss(predictor: Predictor, windows: TestData) -> float:
    """Sum over all series, steps and deciles."""
    levels = np.array(DECILES)[:, None]
    total = 0.0
    for forecast, label in zip(predictor.predict(windows.input), windows.label, strict=True):
        error = np.asarray(label["target"], dtype=np.float64) - np.stack([forecast.quantile(x) for x in DECILES])
        total += float(np.nansum(np.maximum(levels * error, (levels - 1) * error)))
    return total
