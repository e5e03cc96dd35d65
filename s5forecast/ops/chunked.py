"""The recurrence in plain torch, blocked over time, on any device.

Time is cut into blocks of L steps. First all blocks are run at once from zero, which gives their last states and the
products of their `a`. These obey the same recurrence, L times shorter, which gives every block its first state. Then
all blocks are run again from their first states. This takes `O(L log T / log L)` tensor operations and no division,
so `a` may be zero.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from s5forecast.ops.naive import multiply

BLOCK = 16


def linear_scan(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool) -> Tensor:
    """`x_t = a_t x_{t-1} + b_t` by blocks.

    Args:
        a: `[2, N]` or `[B, T, 2, N]`.
        b: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, zero if None.
        reverse: whether time runs from the last step to the first.

    Returns:
        `[B, T, 2, N]`.
    """
    batch, length, _, states = b.shape
    block = max(1, min(BLOCK, length))
    missing = -length % block
    a, b = _blocks(a, block, missing, reverse), _blocks(b, block, missing, reverse)  # [B, T/L, L, 2, N]
    first = b.new_zeros(batch, 2, states) if initial_state is None else initial_state
    steps = range(block - 1, -1, -1) if reverse else range(block)

    start = first.unsqueeze(1)
    if b.shape[1] > 1:
        product, end = _last_states(a, b, steps)
        carry = linear_scan(product, end, initial_state, reverse)
        start = torch.cat((carry[:, 1:], start), 1) if reverse else torch.cat((start, carry[:, :-1]), 1)
    x = torch.empty_like(b)
    for l in steps:
        start = _multiply_add(_step(a, l), start, b[:, :, l], out=x[:, :, l])
    x = x.flatten(1, 2)
    return (x[:, missing:] if reverse else x[:, :length]).contiguous()


def _blocks(v: Tensor, block: int, missing: int, reverse: bool) -> Tensor:
    """`[B, T, 2, N]` to `[B, T/L, L, 2, N]`, padded with zeros after the last step of the scan."""
    if v.ndim == 2:
        return v
    if missing:
        v = pad(v, (0, 0, 0, 0, missing, 0) if reverse else (0, 0, 0, 0, 0, missing))
    return v.unflatten(1, (v.shape[1] // block, block))


def _last_states(a: Tensor, b: Tensor, steps: range) -> tuple[Tensor, Tensor]:
    """The product of `a` over each block, and the last state of each block when it starts from zero."""
    product, end = _step(a, steps[0]), b[:, :, steps[0]]
    for l in steps[1:]:
        product, end = multiply(_step(a, l), product), _multiply_add(_step(a, l), end, b[:, :, l])
    return product, end


def _step(a: Tensor, l: int) -> Tensor:
    return a if a.ndim == 2 else a[:, :, l]


def _multiply_add(u: Tensor, v: Tensor, w: Tensor, out: Tensor | None = None) -> Tensor:
    """Complex `u v + w` of planar tensors."""
    out = torch.empty_like(w) if out is None else out
    u_re, u_im = u.unbind(-2)
    v_re, v_im = v.unbind(-2)
    w_re, w_im = w.unbind(-2)
    re, im = out.unbind(-2)
    torch.addcmul(w_re, u_re, v_re, out=re).addcmul_(u_im, v_im, value=-1)
    torch.addcmul(w_im, u_re, v_im, out=im).addcmul_(u_im, v_re)
    return out
