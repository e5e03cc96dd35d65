"""The fused scan of Liquid-S4 equals the composition of factors and a scan, in value and in every gradient."""

from itertools import product

import pytest
import torch

from s5forecast.ops import linear_scan, liquid, liquid_scan
from s5forecast.ops.cpu import pool

H = 5


def composition(A, B, C, limit, u, x0):
    Bu = B * u.repeat(1, 1, A.shape[1] // H).unsqueeze(-2)
    factor = A + Bu
    factor = factor * torch.sqrt((limit / factor.square().sum(-2)).clamp(max=1)).unsqueeze(-2)
    x = linear_scan(factor, Bu, x0, backend="chunked")
    return (C * x).sum(-2).unflatten(-1, (-1, H)).sum(-2), x[:, -1]


def inputs(batch, length, initial=True, dtype=torch.float64):
    torch.manual_seed(0)
    N = 3 * H
    given = [
        0.6 * torch.randn(2, N), 0.3 * torch.randn(2, N), torch.randn(2, N), 0.5 + 0.4 * torch.rand(N),
        torch.randn(batch, length, H), torch.randn(batch, 2, N) if initial else None,
    ]  # fmt: skip
    return [v if v is None else v.to(dtype).requires_grad_() for v in given]


def with_gradients(function, given):
    y, last = function(*given)
    torch.manual_seed(1)
    loss = (y * torch.randn_like(y)).sum() + (last * torch.randn_like(last)).sum()
    return [y.detach(), last.detach(), *torch.autograd.grad(loss, [v for v in given if v is not None])]


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("shape", ((3, 70), (1, 1), (1, 130), (4, 128)), ids=str)
def test_fused_is_the_composition(shape, dtype, monkeypatch):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    for threads, initial in product((1, 2, 9), (False, True)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        given = inputs(*shape, initial, dtype)
        expected, found = (with_gradients(function, given) for function in (composition, liquid_scan))
        for u, v in zip(found, expected, strict=True):
            assert u.dtype == v.dtype
            tolerance = 1e-12 if dtype == torch.float64 else 1e-5
            torch.testing.assert_close(u, v, rtol=0, atol=float(tolerance * v.abs().max()))
        with torch.no_grad():
            y, last = liquid_scan(*given)
        assert torch.equal(y, found[0]) and torch.equal(last, found[1])


def test_without_a_limit_the_factors_are_exact():
    given = inputs(2, 20)
    given[3] = torch.full_like(given[3], torch.finfo(torch.float64).max).requires_grad_()
    *found, dlimit, du, dx0 = with_gradients(liquid_scan, given)
    assert not dlimit.any() and du.any() and dx0.any()
    assert all(torch.isfinite(v).all() for v in found)


def test_empty_inputs():
    for shape in ((0, 3), (2, 0)):
        found = with_gradients(liquid_scan, inputs(*shape))
        assert found[0].shape == (*shape, H) and not any(v.any() for v in found[2:6])


def test_arguments_are_checked():
    A, B, C, limit, u, x0 = inputs(2, 4)
    for arguments, message in (
        ((A, B, C, limit, u[..., :4]), "where H divides 15"),
        ((A[:, :3], B, C, limit, u), "'A' has shape"),
        ((A, B, C, limit, u, x0[:1]), "'initial_state' has shape"),
        ((A, B, C, limit, u.float()), "all float32 or all float64"),
    ):
        with pytest.raises(ValueError, match=message):
            liquid_scan(*arguments)


def test_opcheck():
    for initial, keep in product((False, True), repeat=2):
        torch.library.opcheck(liquid.liquid_scan, (*inputs(2, 9, initial), keep))
