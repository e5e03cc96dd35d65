"""Weighted averages of different forecasters, with weights from the end of the training data."""

import json
import logging
import math
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
from s5forecast.data.content import as_sequence, take
from s5forecast.data.frame_entries import FrameEntries
from s5forecast.data.frequency import quiet_periods
from s5forecast.data.missing_known import collecting, in_step, reported_once
from s5forecast.estimators.arguments import check_positive
from s5forecast.estimators.continued import ContinuedTraining, members_of
from s5forecast.estimators.defaults import (
    COMBINED_LEVELS,
    HISTORIES_PER_WINDOW,
    REASONS,
    WEIGHING_WINDOWS,
    Choice,
    Choices,
    merge_choices,
)
from s5forecast.estimators.plan import TrainingPlan, planned
from s5forecast.estimators.predictor import load_predictor
from s5forecast.levels import DECILES, check_levels

# Smallest loss, as a share of the largest.
SMALLEST_LOSS = 1e-9
DYNAMIC = (
    FieldName.FEAT_DYNAMIC_REAL, FieldName.FEAT_DYNAMIC_CAT, FieldName.PAST_FEAT_DYNAMIC_REAL,
    FieldName.PAST_FEAT_DYNAMIC_CAT,
)  # fmt: skip
logger = logging.getLogger(__name__)


class CombinedEstimator(ContinuedTraining, Estimator):
    r"""Trains different forecasters and averages their quantiles, with weights from the training data.

    .. math:: w_m = \frac{L_m^{-2}}{\sum_j L_j^{-2}}

    with :math:`L_m` the quantile loss of member m at the deciles over the last horizons of the training data, after
    training on the values before them. It is a sum over all series without scaling, so that large values count most.
    Networks and statistical models make different errors, particularly on short records. The weights follow the
    inverse squared errors of "The combination of forecasts" (Bates, Granger, 1969).

    Args:
        prediction_length: steps to forecast, H.
        members: estimators, and predictors that need no training, such as ``evaluation.BASELINES["auto_ets"](12)``. A
            predictor that was trained on the data gets too large a weight, because it has seen the last horizons.
        windows: number of last horizons that the weights are computed from; fewer if no series is three times as long.
            Shorter series are not used. If no series is long enough, the weights are equal.
        quantile_levels: levels of the forecasts; 0.05, the deciles and 0.95 by default.
        weights: weights of the members, summing to one. If given, members are trained once and not compared.

    Raises:
        ValueError: for less than two members, members of another kind, different horizons, no windows, invalid levels
            or weights.
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
        self.quantile_levels = check_levels(COMBINED_LEVELS if quantile_levels is None else quantile_levels)
        if weights is not None:
            _check_weights(weights, len(members))
        self.prediction_length, self.members = prediction_length, members
        self.windows, self.weights = windows, weights
        self._check_horizons([member for member in members if isinstance(member, Predictor)])

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: Predictor | None = None,
        **kwargs: Any,
    ) -> "CombinedPredictor":
        """Train the members on all data.

        Without given weights, copies of the members are also trained on all but the last horizons, to choose the
        weights.

        Args:
            training_data, validation_data: as for the members.
            from_predictor: a combination from whose members the members start; its weights are kept unless others are
                given.
            kwargs: further arguments of the members that are estimators.

        Raises:
            ValueError: as the members; for a member whose forecasts are not finite; for a predictor to start from with
                other members.
        """
        data = entries_with_arrays(training_data)
        if not len(data):
            raise ValueError("the dataset is empty; give at least one series")
        starts: Sequence[Any] = [None] * len(self.members)
        if from_predictor is not None:
            starts = members_of(from_predictor, CombinedPredictor, len(self.members))
        # Copied before training, so that callbacks of the members are not used twice.
        copies = [] if self.weights or from_predictor else list(map(_without_validation, deepcopy(self.members)))
        validation_data = None if validation_data is None else as_sequence(validation_data)
        with planned([1.0] * len(self.trainings(data))) as plan:
            trained = _trained(self.members, starts, data, validation_data, **kwargs)
            self._check_horizons(trained)
            choices = Choices()
            choices["weights"] = self._given_weights(from_predictor) or self._weights(copies, data, plan)
        logger.info("combining %s with %s", ", ".join(type(member).__name__ for member in trained), choices)
        predictor = CombinedPredictor(trained, choices["weights"].value, self.quantile_levels)
        predictor.own_choices = choices.plain()
        return predictor

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order: the members, then their copies."""
        data = entries_with_arrays(training_data)
        found = [one for member in self.members if hasattr(member, "trainings") for one in member.trainings(data)]
        compared = self.weights is None and len(self.compared_series(data)[1]) > 0
        return found * 2 if compared else found

    def _check_horizons(self, predictors: Sequence[Predictor]) -> None:
        for predictor in predictors:
            if predictor.prediction_length != self.prediction_length:
                raise ValueError(
                    f"{type(predictor).__name__} forecasts {predictor.prediction_length} steps; give all members "
                    f"prediction_length={self.prediction_length}"
                )

    def _given_weights(self, from_predictor: Any) -> Choice | None:
        if self.weights is not None:
            return Choice(self.weights)
        return None if from_predictor is None else Choice(from_predictor.weights, REASONS["from_predictor"], False)

    def _weights(self, members: list[Any], data: Sequence[dict[str, Any]], plan: TrainingPlan) -> Choice:
        losses = self._losses(members, data, plan)
        if not losses.any():
            reason = "equal, because no series is long enough to compare the members, or all are perfect"
            return Choice([1 / len(members)] * len(members), reason, given=False)
        share = (losses / losses.max()).clip(min=SMALLEST_LOSS) ** -2.0
        reason = "by the inverse squared losses on the last horizons of the training data"
        return Choice((share / share.sum()).tolist(), reason, given=False)

    def _losses(self, members: list[Any], data: Sequence[dict[str, Any]], plan: TrainingPlan) -> np.ndarray:
        windows, long = self.compared_series(data)
        if not len(long):
            return np.zeros(len(members))
        steps = windows * self.prediction_length
        with quiet_periods():
            before, template = split(long, offset=-steps)
            last = template.generate_instances(self.prediction_length, windows=windows)
            trained = _trained(members, [None] * len(members), before)
            plan.bar.note("comparing members")
            return np.array([quantile_loss(predictor, last) for predictor in trained])

    def compared_series(self, data: Sequence[dict[str, Any]]) -> tuple[int, Sequence[dict[str, Any]]]:
        """Number of last horizons that the members are compared on, and the series that are long enough."""
        windows = max(map(self._windows, data))
        if windows == 0:
            return 0, []
        before = slice(None, -windows * self.prediction_length)
        long = [self._windows(entry) == windows and _observed(entry["target"][..., before]) for entry in data]
        return windows, take(data, np.flatnonzero(long).tolist()) if any(long) else []

    def _windows(self, entry: dict[str, Any]) -> int:
        return min(self.windows, np.shape(entry["target"])[-1] // (HISTORIES_PER_WINDOW * self.prediction_length))


class CombinedPredictor(Predictor):
    r"""Means and quantiles that are weighted averages of those of M predictors, :math:`\sum_m w_m q_{m, \tau}`.

    Quantiles of members that forecast samples are those of the samples. Averages of whole numbers need not be whole.

    Args:
        members: predictors of the same horizon.
        weights: weights of the members, summing to one.
        quantile_levels: levels of the forecasts.

    Attributes:
        own_choices: record of the choices of the combination itself.

    Raises:
        ValueError: without members, for different horizons, invalid weights or levels.
    """

    def __init__(
        self, members: Sequence[Predictor], weights: Sequence[float], quantile_levels: Sequence[float] = COMBINED_LEVELS
    ) -> None:
        horizons = sorted({member.prediction_length for member in members})
        if len(horizons) != 1:
            raise ValueError(f"members must be predictors of one prediction_length, got {horizons}")
        _check_weights(weights, len(members))
        super().__init__(prediction_length=horizons[0])
        self.members, self.quantile_levels = list(members), sorted(check_levels(quantile_levels))
        self.weights = [float(weight) for weight in weights]
        self.own_choices: dict[str, Any] = {}

    def __eq__(self, other: object) -> bool:
        """Whether the other predictor has the same class, weights, levels and members."""
        return type(self) is type(other) and self._contents() == other._contents()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.members!r}, weights={self.weights}, levels={self.quantile_levels})"

    def _contents(self) -> list[Any]:
        return [self.weights, self.quantile_levels, self.members]

    @property
    def output(self) -> Any:
        """Output of the first member with a network; ``None`` without one."""
        return next((member.output for member in self.members if hasattr(member, "output")), None)

    @property
    def choices(self) -> dict[str, Any]:
        """Record of the choices of the members and of the combination.

        Names are those of :func:`~s5forecast.estimators.defaults.merge_choices`.
        """
        return {**merge_choices([getattr(member, "choices", {}) for member in self.members]), **self.own_choices}

    def rescaled(self, step_scale: float) -> "CombinedPredictor":
        """Raise ValueError: statistical models and different networks have no common sampling rate."""
        raise ValueError(
            "step_scale requires a single network, or an ensemble of networks of one kind; use preset='default'"
        )

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[QuantileForecast]:
        """One forecast for each entry, in order; ``num_samples`` is ignored, because no paths are drawn.

        Raises:
            ValueError: as the members; for a forecast that is not finite.
        """
        copies = tee(map(with_arrays, dataset), len(self.members))
        keys = ["mean", *map(str, self.quantile_levels)]
        members = [_without_gradients(iter(m.predict(c))) for m, c in zip(self.members, copies, strict=True)]
        for several in in_step(members):
            first = several[0]
            yield QuantileForecast(self._combined(several), first.start_date, keys, first.item_id, first.info)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]`` of all S entries, at any levels.

        Raises:
            ValueError: as :meth:`predict`.
        """
        entries = entries_with_arrays(dataset)
        with reported_once():
            found = [_member_quantiles(member, entries, levels) for member in self.members]
        return self._averaged(*zip(*found, strict=True))

    def _combined(self, forecasts: Sequence[Forecast]) -> np.ndarray:
        """Mean and quantiles of one series, ``[1 + Q, H]``, from the forecasts of the members."""
        pairs = zip(self.members, forecasts, strict=True)
        parts = np.array([_arrays(*pair, self.quantile_levels) for pair in pairs])
        # Networks forecast in the precision of the target, others in float64.
        dtype = min((one.mean.dtype for one in forecasts), key=lambda kind: kind.itemsize)
        return np.tensordot(self.weights, parts, 1).astype(dtype)

    def _averaged(self, means: Sequence[np.ndarray], quantiles: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]`` from those of the members."""
        return np.tensordot(self.weights, np.stack(means), 1), np.tensordot(self.weights, np.stack(quantiles), 1)

    def serialize(self, path: Path) -> None:
        """Write to an existing folder, each member to a folder of its own."""
        super().serialize(path)
        (path / "members.json").write_text(json.dumps(self._described()))
        (path / "choices.json").write_text(json.dumps(self.own_choices))
        for number, member in enumerate(self.members):
            folder = path / str(number)
            folder.mkdir(exist_ok=True)
            member.serialize(folder)

    def _described(self) -> Any:
        """What is saved beside the members."""
        return {"weights": self.weights, "levels": self.quantile_levels}

    @classmethod
    def deserialize(cls, path: Path, device: str | None = None) -> "CombinedPredictor":
        """Read what :meth:`serialize` wrote; ``device`` is that of members with a network."""
        check_folder(path)
        stored = json.loads((path / "members.json").read_text())
        predictor = cls(load_members(path, len(stored["weights"]), device), stored["weights"], stored["levels"])
        predictor.own_choices = load_choices(path)
        return predictor


def load_members(path: Path, count: int, device: str | None) -> list[Predictor]:
    """The members saved in numbered folders."""
    return [load_predictor(path / str(number), device) for number in range(count)]


def load_choices(path: Path) -> dict[str, Any]:
    """The choices saved in a folder; none if an earlier version wrote it."""
    return json.loads((path / "choices.json").read_text()) if (path / "choices.json").exists() else {}


def _member_quantiles(
    member: Predictor, entries: Sequence[dict[str, Any]], levels: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Finite means ``[S, H]`` and quantiles ``[S, H, Q]``, float64."""
    if not hasattr(member, "predict_quantiles"):
        stacked = np.stack([_arrays(member, one, levels) for one in member.predict(entries)])
        return stacked[:, 0], np.moveaxis(stacked[:, 1:], 1, -1)
    mean, quantiles = member.predict_quantiles(entries, levels)
    if np.isfinite(mean).all() and np.isfinite(quantiles).all():
        return mean, quantiles
    # Irregular series have a row for each time to forecast.
    owners = [entry.get("item_id") for entry in entries for _ in entry.get("query_time", [0])]
    for item_id, *arrays in zip(owners, mean, quantiles, strict=True):
        for values in arrays:
            _finite(member, item_id, values)
    return mean, quantiles


def _trained(members: Sequence[Any], starts: Sequence[Any], *data: Dataset | None, **kwargs: Any) -> list[Predictor]:
    """The predictors of the members; ``starts`` are the predictors that they start from, if any."""
    return [
        member.train(*data, **kwargs, **({} if start is None else {"from_predictor": start}))
        if isinstance(member, Estimator)
        else member
        for member, start in zip(members, starts, strict=True)
    ]


def _without_validation(member: Any) -> Any:
    """The member without callbacks that monitor validation data, in place."""
    network = member
    while hasattr(network, "estimator"):
        network = network.estimator
    arguments = getattr(network, "__init_args__", {}).get("trainer_kwargs")
    for kwargs in (getattr(network, "trainer_kwargs", None), arguments):
        if kwargs and kwargs.get("callbacks"):
            given = kwargs["callbacks"] if isinstance(kwargs["callbacks"], list | tuple) else [kwargs["callbacks"]]
            kwargs["callbacks"] = [one for one in given if getattr(one, "monitor", None) != "val_loss"]
    return member


def _without_gradients(forecasts: Iterator[Forecast]) -> Iterator[Forecast]:
    """The same forecasts; gradients, which GluonTS turns off between them, are left as they are."""
    while True:
        with torch.no_grad():
            forecast = next(forecasts, None)
        if forecast is None:
            return
        yield forecast


def _check_weights(weights: Sequence[float], count: int) -> None:
    if len(weights) != count or not (min(weights) >= 0 and abs(sum(weights) - 1) < 1e-6):
        raise ValueError(f"weights must be {count} numbers, none negative, that add up to one, got {list(weights)}")


def with_arrays(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with arrays in place of lists, which GluonTS cannot split."""
    arrays = {name: np.atleast_2d(entry[name]) for name in DYNAMIC if entry.get(name) is not None}
    if FieldName.TARGET in entry:
        arrays[FieldName.TARGET] = np.asarray(entry[FieldName.TARGET])
    return {**entry, **arrays}


def entries_with_arrays(dataset: Dataset) -> Sequence[dict[str, Any]]:
    """The entries of a dataset with arrays in place of lists; those of a frame have arrays and are not created."""
    return dataset if isinstance(dataset, FrameEntries) else list(map(with_arrays, dataset))


def _observed(target: np.ndarray) -> bool:
    return bool((~np.isnan(target.astype(np.float64))).any())


def quantile_loss(predictor: Predictor, windows: TestData) -> float:
    """Quantile loss at the deciles, summed over all series and all steps with a value."""
    levels = np.array(DECILES)[:, None]
    losses = []
    with collecting([]):  # missing values of the training are not reported as those to forecast
        for forecast, label in zip(predictor.predict(windows.input), windows.label, strict=True):
            quantiles = _finite(predictor, forecast.item_id, [forecast.quantile(level) for level in DECILES])
            error = np.asarray(label["target"], dtype=np.float64) - quantiles
            losses.append(float(np.nansum(np.maximum(levels * error, (levels - 1) * error))))
    return math.fsum(losses)  # which does not depend on their order


def _arrays(predictor: Predictor, forecast: Forecast, levels: Sequence[float]) -> np.ndarray:
    """Finite mean and quantiles of one series, ``[1 + Q, H]`` float64."""
    return _finite(predictor, forecast.item_id, [forecast.mean, *(forecast.quantile(level) for level in levels)])


def _finite(predictor: Predictor, item_id: Any, arrays: Any) -> np.ndarray:
    """The arrays of one series in float64; raises ValueError if a value is not finite."""
    values = np.array(arrays, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"series {item_id!r}: the forecast of {type(predictor).__name__} is not finite; fill the gaps of the "
            "series, or remove that member"
        )
    return values
