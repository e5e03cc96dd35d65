"""The multi-dimensional damped exponential moving average of Mega."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from s5forecast.ops import fuses, is_short, moving_averages, ssm_scan
from s5forecast.ssm.convolution import diagonal_chunks, run_chunks


class DampedEMA(nn.Module):
    r"""Several moving averages of each channel.

    .. math:: h_t = q\,h_{t-1} + p\,\beta\,x_t, \qquad y_t = \sum_n \eta_n h_{t,n} + \omega x_t

    with :math:`p = \sigma(\delta)`, :math:`q = 1 - p\,\sigma(\alpha)` and :math:`\eta = \gamma / \sqrt N`. A step of
    length dt decays by :math:`q^{dt}`, an extension of this package.

    Args:
        width: number of channels, H.
        size: number of averages of each channel, N.
        bidirectional: whether to add averages of the later inputs; the present input is part of both.
    """

    def __init__(self, width: int, size: int, bidirectional: bool) -> None:
        super().__init__()
        self.width, self.size = width, size
        shape = (2 if bidirectional else 1, width, size)
        self.delta, self.alpha, self.beta, self.gamma = (nn.Parameter(torch.empty(shape)) for _ in range(4))
        self.omega = nn.Parameter(torch.empty(width))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        self.delta.normal_(std=0.2)
        self.alpha.normal_(std=0.2)
        self.beta.normal_(std=0.02)
        self.beta.add_((-1.0) ** torch.arange(self.size, device=self.beta.device))
        self.gamma.normal_()
        self.omega.normal_()

    def forward(self, x: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x [B, T, H]``, ``state [B, H, N]``, ``dt [B, T]`` to ``y`` and the last state of the forward averages."""
        y, last = self._average(0, x, state, dt, self.omega)
        if len(self.delta) == 2:
            until_next = None if dt is None else torch.cat([dt[:, 1:], torch.ones_like(dt[:, :1])], 1).flip(1)
            y = y + self._average(1, x.flip(1), torch.zeros_like(state), until_next)[0].flip(1)
        return y, last

    def _average(
        self, direction: int, x: Tensor, state: Tensor, dt: Tensor | None, omega: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        p = torch.sigmoid(self.delta[direction])
        loss = p * torch.sigmoid(self.alpha[direction])
        log_q = torch.log1p(-loss.clamp(max=1 - torch.finfo(p.dtype).eps / 2))  # finite, also where q rounds to 0
        weight, eta = p * self.beta[direction], self.gamma[direction] / math.sqrt(self.size)
        if x.shape[1] == 1:
            decay = log_q if dt is None else log_q * dt.unsqueeze(-1)
            last = torch.exp(decay) * state + weight * x[:, 0].unsqueeze(-1)
            return _add((eta * last).sum(-1).unsqueeze(1), omega, x), last
        if dt is not None:
            inputs = _planes((weight * x.unsqueeze(-1)).flatten(2))
            states = ssm_scan(
                _planes(log_q.flatten()), torch.ones_like(log_q.flatten()), dt, inputs, _planes(state.flatten(1)),
                method="dirac",
            )[:, :, 0].unflatten(-1, (self.width, self.size))  # fmt: skip
            return _add((eta * states).sum(-1), omega, x), states[:, -1].clone() if x.shape[1] else state
        given = torch.exp(log_q), weight, eta
        if x.shape[1] and not is_short(x) and fuses("auto", x, state, *given):
            q, p, eta, first = (value.mT.flatten(-2) for value in (*given, state))
            y, last = moving_averages(q, p, eta, x.new_zeros(self.width) if omega is None else omega, x, first)
            return y, last.unflatten(-1, (self.size, self.width)).mT.contiguous()
        q, b, c = (_planes(value.flatten()) for value in given)
        make = partial(diagonal_chunks, q, b, c, omega, self.width, "auto")
        y, last = run_chunks(x.to(state.dtype), torch.cat([state, torch.zeros_like(state)], -1), make)
        return y.to(x.dtype), last[..., : self.size]


def _add(y: Tensor, omega: Tensor | None, x: Tensor) -> Tensor:
    return y if omega is None else torch.addcmul(y, omega, x)


def _planes(real: Tensor) -> Tensor:
    """Real numbers ``[..., N]`` as complex planes ``[..., 2, N]``."""
    return torch.stack([real, torch.zeros_like(real)], dim=-2)
