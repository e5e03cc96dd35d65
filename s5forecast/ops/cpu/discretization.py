"""The discretizations of ops/discretization.py and their derivatives, for the kernels of kernels.py.

The functions of libm do not vectorize. In float32 the complex exponential is computed by the polynomials of Cephes
(Stephen L. Moshier, 1989) instead.
"""

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from s5forecast.ops.cpu.rows import INNER, Array, planes, row

ZOH, BILINEAR, DIRAC = 0, 1, 2
LAMBDA, INVERSE, STEP, BAR, SCALE, OUTER, SLOPES = range(0, 14, 2)  # groups of rows
INLINED: Any = {**INNER, "forceinline": True}

LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
ROUND_32, ROUND_64 = np.float32(1.5 * 2**23), 1.5 * 2**52  # adding it rounds to an integer, held in the low bits
ONE_BITS, ROUND_BITS = np.int32(0x3F800000), ROUND_32.view(np.int32)
EXP = 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5
SIN = -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1
COS = 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5
EXP_32, SIN_32, COS_32 = (tuple(map(np.float32, coefficients)) for coefficients in (EXP, SIN, COS))
ONE, LOWEST, HIGHEST, OCTANT = np.float32(1), np.float32(-104), np.float32(89), np.float32(0.7854)
LARGE = np.float32(64)  # exponent from which subtracting 1 from a power of two has no effect


def exponential(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    """`exp(z)`, real and imaginary part, and the real part of `exp(z) - 1`, with `Im z = Lambda_im Delta`."""
    raise NotImplementedError


@overload(exponential, jit_options=INLINED)
def _(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    return _exponential_32 if z_re == types.float32 else _exponential_64


def _exponential_64(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    z_im = Lambda_im * Delta
    growth, sin_half = np.exp(z_re), np.sin(0.5 * z_im)
    cos = np.cos(z_im)
    return growth * cos, growth * np.sin(z_im), np.expm1(z_re) * cos - 2.0 * sin_half * sin_half


def _exponential_32(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    x = LOWEST if z_re < LOWEST else z_re
    x = HIGHEST if x > HIGHEST else x  # in this order NaN propagates
    shifted = x * LOG2E + ROUND_32
    whole = shifted - ROUND_32
    r = x - whole * LN2_HIGH - whole * LN2_LOW
    # The power of two in two factors: the product overflows and underflows later than the power itself.
    exponent = np.float32(shifted).view(np.int32) - ROUND_BITS
    half = exponent >> np.int32(1)
    power_1 = np.int32((half << np.int32(23)) + ONE_BITS).view(np.float32)
    power_2 = np.int32(((exponent - half) << np.int32(23)) + ONE_BITS).view(np.float32)
    c5, c4, c3, c2, c1, c0 = EXP_32
    q = ((((c5 * r + c4) * r + c3) * r + c2) * r + c1) * r + c0
    r = r + r * r * q  # exp(r) - 1
    growth, power = (power_1 * r + power_1) * power_2, power_1 * power_2
    growth_1 = growth if whole > LARGE else power * r + (power - ONE)

    turn = np.float64(Lambda_im) * np.float64(Delta)  # exact
    shifted_64 = turn * (2 / np.pi) + ROUND_64
    r = np.float32(turn - (shifted_64 - ROUND_64) * (np.pi / 2))
    r = -OCTANT if r < -OCTANT else r
    r = OCTANT if r > OCTANT else r
    quadrant = np.int32(np.float64(shifted_64).view(np.int64))
    r2 = r * r
    c2, c1, c0 = SIN_32
    sine = r + r * r2 * ((c2 * r2 + c1) * r2 + c0)
    c3, c2, c1, c0 = COS_32
    cosine_1 = r2 * (((c3 * r2 + c2) * r2 + c1) * r2 + c0)
    swap = (quadrant & np.int32(1)) != np.int32(0)
    sin = ONE + cosine_1 if swap else sine
    cos = sine if swap else ONE + cosine_1
    sin = -sin if (quadrant & np.int32(2)) != np.int32(0) else sin
    cos = -cos if ((quadrant + np.int32(1)) & np.int32(2)) != np.int32(0) else cos
    cos_1 = cosine_1 if (quadrant & np.int32(3)) == np.int32(0) else cos - ONE
    return growth * cos, growth * sin, growth_1 * cos + cos_1


@numba.njit(**INLINED)
def discretize(Lambda: Array, inverse: Array, step: Array, dt: float, bar: Array, scale: Array, method: int) -> None:
    """`Lambda_bar` and `input_scale` for the steps `step dt`, as defined in ops/discretization.py."""
    states = step.size
    l_re, l_im = planes(Lambda, LAMBDA, 0, states)
    v_re, v_im = planes(inverse, INVERSE, 0, states)
    unit = row(step, STEP, 0)
    bar_re, bar_im = planes(bar, BAR, 0, states)
    s_re, s_im = planes(scale, SCALE, 0, states)
    number = step.dtype.type
    zero, half, one, sixth, tiny = number(0), number(0.5), number(1), number(1 / 6), number(1e-5)
    if method == BILINEAR:
        for n in range(states):
            delta = unit[n] * dt
            re, im = half * l_re[n] * delta, half * l_im[n] * delta
            norm = (one - re) * (one - re) + im * im
            w_re, w_im = (one - re) / norm, im / norm
            bar_re[n], bar_im[n] = (one + re) * w_re - im * w_im, (one + re) * w_im + im * w_re
            s_re[n], s_im[n] = delta * w_re, delta * w_im
    elif method == DIRAC:
        for n in range(states):
            delta = unit[n] * dt
            bar_re[n], bar_im[n], _ = exponential(l_re[n] * delta, l_im[n], delta)
            s_re[n], s_im[n] = one, zero
    else:
        for n in range(states):
            delta = unit[n] * dt
            re, im = l_re[n] * delta, l_im[n] * delta
            e_re, e_im, d_re = exponential(re, l_im[n], delta)
            bar_re[n], bar_im[n] = e_re, e_im
            # The quotient is accurate for the smallest numbers, but not for 0.
            small = abs(re) + abs(im) < tiny
            q_re, q_im = d_re * v_re[n] - e_im * v_im[n], d_re * v_im[n] + e_im * v_re[n]
            s_re[n] = delta * (one + half * re + sixth * (re * re - im * im)) if small else q_re
            s_im[n] = delta * (half * im + (sixth + sixth) * re * im) if small else q_im


@numba.njit(**INLINED)
def slopes(
    Lambda: Array,
    inverse: Array,
    step: Array,
    dt: float,
    bar: Array,
    scale: Array,
    outer: Array,
    inner: Array,
    method: int,
) -> None:
    """The derivatives of `Lambda_bar` and `input_scale`, expressed by two factors.

    With `outer = E` and `inner = M`: `dLambda_bar / dLambda = Delta E`, `dLambda_bar / dDelta = Lambda E`,
    `dinput_scale / dLambda = M`, and `dinput_scale / dDelta = E` (0 for dirac).
    """
    states = step.size
    l_re, l_im = planes(Lambda, LAMBDA, 0, states)
    v_re, v_im = planes(inverse, INVERSE, 0, states)
    unit = row(step, STEP, 0)
    bar_re, bar_im = planes(bar, BAR, 0, states)
    s_re, s_im = planes(scale, SCALE, 0, states)
    e_re, e_im = planes(outer, OUTER, 0, states)
    m_re, m_im = planes(inner, SLOPES, 0, states)
    number = step.dtype.type
    zero, half, one, small = number(0), number(0.5), number(1), number(0.25 if step.itemsize == 4 else 0.02)
    c0, c1, c2, c3 = number(1 / 2), number(1 / 3), number(1 / 8), number(1 / 30)
    c4, c5, c6 = number(1 / 144), number(1 / 840), number(1 / 5760)
    if method == BILINEAR:
        for n in range(states):
            delta = unit[n] * dt
            re, im = half * l_re[n] * delta, half * l_im[n] * delta
            norm = (one - re) * (one - re) + im * im
            w_re, w_im = (one - re) / norm, im / norm
            re, im = w_re * w_re - w_im * w_im, (w_re + w_re) * w_im
            e_re[n], e_im[n] = re, im
            m_re[n], m_im[n] = half * delta * delta * re, half * delta * delta * im
    elif method == DIRAC:
        for n in range(states):
            e_re[n], e_im[n] = bar_re[n], bar_im[n]
            m_re[n], m_im[n] = zero, zero
    else:
        for n in range(states):
            delta = unit[n] * dt
            e_re[n], e_im[n] = bar_re[n], bar_im[n]
            # (Delta exp(z) - input_scale) / Lambda; for small z as Delta^2 (1/2 + z/3 + z^2/8 + ...)
            re, im = l_re[n] * delta, l_im[n] * delta
            twice, norm = re + re, re * re + im * im
            high, low = c5 + c6 * twice, c4 - c6 * norm
            high, low = low + high * twice, c3 - high * norm
            high, low = low + high * twice, c2 - high * norm
            high, low = low + high * twice, c1 - high * norm
            high, low = low + high * twice, c0 - high * norm
            d_re, d_im = delta * bar_re[n] - s_re[n], delta * bar_im[n] - s_im[n]
            q_re, q_im = d_re * v_re[n] - d_im * v_im[n], d_re * v_im[n] + d_im * v_re[n]
            near = abs(re) + abs(im) < small
            m_re[n] = delta * delta * (low + high * re) if near else q_re
            m_im[n] = delta * delta * high * im if near else q_im
