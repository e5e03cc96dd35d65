"""Advance many sample paths through an encoder together, one step at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from s5forecast.nn.block import ACTIVATIONS, Block
from s5forecast.nn.encoder import Encoder
from s5forecast.ops import fuses
from s5forecast.ssm import State, StepMatrices, flatten_state, map_state


class Stepper:
    r"""Advances R paths by :meth:`Encoder.step`, each from its own copy of one of S states.

    .. math:: y_r = E\,h_r + e, \qquad h_r = \mathrm{step}(u_{s(r)} + A\,v_r)

    where :math:`s(r)` is the index of the state that path r started from. The part of the input that all paths from
    the same state share, :math:`u`, is given once; :math:`v_r` differs between paths.

    Args:
        encoder: a causal encoder.
        state: the S states of the encoder; they are not modified.
        source: ``[R]``, the index s(r) of each path.
        E, e: the output map, ``[K, H]`` and ``[K]``.
    """

    def __init__(self, encoder: Encoder, state: Sequence[State], source: Tensor, E: Tensor, e: Tensor) -> None:
        self.encoder, self.source, self.E, self.e = encoder, source, E, e
        self.state: tuple[State, ...] = map_state(lambda x: x.index_select(0, source), state)

    def __call__(self, u: Tensor, v: Tensor, A: Tensor) -> Tensor:
        """``u [S, H]``, ``v [M, R]``, ``A [H, M]`` to ``y [K, R]``."""
        u = u.index_select(0, self.source).addmm_(v.T, A.T)
        h, self.state = self.encoder.step(u, self.state)
        return torch.addmm(self.e[:, None], self.E, h.T)


class FusedStepper:
    """A :class:`Stepper` that runs each step as one CPU kernel. The parameters are read once, by the constructor."""

    def __init__(self, encoder: Encoder, state: Sequence[State], source: Tensor, E: Tensor, e: Tensor) -> None:
        from s5forecast.nn import stepper_cpu

        blocks = cast(list[Block], list(encoder.blocks))
        matrices = [cast(StepMatrices, block.layer.step_matrices()) for block in blocks]
        norms = [*(block.norm for block in blocks), cast(nn.LayerNorm, encoder.norm)]
        linear = [cast(nn.Linear, block.activation.linear) for block in blocks if hasattr(block.activation, "linear")]
        none = E.new_empty(0, 0)
        self.weights = stepper_cpu.Weights(
            Lambda_bar=torch.cat([layer.Lambda_bar for layer in matrices]),
            B=torch.cat([layer.B for layer in matrices]),
            C=torch.cat([layer.C for layer in matrices]),
            D=torch.stack([layer.D for layer in matrices]),
            norms=torch.stack([parameter for norm in norms for parameter in (norm.weight, norm.bias)]),
            W=torch.cat([layer.weight for layer in linear]) if linear else none,
            b=torch.stack([layer.bias for layer in linear]) if linear else none,
            E=E.contiguous(),
            e=e[None].contiguous(),
        )
        self.step, self.source, self.eps = stepper_cpu.step, source, norms[0].eps
        self.activation = next(name for name, kind in ACTIVATIONS.items() if kind is type(blocks[0].activation))
        states = [x.flatten(1).index_select(0, source) for x in flatten_state(state)]
        self.tiles = stepper_cpu.tiled(torch.stack(states))

    def __call__(self, u: Tensor, v: Tensor, A: Tensor) -> Tensor:
        return self.step(u, self.source, v, A, self.tiles, self.weights, self.eps, self.activation)


def make_stepper(
    encoder: Encoder, state: Sequence[State], source: Tensor, E: Tensor, e: Tensor
) -> Stepper | FusedStepper:
    """A :class:`FusedStepper` if it supports the encoder and the tensors, otherwise a :class:`Stepper`.

    The fused one requires float32 tensors on a CPU, disabled gradients and an encoder that :func:`can_fuse` accepts.
    """
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or E.dtype != torch.float32
    fused = not plain and fuses("cpu", E, e, *flatten_state(state)) and can_fuse(encoder)
    return (FusedStepper if fused else Stepper)(encoder, state, source, E, e)


def can_fuse(encoder: Encoder) -> bool:
    """Whether :class:`FusedStepper` supports the encoder.

    All blocks must be in evaluation mode, start with a layer norm, share one activation and have step matrices for the
    same number of states.
    """
    blocks = cast(list[Block], list(encoder.blocks))
    sizes = {x.shape for x in flatten_state(encoder.initial_state(1))}
    return len({type(block.activation) for block in blocks}) == len(sizes) == 1 and all(
        type(block) is Block
        and type(block.norm) is nn.LayerNorm
        and type(block.activation) in ACTIVATIONS.values()
        and block.prenorm
        and not block.training
        and block.layer.step_matrices() is not None
        for block in blocks
    )
