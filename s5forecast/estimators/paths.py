"""Sample paths of a batch of forecasts, joint over the horizon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from gluonts.model.forecast import SampleForecast

from s5forecast.data.series import Series


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
