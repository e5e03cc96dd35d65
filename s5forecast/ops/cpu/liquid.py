"""The scan of Liquid-S4 on the CPU: factors that depend on the input are computed in the cache and never written.

Time is cut into tiles, which stay in the cache for one state of all channels at a time. Only the states before each
tile are kept; the adjoint computes the others again. Channels are the inner axis of all arrays, so that loops over them
vectorize. Threads share the batch, and the channels if there are more threads than batch elements.
"""

from functools import partial
from itertools import pairwise, product
from math import sqrt

import numba
import numpy as np
from torch import Tensor

from s5forecast.ops.cpu.launch import Totals, array, start
from s5forecast.ops.cpu.pool import in_parallel, threads_for
from s5forecast.ops.cpu.rows import INNER, Array, kernel, planes, row
from s5forecast.ops.liquid import TILE

COST = 8  # work per state, relative to a plain scan
Part = tuple[int, int, int, int]  # first and last batch element, first and last channel

# Groups of rows
FACTOR, INPUT, OUTPUT, STATE, BEFORE, AFTER, KEPT, LIMIT, U, DU, Y, DA, DB, DC, DLIMIT = range(0, 30, 2)


@numba.njit(**INNER)
def advance(A: Array, B: Array, limit: Array, u: Array, x: Array, k: int, at: int, size: int, part: Part) -> None:
    """Write one state of each channel after `size` steps to the rows of `x [TILE + 1, 2, H]` that follow the first."""
    width, states, one = u.shape[2], limit.size, u.dtype.type(1)
    a_re, a_im = planes(A, FACTOR, k, states)
    b_re, b_im = planes(B, INPUT, k, states)
    most = row(limit, LIMIT, k)
    for r in range(size):
        u_t = row(u, U, (at + r) * width)
        x_re, x_im = planes(x, BEFORE, r * 2 * width, width)
        y_re, y_im = planes(x, AFTER, (r + 1) * 2 * width, width)
        for h in range(part[2], part[3]):
            re, im = b_re[h] * u_t[h], b_im[h] * u_t[h]
            f_re, f_im = a_re[h] + re, a_im[h] + im
            square = f_re * f_re + f_im * f_im
            scale = sqrt(most[h] / square) if square > most[h] else one
            f_re, f_im = scale * f_re, scale * f_im
            y_re[h] = f_re * x_re[h] - f_im * x_im[h] + re
            y_im[h] = f_re * x_im[h] + f_im * x_re[h] + im


@kernel
def liquid_forward(
    A: Array, B: Array, C: Array, limit: Array, u: Array, y: Array, kept: Array, state: Array, part: Part
) -> None:
    """Add the outputs to `y`, and write the states before each tile to `kept [B, tiles, 2, N]` unless it is empty."""
    length, width, states = u.shape[1], u.shape[2], limit.size
    x = np.empty((TILE + 1) * 2 * width, u.dtype)
    x_re, x_im = planes(x, BEFORE, 0, width)
    for i in range(part[0], part[1]):
        for tile in range(0, length, TILE):
            size, at = min(TILE, length - tile), i * length + tile
            for k in range(0, states, width):
                s_re, s_im = planes(state, STATE, i * 2 * states + k, states)
                for h in range(part[2], part[3]):
                    x_re[h], x_im[h] = s_re[h], s_im[h]
                if kept.size:
                    k_re, k_im = planes(kept, KEPT, (i * kept.shape[1] + tile // TILE) * 2 * states + k, states)
                    for h in range(part[2], part[3]):
                        k_re[h], k_im[h] = s_re[h], s_im[h]
                advance(A, B, limit, u, x, k, at, size, part)
                c_re, c_im = planes(C, OUTPUT, k, states)
                for r in range(size):
                    y_t = row(y, Y, (at + r) * width)
                    z_re, z_im = planes(x, AFTER, (r + 1) * 2 * width, width)
                    for h in range(part[2], part[3]):
                        y_t[h] += c_re[h] * z_re[h] + c_im[h] * z_im[h]
                z_re, z_im = planes(x, AFTER, size * 2 * width, width)
                for h in range(part[2], part[3]):
                    s_re[h], s_im[h] = z_re[h], z_im[h]


@kernel
def liquid_backward(
    dy: Array,
    A: Array,
    B: Array,
    C: Array,
    limit: Array,
    u: Array,
    kept: Array,
    du: Array,
    total: Array,
    state: Array,
    part: Part,
) -> None:
    """The adjoint of `liquid_forward`: add to `du` and `total [7, N]`, of `A`, `B`, `C` and `limit`."""
    length, width, states, one = u.shape[1], u.shape[2], limit.size, u.dtype.type(1)
    zero, half = u.dtype.type(0), u.dtype.type(0.5)
    x, sums = np.empty((TILE + 1) * 2 * width, u.dtype), np.zeros(7 * width, u.dtype)
    da_re, da_im = planes(sums, DA, 0, width)
    db_re, db_im = planes(sums, DB, 2 * width, width)
    dc_re, dc_im = planes(sums, DC, 4 * width, width)
    dl = row(sums, DLIMIT, 6 * width)
    for i in range(part[0], part[1]):
        for tile in range(kept.shape[1] - 1, -1, -1):
            size, at = min(TILE, length - tile * TILE), i * length + tile * TILE
            for k in range(0, states, width):
                k_re, k_im = planes(kept, KEPT, (i * kept.shape[1] + tile) * 2 * states + k, states)
                x_re, x_im = planes(x, BEFORE, 0, width)
                for h in range(part[2], part[3]):
                    x_re[h], x_im[h] = k_re[h], k_im[h]
                advance(A, B, limit, u, x, k, at, size, part)
                a_re, a_im = planes(A, FACTOR, k, states)
                b_re, b_im = planes(B, INPUT, k, states)
                c_re, c_im = planes(C, OUTPUT, k, states)
                h_re, h_im = planes(state, STATE, i * 2 * states + k, states)
                most = row(limit, LIMIT, k)
                for r in range(size - 1, -1, -1):
                    u_t, du_t = row(u, U, (at + r) * width), row(du, DU, (at + r) * width)
                    dy_t = row(dy, Y, (at + r) * width)
                    x_re, x_im = planes(x, BEFORE, r * 2 * width, width)
                    y_re, y_im = planes(x, AFTER, (r + 1) * 2 * width, width)
                    for h in range(part[2], part[3]):
                        dc_re[h] += dy_t[h] * y_re[h]
                        dc_im[h] += dy_t[h] * y_im[h]
                        g_re, g_im = h_re[h] + c_re[h] * dy_t[h], h_im[h] + c_im[h] * dy_t[h]
                        f_re, f_im = a_re[h] + b_re[h] * u_t[h], a_im[h] + b_im[h] * u_t[h]
                        square = f_re * f_re + f_im * f_im
                        exceeds = square > most[h]
                        scale = sqrt(most[h] / square) if exceeds else one
                        h_re[h] = scale * (f_re * g_re + f_im * g_im)
                        h_im[h] = scale * (f_re * g_im - f_im * g_re)
                        # The gradient with respect to the clamped factor, and its part along the factor
                        q_re = scale * (g_re * x_re[h] + g_im * x_im[h])
                        q_im = scale * (g_im * x_re[h] - g_re * x_im[h])
                        along = (f_re * q_re + f_im * q_im) if exceeds else zero
                        radial = along / square if exceeds else zero
                        q_re, q_im = q_re - radial * f_re, q_im - radial * f_im
                        dl[h] += half * along / most[h]
                        da_re[h] += q_re
                        da_im[h] += q_im
                        g_re, g_im = g_re + q_re, g_im + q_im
                        db_re[h] += g_re * u_t[h]
                        db_im[h] += g_im * u_t[h]
                        du_t[h] += b_re[h] * g_re + b_im[h] * g_im
                for m in range(7):
                    for h in range(part[2], part[3]):
                        total[m, k + h] += sums[m * width + h]
                        sums[m * width + h] = zero


def liquid_scan(
    A: Tensor, B: Tensor, C: Tensor, limit: Tensor, u: Tensor, initial_state: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`y_t = C x_t` with `x_t = f_t x_{t-1} + B u_t`, `f_t = A + B u_t`, where `|f_t|^2` is at most `limit`.

    Args:
        A, B: `[2, N]`, the states of each channel at a stride of H.
        C: `[2, N]`, real weights of the real and the imaginary parts of the states.
        limit: `[N]`.
        u: `[B, T, H]`.
        initial_state: `[B, 2, N]`, zero if None.
        keep: whether to return the states before each tile.

    Returns:
        `y [B, T, H]`, the last state `[B, 2, N]`, and the states before each tile `[B, tiles, 2, N]`, or an empty
        tensor.
    """
    states, tiles = limit.numel(), -(-u.shape[1] // TILE)
    y, state = u.new_zeros(u.shape), start(initial_state, u, states)
    kept = u.new_empty(len(u), tiles, 2, states) if keep else u.new_empty(0, 0, 2, states)
    arrays = *map(array, (A, B, C, limit, u)), y.numpy(), kept.numpy(), state.numpy()
    in_parallel([partial(liquid_forward, *arrays, part) for part in channel_parts(u, states * COST)])
    return y, state, kept


def liquid_scan_backward(
    grad: Tensor,
    grad_last: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    limit: Tensor,
    u: Tensor,
    kept: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of `liquid_scan`.

    Args:
        grad: `[B, T, H]`, the gradient with respect to `y`.
        grad_last: `[B, 2, N]`, the gradient with respect to the last state.
        kept: `[B, tiles, 2, N]`, the states before each tile.
        A, B, C, limit, u: as in `liquid_scan`.

    Returns:
        The gradients with respect to `A`, `B`, `C`, `limit`, `u` and the initial state.
    """
    states = limit.numel()
    du, state, totals = u.new_zeros(u.shape), start(grad_last, u, states), Totals(7, states)
    arrays = *map(array, (grad, A, B, C, limit, u, kept)), du.numpy()
    in_parallel(
        [
            partial(liquid_backward, *arrays, totals.part((*part, True)), state.numpy(), part)
            for part in channel_parts(u, states * COST)
        ]
    )
    total = totals.sum(u.dtype)
    dA, dB, dC = (total[k : k + 2].clone() for k in (0, 2, 4))
    return dA, dB, dC, total[6].clone(), du, state


def channel_parts(u: Tensor, work: int) -> list[Part]:
    """Parts of the batch and of the channels for each thread; ``work`` is the number of states of a step."""
    batch, length, width = u.shape
    threads = threads_for(batch * length * work)
    shares = max(1, min(batch, threads))
    groups = max(1, min(width, threads // shares))
    batches, channels = _ranges(batch, shares), _ranges(width, groups)
    return [(*rows, *columns) for rows, columns in product(batches, channels)]


def _ranges(size: int, count: int) -> list[tuple[int, int]]:
    return list(pairwise(size * i // count for i in range(count + 1)))
