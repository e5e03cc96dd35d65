r"""Initial dynamics of S4: HiPPO matrices as a diagonal matrix plus a correction of low rank.

A function returns :math:`\Lambda`, ``[N]``, P, ``[r, N]``, and B, ``[N]``, complex128, with one state of each conjugate
pair, those with negative imaginary parts. With the conjugates, :math:`\mathrm{diag}(\Lambda) - \sum_r P_r P_r^*`
is the HiPPO matrix in another basis.

References:
    "HiPPO: Recurrent Memory with Optimal Polynomial Projections" (Gu, Dao, Ermon, Rudra, Re, 2020)
    "How to Train Your HiPPO: State Space Models with Generalized Orthogonal Basis Projections" (Gu, Johnson, Timalsina,
    Rudra, Re, 2022)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from s5forecast.ssm.initialization import hippo_legs, hippo_normal

# state_size -> Lambda [N], P [r, N], B [N]
LowRankInitialization = Callable[[int], tuple[Tensor, Tensor, Tensor]]

# Decay of measures whose normal part does not decay, as in the published implementation.
SMALLEST_DECAY = 1e-4


def legs(state_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-LegS, Legendre polynomials over the whole past; rank 1."""
    Lambda, V = hippo_normal(state_size)
    _, B = hippo_legs(state_size)
    P = torch.sqrt(torch.arange(state_size, dtype=torch.float64) + 0.5)
    return _half(Lambda, V, P.unsqueeze(0), B)


def legt(state_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-LegT, Legendre polynomials over a window; rank 2."""
    n = torch.arange(state_size, dtype=torch.float64)
    root = torch.sqrt(2 * n + 1)
    # Entries of the same parity are symmetric, which is the term of rank 2, all others skew.
    odd = (n.unsqueeze(1) - n) % 2
    skew = -0.5 * torch.outer(root, root) * odd * torch.sign(n.unsqueeze(1) - n)
    imag, V = torch.linalg.eigh(-1j * skew.to(torch.complex128))
    Lambda = torch.complex(torch.full_like(imag, -SMALLEST_DECAY), imag)
    parity = torch.stack([n % 2, (n + 1) % 2])
    return _half(Lambda, V, parity * root / math.sqrt(2), root / 2)


def fout(state_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-FouT, sines and cosines over a window; rank 1."""
    frequency = math.pi * torch.arange(state_size // 2, dtype=torch.float64)
    Lambda = torch.complex(torch.full_like(frequency, -SMALLEST_DECAY), -frequency)
    B = torch.ones_like(Lambda)
    B[0] = math.sqrt(0.5)
    return Lambda, B.unsqueeze(0), B


def _half(Lambda: Tensor, V: Tensor, P: Tensor, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The coordinates of the real vectors ``P [r, P]`` and ``B [P]`` in half of the eigenvectors."""
    kept = V[:, : len(B) // 2]
    return Lambda[: len(B) // 2], P.to(V.dtype) @ kept.conj(), B.to(V.dtype) @ kept.conj()


LOW_RANK_INITIALIZATIONS: dict[str, LowRankInitialization] = {"legs": legs, "legt": legt, "fout": fout}
