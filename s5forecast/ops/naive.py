"""The recurrence as a loop over time: its definition, and the reference of all tests."""

import torch
from torch import Tensor


def multiply(u: Tensor, v: Tensor) -> Tensor:
    """Complex product of planar tensors.

    Args:
        u: `[..., 2, N]`.
        v: `[..., 2, N]`, broadcast against `u`.

    Returns:
        `[..., 2, N]`.
    """
    u_re, u_im = u.unbind(-2)
    v_re, v_im = v.unbind(-2)
    return torch.stack((u_re * v_re - u_im * v_im, u_re * v_im + u_im * v_re), -2)


def linear_scan(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool) -> Tensor:
    """`x_t = a_t x_{t-1} + b_t`, one step after another, in plain differentiable torch.

    Args:
        a: `[2, N]` or `[B, T, 2, N]`.
        b: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        reverse: whether time runs from the last step to the first.

    Returns:
        `[B, T, 2, N]`.
    """
    length = b.shape[1]
    x = b.new_zeros(b.shape[0], *b.shape[2:]) if initial_state is None else initial_state
    states = [b.new_zeros(b.shape[0], *b.shape[2:])] * length
    for t in reversed(range(length)) if reverse else range(length):
        x = multiply(a if a.ndim == 2 else a[:, t], x) + b[:, t]
        states[t] = x
    return torch.stack(states, 1) if states else torch.zeros_like(b)
