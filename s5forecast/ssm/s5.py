"""The S5 layer: one MIMO state-space system per layer, diagonalised, run by a scan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ops import DISCRETIZATIONS, fuses, linear_scan, mimo_scan, ssm_scan
from s5forecast.ops.naive import multiply
from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.initialization import (
    INITIALIZATIONS,
    OUTPUT_MATRICES,
    Initialization,
    input_matrix,
    log_timescales,
)

CLIPPED_REAL_PART = -1e-4


class _StepMatrices(NamedTuple):
    settings: tuple[Any, ...]
    parameters: tuple[Tensor, ...]
    matrices: tuple[Tensor, Tensor, Tensor, Tensor]


class S5(StateSpaceLayer):
    r"""The S5 layer.

    .. math:: x'(t) = \Lambda x(t) + \tilde B u(t), \qquad y(t) = 2\,\mathrm{Re}(\tilde C x(t)) + D u(t)

    discretised with one learnable timescale per state, :math:`\Delta_t = s \cdot dt_t \cdot \exp(\log\Delta)`,
    where :math:`dt_t` is the time since the previous step (1 where it is not given) and :math:`s` is
    ``step_scale``. Complex numbers are stored as planes ``[2, ...]``, real part first.

    Arguments:
        width: number of inputs and outputs, H.
        state_size: number of states P. With ``conj_sym`` N = P / 2 of them are kept.
        block_count: number of blocks on the diagonal of the initial dynamics, J.
        initialization: a key of ``INITIALIZATIONS``, such as ``"hippo"`` or ``"hippo_ptd"``, or a function
            ``(P, J, conj_sym) -> Lambda [N], V [P, N]``.
        C_init: a key of ``OUTPUT_MATRICES`` or a function ``(V, H) -> C_tilde [H, N]``.
        discretization: a key of ``ops.DISCRETIZATIONS``.
        bidirectional: add a second scan that runs backward, with an output matrix of its own.
        conj_sym: keep one state of each conjugate pair.
        clip_eigs: keep the real parts of ``Lambda`` at or below -1e-4.
        step_scale: multiplies all steps; 0.5 runs a layer trained on hours at half-hours.
        dt_min, dt_max: range of the initial timescales.
        backend: how the scan is run, a key of ``ops.BACKENDS`` or ``"auto"``.

    Raises:
        ValueError: for an unknown name, or a ``state_size`` that the blocks do not divide.

    References:
        "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023)
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        block_count: int = 1,
        initialization: str | Initialization = "hippo",
        C_init: str = "trunc_standard_normal",
        discretization: str = "zoh",
        bidirectional: bool = False,
        conj_sym: bool = True,
        clip_eigs: bool = False,
        step_scale: float = 1.0,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if discretization not in DISCRETIZATIONS:
            raise ValueError(f"unknown discretization {discretization!r}; choose one of {', '.join(DISCRETIZATIONS)}")
        self._initial_dynamics = choose(INITIALIZATIONS, initialization, "initialization")
        self._initial_output = choose(OUTPUT_MATRICES, C_init, "C_init")
        self.width, self.state_size, self.block_count = width, state_size, block_count
        self.discretization = discretization
        self.bidirectional = bidirectional
        self.conj_sym = conj_sym
        self.clip_eigs = clip_eigs
        self.step_scale = step_scale
        self.dt_min, self.dt_max = dt_min, dt_max
        self.backend = backend
        N = state_size // 2 if conj_sym else state_size
        self.Lambda = nn.Parameter(torch.empty(2, N))
        self.B_tilde = nn.Parameter(torch.empty(2, N, width))
        self.C_tilde = nn.Parameter(torch.empty(2, width, N))
        self.C_tilde_backward = nn.Parameter(torch.empty(2, width, N)) if bidirectional else None
        self.D = nn.Parameter(torch.empty(width))
        self.log_step = nn.Parameter(torch.empty(N))
        self._kept: _StepMatrices | None = None
        self.reset_parameters()

    @classmethod
    def from_continuous(
        cls,
        Lambda: Tensor,
        B_tilde: Tensor,
        C_tilde: Tensor,
        D: Tensor,
        log_step: Tensor,
        *,
        C_tilde_backward: Tensor | None = None,
        conj_sym: bool = True,
        discretization: str = "zoh",
        bidirectional: bool = False,
        clip_eigs: bool = False,
        step_scale: float = 1.0,
    ) -> S5:
        """Build a layer from the complex arrays that the original implementation holds.

        Arguments:
            Lambda: ``[N]`` complex. B_tilde: ``[N, H]`` complex. C_tilde: ``[H, N]`` complex.
            D: ``[H]``. log_step: ``[N]`` or ``[N, 1]``.
            C_tilde_backward: ``[H, N]`` complex, for a bidirectional layer.

        Raises:
            ValueError: if ``bidirectional`` and ``C_tilde_backward`` do not go together, or shapes differ.
        """
        if bidirectional != (C_tilde_backward is not None):
            raise ValueError("a bidirectional layer, and no other, needs C_tilde_backward")
        N, width = B_tilde.shape
        layer = cls(
            width,
            2 * N if conj_sym else N,
            conj_sym=conj_sym,
            discretization=discretization,
            bidirectional=bidirectional,
            clip_eigs=clip_eigs,
            step_scale=step_scale,
        ).to(D.dtype)
        given = {
            "Lambda": Lambda,
            "B_tilde": B_tilde,
            "C_tilde": C_tilde,
            "C_tilde_backward": C_tilde_backward,
        }
        planes = {name: _planes(value) for name, value in given.items() if value is not None}
        layer.load_state_dict({**planes, "D": D, "log_step": log_step.reshape(-1)})
        return layer

    @torch.no_grad()
    def reset_parameters(self) -> None:
        Lambda, V = self._initial_dynamics(self.state_size, self.block_count, self.conj_sym)
        self.Lambda.copy_(_planes(Lambda))
        self.B_tilde.copy_(_planes(input_matrix(V, self.width)))
        self.C_tilde.copy_(_planes(self._initial_output(V, self.width)))
        if self.C_tilde_backward is not None:
            self.C_tilde_backward.copy_(_planes(self._initial_output(V, self.width)))
        self.D.normal_()
        self.log_step.copy_(log_timescales(self.log_step.numel(), self.dt_min, self.dt_max))

    @property
    def supports_step(self) -> bool:
        return not self.bidirectional

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros ``[B, 2, N]``."""
        return self.Lambda.new_zeros(batch_size, *self.Lambda.shape)

    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        yield from (self.Lambda, self.B_tilde, self.log_step)

    def forward(self, u: Tensor, state: Tensor | None = None, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Arguments:
            u: inputs ``[B, T, H]``.
            state: ``[B, 2, N]`` before the first step; zero where it is not given.
            dt: ``[B, T]``, time since the previous step; 1 where it is not given.

        Returns:
            outputs ``[B, T, H]`` and the state after the last step ``[B, 2, N]`` (of the forward direction).
        """
        if fuses(self.backend, u, self.D, state, dt):
            return self._fused(u, state, dt)
        if dt is None:
            Lambda_bar, B_bar = self._discretize()
            Bu = _project(u, B_bar)
            x = linear_scan(Lambda_bar, Bu, state, backend=self.backend)
        else:
            Bu = _project(u, self.B_tilde)
            x = self._scan(Bu, dt, state)
        y = self._read(x, self.C_tilde)
        if self.C_tilde_backward is not None:
            if dt is None:
                x_backward = linear_scan(Lambda_bar, Bu, reverse=True, backend=self.backend)
            else:
                x_backward = self._scan(Bu, _time_until_next(dt), reverse=True)
            y = y + self._read(x_backward, self.C_tilde_backward)
        return torch.addcmul(y, self.D, u), self._last(x, state)

    def step(self, u: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance by one observation: ``u [B, H]``, ``state [B, 2, N]``, ``dt [B]`` to ``y [B, H]`` and state.

        Raises:
            ValueError: for a bidirectional layer, which cannot know the steps to come.
        """
        if not self.supports_step:
            raise ValueError("a bidirectional S5 layer has no step mode; build it with bidirectional=False")
        if dt is not None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            y, state = self(u[:, None], state, None if dt is None else dt[:, None])
            return y[:, 0], state
        straight, across, B_bar, C = self.step_matrices()
        Bu = F.linear(u, B_bar).view_as(state)
        state = torch.addcmul(torch.addcmul(Bu, straight, state), across, state.flip(1))
        return torch.addcmul(F.linear(state.flatten(1), C), self.D, u), state

    def advance(self, state: Tensor, elapsed: Tensor) -> Tensor:
        r"""The states a time after ``state``, without input, exactly: :math:`\exp(\Lambda\,\Delta\,\tau)\,x`.

        Arguments:
            state: ``[B, 2, N]``, of the forward direction.
            elapsed: ``[B, Q]``, in units of ``dt``.

        Returns:
            ``[B, Q, 2, N]``.
        """
        Lambda_bar, _ = DISCRETIZATIONS["dirac"](
            self._poles(), self._step() * elapsed.to(self.log_step.dtype).unsqueeze(-1)
        )
        return multiply(Lambda_bar, state.unsqueeze(1))

    def extra_repr(self) -> str:
        return (
            f"width={self.width}, state_size={self.state_size}, discretization={self.discretization!r}, "
            f"bidirectional={self.bidirectional}"
        )

    def _fused(self, u: Tensor, state: Tensor | None, dt: Tensor | None) -> tuple[Tensor, Tensor]:
        system, B = (self._poles(), self._step()), self.B_tilde.flatten(0, 1)
        C = self._output_matrix(self.C_tilde)
        y, last = mimo_scan(*system, dt, B, C, self.D, u, state, method=self.discretization)
        if self.C_tilde_backward is not None:
            # Projecting the input once more costs less than keeping it for both directions.
            C_backward, D = self._output_matrix(self.C_tilde_backward), torch.zeros_like(self.D)
            dt_next = None if dt is None else _time_until_next(dt)
            y_backward, _ = mimo_scan(*system, dt_next, B, C_backward, D, u, method=self.discretization, reverse=True)
            y = y + y_backward
        return y, last

    def _last(self, x: Tensor, state: Tensor | None) -> Tensor:
        """The state after the last step, apart from the others, so that it does not keep them in memory."""
        if x.shape[1]:
            return x[:, -1].clone()
        return self.initial_state(x.shape[0]) if state is None else state

    def step_matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What :meth:`step` multiplies by, kept until a parameter changes: discretising takes longer than a step.

        Returns:
            ``[re, re]`` and ``[-im, im]`` of ``Lambda_bar``, ``[2, N]``, then ``B_bar [2N, H]`` and ``C [H, 2N]``.
        """
        parameters = (self.Lambda, self.log_step, self.B_tilde, self.C_tilde)
        settings = (self.discretization, self.clip_eigs, self.step_scale, self.D.dtype, self.D.device)
        kept = self._kept
        if kept is None or kept.settings != settings or not all(map(torch.equal, kept.parameters, parameters)):
            (real, imag), B_bar = self._discretize()
            arrays = (torch.stack([real, real]), torch.stack([-imag, imag]), B_bar.flatten(0, 1))
            copies = tuple(parameter.clone() for parameter in parameters)
            kept = _StepMatrices(settings, copies, (*arrays, self._output_matrix(self.C_tilde)))
            self._kept = kept
        return kept.matrices

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: not the kept matrices."""
        return {**super().__getstate__(), "_kept": None}

    def _poles(self) -> Tensor:
        if not self.clip_eigs:
            return self.Lambda
        real, imag = self.Lambda
        return torch.stack([real.clamp(max=CLIPPED_REAL_PART), imag])

    def _step(self) -> Tensor:
        return self.step_scale * torch.exp(self.log_step)

    def _discretize(self) -> tuple[Tensor, Tensor]:
        Lambda_bar, scale = DISCRETIZATIONS[self.discretization](self._poles(), self._step())
        (re, im), (B_re, B_im) = scale.unsqueeze(-1), self.B_tilde
        return Lambda_bar, torch.stack([re * B_re - im * B_im, re * B_im + im * B_re])

    def _scan(self, Bu: Tensor, dt: Tensor, state: Tensor | None = None, reverse: bool = False) -> Tensor:
        return ssm_scan(
            self._poles(), self._step(), dt, Bu, state,
            method=self.discretization, reverse=reverse, backend=self.backend,
        )  # fmt: skip

    def _output_matrix(self, C_tilde: Tensor) -> Tensor:
        real, imag = C_tilde
        return torch.cat([real, -imag], dim=-1) * (2 if self.conj_sym else 1)  # [H, 2N]

    def _read(self, x: Tensor, C_tilde: Tensor) -> Tensor:
        weight = self._output_matrix(C_tilde)
        return F.linear(x.flatten(-2).to(weight.dtype), weight)


def _project(u: Tensor, B: Tensor) -> Tensor:
    """``u [B, T, H]``, ``B [2, N, H]`` -> ``[B, T, 2, N]``, in float32 at least, as the scan needs it."""
    Bu = F.linear(u, B.flatten(0, 1)).unflatten(-1, B.shape[:2])
    return Bu.to(torch.promote_types(Bu.dtype, torch.float32))


def _time_until_next(dt: Tensor) -> Tensor:
    return torch.cat([dt[:, 1:], torch.ones_like(dt[:, :1])], dim=1)


def _planes(z: Tensor) -> Tensor:
    z = torch.as_tensor(z)
    return torch.stack([z.real, z.imag])
