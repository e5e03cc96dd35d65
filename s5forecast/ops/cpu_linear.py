"""Numba kernels of the scan and of its adjoint, serial and free of the GIL, one pass over memory each.

A kernel walks over the batch elements `first ... last - 1` and, in the order of its own recurrence, over the
steps `start ... stop - 1`; `state` holds what is carried from step to step, and is left at its last value.
With `carry_only`, only `state` and the product of the factors are computed, as a later time chunk needs them.
"""

import numpy as np

from s5forecast.ops.cpu_rows import FLUSH, Array, Part, kernel, planes


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
