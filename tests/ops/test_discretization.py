"""Discretizations against matrix exponentials, their formulas and their limits."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from s5forecast.ops import BACKENDS, DISCRETIZATIONS, ssm_scan
from s5forecast.ops.discretization import SMALL


def planar(z):
    return torch.stack((torch.as_tensor(z).real, torch.as_tensor(z).imag), -2)


def complex_of(z):
    return torch.complex(*z.detach().double().unbind(-2))


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
@pytest.mark.parametrize("regular", (True, False))
def test_zoh_is_exact_for_piecewise_constant_input(backend, regular):
    generator = np.random.default_rng(0)
    Lambda, step = np.array([-0.3 + 4j, -2 + 0.1j, 0.05 - 1j, 0]), np.array([0.1, 0.5, 1, 2])
    dt = np.ones(30) if regular else generator.exponential(size=30)
    u = generator.normal(size=30)
    state, states = np.zeros(4, complex), []
    for t in range(30):  # exp of [[Lambda, 1], [0, 0]] propagates the state together with a constant input
        for n in range(4):
            transition = expm(np.array([[Lambda[n], 1], [0, 0]]) * step[n] * dt[t])
            state[n] = transition[0] @ (state[n], u[t])
        states.append(state.copy())
    Bu = planar(torch.tensor(u)[:, None].expand(30, 4) + 0j)[None]
    x = ssm_scan(
        planar(torch.tensor(Lambda)),
        torch.tensor(step),
        None if regular else torch.tensor(dt)[None],
        Bu,
        backend=backend,
    )
    np.testing.assert_allclose(complex_of(x[0]).numpy(), np.stack(states), rtol=1e-8, atol=1e-8)


def test_bilinear_and_dirac_are_their_formulas():
    Lambda, step = torch.randn(20, dtype=torch.complex128), torch.rand(20, dtype=torch.float64)
    z = Lambda * step
    bar, scale = map(complex_of, DISCRETIZATIONS["bilinear"](planar(Lambda), step))
    torch.testing.assert_close(bar, (1 + z / 2) / (1 - z / 2))
    torch.testing.assert_close(scale, step / (1 - z / 2))
    bar, scale = map(complex_of, DISCRETIZATIONS["dirac"](planar(Lambda), step))
    torch.testing.assert_close(bar, z.exp())
    torch.testing.assert_close(scale, torch.ones_like(z))


def test_discretizations_agree_to_second_order():
    Lambda, step = planar(torch.tensor([-1 + 2j], dtype=torch.complex128)), torch.tensor([1e-3]).double()
    pairs = zip(*(DISCRETIZATIONS[method](Lambda, step) for method in ("zoh", "bilinear")), strict=True)
    for zoh, bilinear in pairs:
        assert (zoh - bilinear).abs().max() < 1e-8


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
def test_zoh_near_zero(dtype):
    """`input_scale = step (1 + z/2 + ...)`, and its derivative `step^2 (1/2 + z/3 + ...)`."""
    epsilon = torch.finfo(dtype).eps
    size = torch.tensor([0, 1e-30, 1e-12, 1e-8, 1e-6, 1e-4, 1e-3])
    Lambda = planar(torch.polar(size, torch.full_like(size, 2.0))).to(dtype).requires_grad_()
    step = torch.full((7,), 0.7, dtype=dtype, requires_grad=True)
    z, Delta = complex_of(Lambda) * step.detach().double(), step.detach().double()
    bar, scale = DISCRETIZATIONS["zoh"](Lambda, step)
    assert (complex_of(scale) - Delta * (1 + z / 2 + z**2 / 6 + z**3 / 24 + z**4 / 120)).abs().max() < 4 * epsilon
    gradients = torch.autograd.grad(scale[0].sum(), (Lambda, step))
    expected = (Delta**2 * (1 / 2 + z / 3 + z**2 / 8 + z**3 / 30 + z**4 / 144)).conj()
    assert (complex_of(gradients[0]) - expected).abs().max() < 4 * epsilon
    assert (gradients[1].double() - z.exp().real).abs().max() < 4 * epsilon
    assert (complex_of(bar) - z.exp()).abs().max() < 4 * epsilon


def test_zoh_joins_its_two_branches():
    angle = torch.linspace(0, 6.28, 50).double()
    for factor in (1 - 1e-9, 1 + 1e-9):
        radius = SMALL * factor / (angle.cos().abs() + angle.sin().abs())
        z = torch.polar(radius, angle)
        Lambda = planar(z).requires_grad_()
        _, scale = DISCRETIZATIONS["zoh"](Lambda, torch.ones(50).double())
        assert (complex_of(scale) - (z.exp() - 1) / z).abs().max() < 1e-14
        (gradient,) = torch.autograd.grad(scale[0].sum(), Lambda)
        assert (complex_of(gradient).conj() - (z * z.exp() - z.exp() + 1) / z**2).abs().max() < 1e-13


@pytest.mark.parametrize("method", DISCRETIZATIONS)
@pytest.mark.parametrize("scale", (0.0, 1e-20, 1e-6, 1e-3, 0.3, 1.0, 100.0))
def test_fused_gradients_at_every_scale_of_Lambda(method, scale):
    """float32 kernels against float64 torch, from `Lambda = 0` to fast decay."""
    generator = torch.Generator().manual_seed(0)
    Lambda = scale * torch.stack((-torch.rand(16, generator=generator), torch.randn(16, generator=generator)))
    step, dt = 0.1 + torch.rand(16, generator=generator), torch.rand(1, 20, generator=generator)
    Bu, weights = torch.randn(2, 1, 20, 2, 16, generator=generator)
    results = []
    for dtype, backend in ((torch.float64, "naive"), (torch.float32, "cpu")):
        inputs = [v.to(dtype).requires_grad_() for v in (Lambda, step, dt, Bu)]
        x = ssm_scan(*inputs, method=method, backend=backend)
        results.append([x, *torch.autograd.grad((x * weights.to(dtype)).sum(), inputs)])
    for exact, result in zip(*results, strict=True):
        assert (result - exact).abs().max() <= 2e-5 * exact.abs().max()


def test_float32_exponential():
    """Two units in the last place for any angle, because `Im z` is not rounded."""
    decay = -torch.cat((torch.zeros(1), torch.logspace(-8, 1.9, 200)))
    angle = torch.cat((torch.zeros(1), torch.logspace(-8, 4, 400)))
    Lambda = torch.stack([v.flatten() for v in torch.meshgrid(decay, angle, indexing="ij")])
    zero, one = torch.zeros(1, 1, *Lambda.shape), torch.ones(Lambda.shape[1])
    start = torch.stack((one, 0 * one))[None]
    bar = ssm_scan(Lambda, one, None, zero, start, method="dirac", backend="cpu")[0, 0]
    exact = complex_of(Lambda).exp()
    error = (complex_of(bar) - exact).abs() / exact.abs()
    assert error.max() < 2.5 * torch.finfo(torch.float32).eps
    unit = torch.stack((one, 0 * one))[None, None]
    scale = ssm_scan(Lambda, one, None, unit, backend="cpu")[0, 0]
    z = complex_of(Lambda)
    exact = torch.where(z.abs() < 1e-4, 1 + z / 2 + z**2 / 6, torch.expm1(z.real) + 0j)
    far = z.abs() > 0.1
    exact = torch.where(far, (z.exp() - 1) / torch.where(far, z, 1), exact)
    checked = far | (z.abs() < 1e-4)
    assert ((complex_of(scale) - exact).abs() / exact.abs())[checked].max() < 6 * torch.finfo(torch.float32).eps


def test_zoh_derivatives_at_large_steps():
    """For steps much longer than the decay, the derivatives are those of -1 / Lambda."""
    Lambda = torch.tensor([[-1e-3], [1.0]]).requires_grad_()
    _, scale = DISCRETIZATIONS["zoh"](Lambda, torch.tensor([1e20]))
    exact = torch.view_as_complex(Lambda.detach().double().T.contiguous()).requires_grad_()
    expected = torch.autograd.grad(torch.view_as_real(-1 / exact).sum(), exact)[0]
    (found,) = torch.autograd.grad(scale.sum(), Lambda)
    assert torch.allclose(found.flatten().double(), torch.view_as_real(expected).flatten(), rtol=1e-4)


def test_complex_tensors_are_refused():
    from s5forecast.ops import linear_scan

    with pytest.raises(ValueError, match="planes"):
        linear_scan(torch.ones(2, 3), torch.ones(1, 4, 2, 3, dtype=torch.complex64))
