"""The Liquid-S4 layer: diagonal systems for each channel, whose dynamics depend on the input."""

from __future__ import annotations

from itertools import repeat
from typing import ClassVar

import torch
from torch import Tensor

from s5forecast.ops import linear_scan
from s5forecast.ops.naive import multiply
from s5forecast.ssm.base import StepMatrices
from s5forecast.ssm.channel_initialization import ChannelInitialization
from s5forecast.ssm.s4d import S4D

# Numbers in the states of the sequences that are computed together, so that they stay in the cache. Training on 64 x
# 384 steps with 16 states takes a third of the time of computing all sequences at once.
BLOCK = 2**20


class LiquidS4(S4D):
    r"""The Liquid-S4 layer, by the equation of the paper, in the diagonal form of :class:`S4D`.

    .. math:: x_t = (\bar A + \bar B u_t) \odot x_{t-1} + \bar B u_t, \qquad y_t = 2\,\mathrm{Re}(C x_t) + D u_t

    for each channel. It is computed by a scan with a factor per step: exactly, causally, and with gradients of all
    parameters. The released implementation computes something else: a correction of the S4 output that depends on later
    inputs and has no gradient. Its results are not reproduced.

    **Stability.** The recurrence may grow while :math:`|\bar A + \bar B u_t| > 1`. With ``clamp``, the modulus of the
    factor is limited to :math:`\sqrt{|\bar A|}`, so that states forget at least half as fast as without input. The
    result is exact for inputs up to :meth:`exact_bound`.

    The scan writes all states, ``[B, T, 2, N]`` with N = H P / 2, so that memory grows with ``state_size``.

    Args:
        width: number of channels, H.
        state_size: number of states P of each channel, even; one of each conjugate pair is kept.
        initialization: a key of ``CHANNEL_INITIALIZATIONS``, or a function ``P -> Lambda [N], B [N]``.
        discretization: a key of ``ops.DISCRETIZATIONS``.
        clamp: whether to limit the factors of the recurrence.
        bidirectional: whether to add a backward system with a separate C, which reads the inputs after the present one.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        dt_min, dt_max: range of the initial steps.
        backend: implementation of the scan, a key of ``ops.BACKENDS`` or ``"auto"``.

    Raises:
        ValueError: for an unknown name, or an odd ``state_size``.

    References:
        "Liquid Structural State-Space Models" (Hasani, Lechner, Wang, Chahine, Amini, Rus, 2022)
    """

    generic_arguments: ClassVar[frozenset[str]] = S4D.generic_arguments

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        initialization: str | ChannelInitialization = "legs",
        discretization: str = "bilinear",
        clamp: bool = True,
        bidirectional: bool = False,
        step_scale: float = 1.0,
        dt_min: float = 1e-3,
        dt_max: float = 2e-1,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            width,
            state_size,
            initialization=initialization,
            discretization=discretization,
            bidirectional=bidirectional,
            step_scale=step_scale,
            dt_min=dt_min,
            dt_max=dt_max,
            backend=backend,
        )
        self.clamp = clamp

    def forward(self, u: Tensor, state: Tensor | None = None, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, last = self._scan(u, state, dt, self.C)
        if self.C_backward is not None:
            until_next = None if dt is None else torch.cat([dt[:, 1:], torch.ones_like(dt[:, :1])], dim=1).flip(1)
            y = y + self._scan(self._backward_inputs(u).flip(1), None, until_next, self.C_backward)[0].flip(1)
        return torch.addcmul(y, self.D, u), last

    def step(self, u: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self.supports_step:
            raise ValueError("a bidirectional LiquidS4 layer has no step mode; build it with bidirectional=False")
        y, state = self(u[:, None], state, None if dt is None else dt[:, None])
        return y[:, 0], state

    def step_matrices(self) -> StepMatrices | None:
        """None, because the matrices of a step depend on its input."""
        return None

    @torch.no_grad()
    def exact_bound(self) -> Tensor:
        """The largest inputs ``[H]``, in modulus, for which no factor of a unit step is clamped.

        They solve ``|A + B u|^2 = |A|`` for each state and the worse sign of u.
        """
        A, B = self._system(None)
        squared, along = A.square().sum(-2), (A * B).sum(-2).abs()
        room = (squared.sqrt() - squared).clamp(min=0)
        bound = room / (along + torch.sqrt(along.square() + B.square().sum(-2) * room))
        return bound.unflatten(-1, (self.width, -1)).amin(-1)

    def _system(self, dt: Tensor | None) -> tuple[Tensor, Tensor]:
        """A and B of a step, ``[2, N]``, or ``[B, T, 2, N]`` for steps ``dt [B, T]``."""
        steps = self._steps() if dt is None else self._steps() * dt.unsqueeze(-1)
        A, scale = self._discretize_steps(steps)
        return A, multiply(scale, self.B)

    def _scan(self, u: Tensor, state: Tensor | None, dt: Tensor | None, C: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs without D, and the last state, for a few sequences at a time."""
        state = self.initial_state(len(u)) if state is None else state
        size = len(u) if torch.compiler.is_compiling() else max(1, BLOCK // (2 * self.num_states * max(u.shape[1], 1)))
        regular = self._system(None) if dt is None else None
        steps = repeat(None) if dt is None else dt.split(size)
        parts = [
            self._scan_block(u_part, state_part, C, *(regular or self._system(dt_part)))
            for u_part, state_part, dt_part in zip(u.split(size), state.split(size), steps, strict=False)
        ]
        y, last = zip(*parts, strict=True)
        return torch.cat(y), torch.cat(last)

    def _scan_block(self, u: Tensor, state: Tensor, C: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
        inputs = B * u.repeat_interleave(self.state_size // 2, dim=-1).unsqueeze(-2)  # [B, T, 2, N]
        factor = A + inputs
        if self.clamp:
            factor = factor * _limit(factor, A).unsqueeze(-2)
        x = linear_scan(factor, inputs, state, backend=self.backend)
        return self._read(x.flatten(-2).to(u.dtype), self._output_weight(C)), self._last(x, state)


def _limit(factor: Tensor, A: Tensor) -> Tensor:
    """At most 1, such that the product with ``factor`` has at most the square root of the modulus of A."""
    tiny = torch.finfo(A.dtype).tiny  # a long step makes A vanish, where the square root has no derivative
    squared, limit = factor.square().sum(-2), A.square().sum(-2).clamp(min=tiny).sqrt()  # of squared moduli
    exceeds = squared > limit
    return torch.where(exceeds, torch.sqrt(limit / torch.where(exceeds, squared, 1.0)), 1.0)
