"""The arrays of the gated attention: parameters, their gradients, and what is computed of a chunk."""

from math import prod
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from s5forecast.ops.cpu.attention import TILE
from s5forecast.ops.cpu.launch import array
from s5forecast.ops.cpu.rows import Array


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
    scores: Array  # [P, TILE]
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
    weights: Array  # [P, TILE]
    shared: Array  # [P, z]


def parameters_of(
    mixed: Tensor, mixed_bias: Tensor, values: Tensor, values_bias: Tensor, attended: Tensor, scale: Tensor,
    shift: Tensor, bias: Tensor,
) -> Parameters:  # fmt: skip
    pairs = [
        x
        for matrix, b in ((mixed, [mixed_bias]), (values, [values_bias]), (attended, []))
        for x in (matrix, matrix.t(), *b)
    ]
    return Parameters(*map(array, (*pairs, scale, shift, F.pad(bias, (TILE, TILE)))))


def make_room(w: Parameters, chunk: int) -> Room:
    rows, (features, width), v, z = -(-chunk // TILE) * TILE, w.mixed.shape, len(w.values), w.scale.shape[1]
    shapes = (
        (rows, width), (rows, features), (rows, v), (rows, z), (rows, z), (rows, v), (TILE, v), (TILE, v),
        (TILE, width), (z, TILE), (rows, TILE), (rows, TILE), (TILE,), (TILE,),
    )  # fmt: skip
    return Room(*(np.zeros(shape, w.mixed.dtype) for shape in shapes))


def make_adjoint(s: Room) -> Adjoint:
    shapes = (TILE, s.q.shape[1]), s.k.shape, s.v.shape, s.o.shape, s.o.shape[::-1], s.weights.shape, s.k.shape
    return Adjoint(*(np.zeros(shape, s.m.dtype) for shape in shapes))


def views(terms: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    sizes = np.cumsum([prod(shape) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(terms, sizes), shapes, strict=True)]
