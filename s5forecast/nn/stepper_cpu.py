"""One step of a stack of residual blocks on the CPU, as one Numba kernel.

The paths are processed in tiles of `TILE` paths, stored as `[features, TILE]`. Intermediate results of a tile stay in
the cache, and an operation on a feature runs over a whole row, even if there are few features. All arrays have two
dimensions, so that one compiled product serves all of them.
"""

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from s5forecast.ops.cpu.launch import array, as_rows
from s5forecast.ops.cpu.pool import in_parallel, threads_for
from s5forecast.ops.cpu.products import add_product, clear
from s5forecast.ops.cpu.rows import GROUPS, INNER, Array, kernel, row

TILE = 64  # paths
COST = 4  # work per number of a path, relative to a state of a scan
GELU, FULL_GLU, HALF_GLU1, HALF_GLU2 = range(4)
ACTIVATION_CODES = {"gelu": GELU, "full_glu": FULL_GLU, "half_glu1": HALF_GLU1, "half_glu2": HALF_GLU2}

DOMAIN = 3 * GROUPS
REAL, IMAG, SOURCE, TARGET, MEAN, FACTOR, VALUE, GATE = range(DOMAIN, DOMAIN + 8)
INLINED: Any = {**INNER, "forceinline": True}

# Minimax approximations of odd functions by `x P(x^2) / Q(x^2)` up to a limit, with errors of 6e-8 and 2e-10.
NORMAL = (
    (5.84064817e-06, 3.14264344e-04, 5.51873793e-03, 4.95935585e-02, 0.398941917),
    (5.01901786e-07, 1.12741207e-04, 2.70375251e-03, 3.73398854e-02, 0.290973382),
)
LOGISTIC = (
    (5.16224115e-11, 1.25661062e-07, 6.30433887e-05, 8.62867352e-03, 0.249999999),
    (7.62236297e-13, 6.49628574e-09, 6.64874272e-06, 1.73950982e-03, 0.117848025),
)
(NORMAL_P, NORMAL_Q), (LOGISTIC_P, LOGISTIC_Q) = (
    tuple(tuple(map(np.float32, terms)) for terms in ratio) for ratio in (NORMAL, LOGISTIC)
)
NORMAL_LIMIT, LOGISTIC_LIMIT, HALF, ONE = (np.float32(x) for x in (5.2, 17, 0.5, 1))


@numba.njit(**INLINED)
def ratio(x: Any, limit: Any, P: Any, Q: Any) -> Any:
    """`x P(x^2) / Q(x^2)` for `x` clamped to the limit."""
    x = -limit if x < -limit else x
    x = limit if x > limit else x  # in this order NaN propagates
    p4, p3, p2, p1, p0 = P
    q5, q4, q3, q2, q1 = Q
    t = x * x
    over = (((p4 * t + p3) * t + p2) * t + p1) * t + p0
    under = ((((q5 * t + q4) * t + q3) * t + q2) * t + q1) * t + ONE
    return x * over / under


@numba.njit(**INLINED)
def gelu(x: Any) -> Any:
    return x * (HALF + ratio(x, NORMAL_LIMIT, NORMAL_P, NORMAL_Q))


@numba.njit(**INLINED)
def sigmoid(x: Any) -> Any:
    return HALF + ratio(x, LOGISTIC_LIMIT, LOGISTIC_P, LOGISTIC_Q)


@numba.njit(**INNER)
def normalize(source: Array, target: Array, norm: Array, moments: Array, eps: float) -> None:
    """Layer norm over the features `[H, TILE]`; weight and bias in `norm [2, H]`, scratch in `moments [2, TILE]`."""
    width = source.shape[0]
    clear(moments)
    mean, factor = row(moments, MEAN, 0), row(moments, FACTOR, TILE)
    for k in range(width):
        x = row(source, SOURCE, k * TILE)
        for r in range(TILE):
            mean[r] += x[r]
    for r in range(TILE):
        mean[r] /= np.float32(width)
    for k in range(width):
        x = row(source, SOURCE, k * TILE)
        for r in range(TILE):
            factor[r] += (x[r] - mean[r]) * (x[r] - mean[r])
    for r in range(TILE):
        factor[r] = ONE / np.sqrt(factor[r] / np.float32(width) + np.float32(eps))
    for k in range(width):
        x, y = row(source, SOURCE, k * TILE), row(target, TARGET, k * TILE)
        weight, bias = norm[0, k], norm[1, k]
        for r in range(TILE):
            y[r] = (x[r] - mean[r]) * factor[r] * weight + bias


@numba.njit(**INNER)
def repeat(bias: Array, target: Array) -> None:
    """Set each column of `target [G, TILE]` to `bias [1, G]`."""
    for k in range(target.shape[0]):
        y, value = row(target, TARGET, k * TILE), bias[0, k]
        for r in range(TILE):
            y[r] = value


@numba.njit(**INNER)
def rotate(x: Array, Lambda_bar: Array) -> None:
    """`x = Lambda_bar x`, complex, for the states `[2N, TILE]`."""
    states = Lambda_bar.shape[1]
    for n in range(states):
        a_re, a_im = Lambda_bar[0, n], Lambda_bar[1, n]
        x_re, x_im = row(x, REAL, n * TILE), row(x, IMAG, (states + n) * TILE)
        for r in range(TILE):
            re = a_re * x_re[r] - a_im * x_im[r]
            x_re[r], x_im[r] = re, a_re * x_im[r] + a_im * x_re[r]


@numba.njit(**INNER)
def begin(u: Array, source: Array, v: Array, A: Array, h: Array, top: int, size: int) -> None:
    """`h[:, r] = u[source[top + r]] + A v[:, top + r]` for `size` paths, `[H, TILE]`."""
    width, paths = h.shape[0], source.shape[0]
    clear(h)  # the unused columns as well, where NaN or denormal numbers would be slow
    for r in range(size):
        given, target = row(u, SOURCE, source[top + r] * width), row(h, TARGET, r)
        for k in range(width):
            target[k * TILE] = given[k]
    for k in range(width):
        target = row(h, TARGET, k * TILE)
        for m in range(v.shape[0]):
            given, factor = row(v, SOURCE, m * paths + top), A[k, m]
            for r in range(size):
                target[r] += factor * given[r]


@numba.njit(**INNER)
def add_activated(h: Array, z: Array, g: Array, gates: Array, W: Array, b: Array, activation: int) -> None:
    """`h += activation(z)`; `g` and `gates` are scratch."""
    numbers = z.size
    value = row(z, VALUE, 0)
    if activation == GELU:
        target = row(h, TARGET, 0)
        for i in range(numbers):
            target[i] += gelu(value[i])
        return
    target = row(g, TARGET, 0)
    for i in range(numbers):
        target[i] = gelu(value[i])
    target = row(h, TARGET, 0)
    repeat(b, gates)
    add_product(gates, W, g, W.shape[1], 1)
    gate = row(gates, GATE, gates.size - numbers)
    if activation == HALF_GLU1:
        value = row(g, VALUE, 0)
    elif activation == FULL_GLU:
        value = row(gates, VALUE, 0)
    for i in range(numbers):
        target[i] += value[i] * sigmoid(gate[i])


@kernel
def step_tiles(
    u: Array,
    source: Array,
    v: Array,
    A: Array,
    y: Array,
    state: Array,
    Lambda_bar: Array,
    B: Array,
    C: Array,
    D: Array,
    norms: Array,
    W: Array,
    b: Array,
    E: Array,
    e: Array,
    scratch: Array,
    scratch_gates: Array,
    scratch_y: Array,
    eps: float,
    activation: int,
    first: int,
    last: int,
) -> None:
    """One step of L blocks, the last norm and the output map, for the tiles `first ... last - 1`.

    Args:
        u, source: `[S, H]` and `[R]`: the input of path `r` is `u[source[r]] + A v[:, r]`.
        v, A: `[M, R]` and `[H, M]`.
        y: `[K, R]`, the outputs.
        state: the states of all tiles, `[tiles L 2N, TILE]`; overwritten.
        Lambda_bar: `[2L, N]`.
        B: `[L 2N, H]`.
        C: `[L H, 2N]`.
        D: `[L, H]`.
        norms: weight and bias of the norm of each block and of the last norm, `[2L + 2, H]`.
        W, b: weights and biases of the activations, `[L G, H]` and `[L, G]`; empty for activations without weights.
        E, e: the output map `y = E h + e`, `[K, H]` and `[1, K]`.
        scratch, scratch_gates, scratch_y: `[3H + 2, TILE]`, `[G, TILE]` and `[K, TILE]`.
        eps: epsilon of the norms.
        activation: a value of `ACTIVATION_CODES`.
        first, last: range of the tiles.
    """
    paths, width, layers = source.shape[0], u.shape[1], D.shape[0]
    planes, linear, outputs = 2 * Lambda_bar.shape[1], b.shape[1], E.shape[0]
    h, z, g = scratch[:width], scratch[width : 2 * width], scratch[2 * width : 3 * width]
    moments = scratch[3 * width :]
    for tile in range(first, last):
        top = tile * TILE
        size = min(TILE, paths - top)
        begin(u, source, v, A, h, top, size)
        for layer in range(layers):
            at = (tile * layers + layer) * planes
            x = state[at : at + planes]
            normalize(h, z, norms[2 * layer : 2 * layer + 2], moments, eps)
            rotate(x, Lambda_bar[2 * layer : 2 * layer + 2])
            add_product(x, B[layer * planes : (layer + 1) * planes], z, width, 1)
            for k in range(width):
                value, d = row(z, VALUE, k * TILE), D[layer, k]
                for r in range(TILE):
                    value[r] *= d
            add_product(z, C[layer * width : (layer + 1) * width], x, planes, 1)
            weight, bias = W[layer * linear : (layer + 1) * linear], b[layer : layer + 1]
            add_activated(h, z, g, scratch_gates, weight, bias, activation)
        normalize(h, z, norms[2 * layers :], moments, eps)
        repeat(e, scratch_y)
        add_product(scratch_y, E, z, width, 1)
        for k in range(outputs):
            target, value = row(y, TARGET, k * paths + top), row(scratch_y, VALUE, k * TILE)
            for r in range(size):
                target[r] = value[r]


class Weights(NamedTuple):
    """Parameters of :func:`step_tiles`, all contiguous."""

    Lambda_bar: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    norms: Tensor
    W: Tensor
    b: Tensor
    E: Tensor
    e: Tensor


def tiled(state: Tensor) -> Tensor:
    """Arrange the states `[L, R, 2N]` of R paths in tiles `[tiles, L, 2N, TILE]`, zero beyond the last path."""
    padded = F.pad(state, (0, 0, 0, -state.shape[1] % TILE))
    return padded.unflatten(1, (-1, TILE)).permute(1, 0, 3, 2).contiguous()


def step(
    u: Tensor, source: Tensor, v: Tensor, A: Tensor, state: Tensor, weights: Weights, eps: float, activation: str
) -> Tensor:
    """Advance all paths by one step and return `y [K, R]`; see :func:`step_tiles`.

    Args:
        state: the states from :func:`tiled`; overwritten.
        activation: a key of `ACTIVATION_CODES`.
        u, source, v, A, weights, eps: as in :func:`step_tiles`.
    """
    paths, width, tiles = len(source), u.shape[1], len(state)
    y = u.new_empty(len(weights.E), paths)
    arrays = [*map(array, (u, source, v, A)), y.numpy(), as_rows(state.numpy(), 3)]
    arrays += [weight.numpy() for weight in weights]

    def run(first: int, last: int) -> None:
        scratch = [u.new_empty(features, TILE).numpy() for features in (3 * width + 2, weights.b.shape[1], len(y))]
        step_tiles(*arrays, *scratch, eps, ACTIVATION_CODES[activation], first, last)

    shares = min(tiles, threads_for(paths * width * state.shape[1] * COST))
    in_parallel([partial(run, *bounds) for bounds in pairwise(tiles * i // shares for i in range(shares + 1))])
    return y
