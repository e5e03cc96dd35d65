"""A store of synthetic series that look, to a network, like further series of a data set."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from s5forecast.data.entries import Series
from s5forecast.data.synthetic import synthetic_series
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.regular import SeriesStore

COUNT = 500
# Steps of all series at which half of the windows are synthetic, where series hold this many horizons or fewer.
HALF = 20_000
USUAL = 40
# Epochs of a training, and those for fewer steps of all series, beside synthetic windows, or for more experience.
EPOCHS, MANY_EPOCHS, FEW, MUCH = 20, 60, 10_000, 10_000_000


def experience(lengths: Tensor, prediction_length: int) -> float:
    """How much there is to learn from: n m, of n steps in series that hold m times as many horizons as usual.

    m, on average over the series, is at least 1: what returns again and again is learnt from one long series sooner
    than from as many steps of short ones.

    Arguments:
        lengths: steps of each series.
        prediction_length: steps of the horizon.
    """
    steps = lengths.double().sum().item()
    return steps * max(1.0, steps / len(lengths) / prediction_length / USUAL)


def default_prior_share(lengths: Tensor, prediction_length: int) -> float:
    """Nearly all of the windows for a handful of values, few for a long record: ``1 / (1 + n m / n_half)``."""
    return 1 / (1 + experience(lengths, prediction_length) / HALF)


def default_epochs(lengths: Tensor, prediction_length: int, share: float) -> int:
    """How long to train: longer for few steps if a ``share`` of the windows is synthetic, and for long records."""
    few = int(lengths.sum()) < FEW and share > 0
    return MANY_EPOCHS if few or experience(lengths, prediction_length) > MUCH else EPOCHS


def prior_store(store: WindowStore, rng: np.random.Generator) -> SeriesStore:
    """Synthetic series with the seasons, the time and the sizes of those of the ``store``, their features unknown."""
    spec = store.spec
    window = spec.context_length + spec.prediction_length
    enough = 4 * window + 2 * max(spec.lags, default=0)
    length = min(max(3 * window, int(store.length.max())), enough)
    models = [store.series[i] for i in rng.integers(len(store), size=COUNT)]
    values = synthetic_series(COUNT, length, spec.frequency.seasons, rng)
    return SeriesStore([_like(model, row, store) for model, row in zip(models, values, strict=True)], spec)


def _like(model: Series, values: np.ndarray, store: WindowStore) -> Series:
    """Mean and spread of the ``model``, and its time from the first step on."""
    steps = len(values) + store.spec.prediction_length
    target = model.target.astype(np.float64)
    values = (values - values.mean()) / max(float(values.std()), 1e-6)
    values = np.nanmean(target) + (np.nanstd(target) or 1.0) * values
    return model._replace(
        item_id=None,
        info=None,
        time=model.time[0] + store.spec.frequency.multiple * np.arange(steps),
        target=values,
        covariates=np.full((steps, model.covariates.shape[1]), np.nan, dtype=np.float32),
        static_real=np.full_like(model.static_real, np.nan),
        static_cat=np.full_like(model.static_cat, -1),
    )
