"""Skipped gaps: the encoder gives the same outputs as for the observed rows alone with their true time steps."""

import pytest
import torch

from s5forecast.nn import Encoder
from s5forecast.nn.gaps import skip_gaps

B, T, WIDTH = 6, 20, 5


@pytest.fixture
def steps():
    torch.manual_seed(0)
    return torch.randn(B, T, WIDTH, dtype=torch.float64)


@pytest.fixture
def observed():
    """Series without gaps, with few values, with gaps at the start, inside and at the end, with one value and none."""
    torch.manual_seed(1)
    observed = torch.ones(B, T, dtype=torch.float64)
    observed[1] = (torch.rand(T) < 0.3).double()
    observed[2, :7] = 0
    observed[3, 5:9] = observed[3, 15:] = 0
    observed[4] = 0
    observed[4, 11] = 1
    observed[5] = 0
    return observed


def encoder(**kwargs):
    torch.manual_seed(2)
    return Encoder(WIDTH, 2, layer_kwargs={"state_size": 8, **kwargs}).double().eval()


def rows(steps, observed):
    """The observed rows of each series, ``[1, n, F]``, and the time steps between them, ``[1, n]``."""
    for one, present in zip(steps, observed, strict=True):
        position = present.nonzero().squeeze(1)
        dt = torch.ones(len(position), dtype=torch.float64)
        dt[1:] = position.diff().double()
        yield one[None, position], dt[None]


@pytest.mark.parametrize("discretization", ["zoh", "bilinear", "dirac"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_skipped_gaps_equal_the_observed_rows_alone(steps, observed, discretization, bidirectional):
    network = encoder(discretization=discretization, bidirectional=bidirectional)
    inputs = skip_gaps(steps, observed)
    found, states = network(inputs.steps, dt=inputs.dt, mask=inputs.mask)
    for row, (alone, dt) in enumerate(rows(steps, observed)):
        n = alone.shape[1]
        assert inputs.mask[row].tolist() == [0.0] * (inputs.mask.shape[1] - n) + [1.0] * n
        if n:
            expected, last = network(alone, dt=dt)
            assert torch.allclose(found[row, -n:], expected[0], atol=1e-12)
            assert all(torch.allclose(a[row], b[0], atol=1e-12) for a, b in zip(states, last, strict=True))


def test_skipped_gaps_equal_single_longer_steps(steps, observed):
    network = encoder()
    inputs = skip_gaps(steps, observed)
    found, _ = network(inputs.steps, dt=inputs.dt, mask=inputs.mask)
    for row, (alone, dt) in enumerate(rows(steps, observed)):
        state = network.initial_state(1)
        for step in range(alone.shape[1]):
            y, state = network.step(alone[:, step], state, dt[:, step])
            assert torch.allclose(found[row, step - alone.shape[1]], y[0], atol=1e-12)


def test_without_gaps_nothing_changes(steps):
    inputs = skip_gaps(steps, torch.ones(B, T, dtype=torch.float64))
    assert torch.equal(inputs.steps, steps) and (inputs.dt == 1).all() and (inputs.mask == 1).all()


def test_gradients_reach_only_observed_steps(steps, observed):
    steps.requires_grad_()
    inputs = skip_gaps(steps, observed)
    y, _ = encoder(bidirectional=True)(inputs.steps, dt=inputs.dt, mask=inputs.mask)
    (y * inputs.mask.unsqueeze(-1)).square().sum().backward()
    assert torch.isfinite(steps.grad).all()
    assert (steps.grad[observed == 0] == 0).all() and (steps.grad[observed > 0] != 0).any(-1).all()
