"""The scans on the CPU: Numba kernels at memory speed, on a thread pool of our own.

The pool works over the batch and, where there are more threads than that, over chunks of time as well.
Numba's own parallel loops are not used: they do not survive a fork, nor calls from several threads.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from s5forecast.ops.cpu_discretization import BILINEAR, DIRAC, ZOH
from s5forecast.ops.cpu_linear import scan_backward, scan_forward
from s5forecast.ops.cpu_mimo import mimo_backward, mimo_forward
from s5forecast.ops.cpu_rows import Array, Part
from s5forecast.ops.cpu_ssm import ssm_backward, ssm_forward

METHODS = {"zoh": ZOH, "bilinear": BILINEAR, "dirac": DIRAC}
WORTH_A_THREAD = 2**15  # states; handing fewer over takes longer than working on them
SHORTEST_CHUNK = 64
CARRY_COST = 0.5  # of a pass that only carries the state on, relative to a whole one

Run = Callable[[Array, Array, Part], None]  # a kernel with its arrays, run on a part with state and product

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


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
    x = torch.empty(b.shape, dtype=b.dtype)
    arrays = _array(a).reshape(-1), _array(b), x.numpy()

    def run(state: Array, product: Array, part: Part) -> None:
        scan_forward(*arrays, state, product, a.ndim == 4, reverse, part)

    _share(run, _state(initial_state, b), b.shape)
    return x


def linear_scan_backward(
    grad: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The adjoint of `linear_scan`, in one pass.

    Args:
        grad: `[B, T, 2, N]`, the gradient to the states.
        a: `[2, N]` or `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        x: `[B, T, 2, N]`, the states.
        reverse: as in `linear_scan`.

    Returns:
        The gradients to `a`, `b` and the initial state.
    """
    per_step = a.ndim == 4
    db = torch.empty(x.shape, dtype=x.dtype)
    da = torch.empty(a.shape if per_step else (0,), dtype=a.dtype)
    arrays = _array(grad), _array(x), _state(initial_state, x), _array(a).reshape(-1)
    gradients = da.numpy().reshape(-1), db.numpy()
    state, totals = _state(None, x), _Totals(2, x.shape[-1])

    def run(state: Array, product: Array, part: Part) -> None:
        total = totals.part(part)
        scan_backward(*arrays, *gradients, total, state, product, per_step, reverse, part)

    _share(run, state, x.shape)
    return da if per_step else totals.sum(a.dtype), db, torch.from_numpy(state)


def ssm_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
) -> Tensor:
    """`x_t = Lambda_bar_t x_{t-1} + input_scale_t Bu_t`, discretised on the way.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`.
        dt: `[B, T]`, one everywhere if None.
        Bu: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        method: a key of `METHODS`.
        reverse: whether time runs from the last step to the first.

    Returns:
        `[B, T, 2, N]`.
    """
    x = torch.empty(Bu.shape, dtype=Bu.dtype)
    arrays = _array(Lambda), _array(step), _steps(dt, Bu), _array(Bu), x.numpy()
    flags = METHODS[method], dt is not None, reverse

    def run(state: Array, product: Array, part: Part) -> None:
        ssm_forward(*arrays, state, product, *flags, part)

    _share(run, _state(initial_state, Bu), Bu.shape)
    return x


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
    """The adjoint of `ssm_scan`, in one pass.

    Args:
        grad: `[B, T, 2, N]`, the gradient to the states.
        Lambda: `[2, N]`.
        step: `[N]`.
        dt: `[B, T]`, one everywhere if None.
        Bu: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        x: `[B, T, 2, N]`, the states.
        method: as in `ssm_scan`.
        reverse: as in `ssm_scan`.

    Returns:
        The gradients to `Lambda`, `step`, `dt` (empty if that is None), `Bu` and the initial state.
    """
    dBu = torch.empty(x.shape, dtype=x.dtype)
    ddt = torch.empty((0, 0) if dt is None else dt.shape, dtype=x.dtype)
    arrays = (
        _array(grad),
        _array(x),
        _state(initial_state, x),
        _array(Lambda),
        _array(step),
        _steps(dt, x),
        _array(Bu),
    )
    gradients, flags = (dBu.numpy(), ddt.numpy()), (METHODS[method], dt is not None, reverse)
    state, totals = _state(None, x), _Totals(3, x.shape[-1])

    def run(state: Array, product: Array, part: Part) -> None:
        ssm_backward(*arrays, *gradients, totals.part(part), state, product, *flags, part)

    _share(run, state, x.shape)
    total = totals.sum(x.dtype)
    return total[:2].clone(), total[2].clone(), ddt, dBu, torch.from_numpy(state)


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
        `y [B, T, H]`, the last state `[B, 2, N]`, and all states `[B, T, 2N]`, or none of them.
    """
    (batch, length, _), planes = u.shape, B.shape[0]
    y = torch.empty(u.shape, dtype=u.dtype)
    x = torch.empty((batch, length, planes) if keep else (0, 0, 0), dtype=u.dtype)
    arrays = _array(Lambda), _array(step), _steps(dt, u), _array(B.t()), _array(C.t()), _array(D), _array(u)
    outputs, flags = (y.numpy(), x.numpy()), (METHODS[method], dt is not None, reverse)
    shape = torch.Size((batch, length, 2, planes // 2))
    state = _state(initial_state, u, shape)

    def run(state: Array, product: Array, part: Part) -> None:
        mimo_forward(*arrays, *outputs, state, product, *flags, part)

    _share(run, state, shape, u.shape[2])
    return y, torch.from_numpy(state), x


def mimo_scan_backward(
    grad: Tensor,
    grad_last: Tensor | None,
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
        x: `[B, T, 2N]`, all states. The others are those of `mimo_scan`.

    Returns:
        The gradients to `Lambda`, `step`, `dt` (empty if that is None), `B`, `C`, `D`, `u` and the initial state.
    """
    (batch, length, width), planes = u.shape, B.shape[0]
    du = torch.empty(u.shape, dtype=u.dtype)
    ddt = torch.empty((0, 0) if dt is None else dt.shape, dtype=u.dtype)
    shape = torch.Size((batch, length, 2, planes // 2))
    arrays = (
        _array(grad),
        _array(x),
        _state(initial_state, u, shape),
        _array(Lambda),
        _array(step),
        _steps(dt, u),
        _array(B.t()),
        _array(B),
        _array(C),
        _array(D),
        _array(u),
        du.numpy(),
        ddt.numpy(),
    )
    flags = METHODS[method], dt is not None, reverse
    state = _state(grad_last, u, shape)
    totals = [_Totals(*sizes) for sizes in ((3, planes // 2), (planes, width), (planes, width), (1, width))]

    def run(state: Array, product: Array, part: Part) -> None:
        mimo_backward(*arrays, *(total.part(part) for total in totals), state, product, *flags, part)

    _share(run, state, shape, width)
    total, dB, dC, dD = (total.sum(u.dtype) for total in totals)
    return total[:2].clone(), total[2].clone(), ddt, dB, dC.t().contiguous(), dD[0].clone(), du, torch.from_numpy(state)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().contiguous().numpy()


def _steps(dt: Tensor | None, like: Tensor) -> Array:
    return _array(like.new_ones(1, 1) if dt is None else dt)


def _state(initial_state: Tensor | None, like: Tensor, shape: torch.Size | None = None) -> Array:
    """A copy, which the kernels may overwrite."""
    batch, _, _, states = shape or like.shape
    if initial_state is None:
        return like.new_zeros(batch, 2, states).numpy()
    return initial_state.detach().clone(memory_format=torch.contiguous_format).numpy()


class _Totals:
    """Sums over batch and time, float64, and in the same order on every run."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.parts: dict[Part, Array] = {}

    def part(self, part: Part) -> Array:
        return self.parts.setdefault(part, np.zeros(self.shape))

    def sum(self, dtype: torch.dtype) -> Tensor:
        total = sum((self.parts[part] for part in sorted(self.parts)), np.zeros(self.shape))
        return torch.from_numpy(total).to(dtype)


def _share(run: Run, state: Array, shape: torch.Size, cost: int = 1) -> None:
    """Runs a kernel over all batch elements and steps, and turns the first `state` into the last.

    `cost` is that of a state, relative to a bare scan.
    """
    batch, length, _, states = shape
    threads = max(1, min(torch.get_num_threads(), batch * length * states * cost // WORTH_A_THREAD))
    shares = max(1, min(batch, threads))
    ranges = list(pairwise(batch * i // shares for i in range(shares + 1)))
    chunks = min(threads // shares, length // SHORTEST_CHUNK)
    if chunks <= 1:
        _in_parallel([partial(run, state, state, (*rows, 0, length, False)) for rows in ranges])
        return

    # The first chunk, a short one, is done at once, while the others only carry their state on.
    cuts = [0, *(round(length * (CARRY_COST + c) / (CARRY_COST + chunks)) for c in range(chunks + 1))]
    times = list(pairwise(cuts))
    carried = np.zeros((chunks + 1, *state.shape), state.dtype)
    product = np.zeros_like(carried)
    carried[0], product[:, :, 0] = state, 1
    parts = [(c, rows) for c in range(chunks + 1) for rows in ranges]
    _in_parallel([partial(run, carried[c], product[c], (*rows, *times[c], c > 0)) for c, rows in parts if c < chunks])
    before = carried[0].copy()
    with np.errstate(all="ignore"):
        for c in range(1, chunks + 1):
            before, carried[c] = carried[c] + _multiply(product[c], before), before
    _in_parallel([partial(run, carried[c], product[c], (*rows, *times[c], False)) for c, rows in parts if c > 0])
    state[...] = carried[chunks]


def _multiply(product: Array, state: Array) -> Array:
    """Complex and planar; a state of zero stays zero, even where a growing product overflows."""
    u, v = (part[:, 0] + 1j * part[:, 1] for part in (product, state))
    result = np.where(v == 0, 0, u) * v
    return np.stack((result.real, result.imag), 1)


def _in_parallel(tasks: list[Callable[[], None]]) -> None:
    futures = [_executor().submit(task) for task in tasks[1:]]
    tasks[0]()
    for future in futures:
        future.result()


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="s5forecast")
        return _pool


def _after_fork() -> None:
    """The threads of the parent do not exist in a child, and its lock may be held by one of them."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
