"""Paths of many series, drawn side by side one step at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.distributions import QuantileOutput, is_real
from s5forecast.distributions.sampling import draw
from s5forecast.networks.prediction import Prediction, SamplePaths
from s5forecast.nn import OutputHead
from s5forecast.seeding import seeded
from s5forecast.windows.regular import Batch

# Paths advanced at once: enough that what it takes to start an operation counts little; over a far horizon fewer, as
# several copies of their values are held.
ROWS, VALUES = 32_768, 2**23
# Paths to tell the rank of each at a step.
ENOUGH = 100


class Place(NamedTuple):
    """Where the values of each row lie, float64 ``[R]``, see :class:`~s5forecast.windows.regular.Batch`."""

    loc: Tensor
    scale: Tensor
    level: Tensor


# The place and the series of R paths to their values, float64 [H, R].
Walk = Callable[[Place, Tensor], Tensor]


def draw_paths(
    walk: Walk,
    batch: Batch,
    past: Tensor,
    num_samples: int,
    *,
    steps: int,
    seed: int | None,
    counts: Tensor,
    marginals: Prediction | None = None,
) -> SamplePaths:
    """``num_samples`` paths of each series of a batch, drawn by a seed that the ``past`` values change.

    Arguments:
        walk: draws one path of each of some series.
        steps: of the horizon.
        counts: whether series may be counts; the paths of those that are, by ``batch.counts``, are rounded.
        marginals: the forecast from which the paths take their values at each step, in the order they have there.

    Raises:
        ValueError: for less than one path.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    number = num_samples if marginals is None else max(num_samples, ENOUGH)
    place = Place(*(x.squeeze(-1) for x in (batch.loc, batch.scale, batch.level)))
    rows = min(ROWS, VALUES // steps)
    chunks = torch.arange(len(past), device=past.device).split(max(1, rows // number))
    content = zlib.crc32(past.cpu().numpy().tobytes())
    with seeded(None if seed is None else seed + content):
        drawn = [_drawn(walk, place, chunk, number, rows, marginals)[:, :num_samples] for chunk in chunks]
    values = np.concatenate(drawn)
    whole = (counts & batch.counts).cpu().numpy()[..., None]
    return SamplePaths(np.where(whole, values.round().clip(min=0) + 0.0, values))


def _drawn(
    walk: Walk, place: Place, series: Tensor, number: int, rows: int, marginals: Prediction | None
) -> np.ndarray:
    """``number`` paths of each of some ``series``, ``[C, number, H]``, of which ``rows`` at once."""
    each = series.repeat_interleave(number).split(max(1, rows))
    paths = torch.cat([walk(Place(*(x.index_select(0, part) for x in place)), part).T for part in each])
    values = paths.unflatten(0, (len(series), number)).cpu().numpy()
    if marginals is None:
        return values
    return reordered(marginals[int(series[0]) : int(series[-1]) + 1].ascending(number), values)


def reordered(ascending: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Values ``[B, H, S]`` in the order that ``paths [B, S, H]`` have at each step, equal ones in any order.

    What hangs together over the steps is kept, and each step has the distribution of the values.

    References:
        "Uncertainty Quantification in Complex Simulation Models Using Ensemble Copula Coupling"
        (Schefzik, Thorarinsdottir, Gneiting, 2013)
    """
    paths = paths.swapaxes(1, 2)
    # Sorted from a random order, as equal values keep some of the order they are in.
    shuffled = torch.rand(paths.shape).numpy().argsort(axis=-1)
    ranked = np.take_along_axis(paths, shuffled, axis=-1).argsort(axis=-1)
    values = np.empty_like(ascending)
    np.put_along_axis(values, np.take_along_axis(shuffled, ranked, axis=-1), ascending, axis=-1)
    return values.swapaxes(1, 2)


def draw_values(
    output: Any, head: OutputHead, projected: Tensor, offset: Tensor, place: Place
) -> tuple[Tensor, Tensor]:
    """A value of each of R rows, normalised and as it is, from ``projected [K, R]`` and the ``offset [R]``."""
    loc, scale, level = place
    if isinstance(output, QuantileOutput):
        drawn = offset + output.sample(projected.T)
        return drawn, loc + scale * drawn
    if is_real(output):
        drawn = offset + draw(output, head.arguments(projected.T))
        return drawn, loc + scale * drawn
    share = ((loc + scale * offset) / level).to(offset.dtype)
    value = draw(output, head.arguments(projected.T, share), level.to(offset.dtype))
    return (value - loc) / scale, value
