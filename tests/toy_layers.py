"""Small layers that use the parts of the contract that S5 does not use."""

import torch
from pages import run_section
from torch import nn

from s5forecast.ssm import StateSpaceLayer

Leaky, ChannelStates = (run_section("extending.md", "A layer")[name] for name in ("Leaky", "ChannelStates"))


class CausalConvolution(StateSpaceLayer):
    """A moving average with learned weights, divided by the number of steps seen so far.

    The state is a tuple: the last inputs ``[B, K - 1, H]`` and the number of steps seen ``[B]``.
    """

    supports_dt = False

    def __init__(self, width, *, kernel_size=4):
        super().__init__()
        self.width, self.kernel_size = width, kernel_size
        self.weight = nn.Parameter(torch.empty(kernel_size, width))
        self.reset_parameters()

    @property
    def supports_step(self):
        return True

    def forward(self, u, state=None, dt=None):
        past, seen = self.initial_state(len(u)) if state is None else state
        length, u = u.shape[1], torch.cat([past.to(u.dtype), u], dim=1)
        y = sum(w * u[:, k : k + length] for k, w in enumerate(self.weight))
        count = seen[:, None] + torch.arange(1, length + 1, device=u.device)
        y = y / count.clamp(max=self.kernel_size).unsqueeze(-1)
        return y, (u[:, length:], seen + length)

    def step(self, u, state, dt=None):
        y, state = self(u[:, None], state)
        return y[:, 0], state

    def initial_state(self, batch_size):
        past = self.weight.new_zeros(batch_size, self.kernel_size - 1, self.width)
        return past, torch.zeros(batch_size, dtype=torch.int64, device=past.device)

    def dynamics_parameters(self):
        yield from ()

    @torch.no_grad()
    def reset_parameters(self):
        self.weight.normal_()
