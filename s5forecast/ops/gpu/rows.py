"""Building blocks of the GPU kernels: rows of complex numbers, affine maps and the discretization.

A row holds the states `n` of one time step, one per thread; several time steps side by side form a block
`[WIDTH, BLOCK]`. A complex number is a pair of rows, and several successive steps are a tuple of rows.
"""

# mypy: disable-error-code=assignment

from math import factorial
from typing import Any

import triton
import triton.language as tl

# The kinds of systems: `linear_scan` with one factor or one per step, and the discretizations of `ssm_scan`.
CONSTANT, PER_STEP = tl.constexpr(0), tl.constexpr(1)
ZOH, BILINEAR, DIRAC = tl.constexpr(2), tl.constexpr(3), tl.constexpr(4)

# pi / 2 and ln 2 as sums of short numbers, whose products with small integers are exact
QUARTER = tl.constexpr((1.5703125, 4.837512969970703125e-4, 7.549789954891882e-8))
LN2 = tl.constexpr((0.693359375, -2.1219444005469057e-4))
LOG2E, TWO_OVER_PI, OCTANT = tl.constexpr(1.4426950408889634), tl.constexpr(0.6366197723675814), tl.constexpr(0.7854)
EXP = tl.constexpr(tuple(1 / factorial(k) for k in range(14, 1, -1)))  # Taylor coefficients, highest order first
SIN = tl.constexpr(tuple((-1) ** (k // 2) / factorial(k) for k in range(17, 1, -2)))
COS = tl.constexpr(tuple((-1) ** (k // 2) / factorial(k) for k in range(16, 0, -2)))
SLOPE = tl.constexpr(tuple(1 / (factorial(k) * (k + 2)) for k in range(6, -1, -1)))


@triton.jit
def multiply(u_re: tl.tensor, u_im: tl.tensor, v_re: tl.tensor, v_im: tl.tensor) -> Any:
    """`u v`."""
    return u_re * v_re - u_im * v_im, u_re * v_im + u_im * v_re


@triton.jit
def multiply_conj(u_re: tl.tensor, u_im: tl.tensor, v_re: tl.tensor, v_im: tl.tensor) -> Any:
    """`conj(u) v`."""
    return u_re * v_re + u_im * v_im, u_re * v_im - u_im * v_re


@triton.jit
def affine(
    p_re: tl.tensor,
    p_im: tl.tensor,
    v_re: tl.tensor,
    v_im: tl.tensor,
    e_re: tl.tensor,
    e_im: tl.tensor,
    GUARDED: tl.constexpr = True,
) -> Any:
    """`p v + e`. If guarded, a `v` of 0 gives `e`, even if a growing product of factors has overflowed."""
    if GUARDED:
        zero = (v_re == 0) & (v_im == 0)
        p_re, p_im = tl.where(zero, 0.0, p_re), tl.where(zero, 0.0, p_im)
    # In this order it takes four operations; the product followed by the sum takes six.
    return (p_re * v_re + e_re) - p_im * v_im, (p_re * v_im + e_im) + p_im * v_re


@triton.jit
def then(
    q0_re: tl.tensor,
    q0_im: tl.tensor,
    f0_re: tl.tensor,
    f0_im: tl.tensor,
    p0_re: tl.tensor,
    p0_im: tl.tensor,
    e0_re: tl.tensor,
    e0_im: tl.tensor,
    q_re: tl.tensor,
    q_im: tl.tensor,
    f_re: tl.tensor,
    f_im: tl.tensor,
    p_re: tl.tensor,
    p_im: tl.tensor,
    e_re: tl.tensor,
    e_im: tl.tensor,
) -> Any:
    """Compose two pairs of maps: `p v + e` after `p0 v + e0`, and `q v + f`, which excludes the last map."""
    r_re, r_im = q_re * p0_re - q_im * p0_im, q_re * p0_im + q_im * p0_re
    s_re, s_im = p_re * p0_re - p_im * p0_im, p_re * p0_im + p_im * p0_re
    zero = (e0_re == 0) & (e0_im == 0)
    q_re, q_im = tl.where(zero, 0.0, q_re), tl.where(zero, 0.0, q_im)
    p_re, p_im = tl.where(zero, 0.0, p_re), tl.where(zero, 0.0, p_im)
    g_re, g_im = q_re * e0_re - q_im * e0_im + f_re, q_re * e0_im + q_im * e0_re + f_im
    h_re, h_im = p_re * e0_re - p_im * e0_im + e_re, p_re * e0_im + p_im * e0_re + e_im
    return r_re, r_im, g_re, g_im, s_re, s_im, h_re, h_im


@triton.jit
def compose(
    p_re: tl.tensor, p_im: tl.tensor, e_re: tl.tensor, e_im: tl.tensor, WIDTH: tl.constexpr, BLOCK: tl.constexpr
) -> Any:
    """Compose each map `p v + e` along the first axis with all maps before it, excluding and including itself."""
    p_re, p_im = tl.broadcast_to(p_re, [WIDTH, BLOCK]), tl.broadcast_to(p_im, [WIDTH, BLOCK])
    zero = tl.zeros_like(e_re)
    return tl.associative_scan((zero + 1.0, zero, zero, zero, p_re, p_im, e_re, e_im), 0, then)


@triton.jit
def add(u_re: tl.tensor, u_im: tl.tensor, v_re: tl.tensor, v_im: tl.tensor) -> Any:
    return u_re + v_re, u_im + v_im


@triton.jit
def last(re: tl.tensor, im: tl.tensor, WIDTH: tl.constexpr) -> Any:
    """`[WIDTH, BLOCK]` to its last row, `[1, BLOCK]`."""
    is_last = tl.arange(0, WIDTH)[:, None] == WIDTH - 1
    re, im = tl.reduce((tl.where(is_last, re, 0.0), tl.where(is_last, im, 0.0)), 0, add)
    return re[None, :], im[None, :]


@triton.jit
def load_row(
    v: tl.tensor, at: tl.tensor, mask: tl.tensor, states: tl.tensor, other_re: tl.tensor, other_im: tl.tensor
) -> Any:
    return tl.load(v + at, mask, other=other_re), tl.load(v + at + states, mask, other=other_im)


@triton.jit
def store_row(v: tl.tensor, at: tl.tensor, mask: tl.tensor, states: tl.tensor, re: tl.tensor, im: tl.tensor) -> Any:
    tl.store(v + at, re, mask)
    tl.store(v + at + states, im, mask)


@triton.jit
def block_of_states(states: tl.tensor, BLOCK: tl.constexpr) -> Any:
    """The batch element of this program, the indices of its states `[1, BLOCK]`, and a mask of the valid ones."""
    blocks = tl.cdiv(states, BLOCK)
    program = tl.program_id(0)
    n = (program % blocks) * BLOCK + tl.arange(0, BLOCK)[None, :]
    return (program // blocks).to(tl.int64), n, n < states


@triton.jit
def offsets(
    i: tl.tensor, k: tl.tensor, n: tl.tensor, length: tl.tensor, states: tl.tensor, REVERSE: tl.constexpr
) -> Any:
    """The offset of step `k`, counted in the order of the scan, in `[B, T, 2, N]`, and the stride to the next step."""
    t = length - 1 - k if REVERSE else k
    stride = -2 * states if REVERSE else 2 * states
    return (i * length + t) * (2 * states) + n, stride


@triton.jit
def parameters(
    a: tl.tensor, step: tl.tensor, n: tl.tensor, inside: tl.tensor, states: tl.tensor, SYSTEM: tl.constexpr
) -> Any:
    """The parameters shared by all steps: `a`, or `Lambda`, `1 / Lambda` and `step`, each `[1, BLOCK]`."""
    if SYSTEM == PER_STEP:
        rows = ()
    else:
        re, im = load_row(a, n, inside, states, 0.0, 0.0)
        if SYSTEM == CONSTANT:
            rows = (re, im)
        else:
            wide_re, wide_im = re.to(tl.float64), im.to(tl.float64)
            norm = wide_re * wide_re + wide_im * wide_im
            norm = tl.where(norm > 0, norm, 1.0)
            v_re, v_im = (wide_re / norm).to(re.dtype), (-wide_im / norm).to(re.dtype)
            rows = (re, im, v_re, v_im, tl.load(step + n, inside, other=0.0))
    return rows


@triton.jit
def load_steps(
    a: tl.tensor,
    dt: tl.tensor,
    i: tl.tensor,
    k: tl.tensor,
    n: tl.tensor,
    inside: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    SYSTEM: tl.constexpr,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
) -> Any:
    """The parameters of each step: `a`, `dt` or nothing. Steps beyond the end do not change the state."""
    re, im = (), ()
    if SYSTEM == PER_STEP:
        at, stride = offsets(i, k, n, length, states, REVERSE)
        for r in tl.static_range(ROWS):
            a_re, a_im = load_row(a, at + r * stride, (k + r < length) & inside, states, 1.0, 0.0)
            re, im = re + (a_re,), im + (a_im,)  # noqa: RUF005
    elif SYSTEM != CONSTANT and dt is not None:
        for r in tl.static_range(ROWS):
            t = length - 1 - k - r if REVERSE else k + r
            re = re + (tl.load(dt + i * length + t, k + r < length, other=0.0),)  # noqa: RUF005
    return re, im


@triton.jit
def load_rows(
    v: tl.tensor,
    i: tl.tensor,
    k: tl.tensor,
    n: tl.tensor,
    inside: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
) -> Any:
    """`ROWS` steps of `v [B, T, 2, N]` from `k` on; zero beyond the end."""
    re, im = (), ()
    at, stride = offsets(i, k, n, length, states, REVERSE)
    for r in tl.static_range(ROWS):
        v_re, v_im = load_row(v, at + r * stride, (k + r < length) & inside, states, 0.0, 0.0)
        re, im = re + (v_re,), im + (v_im,)  # noqa: RUF005
    return re, im


@triton.jit
def load_start(
    start: tl.tensor,
    i: tl.tensor,
    c: tl.tensor,
    chunks: tl.tensor,
    n: tl.tensor,
    inside: tl.tensor,
    states: tl.tensor,
    like: tl.tensor,
) -> Any:
    """`start[i, c]` of `start [B, C, 2, N]`; zero if it is None."""
    if start is None:
        re = tl.zeros(n.shape, like.dtype.element_ty)
        im = re
    else:
        re, im = load_row(start, (i * chunks + c) * 2 * states + n, inside, states, 0.0, 0.0)
    return re, im


@triton.jit
def load_before(
    x: tl.tensor,
    x0: tl.tensor,
    i: tl.tensor,
    k: tl.tensor,
    n: tl.tensor,
    inside: tl.tensor,
    length: tl.tensor,
    states: tl.tensor,
    REVERSE: tl.constexpr,
    ROWS: tl.constexpr,
) -> Any:
    """The states before each of the `ROWS` steps from `k` on; the adjoint runs in the opposite direction."""
    re, im = (), ()
    first_re, first_im = load_start(x0, i, 0, 1, n, inside, states, x)
    at, stride = offsets(i, k + 1, n, length, states, REVERSE)
    for r in tl.static_range(ROWS):
        is_first, mask = k + r + 1 == length, (k + r + 1 < length) & inside
        other_re, other_im = tl.where(is_first, first_re, 0.0), tl.where(is_first, first_im, 0.0)
        v_re, v_im = load_row(x, at + r * stride, mask, states, other_re, other_im)
        re, im = re + (v_re,), im + (v_im,)  # noqa: RUF005
    return re, im


@triton.jit
def polynomial(x: tl.tensor, C: tl.constexpr, FIRST: tl.constexpr, TERMS: tl.constexpr) -> Any:
    y = x * C[FIRST] + C[FIRST + 1]
    for k in tl.static_range(FIRST + 2, TERMS):
        y = y * x + C[k]
    return y


@triton.jit
def exponential(z_re: tl.tensor, z_im: tl.tensor) -> Any:
    """`exp(z)`, real and imaginary part, and the real part of `exp(z) - 1`.

    The functions of the GPU's library would reduce the range three times, and the interpreter has no `expm1`.
    """
    WIDE: tl.constexpr = z_re.dtype == tl.float64
    ROUND: tl.constexpr = 1.5 * 2.0**52 if WIDE else 1.5 * 2.0**23  # adding it rounds to an integer, in the low bits
    ROUND_BITS: tl.constexpr = 0x4338000000000000 if WIDE else 0x4B400000
    BITS: tl.constexpr = tl.int64 if WIDE else tl.int32
    LENGTH: tl.constexpr = 64 if WIDE else 32
    MANTISSA: tl.constexpr = 52 if WIDE else 23
    ONE: tl.constexpr = 1023 if WIDE else 127
    x = clamp(z_re, -746.0 if WIDE else -104.0, 710.0 if WIDE else 89.0)
    shifted = x * LOG2E + ROUND
    whole = shifted - ROUND
    r = x - whole * LN2[0] - whole * LN2[1]
    r = r + r * r * polynomial(r, EXP, 0 if WIDE else 7, 13)  # exp(r) - 1
    # The power of two in two factors: the product overflows and underflows later than the power itself.
    exponent = shifted.to(BITS, bitcast=True) - ROUND_BITS  # bits instead of a conversion, undefined for NaN
    half = exponent >> 1
    power_1 = ((half + ONE) << MANTISSA).to(x.dtype, bitcast=True)
    power_2 = ((exponent - half + ONE) << MANTISSA).to(x.dtype, bitcast=True)
    growth, power = (power_1 * r + power_1) * power_2, power_1 * power_2
    growth_1 = tl.where(whole > 64.0, growth, power * r + (power - 1.0))  # for large powers, 1 is lost in rounding

    shifted = z_im * TWO_OVER_PI + ROUND
    turns = shifted - ROUND
    r = clamp(z_im - turns * QUARTER[0] - turns * QUARTER[1] - turns * QUARTER[2], -OCTANT, OCTANT)
    quadrant = shifted.to(BITS, bitcast=True)
    square = r * r
    sine = r + r * square * polynomial(square, SIN, 0 if WIDE else 4, 8)
    cosine_1 = square * polynomial(square, COS, 0 if WIDE else 3, 8)
    odd, cosine = (quadrant & 1) != 0, 1.0 + cosine_1
    sin, cos = tl.where(odd, cosine, sine), tl.where(odd, sine, cosine)
    sign = (quadrant & 2) << (LENGTH - 2)
    sin = (sin.to(BITS, bitcast=True) ^ sign).to(x.dtype, bitcast=True)
    sign = ((quadrant + 1) & 2) << (LENGTH - 2)
    cos = (cos.to(BITS, bitcast=True) ^ sign).to(x.dtype, bitcast=True)
    cos_1 = tl.where((quadrant & 3) == 0, cosine_1, cos - 1.0)
    return growth * cos, growth * sin, growth_1 * cos + cos_1


@triton.jit
def clamp(x: tl.tensor, LOWEST: tl.constexpr, HIGHEST: tl.constexpr) -> Any:
    """Clamp `x`; NaN propagates."""
    x = tl.maximum(x, LOWEST, propagate_nan=tl.PropagateNan.ALL)
    return tl.minimum(x, HIGHEST, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def discretize(rows: tl.tensor, dt: tl.tensor, SYSTEM: tl.constexpr) -> Any:
    """`Lambda_bar` and `input_scale` for the steps `step dt`, as defined in ops/discretization.py."""
    Delta = rows[4] * dt
    z_re, z_im = rows[0] * Delta, rows[1] * Delta
    if SYSTEM == BILINEAR:
        w_re, w_im = resolvent(z_re, z_im)
        a_re, a_im = multiply(1.0 + 0.5 * z_re, 0.5 * z_im, w_re, w_im)
        c_re, c_im = Delta * w_re, Delta * w_im
    else:
        a_re, a_im, d_re = exponential(z_re, z_im)
        if SYSTEM == DIRAC:
            c_re, c_im = tl.full(Delta.shape, 1.0, Delta.dtype), tl.zeros_like(Delta)
        else:
            c_re, c_im = multiply(d_re, a_im, rows[2], rows[3])
            # The quotient is accurate for the smallest numbers, but not for 0.
            SMALL: tl.constexpr = 1e-8 if z_re.dtype == tl.float64 else 1e-5
            small, half = tl.abs(z_re) + tl.abs(z_im) < SMALL, 0.5 * Delta
            c_re = tl.where(small, Delta + half * z_re, c_re)
            c_im = tl.where(small, half * z_im, c_im)
    return a_re, a_im, c_re, c_im


@triton.jit
def resolvent(z_re: tl.tensor, z_im: tl.tensor) -> Any:
    """`1 / (1 - z / 2)`."""
    re, im = 1.0 - 0.5 * z_re, 0.5 * z_im
    inverse = 1.0 / (re * re + im * im)
    return re * inverse, im * inverse


@triton.jit
def slopes(
    rows: tl.tensor,
    dt: tl.tensor,
    a_re: tl.tensor,
    a_im: tl.tensor,
    c_re: tl.tensor,
    c_im: tl.tensor,
    SYSTEM: tl.constexpr,
) -> Any:
    """The factors `E` and `M` of the derivatives of `discretize`.

    `dLambda_bar / dLambda = Delta E`, `dLambda_bar / dDelta = Lambda E`, `dinput_scale / dLambda = M` and
    `dinput_scale / dDelta = E` (0 for dirac).
    """
    Delta = rows[4] * dt
    z_re, z_im = rows[0] * Delta, rows[1] * Delta
    if SYSTEM == BILINEAR:
        w_re, w_im = resolvent(z_re, z_im)
        e_re, e_im = multiply(w_re, w_im, w_re, w_im)
        m_re, m_im = 0.5 * Delta * Delta * e_re, 0.5 * Delta * Delta * e_im
    else:
        e_re, e_im = a_re, a_im
        if SYSTEM == DIRAC:
            m_re, m_im = tl.zeros_like(Delta), tl.zeros_like(Delta)
        else:
            # (Delta exp(z) - input_scale) / Lambda; for small z as Delta^2 (1/2 + z/3 + z^2/8 + ...)
            m_re, m_im = multiply(Delta * a_re - c_re, Delta * a_im - c_im, rows[2], rows[3])
            twice, norm = z_re + z_re, z_re * z_re + z_im * z_im
            high, low = SLOPE[1] + SLOPE[0] * twice, SLOPE[2] - SLOPE[0] * norm
            for k in tl.static_range(3, 7):
                high, low = low + high * twice, SLOPE[k] - high * norm
            NEAR: tl.constexpr = 0.02 if z_re.dtype == tl.float64 else 0.25
            near = tl.abs(z_re) + tl.abs(z_im) < NEAR
            m_re = tl.where(near, Delta * Delta * (low + high * z_re), m_re)
            m_im = tl.where(near, Delta * Delta * high * z_im, m_im)
    return e_re, e_im, m_re, m_im
