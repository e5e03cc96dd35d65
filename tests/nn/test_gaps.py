"""Skipped gaps: the encoder gives the same outputs as for the observed rows alone with their true time steps."""

import pytest
import torch

from s5forecast.nn import Encoder
from s5forecast.nn.gaps import skip_gaps
from s5forecast.ssm import flatten_state, layer_arguments

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


def encoder(layer="s5", **kwargs):
    torch.manual_seed(2)
    layer_kwargs = layer_arguments(layer, kwargs, preferred={"state_size": 8})
    return Encoder(WIDTH, 2, layer=layer, layer_kwargs=layer_kwargs).double().eval()


def rows(steps, observed):
    """The observed rows of each series, ``[1, n, F]``, and the time steps between them, ``[1, n]``."""
    for one, present in zip(steps, observed, strict=True):
        position = present.nonzero().squeeze(1)
        dt = torch.ones(len(position), dtype=torch.float64)
        dt[1:] = position.diff().double()
        yield one[None, position], dt[None]


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        *[("s5", {"discretization": discretization}) for discretization in ("zoh", "bilinear", "dirac")],
        *[(layer, {}) for layer in ("s4", "s4d", "dss", "lru", "liquid_s4")],
        *[("mega", {"chunk_size": chunk_size}) for chunk_size in (None, 4, 128)],
    ],
    ids=str,
)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_skipped_gaps_equal_the_observed_rows_alone(steps, observed, layer, arguments, bidirectional):
    network = encoder(layer, bidirectional=bidirectional, **arguments)
    inputs = skip_gaps(steps, observed)
    found, states = network(inputs.steps, dt=inputs.dt, mask=inputs.mask)
    for row, (alone, dt) in enumerate(rows(steps, observed)):
        n = alone.shape[1]
        assert inputs.mask[row].tolist() == [0.0] * (inputs.mask.shape[1] - n) + [1.0] * n
        if n:
            expected, last = network(alone, dt=dt)
            assert torch.allclose(found[row, -n:], expected[0], atol=1e-12)
            pairs = zip(flatten_state(states), flatten_state(last), strict=True)
            assert all(torch.allclose(a[row], b[0], atol=1e-12) for a, b in pairs)


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
