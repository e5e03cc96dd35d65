"""Numba kernels of the scans and of their adjoints: serial, without the GIL, one pass over memory each.

A kernel runs over the batch elements `first ... last - 1` and, in the order of its own recurrence, over the steps
`start ... stop - 1` of its `part`. `state` holds the value carried from step to step and is left at its last value.
With `carry_only`, a kernel computes only `state` and the product of the factors, which later chunks of time need.

The kernels of `ssm_scan` discretize each step. A step of the same length as the previous one reuses its factors, so
regular steps cost no more than a constant `a`.
"""

import numba
import numpy as np

from s5forecast.ops.cpu.discretization import BAR, DIRAC, LAMBDA, OUTER, SCALE, SLOPES, STEP, discretize, slopes
from s5forecast.ops.cpu.rows import FLUSH, INNER, Array, Part, kernel, planes, row

# Groups of rows in the kernels of `ssm_scan`, after those of the discretization.
SUMS, SUMS_STEP, TOTAL, TOTAL_STEP, SLOPE, STATE, PRODUCT, INPUT, X, DX, DINPUT = range(14, 36, 2)


@kernel
def scan_forward(
    a: Array,
    b: Array,
    x: Array,
    state: Array,
    product: Array,
    per_step: bool,
    reverse: bool,
    part: Part,
) -> None:
    """`x_t = a_t x_{t-1} + b_t`."""
    first, last, start, stop, carry_only = part
    length, states = b.shape[1], b.shape[3]
    for i in range(first, last):
        s_re, s_im = planes(state, 0, i * 2 * states, states)
        p_re, p_im = planes(product, 2, i * 2 * states, states)
        for k in range(start, stop):
            t = length - 1 - k if reverse else k
            offset = (i * length + t) * 2 * states
            a_re, a_im = planes(a, 4, offset if per_step else 0, states)
            b_re, b_im = planes(b, 6, offset, states)
            x_re, x_im = planes(x, 8, offset, states)
            if carry_only:
                for n in range(states):
                    re = a_re[n] * s_re[n] - a_im[n] * s_im[n] + b_re[n]
                    im = a_re[n] * s_im[n] + a_im[n] * s_re[n] + b_im[n]
                    s_re[n], s_im[n] = re, im
                    re = a_re[n] * p_re[n] - a_im[n] * p_im[n]
                    im = a_re[n] * p_im[n] + a_im[n] * p_re[n]
                    p_re[n], p_im[n] = re, im
            else:
                for n in range(states):
                    re = a_re[n] * s_re[n] - a_im[n] * s_im[n] + b_re[n]
                    im = a_re[n] * s_im[n] + a_im[n] * s_re[n] + b_im[n]
                    s_re[n], s_im[n] = re, im
                    x_re[n], x_im[n] = re, im


@kernel
def scan_backward(
    dx: Array,
    x: Array,
    x0: Array,
    a: Array,
    da: Array,
    db: Array,
    total: Array,
    state: Array,
    product: Array,
    per_step: bool,
    reverse: bool,
    part: Part,
) -> None:
    """`g_t = dx_t + h`, `db_t = g_t`, `da_t = g_t conj(x_{t-1})`, `h = conj(a_t) g_t`; `state` holds `h`."""
    first, last, start, stop, carry_only = part
    length, states = dx.shape[1], dx.shape[3]
    sums = np.zeros(2 * states, dx.dtype)
    c_re, c_im = planes(sums, 14, 0, states)
    total_re, total_im = planes(total, 16, 0, states)
    for i in range(first, last):
        h_re, h_im = planes(state, 0, i * 2 * states, states)
        p_re, p_im = planes(product, 2, i * 2 * states, states)
        for k in range(start, stop):
            t = k if reverse else length - 1 - k
            offset = (i * length + t) * 2 * states
            a_re, a_im = planes(a, 4, offset if per_step else 0, states)
            dx_re, dx_im = planes(dx, 6, offset, states)
            if carry_only:
                for n in range(states):
                    re, im = dx_re[n] + h_re[n], dx_im[n] + h_im[n]
                    h_re[n], h_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                    re, im = p_re[n], p_im[n]
                    p_re[n], p_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                continue
            g_re, g_im = planes(db, 8, offset, states)
            before = offset + (2 * states if reverse else -2 * states)
            is_first = k + 1 == length
            y_re, y_im = planes(x0, 10, i * 2 * states, states) if is_first else planes(x, 10, before, states)
            if per_step:
                da_re, da_im = planes(da, 12, offset, states)
                for n in range(states):
                    re, im = dx_re[n] + h_re[n], dx_im[n] + h_im[n]
                    h_re[n], h_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                    g_re[n], g_im[n] = re, im
                    da_re[n], da_im[n] = re * y_re[n] + im * y_im[n], im * y_re[n] - re * y_im[n]
            else:
                for n in range(states):
                    re, im = dx_re[n] + h_re[n], dx_im[n] + h_im[n]
                    h_re[n], h_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                    g_re[n], g_im[n] = re, im
                    c_re[n] += re * y_re[n] + im * y_im[n]
                    c_im[n] += im * y_re[n] - re * y_im[n]
                if k % FLUSH == 0 or k + 1 == stop:
                    for n in range(states):
                        total_re[n] += c_re[n]
                        total_im[n] += c_im[n]
                        c_re[n], c_im[n] = 0.0, 0.0


@kernel
def ssm_forward(
    Lambda: Array,
    inverse: Array,
    step: Array,
    dt: Array,
    Bu: Array,
    x: Array,
    state: Array,
    product: Array,
    length: int,
    method: int,
    irregular: bool,
    reverse: bool,
    part: Part,
) -> None:
    """`x_t = Lambda_bar_t x_{t-1} + input_scale_t Bu_t`.

    Args:
        Lambda: `[2, N]`.
        inverse: `[2, N]`, `1 / Lambda`.
        step: `[N]`.
        dt: `[B T]`, or `[1]` if not `irregular`.
        Bu, x: `[B T, 2N]`.
        state, product: `[B, 2N]`.
    """
    first, last, start, stop, carry_only = part
    states = step.size
    bar, scale = np.empty_like(Lambda), np.empty_like(Lambda)
    a_re, a_im = planes(bar, BAR, 0, states)
    c_re, c_im = planes(scale, SCALE, 0, states)
    known, at = False, step.dtype.type(0)
    for i in range(first, last):
        s_re, s_im = planes(state, STATE, i * 2 * states, states)
        p_re, p_im = planes(product, PRODUCT, i * 2 * states, states)
        for k in range(start, stop):
            t = length - 1 - k if reverse else k
            now = dt[i * length + t] if irregular else dt[0]
            if not known or now != at:
                discretize(Lambda, inverse, step, now, bar, scale, method)
                known, at = True, now
            offset = (i * length + t) * 2 * states
            u_re, u_im = planes(Bu, INPUT, offset, states)
            x_re, x_im = planes(x, X, offset, states)
            if carry_only:
                for n in range(states):
                    re = a_re[n] * s_re[n] - a_im[n] * s_im[n] + (c_re[n] * u_re[n] - c_im[n] * u_im[n])
                    im = a_re[n] * s_im[n] + a_im[n] * s_re[n] + (c_re[n] * u_im[n] + c_im[n] * u_re[n])
                    s_re[n], s_im[n] = re, im
                    re, im = p_re[n], p_im[n]
                    p_re[n], p_im[n] = a_re[n] * re - a_im[n] * im, a_re[n] * im + a_im[n] * re
            else:
                for n in range(states):
                    re = a_re[n] * s_re[n] - a_im[n] * s_im[n] + (c_re[n] * u_re[n] - c_im[n] * u_im[n])
                    im = a_re[n] * s_im[n] + a_im[n] * s_re[n] + (c_re[n] * u_im[n] + c_im[n] * u_re[n])
                    s_re[n], s_im[n] = re, im
                    x_re[n], x_im[n] = re, im


@numba.njit(**{**INNER, "fastmath": {"contract", "nsz", "reassoc"}})
def add_up(values: Array) -> float:
    """The sum of all values, in an order that vectorizes."""
    total = values[0] * 0
    for n in range(values.size):
        total += values[n]
    return total


@kernel
def ssm_backward(
    dx: Array,
    x: Array,
    x0: Array,
    Lambda: Array,
    inverse: Array,
    step: Array,
    dt: Array,
    Bu: Array,
    dBu: Array,
    ddt: Array,
    total: Array,
    state: Array,
    product: Array,
    length: int,
    method: int,
    irregular: bool,
    reverse: bool,
    part: Part,
) -> None:
    """The adjoint of `ssm_forward`; `total [3, N]` receives the gradients with respect to `Lambda` and `step`.

    `dx`, `x`, `Bu` and `dBu` are `[B T, 2N]`, `x0` is `[B, 2N]`, and `ddt` is `[B T]`.
    """
    first, last, start, stop, carry_only = part
    states = step.size
    bar, scale = np.empty_like(Lambda), np.empty_like(Lambda)
    outer, inner, sums = np.empty_like(Lambda), np.empty_like(Lambda), np.zeros(3 * states, dx.dtype)
    slope = np.zeros(max(states, 1), dx.dtype)
    with_input = dx.dtype.type(0 if method == DIRAC else 1)
    a_re, a_im = planes(bar, BAR, 0, states)
    c_re, c_im = planes(scale, SCALE, 0, states)
    e_re, e_im = planes(outer, OUTER, 0, states)
    m_re, m_im = planes(inner, SLOPES, 0, states)
    l_re, l_im = planes(Lambda, LAMBDA, 0, states)
    sum_re, sum_im = planes(sums, SUMS, 0, states)
    sum_step, unit, w = row(sums, SUMS_STEP, 2 * states), row(step, STEP, 0), row(slope, SLOPE, 0)
    total_re, total_im = planes(total, TOTAL, 0, states)
    total_step = row(total, TOTAL_STEP, 2 * states)
    known, at = False, step.dtype.type(0)
    for i in range(first, last):
        h_re, h_im = planes(state, STATE, i * 2 * states, states)
        p_re, p_im = planes(product, PRODUCT, i * 2 * states, states)
        for k in range(start, stop):
            t = k if reverse else length - 1 - k
            now = dt[i * length + t] if irregular else dt[0]
            if not known or now != at:
                discretize(Lambda, inverse, step, now, bar, scale, method)
                slopes(Lambda, inverse, step, now, bar, scale, outer, inner, method)
                known, at = True, now
            offset = (i * length + t) * 2 * states
            dx_re, dx_im = planes(dx, DX, offset, states)
            if carry_only:
                for n in range(states):
                    re, im = dx_re[n] + h_re[n], dx_im[n] + h_im[n]
                    h_re[n], h_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                    re, im = p_re[n], p_im[n]
                    p_re[n], p_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                continue
            u_re, u_im = planes(Bu, INPUT, offset, states)
            du_re, du_im = planes(dBu, DINPUT, offset, states)
            before = offset + (2 * states if reverse else -2 * states)
            is_first = k + 1 == length
            y_re, y_im = planes(x0, X, i * 2 * states, states) if is_first else planes(x, X, before, states)
            for n in range(states):
                re, im = dx_re[n] + h_re[n], dx_im[n] + h_im[n]
                h_re[n], h_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                du_re[n], du_im[n] = c_re[n] * re + c_im[n] * im, c_re[n] * im - c_im[n] * re
                dc_re, dc_im = re * u_re[n] + im * u_im[n], im * u_re[n] - re * u_im[n]
                da_re, da_im = re * y_re[n] + im * y_im[n], im * y_re[n] - re * y_im[n]
                q_re, q_im = e_re[n] * da_re + e_im[n] * da_im, e_re[n] * da_im - e_im[n] * da_re
                delta = unit[n] * now
                sum_re[n] += delta * q_re + (m_re[n] * dc_re + m_im[n] * dc_im)
                sum_im[n] += delta * q_im + (m_re[n] * dc_im - m_im[n] * dc_re)
                d_delta = l_re[n] * q_re + l_im[n] * q_im + with_input * (e_re[n] * dc_re + e_im[n] * dc_im)
                sum_step[n] += d_delta * now
                w[n] = d_delta * unit[n]
            if irregular:
                ddt[i * length + t] = add_up(slope)
            if k % FLUSH == 0 or k + 1 == stop:
                for n in range(states):
                    total_re[n] += sum_re[n]
                    total_im[n] += sum_im[n]
                    total_step[n] += sum_step[n]
                    sum_re[n], sum_im[n], sum_step[n] = 0.0, 0.0, 0.0
