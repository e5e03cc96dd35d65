"""The S5 layer: one MIMO state-space system per layer, diagonalized and run by a scan."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ssm.diagonal import DiagonalLayer
from s5forecast.ssm.exponential import bounded_exp
from s5forecast.ssm.initialization import (
    INITIALIZATIONS,
    OUTPUT_MATRICES,
    Initialization,
    input_matrix,
    log_timescales,
)

CLIPPED_REAL_PART = -1e-4


class S5(DiagonalLayer):
    r"""The S5 layer.

    .. math:: x'(t) = \Lambda x(t) + \tilde B u(t), \qquad y(t) = 2\,\mathrm{Re}(\tilde C x(t)) + D u(t)

    discretized with one learnable timescale per state, :math:`\Delta_t = s \cdot dt_t \cdot \exp(\log\Delta)`,
    where :math:`dt_t` is the time since the previous step (1 by default) and :math:`s` is ``step_scale``. Complex
    numbers are stored as planes ``[2, ...]``, real part first.

    Args:
        width: number of inputs and outputs, H.
        state_size: number of states P. With ``conj_sym``, N = P / 2 of them are kept.
        block_count: number of blocks on the diagonal of the initial dynamics, J.
        initialization: a key of ``INITIALIZATIONS``, such as ``"hippo"`` or ``"hippo_ptd"``, or a function
            ``(P, J, conj_sym) -> Lambda [N], V [P, N]``.
        C_init: a key of ``OUTPUT_MATRICES`` or a function ``(V, H) -> C_tilde [H, N]``.
        discretization: a key of ``ops.DISCRETIZATIONS``.
        bidirectional: whether to add a second scan that runs backward, with a separate output matrix.
        conj_sym: whether to keep one state of each conjugate pair.
        clip_eigs: whether to keep the real parts of ``Lambda`` at or below -1e-4.
        step_scale: factor of all steps; 0.5 runs a layer trained on hourly steps on half-hourly steps.
        dt_min, dt_max: range of the initial timescales.
        backend: implementation of the scan, a key of ``ops.BACKENDS`` or ``"auto"``.

    Raises:
        ValueError: for an unknown name, or a ``state_size`` that is not divisible into ``block_count`` blocks.

    Example:
        >>> import torch
        >>> from s5forecast.ssm import S5
        >>> layer = S5(width=4, state_size=16)
        >>> u = torch.randn(2, 100, 4)  # [batch, time, features]
        >>> y, state = layer(u)
        >>> y.shape, state.shape
        (torch.Size([2, 100, 4]), torch.Size([2, 2, 8]))
        >>> gaps = torch.rand(2, 100)  # time since the previous observation
        >>> layer(u, dt=gaps)[0].shape
        torch.Size([2, 100, 4])

    References:
        "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023)
    """

    generic_arguments: ClassVar[frozenset[str]] = frozenset(
        {"state_size", "bidirectional", "clip_eigs", "step_scale", "dt_min", "dt_max"}
    )
    dynamics: ClassVar[tuple[str, ...]] = ("Lambda", "B_tilde", "log_step")

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
        N = state_size // 2 if conj_sym else state_size
        super().__init__(
            width, N, discretization=discretization, conj_sym=conj_sym, step_scale=step_scale, backend=backend
        )
        self._initial_dynamics = choose(INITIALIZATIONS, initialization, "initialization")
        self._initial_output = choose(OUTPUT_MATRICES, C_init, "C_init")
        self.state_size, self.block_count = state_size, block_count
        self.bidirectional = bidirectional
        self.clip_eigs = clip_eigs
        self.dt_min, self.dt_max = dt_min, dt_max
        self.Lambda = nn.Parameter(torch.empty(2, N))
        self.B_tilde = nn.Parameter(torch.empty(2, N, width))
        self.C_tilde = nn.Parameter(torch.empty(2, width, N))
        self.C_tilde_backward = nn.Parameter(torch.empty(2, width, N)) if bidirectional else None
        self.D = nn.Parameter(torch.empty(width))
        self.log_step = nn.Parameter(torch.empty(N))
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
        """Build a layer from the complex arrays of the original implementation.

        Args:
            Lambda: ``[N]``, complex.
            B_tilde: ``[N, H]``, complex.
            C_tilde: ``[H, N]``, complex.
            D: ``[H]``.
            log_step: ``[N]`` or ``[N, 1]``.
            C_tilde_backward: ``[H, N]``, complex; required for a bidirectional layer, otherwise None.
            conj_sym, discretization, bidirectional, clip_eigs, step_scale: as in the constructor.

        Raises:
            ValueError: if only one of ``bidirectional`` and ``C_tilde_backward`` is given, or shapes differ.
        """
        if bidirectional != (C_tilde_backward is not None):
            raise ValueError("pass C_tilde_backward for a bidirectional layer, and only then")
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

    def poles(self) -> Tensor:
        if not self.clip_eigs:
            return self.Lambda
        real, imag = self.Lambda
        return torch.stack([real.clamp(max=CLIPPED_REAL_PART), imag])

    def timescales(self) -> Tensor:
        return bounded_exp(self.log_step)

    def input_matrix(self) -> Tensor:
        return self.B_tilde

    def output_matrix(self) -> Tensor:
        return self.C_tilde

    def backward_output_matrix(self) -> Tensor | None:
        return self.C_tilde_backward

    def extra_repr(self) -> str:
        return (
            f"width={self.width}, state_size={self.state_size}, discretization={self.discretization!r}, "
            f"bidirectional={self.bidirectional}"
        )

    def _settings(self) -> tuple[Any, ...]:
        return *super()._settings(), self.clip_eigs


def _planes(z: Tensor) -> Tensor:
    z = torch.as_tensor(z)
    return torch.stack([z.real, z.imag])
