"""A whole layer on the CPU: the products with B, C and D, and the scan between them, tile by tile.

A tile, some rows, is projected, run through the kernels of cpu_ssm.py and read out before the next one is
touched; see cpu_linear.py for `part`. The inputs of the states are not kept, but projected again by the adjoint.

Everything has two dimensions here, so that what is compiled once serves all products.
"""

import torch
from torch import Tensor

from s5forecast.ops import cpu
from s5forecast.ops.cpu_products import add_product, clear
from s5forecast.ops.cpu_rows import GROUPS, Array, Part, kernel, row
from s5forecast.ops.cpu_ssm import ssm_backward, ssm_forward

TILE = 64  # rows
FLUSH_TILES = 8  # summed in the dtype of the input before they are added to the float64 sums
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
    """`y_t = C x_t + D u_t` with the states of `ssm_forward`; `B [H, 2N]`, `C [2N, H]`, `x` is kept unless empty."""
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
    """The adjoint of `mimo_forward`; `B [2N, H]` and `C [H, 2N]` as they are, `B_T [H, 2N]`, `dD [1, H]`."""
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
    """`y_t = C x_t + D u_t` with the states of `ssm_scan` for the inputs `B u_t`.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`.
        dt: `[B, T]`, one everywhere if None.
        B: `[2N, H]`.
        C: `[H, 2N]`.
        D: `[H]`.
        u: `[B, T, H]`.
        initial_state: `[B, 2, N]`, zero if None.
        method: a key of `METHODS`.
        reverse: whether time runs from the last step to the first.
        keep: whether to return all states.

    Returns:
        `y [B, T, H]`, the last state `[B, 2, N]`, and all states `[B, T, 2, N]`, or none of them.
    """
    (batch, length, width), planes = u.shape, B.shape[0]
    shape, y = torch.Size((batch, length, 2, planes // 2)), torch.empty(u.shape, dtype=u.dtype)
    x = torch.empty(shape if keep else (0, 0, 2, planes // 2), dtype=u.dtype)
    arrays = [cpu.array(v) for v in (Lambda, cpu.inverse(Lambda), step, cpu.steps(dt, u), B.t(), C.t(), D)]
    arrays += [cpu.rows(v) for v in (cpu.array(u), y.numpy(), x.numpy())]
    flags, state = (length, cpu.METHODS[method], dt is not None, reverse), cpu.start(initial_state, u, planes // 2)

    def run(state: Array, product: Array, part: Part) -> None:
        scratch = torch.empty(2 * TILE, planes, dtype=u.dtype).numpy()
        mimo_forward(*arrays, scratch, cpu.rows(state, 1), cpu.rows(product, 1), *flags, part)

    cpu.share(run, state.numpy(), shape, width)
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
        grad: `[B, T, H]`, the gradient to `y`.
        grad_last: `[B, 2, N]`, the gradient to the last state.
        x: `[B, T, 2, N]`, all states. The others are those of `mimo_scan`.

    Returns:
        The gradients to `Lambda`, `step`, `dt` (empty if that is None), `B`, `C`, `D`, `u` and the initial state.
    """
    length, width, planes = u.shape[1], u.shape[2], B.shape[0]
    du, ddt = torch.empty(u.shape, dtype=u.dtype), torch.empty((0, 0) if dt is None else dt.shape, dtype=u.dtype)
    arrays = [
        cpu.rows(cpu.array(v), axes) for v, axes in ((grad, 2), (x, 2), (cpu.start(initial_state, u, planes // 2), 1))
    ]
    arrays += [cpu.array(v) for v in (Lambda, cpu.inverse(Lambda), step, cpu.steps(dt, u), B, B.t(), C, D)]
    arrays += [cpu.rows(cpu.array(u)), cpu.rows(du.numpy()), ddt.numpy().reshape(-1)]
    shapes = (planes, width), (width, planes), (1, width)
    flags, state = (length, cpu.METHODS[method], dt is not None, reverse), cpu.start(grad_last, u, planes // 2)
    totals = [cpu.Totals(3, planes // 2), *(cpu.Totals(*shape) for shape in shapes)]

    def run(state: Array, product: Array, part: Part) -> None:
        terms = [torch.zeros(shape, dtype=u.dtype).numpy() for shape in shapes]
        scratch = torch.empty(3 * TILE, planes, dtype=u.dtype).numpy()
        sums = [total.part(part) for total in totals]
        mimo_backward(*arrays, *terms, *sums, scratch, cpu.rows(state, 1), cpu.rows(product, 1), *flags, part)

    cpu.share(run, state.numpy(), x.shape, width)
    total, dB, dC, dD = (total.sum(u.dtype) for total in totals)
    return total[:2].clone(), total[2].clone(), ddt, dB, dC, dD[0].clone(), du, state
