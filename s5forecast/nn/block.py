"""A residual block around a state-space layer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ssm import State, StateSpaceLayer


class SharedDropout(nn.Module):
    """Dropout with one mask per sequence, shared by all time steps.

    On a CPU, drawing a mask for each time step takes as long as the state-space layer itself.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(torch.ones_like(x[..., :1, :]), self.p)


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over batch and time.

    In training, sequences are normalized by the statistics of the batch; single steps always use the running
    statistics. Padded steps count in the statistics like any other step.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``[B, T, H]`` or, for a single step, ``[B, H]``."""
        if x.ndim == 3:
            return super().forward(x.flatten(0, 1)).view_as(x)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


NORMS: dict[str, type[nn.LayerNorm] | type[BatchNorm]] = {"layer": nn.LayerNorm, "batch": BatchNorm}


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
    """norm -> layer -> activation -> dropout -> residual, or with the norm last if ``prenorm`` is false.

    The methods are those of :class:`~s5forecast.ssm.StateSpaceLayer`; the state is that of the layer.

    Args:
        layer: the state-space layer.
        width: number of features, H.
        activation: a key of ``ACTIVATIONS``.
        dropout: probability of dropping a feature for a whole sequence.
        prenorm: whether the norm comes first.
        norm: a key of ``NORMS``.
    """

    def __init__(
        self,
        layer: StateSpaceLayer,
        width: int,
        *,
        activation: str = "half_glu2",
        dropout: float = 0.0,
        prenorm: bool = True,
        norm: str = "layer",
    ) -> None:
        super().__init__()
        self.norm = choose(NORMS, norm, "norm")(width)
        self.layer = layer
        self.activation = choose(ACTIVATIONS, activation, "activation")(width, dropout)
        self.prenorm = prenorm

    @property
    def supports_step(self) -> bool:
        return self.layer.supports_step

    def initial_state(self, batch_size: int) -> State:
        return self.layer.initial_state(batch_size)

    def forward(
        self, u: Tensor, state: Any = None, dt: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run over a sequence.

        Args:
            u: ``[B, T, H]``.
            state: the state of the layer before the first step; its initial state if None.
            dt: ``[B, T]``, the time since the previous step.
            mask: ``[B, T]``; the input of the layer is 0 where it is 0. Together with ``dt = 0``, such a step leaves
                the state unchanged.

        Returns:
            ``y [B, T, H]`` and the state of the layer after the last step.
        """
        x = self.norm(u) if self.prenorm else u
        y, state = self.layer(x if mask is None else x * mask.unsqueeze(-1), state, dt)
        return self._close(u, y), state

    def step(self, u: Tensor, state: Any, dt: Tensor | None = None) -> tuple[Tensor, State]:
        """``u [B, H]`` to ``y [B, H]`` and the new state."""
        y, state = self.layer.step(self.norm(u) if self.prenorm else u, state, dt)
        return self._close(u, y), state

    def _close(self, u: Tensor, y: Tensor) -> Tensor:
        y = u + self.activation(y)
        return y if self.prenorm else self.norm(y)
