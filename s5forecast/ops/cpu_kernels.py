"""Numba kernels of the scan and of its adjoint, serial and free of the GIL, one pass over memory each.

Every kernel walks over the batch elements `first ... last - 1` and, in the order of its recurrence, over the steps
`start ... stop - 1`; `state` holds what is carried from step to step, and is left at its last value. With
`carry_only`, nothing but `state` and the product of the factors is computed: this is what another time chunk needs.
All code that is compiled is in this file, because Numba's cache looks at the time stamp of one file only.
"""

import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, lower_builtin, models, overload, register_model, type_callable

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}}
ZOH, BILINEAR, DIRAC = 0, 1, 2
FLUSH = 64  # steps summed in the dtype of the input before they are added to the float64 sums


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles on first use, and keeps the machine code on disk where some directory is writable."""
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:
        return numba.njit(**OPTIONS)(function)


# --- rows: pointers into arrays which, the compiler is told, overlap with no row of another group; it would otherwise
# check every pair of them at every time step before it dares to vectorise, which takes longer than the arithmetic.

GROUPS = 40


class Row(types.Type):
    """A pointer to numbers of `dtype`; rows of different groups never overlap."""

    def __init__(self, dtype: types.Type, group: int) -> None:
        self.dtype = dtype
        self.group = group
        super().__init__(name=f"Row({dtype}, {group})")


register_model(Row)(models.PointerModel)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


@intrinsic(prefer_literal=True)
def row(typingctx: Any, array: Any, group: Any, offset: Any) -> Any:
    """The numbers of `array` (contiguous) from `offset` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _pointer(context, builder, signature.args[0], arguments[0], arguments[2])

    return Row(array.dtype, group.literal_value)(array, group, types.intp), generate


@intrinsic(prefer_literal=True)
def planes(typingctx: Any, array: Any, group: Any, offset: Any, states: Any) -> Any:
    """The real and the imaginary row of `states` numbers each from `offset` on, in groups `group` and `group + 1`."""
    pair = types.Tuple([Row(array.dtype, group.literal_value + plane) for plane in range(2)])

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, _, offset, states = arguments
        offsets = (offset, builder.add(offset, states))
        rows = [_pointer(context, builder, signature.args[0], array, start) for start in offsets]
        return context.make_tuple(builder, signature.return_type, rows)

    return pair(array, group, types.intp, types.intp), generate


def _annotate(builder: Any, instruction: Any, group: int) -> None:
    module = builder.module
    domain = module.add_metadata(["s5forecast rows"])
    scopes = [module.add_metadata([f"group {k}", domain]) for k in range(GROUPS)]
    instruction.set_metadata("alias.scope", module.add_metadata([scopes.pop(group)]))
    instruction.set_metadata("noalias", module.add_metadata(scopes))


@type_callable(operator.getitem)
def _(context: Any) -> Any:
    return lambda row, index: row.dtype if isinstance(row, Row) else None


@type_callable(operator.setitem)
def _(context: Any) -> Any:
    return lambda row, index, value: types.none if isinstance(row, Row) else None


@lower_builtin(operator.getitem, Row, types.Integer)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer, index = arguments
    value = builder.load(builder.gep(pointer, [index]))
    _annotate(builder, value, signature.args[0].group)
    return value


@lower_builtin(operator.setitem, Row, types.Integer, types.Float)
def _(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer, index, value = arguments
    value = context.cast(builder, value, signature.args[2], signature.args[0].dtype)
    _annotate(builder, builder.store(value, builder.gep(pointer, [index])), signature.args[0].group)
    return context.get_dummy_value()


# --- the exponential: libm's functions do not vectorise, so float32 has polynomials of its own (those of Cephes, Stephen
# L. Moshier, 1989), within 2 units in the last place.

LOG2E, LN2_HIGH, LN2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
ROUND_32, ROUND_64 = np.float32(1.5 * 2**23), 1.5 * 2**52  # adding this rounds, and puts the integer in the low bits
ONE_BITS = np.int32(0x3F800000)
EXP = tuple(map(np.float32, (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)))
SIN = tuple(map(np.float32, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)))
COS = tuple(map(np.float32, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2, -0.5)))
ONE, LOWEST, HIGHEST, OCTANT = np.float32(1), np.float32(-87), np.float32(88), np.float32(0.7854)


def exponential(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    """`exp(z)`, real and imaginary part, and the real part of `exp(z) - 1`, with `Im z = Lambda_im Delta`."""
    raise NotImplementedError


@overload(exponential, jit_options={**OPTIONS, "forceinline": True})
def _(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    return _exponential_32 if z_re == types.float32 else _exponential_64


def _exponential_64(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    z_im = Lambda_im * Delta
    growth, sin_half = np.exp(z_re), np.sin(0.5 * z_im)
    cos = np.cos(z_im)
    return growth * cos, growth * np.sin(z_im), np.expm1(z_re) * cos - 2.0 * sin_half * sin_half


def _exponential_32(z_re: Any, Lambda_im: Any, Delta: Any) -> Any:
    x = LOWEST if z_re < LOWEST else z_re
    x = HIGHEST if x > HIGHEST else x  # in this order a NaN stays
    shifted = x * LOG2E + ROUND_32
    whole = shifted - ROUND_32
    r = x - whole * LN2_HIGH - whole * LN2_LOW
    power = np.int32((np.float32(shifted).view(np.int32) << np.int32(23)) + ONE_BITS).view(np.float32)
    c5, c4, c3, c2, c1, c0 = EXP
    q = ((((c5 * r + c4) * r + c3) * r + c2) * r + c1) * r + c0
    growth_1 = power * (r + r * r * q) + (power - ONE)

    turn = np.float64(Lambda_im) * np.float64(Delta)  # exact
    shifted_64 = turn * (2 / np.pi) + ROUND_64
    r = np.float32(turn - (shifted_64 - ROUND_64) * (np.pi / 2))
    r = -OCTANT if r < -OCTANT else r
    r = OCTANT if r > OCTANT else r
    quadrant = np.int32(np.float64(shifted_64).view(np.int64))
    r2 = r * r
    c2, c1, c0 = SIN
    sine = r + r * r2 * ((c2 * r2 + c1) * r2 + c0)
    c3, c2, c1, c0 = COS
    cosine_1 = r2 * (((c3 * r2 + c2) * r2 + c1) * r2 + c0)
    swap = (quadrant & np.int32(1)) != np.int32(0)
    sin = ONE + cosine_1 if swap else sine
    cos = sine if swap else ONE + cosine_1
    sin = -sin if (quadrant & np.int32(2)) != np.int32(0) else sin
    cos = -cos if ((quadrant + np.int32(1)) & np.int32(2)) != np.int32(0) else cos
    cos_1 = cosine_1 if (quadrant & np.int32(3)) == np.int32(0) else cos - ONE
    growth = growth_1 + ONE
    return growth * cos, growth * sin, growth_1 * cos + cos_1


@kernel
def scan_forward(a, b, x, state, product, per_step, reverse, first, last, start, stop, carry_only):
    """`x_t = a_t x_{t-1} + b_t`."""
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
    dx, x, x0, a, da, db, total, state, product, per_step, reverse, first, last, start, stop, carry_only
):
    """`g_t = dx_t + h`, `db_t = g_t`, `da_t = g_t conj(x_{t-1})`, `h = conj(a_t) g_t`, where `state` holds `h`."""
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
            y_re, y_im = planes(x, 10, before, states) if k + 1 < length else planes(x0, 10, i * 2 * states, states)
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
def discretise(Lambda, inverse, step, dt, bar, scale, method):
    """`Lambda_bar` and `input_scale` at the steps `step dt`, as discretization.py defines them."""
    states = step.size
    l_re, l_im = planes(Lambda, 0, 0, states)
    v_re, v_im = planes(inverse, 2, 0, states)
    unit = row(step, 4, 0)
    bar_re, bar_im = planes(bar, 6, 0, states)
    s_re, s_im = planes(scale, 8, 0, states)
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
            # The quotient is accurate down to the smallest numbers, but for zero.
            small = abs(re) + abs(im) < tiny
            q_re, q_im = d_re * v_re[n] - e_im * v_im[n], d_re * v_im[n] + e_im * v_re[n]
            s_re[n] = delta * (one + half * re + sixth * (re * re - im * im)) if small else q_re
            s_im[n] = delta * (half * im + (sixth + sixth) * re * im) if small else q_im


@kernel
def slopes(Lambda, inverse, step, dt, bar, scale, outer, inner, method):
    """The derivatives of what `discretise` gives, in two factors.

    With `outer = E` and `inner = M`: `dLambda_bar / dLambda = Delta E`, `dLambda_bar / dDelta = Lambda E`,
    `dinput_scale / dLambda = M`, and `dinput_scale / dDelta = E` (0 for dirac).
    """
    states = step.size
    l_re, l_im = planes(Lambda, 0, 0, states)
    v_re, v_im = planes(inverse, 2, 0, states)
    unit = row(step, 4, 0)
    bar_re, bar_im = planes(bar, 6, 0, states)
    s_re, s_im = planes(scale, 8, 0, states)
    e_re, e_im = planes(outer, 10, 0, states)
    m_re, m_im = planes(inner, 12, 0, states)
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
            # (Delta exp(z) - input_scale) / Lambda, where z is small as Delta^2 (1/2 + z/3 + z^2/8 + ...)
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


@kernel
def invert(Lambda):
    """`1 / Lambda`, and zero where `Lambda` is."""
    inverse = np.zeros_like(Lambda)
    for n in range(Lambda.shape[1]):
        re, im = np.float64(Lambda[0, n]), np.float64(Lambda[1, n])
        norm = re * re + im * im
        if norm > 0.0:
            inverse[0, n], inverse[1, n] = re / norm, -im / norm
    return inverse


@kernel
def ssm_forward(
    Lambda, step, dt, Bu, x, state, product, method, irregular, reverse, first, last, start, stop, carry_only
):
    """`x_t = Lambda_bar_t x_{t-1} + input_scale_t Bu_t`; a step as long as the one before is not discretised anew."""
    length, states = Bu.shape[1], Bu.shape[3]
    inverse, bar, scale = invert(Lambda), np.empty_like(Lambda), np.empty_like(Lambda)
    a_re, a_im = planes(bar, 4, 0, states)
    c_re, c_im = planes(scale, 6, 0, states)
    known, at = False, step.dtype.type(0)
    for i in range(first, last):
        s_re, s_im = planes(state, 0, i * 2 * states, states)
        p_re, p_im = planes(product, 2, i * 2 * states, states)
        for k in range(start, stop):
            t = length - 1 - k if reverse else k
            now = dt[i, t] if irregular else dt[0, 0]
            if not known or now != at:
                discretise(Lambda, inverse, step, now, bar, scale, method)
                known, at = True, now
            offset = (i * length + t) * 2 * states
            u_re, u_im = planes(Bu, 8, offset, states)
            x_re, x_im = planes(x, 10, offset, states)
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


@numba.njit(nogil=True, fastmath={"contract", "nsz", "reassoc"})
def add_up(values):
    """The sum, in an order that vectorises."""
    total = values[0] * 0
    for n in range(values.size):
        total += values[n]
    return total


@kernel
def ssm_backward(
    dx,
    x,
    x0,
    Lambda,
    step,
    dt,
    Bu,
    dBu,
    ddt,
    total,
    state,
    product,
    method,
    irregular,
    reverse,
    first,
    last,
    start,
    stop,
    carry_only,
):
    """The adjoint of `ssm_forward`; `total` receives the gradients to `Lambda`, real and imaginary, and to `step`."""
    length, states = dx.shape[1], dx.shape[3]
    inverse, bar, scale = invert(Lambda), np.empty_like(Lambda), np.empty_like(Lambda)
    outer, inner, sums = np.empty_like(Lambda), np.empty_like(Lambda), np.zeros(3 * states, dx.dtype)
    slope = np.zeros(max(states, 1), dx.dtype)
    with_input = dx.dtype.type(0 if method == DIRAC else 1)
    a_re, a_im = planes(bar, 4, 0, states)
    c_re, c_im = planes(scale, 6, 0, states)
    e_re, e_im = planes(outer, 8, 0, states)
    m_re, m_im = planes(inner, 10, 0, states)
    l_re, l_im = planes(Lambda, 12, 0, states)
    sum_re, sum_im = planes(sums, 14, 0, states)
    sum_step, unit, w = row(sums, 16, 2 * states), row(step, 17, 0), row(slope, 18, 0)
    total_re, total_im = planes(total, 20, 0, states)
    total_step = row(total, 22, 2 * states)
    known, at = False, step.dtype.type(0)
    for i in range(first, last):
        h_re, h_im = planes(state, 0, i * 2 * states, states)
        p_re, p_im = planes(product, 2, i * 2 * states, states)
        for k in range(start, stop):
            t = k if reverse else length - 1 - k
            now = dt[i, t] if irregular else dt[0, 0]
            if not known or now != at:
                discretise(Lambda, inverse, step, now, bar, scale, method)
                slopes(Lambda, inverse, step, now, bar, scale, outer, inner, method)
                known, at = True, now
            offset = (i * length + t) * 2 * states
            dx_re, dx_im = planes(dx, 24, offset, states)
            if carry_only:
                for n in range(states):
                    re, im = dx_re[n] + h_re[n], dx_im[n] + h_im[n]
                    h_re[n], h_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                    re, im = p_re[n], p_im[n]
                    p_re[n], p_im[n] = a_re[n] * re + a_im[n] * im, a_re[n] * im - a_im[n] * re
                continue
            u_re, u_im = planes(Bu, 26, offset, states)
            du_re, du_im = planes(dBu, 28, offset, states)
            before = offset + (2 * states if reverse else -2 * states)
            y_re, y_im = planes(x, 30, before, states) if k + 1 < length else planes(x0, 30, i * 2 * states, states)
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
                ddt[i, t] = add_up(slope)
            if k % FLUSH == 0 or k + 1 == stop:
                for n in range(states):
                    total_re[n] += sum_re[n]
                    total_im[n] += sum_im[n]
                    total_step[n] += sum_step[n]
                    sum_re[n], sum_im[n], sum_step[n] = 0.0, 0.0, 0.0
