"""One step of a stack of residual blocks on the CPU, tile by tile: what comes between products stays in the cache.

Everything has two dimensions here, so that what is compiled once serves all products.
"""

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
from torch import Tensor

from s5forecast.ops import cpu
from s5forecast.ops.cpu_pool import in_parallel, threads_for
from s5forecast.ops.cpu_products import HEIGHT, add_product
from s5forecast.ops.cpu_rows import GROUPS, INNER, Array, kernel, planes, row

TILE = 16 * HEIGHT  # rows
COST = 4  # of a row, in states of a scan for each of its numbers
GELU, FULL_GLU, HALF_GLU1, HALF_GLU2 = range(4)
ACTIVATIONS = {"gelu": GELU, "full_glu": FULL_GLU, "half_glu1": HALF_GLU1, "half_glu2": HALF_GLU2}

DOMAIN = 3 * GROUPS
BAR, STATE, SOURCE, TARGET, WEIGHT, BIAS, VALUE, GATE = range(DOMAIN, DOMAIN + 16, 2)
INLINED: Any = {**INNER, "forceinline": True}

# Odd functions as `x P(x^2) / Q(x^2)` up to a limit: least maxima of the error, 6e-8 and 2e-10, before rounding.
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
    x = -limit if x < -limit else x
    x = limit if x > limit else x  # in this order a NaN stays
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


@numba.njit(**{**INLINED, "fastmath": {"contract", "nsz", "reassoc"}})
def moments(x: Any, width: int) -> Any:
    """Mean and variance, summed in an order that vectorises."""
    mean = x[0] * np.float32(0)
    for h in range(width):
        mean += x[h]
    mean /= np.float32(width)
    variance = x[0] * np.float32(0)
    for h in range(width):
        variance += (x[h] - mean) * (x[h] - mean)
    return mean, variance / np.float32(width)


@numba.njit(**INNER)
def normalise(source: Array, target: Array, norm: Array, eps: float) -> None:
    """The layer norm of each row, weight and bias `norm [2, H]`."""
    width = source.shape[1]
    weight, bias = row(norm, WEIGHT, 0), row(norm, BIAS, width)
    for r in range(source.shape[0]):
        x, y = row(source, SOURCE, r * width), row(target, TARGET, r * width)
        mean, variance = moments(x, width)
        factor = ONE / np.sqrt(variance + np.float32(eps))
        for k in range(width):
            y[k] = (x[k] - mean) * factor * weight[k] + bias[k]


@numba.njit(**INNER)
def repeat(bias: Array, target: Array) -> None:
    """Each row of `target` becomes `bias [1, G]`."""
    for r in range(target.shape[0]):
        x, y = row(bias, BIAS, 0), row(target, TARGET, r * target.shape[1])
        for k in range(target.shape[1]):
            y[k] = x[k]


@numba.njit(**INNER)
def rotate(x: Array, Lambda_bar: Array) -> None:
    """`x = Lambda_bar x`, complex, of each row."""
    states = Lambda_bar.shape[1]
    a_re, a_im = planes(Lambda_bar, BAR, 0, states)
    for r in range(x.shape[0]):
        x_re, x_im = planes(x, STATE, 2 * r * states, states)
        for n in range(states):
            re = a_re[n] * x_re[n] - a_im[n] * x_im[n]
            x_re[n], x_im[n] = re, a_re[n] * x_im[n] + a_im[n] * x_re[n]


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
    """One step of L blocks and of what lies around them, for the rows `first ... last - 1`; `state` is overwritten.

    Args:
        u, source: `[S, H]` and `[R]`: row `r` starts from `u[source[r]] + sum_k v[k, r] A[k]`.
        v, A: `[M, R]` and `[M, H]`.
        y: `[K, R]`.
        state: `[L R, 2N]`.
        Lambda_bar: `[2L, N]`.
        B: `[L H, 2N]`.
        C: `[2N L, H]`.
        D: `[L, H]`.
        norms: weight and bias of each block's norm and of the last one, `[2L + 2, H]`.
        W, b: what the activation multiplies by and adds, `[L H, G]` and `[L, G]`, or empty where it does not.
        E, e: `y = E^T h + e` of the last features, `[H, K]` and `[1, K]`.
        scratch, scratch_gates, scratch_y: `[3 TILE, H]`, `[TILE, G]` and `[TILE, K]`.
        eps: of the norms.
        activation: one of `ACTIVATIONS`.
    """
    rows, width, layers = source.shape[0], u.shape[1], D.shape[0]
    states, linear, outputs = Lambda_bar.shape[1], W.shape[1], E.shape[1]
    for top in range(first, last, TILE):
        bottom = min(top + TILE, last)
        size = bottom - top
        h, z, g = scratch[:size], scratch[TILE : TILE + size], scratch[2 * TILE : 2 * TILE + size]
        gates, out = scratch_gates[:size], scratch_y[:size]
        for r in range(size):
            given, target = row(u, SOURCE, source[top + r] * width), row(h, TARGET, r * width)
            for k in range(width):
                target[k] = given[k]
            for m in range(v.shape[0]):
                factor, given = v[m, top + r], row(A, SOURCE, m * width)
                for k in range(width):
                    target[k] += factor * given[k]
        for layer in range(layers):
            x = state[layer * rows + top : layer * rows + bottom]
            normalise(h, z, norms[2 * layer : 2 * layer + 2], eps)
            rotate(x, Lambda_bar[2 * layer : 2 * layer + 2])
            add_product(x, z, B[layer * width : (layer + 1) * width], width, 1)
            d = row(D, WEIGHT, layer * width)
            for r in range(size):
                value = row(z, VALUE, r * width)
                for k in range(width):
                    value[k] = d[k] * value[k]
            add_product(z, x, C[2 * layer * states : 2 * (layer + 1) * states], 2 * states, 1)
            for r in range(size):
                value, target = row(z, VALUE, r * width), row(g, TARGET, r * width)
                for k in range(width):
                    target[k] = gelu(value[k])
            if activation == GELU:
                for r in range(size):
                    value, target = row(g, VALUE, r * width), row(h, TARGET, r * width)
                    for k in range(width):
                        target[k] += value[k]
                continue
            repeat(b[layer : layer + 1], gates)
            add_product(gates, g, W[layer * width : (layer + 1) * width], width, 1)
            for r in range(size):
                value, gate = row(z, VALUE, r * width), row(gates, GATE, (r + 1) * linear - width)
                if activation == HALF_GLU1:
                    value = row(g, VALUE, r * width)
                elif activation == FULL_GLU:
                    value = row(gates, VALUE, r * linear)
                target = row(h, TARGET, r * width)
                for k in range(width):
                    target[k] += value[k] * sigmoid(gate[k])
        normalise(h, z, norms[2 * layers :], eps)
        repeat(e, out)
        add_product(out, z, E, width, 1)
        for k in range(outputs):
            for r in range(size):
                y[k, top + r] = out[r, k]


class Weights(NamedTuple):
    """What :func:`step_tiles` multiplies by and adds, all contiguous."""

    Lambda_bar: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    norms: Tensor
    W: Tensor
    b: Tensor
    E: Tensor
    e: Tensor


def step(
    u: Tensor, source: Tensor, v: Tensor, A: Tensor, state: Tensor, weights: Weights, eps: float, activation: str
) -> Tensor:
    """`y [K, R]`, as :func:`step_tiles` defines it; `state [L, R, 2, N]` is overwritten."""
    rows, width = len(source), u.shape[1]
    y = u.new_empty(weights.E.shape[1], rows)
    arrays = [*map(cpu.array, (u, source, v, A)), y.numpy(), cpu.rows(state.numpy())]
    arrays += [weight.numpy() for weight in weights]

    def run(first: int, last: int) -> None:
        scratch = [u.new_empty(3 * TILE, width), u.new_empty(TILE, weights.W.shape[1]), u.new_empty(TILE, len(y))]
        step_tiles(*arrays, *(x.numpy() for x in scratch), eps, ACTIVATIONS[activation], first, last)

    shares = threads_for(rows * width * len(state) * COST)
    in_parallel([partial(run, *bounds) for bounds in pairwise(rows * i // shares for i in range(shares + 1))])
    return y
