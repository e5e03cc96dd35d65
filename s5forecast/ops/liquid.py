"""The custom operator of the scan of Liquid-S4 and its rule of differentiation."""

from typing import Any

import torch
from torch import Tensor

from s5forecast.ops.autograd import refuse_second_derivatives, register_operator
from s5forecast.ops.backends import load

TILE = 64  # steps between two states that are kept


@register_operator
def liquid_scan(
    A: Tensor, B: Tensor, C: Tensor, limit: Tensor, u: Tensor, initial_state: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return load("cpu").liquid_scan(A, B, C, limit, u, initial_state, keep)


@torch.library.register_fake("s5forecast::liquid_scan")
def _(
    A: Tensor, B: Tensor, C: Tensor, limit: Tensor, u: Tensor, initial_state: Tensor | None, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    state = u.new_empty(u.shape[0], *A.shape)
    kept = (u.shape[0], -(-u.shape[1] // TILE)) if keep else (0, 0)
    return u.new_empty(u.shape), state, u.new_empty(*kept, *A.shape)


@register_operator
def liquid_scan_backward(
    dy: Tensor, dlast: Tensor, A: Tensor, B: Tensor, C: Tensor, limit: Tensor, u: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return load("cpu").liquid_scan_backward(dy, dlast, A, B, C, limit, u, kept)


@torch.library.register_fake("s5forecast::liquid_scan_backward")
def _(
    dy: Tensor, dlast: Tensor, A: Tensor, B: Tensor, C: Tensor, limit: Tensor, u: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dA, dB, dC, dlimit, du, dx0 = (u.new_empty(v.shape) for v in (A, B, C, limit, u, dlast))
    return dA, dB, dC, dlimit, du, dx0


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:-1], output[2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, dy: Tensor | None, dlast: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *inputs, kept = ctx.saved_tensors
    A, B, C, limit, u, initial_state = inputs
    if not len(kept):  # traced while gradients were disabled
        kept = liquid_scan(*inputs, True)[2]
    dy = torch.zeros_like(u) if dy is None else dy
    dlast = u.new_zeros(len(u), *A.shape) if dlast is None else dlast
    *gradients, dx0 = liquid_scan_backward(dy, dlast, A, B, C, limit, u, kept)
    return *gradients, None if initial_state is None else dx0, None


torch.library.register_autograd("s5forecast::liquid_scan", _differentiate, setup_context=_save)
refuse_second_derivatives("liquid_scan_backward")
