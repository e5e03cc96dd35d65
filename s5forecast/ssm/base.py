"""The contract of a state-space layer, shared by the blocks and the encoder built on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from torch import Tensor, nn


class StateSpaceLayer(nn.Module, ABC):
    """A sequence layer ``[B, T, H] -> [B, T, H]`` with a state that can be carried from call to call.

    Calling :meth:`forward` on two halves of a sequence, the second from the state the first returned,
    equals calling it on the whole, unless the layer is bidirectional; :meth:`step` is :meth:`forward` with one
    time step.
    """

    supports_dt: ClassVar[bool] = True

    @property
    @abstractmethod
    def supports_step(self) -> bool:
        """Whether the layer is causal, so that it can be advanced one observation at a time."""

    @abstractmethod
    def forward(self, u: Tensor, state: Tensor | None = None, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map ``u [B, T, H]`` to ``y [B, T, H]``; ``dt [B, T]`` is the time since the previous step."""

    @abstractmethod
    def step(self, u: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance by one observation: ``u [B, H]``, ``dt [B]`` to ``y [B, H]`` and the new state."""

    def advance(self, state: Tensor, elapsed: Tensor) -> Tensor:
        """The states a time after ``state``, without input: ``elapsed [B, Q]`` to ``[B, Q, ...]``, a state for each.

        Raises:
            NotImplementedError: for a layer whose state has no closed form over time.
        """
        raise NotImplementedError(f"the state of {type(self).__name__} has no closed form over time")

    @abstractmethod
    def initial_state(self, batch_size: int) -> Tensor:
        """The state before the first observation."""

    @abstractmethod
    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the dynamics: trained at their own rate, without weight decay."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
