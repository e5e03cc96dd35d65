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
COST = 8  # of a row, in states of a scan for each of its numbers
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
def copy(source: Array, target: Array) -> None:
    width = source.shape[1]
    for r in range(source.shape[0]):
        x, y = row(source, SOURCE, r * width), row(target, TARGET, r * width)
        for k in range(width):
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
    y: Array,
    state: Array,
    Lambda_bar: Array,
    B: Array,
    C: Array,
    D: Array,
    norms: Array,
    W: Array,
    b: Array,
    scratch: Array,
    scratch_gates: Array,
    eps: float,
    activation: int,
    first: int,
    last: int,
) -> None:
    """One step of L blocks and the norm after them, for the rows `first ... last - 1`; `state` is overwritten.

    Args:
        u, y: `[R, H]`.
        state: `[L R, 2N]`.
        Lambda_bar: `[2L, N]`.
        B: `[L H, 2N]`.
        C: `[2N L, H]`.
        D: `[L, H]`.
        norms: weight and bias of each block's norm and of the last one, `[2L + 2, H]`.
        W, b: what the activation multiplies by and adds, `[L H, K]` and `[L, K]`, or empty where it does not.
        scratch, scratch_gates: `[3 TILE, H]` and `[TILE, K]`.
        eps: of the norms.
        activation: one of `ACTIVATIONS`.
    """
    (rows, width), layers = u.shape, D.shape[0]
    states, linear = Lambda_bar.shape[1], W.shape[1]
    for top in range(first, last, TILE):
        bottom = min(top + TILE, last)
        size = bottom - top
        h, z, g = scratch[:size], scratch[TILE : TILE + size], scratch[2 * TILE : 2 * TILE + size]
        gates = scratch_gates[:size]
        copy(u[top:bottom], h)
        for layer in range(layers):
            x = state[layer * rows + top : layer * rows + bottom]
            normalise(h, z, norms[2 * layer : 2 * layer + 2], eps)
            rotate(x, Lambda_bar[2 * layer : 2 * layer + 2])
            add_product(x, z, B[layer * width : (layer + 1) * width], width, 1)
            d, bias = row(D, WEIGHT, layer * width), row(b, BIAS, layer * linear)
            for r in range(size):
                value = row(z, VALUE, r * width)
                for k in range(width):
                    value[k] = d[k] * value[k]
            add_product(z, x, C[2 * layer * states : 2 * (layer + 1) * states], 2 * states, 1)
            for r in range(size):
                source, target = row(z, SOURCE, r * width), row(g, TARGET, r * width)
                for k in range(width):
                    target[k] = gelu(source[k])
            if activation == GELU:
                for r in range(size):
                    value, target = row(g, VALUE, r * width), row(h, TARGET, r * width)
                    for k in range(width):
                        target[k] += value[k]
                continue
            for r in range(size):
                gate = row(gates, GATE, r * linear)
                for k in range(linear):
                    gate[k] = bias[k]
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
        normalise(h, y[top:bottom], norms[2 * layers :], eps)


class Weights(NamedTuple):
    """What :func:`step_tiles` multiplies by, as it takes them."""

    Lambda_bar: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    norms: Tensor
    W: Tensor
    b: Tensor


def advance(u: Tensor, state: Tensor, h: Tensor, weights: Weights, eps: float, activation: str) -> None:
    """Writes what the blocks make of `u [R, H]` to `h [R, H]`, and the states after it over `state [L, R, 2, N]`."""
    rows, width = u.shape
    arrays = [cpu.array(u), h.numpy(), cpu.rows(state.numpy()), *(weight.numpy() for weight in weights)]

    def run(first: int, last: int) -> None:
        scratch, gates = u.new_empty(3 * TILE, width).numpy(), u.new_empty(TILE, weights.W.shape[1]).numpy()
        step_tiles(*arrays, scratch, gates, eps, ACTIVATIONS[activation], first, last)

    shares = threads_for(rows * width * len(state) * COST)
    in_parallel([partial(run, *bounds) for bounds in pairwise(rows * i // shares for i in range(shares + 1))])
