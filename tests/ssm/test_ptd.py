"""Perturb-then-diagonalize: a stable diagonalization of HiPPO that keeps its transfer function."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from reference import cases

from s5forecast.ssm import S5
from s5forecast.ssm.initialization import (
    hippo_legs,
    hippo_normal,
    hippo_perturbed,
    hippo_ptd,
    input_matrix,
    lecun_normal,
    perturb_then_diagonalize,
    s4_ptd,
)

SIZES = [8, 32, 128]
PERTURBATIONS = [0.05, 0.1, 0.5]


def perturbed(size, perturbation):
    A, B = hippo_legs(size)
    return A + perturbation / 2 * torch.outer(B, B)


def norm(matrix):
    return torch.linalg.matrix_norm(matrix, 2)


def rebuilt(Lambda, V):
    return V @ torch.diag(Lambda) @ torch.linalg.inv(V)


def frequencies(size):
    """From far below to far above the dynamics, and where the normal part resonates."""
    resonances = hippo_normal(size)[0].imag[size // 2 :]
    return torch.cat([torch.logspace(-2, math.log10(10 * size**2), 100, dtype=torch.float64), resonances])


def hippo_response(size, s):
    """``(s - A)^-1 B [F, P]`` and the Blaschke product theta ``[F]``, by forward substitution in closed form."""
    n = torch.arange(size, dtype=torch.float64)
    products = torch.cumprod((s[:, None] - n) / (s[:, None] + n + 1), dim=1)
    before = torch.cat([torch.ones_like(products[:, :1]), products[:, :-1]], dim=1)
    return torch.sqrt(2 * n + 1) / (s[:, None] + n + 1) * before, products[:, -1]


def diagonal_response(size, perturbation, s):
    Lambda, V, B_tilde = s4_ptd(size, perturbation)
    return B_tilde / (s[:, None] - Lambda) @ V.mT


def relative_error(size, perturbation):
    """The largest over all frequencies and outputs C, one basis vector each."""
    s = 1j * frequencies(size)
    exact, _ = hippo_response(size, s)
    return ((diagonal_response(size, perturbation, s) - exact).abs() / exact.abs()).max().item()


def resolvent_error(size, matrix):
    """``sup |(s - matrix)^-1 - (s - A)^-1|``, the error of all systems with unit B and C."""
    A, _ = hippo_legs(size)
    s = 1j * frequencies(size)[:, None, None] * torch.eye(size)
    return torch.linalg.matrix_norm(torch.linalg.inv(s - matrix) - torch.linalg.inv(s - A), 2).max().item()


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_the_diagonalization_is_backward_stable(size, perturbation):
    exact = perturbed(size, perturbation).to(torch.complex128)
    Lambda, V = hippo_perturbed(size, perturbation)
    assert norm(exact @ V - V * Lambda) < 1e-14 * norm(exact)
    assert norm(rebuilt(Lambda, V) - exact) < 1e-13 * norm(exact)


def test_the_unperturbed_diagonalization_is_unstable():
    A, _ = hippo_legs(32)
    Lambda, V = torch.linalg.eig(A)
    assert norm(rebuilt(Lambda, V) - A) > norm(A)


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("size", [*SIZES, 256])
def test_eigenvectors_are_well_conditioned_for_any_number_of_states(size, perturbation):
    _, V = hippo_perturbed(size, perturbation)
    assert torch.linalg.cond(V) < (2 - perturbation) / perturbation
    assert torch.allclose(V.norm(dim=0), torch.ones(size, dtype=torch.float64))


def test_eigenvectors_of_hippo_are_exponentially_ill_conditioned():
    for size in (8, 12, 16):
        assert torch.linalg.cond(torch.linalg.eig(hippo_legs(size)[0])[1]) > 4**size


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("size", SIZES)
def test_eigenvalues_are_stable_and_exactly_conjugate(size, perturbation):
    Lambda, V = hippo_perturbed(size, perturbation)
    assert (Lambda.real < -0.5).all()
    assert torch.equal(Lambda.flip(0), Lambda.conj().resolve_conj())
    assert torch.equal(V.flip(1), V.conj().resolve_conj())
    assert (Lambda.imag.diff() > 0).all()


def test_the_default_perturbation_has_no_real_eigenvalue_for_four_or_more_states():
    assert all(hippo_ptd(size)[0].imag.max() < 0 for size in range(4, 66, 2))


def test_the_whole_term_of_rank_one_gives_the_normal_part():
    assert torch.allclose(hippo_perturbed(32, 1.0)[0].imag, hippo_normal(32)[0].imag)


@pytest.mark.parametrize("perturbation", [*PERTURBATIONS, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_the_transfer_function_is_known_exactly(size, perturbation):
    s = 1j * frequencies(size)
    exact, theta = hippo_response(size, s)
    factor = 1 / (1 + perturbation / (2 - perturbation) * theta)
    difference = diagonal_response(size, perturbation, s) - exact * factor[:, None]
    assert (difference.norm(dim=1) < 1e-10 * (exact * factor[:, None]).norm(dim=1)).all()


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_the_transfer_function_is_uniformly_close_to_that_of_hippo(perturbation):
    errors = [relative_error(size, perturbation) for size in SIZES]
    bound = perturbation / (2 * (1 - perturbation))
    assert all(0.8 * bound < error < bound for error in errors)


@pytest.mark.parametrize("size", SIZES)
def test_the_transfer_function_of_the_normal_part_is_not_uniformly_close(size):
    assert relative_error(size, 1.0) == pytest.approx(2 * size**2 / math.pi**2, rel=0.05)


@pytest.mark.parametrize("size", SIZES)
def test_the_transfer_function_of_the_normal_part_converges_at_a_fixed_frequency(size):
    s = 1j * torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    exact, theta = hippo_response(size, s)
    assert torch.allclose(theta.abs(), s.imag / torch.sqrt(s.imag**2 + size**2))
    error = (diagonal_response(size, 1.0, s) - exact).norm(dim=1) / exact.norm(dim=1)
    assert (error < 2 * s.imag / size).all()


def test_the_error_falls_in_proportion_to_the_perturbation():
    errors = [relative_error(32, perturbation) for perturbation in (0.4, 0.2, 0.1, 0.05, 0.025)]
    assert all(1.9 < first / second < 3 for first, second in pairwise(errors))


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_systems_with_many_inputs_and_outputs_are_uniformly_close_too(perturbation):
    bound = perturbation / (2 * (1 - perturbation))
    for size in (8, 16, 32):
        ptd = resolvent_error(size, rebuilt(*hippo_perturbed(size, perturbation)))
        assert 0.2 * bound < ptd < bound


def test_systems_of_the_normal_part_are_not_uniformly_close():
    assert all(resolvent_error(size, rebuilt(*hippo_normal(size))) > 1 for size in (8, 16, 32))


def test_a_random_perturbation_is_diagonalized_as_well():
    A, _ = hippo_legs(32)
    torch.manual_seed(0)
    noise = torch.randn(32, 32, dtype=torch.float64)
    conditions = []
    for size in (1e-6, 1e-4, 1e-2):
        E = size * norm(A) / norm(noise) * noise
        Lambda, V = perturb_then_diagonalize(A, E)
        assert norm((A + E).to(V.dtype) @ V - V * Lambda) < 1e-14 * norm(A)
        assert torch.equal(Lambda.flip(0).imag, -Lambda.imag)
        conditions.append(torch.linalg.cond(V).item())
    assert conditions[0] > 10 * conditions[1] > 100 * conditions[2]


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_repeat_and_one_of_each_conjugate_pair_is_kept(blocks):
    Lambda, V = hippo_ptd(24, blocks)
    full, basis = hippo_ptd(24, blocks, False)
    assert Lambda.shape == (12,) and V.shape == (24, 12) and (Lambda.imag < 0).all()
    assert torch.equal(torch.cat([Lambda, Lambda.conj()]).imag.sort().values, full.imag.sort().values)
    expected = torch.block_diag(*[perturbed(24 // blocks, 0.1)] * blocks)
    assert norm(rebuilt(full, basis) - expected) < 1e-13 * norm(expected)
    assert norm(expected.to(V.dtype) @ V - V * Lambda) < 1e-14 * norm(expected)


@pytest.mark.parametrize("conj_sym", [True, False])
def test_the_input_matrix_is_taken_through_the_left_eigenvectors(conj_sym):
    _, V = hippo_ptd(24, 2, conj_sym)
    torch.manual_seed(0)
    B = lecun_normal(24, 5, fan_in=24)
    torch.manual_seed(0)
    B_tilde = input_matrix(V, 5)
    assert torch.allclose((V @ B_tilde).real * (1 + conj_sym), B, atol=1e-13)


def test_a_layer_with_another_perturbation():
    layer = S5(4, 16, initialization=partial(hippo_ptd, perturbation=0.3)).double()
    assert torch.allclose(layer.Lambda, torch.view_as_real(hippo_ptd(16, perturbation=0.3)[0]).T.double(), rtol=1e-6)


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="perturbation=0 must be greater than 0"):
        s4_ptd(8, 0)
    with pytest.raises(ValueError, match=r"perturbation=0.001 gives real eigenvalues in blocks of 8"):
        hippo_ptd(16, 2, perturbation=0.001)
    with pytest.raises(ValueError, match="state_size=10"):
        hippo_ptd(10, 3)


@pytest.mark.shared
@cases("s5_ptd_init", without=["N128", "N128_v2"])
def test_reference_perturbations(case):
    """The published perturbations, found by gradient descent, are diagonalized to the published eigenvalues."""
    perturbed = torch.from_numpy(case["V"] @ np.diag(case["Lambda"]) @ case["Vinv"]).real
    A, _ = hippo_legs(len(perturbed))
    assert norm(perturbed - A) < 0.1 * norm(A)
    Lambda, V = perturb_then_diagonalize(A, perturbed - A)
    assert norm(rebuilt(Lambda, V) - perturbed) < 1e-12 * norm(perturbed)
    distance = np.abs(Lambda.numpy()[:, None] - case["Lambda"]).min(0)
    assert distance.max() < 1e-9 * np.abs(case["Lambda"]).max()
