"""Moving averages of each channel on the CPU: they are computed in the cache and never written.

As in liquid.py, time is cut into tiles, only the averages before each tile are kept, and channels are the inner axis of
all arrays. Threads share the batch, and the channels if there are more threads than batch elements.
"""

from functools import partial

import numba
import numpy as np
import torch
from torch import Tensor

from s5forecast.ops.averages import TILE
from s5forecast.ops.cpu.launch import Totals, array
from s5forecast.ops.cpu.liquid import Part, channel_parts
from s5forecast.ops.cpu.pool import in_parallel
from s5forecast.ops.cpu.rows import INNER, Array, kernel, row

COST = 2  # work per average, relative to a plain scan

# Groups of rows
FACTOR, WEIGHT, READ, DIRECT, INPUT, OUTPUT, STATE, BEFORE, AFTER, KEPT, DINPUT, DFACTOR, DWEIGHT, DREAD, DDIRECT = (
    range(15)
)


@numba.njit(**INNER)
def advance(q: Array, p: Array, x: Array, h: Array, k: int, at: int, size: int, part: Part) -> None:
    """Write an average of each channel after `size` steps to the rows of `h [TILE + 1, H]` that follow the first."""
    width = x.shape[2]
    factor, weight = row(q, FACTOR, k), row(p, WEIGHT, k)
    for r in range(size):
        x_t = row(x, INPUT, (at + r) * width)
        before, after = row(h, BEFORE, r * width), row(h, AFTER, (r + 1) * width)
        for c in range(part[2], part[3]):
            after[c] = factor[c] * before[c] + weight[c] * x_t[c]


@kernel
def averages_forward(
    q: Array, p: Array, eta: Array, omega: Array, x: Array, y: Array, kept: Array, state: Array, part: Part
) -> None:
    """Write the outputs to `y`, and the averages before each tile to `kept [B, tiles, N]` unless it is empty."""
    length, width, states = x.shape[1], x.shape[2], q.size
    direct = row(omega, DIRECT, 0)
    for i in range(part[0], part[1]):
        for tile in range(0, length, TILE):
            size, at = min(TILE, length - tile), i * length + tile
            for r in range(at, at + size):
                x_t, y_t = row(x, INPUT, r * width), row(y, OUTPUT, r * width)
                for c in range(part[2], part[3]):
                    y_t[c] = direct[c] * x_t[c]
            for k in range(0, states, width):
                carried = row(state, STATE, i * states + k)
                if kept.size:
                    copy = row(kept, KEPT, (i * kept.shape[1] + tile // TILE) * states + k)
                    for c in range(part[2], part[3]):
                        copy[c] = carried[c]
                factor, weight, read = row(q, FACTOR, k), row(p, WEIGHT, k), row(eta, READ, k)
                for r in range(at, at + size):
                    x_t, y_t = row(x, INPUT, r * width), row(y, OUTPUT, r * width)
                    for c in range(part[2], part[3]):
                        h = factor[c] * carried[c] + weight[c] * x_t[c]
                        carried[c] = h
                        y_t[c] += read[c] * h


@kernel
def averages_backward(
    dy: Array,
    q: Array,
    p: Array,
    eta: Array,
    omega: Array,
    x: Array,
    kept: Array,
    dx: Array,
    total: Array,
    state: Array,
    part: Part,
) -> None:
    """The adjoint of `averages_forward`: write `dx` and add to `total [3, N]`, of `q`, `p` and `eta`.

    The gradient with respect to `omega` is added to the first `H` entries of the fourth row.
    """
    length, width, states = x.shape[1], x.shape[2], q.size
    h, sums = np.empty((TILE + 1) * width, x.dtype), np.zeros(4 * width, x.dtype)
    dq, dp, deta = row(sums, DFACTOR, 0), row(sums, DWEIGHT, width), row(sums, DREAD, 2 * width)
    domega = row(sums, DDIRECT, 3 * width)
    direct = row(omega, DIRECT, 0)
    for i in range(part[0], part[1]):
        for tile in range(kept.shape[1] - 1, -1, -1):
            size, at = min(TILE, length - tile * TILE), i * length + tile * TILE
            for r in range(at, at + size):
                x_t, dx_t, dy_t = row(x, INPUT, r * width), row(dx, DINPUT, r * width), row(dy, OUTPUT, r * width)
                for c in range(part[2], part[3]):
                    dx_t[c] = direct[c] * dy_t[c]
                    domega[c] += dy_t[c] * x_t[c]
            for k in range(0, states, width):
                copy, first = row(kept, KEPT, (i * kept.shape[1] + tile) * states + k), row(h, BEFORE, 0)
                for c in range(part[2], part[3]):
                    first[c] = copy[c]
                advance(q, p, x, h, k, at, size, part)
                factor, weight, read = row(q, FACTOR, k), row(p, WEIGHT, k), row(eta, READ, k)
                carried = row(state, STATE, i * states + k)
                for r in range(size - 1, -1, -1):
                    x_t, dx_t = row(x, INPUT, (at + r) * width), row(dx, DINPUT, (at + r) * width)
                    dy_t = row(dy, OUTPUT, (at + r) * width)
                    before, after = row(h, BEFORE, r * width), row(h, AFTER, (r + 1) * width)
                    for c in range(part[2], part[3]):
                        g = carried[c] + read[c] * dy_t[c]
                        deta[c] += dy_t[c] * after[c]
                        dq[c] += g * before[c]
                        dp[c] += g * x_t[c]
                        dx_t[c] += weight[c] * g
                        carried[c] = factor[c] * g
                for m in range(3):
                    for c in range(part[2], part[3]):
                        total[m, k + c] += sums[m * width + c]
                        sums[m * width + c] = 0
            for c in range(part[2], part[3]):
                total[3, c] += sums[3 * width + c]
                sums[3 * width + c] = 0


def moving_averages(
    q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, state: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """`y_t = eta h_t + omega x_t` with `h_t = q h_{t-1} + p x_t`.

    Args:
        q, p, eta: `[N]`, the averages of each channel at a stride of H.
        omega: `[H]`.
        x: `[B, T, H]`.
        state: `[B, N]`, before the first step.
        keep: whether to return the averages before each tile.

    Returns:
        `y [B, T, H]`, the last averages `[B, N]`, and those before each tile `[B, tiles, N]`, or an empty tensor.
    """
    y, last = x.new_empty(x.shape), state.detach().clone(memory_format=torch.contiguous_format)
    kept = x.new_empty(len(x), -(-x.shape[1] // TILE), q.numel()) if keep else x.new_empty(0, 0, q.numel())
    arrays = *map(array, (q, p, eta, omega, x)), y.numpy(), kept.numpy(), last.numpy()
    in_parallel([partial(averages_forward, *arrays, part) for part in channel_parts(x, q.numel() * COST)])
    return y, last, kept


def moving_averages_backward(
    grad: Tensor, grad_last: Tensor, q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of `moving_averages`.

    Args:
        grad: `[B, T, H]`, the gradient with respect to `y`.
        grad_last: `[B, N]`, the gradient with respect to the last averages.
        kept: `[B, tiles, N]`, the averages before each tile.
        q, p, eta, omega, x: as in `moving_averages`.

    Returns:
        The gradients with respect to `q`, `p`, `eta`, `omega`, `x` and the first averages.
    """
    dx, state = x.new_empty(x.shape), grad_last.detach().clone(memory_format=torch.contiguous_format)
    totals = Totals(4, q.numel())
    arrays = *map(array, (grad, q, p, eta, omega, x, kept)), dx.numpy()
    in_parallel(
        [
            partial(averages_backward, *arrays, totals.part((*part, True)), state.numpy(), part)
            for part in channel_parts(x, q.numel() * COST)
        ]
    )
    dq, dp, deta, domega = (total.clone() for total in totals.sum(x.dtype))
    return dq, dp, deta, domega[: omega.numel()].clone(), dx, state
