"""The mathematics of Liquid-S4; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close

from s5forecast.ssm import S4D, LiquidS4

WIDTH, STATES = 3, 8


def evaluate(layer, u, dt=None, weights="C"):
    """The recurrence in NumPy, ``[B, T, H]`` to outputs without D."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    Lambda = (-np.exp(p["log_decay"]) + 1j * p["frequency"]).reshape(layer.width, -1)
    B, C = ((p[name][0] + 1j * p[name][1]).reshape(Lambda.shape) for name in ("B", weights))
    x, y = 0, []
    for t in range(u.shape[1]):
        step = np.exp(p["log_step"])[:, None] * (1 if dt is None else dt[:, t, None, None])
        if layer.discretization == "zoh":
            A_bar, B_bar = np.exp(step * Lambda), B * (np.exp(step * Lambda) - 1) / Lambda
        else:
            A_bar, B_bar = (1 + step * Lambda / 2) / (1 - step * Lambda / 2), step * B / (1 - step * Lambda / 2)
        Bu = B_bar * u[:, t, :, None]
        factor = A_bar + Bu
        if layer.clamp:
            factor = factor * np.minimum(1, np.sqrt(np.abs(A_bar)) / np.abs(factor))
        x = factor * x + Bu
        y.append(2 * (C * x).sum(-1).real)
    return np.stack(y, 1)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("irregular", [False, True])
@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("clamp", [False, True])
def test_outputs_equal_the_definition(method, irregular, clamp, bidirectional):
    torch.manual_seed(0)
    layer = LiquidS4(WIDTH, STATES, discretization=method, clamp=clamp, bidirectional=bidirectional).double()
    rng = np.random.default_rng(0)
    u, dt = rng.normal(size=(2, 40, WIDTH)), rng.uniform(0.1, 2, size=(2, 40)) if irregular else None
    expected = evaluate(layer, u, dt) + layer.D.detach().numpy() * u
    if bidirectional:
        later = np.concatenate([u[:, 1:], np.zeros_like(u[:, :1])], 1)[:, ::-1]
        until_next = np.concatenate([dt[:, 1:], np.ones((2, 1))], 1)[:, ::-1] if irregular else None
        expected += evaluate(layer, later, until_next, "C_backward")[:, ::-1]
    assert_close(layer(torch.from_numpy(u), dt=None if dt is None else torch.from_numpy(dt))[0], expected, 1e-11)


@pytest.mark.parametrize("method", ["zoh", "bilinear"])
def test_inputs_up_to_the_bound_are_exact(method):
    """Beyond it, an input of one of both signs is clamped, in every channel."""
    torch.manual_seed(0)
    layer = LiquidS4(WIDTH, STATES, discretization=method).double()
    bound = layer.exact_bound()
    assert bound.shape == (WIDTH,) and (bound > 0).all()
    signs = torch.stack([torch.ones(50, WIDTH), -torch.ones(50, WIDTH), torch.rand(50, WIDTH) * 2 - 1]).double()
    clamped = [layer(scale * bound * signs)[0] for scale in (0.9999, 1.0001)]
    layer.clamp = False
    exact = [layer(scale * bound * signs)[0] for scale in (0.9999, 1.0001)]
    assert torch.equal(clamped[0], exact[0])
    assert (clamped[1] != exact[1])[:2].any(1).any(0).all()


def test_large_inputs_stay_finite():
    torch.manual_seed(0)
    y, state = LiquidS4(WIDTH, STATES)(100 * torch.randn(1, 5000, WIDTH))
    assert torch.isfinite(y).all() and torch.isfinite(state).all()


def test_small_inputs_give_s4d_and_a_term_of_second_order():
    torch.manual_seed(0)
    layer = LiquidS4(WIDTH, STATES).double()
    linear = S4D(WIDTH, STATES, discretization="bilinear").double()
    linear.load_state_dict(layer.state_dict())
    u = torch.randn(2, 30, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        expected = linear(u)[0]
        differences = [(layer(scale * u)[0] / scale - expected) / scale for scale in (1e-4, 5e-5)]
    assert differences[0].abs().max() > 1e-3
    torch.testing.assert_close(*differences, rtol=1e-2, atol=1e-3 * differences[0].abs().max().item())
