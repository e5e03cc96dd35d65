"""Initial dynamics ``Lambda``, input and output matrices, and timescales of state-space layers.

HiPPO-LegS, with measure :math:`e^{-s}` over the past in logarithmic time, is

.. math:: A_{nk} = -\\sqrt{(2n+1)(2k+1)}\\ (n > k), \\quad -(n+1)\\ (n = k), \\quad 0\\ (n < k),

the sum of a normal matrix, which a unitary :math:`V` diagonalises, and a term of rank one, which is dropped.

References:
    "HiPPO: Recurrent Memory with Optimal Polynomial Projections" (Gu, Dao, Ermon, Rudra, Re, 2020)
    "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Standard deviation of a standard normal truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


def hippo_legs(size: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS: ``A [P, P]`` and ``B [P]``, float64."""
    n = torch.arange(size, dtype=torch.float64)
    B = torch.sqrt(2 * n + 1)
    A = -torch.tril(torch.outer(B, B)) + torch.diag(n)
    return A, B


def hippo_normal(size: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of the normal part of HiPPO-LegS.

    Returns ``Lambda [P]`` in ascending order of the imaginary part and the unitary ``V [P, P]``, complex128,
    with ``V diag(Lambda) V^H = A + p p^T``, ``p_n = sqrt(n + 1/2)``.
    """
    A, _ = hippo_legs(size)
    p = torch.sqrt(torch.arange(size, dtype=torch.float64) + 0.5)
    normal = A + torch.outer(p, p)
    # The diagonal is -1/2 throughout and the rest skew-symmetric: a Hermitian problem, solved stably.
    skew = normal + 0.5 * torch.eye(size, dtype=torch.float64)
    imag, V = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    return torch.complex(torch.full_like(imag, -0.5), imag), V


def hippo(state_size: int, block_count: int = 1, conj_sym: bool = True) -> tuple[Tensor, Tensor]:
    """``Lambda [N]`` and ``V [P, N]`` of ``block_count`` HiPPO-N blocks on the diagonal.

    With ``conj_sym`` one of each conjugate pair is kept, N = P / 2.

    Raises:
        ValueError: the blocks do not divide the states, or a block has an odd size under ``conj_sym``.
    """
    size, rest = divmod(state_size, block_count)
    if rest or (conj_sym and size % 2):
        raise ValueError(
            f"state_size={state_size} cannot be split into block_count={block_count} blocks of "
            f"{'an even' if conj_sym else 'equal'} size; choose a multiple of {block_count * (1 + conj_sym)}"
        )
    Lambda, V = hippo_normal(size)
    kept = size // 2 if conj_sym else size
    return Lambda[:kept].repeat(block_count), torch.block_diag(*[V[:, :kept]] * block_count)


def lecun_normal(*shape: int, fan_in: int) -> Tensor:
    """Normal truncated at two standard deviations, of variance 1 / ``fan_in``, float64."""
    std = 1 / math.sqrt(fan_in) / _TRUNCATED_STD
    return torch.nn.init.trunc_normal_(torch.empty(shape, dtype=torch.float64), std=std, a=-2 * std, b=2 * std)


def input_matrix(V: Tensor, width: int) -> Tensor:
    """``B_tilde = V^H B [N, H]`` with ``B [P, H]`` LeCun normal."""
    state_size = V.shape[0]
    B = lecun_normal(state_size, width, fan_in=state_size)
    return V.mH @ B.to(V.dtype)


def _truncated_standard_normal(V: Tensor, width: int) -> Tensor:
    state_size = V.shape[0]
    C = lecun_normal(width, state_size, 2, fan_in=state_size)
    return torch.view_as_complex(C) @ V


def _lecun_normal(V: Tensor, width: int) -> Tensor:
    state_size = V.shape[0]
    C = lecun_normal(width, state_size, 2, fan_in=state_size * width)
    return torch.view_as_complex(C) @ V


def _complex_normal(V: Tensor, width: int) -> Tensor:
    return torch.randn(width, V.shape[1], dtype=torch.complex128)


def log_timescales(count: int, dt_min: float, dt_max: float) -> Tensor:
    """``log_step [N]``, uniform between ``log(dt_min)`` and ``log(dt_max)``.

    Raises:
        ValueError: unless ``0 < dt_min <= dt_max``.
    """
    if not 0 < dt_min <= dt_max:
        raise ValueError(f"timescales need 0 < dt_min <= dt_max, got dt_min={dt_min}, dt_max={dt_max}")
    low, high = math.log(dt_min), math.log(dt_max)
    return torch.rand(count, dtype=torch.float64) * (high - low) + low


# (state_size, block_count, conj_sym) -> Lambda [N], V [P, N]
INITIALIZATIONS: dict[str, Callable[[int, int, bool], tuple[Tensor, Tensor]]] = {"hippo": hippo}

# (V [P, N], width) -> C_tilde [H, N]; the names are those of the original implementation
OUTPUT_MATRICES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "trunc_standard_normal": _truncated_standard_normal,
    "lecun_normal": _lecun_normal,
    "complex_normal": _complex_normal,
}
