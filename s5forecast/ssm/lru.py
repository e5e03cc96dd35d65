"""The LRU layer: a diagonal recurrence with many inputs and outputs, defined in discrete time."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from s5forecast.ssm.diagonal import DiagonalLayer
from s5forecast.ssm.exponential import bounded_exp


class LRU(DiagonalLayer):
    r"""The linear recurrent unit.

    .. math:: x_t = \lambda \odot x_{t-1} + \gamma \odot (B u_t), \qquad y_t = \mathrm{Re}(C x_t) + D u_t

    with :math:`\lambda = \exp(-\exp(\text{nu\_log}) + i \exp(\text{theta\_log}))` and
    :math:`\gamma = \exp(\text{gamma\_log})`. Initially :math:`\lambda` is uniform on a ring and
    :math:`\gamma^2 = 1 - |\lambda|^2`. States are not kept in conjugate pairs, in contrast to :class:`S5`.

    Irregular steps are an extension of this package: a step of length dt multiplies the state by :math:`\lambda^{dt}`,
    with the phase of :math:`\lambda` between :math:`-\pi` and :math:`\pi`, so that slow modes are slow at any step.

    Args:
        width: number of inputs and outputs, H.
        state_size: number of complex states, N.
        r_min, r_max: range of the initial :math:`|\lambda|`.
        max_phase: largest initial phase of :math:`\lambda`.
        bidirectional: whether to add a second scan that runs backward, with a separate output matrix.
        step_scale: exponent of :math:`\lambda` in a unit step; the inputs are not rescaled.
        backend: implementation of the scan, a key of ``ops.BACKENDS`` or ``"auto"``.

    Raises:
        ValueError: unless ``0 <= r_min < r_max <= 1`` and ``max_phase > 0``.

    References:
        "Resurrecting Recurrent Neural Networks for Long Sequences" (Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu,
        De, 2023)
    """

    generic_arguments: ClassVar[frozenset[str]] = frozenset({"state_size", "bidirectional", "step_scale"})
    dynamics: ClassVar[tuple[str, ...]] = ("nu_log", "theta_log", "gamma_log", "B")

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 6.28,
        bidirectional: bool = False,
        step_scale: float = 1.0,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            width, state_size, discretization="dirac", conj_sym=False, step_scale=step_scale, backend=backend
        )
        if not 0 <= r_min < r_max <= 1 or max_phase <= 0:
            raise ValueError(
                f"r_min={r_min}, r_max={r_max} and max_phase={max_phase} must satisfy 0 <= r_min < r_max <= 1 and "
                "max_phase > 0"
            )
        self.r_min, self.r_max, self.max_phase = r_min, r_max, max_phase
        N = state_size
        self.nu_log, self.theta_log, self.gamma_log = (nn.Parameter(torch.empty(N)) for _ in range(3))
        self.B = nn.Parameter(torch.empty(2, N, width))
        self.C = nn.Parameter(torch.empty(2, width, N))
        self.C_backward = nn.Parameter(torch.empty(2, width, N)) if bidirectional else None
        self.D = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        radius, phase = torch.rand(2, self.num_states, dtype=torch.float64)
        nu_log, theta_log, gamma_log = ring(radius, phase, self.r_min, self.r_max, self.max_phase)
        self.nu_log.copy_(nu_log)
        self.theta_log.copy_(theta_log)
        self.gamma_log.copy_(gamma_log)
        self.B.normal_(std=1 / math.sqrt(2 * self.width))
        for C in (self.C, self.C_backward):
            if C is not None:
                C.normal_(std=1 / math.sqrt(self.num_states))
        self.D.normal_()

    def poles(self) -> Tensor:
        phase = bounded_exp(self.theta_log)
        turns = torch.round(phase.detach() / (2 * math.pi))
        return torch.stack([-bounded_exp(self.nu_log), phase - 2 * math.pi * turns])

    def timescales(self) -> Tensor:
        return torch.ones_like(self.nu_log)

    def input_matrix(self) -> Tensor:
        return bounded_exp(self.gamma_log).unsqueeze(-1) * self.B

    def output_matrix(self) -> Tensor:
        return self.C

    def backward_output_matrix(self) -> Tensor | None:
        return self.C_backward

    def extra_repr(self) -> str:
        return f"width={self.width}, state_size={self.num_states}, bidirectional={self.C_backward is not None}"


def ring(radius: Tensor, phase: Tensor, r_min: float, r_max: float, max_phase: float) -> tuple[Tensor, Tensor, Tensor]:
    """``nu_log``, ``theta_log`` and ``gamma_log`` of points uniform by area on a ring.

    Args:
        radius, phase: uniform draws in [0, 1), ``[N]``.
        r_min, r_max, max_phase: limits of the ring.
    """
    tiny = torch.finfo(radius.dtype).tiny
    squared = (radius * (r_max**2 - r_min**2) + r_min**2).clamp(tiny, 1 - 1e-12)
    nu_log = torch.log(-0.5 * torch.log(squared))
    return nu_log, torch.log((max_phase * phase).clamp(min=tiny)), 0.5 * torch.log1p(-squared)
