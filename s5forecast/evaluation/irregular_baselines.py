"""Forecasts of irregular series to judge others by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd


class ConstantBaseline:
    """The distribution of all values of the training, of each variable on its own, at every time."""

    def train(self, data: Iterable[dict[str, Any]]) -> ConstantBaseline:
        """Take the values of entries with ``target``, ``[n]`` or ``[D, n]``."""
        self.values = np.concatenate([np.atleast_2d(entry["target"]) for entry in data], axis=1)
        return self

    def predict_quantiles(
        self, entries: Sequence[dict[str, Any]], levels: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[M, D]`` and quantiles ``[M, D, Q]`` at all times asked for, those of the first entry first."""
        rows = sum(len(entry["query_time"]) for entry in entries)
        mean, quantiles = np.nanmean(self.values, axis=1), np.nanquantile(self.values, levels, axis=1).T
        return np.tile(mean, (rows, 1)), np.tile(quantiles, (rows, 1, 1))


class LastValueBaseline:
    """The last value of each variable, without a spread; the mean of the training where there is none."""

    def train(self, data: Iterable[dict[str, Any]]) -> LastValueBaseline:
        """As of :class:`ConstantBaseline`."""
        values = np.concatenate([np.atleast_2d(entry["target"]) for entry in data], axis=1)
        self.mean = np.nanmean(values, axis=1)
        return self

    def predict_quantiles(
        self, entries: Sequence[dict[str, Any]], levels: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of :class:`ConstantBaseline`."""
        last = np.stack([self._last(np.atleast_2d(entry["target"])) for entry in entries])
        means = np.repeat(last, [len(entry["query_time"]) for entry in entries], axis=0)
        return means, np.repeat(means[..., None], len(levels), axis=-1)

    def _last(self, target: np.ndarray) -> np.ndarray:
        known = pd.DataFrame(target.T).ffill().to_numpy()[-1]
        return np.where(np.isnan(known), self.mean, known)


IRREGULAR_BASELINES: dict[str, type[ConstantBaseline | LastValueBaseline]] = {
    "constant": ConstantBaseline,
    "last_value": LastValueBaseline,
}
