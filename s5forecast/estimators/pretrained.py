"""Forecasts by the pretrained network, without training on the series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from gluonts.core.component import validated
from scipy.special import ndtri

from s5forecast.data.entries import read_series
from s5forecast.data.frequency import Frequency
from s5forecast.data.seasons import find_season
from s5forecast.data.series import Series
from s5forecast.data.spec import PretrainedSpec
from s5forecast.distributions import QuantileOutput
from s5forecast.estimators.arguments import check_positive
from s5forecast.estimators.predictor import NetworkPredictor
from s5forecast.levels import check_levels
from s5forecast.networks.prediction import Prediction, Predictions
from s5forecast.networks.pretrained import FEWEST_OBSERVED, LEVELS, PretrainedNetwork
from s5forecast.networks.pretrained_weights import SHIPPED, load_record, load_weights
from s5forecast.networks.zero_shot import (
    CONTEXT,
    bounds_of,
    count_parts,
    most_parts,
    seasons_of,
    whole_seasons,
    zero_shot,
)
from s5forecast.notices import warn_user
from s5forecast.windows.batches import WindowStore, chunks
from s5forecast.windows.horizon import Horizon

if TYPE_CHECKING:
    from typing_extensions import Self

AUTO = "auto"


class PretrainedPredictor(NetworkPredictor):
    """Forecasts series of any frequency by a network that was pretrained on synthetic series.

    The forecast is the mean of those of the series and of the negated series. Horizons above 192 steps are forecast as
    interleaved series of a coarser step. Series without negative values have no negative quantiles. Covariates are not
    used.

    Args:
        freq: pandas offset alias, such as ``"h"``, from which the seasons follow.
        prediction_length: steps to forecast, H.
        weights: a file written by ``python -m s5forecast.pretraining``, or a network; the weights that come with the
            package by default.
        season: steps of the season, 0 for none; ``"auto"`` finds one in each series, see
            :func:`~s5forecast.data.seasons.find_season`; the seasons of the frequency by default.
        quantile_levels: levels of the forecasts besides those of the network; all others are interpolated, too.
        batch_size: series per batch; 64 are faster than 256 on a CPU, whose caches they fit into.
        device: ``"cpu"``, or ``"auto"``, which is the same.
        relative_spread: typical standard deviation of similar series relative to their mean absolute value. Series
            with fewer than four observed values are forecast by a normal distribution around their mean that has it.

    Raises:
        ValueError: for an unknown frequency, an invalid season or level, another device, a negative relative spread, or
            a file that does not hold weights; when forecasting, for a series without values.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from s5forecast.estimators import PretrainedPredictor
        >>> week = np.tile([5.0, 6.0, 6.0, 7.0, 9.0, 2.0, 1.0], 20)
        >>> series = {"item_id": "a", "start": pd.Period("2024-01-01", "D"), "target": week}
        >>> (forecast,) = PretrainedPredictor("D", prediction_length=14).predict([series])
        >>> forecast.quantile(0.9).shape
        (14,)
    """

    saved_class: ClassVar[str] = "s5forecast.estimators.pretrained.PretrainedPredictor"

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        weights: Any = None,
        season: int | str | None = None,
        quantile_levels: list[float] | None = None,
        batch_size: int = 64,
        device: str = "cpu",
        relative_spread: float | None = None,
    ) -> None:
        if relative_spread is not None and not 0 <= relative_spread < inf:
            raise ValueError(f"relative_spread must be a number of at least 0, got {relative_spread!r}")
        check_positive(prediction_length=prediction_length, batch_size=batch_size)
        if not (season is None or season == AUTO or (isinstance(season, int) and season >= 0)):
            raise ValueError(f"season must be None, '{AUTO}' or a number of steps, got {season!r}")
        levels = sorted({*LEVELS, *(LEVELS if quantile_levels is None else check_levels(quantile_levels))})
        self.freq, self.season, self._output = freq, season, QuantileOutput(levels)
        self.relative_spread = relative_spread
        self.frequency = Frequency.parse(freq)
        given = isinstance(weights, PretrainedNetwork)
        network = weights if given else load_weights(Path(weights or SHIPPED))
        # The arguments that are saved and compared hold the network itself and all levels.
        self.__dict__["__init_args__"] |= {"weights": network, "quantile_levels": levels}
        NetworkPredictor.__init__(self, network, self._spec(freq, prediction_length), batch_size, device)
        self.choices = {"seasons": self._recorded_seasons()}
        if not given:
            self.choices["weights"] = _recorded_weights(Path(weights or SHIPPED))

    @property
    def output(self) -> Any:
        """Quantiles at the levels of the forecasts."""
        return self._output

    def to(self, device: str | torch.device) -> Self:
        """Accept the CPU, and ``"auto"``, which is the CPU.

        Raises:
            ValueError: for another device.
        """
        if torch.device("cpu" if device == "auto" else device).type != "cpu":
            raise ValueError(f"the pretrained network runs on the CPU, got device={str(device)!r}; use device='cpu'")
        return super().to("cpu")

    def rescaled(self, step_scale: float) -> Self:
        """This predictor for a scale of 1.

        Raises:
            ValueError: for another scale.
        """
        if step_scale == 1:
            return self
        raise ValueError(
            f"step_scale={step_scale} requires a network trained at one sampling rate; the pretrained network "
            "forecasts series of any frequency, so pass their freq= and their prediction_length= instead"
        )

    def quantiles(self, targets: list[np.ndarray], bounds: np.ndarray | None = None) -> np.ndarray:
        """Quantiles of the network after series ``[T_i]`` of different lengths, ``[B, H, Q]`` float64.

        Args:
            targets: B series, NaN where not observed.
            bounds: limits of the quantiles ``[B, 2]``; those of the series by default, see
                :func:`~s5forecast.networks.zero_shot.bounds_of`.
        """
        outages = [_outage(target) for target in targets]
        shown = [target[: len(target) - outage] for target, outage in zip(targets, outages, strict=True)]
        kinds = np.array([(*self.seasons(one), outage) for one, outage in zip(shown, outages, strict=True)])
        quantiles = np.empty((len(targets), self.prediction_length, len(LEVELS)))
        for kind in np.unique(kinds, axis=0):
            same = np.flatnonzero((kinds == kind).all(axis=1))
            outage = int(kind[2])
            steps, limits = outage + self.prediction_length, None if bounds is None else bounds[same]
            found = zero_shot(self.prediction_net, [shown[i] for i in same], tuple(kind[:2]), steps, limits)
            quantiles[same] = found[:, outage:]
        return quantiles if self.relative_spread is None else self._with_typical_spread(quantiles, targets, bounds)

    def _with_typical_spread(
        self, quantiles: np.ndarray, targets: list[np.ndarray], bounds: np.ndarray | None
    ) -> np.ndarray:
        """The quantiles, those of series with few values by the typical spread."""
        for row, target in enumerate(targets):
            if _observed(target) < FEWEST_OBSERVED:
                mean = np.nanmean(target)
                found = mean + self.relative_spread * abs(mean) * ndtri(LEVELS)
                quantiles[row] = np.clip(found, *(bounds_of(target) if bounds is None else bounds[row]))
        return quantiles

    def prediction(self, targets: list[np.ndarray], bounds: np.ndarray | None = None) -> Prediction:
        """Forecast of the horizon after B series, with arguments as for :meth:`quantiles`."""
        limits = np.array([bounds_of(target) for target in targets]) if bounds is None else bounds
        quantiles = torch.from_numpy(self.quantiles(targets, limits))
        B, H, _ = quantiles.shape
        found = Prediction(
            QuantileOutput(list(LEVELS)),
            args=(quantiles,),
            loc=torch.zeros(B, 1, dtype=torch.float64),
            scale=torch.ones(B, 1, dtype=torch.float64),
            offset=torch.zeros(B, H),
            counts=torch.zeros(B, 1, dtype=torch.bool),
            limits=torch.from_numpy(limits),
        )
        further = torch.from_numpy(found.quantiles(self.output.quantiles))
        return replace(found, output=self.output, args=(further,))

    def learn_spread(self, targets: Sequence[np.ndarray]) -> None:
        """Set the relative spread to the median of that of series ``[T_i]`` with enough values."""
        recent = [target[-CONTEXT:].astype(np.float64) for target in targets]
        known = [one for one in recent if _observed(one) >= FEWEST_OBSERVED and np.nanmean(np.abs(one))]
        if known:
            found = float(np.median([np.nanstd(target) / np.nanmean(np.abs(target)) for target in known]))
            self.relative_spread = self.__dict__["__init_args__"]["relative_spread"] = found

    def seasons(self, target: np.ndarray) -> tuple[float, float]:
        """Short and long season of a series in steps, 0 for none."""
        if self.season is None:
            return seasons_of(self.frequency)
        return whole_seasons(find_season(target[-CONTEXT:]) if self.season == AUTO else float(self.season), 0.0)

    def items_with_few_values(self, store: WindowStore) -> list[Any]:
        """Series with so few values that the network cannot know their spread."""
        return _with_few_values(store.series)

    def warn_of_few_values(self, items: Sequence[Any]) -> None:
        """Warn of series with so few values that the network cannot know their spread."""
        spread = (
            "their spread is not known to a network that was not trained on similar series, so do not rely on the "
            "intervals; preset='default' takes the typical spread of its training data"
            if self.relative_spread is None
            else "their intervals have the typical spread of the training data"
        )
        warn_user(f"{_counted(items)} fewer than {FEWEST_OBSERVED} observed values; {spread}")

    def _predictions(self, dataset: Iterable[dict[str, Any]], num_samples: int | None = None) -> Predictions:
        few = list[Any]()
        self.prediction_net.eval()
        for chunk in chunks(dataset, self.batch_size):
            series = read_series(chunk, self.spec, forecast=True)
            few += _with_few_values(series)
            targets = [one.target.astype(np.float64) for one in series]
            horizons = [Horizon(one.item_id, one.info, one.forecast_start, one.target.dtype) for one in series]
            yield self.prediction(targets), horizons
        if few:
            self.warn_of_few_values(few)

    def _spec(self, freq: str, prediction_length: int) -> PretrainedSpec:
        if self.season == AUTO:
            parts = most_parts(prediction_length)
        else:
            parts = count_parts(prediction_length, self.seasons(np.empty(0))[0])
        return PretrainedSpec(self.frequency.alias, CONTEXT * parts, prediction_length, [])

    @property
    def was_trained(self) -> bool:
        """Whether the network was trained further on some series."""
        return self.choices.get("num_steps", {}).get("value", 0) > 0

    def _recorded_seasons(self) -> dict[str, Any]:
        if self.season == AUTO:
            return _choice(AUTO, "found in each series", given=True)
        reason = "those of the frequency" if self.season is None else "given"
        return _choice(list(self.seasons(np.empty(0))), reason, given=self.season is not None)


def _choice(value: Any, reason: str, *, given: bool) -> dict[str, Any]:
    return {"value": value, "reason": reason, "given": given}


def _recorded_weights(path: Path) -> dict[str, Any]:
    record = load_record(path)
    return _choice(record, "pretrained on synthetic series", given=path != SHIPPED)


def _with_few_values(series: Sequence[Series]) -> list[Any]:
    """The ``item_id`` of each series with few values, or its position."""
    names = [position if one.item_id is None else one.item_id for position, one in enumerate(series)]
    return [name for name, one in zip(names, series, strict=True) if _observed(one.target) < FEWEST_OBSERVED]


def _observed(target: np.ndarray) -> int:
    return int((~np.isnan(target)).sum())


def _outage(target: np.ndarray) -> int:
    """Steps after the last observed value, if hardly any value is observed in the context; the network skips them."""
    return 0 if _observed(target[-CONTEXT:]) >= FEWEST_OBSERVED else int((~np.isnan(target))[::-1].argmax())


def _counted(items: Sequence[Any]) -> str:
    return f"series {items[0]!r} has" if len(items) == 1 else f"{len(items)} series, such as {items[0]!r}, have"
