"""Causal convolutions with the kernels of channelwise linear systems, by matrix products over chunks of time.

Each channel has its own system, ``x_t = A x_{t-1} + B u_t``, ``y_t = C x_t``. Time is cut into chunks of L steps. The
outputs of a chunk are the product of its inputs with a Toeplitz matrix of the kernel ``C A^k B``, plus the response
to the state before the chunk; only these states, one per chunk, are computed by a recurrence. In contrast to a scan,
the states between are never written, and in contrast to an FFT, the state is carried and the error does not grow with
the length of the sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from s5forecast.ops import linear_scan
from s5forecast.ops.naive import multiply

# Steps of a chunk, and the number of steps in a batch below which the shorter one is used. Building the matrices takes
# time in proportion to the length of a chunk (benchmarks/layer_speed.py).
CHUNK, SHORT_CHUNK, FEW_STEPS = 64, 32, 8192


class ChunkMatrices(NamedTuple):
    """The response of H channels over a chunk of L steps, with S real numbers in the state of each channel.

    Attributes:
        inputs: ``[H, L, L + S]``, from the inputs to the outputs and to the state after the chunk.
        response: ``[H, S, L]``, from the state before the chunk to the outputs.
        carry: from the states at the ends of K chunks that start from zero ``[H, B, K, S]``, and the state before the
            first chunk ``[B, H, S]``, to the states before each chunk ``[H, B, K, S]`` and the last one ``[B, H, S]``.
    """

    inputs: Tensor
    response: Tensor
    carry: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def run_chunks(u: Tensor, state: Tensor, make: Callable[[int], ChunkMatrices]) -> tuple[Tensor, Tensor]:
    """Outputs of channelwise systems.

    Args:
        u: ``[B, T, H]``.
        state: ``[B, H, S]`` before the first step.
        make: the matrices of chunks of a given length.

    Returns:
        Outputs ``[B, T, H]`` without a feedthrough, and the state after the last step.
    """
    batch, length, _ = u.shape
    chunk = CHUNK if batch * length >= FEW_STEPS else SHORT_CHUNK
    whole = length - length % chunk
    outputs = []
    with without_autocast(u.device.type):
        if whole:
            y, state = _run(u[:, :whole], state, make(chunk))
            outputs.append(y)
        if whole < length:
            y, state = _run(u[:, whole:], state, make(length - whole))
            outputs.append(y)
    return (torch.cat(outputs, 1) if outputs else u), state


def diagonal_chunks(Lambda_bar: Tensor, B: Tensor, C: Tensor, width: int, backend: str, length: int) -> ChunkMatrices:
    """Matrices of systems with diagonal A; the state of a channel is its real parts, then its imaginary parts.

    Args:
        Lambda_bar, B: ``[2, N]``, of a step.
        C: ``[2, N]``, real weights of the real and the imaginary parts of the states.
        width: number of channels H, each with N / H states.
        backend: of the scan over chunks.
        length: number of steps L.
    """
    powers = powers_of(Lambda_bar, length + 1)  # [L + 1, 2, N]

    def by_channel(x: Tensor) -> Tensor:
        return x.unflatten(-1, (width, -1)).movedim(-2, 0).flatten(2)  # [..., 2, N] to [H, L, S]

    impulse = multiply(B, powers[:-1])
    kernel = (impulse * C).unflatten(-1, (width, -1)).sum((1, 3))  # [L, H]
    response = multiply(torch.stack([C[0], -C[1]]), powers[1:]) * C.new_tensor([[1.0], [-1.0]])

    def carry(ends: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        planes = ends.unflatten(-1, (2, -1)).permute(1, 2, 3, 0, 4).flatten(3)  # [B, K, 2, N]
        first = state.unflatten(-1, (2, -1)).movedim(-2, 1).flatten(2)
        x = linear_scan(powers[-1].contiguous(), planes, first, backend=backend)
        before = torch.cat([first.unsqueeze(1), x[:, :-1]], dim=1).unflatten(-1, (width, -1))
        return before.permute(3, 0, 1, 2, 4).flatten(3), x[:, -1].unflatten(-1, (width, -1)).movedim(1, 2).flatten(2)

    inputs = torch.cat([toeplitz(kernel), by_channel(impulse.flip(0))], dim=-1)
    return ChunkMatrices(inputs, by_channel(response).transpose(1, 2), carry)


def powers_of(a: Tensor, count: int) -> Tensor:
    """``a^0 ... a^(count - 1)`` of complex numbers as planes ``[2, N]``, ``[count, 2, N]``, by doubling."""
    powers = torch.stack([torch.ones_like(a[0]), torch.zeros_like(a[0])]).unsqueeze(0)
    while len(powers) < count:
        powers = torch.cat([powers, multiply(powers[: count - len(powers)], a)])
        a = multiply(a, a)
    return powers


def toeplitz(kernel: Tensor) -> Tensor:
    """``[L, H]`` to ``[H, L, L]``, the matrices that map inputs ``[L]`` (rows) to outputs (columns)."""
    length = len(kernel)
    padded = F.pad(kernel.T, (length - 1, 0))
    return padded.unfold(-1, length, 1).flip(-1).transpose(1, 2)


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Keeps powers and states in the dtype of the arguments."""
    enabled = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if enabled else nullcontext()


def _run(u: Tensor, state: Tensor, matrices: ChunkMatrices) -> tuple[Tensor, Tensor]:
    """As :func:`run_chunks`, for a whole number of chunks."""
    inputs, response, carry = matrices
    batch, length = len(u), response.shape[-1]
    count = u.shape[1] // length
    parts = u.unflatten(1, (count, length)).movedim(-1, 0).flatten(1, 2)  # [H, B K, L]
    y, ends = (parts @ inputs).split([length, response.shape[1]], dim=-1)
    before, last = carry(ends.unflatten(1, (batch, count)), state)
    y = torch.baddbmm(y, before.flatten(1, 2), response)
    return y.unflatten(1, (batch, count)).movedim(0, -1).flatten(1, 2), last
