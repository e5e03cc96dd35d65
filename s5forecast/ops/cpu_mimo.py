"""Numba kernels of a whole layer and of its adjoint, block by block of time, so that all between stays in the cache.

A block is projected, run through the kernels of cpu_ssm.py and read out before the next one is touched; see
cpu_linear.py for `part`. The inputs of the states are not kept, but projected again by the adjoint.
"""

import numpy as np

from s5forecast.ops.cpu_products import add_product
from s5forecast.ops.cpu_rows import GROUPS, Array, Part, kernel, row
from s5forecast.ops.cpu_ssm import ssm_backward, ssm_forward

BLOCK = 32
FLUSH_BLOCKS = 16  # summed in the dtype of the input before they are added to the float64 sums
LINE = 64  # bytes of a cache line, and of a vector
DIRECT, DDIRECT, INPUTS, OUTPUTS, DINPUTS = range(2 * GROUPS, 2 * GROUPS + 5)


@kernel
def aligned(like: Array, rows: int, columns: int) -> Array:
    """Zeros that begin with a cache line: vectors which straddle two take twice as long."""
    spare = LINE // like.itemsize
    memory = np.zeros(rows * columns + spare, like.dtype)
    start = (-memory.ctypes.data % LINE) // like.itemsize
    return memory[start : start + rows * columns].reshape(rows, columns)


@kernel
def clear(values: Array) -> None:
    for m in range(values.shape[0]):
        for n in range(values.shape[1]):
            values[m, n] = 0


@kernel
def block_of(rows: Array, start: int, size: int) -> Array:
    """`size` rows of `[M, 2N]` from `start` on, as `[1, size, 2, N]`."""
    return rows[start : start + size].reshape(1, size, 2, rows.shape[1] // 2)


@kernel
def steps_of(dt: Array, i: int, start: int, size: int, irregular: bool) -> Array:
    return dt[i][start : start + size].reshape(1, size) if irregular else dt


@kernel
def mimo_forward(
    Lambda: Array,
    step: Array,
    dt: Array,
    B: Array,
    C: Array,
    D: Array,
    u: Array,
    y: Array,
    x: Array,
    state: Array,
    product: Array,
    method: int,
    irregular: bool,
    reverse: bool,
    part: Part,
) -> None:
    """`y_t = C x_t + D u_t` with the states of `ssm_forward`; `B [H, 2N]`, `C [2N, H]`, `x` is kept unless empty."""
    first, last, start, stop, carry_only = part
    (_, length, width), planes = u.shape, C.shape[0]
    keep, d, rows = x.size > 0, row(D, DIRECT, 0), x.reshape(-1, planes)
    Bu, scratch = aligned(u, BLOCK, planes), aligned(u, BLOCK, planes)
    for i in range(first, last):
        for k in range(start, stop, BLOCK):
            size = min(BLOCK, stop - k)
            t = length - k - size if reverse else k
            at = (i * length + t) * width
            clear(Bu)
            add_product(Bu, 0, u, at, width, 1, B, 0, size, width, planes)
            xs, xs_at = (rows, i * length + t) if keep else (scratch, 0)
            ssm_forward(
                Lambda,
                step,
                steps_of(dt, i, t, size, irregular),
                block_of(Bu, 0, size),
                block_of(xs, xs_at, size),
                state[i : i + 1],
                product[i : i + 1],
                method,
                irregular,
                reverse,
                (0, 1, 0, size, carry_only),
            )
            if not carry_only:
                for r in range(size):
                    u_t, y_t = row(u, INPUTS, at + r * width), row(y, OUTPUTS, at + r * width)
                    for h in range(width):
                        y_t[h] = d[h] * u_t[h]
                add_product(y, at, xs, xs_at * planes, planes, 1, C, 0, size, planes, width)


@kernel
def mimo_backward(
    dy: Array,
    x: Array,
    x0: Array,
    Lambda: Array,
    step: Array,
    dt: Array,
    B: Array,
    B_T: Array,
    C_T: Array,
    D: Array,
    u: Array,
    du: Array,
    ddt: Array,
    total: Array,
    total_B: Array,
    total_C: Array,
    total_D: Array,
    state: Array,
    product: Array,
    method: int,
    irregular: bool,
    reverse: bool,
    part: Part,
) -> None:
    """The adjoint of `mimo_forward`; the totals are of `ssm_backward`, `B_T [2N, H]`, `C [2N, H]` and `D [1, H]`."""
    first, last, start, stop, carry_only = part
    (_, length, width), planes = u.shape, B.shape[1]
    Bu, dx, dBu = aligned(u, BLOCK, planes), aligned(u, BLOCK, planes), aligned(u, BLOCK, planes)
    dB, dC, dD = aligned(u, planes, width), aligned(u, planes, width), aligned(u, 1, width)
    d, dd = row(D, DIRECT, 0), row(dD, DDIRECT, 0)
    states_kept, first_states, blocks = x.reshape(-1, planes), x0.reshape(-1, planes), 0
    for i in range(first, last):
        for k in range(start, stop, BLOCK):
            size = min(BLOCK, stop - k)
            t = k if reverse else length - k - size
            at = (i * length + t) * width
            clear(dx)
            add_product(dx, 0, dy, at, width, 1, C_T, 0, size, width, planes)
            if not carry_only:
                clear(Bu)
                add_product(Bu, 0, u, at, width, 1, B, 0, size, width, planes)
            before = t + size if reverse else t - 1
            inside = 0 <= before < length
            y0 = block_of(states_kept, i * length + before, 1) if inside else block_of(first_states, i, 1)
            ssm_backward(
                block_of(dx, 0, size),
                block_of(states_kept, i * length + t, size),
                y0[0],
                Lambda,
                step,
                steps_of(dt, i, t, size, irregular),
                block_of(Bu, 0, size),
                block_of(dBu, 0, size),
                steps_of(ddt, i, t, size, irregular),
                total,
                state[i : i + 1],
                product[i : i + 1],
                method,
                irregular,
                reverse,
                (0, 1, 0, size, carry_only),
            )
            if carry_only:
                continue
            for r in range(size):
                u_t, dy_t = row(u, INPUTS, at + r * width), row(dy, OUTPUTS, at + r * width)
                du_t = row(du, DINPUTS, at + r * width)
                for h in range(width):
                    du_t[h] = d[h] * dy_t[h]
                    dd[h] += dy_t[h] * u_t[h]
            add_product(du, at, dBu, 0, planes, 1, B_T, 0, size, planes, width)
            add_product(dB, 0, dBu, 0, 1, planes, u, at, planes, size, width)
            add_product(dC, 0, x, (i * length + t) * planes, 1, planes, dy, at, planes, size, width)
            blocks += 1
            if blocks % FLUSH_BLOCKS == 0:
                flush(dB, dC, dD, total_B, total_C, total_D)
    flush(dB, dC, dD, total_B, total_C, total_D)


@kernel
def flush(dB: Array, dC: Array, dD: Array, total_B: Array, total_C: Array, total_D: Array) -> None:
    for total, part in ((total_B, dB), (total_C, dC), (total_D, dD)):
        for m in range(part.shape[0]):
            for n in range(part.shape[1]):
                total[m, n] += part[m, n]
        clear(part)
