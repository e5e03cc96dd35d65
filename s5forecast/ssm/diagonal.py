"""Layers with a diagonal state matrix: the scan, single steps and the evolution without input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s5forecast.ops import DISCRETIZATIONS, fuses, is_short, linear_scan, mimo_scan, ssm_scan
from s5forecast.ops.naive import multiply
from s5forecast.ssm.base import StateSpaceLayer, StepMatrices
from s5forecast.ssm.convolution import diagonal_chunks, run_chunks


class _KeptStep(NamedTuple):
    """The matrices of a single step, and the settings and parameters they were computed from."""

    settings: tuple[Any, ...]
    parameters: tuple[Tensor, ...]
    straight: Tensor  # [2, N], the real part of Lambda_bar twice
    across: Tensor  # [2, N], the negative imaginary part of Lambda_bar, and the imaginary part
    B: Tensor  # [2N, H], or [2N] if channelwise
    C: Tensor  # [H, 2N], or [2N] if channelwise


class DiagonalLayer(StateSpaceLayer):
    r"""A state-space layer with a diagonal state matrix.

    .. math:: x'(t) = \Lambda x(t) + B u(t), \qquad y(t) = c\,\mathrm{Re}(C x(t)) + D u(t)

    with :math:`c = 2` for states kept as one of each conjugate pair and 1 otherwise. The system is discretized with
    steps :math:`\Delta_t = s \cdot dt_t \cdot \mathrm{timescales}`, where :math:`s` is ``step_scale``. Complex numbers
    are stored as planes ``[2, ...]``, real part first.

    A subclass creates its parameters, among them ``D [H]``, and implements :meth:`poles`, :meth:`timescales`,
    :meth:`input_matrix`, :meth:`output_matrix` and ``reset_parameters``. The matrices are either dense, ``B [2, N, H]``
    and ``C [2, H, N]``, or channelwise, ``B [2, N]`` and ``C [2, N]``: then each channel has N / H states of its own,
    those of the first channel first. :meth:`input_matrix` and the other methods are called in every forward pass, so
    they may compute their result from any parameters, such as a normalized input matrix or the logarithms of poles.
    A layer defined in discrete time, with :math:`x_t = \bar\Lambda x_{t-1} + B u_t`, uses the discretization
    ``"dirac"``, timescales of 1 and the logarithms of :math:`\bar\Lambda` as poles.

    Args:
        width: number of inputs and outputs, H.
        num_states: number of states that are kept, N.
        discretization: a key of ``ops.DISCRETIZATIONS``.
        conj_sym: whether the states are one of each conjugate pair.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        backend: implementation of the scan, a key of ``ops.BACKENDS`` or ``"auto"``.

    Attributes:
        dynamics: names of the parameters of the dynamics.
        backward_lag: distance of the first input that the backward scan of a bidirectional layer reads, 0 or 1. With 0,
            both scans read the input of the present step.

    Raises:
        ValueError: for an unknown discretization.
    """

    supports_advance = True
    dynamics: ClassVar[tuple[str, ...]]
    backward_lag: ClassVar[int] = 0
    D: nn.Parameter

    def __init__(
        self,
        width: int,
        num_states: int,
        *,
        discretization: str = "zoh",
        conj_sym: bool = True,
        step_scale: float = 1.0,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        if discretization not in DISCRETIZATIONS:
            raise ValueError(f"unknown discretization {discretization!r}; choose one of {', '.join(DISCRETIZATIONS)}")
        self.width, self.num_states = width, num_states
        self.discretization = discretization
        self.conj_sym = conj_sym
        self.step_scale = step_scale
        self.backend = backend
        self._kept: _KeptStep | None = None

    @abstractmethod
    def poles(self) -> Tensor:
        """The diagonal of the continuous state matrix, ``[2, N]``."""

    @abstractmethod
    def timescales(self) -> Tensor:
        """The length of a unit step for each state, ``[N]``, positive."""

    @abstractmethod
    def input_matrix(self) -> Tensor:
        """B, ``[2, N, H]``, or ``[2, N]`` if channelwise."""

    @abstractmethod
    def output_matrix(self) -> Tensor:
        """C, ``[2, H, N]``, or ``[2, N]`` if channelwise."""

    def backward_output_matrix(self) -> Tensor | None:
        """C of a second scan, which runs backward in time and is added to the output; None for a causal layer."""
        return None

    @property
    def supports_step(self) -> bool:
        return self.backward_output_matrix() is None

    @property
    def limits(self) -> Mapping[str, str]:  # type: ignore[override]
        return {} if self.supports_step else {"supports_step": "it is bidirectional"}

    def initial_state(self, batch_size: int) -> Tensor:
        """Zeros ``[B, 2, N]``."""
        return self.D.new_zeros(batch_size, 2, self.num_states)

    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        yield from (getattr(self, name) for name in self.dynamics)

    def forward(self, u: Tensor, state: Tensor | None = None, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over a sequence.

        Args:
            u: inputs ``[B, T, H]``.
            state: ``[B, 2, N]`` before the first step; zero if None.
            dt: ``[B, T]``, the time since the previous step; 1 at every step if None.

        Returns:
            Outputs ``[B, T, H]`` and the state after the last step ``[B, 2, N]`` (of the forward scan).
        """
        B, C, C_backward = self.input_matrix(), self.output_matrix(), self.backward_output_matrix()
        plain = self.backend == "auto" and is_short(u)
        if B.ndim == C.ndim == 3 and not plain and fuses(self.backend, u, self.D, state, dt):
            return self._fused(B, C, C_backward, u, state, dt)
        if B.ndim == C.ndim == 2 and dt is None:
            return self._convolved(B, C, C_backward, u, state)
        return self._composed(B, C, C_backward, u, state, dt)

    def step(self, u: Tensor, state: Tensor, dt: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Advance by one observation: ``u [B, H]``, ``state [B, 2, N]``, ``dt [B]`` to ``y [B, H]`` and the state.

        Raises:
            ValueError: for a bidirectional layer, whose outputs depend on later inputs.
        """
        if not self.supports_step:
            raise ValueError(
                f"a bidirectional {type(self).__name__} layer has no step mode; build it with bidirectional=False"
            )
        half = u.dtype.itemsize < torch.float32.itemsize  # conversions would take a fifth of the time of a step
        if half or dt is not None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            y, state = self(u[:, None], state, None if dt is None else dt[:, None])
            return y[:, 0], state
        kept = self._keep_step()
        Bu = self._project(u, kept.B).view_as(state)
        state = torch.addcmul(torch.addcmul(Bu, kept.straight, state), kept.across, state.flip(1))
        return torch.addcmul(self._read(state.flatten(1), kept.C), self.D, u), state

    def advance(self, state: Tensor, elapsed: Tensor) -> Tensor:
        r"""The states at later times without further input, exactly: :math:`\exp(\Lambda\,\Delta\,\tau)\,x`.

        Args:
            state: ``[B, 2, N]``, of the forward scan.
            elapsed: ``[B, Q]``, in units of ``dt``.

        Returns:
            ``[B, Q, 2, N]``.
        """
        poles, steps = _at_least_float32(self.poles()), _at_least_float32(self._steps())
        Lambda_bar, _ = DISCRETIZATIONS["dirac"](poles, steps * elapsed.to(steps.dtype).unsqueeze(-1))
        return multiply(Lambda_bar, state.unsqueeze(1))

    def step_matrices(self) -> StepMatrices | None:
        """The matrices of :meth:`step` for a causal layer with dense matrices on the CPU, otherwise None."""
        if not self.supports_step or not fuses(self.backend, self.D):
            return None
        kept = self._keep_step()
        dense = kept.B.ndim == kept.C.ndim == 2
        return StepMatrices(torch.stack([kept.straight[0], kept.across[1]]), kept.B, kept.C, self.D) if dense else None

    def __getstate__(self) -> dict[str, Any]:
        """The attributes to copy and to pickle, without the kept matrices."""
        return {**super().__getstate__(), "_kept": None}

    def _settings(self) -> tuple[Any, ...]:
        """All settings, apart from parameters, that the matrices of a step depend on."""
        return self.discretization, self.step_scale, self.D.dtype, self.D.device

    def _keep_step(self) -> _KeptStep:
        """The matrices of a step, kept until a parameter changes, as the discretization takes longer than a step."""
        parameters = tuple(p for name, p in self._parameters.items() if p is not None and name != "D")
        settings, kept = self._settings(), self._kept
        if kept is None or kept.settings != settings or not all(map(torch.equal, kept.parameters, parameters)):
            (real, imag), B = self._discretize(self.input_matrix())
            kept = _KeptStep(
                settings,
                tuple(parameter.clone() for parameter in parameters),
                straight=torch.stack([real, real]),
                across=torch.stack([-imag, imag]),
                B=B.flatten(0, 1),
                C=self._output_weight(self.output_matrix()),
            )
            self._kept = kept
        return kept

    def _fused(
        self, B: Tensor, C: Tensor, C_backward: Tensor | None, u: Tensor, state: Tensor | None, dt: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        system, B = (self.poles(), self._steps()), B.flatten(0, 1)
        method, weight = self.discretization, self._output_weight(C)
        y, last = mimo_scan(*system, dt, B, weight, self.D, u, state, method=method)
        if C_backward is not None:
            # Projecting the input again takes less time than keeping it for both directions.
            weight, D = self._output_weight(C_backward), torch.zeros_like(self.D)
            dt_next = None if dt is None else self._time_until_next(dt)
            y_backward, _ = mimo_scan(
                *system, dt_next, B, weight, D, self._backward_inputs(u), method=method, reverse=True
            )
            y = y + y_backward
        return y, last

    def _convolved(
        self, B: Tensor, C: Tensor, C_backward: Tensor | None, u: Tensor, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Channelwise systems over regular steps, without computing all states."""
        Lambda_bar, B = self._discretize(B)
        state = self.initial_state(len(u)) if state is None else state
        dtype = torch.promote_types(state.dtype, torch.float32)
        Lambda_bar, B, state, inputs = Lambda_bar.to(dtype), B.to(dtype), state.to(dtype), u.to(dtype)

        def run(u: Tensor, C: Tensor, D: Tensor | None, state: Tensor) -> tuple[Tensor, Tensor]:
            weight = self._output_weight(C).to(dtype).unflatten(-1, (2, -1))
            make = partial(diagonal_chunks, Lambda_bar, B, weight, D, self.width, self.backend)
            first = state.unflatten(-1, (self.width, -1)).movedim(1, 2).flatten(2)  # [B, H, S]
            y, last = run_chunks(u, first, make)
            return y, last.unflatten(-1, (2, -1)).movedim(2, 1).flatten(2)

        y, last = run(inputs, C, self.D.to(dtype), state)
        if C_backward is not None:
            y = y + run(self._backward_inputs(inputs).flip(1), C_backward, None, torch.zeros_like(state))[0].flip(1)
        return y.to(u.dtype), last

    def _composed(
        self, B: Tensor, C: Tensor, C_backward: Tensor | None, u: Tensor, state: Tensor | None, dt: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        Lambda_bar: Tensor | None = None
        if dt is None:
            Lambda_bar, B = self._discretize(B)
        Bu = self._project(u.to(B.dtype), B.flatten(0, 1)).unflatten(-1, (2, -1))
        Bu = Bu.to(torch.promote_types(Bu.dtype, torch.float32))  # the scan computes in float32 at least

        def scan(Bu: Tensor, state: Tensor | None, dt: Tensor | None, reverse: bool) -> Tensor:
            if Lambda_bar is not None:
                return linear_scan(Lambda_bar, Bu, state, reverse=reverse, backend=self.backend)
            system = self.poles(), self._steps(), dt, Bu, state
            return ssm_scan(*system, method=self.discretization, reverse=reverse, backend=self.backend)

        def read(x: Tensor, C: Tensor) -> Tensor:
            weight = self._output_weight(C)
            return self._read(x.flatten(-2).to(weight.dtype), weight)

        x = scan(Bu, state, dt, False)
        y = read(x, C)
        if C_backward is not None:
            x_backward = scan(self._backward_inputs(Bu), None, None if dt is None else self._time_until_next(dt), True)
            y = y + read(x_backward, C_backward)
        return torch.addcmul(y, self.D, u), self._last(x, state)

    def _backward_inputs(self, u: Tensor) -> Tensor:
        """``u [B, T, ...]``, or the inputs of the next step if the backward scan starts there."""
        return u if self.backward_lag == 0 else torch.cat([u[:, 1:], torch.zeros_like(u[:, :1])], dim=1)

    def _time_until_next(self, dt: Tensor) -> Tensor:
        """The steps of the backward scan ``[B, T]``, 1 for the last one."""
        until_next = torch.cat([dt[:, 1:], torch.ones_like(dt[:, :1])], dim=1)
        if self.backward_lag or self.discretization == "dirac" or not dt.shape[1]:
            return until_next
        # An input that is held until the next step is not cut off by padding, which follows with a step of length 0.
        position = torch.arange(dt.shape[1], device=dt.device)
        after = torch.where(until_next > 0, position, dt.shape[1] - 1).flip(1).cummin(1).values.flip(1)
        padding = torch.cat([torch.zeros_like(dt[:, :1], dtype=torch.bool), dt[:, 1:] == 0], dim=1)
        return until_next.gather(1, after).masked_fill(padding, 0)

    def _last(self, x: Tensor, state: Tensor | None) -> Tensor:
        """A copy of the state after the last step, which does not keep the other states in memory."""
        if x.shape[1]:
            return x[:, -1].clone()
        return self.initial_state(x.shape[0]) if state is None else state

    def _steps(self) -> Tensor:
        return self.step_scale * self.timescales()

    def _discretize(self, B: Tensor) -> tuple[Tensor, Tensor]:
        """``Lambda_bar [2, N]`` and the input matrix of a unit step, in the shape of ``B``."""
        Lambda_bar, scale = self._discretize_steps(self._steps())
        (re, im), (B_re, B_im) = (scale.unsqueeze(-1) if B.ndim == 3 else scale), B
        return Lambda_bar, torch.stack([re * B_re - im * B_im, re * B_im + im * B_re])

    def _discretize_steps(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """``Lambda_bar`` and the scale of the inputs ``[..., 2, N]`` for steps ``[..., N]``, in float32 at least.

        In bfloat16, factors near 1 are rounded to 1 or above, and states do not decay.
        """
        return DISCRETIZATIONS[self.discretization](_at_least_float32(self.poles()), _at_least_float32(steps))

    def _output_weight(self, C: Tensor) -> Tensor:
        """The real weights ``[H, 2N]``, or ``[2N]`` if channelwise, that read ``c Re(C x)`` from a flattened state."""
        real, imag = C
        return torch.cat([real, -imag], dim=-1) * (2 if self.conj_sym else 1)

    def _project(self, u: Tensor, B: Tensor) -> Tensor:
        """``u [..., H]`` and ``B [2N, H]``, or ``[2N]`` if channelwise, to ``[..., 2N]``."""
        if B.ndim == 2:
            return F.linear(u, B)
        u = u.repeat_interleave(self.num_states // self.width, dim=-1)
        return torch.cat([u, u], dim=-1) * B

    def _read(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x [..., 2N]`` and a weight from :meth:`_output_weight` to ``[..., H]``."""
        if weight.ndim == 2:
            return F.linear(x, weight)
        return (x * weight).unflatten(-1, (2, self.width, -1)).sum((-3, -1))


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
