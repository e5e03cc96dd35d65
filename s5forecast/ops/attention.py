"""The custom operator of the gated attention of Mega and its rule of differentiation."""

from typing import Any

import torch
from torch import Tensor

from s5forecast.ops.autograd import refuse_second_derivatives, register_operator
from s5forecast.ops.backends import load

# sqrt(1 / 2) and sqrt(1 / (4 pi)), rounded as in the published implementation
LAPLACE_MEAN, LAPLACE_STD = 0.707107, 0.282095
KINDS = "softmax", "laplace", "relu2"
SOFTMAX = KINDS.index("softmax")

Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


@register_operator
def gated_attention(
    averaged: Tensor,
    u: Tensor,
    mixed: Tensor,
    mixed_bias: Tensor,
    values: Tensor,
    values_bias: Tensor,
    attended: Tensor,
    scale: Tensor,
    shift: Tensor,
    bias: Tensor,
    kind: str,
    causal: bool,
) -> Tensor:
    given = averaged, u, mixed, mixed_bias, values, values_bias, attended, scale, shift, bias
    return load("cpu").gated_attention(*given, kind, causal)


@torch.library.register_fake("s5forecast::gated_attention")
def _(
    averaged: Tensor,
    u: Tensor,
    mixed: Tensor,
    mixed_bias: Tensor,
    values: Tensor,
    values_bias: Tensor,
    attended: Tensor,
    scale: Tensor,
    shift: Tensor,
    bias: Tensor,
    kind: str,
    causal: bool,
) -> Tensor:
    return u.new_empty(u.shape)


@register_operator
def gated_attention_backward(
    dy: Tensor,
    averaged: Tensor,
    u: Tensor,
    mixed: Tensor,
    mixed_bias: Tensor,
    values: Tensor,
    values_bias: Tensor,
    attended: Tensor,
    scale: Tensor,
    shift: Tensor,
    bias: Tensor,
    kind: str,
    causal: bool,
) -> Gradients:
    given = averaged, u, mixed, mixed_bias, values, values_bias, attended, scale, shift, bias
    return load("cpu").gated_attention_backward(dy, *given, kind, causal)


@torch.library.register_fake("s5forecast::gated_attention_backward")
def _(
    dy: Tensor,
    averaged: Tensor,
    u: Tensor,
    mixed: Tensor,
    mixed_bias: Tensor,
    values: Tensor,
    values_bias: Tensor,
    attended: Tensor,
    scale: Tensor,
    shift: Tensor,
    bias: Tensor,
    kind: str,
    causal: bool,
) -> Gradients:
    a, b, c, d, e, f, g, h, i, j = (
        u.new_empty(x.shape)
        for x in (averaged, u, mixed, mixed_bias, values, values_bias, attended, scale, shift, bias)
    )
    return a, b, c, d, e, f, g, h, i, j


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.kind, ctx.causal = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    return *gated_attention_backward(dy, *ctx.saved_tensors, ctx.kind, ctx.causal), None, None


torch.library.register_autograd("s5forecast::gated_attention", _differentiate, setup_context=_save)
refuse_second_derivatives("gated_attention_backward")
