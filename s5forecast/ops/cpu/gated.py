"""The gated attention of Mega on the CPU, chunk by chunk: projections, attention and gates in the cache.

Only the inputs and outputs of the whole are read and written. The adjoint computes everything else again, which takes
less time than writing it to memory.
"""

from functools import partial
from itertools import pairwise
from math import prod, sqrt
from typing import Any

import numba
import numpy as np
from torch import Tensor

from s5forecast.ops.attention import KINDS, SOFTMAX, Gradients
from s5forecast.ops.cpu.activations import sigmoid
from s5forecast.ops.cpu.attention import TILE, weigh, weigh_backward
from s5forecast.ops.cpu.gated_arrays import (
    Adjoint,
    Parameters,
    Room,
    Slopes,
    make_adjoint,
    make_room,
    parameters_of,
    views,
)
from s5forecast.ops.cpu.launch import array, as_rows
from s5forecast.ops.cpu.pool import in_parallel, threads_for
from s5forecast.ops.cpu.products import add_product, clear
from s5forecast.ops.cpu.rows import ANY, GROUPS, INNER, Array, kernel, row

COST = 4  # work per entry of the projections of a step, relative to a state of a plain scan
FLUSH_CHUNKS = 8  # chunks summed in the dtype of the input before they are added to the float64 sums

# Groups of rows
(
    GIVEN, M, P, GATE, SHARED, RESET, DIRECT, BIAS, Q, K, V, O, G, C, TURNED, SCALE, SHIFT,
    INPUT, OUTPUT, DY, DU, DA, DG, DO, DQ, DK, DV, DS, DSCALE, DSHIFT,
) = range(4 * GROUPS, 4 * GROUPS + 30)  # fmt: skip


@numba.njit(**INNER)
def factor(r: int, size: int, keys: int, kind: int, causal: bool) -> float:
    """The factor of the products of the query at position r."""
    if kind == SOFTMAX:
        return 1 / sqrt(keys)
    return 1 / (r + 1) if causal else 1 / size


@numba.njit(**INNER)
def project(w: Parameters, s: Room, a: Array, u: Array, at: int, size: int, kind: int, causal: bool) -> None:
    """Queries, keys, values and gates of a chunk; keys and values of missing steps are zero."""
    width, features, z, v = a.shape[1], s.mixed.shape[1], s.q.shape[1], s.v.shape[1]
    one, zero = a.strides[1] // a.itemsize, a.dtype.type(0)
    for r in range(size):
        a_r, m_r = row(a, GIVEN, (at + r) * width), row(s.m, M, r * width)
        for h in range(width):
            m_r[h] = a_r[h] * sigmoid(a_r[h])
        mixed, bias = row(s.mixed, ANY, r * features), row(w.mixed_bias, BIAS, 0)
        for n in range(features):
            mixed[n] = bias[n]
        values, bias = row(s.values, P, r * v), row(w.values_bias, BIAS, 0)
        for n in range(v):
            values[n] = bias[n]
    add_product(s.mixed[:size], s.m[:size], w.mixed_T, width, one)
    add_product(s.values[:size], u[at : at + size], w.values_T, width, one)
    q_scale, k_scale = row(w.scale, SCALE, 0), row(w.scale, SCALE, z)
    q_shift, k_shift = row(w.shift, SHIFT, 0), row(w.shift, SHIFT, z)
    for r in range(s.q.shape[0]):
        q, k, v_r = row(s.q, Q, r * z), row(s.k, K, r * z), row(s.v, V, r * v)
        if r < size:
            f = a.dtype.type(factor(r, size, z, kind, causal))
            shared, values = row(s.mixed, SHARED, r * features + width), row(s.values, P, r * v)
            for n in range(z):
                x = shared[n] * sigmoid(shared[n])
                q[n] = f * (x * q_scale[n] + q_shift[n])
                k[n] = x * k_scale[n] + k_shift[n]
            for n in range(v):
                v_r[n] = values[n] * sigmoid(values[n])
        else:
            for n in range(z):
                q[n], k[n] = zero, zero
            for n in range(v):
                v_r[n] = zero


@numba.njit(**INNER)
def turn(x: Array, first: int, x_T: Array) -> None:
    """Transpose the tile of `x` that begins at row `first`."""
    columns = x.shape[1]
    for r in range(TILE):
        x_r = row(x, Q, (first + r) * columns)
        x_T_r = row(x_T, TURNED, r)
        for n in range(columns):
            x_T_r[n * TILE] = x_r[n]


@numba.njit(**INNER)
def attend(w: Parameters, s: Room, first: int, size: int, kind: int, causal: bool) -> int:
    """Scores, weights, values seen, and the candidate of a tile of queries; returns the number of keys."""
    z, v, features = s.q.shape[1], s.v.shape[1], s.mixed.shape[1]
    width, one, count = s.m.shape[1], s.q.strides[1] // s.q.itemsize, min(TILE, size - first)
    keys = first + count if causal else size
    turn(s.q, first, s.q_T)
    clear(s.scores[:keys])
    add_product(s.scores[:keys], s.k[:keys], s.q_T, z, one)
    weigh(s.scores, s.weights, w.bias, s.top, s.total, first, keys, kind, causal)
    clear(s.o)
    add_product(s.o, s.weights[:keys], s.v[:keys], one, TILE)
    for r in range(count):
        reset, o, g = row(s.mixed, RESET, (first + r) * features + width + z), row(s.o, O, r * v), row(s.g, G, r * v)
        for n in range(v):
            g[n] = o[n] * reset[n] * sigmoid(reset[n])
        direct, c = row(s.mixed, DIRECT, (first + r + 1) * features - width), row(s.c, C, r * width)
        for h in range(width):
            c[h] = direct[h]
    add_product(s.c[:count], s.g[:count], w.attended_T, v, one)
    return keys


@kernel
def gated_forward(
    w: Parameters,
    s: Room,
    a: Array,
    u: Array,
    y: Array,
    length: int,
    chunk: int,
    kind: int,
    causal: bool,
    begin: int,
    end: int,
) -> None:
    """Write the outputs of some chunks to `y [B T, H]`."""
    width, features, per = a.shape[1], s.mixed.shape[1], (length + chunk - 1) // chunk
    for n in range(begin, end):
        at, size = n // per * length + n % per * chunk, min(chunk, length - n % per * chunk)
        project(w, s, a, u, at, size, kind, causal)
        for first in range(0, size, TILE):
            attend(w, s, first, size, kind, causal)
            for r in range(min(TILE, size - first)):
                gate, c = row(s.mixed, GATE, (first + r) * features), row(s.c, C, r * width)
                u_r, y_r = row(u, INPUT, (at + first + r) * width), row(y, OUTPUT, (at + first + r) * width)
                for h in range(width):
                    y_r[h] = u_r[h] + sigmoid(gate[h]) * (c[h] * sigmoid(c[h]) - u_r[h])


@numba.njit(**INNER)
def gates_backward(
    w: Parameters, s: Room, d: Adjoint, slopes: Slopes, dy: Array, u: Array, du: Array, at: int, first: int, count: int
) -> None:
    """From the gradient with respect to the outputs of a tile to `d.o`; gates are overwritten by their gradients."""
    width, features, z, v = u.shape[1], s.mixed.shape[1], s.q.shape[1], s.v.shape[1]
    unit, one = u.strides[1] // u.itemsize, u.dtype.type(1)
    for r in range(count):
        gate, c = row(s.mixed, GATE, (first + r) * features), row(s.c, C, r * width)
        direct = row(s.mixed, DIRECT, (first + r + 1) * features - width)
        dy_r, u_r = row(dy, DY, (at + first + r) * width), row(u, INPUT, (at + first + r) * width)
        du_r = row(du, DU, (at + first + r) * width)
        for h in range(width):
            phi, x = sigmoid(gate[h]), c[h]
            sx = sigmoid(x)
            dc = dy_r[h] * phi * sx * (one + x * (one - sx))
            gate[h] = dy_r[h] * (x * sx - u_r[h]) * phi * (one - phi)
            c[h], direct[h] = dc, dc
            du_r[h] = dy_r[h] * (one - phi)
    clear(d.o)
    add_product(d.o[:count], s.c[:count], w.attended, width, unit)
    add_product(slopes.attended, s.c[:count], s.g[:count], unit, width)
    for r in range(count):
        reset, o, do = row(s.mixed, RESET, (first + r) * features + width + z), row(s.o, O, r * v), row(d.o, DO, r * v)
        for n in range(v):
            x, dg = reset[n], do[n]
            sx = sigmoid(x)
            do[n] = dg * x * sx
            reset[n] = dg * o[n] * sx * (one + x * (one - sx))


@numba.njit(**INNER)
def attend_backward(
    w: Parameters, s: Room, d: Adjoint, slopes: Slopes, first: int, size: int, keys: int, kind: int, causal: bool
) -> None:
    """From `d.o` to the gradients with respect to keys, values, and the shared input by way of the queries."""
    z, v, width, features = s.q.shape[1], s.v.shape[1], s.m.shape[1], s.mixed.shape[1]
    one = s.q.strides[1] // s.q.itemsize
    turn(d.o, 0, d.o_T)
    clear(d.weights[:keys])
    add_product(d.weights[:keys], s.v[:keys], d.o_T, v, one)
    add_product(d.v[:keys], s.weights[:keys], d.o, TILE, one)
    weigh_backward(s.scores, s.weights, d.weights, slopes.bias, s.total, first, keys, kind, causal)
    clear(d.q)
    add_product(d.q, d.weights[:keys], s.k[:keys], one, TILE)
    add_product(d.k[:keys], d.weights[:keys], s.q[first : first + TILE], TILE, one)
    scale, dscale, dshift = row(w.scale, SCALE, 0), row(slopes.scale, DSCALE, 0), row(slopes.shift, DSHIFT, 0)
    for r in range(min(TILE, size - first)):
        f = s.q.dtype.type(factor(first + r, size, z, kind, causal))
        shared, dq = row(s.mixed, SHARED, (first + r) * features + width), row(d.q, DQ, r * z)
        ds = row(d.shared, DS, (first + r) * z)
        for n in range(z):
            g = f * dq[n]
            dscale[n] += g * shared[n] * sigmoid(shared[n])
            dshift[n] += g
            ds[n] = g * scale[n]


@numba.njit(**INNER)
def project_backward(
    w: Parameters, s: Room, d: Adjoint, slopes: Slopes, a: Array, u: Array, da: Array, du: Array, at: int, size: int
) -> None:
    """From the gradients with respect to keys, values and gates to those of the inputs and of the projections."""
    width, features, z, v = a.shape[1], s.mixed.shape[1], s.q.shape[1], s.v.shape[1]
    unit, one = a.strides[1] // a.itemsize, a.dtype.type(1)
    scale, dscale, dshift = row(w.scale, SCALE, z), row(slopes.scale, DSCALE, z), row(slopes.shift, DSHIFT, z)
    for r in range(size):
        shared, dk, ds = row(s.mixed, SHARED, r * features + width), row(d.k, DK, r * z), row(d.shared, DS, r * z)
        for n in range(z):
            x = shared[n]
            sx = sigmoid(x)
            dscale[n] += dk[n] * x * sx
            dshift[n] += dk[n]
            shared[n] = (ds[n] + dk[n] * scale[n]) * sx * (one + x * (one - sx))
        values, dv, dbias = row(s.values, P, r * v), row(d.v, DV, r * v), row(slopes.values_bias, BIAS, 0)
        for n in range(v):
            x = values[n]
            sx = sigmoid(x)
            values[n] = dv[n] * sx * (one + x * (one - sx))
            dbias[n] += values[n]
        mixed, dbias = row(s.mixed, ANY, r * features), row(slopes.mixed_bias, BIAS, 0)
        for n in range(features):
            dbias[n] += mixed[n]
    add_product(slopes.mixed, s.mixed[:size], s.m[:size], unit, features)
    add_product(slopes.values, s.values[:size], u[at : at + size], unit, v)
    add_product(du[at : at + size], s.values[:size], w.values, v, unit)
    clear(da[at : at + size])
    add_product(da[at : at + size], s.mixed[:size], w.mixed, features, unit)
    for r in range(at, at + size):
        a_r, da_r = row(a, GIVEN, r * width), row(da, DA, r * width)
        for h in range(width):
            x = a_r[h]
            sx = sigmoid(x)
            da_r[h] *= sx * (one + x * (one - sx))


@kernel
def gated_backward(
    w: Parameters,
    s: Room,
    d: Adjoint,
    slopes: Slopes,
    terms: Array,
    total: Array,
    dy: Array,
    a: Array,
    u: Array,
    da: Array,
    du: Array,
    length: int,
    chunk: int,
    kind: int,
    causal: bool,
    begin: int,
    end: int,
) -> None:
    """The adjoint of `gated_forward`; `slopes` are views of `terms`, whose sum over chunks is added to `total`."""
    per = (length + chunk - 1) // chunk
    for n in range(begin, end):
        at, size = n // per * length + n % per * chunk, min(chunk, length - n % per * chunk)
        project(w, s, a, u, at, size, kind, causal)
        clear(d.k)
        clear(d.v)
        for first in range(0, size, TILE):
            keys = attend(w, s, first, size, kind, causal)
            gates_backward(w, s, d, slopes, dy, u, du, at, first, min(TILE, size - first))
            attend_backward(w, s, d, slopes, first, size, keys, kind, causal)
        project_backward(w, s, d, slopes, a, u, da, du, at, size)
        if (n + 1 - begin) % FLUSH_CHUNKS == 0 or n + 1 == end:
            for m in range(terms.size):
                total[m] += terms[m]
                terms[m] = 0


def gated_attention(*given: Any) -> Tensor:
    """The operator of ops/operators.py; its arguments, followed by the kind of attention and whether it is causal."""
    averaged, u, *parameters, kind, causal = given
    chunk, y = parameters[-1].numel() // 2 + 1, u.new_empty(u.shape)
    w, arrays = parameters_of(*parameters), [as_rows(x) for x in (array(averaged), array(u), y.numpy())]
    flags = u.shape[1], chunk, KINDS.index(kind), causal
    in_parallel(
        [partial(gated_forward, w, make_room(w, chunk), *arrays, *flags, *part) for part in _parts(u, w, chunk)]
    )
    return y


def gated_attention_backward(dy: Tensor, *given: Any) -> Gradients:
    """The gradients with respect to the tensors among the arguments of `gated_attention`."""
    averaged, u, *parameters, kind, causal = given
    chunk, da, du = parameters[-1].numel() // 2 + 1, u.new_empty(u.shape), u.new_empty(u.shape)
    w = parameters_of(*parameters)
    arrays = [as_rows(x) for x in (*map(array, (dy, averaged, u)), da.numpy(), du.numpy())]
    flags = u.shape[1], chunk, KINDS.index(kind), causal
    shapes = [x.shape for x in (w.mixed, w.mixed_bias, w.values, w.values_bias, w.attended, w.scale, w.shift, w.bias)]
    parts, size = _parts(u, w, chunk), sum(map(prod, shapes))
    totals, tasks = [np.zeros(size) for _ in parts], []
    for total, part in zip(totals, parts, strict=True):
        terms, room = np.zeros(size, w.mixed.dtype), make_room(w, chunk)
        slopes = Slopes(*views(terms, shapes))
        tasks.append(partial(gated_backward, w, room, make_adjoint(room), slopes, terms, total, *arrays, *flags, *part))
    in_parallel(tasks)
    *gradients, bias = (u.new_tensor(x) for x in views(sum(totals, np.zeros(size)), shapes))
    return da, du, *gradients, bias[TILE:-TILE].clone()


def _parts(u: Tensor, w: Parameters, chunk: int) -> list[tuple[int, int]]:
    count = len(u) * -(-u.shape[1] // chunk)
    threads = min(count, threads_for(u.shape[0] * u.shape[1] * len(w.mixed) * COST))
    return list(pairwise(count * i // threads for i in range(threads + 1)))
