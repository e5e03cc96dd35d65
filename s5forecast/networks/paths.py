"""Sample paths of many series, drawn in parallel one step at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5forecast.distributions import QuantileOutput, is_real
from s5forecast.distributions.sampling import draw
from s5forecast.networks.prediction import Place, Prediction, SamplePaths
from s5forecast.nn import OutputHead
from s5forecast.seeding import seeded

# Maximum number of paths advanced at once, which is large enough to hide the overhead of launching operations, and
# maximum number of their values over the horizon, of which memory holds several copies.
ROWS, VALUES = 32_768, 2**23
# Minimum number of paths from which the ranks at a step are computed.
MIN_RANKED = 100

# Maps place and series of R paths to their values, float64 [H, R].
DrawPath = Callable[[Place, Tensor], Tensor]


def draw_paths(
    sample: Callable[[Tensor, int], np.ndarray],
    past: Tensor,
    num_samples: int,
    *,
    seed: int | None,
    counts: Tensor,
    features: Sequence[Tensor] = (),
) -> SamplePaths:
    """Sample paths, drawn with a seed that depends on the past values, but not on the order of the windows.

    Args:
        sample: draws the given number of paths of the windows at the given positions ``[B]``, ``[B, S, H]`` or
            ``[B, S, H, D]``.
        past: values before the horizon, ``[B, ...]``.
        num_samples: paths of each series, S.
        seed: seed of the network; ``None`` draws from torch's global state.
        counts: whether the values are non-negative integers, to which paths are then rounded; its shape broadcasts
            with the paths.
        features: further inputs ``[B, ...]``, by which windows with equal past values are ordered.

    Raises:
        ValueError: for ``num_samples`` below 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}")
    rows = [[row.tobytes() for row in x.cpu().numpy()] for x in (past, *features)]
    contents = sorted((*content, row) for row, content in enumerate(zip(*rows, strict=True)))
    order = [row for *_, row in contents]
    content = zlib.crc32(b"".join(values for values, *_ in contents))
    with seeded(None if seed is None else seed + content):
        drawn = sample(torch.tensor(order, device=past.device), num_samples)
    values = np.empty_like(drawn)
    values[order] = drawn
    return SamplePaths(np.where(counts.cpu().numpy(), values.round().clip(min=0) + 0.0, values))


def walk_paths(
    draw_path: DrawPath,
    place: Place,
    steps: int,
    series: Tensor,
    num_samples: int,
    *,
    marginals: Prediction | None = None,
) -> np.ndarray:
    """``num_samples`` paths of each of some series, ``[B, S, H]``.

    Args:
        draw_path: draws one path for each of some series.
        place: location and scale of all series, ``[B, 1]``.
        steps: steps of the horizon, H.
        series: positions of the series in their order, ``[B]``.
        num_samples: paths of each series, S.
        marginals: forecast that replaces the values at each step, in the rank order of the drawn paths.
    """
    number = num_samples if marginals is None else max(num_samples, MIN_RANKED)
    flat = Place(*(x.squeeze(-1) for x in place))
    rows = max(1, min(ROWS, VALUES // steps))
    chunks = series.split(max(1, rows // number))
    return np.concatenate(
        [_sample_chunk(draw_path, flat, chunk, number, rows, marginals)[:, :num_samples] for chunk in chunks]
    )


def _sample_chunk(
    draw_path: DrawPath, place: Place, series: Tensor, number: int, rows: int, marginals: Prediction | None
) -> np.ndarray:
    """``number`` paths of each of C ``series``, ``[C, number, H]``, advancing ``rows`` of them at once."""
    parts = series.repeat_interleave(number).split(rows)
    paths = torch.cat([draw_path(Place(*(x.index_select(0, part) for x in place)), part).T for part in parts])
    values = paths.unflatten(0, (len(series), number)).cpu().numpy()
    if marginals is None:
        return values
    return reorder_by_rank(marginals[series].ascending(number), values)


def reorder_by_rank(ascending: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Ensemble copula coupling: values of one forecast in the rank order of the paths of another.

    The result has the distribution of the values at each step and the dependence of the paths over the steps. Equal
    values of the paths are ranked at random.

    Args:
        ascending: ``[B, H, S]``, increasing along S.
        paths: ``[B, S, H]``.

    Returns:
        ``[B, S, H]``.

    References:
        "Uncertainty Quantification in Complex Simulation Models Using Ensemble Copula Coupling"
        (Schefzik, Thorarinsdottir, Gneiting, 2013)
    """
    paths = paths.swapaxes(1, 2)
    # Sorting partly keeps the order of equal values, so this order is made random first.
    shuffled = torch.rand(paths.shape).numpy().argsort(axis=-1)
    ranked = np.take_along_axis(paths, shuffled, axis=-1).argsort(axis=-1)
    values = np.empty_like(ascending)
    np.put_along_axis(values, np.take_along_axis(shuffled, ranked, axis=-1), ascending, axis=-1)
    return values.swapaxes(1, 2)


def draw_values(
    output: Any, head: OutputHead, projected: Tensor, offset: Tensor, place: Place
) -> tuple[Tensor, Tensor]:
    """Draw one value for each of R rows; returns it normalized and in the units of the data, ``[R]`` each.

    Args:
        output: output of the network.
        head: maps projected features to the arguments of the output.
        projected: projected features, ``[K, R]``.
        offset: normalized forecast that the output corrects, ``[R]``.
        place: location and scale of the rows, ``[R]``.
    """
    if isinstance(output, QuantileOutput):
        drawn = offset + output.sample(projected.T)
        return drawn, place.loc + place.scale * drawn
    if is_real(output):
        drawn = offset + draw(output, head.arguments(projected.T))
        return drawn, place.loc + place.scale * drawn
    args = head.arguments(projected.T, place.share(offset, offset.dtype))
    value = draw(output, args, place.level.to(offset.dtype))
    return (value - place.loc) / place.scale, value
