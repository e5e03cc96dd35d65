"""Different forecasters together, weighted by how well they forecast the end of the training data."""

import json
import logging
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.dataset.field_names import FieldName
from gluonts.dataset.split import TestData, split
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import Forecast, QuantileForecast
from gluonts.model.predictor import Predictor

from s5forecast.aliases import check_folder
from s5forecast.data.frequency import quiet_periods
from s5forecast.estimators.arguments import check_positive
from s5forecast.estimators.defaults import COMBINED_LEVELS, HISTORIES, WEIGHING_WINDOWS
from s5forecast.levels import DECILES, check_levels

# The least loss, as a share of the largest.
LEAST = 1e-9
DYNAMIC = (FieldName.FEAT_DYNAMIC_REAL, FieldName.PAST_FEAT_DYNAMIC_REAL)
logger = logging.getLogger(__name__)


class CombinedEstimator(Estimator):
    r"""Averages the quantiles of different forecasters, each with a weight that it earns on the training data.

    .. math:: w_m = \frac{L_m^{-2}}{\sum_j L_j^{-2}}

    with :math:`L_m` the quantile loss of member m at the deciles, trained on what comes before, over the last horizons
    of the training data: a sum over all series as they are, so that the largest values count most. A network and a
    statistical model err in different ways, the more so where there are few values. After the inverse squared
    errors of "The combination of forecasts" (Bates, Granger, 1969).

    Arguments:
        prediction_length: steps to forecast, H.
        members: estimators, and predictors that need no training, such as ``evaluation.BASELINES["auto_ets"](12)``; one
            that was trained on the data has seen what it would be weighed on.
        windows: horizons at the end of the series that weigh the members; fewer where no series holds three times as
            many. Shorter series have no say; where nothing can be weighed the weights are equal, which is logged.
        quantile_levels: of the forecasts; 0.05, the deciles and 0.95 when not given.
        weights: of the members, that add up to one; given, nothing is weighed, and members are trained once.

    Raises:
        ValueError: for less than two members, other things than estimators and predictors, different horizons, no
            windows, levels that are none, or weights that do not fit.
    """

    @validated()
    def __init__(
        self,
        prediction_length: int,
        members: list[Any],
        windows: int = WEIGHING_WINDOWS,
        quantile_levels: list[float] | None = None,
        weights: list[float] | None = None,
    ) -> None:
        super().__init__()
        check_positive(prediction_length=prediction_length, windows=windows)
        strange = [member for member in members if not isinstance(member, Estimator | Predictor)]
        if len(members) < 2 or strange:
            raise ValueError(f"members must be two or more estimators or predictors, got {members}")
        self.quantile_levels = list(COMBINED_LEVELS) if quantile_levels is None else quantile_levels
        check_levels(self.quantile_levels)
        if weights is not None:
            _check_weights(weights, len(members))
        self.prediction_length, self.members = prediction_length, members
        self.windows, self.weights = windows, weights
        self._check_horizons([member for member in members if isinstance(member, Predictor)])

    def train(
        self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any
    ) -> "CombinedPredictor":
        """Train the members on all of the data, and weigh others of their kind, trained on what comes before its end.

        Nothing is weighed where weights are given. Arguments as of the members that are estimators; those that are
        weighed see the training data alone.

        Raises:
            ValueError: as the members do, and for one whose forecasts are not finite.
        """
        data = [_with_arrays(entry) for entry in training_data]
        if not data:
            raise ValueError("the dataset is empty; give at least one series")
        # Callbacks of the training that counts are left as they are.
        others = deepcopy(self.members) if self.weights is None else []
        validation_data = None if validation_data is None else list(validation_data)
        trained = _trained(self.members, data, validation_data, **kwargs)
        self._check_horizons(trained)
        weights = self._weights(others, data) if self.weights is None else self.weights
        return CombinedPredictor(trained, weights, self.quantile_levels)

    def _check_horizons(self, predictors: Sequence[Predictor]) -> None:
        for predictor in predictors:
            if predictor.prediction_length != self.prediction_length:
                raise ValueError(
                    f"{type(predictor).__name__} forecasts {predictor.prediction_length} steps; give all members "
                    f"prediction_length={self.prediction_length}"
                )

    def _weights(self, members: list[Any], data: list[dict[str, Any]]) -> list[float]:
        losses = self._losses(members, data)
        if not losses.any():
            logger.info("no series holds three horizons with errors to weigh by: all members count the same")
            return [1 / len(members)] * len(members)
        share = (losses / losses.max()).clip(min=LEAST) ** -2.0
        return (share / share.sum()).tolist()

    def _losses(self, members: list[Any], data: list[dict[str, Any]]) -> np.ndarray:
        windows = max(map(self._windows, data))
        steps = windows * self.prediction_length
        long = [entry for entry in data if self._windows(entry) == windows and _observed(entry["target"][..., :-steps])]
        if windows == 0 or not long:
            return np.zeros(len(members))
        with quiet_periods():
            before, template = split(long, offset=-steps)
            last = template.generate_instances(self.prediction_length, windows=windows)
            return np.array([_quantile_loss(predictor, last) for predictor in _trained(members, before)])

    def _windows(self, entry: dict[str, Any]) -> int:
        return min(self.windows, np.shape(entry["target"])[-1] // (HISTORIES * self.prediction_length))


class CombinedPredictor(Predictor):
    r"""Means and quantiles that are weighted averages of those of M predictors, :math:`\sum_m w_m q_{m, \tau}`.

    Where the members forecast samples, their quantiles are averaged. Averages of whole numbers need not be whole.

    Arguments:
        members: of the same horizon.
        weights: of each, that add up to one.
        quantile_levels: of the forecasts.

    Raises:
        ValueError: without members, for different horizons, for weights that do not fit, or levels that are none.
    """

    def __init__(
        self, members: Sequence[Predictor], weights: Sequence[float], quantile_levels: Sequence[float] = COMBINED_LEVELS
    ) -> None:
        horizons = sorted({member.prediction_length for member in members})
        if len(horizons) != 1:
            raise ValueError(f"members must be predictors of one prediction_length, got {horizons}")
        _check_weights(weights, len(members))
        check_levels(quantile_levels)
        super().__init__(prediction_length=horizons[0])
        self.members, self.quantile_levels = list(members), sorted(quantile_levels)
        self.weights = [float(weight) for weight in weights]

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[QuantileForecast]:
        """One forecast for each entry, in order; ``num_samples`` has no meaning here, as no paths are drawn.

        Raises:
            ValueError: as the members do, and for a forecast that is not finite.
        """
        copies = tee(map(_with_arrays, dataset), len(self.members))
        keys = ["mean", *map(str, self.quantile_levels)]
        members = [_without_gradients(iter(m.predict(c))) for m, c in zip(self.members, copies, strict=True)]
        for several in zip(*members, strict=True):
            parts = np.array([self._arrays(*pair) for pair in zip(self.members, several, strict=True)])
            # Networks forecast in the precision of the target, others in float64.
            dtype = min((one.mean.dtype for one in several), key=lambda kind: kind.itemsize)
            arrays, first = np.tensordot(self.weights, parts, 1).astype(dtype), several[0]
            yield QuantileForecast(arrays, first.start_date, keys, first.item_id, first.info)

    def _arrays(self, member: Predictor, forecast: Forecast) -> np.ndarray:
        """Mean and quantiles ``[1 + Q, H]``, float64."""
        levels = self.quantile_levels
        return _finite(member, forecast, [forecast.mean, *(forecast.quantile(level) for level in levels)])

    def serialize(self, path: Path) -> None:
        """Write to an existing folder, each member to a folder of its own."""
        super().serialize(path)
        (path / "members.json").write_text(json.dumps({"weights": self.weights, "levels": self.quantile_levels}))
        for number, member in enumerate(self.members):
            folder = path / str(number)
            folder.mkdir(exist_ok=True)
            member.serialize(folder)

    @classmethod
    def deserialize(cls, path: Path) -> "CombinedPredictor":
        """Read what :meth:`serialize` wrote. Members are read by GluonTS, as what their files say they are."""
        check_folder(path)
        written = json.loads((path / "members.json").read_text())
        members = [Predictor.deserialize(path / str(number)) for number in range(len(written["weights"]))]
        return cls(members, written["weights"], written["levels"])


def _trained(members: Sequence[Any], *data: Dataset | None, **kwargs: Any) -> list[Predictor]:
    return [member.train(*data, **kwargs) if isinstance(member, Estimator) else member for member in members]


def _without_gradients(forecasts: Iterator[Forecast]) -> Iterator[Forecast]:
    """The same; GluonTS turns gradients off until all are taken, and back on in the order in which members end."""
    while True:
        with torch.no_grad():
            forecast = next(forecasts, None)
        if forecast is None:
            return
        yield forecast


def _check_weights(weights: Sequence[float], count: int) -> None:
    if len(weights) != count or not (min(weights) >= 0 and abs(sum(weights) - 1) < 1e-6):
        raise ValueError(f"weights must be {count} numbers, none negative, that add up to one, got {list(weights)}")


def _with_arrays(entry: dict[str, Any]) -> dict[str, Any]:
    """What estimators take as lists, as GluonTS can split it."""
    arrays = {name: np.atleast_2d(entry[name]) for name in DYNAMIC if entry.get(name) is not None}
    if FieldName.TARGET in entry:
        arrays[FieldName.TARGET] = np.asarray(entry[FieldName.TARGET])
    return {**entry, **arrays}


def _observed(target: np.ndarray) -> bool:
    return bool((~np.isnan(target.astype(np.float64))).any())


def _quantile_loss(predictor: Predictor, windows: TestData) -> float:
    """Sum over all series, deciles and steps with a value."""
    levels = np.array(DECILES)[:, None]
    total = 0.0
    for forecast, label in zip(predictor.predict(windows.input), windows.label, strict=True):
        quantiles = _finite(predictor, forecast, [forecast.quantile(level) for level in DECILES])
        error = np.asarray(label["target"], dtype=np.float64) - quantiles
        total += float(np.nansum(np.maximum(levels * error, (levels - 1) * error)))
    return total


def _finite(predictor: Predictor, forecast: Forecast, arrays: list[np.ndarray]) -> np.ndarray:
    values = np.array(arrays, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"series {forecast.item_id!r}: the forecast of {type(predictor).__name__} is not finite; fill the gaps of "
            "the series, or leave that member out"
        )
    return values
