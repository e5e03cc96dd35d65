"""The S4D layer: a diagonal system for each channel."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ssm.channel_initialization import CHANNEL_INITIALIZATIONS, ChannelInitialization
from s5forecast.ssm.diagonal import DiagonalLayer
from s5forecast.ssm.exponential import bounded_exp
from s5forecast.ssm.initialization import log_timescales


class S4D(DiagonalLayer):
    r"""The S4D layer: each channel h has a diagonal system with one input and one output.

    .. math:: x_h'(t) = \Lambda_h x_h(t) + B_h u_h(t), \qquad y_h(t) = 2\,\mathrm{Re}(C_h x_h(t)) + D_h u_h(t)

    with :math:`\Lambda = -\exp(\text{log\_decay}) + i\,\text{frequency}` and a step :math:`\exp(\text{log\_step})` for
    each channel. In contrast to :class:`S5`, channels are mixed only by the rest of the block.

    Args:
        width: number of channels, H.
        state_size: number of states P of each channel, even; N = P / 2 are kept, one of each conjugate pair.
        initialization: a key of ``CHANNEL_INITIALIZATIONS``, or a function ``P -> Lambda [N], B [N]``. ``"ptd"`` is
            S4-PTD.
        discretization: a key of ``ops.DISCRETIZATIONS``.
        bidirectional: whether to add a backward system with a separate C, which reads the inputs after the present one.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        dt_min, dt_max: range of the initial steps.
        backend: implementation of the scan, a key of ``ops.BACKENDS`` or ``"auto"``.

    Raises:
        ValueError: for an unknown name, or an odd ``state_size``.

    References:
        "On the Parameterization and Initialization of Diagonal State Space Models" (Gu, Gupta, Goel, Re, 2022)
        "Robustifying State-space Models for Long Sequences via Approximate Diagonalization" (Yu, Nigmetov, Morozov,
        Mahoney, Erichson, 2023), for S4-PTD
    """

    generic_arguments: ClassVar[frozenset[str]] = frozenset(
        {"state_size", "bidirectional", "step_scale", "dt_min", "dt_max"}
    )
    dynamics: ClassVar[tuple[str, ...]] = ("log_decay", "frequency", "B", "log_step")
    backward_lag: ClassVar[int] = 1

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        initialization: str | ChannelInitialization = "legs",
        discretization: str = "zoh",
        bidirectional: bool = False,
        step_scale: float = 1.0,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        backend: str = "auto",
    ) -> None:
        if state_size % 2:
            raise ValueError(f"state_size={state_size} must be even, because states come in conjugate pairs")
        N = width * state_size // 2
        super().__init__(width, N, discretization=discretization, step_scale=step_scale, backend=backend)
        self._initial_dynamics = choose(CHANNEL_INITIALIZATIONS, initialization, "initialization")
        self.state_size = state_size
        self.dt_min, self.dt_max = dt_min, dt_max
        self.log_decay, self.frequency = (nn.Parameter(torch.empty(N)) for _ in range(2))
        self.B, self.C = (nn.Parameter(torch.empty(2, N)) for _ in range(2))
        self.C_backward = nn.Parameter(torch.empty(2, N)) if bidirectional else None
        self.D, self.log_step = (nn.Parameter(torch.empty(width)) for _ in range(2))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        Lambda, B = (z.repeat(self.width) for z in self._initial_dynamics(self.state_size))
        self.log_decay.copy_(torch.log(-Lambda.real))
        self.frequency.copy_(Lambda.imag)
        self.B.copy_(torch.stack([B.real, B.imag]))
        for C in (self.C, self.C_backward):
            if C is not None:
                C.normal_(std=math.sqrt(0.5))
        self.D.normal_()
        self.log_step.copy_(log_timescales(self.width, self.dt_min, self.dt_max))

    def poles(self) -> Tensor:
        return torch.stack([-bounded_exp(self.log_decay), self.frequency])

    def timescales(self) -> Tensor:
        return bounded_exp(self.log_step).repeat_interleave(self.state_size // 2)

    def input_matrix(self) -> Tensor:
        return self.B

    def output_matrix(self) -> Tensor:
        return self.C

    def backward_output_matrix(self) -> Tensor | None:
        return self.C_backward

    def extra_repr(self) -> str:
        return (
            f"width={self.width}, state_size={self.state_size}, discretization={self.discretization!r}, "
            f"bidirectional={self.C_backward is not None}"
        )
