"""Exponentially weighted means equal their definition for any split of the observations into blocks."""

import itertools

import numpy as np
import pytest
import torch

from s5forecast.nn import RecentMean

MEMORIES = (2.0, 8.0, 32.0)
B, L, D = 4, 60, 3


def observations(level=0.0, dtype=torch.float32):
    rng = np.random.default_rng(0)
    values, mask = rng.normal(size=(B, L, D)) + level, rng.random((B, L, D)) < 0.4
    mask[0, :, 1] = mask[1, 10:, 0] = mask[2, :30] = False
    dt = rng.exponential(1.0, (B, L))
    dt[3, 40] = 1e4
    return [torch.from_numpy(x).to(dtype) for x in (np.where(mask, values, 0.0), mask, dt)]


def last_values(values, mask):
    last = torch.zeros_like(values[:, 0])
    for row, seen in zip(values.unbind(1), mask.unbind(1), strict=True):
        last = torch.where(seen > 0, row, last)
    return last


def run_blocks(module, values, mask, dt, bounds):
    """Process the observations block by block, as a stream does; the last value may lie before a block."""
    state = module.initial_state(B)
    for begin, end in itertools.pairwise(bounds):
        last = last_values(values[:, :end], mask[:, :end])
        state = module(values[:, begin:end], last, mask[:, begin:end], dt[:, begin:end], state)
    return module.describe(state, last_values(values, mask))


@pytest.mark.parametrize("level", [0.0, 100.0])
@pytest.mark.parametrize("bounds", [[0, L], [0, 1, 2, 30, 31, L], list(range(L + 1))])
def test_blocks_of_any_length_equal_the_definition(bounds, level):
    values, mask, dt = observations(level)
    with torch.no_grad():
        mean, known = run_blocks(RecentMean(D, MEMORIES), values, mask, dt, bounds)
    spread, weight = known.split(len(MEMORIES), dim=-1)
    time = dt.double().cumsum(1)
    for b, d, m in np.ndindex(B, D, len(MEMORIES)):
        seen = mask[b, :, d] > 0
        if not seen.any():
            assert mean[b, d, m] == weight[b, d, m] == 0
            continue
        y, t = values[b, seen, d].double(), time[b, seen]
        w = torch.exp((t - t[-1]) / MEMORIES[m])
        expected = (w * y).sum() / w.sum()
        assert np.isclose(mean[b, d, m], expected, rtol=1e-6, atol=1e-5)
        assert np.isclose(spread[b, d, m], ((w * (y - expected) ** 2).sum() / w.sum() + 1e-6).sqrt(), atol=1e-4)
        assert np.isclose(weight[b, d, m], torch.log1p(w.sum()), atol=1e-5)


def test_gradients_match_finite_differences():
    values, mask, dt = (x[:, 25:33] for x in observations(dtype=torch.float64))
    module = RecentMean(D, MEMORIES).double()
    with torch.no_grad():
        begun = module(values + 1, last_values(values + 1, mask), mask, dt, module.initial_state(B))

    def outcome(log_memory, values):
        arguments = values, last_values(values, mask), mask, dt, begun
        return torch.func.functional_call(module, {"log_memory": log_memory}, arguments)[1:]

    log_memory = module.log_memory.detach().requires_grad_()
    assert torch.autograd.gradcheck(outcome, (log_memory, values.requires_grad_()))
