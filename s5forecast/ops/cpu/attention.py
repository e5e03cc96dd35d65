"""Attention weights of a tile of queries, and their adjoint.

A tile is `TILE` queries. Its products with the keys are matrices `[K, TILE]` with one row for each key, so that loops
over queries vectorize.
"""

import math

import numba
import numpy as np

from s5forecast.ops.attention import LAPLACE_MEAN, LAPLACE_STD, SOFTMAX
from s5forecast.ops.cpu.activations import exp
from s5forecast.ops.cpu.rows import GROUPS, INNER, Array, row

TILE = 32  # two rows of blocks of a product in float32
ROOT, DENSITY = LAPLACE_STD * math.sqrt(2), 1 / (LAPLACE_STD * math.sqrt(2 * math.pi))
LAPLACE = 1
SCORE, WEIGHT, BIAS, TOP, TOTAL, DWEIGHT, DBIAS = range(3 * GROUPS, 3 * GROUPS + 7)


@numba.njit(**INNER)
def weigh(
    scores: Array, weights: Array, bias: Array, top: Array, total: Array, first: int, keys: int, kind: int,
    causal: bool,
) -> None:  # fmt: skip
    """Add the bias to the scores of some keys, and write their weights, which are 0 if they are not visible.

    The tile begins at the position `first` of the chunk. `bias` begins with that of a key `bias.size // 2` steps after
    the query.
    """
    zero, number = scores.dtype.type(0), scores.dtype.type
    highest, sums = row(top, TOP, 0), row(total, TOTAL, 0)
    for r in range(TILE):
        highest[r], sums[r] = -np.inf, zero
    for key in range(keys):
        score, b = row(scores, SCORE, key * TILE), row(bias, BIAS, bias.size // 2 - key + first)
        visible = key - first if causal else 0
        for r in range(TILE):
            value = score[r] + b[r]
            score[r] = value
            highest[r] = value if (r >= visible) & (value > highest[r]) else highest[r]
    for key in range(keys):
        score, weight = row(scores, SCORE, key * TILE), row(weights, WEIGHT, key * TILE)
        visible = key - first if causal else 0
        if kind == SOFTMAX:
            for r in range(TILE):
                value = exp(score[r] - highest[r])
                value = value if r >= visible else zero
                weight[r] = value
                sums[r] += value
        elif kind == LAPLACE:
            for r in range(TILE):
                value = number(0.5 * (1 + math.erf((score[r] - LAPLACE_MEAN) / ROOT)))
                weight[r] = value if r >= visible else zero
        else:
            for r in range(TILE):
                value = zero if score[r] < zero else score[r]
                weight[r] = value * value if r >= visible else zero
    if kind == SOFTMAX:
        for key in range(keys):
            weight = row(weights, WEIGHT, key * TILE)
            for r in range(TILE):
                weight[r] /= sums[r]


@numba.njit(**INNER)
def weigh_backward(
    scores: Array, weights: Array, dweights: Array, dbias: Array, total: Array, first: int, keys: int,
    kind: int, causal: bool,
) -> None:  # fmt: skip
    """The adjoint of `weigh`: overwrite the gradients with respect to the weights by those of the scores."""
    zero, two, number = scores.dtype.type(0), scores.dtype.type(2), scores.dtype.type
    sums = row(total, TOTAL, 0)
    for r in range(TILE):
        sums[r] = zero
    if kind == SOFTMAX:
        for key in range(keys):
            weight, d = row(weights, WEIGHT, key * TILE), row(dweights, DWEIGHT, key * TILE)
            for r in range(TILE):
                sums[r] += weight[r] * d[r]
    for key in range(keys):
        score, weight = row(scores, SCORE, key * TILE), row(weights, WEIGHT, key * TILE)
        d, db = row(dweights, DWEIGHT, key * TILE), row(dbias, DBIAS, dbias.size // 2 - key + first)
        visible = key - first if causal else 0
        if kind == SOFTMAX:
            for r in range(TILE):
                d[r] = weight[r] * (d[r] - sums[r])
        elif kind == LAPLACE:
            for r in range(TILE):
                x = (score[r] - LAPLACE_MEAN) / ROOT
                slope = number(DENSITY * math.exp(-x * x))
                d[r] = slope * d[r] if r >= visible else zero
        else:
            for r in range(TILE):
                slope = zero if score[r] < zero else two * score[r]
                d[r] = slope * d[r] if r >= visible else zero
        for r in range(TILE):
            db[r] += d[r]
