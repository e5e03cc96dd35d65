"""Triton kernels of the scans and of their adjoints.

A program works on one batch element and a block of its states, one tile of time after another. In a tile, each thread
keeps `ROWS` successive steps of one state in registers. It runs them from zero to find the map of its steps; an
associative scan composes the maps of all threads; then every thread runs its steps again from their first state. In
this way neighboring threads read neighboring states, a whole tile is loaded from memory at once, and threads exchange
one map per `ROWS` steps instead of one per step.
"""

# mypy: disable-error-code=assignment

from typing import Any

import triton
import triton.language as tl

from s5forecast.ops.gpu.rows import (
    CONSTANT,
    DIRAC,
    PER_STEP,
    affine,
    block_of_states,
    compose,
    discretize,
    last,
    load_before,
    load_rows,
    load_start,
    load_steps,
    multiply,
    multiply_conj,
    offsets,
    parameters,
    slopes,
    store_row,
)


@triton.jit
def factor(
    rows: tl.tensor, v_re: tl.tensor, v_im: tl.tensor, dt: tl.tensor, r: tl.constexpr, SYSTEM: tl.constexpr
) -> Any:
    """The factors of the state and of the input at the `r`-th loaded step."""
    if SYSTEM == CONSTANT:
        a_re, a_im, c_re, c_im = rows[0], rows[1], 1.0, 0.0
    elif SYSTEM == PER_STEP:
        a_re, a_im, c_re, c_im = v_re[r], v_im[r], 1.0, 0.0
    else:
        a_re, a_im, c_re, c_im = discretize(rows, 1.0 if dt is None else v_re[r], SYSTEM)
    return a_re, a_im, c_re, c_im


@triton.jit
def steps(
    rows: tl.tensor,
    v_re: tl.tensor,
    v_im: tl.tensor,
    u_re: tl.tensor,
    u_im: tl.tensor,
    dt: tl.tensor,
    SYSTEM: tl.constexpr,
    ROWS: tl.constexpr,
) -> Any:
    """`a` and `b` of the loaded steps, `x_t = a_t x_{t-1} + b_t`."""
    a_re, a_im, b_re, b_im = (), (), (), ()
    for r in tl.static_range(ROWS):
        p_re, p_im, c_re, c_im = factor(rows, v_re, v_im, dt, r, SYSTEM)
        q_re, q_im = u_re[r], u_im[r]
        if SYSTEM > PER_STEP:
            q_re, q_im = multiply(c_re, c_im, q_re, q_im)
        a_re, a_im, b_re, b_im = a_re + (p_re,), a_im + (p_im,), b_re + (q_re,), b_im + (q_im,)  # noqa: RUF005
    return a_re, a_im, b_re, b_im


@triton.jit
def adjoint_steps(
    rows: tl.tensor,
    v_re: tl.tensor,
    v_im: tl.tensor,
    dx_re: tl.tensor,
    dx_im: tl.tensor,
    dt: tl.tensor,
    SYSTEM: tl.constexpr,
    ROWS: tl.constexpr,
) -> Any:
    """`conj(a)` and `conj(a) dx` of the loaded steps, `h_t = conj(a_t) (dx_t + h_{t+1})`."""
    a_re, a_im, b_re, b_im = (), (), (), ()
    for r in tl.static_range(ROWS):
        p_re, p_im, _c_re, _c_im = factor(rows, v_re, v_im, dt, r, SYSTEM)
        q_re, q_im = multiply_conj(p_re, p_im, dx_re[r], dx_im[r])
        a_re, a_im, b_re, b_im = a_re + (p_re,), a_im + (-p_im,), b_re + (q_re,), b_im + (q_im,)  # noqa: RUF005
    return a_re, a_im, b_re, b_im


@triton.jit
def total(
    a_re: tl.tensor,
    a_im: tl.tensor,
    b_re: tl.tensor,
    b_im: tl.tensor,
    ROWS: tl.constexpr,
    GUARDED: tl.constexpr = False,
) -> Any:
    """The map `p x + e` of all loaded steps together."""
    p_re, p_im, e_re, e_im = a_re[0], a_im[0], b_re[0], b_im[0]
    for r in tl.static_range(1, ROWS):
        p_re, p_im = multiply(a_re[r], a_im[r], p_re, p_im)
        e_re, e_im = affine(a_re[r], a_im[r], e_re, e_im, b_re[r], b_im[r], GUARDED)
    return p_re, p_im, e_re, e_im


@triton.jit
def beginnings(
    p_re: tl.tensor,
    p_im: tl.tensor,
    e_re: tl.tensor,
    e_im: tl.tensor,
    carry_re: tl.tensor,
    carry_im: tl.tensor,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
) -> Any:
    """The state before the steps of each thread; for the first thread, the carry."""
    q_re, q_im, f_re, f_im, _p_re, _p_im, _e_re, _e_im = compose(p_re, p_im, e_re, e_im, WIDTH, BLOCK)
    return affine(q_re, q_im, carry_re, carry_im, f_re, f_im)


@triton.jit
def carry_kernel(
    a: tl.tensor,
    step: tl.tensor,
    dt: tl.tensor,
    b: tl.tensor,
    start: tl.tensor,
    product: tl.tensor,
    end: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    chunk: tl.tensor,
    SYSTEM: tl.constexpr,
    ADJOINT: tl.constexpr,
    REVERSE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """Write the map of each chunk but the last at the index of the next chunk, and the initial state at index 0."""
    i, n, inside = block_of_states(states, BLOCK)
    c, chunks = tl.program_id(1), tl.num_programs(1) + 1
    rows = parameters(a, step, n, inside, states, SYSTEM)
    part = chunk // WIDTH  # steps of each thread
    first = c * chunk + tl.arange(0, WIDTH)[:, None] * part
    e_re = tl.zeros([WIDTH, BLOCK], b.dtype.element_ty)
    e_im, p_re, p_im = e_re, e_re + 1.0, e_re
    for k0 in range(0, part, ROWS):
        k = first + k0
        u_re, u_im = load_rows(b, i, k, n, inside, length, states, REVERSE, ROWS)
        v_re, v_im = load_steps(a, dt, i, k, n, inside, length, states, SYSTEM, REVERSE, ROWS)
        if ADJOINT:
            a_re, a_im, b_re, b_im = adjoint_steps(rows, v_re, v_im, u_re, u_im, dt, SYSTEM, ROWS)
        else:
            a_re, a_im, b_re, b_im = steps(rows, v_re, v_im, u_re, u_im, dt, SYSTEM, ROWS)
        q_re, q_im, f_re, f_im = total(a_re, a_im, b_re, b_im, ROWS)
        p_re, p_im = multiply(q_re, q_im, p_re, p_im)
        e_re, e_im = affine(q_re, q_im, e_re, e_im, f_re, f_im)
    _re, _im, _g_re, _g_im, p_re, p_im, e_re, e_im = compose(p_re, p_im, e_re, e_im, WIDTH, BLOCK)
    at = (i * chunks + c) * 2 * states + n
    if c == 0:
        s_re, s_im = load_start(start, i, 0, 1, n, inside, states, b)
        store_row(product, at, inside, states, tl.zeros_like(s_re), tl.zeros_like(s_re))
        store_row(end, at, inside, states, s_re, s_im)
    at += 2 * states
    p_re, p_im = last(p_re, p_im, WIDTH)
    e_re, e_im = last(e_re, e_im, WIDTH)
    store_row(product, at, inside, states, p_re, p_im)
    store_row(end, at, inside, states, e_re, e_im)


@triton.jit
def forward_kernel(
    a: tl.tensor,
    step: tl.tensor,
    dt: tl.tensor,
    b: tl.tensor,
    start: tl.tensor,
    x: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    chunk: tl.tensor,
    SYSTEM: tl.constexpr,
    REVERSE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    GUARDED: tl.constexpr = False,
) -> None:
    """`x_t = a_t x_{t-1} + b_t`."""
    i, n, inside = block_of_states(states, BLOCK)
    chunks = tl.num_programs(1)
    c = chunks - 1 - tl.program_id(1)  # begin with the data that the previous pass read last: it may still be cached
    rows = parameters(a, step, n, inside, states, SYSTEM)
    s_re, s_im = load_start(start, i, c, chunks, n, inside, states, b)
    w = tl.arange(0, WIDTH)[:, None]
    for k0 in range(c * chunk, tl.minimum(length, (c + 1) * chunk), WIDTH * ROWS):
        k = k0 + w * ROWS
        u_re, u_im = load_rows(b, i, k, n, inside, length, states, REVERSE, ROWS)
        v_re, v_im = load_steps(a, dt, i, k, n, inside, length, states, SYSTEM, REVERSE, ROWS)
        a_re, a_im, b_re, b_im = steps(rows, v_re, v_im, u_re, u_im, dt, SYSTEM, ROWS)
        p_re, p_im, e_re, e_im = total(a_re, a_im, b_re, b_im, ROWS, GUARDED)
        x_re, x_im = beginnings(p_re, p_im, e_re, e_im, s_re, s_im, WIDTH, BLOCK)
        at, stride = offsets(i, k, n, length, states, REVERSE)
        for r in tl.static_range(ROWS):
            x_re, x_im = affine(a_re[r], a_im[r], x_re, x_im, b_re[r], b_im[r], GUARDED)
            store_row(x, at + r * stride, (k + r < length) & inside, states, x_re, x_im)
        s_re, s_im = last(x_re, x_im, WIDTH)


@triton.jit
def linear_backward_kernel(
    dx: tl.tensor,
    a: tl.tensor,
    x0: tl.tensor,
    x: tl.tensor,
    start: tl.tensor,
    da: tl.tensor,
    db: tl.tensor,
    dx0: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    chunk: tl.tensor,
    SYSTEM: tl.constexpr,
    REVERSE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """`g_t = dx_t + h`, `db_t = g_t`, `da_t = g_t conj(x_{t-1})`, `h = conj(a_t) g_t`, the last of them `dx0`."""
    i, n, inside = block_of_states(states, BLOCK)
    chunks = tl.num_programs(1)
    c = chunks - 1 - tl.program_id(1)
    rows = parameters(a, None, n, inside, states, SYSTEM)
    s_re, s_im = load_start(start, i, c, chunks, n, inside, states, x)
    w = tl.arange(0, WIDTH)[:, None]
    home = tl.broadcast_to(i * 2 * states + n, [WIDTH, BLOCK])
    sum_re = tl.zeros([WIDTH, BLOCK], x.dtype.element_ty)
    sum_im = sum_re
    for k0 in range(c * chunk, tl.minimum(length, (c + 1) * chunk), WIDTH * ROWS):
        k = k0 + w * ROWS
        dx_re, dx_im = load_rows(dx, i, k, n, inside, length, states, REVERSE, ROWS)
        y_re, y_im = load_before(x, x0, i, k, n, inside, length, states, REVERSE, ROWS)
        v_re, v_im = load_steps(a, None, i, k, n, inside, length, states, SYSTEM, REVERSE, ROWS)
        a_re, a_im, b_re, b_im = adjoint_steps(rows, v_re, v_im, dx_re, dx_im, None, SYSTEM, ROWS)
        p_re, p_im, e_re, e_im = total(a_re, a_im, b_re, b_im, ROWS)
        h_re, h_im = beginnings(p_re, p_im, e_re, e_im, s_re, s_im, WIDTH, BLOCK)
        at, stride = offsets(i, k, n, length, states, REVERSE)
        tile_re = tl.zeros([WIDTH, BLOCK], x.dtype.element_ty)
        tile_im = tile_re
        for r in tl.static_range(ROWS):
            mask = (k + r < length) & inside
            # Beyond the end the maps continue and may overflow; the mask keeps them out of the sums.
            g_re, g_im = tl.where(mask, dx_re[r] + h_re, 0.0), tl.where(mask, dx_im[r] + h_im, 0.0)
            store_row(db, at + r * stride, mask, states, g_re, g_im)
            da_re, da_im = multiply_conj(y_re[r], y_im[r], g_re, g_im)
            if SYSTEM == PER_STEP:
                store_row(da, at + r * stride, mask, states, da_re, da_im)
            else:
                tile_re, tile_im = tile_re + da_re, tile_im + da_im
            h_re, h_im = multiply(a_re[r], a_im[r], g_re, g_im)
            store_row(dx0, home, (k + r + 1 == length) & inside, states, h_re, h_im)
        sum_re, sum_im = sum_re + tile_re, sum_im + tile_im
        s_re, s_im = last(h_re, h_im, WIDTH)
    if SYSTEM == CONSTANT:
        at = (i * chunks + c) * 2 * states + n
        store_row(da, at, inside, states, tl.sum(sum_re, 0)[None, :], tl.sum(sum_im, 0)[None, :])


@triton.jit
def ssm_backward_kernel(
    dx: tl.tensor,
    Lambda: tl.tensor,
    step: tl.tensor,
    dt: tl.tensor,
    Bu: tl.tensor,
    x0: tl.tensor,
    x: tl.tensor,
    start: tl.tensor,
    dparameters: tl.tensor,
    ddt: tl.tensor,
    dBu: tl.tensor,
    dx0: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    chunk: tl.tensor,
    SYSTEM: tl.constexpr,
    REVERSE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """The adjoint of the forward kernel; `dparameters` receives the gradients of `Lambda` (2 rows) and `step`."""
    i, n, inside = block_of_states(states, BLOCK)
    chunks = tl.num_programs(1)
    c = chunks - 1 - tl.program_id(1)
    lane, n_block = tl.arange(0, BLOCK)[None, :], (tl.program_id(0) % tl.cdiv(states, BLOCK)).to(tl.int64)
    rows = parameters(Lambda, step, n, inside, states, SYSTEM)
    s_re, s_im = load_start(start, i, c, chunks, n, inside, states, x)
    w = tl.arange(0, WIDTH)[:, None]
    home = tl.broadcast_to(i * 2 * states + n, [WIDTH, BLOCK])
    sum_re = tl.zeros([WIDTH, BLOCK], x.dtype.element_ty)
    sum_im, sum_step = sum_re, sum_re
    for k0 in range(c * chunk, tl.minimum(length, (c + 1) * chunk), WIDTH * ROWS):
        k = k0 + w * ROWS
        dx_re, dx_im = load_rows(dx, i, k, n, inside, length, states, REVERSE, ROWS)
        y_re, y_im = load_before(x, x0, i, k, n, inside, length, states, REVERSE, ROWS)
        u_re, u_im = load_rows(Bu, i, k, n, inside, length, states, REVERSE, ROWS)
        v_re, v_im = load_steps(Lambda, dt, i, k, n, inside, length, states, SYSTEM, REVERSE, ROWS)
        a_re, a_im, b_re, b_im = adjoint_steps(rows, v_re, v_im, dx_re, dx_im, dt, SYSTEM, ROWS)
        p_re, p_im, e_re, e_im = total(a_re, a_im, b_re, b_im, ROWS)
        h_re, h_im = beginnings(p_re, p_im, e_re, e_im, s_re, s_im, WIDTH, BLOCK)
        at, stride = offsets(i, k, n, length, states, REVERSE)
        tile_re = tl.zeros([WIDTH, BLOCK], x.dtype.element_ty)
        tile_im, tile_step, slope = tile_re, tile_re, tile_re
        for r in tl.static_range(ROWS):
            mask = (k + r < length) & inside
            g_re, g_im = tl.where(mask, dx_re[r] + h_re, 0.0), tl.where(mask, dx_im[r] + h_im, 0.0)
            h_re, h_im = multiply(a_re[r], a_im[r], g_re, g_im)
            store_row(dx0, home, (k + r + 1 == length) & inside, states, h_re, h_im)
            f_re, f_im, c_re, c_im = factor(rows, v_re, v_im, dt, r, SYSTEM)
            du_re, du_im = multiply_conj(c_re, c_im, g_re, g_im)
            store_row(dBu, at + r * stride, mask, states, du_re, du_im)

            now = 1.0 if dt is None else v_re[r]
            E_re, E_im, M_re, M_im = slopes(rows, now, f_re, f_im, c_re, c_im, SYSTEM)
            dA_re, dA_im = multiply_conj(y_re[r], y_im[r], g_re, g_im)
            dc_re, dc_im = multiply_conj(u_re[r], u_im[r], g_re, g_im)
            EA_re, EA_im = multiply_conj(E_re, E_im, dA_re, dA_im)
            Mc_re, Mc_im = multiply_conj(M_re, M_im, dc_re, dc_im)
            Delta = rows[4] * now
            tile_re, tile_im = tile_re + Delta * EA_re + Mc_re, tile_im + Delta * EA_im + Mc_im
            dDelta = rows[0] * EA_re + rows[1] * EA_im
            if SYSTEM != DIRAC:
                dDelta += E_re * dc_re + E_im * dc_im
            tile_step += dDelta * now
            if dt is not None:
                slope = tl.where(lane == r, tl.sum(dDelta * rows[4], 1)[:, None], slope)
        if dt is not None:
            t = length - 1 - k - lane if REVERSE else k + lane
            tl.store(ddt + (n_block * batch + i) * length + t, slope, (lane < ROWS) & (k + lane < length))
        sum_re, sum_im, sum_step = sum_re + tile_re, sum_im + tile_im, sum_step + tile_step
        s_re, s_im = last(h_re, h_im, WIDTH)
    at = (i * chunks + c) * 3 * states + n
    store_row(dparameters, at, inside, states, tl.sum(sum_re, 0)[None, :], tl.sum(sum_im, 0)[None, :])
    tl.store(dparameters + at + 2 * states, tl.sum(sum_step, 0)[None, :], inside)
