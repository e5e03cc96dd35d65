"""Automatic choice of an output by the training data."""

import numpy as np
import pytest

from s5forecast.distributions import DISTRIBUTIONS, choose_output, has_atoms

RNG = np.random.default_rng(0)
DATA = {
    "negative_binomial": lambda: RNG.negative_binomial(2, 0.3, 200).astype(float),
    "zero_inflated_negative_binomial": lambda: RNG.poisson(20, 200) * (RNG.random(200) < 0.6) * 1.0,
    "hurdle_log_normal": lambda: RNG.lognormal(size=200) * (RNG.random(200) < 0.6),
    "truncated_normal": lambda: np.append(RNG.gamma(2.0, size=200), 0.0),
    "beta": lambda: RNG.beta(2, 5, 200),
    "gamma": lambda: RNG.gamma(8.0, size=200),
    "log_normal": lambda: RNG.lognormal(2, 1.5, 200),
    "normal": lambda: 100 + RNG.normal(size=200),
    "student_t": lambda: RNG.standard_t(2.0, 200),
}


@pytest.mark.parametrize("name", DATA)
def test_choice_by_the_data(name):
    targets = [DATA[name]() for _ in range(5)]
    targets[0][[3, 7]] = np.nan
    choice = choose_output(targets)
    assert choice.name == name and name in DISTRIBUTIONS and choice.reason


@pytest.mark.parametrize(
    ("targets", "name"),
    [
        ([np.zeros(5)], "negative_binomial"),
        ([np.full(30, 7.5)], "normal"),
        ([np.array([-1.0])], "normal"),
        ([np.arange(30) * 1e6 + 1e9], "normal"),
        ([np.array([2.0, np.nan, 3.0]), np.full(40, -2.5)], "normal"),
    ],
)
def test_edge_cases(targets, name):
    assert choose_output(targets).name == name


@pytest.mark.parametrize(
    ("targets", "atoms"),
    [
        ([np.where(RNG.random(200) < 0.3, 0.0, RNG.normal(size=200))], True),
        ([np.where(RNG.random(200) < 0.15, 0.0, RNG.normal(size=200))], False),
        ([np.full(30, 7.5)], True),
        ([RNG.normal(size=50), RNG.normal(size=50), np.zeros(50)], False),  # a typical series decides
        ([np.append(np.arange(12.0), [np.nan] * 90)], False),
        ([np.full(9, np.nan), np.arange(20.0)], False),
        ([np.full(9, np.nan)], False),
    ],
)
def test_a_frequently_repeated_value_is_an_atom(targets, atoms):
    assert has_atoms(targets) is atoms
