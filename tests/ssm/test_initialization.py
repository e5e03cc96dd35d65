"""HiPPO, its diagonalization, and the initial matrices."""

import math

import pytest
import torch
from scipy.linalg import expm

from s5forecast.ssm.initialization import (
    OUTPUT_MATRICES,
    hippo,
    hippo_legs,
    hippo_normal,
    input_matrix,
    lecun_normal,
    log_timescales,
)


def test_hippo_legs_remembers_by_legendre_polynomials():
    # With x' = A x + B u the coefficients of a constant input u = 1 settle at those of the polynomial 1.
    A, B = hippo_legs(8)
    steady = torch.linalg.solve(A, -B)
    assert torch.allclose(steady, torch.eye(8, dtype=torch.float64)[0], atol=1e-10)
    assert abs(expm(A.numpy() * 50)).max() < 1e-8


@pytest.mark.parametrize("size", [2, 16, 64])
def test_normal_part_is_diagonalized_by_a_unitary_matrix(size):
    A, _ = hippo_legs(size)
    p = torch.sqrt(torch.arange(size, dtype=torch.float64) + 0.5)
    Lambda, V = hippo_normal(size)
    normal = (A + torch.outer(p, p)).to(torch.complex128)
    assert torch.allclose(V @ torch.diag(Lambda) @ V.mH, normal, atol=1e-10 * size)
    assert torch.allclose(V.mH @ V, torch.eye(size, dtype=torch.complex128), atol=1e-10)


def test_blocks_repeat_and_keep_one_of_each_conjugate_pair():
    Lambda, V = hippo(24, 3)
    assert Lambda.shape == (12,) and V.shape == (24, 12)
    assert (Lambda.imag < 0).all() and torch.equal(Lambda[:4], Lambda[4:8])
    full, _ = hippo(24, 3, False)
    pairs = torch.cat([Lambda, Lambda.conj()])
    assert torch.allclose(full.imag.sort().values, pairs.imag.sort().values)
    assert (V[:8, 4:] == 0).all()


@pytest.mark.parametrize(("state_size", "blocks", "conj_sym"), [(10, 3, True), (6, 2, True), (7, 2, False)])
def test_indivisible_state_sizes_are_refused(state_size, blocks, conj_sym):
    with pytest.raises(ValueError, match=f"state_size={state_size}"):
        hippo(state_size, blocks, conj_sym)


def test_variances():
    torch.manual_seed(0)
    assert lecun_normal(400, 400, fan_in=50).var().item() == pytest.approx(1 / 50, rel=0.02)
    _, V = hippo(64)
    width = 512
    # V is half of a unitary matrix: V^H B has the variance of B.
    assert input_matrix(V, width).abs().square().mean().item() == pytest.approx(1 / 64, rel=0.05)
    # real and imaginary parts have the variance 1 / fan_in each
    expected = {"trunc_standard_normal": 2 / 64, "lecun_normal": 2 / (64 * width), "complex_normal": 1.0}
    for name, variance in expected.items():
        C = OUTPUT_MATRICES[name](V, width)
        assert C.shape == (width, 32)
        assert C.abs().square().mean().item() == pytest.approx(variance, rel=0.05), name


def test_timescales_are_uniform_in_the_logarithm():
    torch.manual_seed(0)
    steps = log_timescales(20_000, 1e-3, 1e-1)
    assert math.log(1e-3) <= steps.min() and steps.max() <= math.log(1e-1)
    assert steps.mean().item() == pytest.approx(math.log(1e-2), abs=0.02)
    with pytest.raises(ValueError, match="dt_min"):
        log_timescales(4, 0.0, 1.0)
