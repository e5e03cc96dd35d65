"""The gated attention of Mega on the CPU, chunk by chunk: projections, attention and gates in the cache.

Only the inputs and outputs of the whole are read and written. The adjoint computes everything else again, which takes
less time than writing it to memory.
"""

from functools import partial
from itertools import pairwise
from math import prod, sqrt
from typing import Any, NamedTuple

import numba
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from s5forecast.ops.attention import KINDS, SOFTMAX, Gradients
from s5forecast.ops.cpu.activations import sigmoid
from s5forecast.ops.cpu.attention import TILE, weigh, weigh_backward
from s5forecast.ops.cpu.launch import array, as_rows
from s5forecast.ops.cpu.pool import in_parallel, threads_for
from s5forecast.ops.cpu.products import add_product, clear
from s5forecast.ops.cpu.rows import ANY, GROUPS, INNER, Array, kernel, row

COST = 4  # work per entry of the projections of a step, relative to a state of a plain scan

# Groups of rows
(
    GIVEN, M, P, GATE, SHARED, RESET, DIRECT, BIAS, Q, K, V, O, G, C, TURNED, SCALE, SHIFT,
    INPUT, OUTPUT, DY, DU, DA, DG, DO, DQ, DK, DV, DS, DSCALE, DSHIFT,
) = range(4 * GROUPS, 4 * GROUPS + 30)  # fmt: skip


class Parameters(NamedTuple):
    """Matrices `[outputs, inputs]`, their transposes and biases; `bias [2 chunk - 1]` with a margin of `TILE`."""

    mixed: Array  # [F, H]
    mixed_T: Array
    mixed_bias: Array
    values: Array  # [v, H]
    values_T: Array
    values_bias: Array
    attended: Array  # [H, v]
    attended_T: Array
    scale: Array  # [2, z]
    shift: Array  # [2, z]
    bias: Array


class Slopes(NamedTuple):
    """Gradients with respect to the parameters."""

    mixed: Array
    mixed_bias: Array
    values: Array
    values_bias: Array
    attended: Array
    scale: Array
    shift: Array
    bias: Array


class Room(NamedTuple):
    """What is computed of a chunk of P steps, a whole number of tiles, and of a tile of queries."""

    m: Array  # [P, H]
    mixed: Array  # [P, F], logits of the gate, input of queries and keys, gate of the values, candidate
    values: Array  # [P, v], before their activation
    q: Array  # [P, z]
    k: Array  # [P, z]
    v: Array  # [P, v]
    o: Array  # [TILE, v], the values seen
    g: Array  # [TILE, v], the same after their gate
    c: Array  # [TILE, H], the candidate before its activation
    q_T: Array  # [z, TILE]
    scores: Array  # [P / TILE, TILE, TILE]
    weights: Array
    top: Array  # [TILE]
    total: Array  # [TILE]


class Adjoint(NamedTuple):
    """Gradients with respect to entries of :class:`Room`."""

    q: Array  # [TILE, z]
    k: Array  # [P, z]
    v: Array  # [P, v]
    o: Array  # [TILE, v]
    o_T: Array  # [v, TILE]
    weights: Array  # [P / TILE, TILE, TILE]
    shared: Array  # [P, z]


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
    """Scores, weights, values seen, and the candidate of a tile of queries; returns the number of blocks of keys."""
    z, v, features = s.q.shape[1], s.v.shape[1], s.mixed.shape[1]
    width, one, count = s.m.shape[1], s.q.strides[1] // s.q.itemsize, min(TILE, size - first)
    seen = first // TILE + 1 if causal else (size + TILE - 1) // TILE
    turn(s.q, first, s.q_T)
    clear(s.o)
    for j in range(seen):
        clear(s.scores[j])
        add_product(s.scores[j], s.k[j * TILE : (j + 1) * TILE], s.q_T, z, one)
    weigh(s.scores, s.weights, w.bias, s.top, s.total, first, size, seen, kind, causal)
    for j in range(seen):
        add_product(s.o, s.weights[j], s.v[j * TILE : (j + 1) * TILE], one, TILE)
    for r in range(count):
        reset, o, g = row(s.mixed, RESET, (first + r) * features + width + z), row(s.o, O, r * v), row(s.g, G, r * v)
        for n in range(v):
            g[n] = o[n] * reset[n] * sigmoid(reset[n])
        direct, c = row(s.mixed, DIRECT, (first + r + 1) * features - width), row(s.c, C, r * width)
        for h in range(width):
            c[h] = direct[h]
    add_product(s.c[:count], s.g[:count], w.attended_T, v, one)
    return seen


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
    w: Parameters, s: Room, d: Adjoint, slopes: Slopes, first: int, size: int, seen: int, kind: int, causal: bool
) -> None:
    """From `d.o` to the gradients with respect to keys, values, and the shared input by way of the queries."""
    z, v, width, features = s.q.shape[1], s.v.shape[1], s.m.shape[1], s.mixed.shape[1]
    one = s.q.strides[1] // s.q.itemsize
    turn(d.o, 0, d.o_T)
    clear(d.q)
    for j in range(seen):
        clear(d.weights[j])
        add_product(d.weights[j], s.v[j * TILE : (j + 1) * TILE], d.o_T, v, one)
        add_product(d.v[j * TILE : (j + 1) * TILE], s.weights[j], d.o, TILE, one)
    weigh_backward(s.scores, s.weights, d.weights, slopes.bias, s.total, first, size, seen, kind, causal)
    for j in range(seen):
        add_product(d.q, d.weights[j], s.k[j * TILE : (j + 1) * TILE], one, TILE)
        add_product(d.k[j * TILE : (j + 1) * TILE], d.weights[j], s.q[first : first + TILE], TILE, one)
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
            seen = attend(w, s, first, size, kind, causal)
            gates_backward(w, s, d, slopes, dy, u, du, at, first, min(TILE, size - first))
            attend_backward(w, s, d, slopes, first, size, seen, kind, causal)
        project_backward(w, s, d, slopes, a, u, da, du, at, size)
        for m in range(terms.size):
            total[m] += terms[m]
            terms[m] = 0


def gated_attention(*given: Any) -> Tensor:
    """The operator of ops/operators.py; its arguments, followed by the kind of attention and whether it is causal."""
    averaged, u, *parameters, kind, causal = given
    chunk, y = parameters[-1].numel() // 2 + 1, u.new_empty(u.shape)
    w, arrays = _parameters(*parameters), [as_rows(x) for x in (array(averaged), array(u), y.numpy())]
    flags = u.shape[1], chunk, KINDS.index(kind), causal
    in_parallel([partial(gated_forward, w, _room(w, chunk), *arrays, *flags, *part) for part in _parts(u, w, chunk)])
    return y


def gated_attention_backward(dy: Tensor, *given: Any) -> Gradients:
    """The gradients with respect to the tensors among the arguments of `gated_attention`."""
    averaged, u, *parameters, kind, causal = given
    chunk, da, du = parameters[-1].numel() // 2 + 1, u.new_empty(u.shape), u.new_empty(u.shape)
    w = _parameters(*parameters)
    arrays = [as_rows(x) for x in (*map(array, (dy, averaged, u)), da.numpy(), du.numpy())]
    flags = u.shape[1], chunk, KINDS.index(kind), causal
    shapes = [x.shape for x in (w.mixed, w.mixed_bias, w.values, w.values_bias, w.attended, w.scale, w.shift, w.bias)]
    parts, size = _parts(u, w, chunk), sum(map(prod, shapes))
    totals, tasks = [np.zeros(size) for _ in parts], []
    for total, part in zip(totals, parts, strict=True):
        terms, room = np.zeros(size, w.mixed.dtype), _room(w, chunk)
        slopes = Slopes(*_views(terms, shapes))
        tasks.append(partial(gated_backward, w, room, _adjoint(room), slopes, terms, total, *arrays, *flags, *part))
    in_parallel(tasks)
    *gradients, bias = (u.new_tensor(x) for x in _views(sum(totals, np.zeros(size)), shapes))
    return da, du, *gradients, bias[TILE:-TILE].clone()


def _parameters(
    mixed: Tensor, mixed_bias: Tensor, values: Tensor, values_bias: Tensor, attended: Tensor, scale: Tensor,
    shift: Tensor, bias: Tensor,
) -> Parameters:  # fmt: skip
    pairs = [
        x
        for matrix, b in ((mixed, [mixed_bias]), (values, [values_bias]), (attended, []))
        for x in (matrix, matrix.t(), *b)
    ]
    return Parameters(*map(array, (*pairs, scale, shift, F.pad(bias, (TILE, TILE)))))


def _parts(u: Tensor, w: Parameters, chunk: int) -> list[tuple[int, int]]:
    count = len(u) * -(-u.shape[1] // chunk)
    threads = min(count, threads_for(u.shape[0] * u.shape[1] * len(w.mixed) * COST))
    return list(pairwise(count * i // threads for i in range(threads + 1)))


def _room(w: Parameters, chunk: int) -> Room:
    tiles, (features, width), v, z = -(-chunk // TILE), w.mixed.shape, len(w.values), w.scale.shape[1]
    rows = tiles * TILE
    shapes = (
        (rows, width), (rows, features), (rows, v), (rows, z), (rows, z), (rows, v), (TILE, v), (TILE, v),
        (TILE, width), (z, TILE), (tiles, TILE, TILE), (tiles, TILE, TILE), (TILE,), (TILE,),
    )  # fmt: skip
    return Room(*(np.zeros(shape, w.mixed.dtype) for shape in shapes))


def _adjoint(s: Room) -> Adjoint:
    shapes = (TILE, s.q.shape[1]), s.k.shape, s.v.shape, s.o.shape, s.o.shape[::-1], s.weights.shape, s.k.shape
    return Adjoint(*(np.zeros(shape, s.m.dtype) for shape in shapes))


def _views(terms: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    sizes = np.cumsum([prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(terms, sizes), shapes, strict=True)]
