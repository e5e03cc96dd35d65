"""Launch of the scan kernels on a GPU. They read and write every number once, including the discretization.

Each program of a kernel works on one batch element and a block of its states; see kernels.py. If there are too few
programs to fill the GPU, time is cut into chunks as well. A first pass, which writes very little, computes the map from
the beginning to the end of each chunk; the composition of these maps gives the first state of every chunk.

All sums are made in a fixed order, so the gradients are deterministic.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from s5forecast.ops.gpu.kernels import carry_kernel, forward_kernel, linear_backward_kernel, ssm_backward_kernel
from s5forecast.ops.gpu.rows import BILINEAR, CONSTANT, DIRAC, PER_STEP, ZOH

METHOD_CODES = {"zoh": ZOH.value, "bilinear": BILINEAR.value, "dirac": DIRAC.value}
THREADS = 128
ROWS, ROWS_BACKWARD = 16, 8  # steps held by a thread; the adjoint needs more registers per step
SMALLEST_BLOCK, LARGEST_BLOCK = 8, 32  # states, at least ROWS_BACKWARD; a row of 32 fills a cache line
PROGRAMS = 4  # programs per multiprocessor that keep the memory busy


class _Plan(NamedTuple):
    """Division of the work of a kernel among programs.

    Attributes:
        grid: number of programs over batch elements and blocks of states, and over chunks of time.
        chunk: number of steps in a chunk.
        options: the tile, `WIDTH` times `ROWS` steps of `BLOCK` states, and compiler options.
    """

    grid: tuple[int, int]
    chunk: int
    options: dict[str, Any]


def linear_scan(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool) -> Tensor:
    """`x_t = a_t x_{t-1} + b_t`.

    Args:
        a: `[2, N]` or `[B, T, 2, N]`.
        b: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        reverse: whether time runs from the last step to the first.

    Returns:
        `[B, T, 2, N]`.
    """
    return _forward(_system(a), a, None, None, b, initial_state, reverse)


def linear_scan_backward(
    grad: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The adjoint of `linear_scan`.

    Args:
        grad: `[B, T, 2, N]`, the gradient with respect to the states.
        a: `[2, N]` or `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        x: `[B, T, 2, N]`, the states.
        reverse: as in `linear_scan`.

    Returns:
        The gradients with respect to `a`, `b` and the initial state.
    """
    batch, length, _, states = x.shape
    if not x.numel():
        return torch.zeros_like(a), torch.zeros_like(x), x.new_zeros(batch, 2, states)
    grad, a, initial_state, x = _contiguous(grad, a, initial_state, x)
    system, plan = _system(a), _plan(x, ROWS_BACKWARD)
    per_step = system == PER_STEP.value
    da = _empty(x, *a.shape) if per_step else _empty(x, batch * plan.grid[1], 2, states)
    db, dx0 = _empty(x, *x.shape), _empty(x, batch, 2, states)
    with torch.cuda.device_of(x):
        start = _starts(plan, system, a, None, None, grad, None, not reverse, adjoint=True)
        linear_backward_kernel[plan.grid](
            grad,
            a,
            initial_state,
            x,
            start,
            da,
            db,
            dx0,
            length,
            states,
            plan.chunk,
            system,
            not reverse,
            **plan.options,
        )
    return da if per_step else _sum(da), db, dx0


def ssm_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
) -> Tensor:
    """`x_t = Lambda_bar_t x_{t-1} + input_scale_t Bu_t`, with the discretization fused into the scan.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`.
        dt: `[B, T]`, 1 at every step if None.
        Bu: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        method: a key of `METHOD_CODES`.
        reverse: whether time runs from the last step to the first.

    Returns:
        `[B, T, 2, N]`.
    """
    return _forward(METHOD_CODES[method], Lambda, step, dt, Bu, initial_state, reverse)


def ssm_scan_backward(
    grad: Tensor,
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    x: Tensor,
    method: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The adjoint of `ssm_scan`.

    Args:
        grad: `[B, T, 2, N]`, the gradient with respect to the states.
        Lambda: `[2, N]`.
        step: `[N]`.
        dt: `[B, T]`, 1 at every step if None.
        Bu: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        x: `[B, T, 2, N]`, the states.
        method: as in `ssm_scan`.
        reverse: as in `ssm_scan`.

    Returns:
        The gradients with respect to `Lambda`, `step`, `dt` (empty if `dt` is None), `Bu` and the initial state.
    """
    batch, length, _, states = x.shape
    if not x.numel():
        ddt = x.new_empty(0, 0) if dt is None else torch.zeros_like(dt)
        return torch.zeros_like(Lambda), torch.zeros_like(step), ddt, torch.zeros_like(x), x.new_zeros(batch, 2, states)
    grad, Lambda, step, dt, Bu, initial_state, x = _contiguous(grad, Lambda, step, dt, Bu, initial_state, x)
    system, plan = METHOD_CODES[method], _plan(x, ROWS_BACKWARD)
    blocks = plan.grid[0] // batch
    ddt = _empty(x, 1, 0, 0) if dt is None else _empty(x, blocks, batch, length)
    dBu, dx0 = _empty(x, *x.shape), _empty(x, batch, 2, states)
    dparameters = _empty(x, batch * plan.grid[1], 3, states)
    with torch.cuda.device_of(x):
        start = _starts(plan, system, Lambda, step, dt, grad, None, not reverse, adjoint=True)
        ssm_backward_kernel[plan.grid](
            grad,
            Lambda,
            step,
            dt,
            Bu,
            initial_state,
            x,
            start,
            dparameters,
            ddt,
            dBu,
            dx0,
            batch,
            length,
            states,
            plan.chunk,
            system,
            not reverse,
            **plan.options,
        )
    total = _sum(dparameters)
    return total[:2].clone(), total[2].clone(), ddt[0] if len(ddt) == 1 else ddt.sum(0), dBu, dx0


def _forward(
    system: int,
    a: Tensor,
    step: Tensor | None,
    dt: Tensor | None,
    b: Tensor,
    initial_state: Tensor | None,
    reverse: bool,
) -> Tensor:
    x = _empty(b, *b.shape)
    if not x.numel():
        return x
    a, step, dt, b, initial_state = _contiguous(a, step, dt, b, initial_state)
    plan = _plan(b, ROWS)
    with torch.cuda.device_of(b):
        start = _starts(plan, system, a, step, dt, b, initial_state, reverse)
        forward_kernel[plan.grid](
            a, step, dt, b, start, x, b.shape[1], b.shape[3], plan.chunk, system, reverse, **plan.options
        )
    return x


def _starts(
    plan: _Plan,
    system: int,
    a: Tensor,
    step: Tensor | None,
    dt: Tensor | None,
    b: Tensor,
    initial_state: Tensor | None,
    reverse: bool,
    adjoint: bool = False,
) -> Tensor | None:
    """The state before each chunk, `[B, C, 2, N]`; for the first chunk, the initial state."""
    programs, chunks = plan.grid
    if chunks == 1:
        return initial_state
    batch, length, _, states = b.shape
    product, end = (_empty(b, batch, chunks, 2, states) for _ in range(2))
    carry_kernel[programs, chunks - 1](
        a,
        step,
        dt,
        b,
        initial_state,
        product,
        end,
        length,
        states,
        plan.chunk,
        system,
        adjoint,
        reverse,
        **plan.options,
    )
    start, alone = _empty(b, *end.shape), _options(plan.options["BLOCK"], ROWS)
    whole = triton.cdiv(chunks, _tile(alone)) * _tile(alone)
    forward_kernel[programs, 1](
        product, None, None, end, None, start, chunks, states, whole, PER_STEP.value, False, GUARDED=True, **alone
    )
    return start


def _plan(b: Tensor, rows: int) -> _Plan:
    batch, length, _, states = b.shape
    wanted = PROGRAMS * _multiprocessors(b.device)
    block = min(LARGEST_BLOCK, max(SMALLEST_BLOCK, triton.next_power_of_2(states)))
    if block == LARGEST_BLOCK and batch * triton.cdiv(states, block) < wanted:
        block //= 2  # half a cache line is still read efficiently
    programs = batch * triton.cdiv(states, block)
    options = _options(block, rows)
    # Reading the input a second time costs 50% more, so a GPU that is half full is no worse.
    chunks = 1 if 2 * programs >= wanted else triton.cdiv(wanted, programs)
    chunk = triton.cdiv(triton.cdiv(length, chunks), _tile(options)) * _tile(options)
    return _Plan((programs, triton.cdiv(length, chunk)), chunk, options)


def _options(block: int, rows: int) -> dict[str, Any]:
    return {
        "WIDTH": THREADS // block,
        "BLOCK": block,
        "ROWS": rows,
        "num_warps": THREADS // 32,
        "enable_fp_fusion": True,
    }


def _tile(options: dict[str, Any]) -> int:
    return options["WIDTH"] * options["ROWS"]


@lru_cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _system(a: Tensor) -> int:
    return CONSTANT.value if a.ndim == 2 else PER_STEP.value


def _contiguous(*tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _sum(parts: Tensor) -> Tensor:
    """The sum over the partial sums of the programs, rounded once."""
    return parts.sum(0, dtype=torch.float64).to(parts.dtype)
