"""Forecasts of a batch of series, as distributions or as sample paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import Forecast, Quantile, QuantileForecast, SampleForecast
from torch import Tensor
from torch.distributions import Distribution

from s5forecast.distributions import LOSSES, QuantileOutput, check_loss, is_real
from s5forecast.levels import DECILES
from s5forecast.nn import OutputHead
from s5forecast.windows.horizon import Horizon, at_queries

_ANY_PERIOD = pd.Period("1970-01-01", "D")


class Place(NamedTuple):
    """Location and scale of windows, float64: ``values = loc + scale * normalized values``."""

    loc: Tensor
    scale: Tensor
    level: Tensor  # mean absolute value, which scales outputs with bounded support

    def share(self, offset: Tensor, dtype: torch.dtype) -> Tensor:
        """Values at a normalized ``offset``, divided by the level."""
        return ((self.loc + self.scale * offset) / self.level).to(dtype)


@dataclass(frozen=True)
class Prediction:
    """Arguments of an output for B series and H steps, and the location and scale of its values.

    The forecast value is ``loc + scale * (offset + z)``, with z from the output. An output with bounded support has
    neither ``loc`` nor ``offset``, and applies the scale itself. Irregular series have a third dimension, ``[B, Q, D]``
    for Q query times and D variables.
    """

    output: Any  # an Output
    args: tuple[Tensor, ...]  # each [B, H] or [B, H, Q]
    loc: Tensor | None  # [B, 1] float64
    scale: Tensor  # [B, 1] float64
    offset: Tensor | None  # [B, H]
    counts: Tensor  # [B, 1] bool, whether the values are non-negative integers
    limits: Tensor | None = None  # [B, 2] float64, of the means and quantiles of a quantile output
    _quantile: dict[float, np.ndarray] = field(default_factory=dict, repr=False)  # level -> [B, H]

    @classmethod
    def at(
        cls, output: Any, head: OutputHead, projected: Tensor, offset: Tensor, place: Place, counts: Tensor
    ) -> Prediction:
        """Distributions of the output around an offset.

        Args:
            output: output of the network.
            head: maps projected features to the arguments of the output.
            projected: projected features, ``[B, H, K]``.
            offset: normalized forecast that the output corrects, ``[B, H]``.
            place: location and scale of the windows, ``[B, 1]``.
            counts: whether the values are non-negative integers, ``[B, 1]``.
        """
        if is_real(output):
            return cls(output, head.arguments(projected), place.loc, place.scale, offset, counts)
        args = head.arguments(projected, place.share(offset, projected.dtype))
        return cls(output, args, None, place.level, None, counts)

    def loss(
        self, values: Tensor, target: Tensor, loss: str | None = None, levels: Sequence[float] = DECILES
    ) -> Tensor:
        """Loss ``[B, H]`` of each value.

        Args:
            values: normalized values ``[B, H]``, used for an output on the whole real line.
            target: values in the units of the data ``[B, H]``, used for an output with bounded support.
            loss: a key of ``LOSSES``; by default the loss of the output.
            levels: levels of the quantile loss.
        """
        evaluate = LOSSES[check_loss(loss, self.output)]
        if self.offset is None:
            return evaluate(self.output, target, self.args, self.scale.to(target.dtype).expand_as(target), levels)
        return evaluate(self.output, values - self.offset, self.args, None, levels)

    def mean(self) -> np.ndarray:
        """Mean of the values, ``[B, H]``."""
        if isinstance(self.output, QuantileOutput):
            weights = self.output.mean_weights().to(self.args[0].device)
            mean = self._limited(_numpy(self._quantiles() @ weights))
            return np.where(_numpy(self.counts), mean.clip(min=0), mean)
        return _numpy(self.distribution().mean)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """Quantiles of the values, ``[B, H, Q]``, in the order of the levels."""
        if isinstance(self.output, QuantileOutput):
            quantiles = _numpy(self._quantiles())
            if list(levels) != self.output.quantiles:
                quantiles = _interpolated(self.output.quantiles, quantiles, levels)
            quantiles = self._limited(quantiles)
            # A quantile of counts is a count.
            return np.where(_numpy(self.counts)[..., None], quantiles.round().clip(min=0), quantiles)
        return np.stack([self.quantile(level) for level in levels], axis=-1)

    def ascending(self, count: int) -> np.ndarray:
        """``count`` increasing values of each step, ``[B, H, S]``: equally spaced quantiles, or sorted samples."""
        if isinstance(self.output, QuantileOutput):
            return self.quantiles(((np.arange(count) + 0.5) / count).tolist())
        return np.sort(np.moveaxis(_numpy(self.distribution().sample(torch.Size([count]))), 0, -1))

    def quantile(self, level: float) -> np.ndarray:
        """Quantile of a distribution, ``[B, H]``, computed once for each level."""
        if level not in self._quantile:
            point = torch.tensor([level], dtype=torch.float64, device=self.scale.device)
            self._quantile[level] = _numpy(self.distribution().icdf(point))
        return self._quantile[level]

    def distribution(self) -> Distribution:
        """Distribution of the values, of batch shape ``[B, H]``."""
        args = tuple(arg.double() for arg in self.args)
        if self.offset is None:
            return self.output.distribution(args, scale=self.scale.expand_as(args[0]))
        return self.output.distribution(args, loc=self._location(), scale=self.scale.expand_as(self.offset))

    def __getitem__(self, index: int | slice | Tensor) -> Prediction:
        """The forecast of one series, without the batch dimension, or of several."""
        return replace(
            self,
            args=tuple(arg[index] for arg in self.args),
            loc=None if self.loc is None else self.loc[index],
            scale=self.scale[index],
            offset=None if self.offset is None else self.offset[index],
            counts=self.counts[index],
            limits=None if self.limits is None else self.limits[index],
            _quantile={},
        )

    def forecasts(self, horizons: Sequence[Horizon]) -> Iterator[Forecast]:
        """One GluonTS forecast for each series.

        Args:
            horizons: horizon of each of the B series.
        """
        if horizons[0].times is not None:
            yield from (ContinuousForecast(self[row : row + 1], one) for row, one in enumerate(horizons))
        elif isinstance(self.output, QuantileOutput):
            yield from self._quantile_forecasts(horizons)
        else:
            yield from (RowForecast(self, row, one) for row, one in enumerate(horizons))

    def _quantile_forecasts(self, horizons: Sequence[Horizon]) -> Iterator[QuantileForecast]:
        levels = self.output.quantiles
        arrays = np.concatenate([self.mean()[..., None], self.quantiles(levels)], axis=-1).swapaxes(1, 2)
        for array, one in zip(arrays, horizons, strict=True):
            yield QuantileForecast(
                forecast_arrays=array.astype(one.dtype),
                start_date=one.start,
                forecast_keys=["mean", *map(str, levels)],
                item_id=one.item_id,
                info=one.info,
            )

    def _limited(self, values: np.ndarray) -> np.ndarray:
        if self.limits is None:
            return values
        low, high = _numpy(self.limits).reshape(-1, 2, *[1] * (values.ndim - 1)).swapaxes(0, 1)
        return values.clip(low, high)

    def _location(self) -> Tensor:
        if self.loc is None or self.offset is None:
            raise TypeError(f"{type(self.output).__name__} has no location, because its support is bounded")
        return self.loc + self.scale * self.offset

    def _quantiles(self) -> Tensor:
        return self._location().unsqueeze(-1) + self.scale.unsqueeze(-1) * self.args[0].double()


class RowForecast(Forecast):
    """Distributions of one regular series of a batch.

    Quantiles are computed and cached for the whole batch at once.

    Args:
        batch: forecast of all series.
        row: position of this series in the batch.
        horizon: horizon of this series.
    """

    def __init__(self, batch: Prediction, row: int, horizon: Horizon) -> None:
        self.distribution = batch[row].distribution()
        self.shape = self.distribution.batch_shape + self.distribution.event_shape
        self.prediction_length = self.shape[0]
        self.start_date, self.item_id, self.info = horizon.start, horizon.item_id, horizon.info
        self._batch, self._row, self._dtype = batch, row, horizon.dtype

    @property
    def mean(self) -> np.ndarray:
        """Mean of each step, ``[H]``."""
        return _numpy(self.distribution.mean)

    @property
    def mean_ts(self) -> pd.Series:
        """The mean as a pandas Series."""
        return pd.Series(self.mean, index=self.index)

    def quantile(self, level: float | str) -> np.ndarray:
        """Quantile of each step, ``[H]``."""
        return self._batch.quantile(Quantile.parse(level).value)[self._row].astype(self._dtype)

    def to_sample_forecast(self, num_samples: int = 200) -> SampleForecast:
        """Independent samples of each step."""
        samples = _numpy(self.distribution.sample(torch.Size([num_samples])))
        return SampleForecast(samples, start_date=self.start_date, item_id=self.item_id, info=self.info)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle this series alone, without the rest of its batch."""
        row = slice(self._row, self._row + 1)
        return {**self.__dict__, "_batch": self._batch[row], "_row": 0}


class ContinuousForecast(Forecast):
    """Distributions of one irregular series at its Q query times, which are the ``index``.

    Args:
        prediction: forecast of this series, a batch of size 1.
        horizon: horizon of this series.
    """

    def __init__(self, prediction: Prediction, horizon: Horizon) -> None:
        self.item_id, self.info = horizon.item_id, horizon.info
        self.prediction_length = len(horizon.times)
        self.univariate = horizon.univariate
        self._prediction, self._times = prediction, horizon.times
        self.start_date = _first_period(horizon)

    @property
    def index(self) -> pd.Index:
        """The query times, in their order."""
        return pd.Index(self._times)

    @property
    def mean(self) -> np.ndarray:
        """Mean at each query time, ``[Q]``, for several variables ``[Q, D]``."""
        return self._shaped(self._prediction.mean())

    def quantile(self, q: float | str) -> np.ndarray:
        """Quantile at each query time, ``[Q]``, for several variables ``[Q, D]``."""
        return self._shaped(self._prediction.quantiles([Quantile.parse(q).value])[..., 0])

    def dim(self) -> int:
        """Number of variables."""
        return self._prediction.scale.shape[-1]

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        values = values[0, : self.prediction_length]
        return values[:, 0] if self.univariate else values

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without the cached quantiles."""
        return {**self.__dict__, "_prediction": self._prediction[:]}


def _first_period(horizon: Horizon) -> pd.Period | None:
    """The first query time as a Period with the frequency of the entry's ``start``, by default of seconds."""
    first = pd.Index(horizon.times).min()
    if not isinstance(first, pd.Timestamp):
        return horizon.start
    freq = "s" if horizon.start is None else horizon.start.freqstr
    return pd.Period(first.tz_localize(None), freq)


def _interpolated(known_levels: Sequence[float], known: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles between and beyond the known ones, as GluonTS interpolates them, ``[B, H, Q]``."""
    flat = QuantileForecast(known.reshape(-1, len(known_levels)).T, _ANY_PERIOD, list(map(str, known_levels)))
    columns = np.stack([flat.quantile(level) for level in levels], axis=-1)
    return columns.reshape(*known.shape[:-1], len(levels))


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


@dataclass(frozen=True)
class SamplePaths:
    """Sample paths of B series over H steps, or of D series jointly; mean and quantiles are those of the sample."""

    samples: np.ndarray  # [B, S, H] or [B, S, H, D] float64

    def mean(self) -> np.ndarray:
        """Mean of the paths, ``[B, H]`` or ``[B, H, D]``."""
        return self.samples.mean(axis=1)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """The order statistics that GluonTS's ``SampleForecast`` uses, ``[B, H, Q]`` or ``[B, H, D, Q]``."""
        last = self.samples.shape[1] - 1
        ranks = [round(last * level) for level in levels]
        return np.moveaxis(self._sorted[:, ranks], 1, -1)

    def forecasts(self, horizons: Sequence[Horizon]) -> Iterator[SampleForecast]:
        """One GluonTS forecast for each series.

        Args:
            horizons: horizon of each of the B series.
        """
        for samples, one in zip(self.samples, horizons, strict=True):
            yield SampleForecast(samples.astype(one.dtype), start_date=one.start, item_id=one.item_id, info=one.info)

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.samples, axis=1)


Predictions: TypeAlias = Iterator[tuple[Prediction | SamplePaths, Sequence[Horizon]]]


def collect_quantiles(predictions: Predictions, levels: Sequence[float], spec: Any) -> tuple[np.ndarray, np.ndarray]:
    """Concatenated means and quantiles of all batches, for ``predict_quantiles`` of predictors and streams."""
    shape = (0, *spec.forecast_shape)
    means, quantiles = [np.empty(shape)], [np.empty((*shape, len(levels)))]
    for found, horizons in predictions:
        means.append(at_queries(found.mean(), horizons))
        quantiles.append(at_queries(found.quantiles(levels), horizons))
    return np.concatenate(means), np.concatenate(quantiles)
