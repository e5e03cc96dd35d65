"""Forecasts by the pretrained network, without training on the series."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import RepresentablePredictor
from torch import Tensor

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.data.offset_aliases import DAY
from s5forecast.data.seasons import find_season
from s5forecast.estimators.arguments import check_positive
from s5forecast.levels import DECILES, check_levels
from s5forecast.networks.pretrained import FEWEST_OBSERVED, LEVELS, PATCH, PretrainedNetwork
from s5forecast.networks.pretrained_weights import load_weights
from s5forecast.notices import warn_user

CONTEXT = 1056
AUTO = "auto"
# Longest season in steps: two of them must fit into the context.
LONGEST_SEASON = CONTEXT // 2
# Steps that the network forecasts at once; the farthest that it is trained on.
FARTHEST = 192
SEASONS = {"D": (7.0, 365.25), "B": (5.0, 261.0), "W": (52.0, 0.0), "M": (12.0, 0.0), "Q": (4.0, 0.0), "Y": (0.0, 0.0)}


class PretrainedPredictor(RepresentablePredictor):
    """Forecasts series of any frequency by a network that was pretrained on synthetic series.

    The forecast is the mean of those of the series and of the negated series. Horizons above 192 steps are forecast as
    interleaved series of a coarser step. Series without negative values have no negative quantiles.

    Args:
        freq: pandas offset alias, such as ``"h"``, from which the seasons follow.
        prediction_length: steps to forecast, H.
        season: steps of the season, 0 for none; ``"auto"`` finds one in each series, see
            :func:`~s5forecast.data.seasons.find_season`; the seasons of the frequency by default.
        weights: file written by ``python -m s5forecast.pretraining``.
        quantile_levels: levels of the forecasts, interpolated between those of the network; the deciles by default.
        batch_size: series per batch.

    Raises:
        ValueError: for an unknown frequency, an invalid season or level; when forecasting, for a series without values.
    """

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        weights: str,
        season: int | str | None = None,
        quantile_levels: list[float] | None = None,
        batch_size: int = 256,
    ) -> None:
        super().__init__(prediction_length=prediction_length)
        check_positive(prediction_length=prediction_length, batch_size=batch_size)
        self.quantile_levels = check_levels(DECILES if quantile_levels is None else quantile_levels)
        self.freq, self.weights, self.batch_size = freq, weights, batch_size
        if not (season is None or season == AUTO or (isinstance(season, int) and season >= 0)):
            raise ValueError(f"season must be None, '{AUTO}' or a number of steps, got {season!r}")
        self.season, self.frequency = season, Frequency.parse(freq)
        self.network = load_weights(Path(weights))

    def predict(self, dataset: Dataset, **kwargs: Any) -> Iterator[QuantileForecast]:
        """Forecasts of the entries, in their order; arguments of other predictors are ignored."""
        entries = iter(dataset)
        while batch := list(islice(entries, self.batch_size)):
            targets = [np.asarray(entry["target"], dtype=np.float64) for entry in batch]
            for entry, target in zip(batch, targets, strict=True):
                if np.isnan(target).all():
                    raise ValueError(f"series {entry.get('item_id')!r} has no observed value; remove it")
            _warn_few_values(batch, targets)
            values = self.quantiles(targets)
            for entry, target, value in zip(batch, targets, values, strict=True):
                with quiet_periods():
                    start = entry["start"] + len(target)
                yield QuantileForecast(
                    forecast_arrays=value.T,
                    forecast_keys=[str(level) for level in self.quantile_levels],
                    start_date=start,
                    item_id=entry.get("item_id"),
                )

    def quantiles(self, targets: list[np.ndarray]) -> np.ndarray:
        """Quantiles after series ``[T_i]`` of different lengths, ``[B, H, Q]`` float64."""
        outages = [_outage(target) for target in targets]
        shown = [target[: len(target) - outage] for target, outage in zip(targets, outages, strict=True)]
        kinds = np.array([(*self._seasons(one), outage) for one, outage in zip(shown, outages, strict=True)])
        quantiles = np.empty((len(targets), self.prediction_length, len(LEVELS)))
        for kind in np.unique(kinds, axis=0):
            same = np.flatnonzero((kinds == kind).all(axis=1))
            outage = int(kind[2])
            steps = outage + self.prediction_length
            quantiles[same] = zero_shot(self.network, [shown[i] for i in same], tuple(kind[:2]), steps)[:, outage:]
        return _interpolate(quantiles, self.quantile_levels)

    def _seasons(self, target: np.ndarray) -> tuple[float, float]:
        if self.season is None:
            return seasons_of(self.frequency)
        return _seasons(find_season(target[-CONTEXT:]) if self.season == AUTO else float(self.season), 0.0)


def _outage(target: np.ndarray) -> int:
    """Steps after the last observed value, if hardly any value is observed in the context; the network skips them."""
    seen = ~np.isnan(target)
    return 0 if seen[-CONTEXT:].sum() >= FEWEST_OBSERVED else int(seen[::-1].argmax())


def _warn_few_values(batch: list[dict[str, Any]], targets: list[np.ndarray]) -> None:
    """Warn of series with so few values that the network cannot know their spread."""
    pairs = enumerate(zip(batch, targets, strict=True))
    few = [entry.get("item_id", i) for i, (entry, target) in pairs if (~np.isnan(target)).sum() < FEWEST_OBSERVED]
    if few:
        warn_user(
            f"{len(few)} series, the first of them {few[0]!r}, have fewer than {FEWEST_OBSERVED} observed values; "
            "their spread is not known to a network that was not trained on similar series, so do not rely on the "
            "intervals; S5Estimator takes the typical spread of its training data"
        )


def seasons_of(frequency: Frequency) -> tuple[float, float]:
    """Short and long season in steps, 0 for none."""
    if frequency.unit not in SEASONS:
        day = DAY / frequency.seconds
        short = day if day <= LONGEST_SEASON else day / 24
        if short > LONGEST_SEASON:
            short /= 60
        long = 7 * day if 7 * day <= CONTEXT else 0.0
        return _seasons(short, long)
    short, long = SEASONS[frequency.unit]
    if frequency.unit == "D" and frequency.multiple % 7 == 0:
        return _seasons(SEASONS["W"][0] * 7 / frequency.multiple, 0.0)
    short, long = (season / frequency.multiple for season in (short, long))
    return _seasons(short, long)


def _seasons(short: float, long: float) -> tuple[float, float]:
    """The seasons of two steps or more; a short one must be a whole number."""
    if short < 2 or short != round(short):
        short, long = (long if long >= 2 else 0.0), 0.0
    return float(short), float(long if long >= 2 else 0.0)


def zero_shot(
    network: PretrainedNetwork, targets: list[np.ndarray], seasons: tuple[float, float], steps: int
) -> np.ndarray:
    """Quantiles of the network ``[B, steps, Q]`` after series ``[T_i]`` of different lengths."""
    parts = _parts(steps, seasons[0])
    each = -(-steps // parts)
    thinned = torch.tensor([_thinned(season, parts) for season in seasons], dtype=torch.float32)
    quantiles = np.empty((len(targets), each * parts, len(LEVELS)))
    for part in range(parts):
        series = [target[(len(target) + part) % parts :: parts] for target in targets]
        quantiles[:, part::parts] = _symmetric(network, _padded(series), thinned.expand(len(series), 2), each)
    return _of_one_sign(quantiles[:, :steps], targets)


def _of_one_sign(quantiles: np.ndarray, targets: list[np.ndarray]) -> np.ndarray:
    """Limit the quantiles of series without negative values, such as counts, to zero and above, and the reverse."""
    least = np.array([np.nanmin(target) for target in targets])[:, None, None]
    greatest = np.array([np.nanmax(target) for target in targets])[:, None, None]
    return np.clip(quantiles, np.where(least >= 0, 0.0, -np.inf), np.where(greatest <= 0, 0.0, np.inf))


def _parts(steps: int, season: float) -> int:
    """Number of interleaved series: the fewest, at best a divisor of the season."""
    fewest = -(-steps // FARTHEST)
    return next((parts for parts in range(fewest, 2 * fewest + 1) if season and season % parts == 0), fewest)


def _thinned(season: float, parts: int) -> float:
    """A season in steps of every ``parts``-th value; a short one that is not divisible is repeated until it is."""
    if season % parts == 0 or season > FARTHEST:
        return season / parts
    return season // gcd(int(season), parts)


def _symmetric(network: PretrainedNetwork, values: Tensor, seasons: Tensor, steps: int) -> np.ndarray:
    """Mean of the forecasts of the series and of the negated series."""
    forecast, negated = network.forecast(values, seasons, steps), network.forecast(-values, seasons, steps)
    return ((forecast - negated.flip(-1)) / 2).numpy()


def _padded(series: list[np.ndarray]) -> Tensor:
    """The last values of the series, NaN before shorter ones: ``[B, T]`` with T a multiple of the patch."""
    length = min(CONTEXT, max(len(one) for one in series))
    padded = np.full((len(series), -(-length // PATCH) * PATCH), np.nan)
    for row, one in zip(padded, series, strict=True):
        last = one[-len(row) :]
        row[len(row) - len(last) :] = last
    return torch.from_numpy(padded)


def _interpolate(quantiles: np.ndarray, levels: list[float]) -> np.ndarray:
    """Quantiles ``[..., Q]`` at other levels, linearly between those of the network; the outermost beyond them."""
    place = np.interp(levels, LEVELS, np.arange(len(LEVELS)))
    low = np.minimum(place.astype(int), len(LEVELS) - 2)
    share = place - low
    return (1 - share) * quantiles[..., low] + share * quantiles[..., low + 1]
