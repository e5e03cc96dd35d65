"""A stack of residual blocks, the encoder of all estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.nn.block import NORMS, Block
from s5forecast.ssm import State, StateSpaceLayer
from s5forecast.ssm.layers import LayerArguments, LayerNames, layers_of_blocks

# Property of an encoder that a model requires -> error for a layer that lacks it, and advice.
ABILITIES = {
    "supports_step": ("has no step mode", "choose a causal one"),
    "supports_dt": ("does not support irregular steps", "choose one that does, such as 's5'"),
    "supports_advance": ("cannot be advanced to arbitrary times", "choose one that can, such as 's5'"),
}


class Encoder(nn.Module):
    """``num_layers`` blocks, each with a state-space layer, followed by a norm if ``prenorm`` is true.

    The methods are those of :class:`~s5forecast.ssm.StateSpaceLayer`; the state is the tuple of the states of the
    layers, see :func:`~s5forecast.ssm.map_state`.

    Args:
        width: number of features per step, H.
        num_layers: number of blocks.
        layer: a key of ``ssm.LAYERS``, a subclass of ``ssm.StateSpaceLayer``, or a list of keys, one for each block; a
            shorter list repeats.
        layer_kwargs: arguments of the layer after ``width``, see :func:`~s5forecast.ssm.layer_arguments`. For a list of
            layers, each argument is passed to the layers that have it, or there is a dict for each.
        activation, dropout, prenorm, norm: see :class:`~s5forecast.nn.Block`.
    """

    def __init__(
        self,
        width: int,
        num_layers: int,
        *,
        layer: LayerNames | type[StateSpaceLayer] = "s5",
        layer_kwargs: LayerArguments | None = None,
        activation: str = "half_glu2",
        dropout: float = 0.0,
        prenorm: bool = True,
        norm: str = "layer",
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(
                make(width, **arguments),
                width,
                activation=activation,
                dropout=dropout,
                prenorm=prenorm,
                norm=norm,
            )
            for make, arguments in layers_of_blocks(layer, layer_kwargs, num_layers)
        )
        self.norm = choose(NORMS, norm, "norm")(width) if prenorm else nn.Identity()

    def _layers(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    @property
    def supports_step(self) -> bool:
        """Whether the encoder is causal, so that it can be advanced one observation at a time."""
        return all(block.layer.supports_step for block in self._layers())

    @property
    def supports_dt(self) -> bool:
        """Whether steps may differ in length; needed for irregular series, padding and skipped steps."""
        return all(block.layer.supports_dt for block in self._layers())

    @property
    def supports_advance(self) -> bool:
        """Whether :meth:`advance` is available; needed for forecasts at arbitrary times."""
        return all(block.layer.supports_advance for block in self._layers())

    def require(self, *abilities: str) -> None:
        """Raise ValueError, naming the layer, if it lacks one of ``ABILITIES``."""
        for ability in abilities:
            lack = self.lack_of(ability)
            if lack is not None:
                raise ValueError(f"{lack}; {ABILITIES[ability][1]}")

    def lack_of(self, ability: str) -> str | None:
        """A clause that names the first layer without one of ``ABILITIES`` and the reason, or None if all have it."""
        for layer in (block.layer for block in self._layers()):
            if not getattr(layer, ability):
                reason = f", because {layer.limits[ability]}" if ability in layer.limits else ""
                return f"this {type(layer).__name__} layer {ABILITIES[ability][0]}{reason}"
        return None

    def initial_state(self, batch_size: int) -> tuple[State, ...]:
        return tuple(block.initial_state(batch_size) for block in self._layers())

    def forward(
        self,
        u: Tensor,
        state: Sequence[State] | None = None,
        dt: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, tuple[State, ...]]:
        """``u [B, T, H]`` to ``y [B, T, H]`` and the states of the layers; ``mask`` as in :class:`Block`.

        Raises:
            ValueError: if ``dt`` is given and the layer does not support it.
        """
        self._check_dt(dt)
        given: Sequence[State | None] = state or [None] * len(self.blocks)
        states = []
        for block, before in zip(self._layers(), given, strict=True):
            u, after = block(u, before, dt, mask)
            states.append(after)
        return self.norm(u), tuple(states)

    def step(self, u: Tensor, state: Sequence[State], dt: Tensor | None = None) -> tuple[Tensor, tuple[State, ...]]:
        """``u [B, H]`` to ``y [B, H]`` and the new states.

        Raises:
            ValueError: if the layer is not causal, or ``dt`` is given and the layer does not support it.
        """
        self._check_dt(dt)
        states = []
        for block, before in zip(self._layers(), state, strict=True):
            u, after = block.step(u, before, dt)
            states.append(after)
        return self.norm(u), tuple(states)

    def advance(self, state: Sequence[State], elapsed: Tensor) -> tuple[State, ...]:
        """The states of the layers at later times without further input; ``elapsed [B, Q]`` to ``[B, Q, ...]``."""
        return tuple(block.layer.advance(before, elapsed) for block, before in zip(self._layers(), state, strict=True))

    def _check_dt(self, dt: Tensor | None) -> None:
        if dt is not None:
            for block in self._layers():
                block.layer.check_dt(dt)
