"""The moving averages of Mega equal their recurrence, in value and in every gradient."""

import pytest
import torch

from s5forecast.ops import averages, moving_averages
from s5forecast.ops.cpu import pool

H, N = 5, 15


def recurrence(q, p, eta, omega, x, state):
    y = []
    for x_t in x.unbind(1):
        state = q * state + p * x_t.repeat(1, N // H)
        y.append((eta * state).unflatten(-1, (-1, H)).sum(-2) + omega * x_t)
    return torch.stack(y, 1), state


def inputs(batch, length, dtype=torch.float64):
    torch.manual_seed(0)
    shapes = (N,), (N,), (N,), (H,), (batch, length, H), (batch, N)
    given = [torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes]
    given[0] = torch.sigmoid(given[0])
    return [v.requires_grad_() for v in given]


def with_gradients(function, given):
    y, last = function(*given)
    torch.manual_seed(1)
    loss = (y * torch.randn_like(y)).sum() + (last * torch.randn_like(last)).sum()
    return [y.detach(), last.detach(), *torch.autograd.grad(loss, given)]


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("shape", ((3, 70), (1, 1), (1, 130), (4, 128)), ids=str)
def test_fused_is_the_recurrence(shape, dtype, monkeypatch):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    given = inputs(*shape, dtype)
    expected = with_gradients(recurrence, given)
    for threads in (1, 2, 9):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found = with_gradients(moving_averages, given)
        for u, v in zip(found, expected, strict=True):
            assert u.dtype == v.dtype
            tolerance = 1e-12 if dtype == torch.float64 else 1e-5
            torch.testing.assert_close(u, v, rtol=0, atol=float(tolerance * v.abs().max()))
        with torch.no_grad():
            y, last = moving_averages(*given)
        assert torch.equal(y, found[0]) and torch.equal(last, found[1])


def test_empty_inputs():
    for shape in ((0, 3), (2, 0)):
        found = with_gradients(moving_averages, inputs(*shape))
        assert found[0].shape == (*shape, H) and not any(v.any() for v in found[2:6])


def test_arguments_are_checked():
    q, p, eta, omega, x, state = inputs(2, 4)
    for arguments, message in (
        ((q, p, eta, omega, x[..., :4], state), "'x' has shape"),
        ((q[:9], p, eta, omega, x, state), "where 5 divides 9"),
        ((q, p[:5], eta, omega, x, state), "'p' has shape"),
        ((q, p, eta, omega, x, state[:1]), "'state' has shape"),
        ((q, p, eta, omega, x.float(), state), "all float32 or all float64"),
    ):
        with pytest.raises(ValueError, match=message):
            moving_averages(*arguments)


def test_opcheck():
    for keep in (False, True):
        torch.library.opcheck(averages.moving_averages, (*inputs(2, 9), keep))
