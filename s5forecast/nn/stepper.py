"""An encoder advanced one step at a time, with a state of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from s5forecast.nn.block import ACTIVATIONS, Block
from s5forecast.ops import fuses
from s5forecast.ssm import S5

if TYPE_CHECKING:
    from s5forecast.nn.encoder import Encoder


class Stepper:
    """``h = stepper(u)`` is :meth:`Encoder.step` from a state that it keeps."""

    def __init__(self, encoder: Encoder, state: tuple[Tensor, ...]) -> None:
        self.encoder = encoder
        self.state = state

    def __call__(self, u: Tensor) -> Tensor:
        """``u [B, H]`` to ``h [B, H]``, which may be overwritten by the next call."""
        h, self.state = self.encoder.step(u, self.state)
        return h


class FusedStepper:
    """The same in one pass over the state, where :func:`can_fuse` allows it; parameters are read once."""

    def __init__(self, blocks: Sequence[Block], norm: nn.LayerNorm, state: tuple[Tensor, ...]) -> None:
        from s5forecast.ops import cpu_step

        self.advance = cpu_step.advance
        layers = [cast(S5, block.layer) for block in blocks]
        matrices = [layer.step_matrices() for layer in layers]
        norms = [*(block.norm for block in blocks), norm]
        linear = [block.activation.linear for block in blocks if hasattr(block.activation, "linear")]
        none = state[0].new_empty(0, 0)
        self.weights = cpu_step.Weights(
            Lambda_bar=torch.cat([torch.stack([straight[0], across[1]]) for straight, across, _, _ in matrices]),
            B=torch.cat([B_bar.t() for _, _, B_bar, _ in matrices]),
            C=torch.cat([C.t() for _, _, _, C in matrices]),
            D=torch.stack([layer.D for layer in layers]),
            norms=torch.stack([parameter for norm in norms for parameter in (norm.weight, norm.bias)]),
            W=torch.cat([layer.weight.t() for layer in linear]) if linear else none,
            b=torch.stack([layer.bias for layer in linear]) if linear else none,
        )
        self.eps = norm.eps
        self.activation = next(name for name, kind in ACTIVATIONS.items() if kind is type(blocks[0].activation))
        self.state = torch.stack(state)
        self.h = self.state.new_empty(self.state.shape[1], layers[0].width)

    def __call__(self, u: Tensor) -> Tensor:
        self.advance(u, self.state, self.h, self.weights, self.eps, self.activation)
        return self.h


def can_fuse(blocks: Sequence[Block], norm: nn.Module, state: tuple[Tensor, ...]) -> bool:
    """Whether these are blocks of causal S5 layers, normalised first, in float32 on a CPU, without gradients."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not blocks or not isinstance(norm, nn.LayerNorm):
        return False
    return len({type(block.activation) for block in blocks}) == 1 and all(
        type(block) is Block
        and type(block.layer) is S5
        and block.layer.supports_step
        and block.prenorm
        and not block.training
        and type(block.activation) in ACTIVATIONS.values()
        and x.dtype == torch.float32
        and fuses(block.layer.backend, x, block.layer.D, block.norm.weight)
        for block, x in zip(blocks, state, strict=True)
    )
