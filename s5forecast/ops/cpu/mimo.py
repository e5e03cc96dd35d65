"""A whole layer on the CPU: the products with B, C and D and the scan between them, tile by tile.

A tile is a small number of rows (time steps). Each tile is projected, scanned by the kernels of kernels.py and read
out before the next one, so that it stays in the cache; see kernels.py for `part`. The projected inputs are not kept:
the adjoint computes them again.

All arrays have two dimensions, so that one compiled product serves all of them.
"""

import torch
from torch import Tensor

from s5forecast.ops.cpu.kernels import ssm_backward, ssm_forward
from s5forecast.ops.cpu.launch import METHOD_CODES, Totals, array, as_rows, inverse, share, start, steps
from s5forecast.ops.cpu.products import add_product, clear
from s5forecast.ops.cpu.rows import GROUPS, Array, Part, kernel, row

TILE = 64  # rows
FLUSH_TILES = 8  # tiles summed in the dtype of the input before they are added to the float64 sums
DIRECT, DDIRECT, INPUTS, OUTPUTS, DINPUTS = range(2 * GROUPS, 2 * GROUPS + 5)


@kernel
def mimo_forward(
    Lambda: Array,
    inverse: Array,
    step: Array,
    dt: Array,
    B: Array,
    C: Array,
    D: Array,
    u: Array,
    y: Array,
    x: Array,
    scratch: Array,
    state: Array,
    product: Array,
    length: int,
    method: int,
    irregular: bool,
    reverse: bool,
    part: Part,
) -> None:
    """`y_t = C x_t + D u_t` with the states of `ssm_forward`.

    `B` is `[H, 2N]` and `C` is `[2N, H]`. The states are written to `x` unless it is empty.
    """
    first, last, start, stop, carry_only = part
    width, planes, one, tile = u.shape[1], scratch.shape[1], u.strides[1] // u.itemsize, scratch.shape[0] // 2
    keep, d, Bu = x.shape[0] > 0, row(D, DIRECT, 0), scratch[:tile]
    count = max(1, tile // max(1, length)) if stop - start == length else 1
    for i in range(first, last, count):
        j = min(i + count, last)
        for k in range(start, stop, tile):
            size = min(tile, stop - k)
            at = i * length + (length - k - size if reverse else k)
            end = at + (j - i) * size
            clear(Bu)
            add_product(Bu[: end - at], u[at:end], B, width, one)
            x_t = x[at:end] if keep else scratch[tile : tile + end - at]
            inner = 0, j - i, 0, size, carry_only
            dt_t, state_t, product_t = dt[at:end] if irregular else dt, state[i:j], product[i:j]
            ssm_forward(
                Lambda, inverse, step, dt_t, Bu, x_t, state_t, product_t, size, method, irregular, reverse, inner
            )
            if carry_only:
                continue
            for r in range(at, end):
                u_t, y_t = row(u, INPUTS, r * width), row(y, OUTPUTS, r * width)
                for h in range(width):
                    y_t[h] = d[h] * u_t[h]
            add_product(y[at:end], x_t, C, planes, one)


@kernel
def mimo_backward(
    dy: Array,
    x: Array,
    x0: Array,
    Lambda: Array,
    inverse: Array,
    step: Array,
    dt: Array,
    B: Array,
    B_T: Array,
    C: Array,
    D: Array,
    u: Array,
    du: Array,
    ddt: Array,
    dB: Array,
    dC: Array,
    dD: Array,
    total: Array,
    total_B: Array,
    total_C: Array,
    total_D: Array,
    scratch: Array,
    state: Array,
    product: Array,
    length: int,
    method: int,
    irregular: bool,
    reverse: bool,
    part: Part,
) -> None:
    """The adjoint of `mimo_forward`; `B` is `[2N, H]`, `B_T` `[H, 2N]`, `C` `[H, 2N]` and `dD` `[1, H]`."""
    first, last, start, stop, carry_only = part
    width, planes, one, tile = u.shape[1], scratch.shape[1], u.strides[1] // u.itemsize, scratch.shape[0] // 3
    Bu, dx, dBu = scratch[:tile], scratch[tile : 2 * tile], scratch[2 * tile :]
    d, dd, tiles = row(D, DIRECT, 0), row(dD, DDIRECT, 0), 0
    count = max(1, tile // max(1, length)) if stop - start == length else 1
    for i in range(first, last, count):
        j = min(i + count, last)
        for k in range(start, stop, tile):
            size = min(tile, stop - k)
            t = k if reverse else length - k - size
            at = i * length + t
            end = at + (j - i) * size
            clear(dx)
            add_product(dx[: end - at], dy[at:end], C, width, one)
            if not carry_only:
                clear(Bu)
                add_product(Bu[: end - at], u[at:end], B_T, width, one)
            before = t + size if reverse else t - 1
            y0 = x[i * length + before : i * length + before + 1] if 0 <= before < length else x0[i:j]
            inner = 0, j - i, 0, size, carry_only
            dt_t, ddt_t = (dt[at:end], ddt[at:end]) if irregular else (dt, ddt)
            state_t, product_t = state[i:j], product[i:j]
            ssm_backward(
                dx, x[at:end], y0, Lambda, inverse, step, dt_t, Bu, dBu, ddt_t, total, state_t, product_t, size, method,
                irregular, reverse, inner,
            )  # fmt: skip
            if carry_only:
                continue
            for r in range(at, end):
                u_t, dy_t = row(u, INPUTS, r * width), row(dy, OUTPUTS, r * width)
                du_t = row(du, DINPUTS, r * width)
                for h in range(width):
                    du_t[h] = d[h] * dy_t[h]
                    dd[h] += dy_t[h] * u_t[h]
            add_product(du[at:end], dBu[: end - at], B, planes, one)
            add_product(dB, dBu[: end - at], u[at:end], one, planes)
            add_product(dC, dy[at:end], x[at:end], one, width)
            tiles += 1
            if tiles % FLUSH_TILES == 0 or (j == last and k + size == stop):
                for sums, terms in ((total_B, dB), (total_C, dC), (total_D, dD)):
                    for m in range(terms.shape[0]):
                        for n in range(terms.shape[1]):
                            sums[m, n] += terms[m, n]
                    clear(terms)


def mimo_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """`y_t = C x_t + D u_t`, where `x` are the states of `ssm_scan` for the inputs `B u_t`.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`.
        dt: `[B, T]`, 1 at every step if None.
        B: `[2N, H]`.
        C: `[H, 2N]`.
        D: `[H]`.
        u: `[B, T, H]`.
        initial_state: `[B, 2, N]`, zero if None.
        method: a key of `METHOD_CODES`.
        reverse: whether time runs from the last step to the first.
        keep: whether to return the states at all steps.

    Returns:
        `y [B, T, H]`, the last state `[B, 2, N]`, and the states at all steps `[B, T, 2, N]`, or an empty tensor.
    """
    (batch, length, width), planes = u.shape, B.shape[0]
    shape, y = torch.Size((batch, length, 2, planes // 2)), torch.empty(u.shape, dtype=u.dtype)
    x = torch.empty(shape if keep else (0, 0, 2, planes // 2), dtype=u.dtype)
    arrays = [array(v) for v in (Lambda, inverse(Lambda), step, steps(dt, u), B.t(), C.t(), D)]
    arrays += [as_rows(v) for v in (array(u), y.numpy(), x.numpy())]
    flags, state = (length, METHOD_CODES[method], dt is not None, reverse), start(initial_state, u, planes // 2)

    def run(state: Array, product: Array, part: Part) -> None:
        scratch = torch.empty(2 * TILE, planes, dtype=u.dtype).numpy()
        mimo_forward(*arrays, scratch, as_rows(state, 1), as_rows(product, 1), *flags, part)

    share(run, state.numpy(), shape, width)
    return y, state, x


def mimo_scan_backward(
    grad: Tensor,
    grad_last: Tensor,
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
    x: Tensor,
    method: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of `mimo_scan`, in one pass.

    Args:
        grad: `[B, T, H]`, the gradient with respect to `y`.
        grad_last: `[B, 2, N]`, the gradient with respect to the last state.
        x: `[B, T, 2, N]`, the states at all steps.
        Lambda, step, dt, B, C, D, u, initial_state, method, reverse: as in `mimo_scan`.

    Returns:
        The gradients with respect to `Lambda`, `step`, `dt` (empty if `dt` is None), `B`, `C`, `D`, `u` and the
        initial state.
    """
    length, width, planes = u.shape[1], u.shape[2], B.shape[0]
    du, ddt = torch.empty(u.shape, dtype=u.dtype), torch.empty((0, 0) if dt is None else dt.shape, dtype=u.dtype)
    arrays = [as_rows(array(v), axes) for v, axes in ((grad, 2), (x, 2), (start(initial_state, u, planes // 2), 1))]
    arrays += [array(v) for v in (Lambda, inverse(Lambda), step, steps(dt, u), B, B.t(), C, D)]
    arrays += [as_rows(array(u)), as_rows(du.numpy()), ddt.numpy().reshape(-1)]
    shapes = (planes, width), (width, planes), (1, width)
    flags, state = (length, METHOD_CODES[method], dt is not None, reverse), start(grad_last, u, planes // 2)
    totals = [Totals(3, planes // 2), *(Totals(*shape) for shape in shapes)]

    def run(state: Array, product: Array, part: Part) -> None:
        terms = [torch.zeros(shape, dtype=u.dtype).numpy() for shape in shapes]
        scratch = torch.empty(3 * TILE, planes, dtype=u.dtype).numpy()
        sums = [total.part(part) for total in totals]
        mimo_backward(*arrays, *terms, *sums, scratch, as_rows(state, 1), as_rows(product, 1), *flags, part)

    share(run, state.numpy(), x.shape, width)
    total, dB, dC, dD = (total.sum(u.dtype) for total in totals)
    return total[:2].clone(), total[2].clone(), ddt, dB, dC, dD[0].clone(), du, state
