"""Launch of the scan kernels on the CPU, shared among the threads of a pool.

Threads share the batch. If there are more threads than batch elements, they share chunks of time as well.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np
import torch
from torch import Tensor

from s5forecast.ops.cpu.discretization import BILINEAR, DIRAC, ZOH
from s5forecast.ops.cpu.kernels import scan_backward, scan_forward, ssm_backward, ssm_forward
from s5forecast.ops.cpu.pool import in_parallel, threads_for
from s5forecast.ops.cpu.rows import Array, Part

METHOD_CODES = {"zoh": ZOH, "bilinear": BILINEAR, "dirac": DIRAC}
SHORTEST_CHUNK = 64
CARRY_COST = 0.5  # cost of a pass that only carries the state, relative to a full pass

Run = Callable[[Array, Array, Part], None]  # (state, product, part): a kernel with its other arrays bound


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
    arrays = array(a).reshape(-1), array(b), x.numpy()

    def run(state: Array, product: Array, part: Part) -> None:
        scan_forward(*arrays, state, product, a.ndim == 4, reverse, part)

    share(run, start(initial_state, b, b.shape[-1]).numpy(), b.shape)
    return x


def linear_scan_backward(
    grad: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The adjoint of `linear_scan`, in one pass.

    Args:
        grad: `[B, T, 2, N]`, the gradient with respect to the states.
        a: `[2, N]` or `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        x: `[B, T, 2, N]`, the states.
        reverse: as in `linear_scan`.

    Returns:
        The gradients with respect to `a`, `b` and the initial state.
    """
    per_step = a.ndim == 4
    db = torch.empty(x.shape, dtype=x.dtype)
    da = torch.empty(a.shape if per_step else (0,), dtype=a.dtype)
    arrays = array(grad), array(x), start(initial_state, x, x.shape[-1]).numpy(), array(a).reshape(-1)
    gradients = da.numpy().reshape(-1), db.numpy()
    state, totals = start(None, x, x.shape[-1]).numpy(), Totals(2, x.shape[-1])

    def run(state: Array, product: Array, part: Part) -> None:
        total = totals.part(part)
        scan_backward(*arrays, *gradients, total, state, product, per_step, reverse, part)

    share(run, state, x.shape)
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
    x = torch.empty(Bu.shape, dtype=Bu.dtype)
    arrays = (
        array(Lambda),
        array(inverse(Lambda)),
        array(step),
        array(steps(dt, Bu)),
        as_rows(array(Bu)),
        as_rows(x.numpy()),
    )
    flags = Bu.shape[1], METHOD_CODES[method], dt is not None, reverse

    def run(state: Array, product: Array, part: Part) -> None:
        ssm_forward(*arrays, as_rows(state, 1), as_rows(product, 1), *flags, part)

    share(run, start(initial_state, Bu, Bu.shape[-1]).numpy(), Bu.shape)
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
    dBu = torch.empty(x.shape, dtype=x.dtype)
    ddt = torch.empty((0, 0) if dt is None else dt.shape, dtype=x.dtype)
    arrays = (
        as_rows(array(grad)),
        as_rows(array(x)),
        as_rows(start(initial_state, x, x.shape[-1]).numpy(), 1),
        array(Lambda),
        array(inverse(Lambda)),
        array(step),
        array(steps(dt, x)),
        as_rows(array(Bu)),
    )
    gradients = as_rows(dBu.numpy()), ddt.numpy().reshape(-1)
    flags = x.shape[1], METHOD_CODES[method], dt is not None, reverse
    state, totals = start(None, x, x.shape[-1]).numpy(), Totals(3, x.shape[-1])

    def run(state: Array, product: Array, part: Part) -> None:
        ssm_backward(*arrays, *gradients, totals.part(part), as_rows(state, 1), as_rows(product, 1), *flags, part)

    share(run, state, x.shape)
    total = totals.sum(x.dtype)
    return total[:2].clone(), total[2].clone(), ddt, dBu, torch.from_numpy(state)


def array(tensor: Tensor) -> Array:
    """The values as a contiguous numpy array."""
    return tensor.detach().contiguous().numpy()


def steps(dt: Tensor | None, like: Tensor) -> Tensor:
    """`dt` as one row of all steps, `[B T]`; `[1]` if None."""
    return like.new_ones(1) if dt is None else dt.flatten()


def inverse(Lambda: Tensor) -> Tensor:
    """`1 / Lambda`, and 0 where `Lambda` is 0."""
    wide = Lambda.detach().double()
    norm = wide.square().sum(0)
    conj = wide * wide.new_tensor([[1.0], [-1.0]])
    return torch.where(norm > 0, conj / norm, 0.0).to(Lambda.dtype)


def as_rows(values: Array, axes: int = 2) -> Array:
    """Flatten to a matrix: the first `axes` axes become the rows."""
    return values.reshape(prod(values.shape[:axes]), prod(values.shape[axes:]))


def start(initial_state: Tensor | None, like: Tensor, states: int) -> Tensor:
    """The initial state `[B, 2, N]`, zero for None, as a copy that the kernels may overwrite."""
    if initial_state is None:
        return like.new_zeros(like.shape[0], 2, states)
    return initial_state.detach().clone(memory_format=torch.contiguous_format)


class Totals:
    """Sums over batch and time in float64, added up in the same order on every run."""

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self.parts: dict[Part, Array] = {}

    def part(self, part: Part) -> Array:
        return self.parts.setdefault(part, np.zeros(self.shape))

    def sum(self, dtype: torch.dtype) -> Tensor:
        total = sum((self.parts[part] for part in sorted(self.parts)), np.zeros(self.shape))
        return torch.from_numpy(total).to(dtype)


def share(run: Run, state: Array, shape: torch.Size, cost: int = 1) -> None:
    """Run a kernel over all batch elements and steps.

    Args:
        run: the kernel with its arrays.
        state: the first state, overwritten by the last one.
        shape: `[B, T, 2, N]`.
        cost: work per state, relative to a plain scan.
    """
    batch, length, _, states = shape
    threads = threads_for(batch * length * states * cost)
    shares = max(1, min(batch, threads))
    ranges = list(pairwise(batch * i // shares for i in range(shares + 1)))
    chunks = min(threads // shares, length // SHORTEST_CHUNK)
    if chunks <= 1:
        in_parallel([partial(run, state, state, (*rows, 0, length, False)) for rows in ranges])
        return

    # The first chunk is shorter and is computed in full, while the other chunks only carry their state.
    cuts = [0, *(round(length * (CARRY_COST + c) / (CARRY_COST + chunks)) for c in range(chunks + 1))]
    times = list(pairwise(cuts))
    carried = np.zeros((chunks + 1, *state.shape), state.dtype)
    product = np.zeros_like(carried)
    carried[0], product[:, :, 0] = state, 1
    parts = [(c, rows) for c in range(chunks + 1) for rows in ranges]
    in_parallel([partial(run, carried[c], product[c], (*rows, *times[c], c > 0)) for c, rows in parts if c < chunks])
    before = carried[0].copy()
    with np.errstate(all="ignore"):
        for c in range(1, chunks + 1):
            before, carried[c] = carried[c] + _multiply(product[c], before), before
    in_parallel([partial(run, carried[c], product[c], (*rows, *times[c], False)) for c, rows in parts if c > 0])
    state[...] = carried[chunks]


def _multiply(product: Array, state: Array) -> Array:
    """Complex product of planes. A state of 0 stays 0, even where a growing product overflows."""
    u, v = (part[:, 0] + 1j * part[:, 1] for part in (product, state))
    result = np.where(v == 0, 0, u) * v
    return np.stack((result.real, result.imag), 1)
