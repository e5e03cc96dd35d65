"""The DSS layer: diagonal systems that share their poles, with kernels in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from s5forecast.ssm.diagonal import DiagonalLayer
from s5forecast.ssm.exponential import bounded_exp
from s5forecast.ssm.initialization import hippo_normal, log_timescales


class DSS(DiagonalLayer):
    r"""The diagonal state-space layer DSS_EXP.

    .. math:: y = K * u + D u, \qquad K_l = \mathrm{Re} \sum_n W_n \frac{e^{\delta_n} - 1}{\Lambda_n} e^{\delta_n l}

    with :math:`\delta = \Delta_0 \mathrm{Re}\,\Lambda + i \Delta_1 \mathrm{Im}\,\Lambda`. All channels share
    :math:`\Lambda`; each has its own weights W and steps. There is no factor 2 and no conjugate pair: a layer with N
    states has N complex modes, S4D with the same ``state_size`` has half as many.

    Args:
        width: number of channels, H.
        state_size: number of complex states N of each channel.
        separate_steps: whether each channel has one step for the real parts and another for the imaginary parts.
        bidirectional: whether to add a backward kernel with separate weights, which starts at the next input.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        dt_min, dt_max: range of the initial steps.
        backend: implementation of the scan, a key of ``ops.BACKENDS`` or ``"auto"``.

    References:
        "Diagonal State Spaces are as Effective as Structured State Spaces" (Gupta, Gu, Berant, 2022)
    """

    generic_arguments: ClassVar[frozenset[str]] = frozenset(
        {"state_size", "bidirectional", "step_scale", "dt_min", "dt_max"}
    )
    dynamics: ClassVar[tuple[str, ...]] = ("log_decay", "frequency", "log_step", "W")
    backward_lag: ClassVar[int] = 1

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
        backend: str = "auto",
    ) -> None:
        super().__init__(width, width * state_size, conj_sym=False, step_scale=step_scale, backend=backend)
        self.state_size = state_size
        self.dt_min, self.dt_max = dt_min, dt_max
        self.log_decay, self.frequency = (nn.Parameter(torch.empty(state_size)) for _ in range(2))
        self.log_step = nn.Parameter(torch.empty(2 if separate_steps else 1, width))
        self.W = nn.Parameter(torch.empty(2, width * state_size))
        self.W_backward = nn.Parameter(torch.empty(2, width * state_size)) if bidirectional else None
        self.D = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        Lambda, _ = hippo_normal(2 * self.state_size)
        self.log_decay.copy_(torch.log(-Lambda.real[self.state_size :]))
        self.frequency.copy_(Lambda.imag[self.state_size :].flip(0))
        self.log_step.copy_(log_timescales(self.log_step.numel(), self.dt_min, self.dt_max).view_as(self.log_step))
        for weight in (self.W, self.W_backward, self.D):
            if weight is not None:
                weight.normal_()

    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        yield from super().dynamics_parameters()
        if self.W_backward is not None:
            yield self.W_backward

    def poles(self) -> Tensor:
        steps = bounded_exp(self.log_step).unsqueeze(-1)  # [2 or 1, H, 1]
        return (self._shared_poles().unsqueeze(1) * steps).flatten(1)

    def timescales(self) -> Tensor:
        return self.D.new_ones(self.num_states)

    def input_matrix(self) -> Tensor:
        """``delta / Lambda``, so that the zero-order hold of ``delta`` gives ``(exp(delta) - 1) / Lambda``."""
        (re, im), poles = self._shared_poles().repeat(1, self.width), self.poles()
        planes = torch.stack([re * poles[0] + im * poles[1], re * poles[1] - im * poles[0]])
        return planes / (re.square() + im.square())

    def output_matrix(self) -> Tensor:
        return self.W

    def backward_output_matrix(self) -> Tensor | None:
        return self.W_backward

    def _shared_poles(self) -> Tensor:
        """Lambda ``[2, N]``, shared by all channels."""
        return torch.stack([-bounded_exp(self.log_decay), self.frequency])

    def extra_repr(self) -> str:
        return f"width={self.width}, state_size={self.state_size}, bidirectional={self.W_backward is not None}"
