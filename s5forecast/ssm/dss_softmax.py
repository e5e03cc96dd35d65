"""The DSS layer with kernels that are normalized over the length of the sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.exponential import bounded_exp
from s5forecast.ssm.initialization import hippo_normal, log_timescales

REGULARIZATION = 1e-7  # of reciprocals, as in the published implementation


class DSSSoftmax(StateSpaceLayer):
    r"""The diagonal state-space layer DSS_SOFTMAX.

    .. math:: y = K * u + D u, \qquad K_l = \mathrm{Re} \sum_n \frac{W_n}{\Lambda_n} \mathrm{softmax}_l(\delta_n l)

    with :math:`\delta = \Delta_0 \mathrm{Re}\,\Lambda + i \Delta_1 \mathrm{Im}\,\Lambda` as in
    :class:`~s5forecast.ssm.DSS`. Real parts may be positive. The kernel depends on the length of the sequence, so that
    there is no state, no step mode and no irregular step; DSS has them.

    Args:
        width: number of channels, H.
        state_size: number of complex states N of each channel.
        separate_steps: whether each channel has one step for the real parts and another for the imaginary parts.
        bidirectional: whether to add a backward kernel with separate weights, which starts at the next input.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        dt_min, dt_max: range of the initial steps.

    References:
        "Diagonal State Spaces are as Effective as Structured State Spaces" (Gupta, Gu, Berant, 2022)
    """

    supports_dt = False
    limits: Mapping[str, str] = dict.fromkeys(
        ("supports_step", "supports_dt", "supports_advance"), "its kernel is normalized over the length of the sequence"
    )
    generic_arguments: ClassVar[frozenset[str]] = frozenset(
        {"state_size", "bidirectional", "step_scale", "dt_min", "dt_max"}
    )

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        separate_steps: bool = True,
        bidirectional: bool = False,
        step_scale: float = 1.0,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
    ) -> None:
        super().__init__()
        self.width, self.state_size, self.step_scale = width, state_size, step_scale
        self.dt_min, self.dt_max = dt_min, dt_max
        self.Lambda = nn.Parameter(torch.empty(2, state_size))
        self.log_step = nn.Parameter(torch.empty(2 if separate_steps else 1, width))
        self.W = nn.Parameter(torch.empty(2, width, state_size))
        self.W_backward = nn.Parameter(torch.empty(2, width, state_size)) if bidirectional else None
        self.D = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        Lambda, _ = hippo_normal(2 * self.state_size)
        kept = Lambda[self.state_size :].flip(0)
        self.Lambda.copy_(torch.stack([kept.real, kept.imag]))
        self.log_step.copy_(log_timescales(self.log_step.numel(), self.dt_min, self.dt_max).view_as(self.log_step))
        for weight in (self.W, self.W_backward, self.D):
            if weight is not None:
                weight.normal_()

    @property
    def supports_step(self) -> bool:
        return False

    def forward(self, u: Tensor, state: Any = None, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_dt(dt)
        inputs = u.to(torch.promote_types(u.dtype, torch.float32))  # an FFT needs float32 at least
        y = _convolve(inputs, self.kernel(self.W, u.shape[1]))
        if self.W_backward is not None:
            later = torch.cat([inputs[:, 1:], torch.zeros_like(inputs[:, :1])], dim=1).flip(1)
            y = y + _convolve(later, self.kernel(self.W_backward, u.shape[1])).flip(1)
        return torch.addcmul(y.to(u.dtype), self.D, u), self.initial_state(len(u))

    def kernel(self, W: Tensor, length: int) -> Tensor:
        """K ``[L, H]``, float64, in memory that grows with the root of L for each state."""
        Lambda = torch.complex(*self.Lambda.double())
        steps = self.step_scale * bounded_exp(self.log_step.double()).unsqueeze(-1)  # [2 or 1, H, 1]
        delta = torch.complex(steps[0] * Lambda.real, steps[-1] * Lambda.imag)  # [H, N]
        # A growing mode is the mirror image of a decaying one, divided by its largest value.
        growing = Lambda.real > 0
        decay = torch.where(growing, -delta, delta)
        total = (torch.exp(decay * length) - 1) * Lambda
        reciprocal = total.conj() / (total.real.square() + total.imag.square() + REGULARIZATION)
        weight = torch.complex(*W.double()) * (torch.exp(decay) - 1) * reciprocal
        inner = max(1, math.isqrt(length))
        position = torch.arange(inner, device=W.device, dtype=torch.float64)
        block = torch.arange(-(-length // inner), device=W.device, dtype=torch.float64) * inner
        powers = torch.exp(decay.unsqueeze(-1) * position)  # [H, N, I]
        starts = weight.unsqueeze(1) * torch.exp(decay.unsqueeze(1) * block.unsqueeze(-1))  # [H, K, N]
        forward, mirrored = (
            (torch.where(modes, starts, 0) @ powers).real.flatten(1)[:, :length] for modes in (~growing, growing)
        )
        return (forward + mirrored.flip(1)).T

    def step(self, u: Tensor, state: Any, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        raise ValueError(f"DSSSoftmax has no step mode, because {self.limits['supports_step']}; use the layer 'dss'")

    def initial_state(self, batch_size: int) -> Tensor:
        """An empty tensor ``[B, 0]``."""
        return self.D.new_zeros(batch_size, 0)

    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        yield from (self.Lambda, self.log_step, self.W)
        if self.W_backward is not None:
            yield self.W_backward

    def extra_repr(self) -> str:
        return f"width={self.width}, state_size={self.state_size}, bidirectional={self.W_backward is not None}"


def _convolve(u: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution of ``u [B, T, H]`` with a kernel ``[T, H]``, by FFT."""
    length = u.shape[1]
    if u.numel() == 0:
        return u
    spectrum = torch.fft.rfft(u.mT, 2 * length) * torch.fft.rfft(kernel.T.to(u.dtype), 2 * length)
    return torch.fft.irfft(spectrum, 2 * length)[..., :length].mT
