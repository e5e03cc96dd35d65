"""Outputs of diagonal layers over irregular steps, in both directions, by one evaluation of their definitions in NumPy.

S4, Liquid-S4 and Mega have evaluations of their own, in their test files.
"""

import numpy as np
import pytest
import torch
from reference import assert_close

from s5forecast.ssm import DSS, LRU, S4D, S5

WIDTH, STATES, LENGTH = 3, 8, 30


def planes(z):
    return z[0] + 1j * z[1]


def hold(Lambda, step, method):
    """Factor of the state and of the input for a step of a scalar system."""
    z = Lambda * step
    if method == "zoh":
        return np.exp(z), (np.exp(z) - 1) / Lambda
    if method == "bilinear":
        return (1 + z / 2) / (1 - z / 2), step / (1 - z / 2)
    return np.exp(z), np.ones_like(z)


def by_channel(values):
    """``[H, N]`` to the input matrix ``[H N, H]`` of separate systems."""
    return np.concatenate([np.outer(v, e) for v, e in zip(values, np.eye(len(values)), strict=True)])


def s5(layer, p):
    Lambda, step = planes(p["Lambda"]), layer.step_scale * np.exp(p["log_step"])

    def system(dt):
        factor, gain = hold(Lambda, step * dt, layer.discretization)
        return factor, gain[:, None] * planes(p["B_tilde"])

    return system, {name: 2 * planes(p[name]) for name in ("C_tilde", "C_tilde_backward")}, 0


def s4d(layer, p):
    Lambda = (-np.exp(p["log_decay"]) + 1j * p["frequency"]).reshape(WIDTH, -1)
    B, step = planes(p["B"]).reshape(Lambda.shape), layer.step_scale * np.exp(p["log_step"])[:, None]

    def system(dt):
        factor, gain = hold(Lambda, step * dt, layer.discretization)
        return factor.ravel(), by_channel(gain * B)

    C = {name: 2 * by_channel(planes(p[name]).reshape(Lambda.shape)).T for name in ("C", "C_backward")}
    return system, C, 1


def dss(layer, p):
    Lambda, step = -np.exp(p["log_decay"]) + 1j * p["frequency"], layer.step_scale * np.exp(p["log_step"])[..., None]
    delta = step[0] * Lambda.real + 1j * step[-1] * Lambda.imag

    def system(dt):
        factor = np.exp(delta * dt)
        return factor.ravel(), by_channel((factor - 1) / Lambda)

    W = {name: by_channel(planes(p[name]).reshape(delta.shape)).T for name in ("W", "W_backward")}
    return system, W, 1


def lru(layer, p):
    pole = np.exp(-np.exp(p["nu_log"]) + 1j * np.exp(p["theta_log"]))
    B = np.exp(p["gamma_log"])[:, None] * planes(p["B"])
    return lambda dt: (pole ** (layer.step_scale * dt), B), {name: planes(p[name]) for name in ("C", "C_backward")}, 0


def scan(system, C, inputs, steps):
    """Outputs of one sequence ``[T, H]``, from the first step to the last."""
    x, y = 0, []
    for u, dt in zip(inputs, steps, strict=True):
        factor, B = system(dt)
        x = factor * x + B @ u
        y.append((C @ x).real)
    return np.stack(y)


def evaluate(layer, definition, u, dt):
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    system, (C, C_backward), lag = (part if not isinstance(part, dict) else part.values() for part in
                                    definition(layer, p))  # fmt: skip
    outputs = []
    for one, steps in zip(u, dt, strict=True):
        until_next = np.append(steps[1:], 1)
        held = np.concatenate([one[1:], np.zeros_like(one[:1])]) if lag else one
        backward = scan(system, C_backward, held[::-1], until_next[::-1])[::-1]
        outputs.append(scan(system, C, one, steps) + backward + p["D"] * one)
    return np.stack(outputs)


CASES = {
    "s5-zoh": (s5, S5, {}),
    "s5-bilinear": (s5, S5, {"discretization": "bilinear"}),
    "s5-dirac": (s5, S5, {"discretization": "dirac"}),
    "s5-ptd": (s5, S5, {"initialization": "hippo_ptd"}),
    "s4d-zoh": (s4d, S4D, {}),
    "s4d-bilinear": (s4d, S4D, {"discretization": "bilinear"}),
    "s4d-dirac": (s4d, S4D, {"discretization": "dirac"}),
    "dss": (dss, DSS, {}),
    "dss-tied": (dss, DSS, {"separate_steps": False}),
    "lru": (lru, LRU, {}),
}


@pytest.mark.parametrize("step_scale", [1.0, 0.5])
@pytest.mark.parametrize("case", CASES)
def test_outputs_equal_the_definition(case, step_scale):
    """The forward scan holds an input since the last step, the backward scan until the next one."""
    definition, layer, arguments = CASES[case]
    torch.manual_seed(0)
    layer = layer(WIDTH, STATES, bidirectional=True, step_scale=step_scale, **arguments).double()
    rng = np.random.default_rng(0)
    u, irregular = rng.normal(size=(2, LENGTH, WIDTH)), rng.uniform(0.05, 3, size=(2, LENGTH))
    regular = np.ones_like(irregular)
    inputs = torch.from_numpy(u)
    assert_close(layer(inputs, dt=torch.from_numpy(irregular))[0], evaluate(layer, definition, u, irregular), 1e-11)
    assert_close(layer(inputs)[0], evaluate(layer, definition, u, regular), 1e-11)
