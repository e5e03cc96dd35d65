"""The S4 layer: for each channel, a diagonal state matrix with a correction of low rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ops.naive import multiply
from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.convolution import ChunkMatrices, run_chunks, toeplitz, without_autocast
from s5forecast.ssm.exponential import bounded_exp
from s5forecast.ssm.initialization import log_timescales
from s5forecast.ssm.low_rank_initialization import LOW_RANK_INITIALIZATIONS, LowRankInitialization


class S4(StateSpaceLayer):
    r"""The S4 layer (DPLR): each channel h has a system with one input and one output.

    .. math:: x_h'(t) = A_h x_h(t) + B_h u_h(t), \qquad y_h(t) = 2\,\mathrm{Re}(C_h x_h(t)) + D_h u_h(t), \qquad
        A = \mathrm{diag}(\Lambda) - \sum_r P_r P_r^*

    where :math:`\Lambda`, P, B and C hold one of each conjugate pair of N states, and A acts on the pairs. It is
    discretized by the bilinear rule with a step :math:`\exp(\text{log\_step})` for each channel.

    The published layer computes the kernel of a whole sequence from a Cauchy product and convolves by FFT. Here, chunks
    of time need the first powers of the discretized matrix only. C itself is the parameter, so that the layer does not
    depend on a length.

    The state is ``[B, H, P]``, the real parts of the N = P / 2 states of each channel, then their imaginary parts.
    Irregular steps use the bilinear rule with the length of each step and are computed one after the other. The rule
    suits steps that are short compared with the timescales; states do not decay over a very long step.

    Args:
        width: number of channels, H.
        state_size: number of states P of each channel, even.
        initialization: a key of ``LOW_RANK_INITIALIZATIONS``, or a function ``P -> Lambda [N], P [r, N], B [N]``.
        bidirectional: whether to add a backward system with a separate C, which reads the inputs after the present one.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        dt_min, dt_max: range of the initial steps.

    Raises:
        ValueError: for an unknown initialization, or an odd ``state_size``.

    References:
        "Efficiently Modeling Long Sequences with Structured State Spaces" (Gu, Goel, Re, 2022)
    """

    generic_arguments: ClassVar[frozenset[str]] = frozenset(
        {"state_size", "bidirectional", "step_scale", "dt_min", "dt_max"}
    )

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        initialization: str | LowRankInitialization = "legs",
        bidirectional: bool = False,
        step_scale: float = 1.0,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
    ) -> None:
        super().__init__()
        if state_size % 2:
            raise ValueError(f"state_size={state_size} must be even, because states come in conjugate pairs")
        self._initial_dynamics = choose(LOW_RANK_INITIALIZATIONS, initialization, "initialization")
        self.width, self.state_size, self.step_scale = width, state_size, step_scale
        self.dt_min, self.dt_max = dt_min, dt_max
        N, rank = state_size // 2, len(self._initial_dynamics(state_size)[1])
        self.log_decay, self.frequency = (nn.Parameter(torch.empty(width, N)) for _ in range(2))
        self.P = nn.Parameter(torch.empty(2, rank, width, N))
        self.B, self.C = (nn.Parameter(torch.empty(2, width, N)) for _ in range(2))
        self.C_backward = nn.Parameter(torch.empty(2, width, N)) if bidirectional else None
        self.D, self.log_step = (nn.Parameter(torch.empty(width)) for _ in range(2))
        self._kept: tuple[Any, ...] | None = None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        Lambda, P, B = self._initial_dynamics(self.state_size)
        self.log_decay.copy_(torch.log(-Lambda.real))
        self.frequency.copy_(Lambda.imag)
        self.P.copy_(torch.stack([P.real, P.imag]).unsqueeze(2))
        self.B.copy_(torch.stack([B.real, B.imag]).unsqueeze(1))
        for C in (self.C, self.C_backward):
            if C is not None:
                C.normal_(std=math.sqrt(0.5))
        self.D.normal_()
        self.log_step.copy_(log_timescales(self.width, self.dt_min, self.dt_max))

    @property
    def supports_step(self) -> bool:
        return self.C_backward is None

    @property
    def limits(self) -> Mapping[str, str]:  # type: ignore[override]
        step = {} if self.supports_step else {"supports_step": "it is bidirectional"}
        return {**step, "supports_advance": "its state matrix is not diagonal"}

    def initial_state(self, batch_size: int) -> Tensor:
        return self.D.new_zeros(batch_size, self.width, self.state_size)

    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        yield from (self.log_decay, self.frequency, self.P, self.B, self.log_step)

    def forward(self, u: Tensor, state: Tensor | None = None, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = self.initial_state(len(u)) if state is None else state
        y, last = self._run(u, state, dt, self.C, self.D)
        if self.C_backward is not None:
            later = torch.cat([u[:, 1:], torch.zeros_like(u[:, :1])], dim=1).flip(1)
            until_next = None if dt is None else torch.cat([dt[:, 1:], torch.ones_like(dt[:, :1])], dim=1).flip(1)
            y = y + self._run(later, torch.zeros_like(state), until_next, self.C_backward, None)[0].flip(1)
        return y, last

    def step(self, u: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not self.supports_step:
            raise ValueError("a bidirectional S4 layer has no step mode; build it with bidirectional=False")
        if dt is not None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            y, state = self(u[:, None], state, None if dt is None else dt[:, None])
            return y[:, 0], state
        A, B, C = self._keep_step()
        state = (A @ state.to(A.dtype).unsqueeze(-1)).squeeze(-1) + B * u.unsqueeze(-1)
        return torch.addcmul((C * state).sum(-1).to(u.dtype), self.D, u), state

    def matrices(self) -> tuple[Tensor, Tensor]:
        """A and B of a unit step, real matrices for the stacked real and imaginary parts: ``[H, P, P]`` and ``[H, P]``.

        The inverse is computed in float64, because the eigenvalues of A reach P^2 / pi.
        """
        real, imag = (torch.diag_embed(part) for part in self._poles().double())
        P = torch.cat([*self.P.double()], dim=-1)  # [r, H, P]
        rotation = torch.cat([torch.cat([real, -imag], -1), torch.cat([imag, real], -1)], -2)
        A = rotation - 2 * torch.einsum("rhp,rhq->hpq", P, P)
        half = self._half_step().double()[:, None, None]
        identity = torch.eye(self.state_size, dtype=A.dtype, device=A.device)
        inverse = torch.linalg.inv(identity - half * A)
        B = torch.cat([*self.B.double()], dim=-1)
        return 2 * inverse - identity, (2 * half * inverse @ B.unsqueeze(-1)).squeeze(-1)

    def _run(self, u: Tensor, state: Tensor, dt: Tensor | None, C: Tensor, D: Tensor | None) -> tuple[Tensor, Tensor]:
        dtype = torch.promote_types(state.dtype, torch.float32)
        inputs, state, C = u.to(dtype), state.to(dtype), _output_weight(C).to(dtype)
        if dt is None:
            A, B = (matrix.to(dtype) for matrix in self.matrices())
            y, last = run_chunks(inputs, state, partial(_dense_chunks, A, B, C, D))
        else:
            with without_autocast(u.device.type):
                y, last = self._run_irregular(inputs, state, dt.to(dtype), C)
            y = y if D is None else torch.addcmul(y, D, inputs)
        return y.to(u.dtype), last

    def _run_irregular(self, u: Tensor, state: Tensor, dt: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
        r"""Steps of different lengths, by the inverse of a diagonal matrix plus one of low rank (Woodbury).

        With half a step h, ``x - h A x = z`` gives ``x = E (z - 2 h P s)`` with ``E = 1 / (1 - h Lambda)`` and
        ``(1 + 2 h W) s = <P, E z>``, where ``W_qr = <P_q, E P_r>`` and ``<p, z> = Re(p^* z)``.
        """
        half = self._half_step().to(dt.dtype) * dt.unsqueeze(-1)  # [B, T, H]
        Lambda, P, B = (x.movedim(0, -2).to(dt.dtype) for x in (self._poles(), self.P, self.B))  # [..., H, 2, N]
        scaled = half[..., None, None] * Lambda
        conj = torch.stack([1 - scaled[..., 0, :], scaled[..., 1, :]], -2)  # of 1 - h Lambda
        E = conj / conj.square().sum(-2, keepdim=True)  # [B, T, H, 2, N]
        EP = multiply(E.unsqueeze(-4), P)  # [B, T, r, H, 2, N]
        W = torch.einsum("qhcn,btrhcn->bthqr", P, EP)
        rank = torch.eye(len(P), dtype=W.dtype, device=W.device)
        solve = torch.linalg.inv(rank + 2 * half[..., None, None] * W)
        x, states = state.unflatten(-1, (2, -1)), []
        for t in range(u.shape[1]):
            h = half[:, t, :, None, None]
            low = torch.einsum("rhcn,bhcn->bhr", P, x)
            Ax = multiply(Lambda, x) - 2 * torch.einsum("bhr,rhcn->bhcn", low, P)
            Ez = multiply(E[:, t], x + h * Ax + 2 * h * B * u[:, t, :, None, None])
            s = (solve[:, t] @ torch.einsum("rhcn,bhcn->bhr", P, Ez).unsqueeze(-1)).squeeze(-1)
            x = Ez - 2 * h * torch.einsum("bhr,brhcn->bhcn", s, EP[:, t])
            states.append((C * x.flatten(-2)).sum(-1))
        return (torch.stack(states, 1) if states else u), x.flatten(-2)

    def _poles(self) -> Tensor:
        return torch.stack([-bounded_exp(self.log_decay), self.frequency])

    def _half_step(self) -> Tensor:
        return self.step_scale / 2 * bounded_exp(self.log_step)

    def _keep_step(self) -> tuple[Tensor, Tensor, Tensor]:
        """The matrices of a step, kept until a parameter changes."""
        settings, parameters = (self.step_scale, self.D.dtype, self.D.device), tuple(self.parameters())
        kept = self._kept
        if kept is None or kept[0] != settings or not all(map(torch.equal, kept[1], parameters)):
            dtype = torch.promote_types(self.D.dtype, torch.float32)
            A, B = (matrix.to(dtype) for matrix in self.matrices())
            kept = self._kept = settings, tuple(p.clone() for p in parameters), (A, B, _output_weight(self.C))
        return cast(tuple[Tensor, Tensor, Tensor], kept[2])

    def __getstate__(self) -> dict[str, Any]:
        """The attributes to copy and to pickle, without the kept matrices."""
        return {**super().__getstate__(), "_kept": None}

    def extra_repr(self) -> str:
        return f"width={self.width}, state_size={self.state_size}, bidirectional={self.C_backward is not None}"


def _output_weight(C: Tensor) -> Tensor:
    """``[2, H, N]`` to real weights ``[H, P]`` of the stacked real and imaginary parts."""
    return 2 * torch.cat([C[0], -C[1]], dim=-1)


def _dense_chunks(A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, length: int) -> ChunkMatrices:
    """Matrices of systems with dense ``A [H, S, S]``, ``B [H, S]``, ``C [H, S]`` and ``D [H]``."""
    columns, rows, power = B.unsqueeze(-1), C.unsqueeze(1) @ A, A
    while columns.shape[-1] < length:
        missing = length - columns.shape[-1]
        columns = torch.cat([columns, power @ columns[..., :missing]], dim=-1)  # A^k B
        rows = torch.cat([rows, rows[:, :missing] @ power], dim=1)  # C A^(k + 1)
        power = power @ power
    kernel = (C.unsqueeze(1) @ columns).squeeze(1).T
    whole = power if length & (length - 1) == 0 else torch.linalg.matrix_power(A, length)
    over_chunk = whole.mT

    def carry(ends: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        before = [state.movedim(1, 0)]  # [H, B, S]
        for end in ends.unbind(2):
            before.append(torch.baddbmm(end, before[-1], over_chunk))
        return torch.stack(before[:-1], 2), before[-1].movedim(0, 1)

    return ChunkMatrices(toeplitz(kernel, D), columns.flip(-1).mT, rows.mT, carry)
