"""The distributions of a batch of forecasts, evaluated for all its series and steps at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import Forecast, Quantile, QuantileForecast, SampleForecast
from gluonts.torch.model.forecast import DistributionForecast
from torch import Tensor
from torch.distributions import Distribution

from s5forecast.data.entries import Series
from s5forecast.distributions import LOSSES, QuantileOutput, check_loss
from s5forecast.levels import DECILES

_ANY_PERIOD = pd.Period("1970-01-01", "D")


@dataclass(frozen=True)
class Prediction:
    """Arguments of an output for B series and H steps, and where they are to be put.

    The forecast value is ``loc + scale * (offset + z)`` with z from the output; without ``loc`` the output,
    of limited support, takes the scale itself and there is no offset.
    """

    output: Any  # an Output
    args: tuple[Tensor, ...]  # each [B, H] or [B, H, Q]
    loc: Tensor | None  # [B, 1] float64
    scale: Tensor  # [B, 1] float64
    offset: Tensor | None  # [B, H]
    counts: Tensor  # [B, 1] bool, whether the values are whole numbers, none of them negative
    _quantile: dict[float, np.ndarray] = field(default_factory=dict, repr=False)  # level -> [B, H]

    def loss(
        self, values: Tensor, target: Tensor, loss: str | None = None, levels: Sequence[float] = DECILES
    ) -> Tensor:
        """Loss ``[B, H]`` of the normalised ``values``, or of the ``target`` as it is where it cannot be shifted.

        ``loss`` is a key of ``LOSSES``, the output's own for ``None``; ``levels`` are those of the quantile loss.
        """
        evaluate = LOSSES[check_loss(loss, self.output)]
        if self.offset is None:
            return evaluate(self.output, target, self.args, self.scale.to(target.dtype).expand_as(target), levels)
        return evaluate(self.output, values - self.offset, self.args, None, levels)

    def mean(self) -> np.ndarray:
        """``[B, H]``."""
        if isinstance(self.output, QuantileOutput):
            weights = self.output.mean_weights().to(self.args[0].device)
            mean = _numpy(self._quantiles() @ weights)
            return np.where(_numpy(self.counts), mean.clip(min=0), mean)
        return _numpy(self.distribution().mean)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """``[B, H, Q]``, increasing along Q as the levels are."""
        if isinstance(self.output, QuantileOutput):
            quantiles = _numpy(self._quantiles())
            if list(levels) != self.output.quantiles:
                quantiles = _interpolated(self.output.quantiles, quantiles, levels)
            # A quantile of counts is a count.
            return np.where(_numpy(self.counts)[..., None], quantiles.round().clip(min=0), quantiles)
        return np.stack([self.quantile(level) for level in levels], axis=-1)

    def ascending(self, count: int) -> np.ndarray:
        """``count`` values of each step, ``[B, H, S]``: where quantiles are known those of equal parts, else drawn."""
        if isinstance(self.output, QuantileOutput):
            return self.quantiles(((np.arange(count) + 0.5) / count).tolist())
        return np.sort(np.moveaxis(_numpy(self.distribution().sample(torch.Size([count]))), 0, -1))

    def quantile(self, level: float) -> np.ndarray:
        """Of a distribution, ``[B, H]``, computed once for each level."""
        if level not in self._quantile:
            point = torch.tensor([level], dtype=torch.float64, device=self.scale.device)
            self._quantile[level] = _numpy(self.distribution().icdf(point))
        return self._quantile[level]

    def distribution(self) -> Distribution:
        """The distribution of the values, batch shape ``[B, H]``."""
        args = tuple(arg.double() for arg in self.args)
        if self.offset is None:
            return self.output.distribution(args, scale=self.scale.expand_as(args[0]))
        return self.output.distribution(args, loc=self._location(), scale=self.scale.expand_as(self.offset))

    def __getitem__(self, index: int | slice) -> Prediction:
        """The forecast of one series, without its batch dimension, or of several."""
        return replace(
            self,
            args=tuple(arg[index] for arg in self.args),
            loc=None if self.loc is None else self.loc[index],
            scale=self.scale[index],
            offset=None if self.offset is None else self.offset[index],
            counts=self.counts[index],
            _quantile={},
        )

    def forecasts(self, series: Sequence[Series]) -> Iterator[Forecast]:
        """One GluonTS forecast for each series, starting where its target ends."""
        if isinstance(self.output, QuantileOutput):
            yield from self._quantile_forecasts(series)
            return
        for row, one in enumerate(series):
            yield RowForecast(self, row, one)

    def _quantile_forecasts(self, series: Sequence[Series]) -> Iterator[QuantileForecast]:
        levels = self.output.quantiles
        arrays = np.concatenate([self.mean()[..., None], self.quantiles(levels)], axis=-1).swapaxes(1, 2)
        for array, one in zip(arrays, series, strict=True):
            yield QuantileForecast(
                forecast_arrays=array.astype(one.target.dtype),
                start_date=one.forecast_start,
                forecast_keys=["mean", *map(str, levels)],
                item_id=one.item_id,
                info=one.info,
            )

    def _location(self) -> Tensor:
        if self.loc is None or self.offset is None:
            raise TypeError(f"{type(self.output).__name__} has no location: its support is limited")
        return self.loc + self.scale * self.offset

    def _quantiles(self) -> Tensor:
        return self._location().unsqueeze(-1) + self.scale.unsqueeze(-1) * self.args[0].double()


class RowForecast(DistributionForecast):
    """The forecast of one series of a batch, whose quantiles are computed for the whole batch and kept."""

    def __init__(self, batch: Prediction, row: int, series: Series) -> None:
        super().__init__(
            batch[row].distribution(),
            start_date=series.forecast_start,
            item_id=series.item_id,
            info=series.info,
        )
        self._batch, self._row, self._dtype = batch, row, series.target.dtype

    def quantile(self, level: float | str) -> np.ndarray:
        """``[H]``."""
        return self._batch.quantile(Quantile.parse(level).value)[self._row].astype(self._dtype)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: this series, not the batch it came in."""
        row = slice(self._row, self._row + 1)
        return {**self.__dict__, "_batch": self._batch[row], "_row": 0}


def _interpolated(known_levels: Sequence[float], known: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Quantiles between and beyond the known ones, as GluonTS interpolates them, ``[B, H, Q]``."""
    flat = QuantileForecast(known.reshape(-1, len(known_levels)).T, _ANY_PERIOD, list(map(str, known_levels)))
    columns = np.stack([flat.quantile(level) for level in levels], axis=-1)
    return columns.reshape(*known.shape[:-1], len(levels))


def _numpy(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


@dataclass(frozen=True)
class SamplePaths:
    """Paths drawn for B series over H steps, or for D together; mean and quantiles are those of the sample."""

    samples: np.ndarray  # [B, S, H] or [B, S, H, D] float64

    def mean(self) -> np.ndarray:
        """``[B, H]`` or ``[B, H, D]``."""
        return self.samples.mean(axis=1)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """``[B, H, Q]`` or ``[B, H, D, Q]``, each the order statistic that GluonTS's ``SampleForecast`` takes."""
        last = self.samples.shape[1] - 1
        ranks = [round(last * level) for level in levels]
        return np.moveaxis(self._sorted[:, ranks], 1, -1)

    def forecasts(self, series: Sequence[Series]) -> Iterator[SampleForecast]:
        """One GluonTS forecast for each series, starting where its target ends."""
        for samples, one in zip(self.samples, series, strict=True):
            yield SampleForecast(
                samples.astype(one.target.dtype),
                start_date=one.forecast_start,
                item_id=one.item_id,
                info=one.info,
            )

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.samples, axis=1)
