"""The mathematics of LRU; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases, load
from torch.nn.functional import batch_norm, gelu, layer_norm

from s5forecast.ssm import LRU
from s5forecast.ssm.lru import ring

PARAMETERS = ("nu_log", "theta_log", "gamma_log", "D")


def loaded(case):
    layer = LRU(len(case["D"]), len(case["nu_log"]))
    matrices = {"B": case["B_re"] + 1j * case["B_im"], "C": case["C_re"] + 1j * case["C_im"]}
    return load(layer, **{name: case[name] for name in PARAMETERS}, **matrices)


def evaluate(layer, u):
    """The recurrence in NumPy, ``[B, T, H]`` to outputs."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    Lambda = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    B = np.exp(p["gamma_log"])[:, None] * (p["B"][0] + 1j * p["B"][1])

    def scan(u, C):
        x, y = np.zeros((len(u), len(Lambda)), complex), []
        for t in range(u.shape[1]):
            x = Lambda * x + u[:, t] @ B.T
            y.append((x @ (C[0] + 1j * C[1]).T).real)
        return np.stack(y, 1)

    y = scan(u, p["C"])
    if layer.C_backward is not None:
        y = y + scan(u[:, ::-1], p["C_backward"])[:, ::-1]
    return y + p["D"] * u


@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_equal_the_definition(bidirectional):
    torch.manual_seed(0)
    layer = LRU(3, 8, bidirectional=bidirectional).double()
    u = np.random.default_rng(0).normal(size=(2, 50, 3))
    assert_close(layer(torch.from_numpy(u))[0], evaluate(layer, u), 1e-12)


def test_initial_poles_lie_on_the_ring():
    torch.manual_seed(0)
    layer = LRU(2, 1000, r_min=0.5, r_max=0.9, max_phase=1.0)
    (real, imag) = layer.poles()
    torch.testing.assert_close(imag, layer.theta_log.exp(), rtol=0, atol=0)
    radius = torch.exp(real)
    assert radius.min() >= 0.5 - 1e-6 and radius.max() <= 0.9 + 1e-6
    assert imag.min() >= 0 and imag.max() <= 1
    torch.testing.assert_close(torch.exp(layer.gamma_log) ** 2, 1 - radius**2)
    assert (radius**2).mean().item() == pytest.approx((0.25 + 0.81) / 2, abs=0.02)


def test_a_long_step_is_a_power():
    torch.manual_seed(0)
    layer = LRU(3, 8).double()
    _, state = layer(torch.randn(2, 5, 3, dtype=torch.float64))
    zeros = torch.zeros(2, 3, 3, dtype=torch.float64)
    dt = torch.full((2, 1), 3.0, dtype=torch.float64)
    torch.testing.assert_close(layer(zeros[:, :1], state, dt)[1], layer(zeros, state)[1])


def test_a_slow_mode_is_slow_at_any_step():
    """Phases a little below 2 pi turn slowly backward, also over half a step."""
    layer = LRU(1, 1, step_scale=0.5).double()
    with torch.no_grad():
        layer.nu_log.fill_(np.log(1e-3))
        layer.theta_log.fill_(np.log(2 * np.pi - 0.1))
        y, _ = layer(torch.ones(1, 10, 1, dtype=torch.float64))
        pole = np.exp(-1e-3 - 0.1j)
    B, C = (torch.complex(*matrix).item() for matrix in (layer.B, layer.C))
    x = B * np.exp(layer.gamma_log.item()) * sum(pole ** (k / 2) for k in range(10))
    assert y[0, -1, 0].item() == pytest.approx((C * x).real + layer.D.item())


@pytest.mark.parametrize("arguments", [{"r_min": 0.9, "r_max": 0.5}, {"r_max": 1.5}, {"max_phase": 0.0}], ids=str)
def test_a_ring_without_area_is_refused(arguments):
    with pytest.raises(ValueError, match="r_min"):
        LRU(3, 8, **arguments)


@pytest.mark.shared
@cases("lru", without=["block_layernorm_postnorm", "block_batchnorm_prenorm_train"])
def test_reference(case):
    layer, u = loaded(case), torch.from_numpy(case["u"])[None]
    assert_close(layer(u)[0][0], case["y"])
    assert_close_in_float32(layer, lambda layer: layer(u.to(layer.D))[0])


def gated(case, y):
    g = gelu(y, approximate="tanh")
    value, gate = (
        g @ torch.from_numpy(case[f"out{k}_kernel"]) + torch.from_numpy(case[f"out{k}_bias"]) for k in (1, 2)
    )
    return value * torch.sigmoid(gate)


@pytest.mark.shared
@cases("lru", without=["ring_full", "ring_09_0999", "ring_small_phase", "long"])
def test_reference_blocks(case):
    layer, u = loaded(case), torch.from_numpy(case["u"])
    norm = [torch.from_numpy(case[f"norm_{name}"]) for name in ("scale", "bias")]
    if "bn_mean_new" in case:
        x = batch_norm(u.flatten(0, 1), None, None, *norm, training=True, eps=1e-5).view_as(u)
        found = u + gated(case, layer(x)[0])
    else:
        found = layer_norm(u + gated(case, layer(u)[0]), u.shape[-1:], *norm, eps=1e-6)
    assert_close(found, case["y"])


@pytest.mark.shared
@cases("lru_init")
def test_reference_initialization(case):
    limits = [float(case[name]) for name in ("r_min", "r_max", "max_phase")]
    draws = torch.from_numpy(case["u_nu"]), torch.from_numpy(case["u_theta"])
    for name, found in zip(("nu_log", "theta_log", "gamma_log"), ring(*draws, *limits), strict=True):
        np.testing.assert_allclose(found.numpy(), case[name], rtol=1e-9, atol=1e-11)
