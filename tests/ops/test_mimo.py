"""The fused system of a layer equals the composition of products and a scan, in value and in every gradient."""

from functools import partial
from itertools import product

import pytest
import torch

from s5forecast.ops import autograd, fuses, mimo_scan, ssm_scan
from s5forecast.ops.cpu import mimo, pool


def composition(Lambda, step, dt, B, C, D, u, x0, *, method, reverse):
    Bu = (u @ B.t()).unflatten(-1, (2, -1))
    x = ssm_scan(Lambda, step, dt, Bu, x0, method=method, reverse=reverse, backend="chunked")
    return x.flatten(-2) @ C.t() + D * u, x[:, 0 if reverse else -1]


def inputs(batch, length, N, H, irregular, initial=True, dtype=torch.float64):
    torch.manual_seed(0)
    given = [
        torch.stack((-torch.rand(N) - 0.01, 5 * torch.randn(N))), 0.01 + torch.rand(N) / 5,
        2 * torch.rand(batch, length) if irregular else None, torch.randn(2 * N, H), torch.randn(H, 2 * N),
        torch.randn(H), torch.randn(batch, length, H), torch.randn(batch, 2, N) if initial else None,
    ]  # fmt: skip
    return [v if v is None else v.to(dtype).requires_grad_() for v in given]


def with_gradients(function, given):
    y, last = function(*given)
    torch.manual_seed(1)
    loss = (y * torch.randn_like(y)).sum() + (last * torch.randn_like(last)).sum()
    return [y.detach(), last.detach(), *torch.autograd.grad(loss, [v for v in given if v is not None])]


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("shape", ((3, 70, 5, 7), (2, 33, 8, 64), (1, 1, 3, 1), (1, 130, 4, 130)), ids=str)
@pytest.mark.parametrize("method", ("zoh", "bilinear", "dirac"))
def test_fused_is_the_composition(shape, method, dtype, monkeypatch):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(mimo, "TILE", 48)
    for threads, irregular, reverse in product((1, 3), (False, True), (False, True)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        given = inputs(*shape, irregular, initial=reverse, dtype=dtype)
        expected = with_gradients(partial(composition, method=method, reverse=reverse), given)
        found = with_gradients(partial(mimo_scan, method=method, reverse=reverse), given)
        for u, v in zip(found, expected, strict=True):
            assert u.dtype == v.dtype
            tolerance = 1e-10 if dtype == torch.float64 else 3e-5
            torch.testing.assert_close(u, v, rtol=0, atol=float(tolerance * v.abs().max() + 1e-30))
        with torch.no_grad():
            y, last = mimo_scan(*given, method=method, reverse=reverse)
        assert torch.equal(y, found[0]) and torch.equal(last, found[1])


def test_empty_inputs():
    for shape in ((0, 3), (2, 0)):
        found = with_gradients(mimo_scan, inputs(*shape, 3, 4, True))
        assert found[0].shape == (*shape, 4) and not any(v.any() for v in found[3:8])


def test_opcheck():
    for irregular, initial in product((False, True), repeat=2):
        torch.library.opcheck(autograd.mimo_scan, (*inputs(2, 9, 3, 4, irregular, initial), "zoh", False, True))
        torch.library.opcheck(autograd.mimo_scan, (*inputs(2, 9, 3, 4, irregular, initial), "zoh", True, False))


@pytest.mark.parametrize("gradients", (True, False))
def test_export(gradients):
    class Model(torch.nn.Module):
        def forward(self, poles, step, dt, B, C, D, u, x0):  # export turns names into lower case: not "Lambda"
            return mimo_scan(poles, step, dt, B, C, D, u, x0)

    given = inputs(3, 9, 3, 4, True, dtype=torch.float32)
    with torch.set_grad_enabled(gradients):
        program = torch.export.export(Model(), tuple(given)).module()
    for u, v in zip(with_gradients(program, given), with_gradients(mimo_scan, given), strict=True):
        torch.testing.assert_close(u, v)


def test_vmap():
    given = inputs(2, 9, 3, 4, True)
    many = [torch.stack([v.detach(), v.detach() / 2]) for v in given]
    many[5] = many[5][0]

    mapped = torch.func.vmap(mimo_scan, (0, 0, 0, 0, 0, None, 0, 0))(*many)
    for k in range(2):
        one = mimo_scan(*(v if i == 5 else v[k] for i, v in enumerate(many)))
        for u, v in zip(mapped, one, strict=True):
            torch.testing.assert_close(u[k], v)


def test_compiles_in_one_piece():
    given = inputs(2, 9, 3, 4, True, dtype=torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(mimo_scan, fullgraph=True, backend="aot_eager")
    for u, v in zip(with_gradients(compiled, given), with_gradients(mimo_scan, given), strict=True):
        torch.testing.assert_close(u, v)


def test_second_derivatives_are_refused():
    given = inputs(2, 9, 3, 4, False)
    (gradient,) = torch.autograd.grad(mimo_scan(*given)[0].square().sum(), given[6], create_graph=True)
    with pytest.raises(RuntimeError, match="mimo_scan_backward"):
        gradient.sum().backward()


@pytest.mark.parametrize("k", range(8))
def test_no_argument_of_another_shape_reaches_the_kernels(k):
    names = ("Lambda|step|B", "Lambda|step|B", "dt", "B|step", "C|step", "D|u", "u|dt", "initial_state")
    given = inputs(2, 9, 3, 4, True)
    for wrong in (given[k][..., :-1], given[k][:0]):
        with pytest.raises(ValueError, match=f"'({names[k]})' has shape"):
            mimo_scan(*[wrong if i == k else v for i, v in enumerate(given)])


def test_errors_name_the_method_and_the_types():
    given = inputs(2, 9, 3, 4, True)
    with pytest.raises(ValueError, match="'method' is 'euler', expected one of zoh"):
        mimo_scan(*given, method="euler")
    with pytest.raises(ValueError, match="all float32 or all float64"):
        mimo_scan(*given[:-2], given[6].half(), given[7])


def test_forward_mode_is_refused():
    given = inputs(2, 9, 3, 4, True)
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.jvp(lambda u: mimo_scan(*given[:6], u, given[7])[0], (given[6],), (given[6],))


def test_fuses():
    u = torch.ones(2)
    assert fuses("auto", u, None) and fuses("cpu", u.double())
    assert not (
        fuses("chunked", u) or fuses("auto", u, u.double()) or fuses("cpu", u.half()) or fuses("auto", u.to("meta"))
    )
    with torch.autocast("cpu"):
        assert not fuses("auto", u)


def test_gradients_of_states_that_were_not_kept():
    """As in a graph that is traced with gradients disabled and used with gradients enabled."""
    given = inputs(2, 9, 3, 4, True)
    results = [
        with_gradients(lambda *a, keep=keep: autograd.mimo_scan(*a, "zoh", False, keep)[:2], given)
        for keep in (False, True)
    ]
    for u, v in zip(*results, strict=True):
        assert torch.equal(u, v)
