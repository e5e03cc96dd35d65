"""A residual block around a state-space layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ssm import StateSpaceLayer


class SharedDropout(nn.Module):
    """Dropout with one mask per sequence, shared over time.

    On a CPU a mask per element takes as long as the state-space layer itself.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(torch.ones_like(x[..., :1, :]), self.p)


class GELU(nn.Module):
    """``gelu(x)``, with dropout."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = SharedDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(F.gelu(x))


class FullGLU(nn.Module):
    """``W_1 g * sigmoid(W_2 g)``, ``g = gelu(x)``."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = SharedDropout(dropout)
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(F.glu(self.linear(self.dropout(F.gelu(x))), dim=-1))


class HalfGLU1(nn.Module):
    """``g * sigmoid(W g)``, ``g = gelu(x)``."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = SharedDropout(dropout)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        g = self.dropout(F.gelu(x))
        return self.dropout(g * torch.sigmoid(self.linear(g)))


class HalfGLU2(nn.Module):
    """``x * sigmoid(W gelu(x))``."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = SharedDropout(dropout)
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(x * torch.sigmoid(self.linear(self.dropout(F.gelu(x)))))


# The names are those of the original implementation.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": GELU,
    "full_glu": FullGLU,
    "half_glu1": HalfGLU1,
    "half_glu2": HalfGLU2,
}


class Block(nn.Module):
    """norm -> layer -> activation -> dropout -> residual; the norm comes last where ``prenorm`` is false.

    Follows the contract of :class:`~s5forecast.ssm.StateSpaceLayer`.
    """

    def __init__(
        self,
        layer: StateSpaceLayer,
        width: int,
        *,
        activation: str = "half_glu2",
        dropout: float = 0.0,
        prenorm: bool = True,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layer = layer
        self.activation = choose(ACTIVATIONS, activation, "activation")(width, dropout)
        self.prenorm = prenorm

    @property
    def supports_step(self) -> bool:
        return self.layer.supports_step

    def initial_state(self, batch_size: int) -> Tensor:
        return self.layer.initial_state(batch_size)

    def forward(
        self, u: Tensor, state: Tensor | None = None, dt: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``u [B, T, H]`` to ``y [B, T, H]`` and the state of the layer; it sees no input where ``mask [B, T]`` is 0.

        A step without input and without length, ``dt = 0``, leaves the state as it is.
        """
        x = self.norm(u) if self.prenorm else u
        y, state = self.layer(x if mask is None else x * mask.unsqueeze(-1), state, dt)
        return self._close(u, y), state

    def step(self, u: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``u [B, H]`` to ``y [B, H]`` and the new state."""
        y, state = self.layer.step(self.norm(u) if self.prenorm else u, state, dt)
        return self._close(u, y), state

    def _close(self, u: Tensor, y: Tensor) -> Tensor:
        y = u + self.activation(y)
        return y if self.prenorm else self.norm(y)
