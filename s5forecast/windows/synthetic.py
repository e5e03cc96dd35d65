"""Synthetic series with the seasons, time and scale of the series of a data set."""

from __future__ import annotations

import numpy as np

from s5forecast.data.series import Series
from s5forecast.data.spec import WindowSpec
from s5forecast.data.synthetic import synthetic_series
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.normalization import fewest_observed
from s5forecast.windows.regular import SeriesStore

NUM_SERIES = 500


def synthetic_store(store: WindowStore, rng: np.random.Generator) -> SeriesStore:
    """Synthetic series, each with the time and scale of a random series of the ``store``; features are missing."""
    spec = store.spec
    window = spec.context_length + spec.prediction_length
    enough = 4 * window + 2 * max(spec.lags, default=0)
    length = min(max(3 * window, int(store.length.max())), enough)
    models = [store.series[i] for i in rng.integers(len(store), size=NUM_SERIES)]
    values = synthetic_series(NUM_SERIES, length, spec.frequency.seasons, rng)
    return SeriesStore([_like(model, row, store) for model, row in zip(models, values, strict=True)], spec)


def _like(model: Series, values: np.ndarray, store: WindowStore) -> Series:
    """A series of ``values`` with the location, spread and time of the ``model``."""
    steps = len(values) + store.spec.prediction_length
    target = model.target.astype(np.float64)
    values = (values - values.mean()) / max(float(values.std()), 1e-6)
    values = np.nanmean(target) + _spread(target, store.spec) * values
    return model._replace(
        item_id=None,
        info=None,
        time=model.time[0] + store.spec.frequency.multiple * np.arange(steps),
        target=values,
        covariates=np.full((steps, model.covariates.shape[1]), np.nan, dtype=np.float32),
        static_real=np.full_like(model.static_real, np.nan),
        static_cat=np.full_like(model.static_cat, -1),
        weight=np.ones(len(values), dtype=np.float32),
    )


def _spread(target: np.ndarray, spec: WindowSpec) -> float:
    """Standard deviation; the typical one for a series with too few values."""
    level = float(np.nanmean(np.abs(target)))
    if spec.typical is not None and np.isfinite(target).sum() < fewest_observed(spec):
        return spec.typical.ratio * level or spec.typical.scale
    return float(np.nanstd(target)) or 1.0
