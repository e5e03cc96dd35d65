"""A stack of residual blocks: the encoder of every estimator."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.nn.block import Block
from s5forecast.ssm import LAYERS


class Encoder(nn.Module):
    """``num_layers`` blocks of one kind of state-space layer, and a norm.

    Follows the contract of :class:`~s5forecast.ssm.StateSpaceLayer`; its state is the tuple of the layers' states.

    Arguments:
        width: features per step, H.
        num_layers: number of blocks.
        layer: a key of ``ssm.LAYERS`` or a class with the layer contract.
        layer_kwargs: further arguments of the layer, after ``width``.
        activation, dropout, prenorm: see :class:`~s5forecast.nn.Block`.
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        *,
        layer: str = "s5",
        layer_kwargs: dict[str, Any] | None = None,
        activation: str = "half_glu2",
        dropout: float = 0.0,
        prenorm: bool = True,
    ) -> None:
        super().__init__()
        make = choose(LAYERS, layer, "layer")
        self.blocks = nn.ModuleList(
            Block(
                make(width, **(layer_kwargs or {})),
                width,
                activation=activation,
                dropout=dropout,
                prenorm=prenorm,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width) if prenorm else nn.Identity()

    def _layers(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    @property
    def supports_step(self) -> bool:
        return all(block.supports_step for block in self._layers())

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        return tuple(block.initial_state(batch_size) for block in self._layers())

    def forward(
        self, u: Tensor, state: tuple[Tensor, ...] | None = None, dt: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``u [B, T, H]`` to ``y [B, T, H]`` and the states of the layers."""
        states = []
        for block, before in zip(self._layers(), state or [None] * len(self.blocks), strict=True):
            u, after = block(u, before, dt)
            states.append(after)
        return self.norm(u), tuple(states)

    def step(self, u: Tensor, state: tuple[Tensor, ...], dt: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """``u [B, H]`` to ``y [B, H]`` and the new states."""
        states = []
        for block, before in zip(self._layers(), state, strict=True):
            u, after = block.step(u, before, dt)
            states.append(after)
        return self.norm(u), tuple(states)
