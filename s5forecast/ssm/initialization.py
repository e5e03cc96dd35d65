"""Initial dynamics ``Lambda``, input and output matrices, and timescales of state-space layers.

HiPPO-LegS, with measure :math:`e^{-s}` over the past in logarithmic time, is

.. math:: A_{nk} = -\\sqrt{(2n+1)(2k+1)}\\ (n > k), \\quad -(n+1)\\ (n = k), \\quad 0\\ (n < k),

the sum of a normal matrix, which is diagonalized by a unitary :math:`V`, and a term of rank one, :math:`-p p^T`. The
sum has exponentially ill-conditioned eigenvectors. S4D and S5 drop the rank-one term. Perturb-then-diagonalize (PTD)
drops only a small part of it and thereby keeps the transfer function; see ``docs/derivations/initialization.md``.

References:
    "HiPPO: Recurrent Memory with Optimal Polynomial Projections" (Gu, Dao, Ermon, Rudra, Re, 2020)
    "On the Parameterization and Initialization of Diagonal State Space Models" (Gu, Gupta, Goel, Re, 2022)
    "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023)
    "Robustifying State-space Models for Long Sequences via Approximate Diagonalization" (Yu, Nigmetov, Morozov,
    Mahoney, Erichson, 2023)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Standard deviation of a standard normal truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978

# (state_size, block_count, conj_sym) -> Lambda [N], V [P, N]
Initialization = Callable[[int, int, bool], tuple[Tensor, Tensor]]


def hippo_legs(size: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS: ``A [P, P]`` and ``B [P]``, float64."""
    n = torch.arange(size, dtype=torch.float64)
    B = torch.sqrt(2 * n + 1)
    A = -torch.tril(torch.outer(B, B)) + torch.diag(n)
    return A, B


def hippo_normal(size: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of the normal part of HiPPO-LegS.

    Returns:
        ``Lambda [P]`` in ascending order of the imaginary part and the unitary ``V [P, P]``, complex128, with
        ``V diag(Lambda) V^H = A + p p^T``, ``p_n = sqrt(n + 1/2)``.
    """
    A, _ = hippo_legs(size)
    p = torch.sqrt(torch.arange(size, dtype=torch.float64) + 0.5)
    normal = A + torch.outer(p, p)
    # The diagonal is -1/2 and the rest is skew-symmetric, which gives a Hermitian problem with a stable solution.
    skew = normal + 0.5 * torch.eye(size, dtype=torch.float64)
    imag, V = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    return torch.complex(torch.full_like(imag, -0.5), imag), V


def perturb_then_diagonalize(A: Tensor, E: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of ``A + E``.

    With a suitable small E, the eigenvectors are well-conditioned even if those of A are not. The diagonalization is
    then backward stable: ``V diag(Lambda) V^-1`` equals ``A + E`` up to rounding, and A up to E.

    Args:
        A, E: real ``[P, P]``.

    Returns:
        ``Lambda [P]`` in ascending order of the imaginary part and ``V [P, P]`` with columns of norm 1, complex.
        Because A and E are real, complex eigenvalues and their eigenvectors come in exactly conjugate pairs.
    """
    Lambda, V = torch.linalg.eig(A + E)
    order = torch.argsort(Lambda.imag, stable=True)
    return Lambda[order], V[:, order]


def hippo_perturbed(size: int, perturbation: float) -> tuple[Tensor, Tensor]:
    r"""Perturb-then-diagonalize for HiPPO-LegS, with the perturbation along its term of rank one.

    .. math:: A + E = V \Lambda V^{-1}, \qquad E = \tau p p^T, \qquad p_n = \sqrt{n + 1/2}

    The paper finds E by gradient descent on the condition number of V and the norm of E. Along p p^T no search is
    needed: for every P no real part exceeds -1/2, the condition number is about 2 / tau, and

    .. math:: \sup_\omega \|(i\omega - A - E)^{-1} - (i\omega - A)^{-1}\|_2 \le \frac{\tau}{2 (1 - \tau)}.

    Args:
        size: number of states P.
        perturbation: tau; 0 gives the HiPPO matrix and 1 its normal part. ``|E| / |A|`` is about 0.79 tau.

    Returns:
        ``Lambda [P]`` in ascending order of the imaginary part and ``V [P, P]``, complex128.

    Raises:
        ValueError: unless ``0 < perturbation <= 1``.
    """
    if not 0 < perturbation <= 1:
        raise ValueError(f"perturbation={perturbation} must be greater than 0 and at most 1")
    A, B = hippo_legs(size)
    return perturb_then_diagonalize(A, perturbation / 2 * torch.outer(B, B))


def hippo(state_size: int, block_count: int = 1, conj_sym: bool = True) -> tuple[Tensor, Tensor]:
    """``Lambda [N]`` and ``V [P, N]`` of ``block_count`` HiPPO-N blocks on the diagonal.

    With ``conj_sym``, one of each conjugate pair is kept, N = P / 2.

    Raises:
        ValueError: if ``state_size`` is not a multiple of ``block_count``, or blocks have an odd size with
            ``conj_sym``.
    """
    size = _block_size(state_size, block_count, conj_sym)
    return _on_diagonal(*hippo_normal(size), block_count, conj_sym)


def hippo_ptd(
    state_size: int, block_count: int = 1, conj_sym: bool = True, perturbation: float = 0.1
) -> tuple[Tensor, Tensor]:
    """S5-PTD: ``Lambda [N]`` and ``V [P, N]`` of ``block_count`` blocks of :func:`hippo_perturbed` on the diagonal.

    With ``conj_sym``, one of each conjugate pair is kept, N = P / 2. To change the perturbation, use
    ``S5(..., initialization=functools.partial(hippo_ptd, perturbation=0.05))``.

    Raises:
        ValueError: as in :func:`hippo` and :func:`hippo_perturbed`, or if ``conj_sym`` is true and the perturbation is
            so small that there are real eigenvalues, which have no conjugate partner.
    """
    size = _block_size(state_size, block_count, conj_sym)
    Lambda, V = hippo_perturbed(size, perturbation)
    if conj_sym and (Lambda.imag == 0).any():
        raise ValueError(
            f"perturbation={perturbation} gives real eigenvalues in blocks of {size} states, which have no conjugate "
            "partner; choose a larger perturbation, larger blocks or conj_sym=False"
        )
    return _on_diagonal(Lambda, V, block_count, conj_sym)


def s4_ptd(state_size: int, perturbation: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    r"""S4-PTD: HiPPO-LegS as a diagonal system with one input and the B of HiPPO.

    .. math:: \tilde B = (1 - \tau / 2) V^{-1} B, \qquad \tilde C = C V

    The transfer function equals that of HiPPO up to a relative error of ``tau / (2 (1 - tau))``, for all frequencies,
    all C and any number of states. With ``perturbation=1`` this is S4D-LegS, with its B / 2 and without such a bound.

    Returns:
        ``Lambda [P]``, ``V [P, P]``, ``B_tilde [P]``, complex128.

    Raises:
        ValueError: unless ``0 < perturbation <= 1``.
    """
    Lambda, V = hippo_perturbed(state_size, perturbation)
    _, B = hippo_legs(state_size)
    return Lambda, V, (1 - perturbation / 2) * torch.linalg.solve(V, B.to(V.dtype))


def _block_size(state_size: int, block_count: int, conj_sym: bool) -> int:
    size, rest = divmod(state_size, block_count)
    if rest or (conj_sym and size % 2):
        raise ValueError(
            f"state_size={state_size} cannot be split into block_count={block_count} blocks of "
            f"{'an even' if conj_sym else 'equal'} size; choose a multiple of {block_count * (1 + conj_sym)}"
        )
    return size


def _on_diagonal(Lambda: Tensor, V: Tensor, block_count: int, conj_sym: bool) -> tuple[Tensor, Tensor]:
    kept = len(Lambda) // 2 if conj_sym else len(Lambda)
    return Lambda[:kept].repeat(block_count), torch.block_diag(*[V[:, :kept]] * block_count)


def lecun_normal(*shape: int, fan_in: int) -> Tensor:
    """Samples of a normal distribution truncated at two standard deviations, with variance 1 / ``fan_in``, float64."""
    std = 1 / math.sqrt(fan_in) / _TRUNCATED_STD
    return torch.nn.init.trunc_normal_(torch.empty(shape, dtype=torch.float64), std=std, a=-2 * std, b=2 * std)


def input_matrix(V: Tensor, width: int) -> Tensor:
    """``B_tilde = V^-1 B [N, H]`` with ``B [P, H]`` LeCun normal.

    If ``V [P, N]`` holds one of each conjugate pair, the inverted basis consists of its columns and their conjugates.
    """
    state_size, kept = V.shape
    B = lecun_normal(state_size, width, fan_in=state_size)
    basis = V if kept == state_size else torch.cat([V, V.conj()], dim=1)
    return torch.linalg.solve(basis, B.to(V.dtype))[:kept]


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


INITIALIZATIONS: dict[str, Initialization] = {"hippo": hippo, "hippo_ptd": hippo_ptd}

# (V [P, N], width) -> C_tilde [H, N]; the names are those of the original implementation
OUTPUT_MATRICES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "trunc_standard_normal": _truncated_standard_normal,
    "lecun_normal": _lecun_normal,
    "complex_normal": _complex_normal,
}
