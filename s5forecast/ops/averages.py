"""The custom operator of the moving averages of Mega and its rule of differentiation."""

from typing import Any

import torch
from torch import Tensor

from s5forecast.ops.autograd import refuse_second_derivatives, register_operator
from s5forecast.ops.backends import load

TILE = 64  # steps between two averages that are kept


@register_operator
def moving_averages(
    q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, state: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return load("cpu").moving_averages(q, p, eta, omega, x, state, keep)


@torch.library.register_fake("s5forecast::moving_averages")
def _(
    q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, state: Tensor, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    kept = (len(x), -(-x.shape[1] // TILE)) if keep else (0, 0)
    return x.new_empty(x.shape), x.new_empty(state.shape), x.new_empty(*kept, *q.shape)


@register_operator
def moving_averages_backward(
    dy: Tensor, dlast: Tensor, q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return load("cpu").moving_averages_backward(dy, dlast, q, p, eta, omega, x, kept)


@torch.library.register_fake("s5forecast::moving_averages_backward")
def _(
    dy: Tensor, dlast: Tensor, q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    dq, dp, deta, domega, dx, dstate = (x.new_empty(v.shape) for v in (q, p, eta, omega, x, dlast))
    return dq, dp, deta, domega, dx, dstate


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs[:-1], output[2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, dy: Tensor | None, dlast: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *inputs, kept = ctx.saved_tensors
    x, state = inputs[-2:]
    if not len(kept):  # traced while gradients were disabled
        kept = moving_averages(*inputs, True)[2]
    dy = torch.zeros_like(x) if dy is None else dy
    dlast = torch.zeros_like(state) if dlast is None else dlast
    return *moving_averages_backward(dy, dlast, *inputs[:-1], kept), None


torch.library.register_autograd("s5forecast::moving_averages", _differentiate, setup_context=_save)
refuse_second_derivatives("moving_averages_backward")
