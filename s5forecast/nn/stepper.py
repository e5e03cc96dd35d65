"""Many paths through an encoder from a few states, advanced together one step at a time."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from s5forecast.nn.block import ACTIVATIONS, Block
from s5forecast.nn.encoder import Encoder
from s5forecast.ops import fuses
from s5forecast.ssm import S5


class Stepper:
    r"""Advances R paths by :meth:`Encoder.step`, each from its own copy of one of S states.

    .. math:: y_r = E\,h_r + e, \qquad h_r = \mathrm{step}(u_{s(r)} + A\,v_r)

    where :math:`s(r)` is the state that path r started from: what is common to its paths is given once, and
    :math:`v_r` is what differs.

    Arguments:
        encoder: with a step mode.
        state: the S states, as the encoder gives them; they are left as they are.
        source: ``[R]``, s.
        E, e: ``[K, H]`` and ``[K]``.
    """

    def __init__(self, encoder: Encoder, state: tuple[Tensor, ...], source: Tensor, E: Tensor, e: Tensor) -> None:
        self.encoder, self.source, self.E, self.e = encoder, source, E, e
        self.state = tuple(x.index_select(0, source) for x in state)

    def __call__(self, u: Tensor, v: Tensor, A: Tensor) -> Tensor:
        """``u [S, H]``, ``v [M, R]``, ``A [H, M]`` to ``y [K, R]``."""
        u = u.index_select(0, self.source).addmm_(v.T, A.T)
        h, self.state = self.encoder.step(u, self.state)
        return torch.addmm(self.e[:, None], self.E, h.T)


class FusedStepper:
    """The same with one pass over the states in a step. Parameters are read once."""

    def __init__(self, encoder: Encoder, state: tuple[Tensor, ...], source: Tensor, E: Tensor, e: Tensor) -> None:
        from s5forecast.nn import stepper_cpu

        blocks = cast(list[Block], list(encoder.blocks))
        layers = [cast(S5, block.layer) for block in blocks]
        matrices = [layer.step_matrices() for layer in layers]
        norms = [*(block.norm for block in blocks), cast(nn.LayerNorm, encoder.norm)]
        linear = [cast(nn.Linear, block.activation.linear) for block in blocks if hasattr(block.activation, "linear")]
        none = E.new_empty(0, 0)
        self.weights = stepper_cpu.Weights(
            Lambda_bar=torch.cat([torch.stack([straight[0], across[1]]) for straight, across, _, _ in matrices]),
            B=torch.cat([B_bar for _, _, B_bar, _ in matrices]),
            C=torch.cat([C for _, _, _, C in matrices]),
            D=torch.stack([layer.D for layer in layers]),
            norms=torch.stack([parameter for norm in norms for parameter in (norm.weight, norm.bias)]),
            W=torch.cat([layer.weight for layer in linear]) if linear else none,
            b=torch.stack([layer.bias for layer in linear]) if linear else none,
            E=E.contiguous(),
            e=e[None].contiguous(),
        )
        self.step, self.source, self.eps = stepper_cpu.step, source, norms[0].eps
        self.activation = next(name for name, kind in ACTIVATIONS.items() if kind is type(blocks[0].activation))
        self.tiles = stepper_cpu.tiled(torch.stack([x.flatten(1).index_select(0, source) for x in state]))

    def __call__(self, u: Tensor, v: Tensor, A: Tensor) -> Tensor:
        return self.step(u, self.source, v, A, self.tiles, self.weights, self.eps, self.activation)


def make_stepper(
    encoder: Encoder, state: tuple[Tensor, ...], source: Tensor, E: Tensor, e: Tensor
) -> Stepper | FusedStepper:
    """The fused one where there are no gradients, all is float32 on a CPU and :func:`can_fuse` knows the encoder."""
    plain = torch.is_grad_enabled() or torch.compiler.is_compiling() or E.dtype != torch.float32
    fused = not plain and fuses("cpu", E, e, *state) and can_fuse(encoder)
    return (FusedStepper if fused else Stepper)(encoder, state, source, E, e)


def can_fuse(encoder: Encoder) -> bool:
    """Whether it consists of causal S5 layers in blocks that normalise first, all of one kind, in evaluation mode."""
    blocks = cast(list[Block], list(encoder.blocks))
    return len({type(block.activation) for block in blocks}) == 1 and all(
        type(block) is Block
        and type(block.layer) is S5
        and block.layer.supports_step
        and block.layer.backend in ("auto", "cpu")
        and type(block.activation) in ACTIVATIONS.values()
        and block.prenorm
        and not block.training
        for block in blocks
    )
