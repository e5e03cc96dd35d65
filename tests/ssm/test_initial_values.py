"""Distributions of initial values, numbers of parameters and groups of parameters, as published for each layer."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from s5forecast.ssm import DSS, LRU, S4, S4D, S5, DSSSoftmax, LiquidS4, Mega

BOTH = {"bidirectional": True}
PART = math.sqrt(0.5)  # standard deviation of each part of a complex normal value with variance 1
STEPS = stats.loguniform(1e-3, 1e-1)
SKIP = {"C": PART, "C_backward": PART, "D": 1}
DSS_VALUES = {"W": 1, "W_backward": 1, "D": 1, "log_step": STEPS}
PROJECTIONS = {f"{name}.weight": 0.02 for name in ("values", "mixed", "attended")}
AVERAGES = {"average.delta": 0.2, "average.alpha": 0.2, "average.gamma": 1, "average.omega": 1}
# Layer, its arguments -> distributions of the parameters that are drawn; a number is the standard deviation of a normal
# distribution, and those of steps are the distributions of exp(log_step).
DRAWN = {
    "s5": (S5, (500, 800), {"block_count": 40}, {"D": 1, "log_step": STEPS}),
    "s4": (S4, (500, 8), BOTH, {**SKIP, "log_step": STEPS}),
    "s4d": (S4D, (500, 8), BOTH, {**SKIP, "log_step": STEPS}),
    "s4d-steps": (S4D, (500, 8), {"dt_min": 0.5, "dt_max": 2.0}, {"log_step": stats.loguniform(0.5, 2)}),
    "liquid_s4": (LiquidS4, (500, 8), BOTH, {**SKIP, "log_step": stats.loguniform(1e-3, 2e-1)}),
    "dss": (DSS, (500, 4), BOTH, DSS_VALUES),
    "dss_softmax": (DSSSoftmax, (500, 4), BOTH, DSS_VALUES),
    "lru": (
        LRU, (200, 500), BOTH,
        {"B": 1 / math.sqrt(2 * 200), "C": 1 / math.sqrt(500), "C_backward": 1 / math.sqrt(500), "D": 1},
    ),
    "mega": (Mega, (200,), BOTH | {"max_positions": 500, "chunk_size": None},
             {**PROJECTIONS, **AVERAGES, "scale": 0.02, "bias.weight": 0.02}),
    "mega-rotary": (Mega, (200,), {"bias": "rotary", "key_size": 500}, {"bias.alpha": 0.02, "bias.beta": 0.02}),
}  # fmt: skip


def check(values, distribution):
    """By the test of Kolmogorov and Smirnov, and by the standard deviation."""
    assert values.size >= 200
    assert stats.kstest(values.ravel()[:5000], distribution.cdf).pvalue > 1e-3
    assert values.std() == pytest.approx(distribution.std(), rel=0.1)


@pytest.mark.parametrize("case", DRAWN)
def test_values_are_drawn_as_published(case):
    torch.manual_seed(0)
    cls, sizes, arguments, expected = DRAWN[case]
    parameters = {name: value.detach().double().numpy() for name, value in cls(*sizes, **arguments).named_parameters()}
    for name, distribution in expected.items():
        values = parameters[name]
        if name == "log_step":
            check(np.exp(values), distribution)
        else:
            check(values, stats.norm(0, distribution))


def test_poles_of_lru_are_uniform_on_the_ring():
    torch.manual_seed(0)
    layer = LRU(2, 2000, r_min=0.5, r_max=0.9)
    radius = np.exp(-np.exp(layer.nu_log.detach().double().numpy()))
    phase = np.exp(layer.theta_log.detach().double().numpy())
    check(radius**2, stats.uniform(0.25, 0.81 - 0.25))
    check(phase, stats.uniform(0, 6.28))
    assert abs(np.corrcoef(radius, phase)[0, 1]) < 0.1


def test_averages_of_mega_alternate_in_sign_and_biases_are_zero():
    torch.manual_seed(0)
    layer = Mega(200, ema_size=5)
    noise = layer.average.beta.detach().double().numpy() - np.array([1, -1, 1, -1, 1])
    check(noise, stats.norm(0, 0.02))
    assert not any(x.any() for x in (layer.shift, layer.values.bias, layer.mixed.bias))


def test_fixed_values():
    """Poles of new layers, which do not depend on the seed, and the inputs of S4D."""
    frequency = [0.427489, 1.957794, 5.354209, 19.857410]  # of HiPPO-LegS with 8 states
    for layer in (DSS(3, 4), DSSSoftmax(3, 4)):
        poles = layer.Lambda if isinstance(layer, DSSSoftmax) else layer._shared_poles()
        torch.testing.assert_close(poles, torch.tensor([[-0.5] * 4, frequency[::-1]]))
    for layer in (S4(2, 8), S4D(2, 8), LiquidS4(2, 8)):
        torch.testing.assert_close(layer.log_decay.exp().flatten(), torch.full((8,), 0.5))
        torch.testing.assert_close(layer.frequency.flatten(), -torch.tensor(frequency[::-1] * 2))
    assert torch.equal(S4D(2, 8, initialization="inv").B, torch.tensor([1.0, 0.0])[:, None].expand(2, 8))


def count(layer):
    return sum(p.numel() for p in layer.parameters())


def linear(inputs, outputs):
    return (inputs + 1) * outputs


def mega(positions):
    """A published layer of width 128 without norms; it has two biases that are added to each other, and a network."""
    layer = Mega(128, key_size=64, value_size=256, chunk_size=None, max_positions=positions, **BOTH)
    return count(layer) + 128 + linear(128, 256) + linear(256, 128)


@pytest.mark.parametrize(
    ("found", "published"),
    [
        (8 * (count(S4(128, 64, **BOTH)) + linear(128, 256) + 2 * 128), 0.59e6),
        (6 * (count(S4(256, 64, **BOTH)) + linear(256, 512) + 2 * 256), 1.28e6),
        (6 * (count(S4D(256, 64, **BOTH)) + linear(256, 512) + 2 * 256), 1.19e6),
        (6 * (count(DSS(128, 64)) + linear(128, 128)), 0.20e6),
        (4 * (mega(4096) + 2), 0.92e6),
        (6 * (mega(1024) + 4 * 128), 1.35e6),
    ],
)
def test_stacks_have_the_published_number_of_parameters(found, published):
    """In millions with two digits, with gated units, norms and feed-forward networks."""
    assert found == pytest.approx(published, abs=0.008e6)


def test_numbers_of_parameters():
    assert count(LRU(5, 6)) == 3 * 6 + 4 * 6 * 5 + 5
    assert count(LRU(5, 6, **BOTH)) == count(LRU(5, 6)) + 2 * 6 * 5
    assert count(S5(5, 12)) == count(LRU(5, 6)) and count(S5(5, 12, **BOTH)) == count(LRU(5, 6, **BOTH))
    assert count(DSSSoftmax(5, 6)) == count(DSS(5, 6)) == 2 * 6 * 5 + 2 * 6 + 3 * 5
    assert count(LiquidS4(5, 6)) == count(S4D(5, 6))


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        (S5(4, 8, **BOTH), ["Lambda", "B_tilde", "log_step"]),
        (S4(4, 8, **BOTH), ["log_decay", "frequency", "P", "B", "log_step"]),
        (S4D(4, 8, **BOTH), ["log_decay", "frequency", "B", "log_step"]),
        (LiquidS4(4, 8, **BOTH), ["log_decay", "frequency", "B", "log_step"]),
        (DSS(4, 8, **BOTH), ["log_decay", "frequency", "log_step", "W", "W_backward"]),
        (DSSSoftmax(4, 8, **BOTH), ["Lambda", "log_step", "W", "W_backward"]),
        (LRU(4, 8, **BOTH), ["nu_log", "theta_log", "gamma_log", "B"]),
        (Mega(4, **BOTH), []),
    ],
)
def test_the_published_groups_of_parameters_are_trained_without_weight_decay(layer, names):
    own = dict(layer.named_parameters())
    assert {id(p) for p in layer.dynamics_parameters()} == {id(own[name]) for name in names}
