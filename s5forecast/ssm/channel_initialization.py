r"""Initial dynamics of layers with a separate system for each channel, such as S4D.

A function returns :math:`\Lambda`, ``[N]``, and :math:`\tilde B`, ``[N]``, complex128, with one state of each conjugate
pair, N = P / 2, those with negative imaginary parts.

References:
    "On the Parameterization and Initialization of Diagonal State Space Models" (Gu, Gupta, Goel, Re, 2022)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from s5forecast.ssm.initialization import hippo_legs, hippo_normal, s4_ptd

# state_size -> Lambda [N], B_tilde [N]
ChannelInitialization = Callable[[int], tuple[Tensor, Tensor]]


def legs(state_size: int) -> tuple[Tensor, Tensor]:
    """S4D-LegS: the normal part of HiPPO-LegS and its B, without the clipping of the original implementation."""
    Lambda, V = hippo_normal(state_size)
    _, B = hippo_legs(state_size)
    return _half(Lambda, V.mH @ B.to(V.dtype))


def lin(state_size: int) -> tuple[Tensor, Tensor]:
    r"""S4D-Lin, the Fourier frequencies: :math:`-1/2 - i \pi n`."""
    return _oscillations(math.pi * _modes(state_size))


def inv(state_size: int) -> tuple[Tensor, Tensor]:
    r"""S4D-Inv, close to S4D-LegS: :math:`-1/2 - i (P / \pi) (P / (2n + 1) - 1)`."""
    return _oscillations(state_size / math.pi * (state_size / (2 * _modes(state_size) + 1) - 1))


def inv2(state_size: int) -> tuple[Tensor, Tensor]:
    r"""S4D-Inv2: :math:`-1/2 - i (P / \pi) (P / (n + 1) - 1)`."""
    return _oscillations(state_size / math.pi * (state_size / (_modes(state_size) + 1) - 1))


def quad(state_size: int) -> tuple[Tensor, Tensor]:
    r"""S4D-Quad: :math:`-1/2 - i (1 + 2n)^2 / \pi`."""
    return _oscillations((1 + 2 * _modes(state_size)) ** 2 / math.pi)


def real(state_size: int) -> tuple[Tensor, Tensor]:
    r"""S4D-Real: :math:`-(n + 1)`."""
    decay = _modes(state_size) + 1
    Lambda = torch.complex(-decay, torch.zeros_like(decay))
    return Lambda, torch.ones_like(Lambda)


def ptd(state_size: int) -> tuple[Tensor, Tensor]:
    """S4-PTD: HiPPO-LegS with a small perturbation, see :func:`~s5forecast.ssm.initialization.s4_ptd`.

    Raises:
        ValueError: for two states, which have real eigenvalues and thus no conjugate partners.
    """
    Lambda, _, B_tilde = s4_ptd(state_size)
    if (Lambda.imag == 0).any():
        raise ValueError(
            f"initialization='ptd' gives real eigenvalues for state_size={state_size}, which have no conjugate "
            "partner; choose a state_size of 4 or more"
        )
    return _half(Lambda, B_tilde)


def _modes(state_size: int) -> Tensor:
    return torch.arange(state_size // 2, dtype=torch.float64)


def _oscillations(frequency: Tensor) -> tuple[Tensor, Tensor]:
    return torch.complex(torch.full_like(frequency, -0.5), -frequency), torch.ones_like(
        frequency, dtype=torch.complex128
    )


def _half(Lambda: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """The states with negative imaginary parts, which come first."""
    return Lambda[: len(Lambda) // 2], B[: len(B) // 2]


CHANNEL_INITIALIZATIONS: dict[str, ChannelInitialization] = {
    "legs": legs,
    "inv": inv,
    "lin": lin,
    "inv2": inv2,
    "quad": quad,
    "real": real,
    "ptd": ptd,
}
