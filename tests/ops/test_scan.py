"""All backends agree with the loop, in value and in every gradient."""

from functools import partial
from itertools import product

import pytest
import torch

from s5forecast.ops import BACKENDS, DISCRETIZATIONS, linear_scan, ssm_scan
from s5forecast.ops.cpu import pool
from s5forecast.ops.naive import linear_scan as loop
from s5forecast.ops.naive import multiply

B, N = 2, 5
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
LENGTHS = (1, 2, 63, 100, 1000)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture
def poison(monkeypatch):
    """Fill new memory with NaN, to detect reads of uninitialized memory."""
    for name in ("empty", "empty_like"):
        allocate = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, _f=allocate, **k: _f(*a, **k).fill_(float("nan")))


def assert_close(result, expected, tolerance):
    """Compare with a tolerance relative to the largest number of the expected tensor."""
    for u, v in zip(result, expected, strict=True):
        assert u.shape == v.shape and u.dtype == v.dtype
        scale = v.abs().max() if v.numel() else 0.0
        torch.testing.assert_close(u, v, rtol=0, atol=float(tolerance * scale + 1e-30))


def with_gradients(function, *inputs):
    """The result, and the gradients of a random combination of it with respect to all inputs except None."""
    inputs = [v if v is None else v.clone().requires_grad_() for v in inputs]
    x = function(*inputs)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x.dtype)
    weights[:, -1] += 1  # the last state counts
    (x * weights).sum().backward()
    return [x.detach(), *(v.grad for v in inputs if v is not None)]


def scan_inputs(length, per_step, initial, dtype=torch.float64, batch=B):
    shape = (batch, length) if per_step else ()
    modulus, angle = torch.rand(*shape, N).sqrt(), 6.3 * torch.rand(*shape, N)
    a = torch.stack((modulus * angle.cos(), modulus * angle.sin()), -2)
    return [v if v is None else v.to(dtype) for v in (a, torch.randn(batch, length, 2, N), state(initial, batch))]


def state(initial, batch):
    return torch.randn(batch, 2, N) if initial else None


def ssm_inputs(length, irregular, initial, dtype=torch.float64, batch=B):
    Lambda = torch.stack((-torch.rand(N) - 0.01, 10 * torch.randn(N)))
    dt = 2 * torch.rand(batch, length) if irregular else None
    inputs = Lambda, 0.01 + 0.2 * torch.rand(N), dt, torch.randn(batch, length, 2, N), state(initial, batch)
    return [v if v is None else v.to(dtype) for v in inputs]


def ssm_by_definition(Lambda, step, dt, Bu, x0, method, reverse):
    Delta = step if dt is None else step * dt.unsqueeze(-1)
    Lambda_bar, input_scale = DISCRETIZATIONS[method](Lambda, Delta)
    return loop(Lambda_bar, multiply(input_scale, Bu), x0, reverse)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_linear_scan_is_the_loop(backend, length, dtype, poison):
    for per_step, initial, reverse in product((False, True), repeat=3):
        inputs = scan_inputs(length, per_step, initial)
        expected = with_gradients(partial(loop, reverse=reverse), *inputs)
        scan = partial(linear_scan, reverse=reverse, backend=backend)
        result = with_gradients(scan, *(v if v is None else v.to(dtype) for v in inputs))
        assert_close(result, [v.to(dtype) for v in expected], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("method", DISCRETIZATIONS)
@pytest.mark.parametrize("length", (1, 2, 63, 100))
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_ssm_scan_is_its_definition(backend, length, method, dtype, poison):
    for irregular, initial, reverse in product((False, True), repeat=3):
        inputs = ssm_inputs(length, irregular, initial)
        expected = with_gradients(partial(ssm_by_definition, method=method, reverse=reverse), *inputs)
        scan = partial(ssm_scan, method=method, reverse=reverse, backend=backend)
        result = with_gradients(scan, *(v if v is None else v.to(dtype) for v in inputs))
        assert_close(result, [v.to(dtype) for v in expected], TOLERANCE[dtype])


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_gradcheck(backend):
    for per_step, reverse in product((False, True), repeat=2):
        inputs = [v.requires_grad_() for v in scan_inputs(3, per_step, True)]
        assert torch.autograd.gradcheck(partial(linear_scan, reverse=reverse, backend=backend), inputs)
        for method in DISCRETIZATIONS:
            inputs = [v if v is None else v.requires_grad_() for v in ssm_inputs(3, per_step, True)]
            scan = partial(ssm_scan, method=method, reverse=reverse, backend=backend)
            assert torch.autograd.gradcheck(scan, inputs)


@pytest.mark.parametrize("threads", (1, 2, 5))
@pytest.mark.parametrize("batch", (1, 2, 7))
def test_threads_over_batch_and_time(batch, threads, monkeypatch, poison):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    for per_step, reverse in product((False, True), repeat=2):
        a, b, x0 = scan_inputs(400, per_step, True, batch=batch)
        expected = with_gradients(partial(loop, reverse=reverse), a, b, x0)
        result = with_gradients(partial(linear_scan, reverse=reverse, backend="cpu"), a, b, x0)
        assert_close(result, expected, 1e-10)
        inputs = ssm_inputs(400, per_step, True, batch=batch)
        expected = with_gradients(partial(ssm_by_definition, method="zoh", reverse=reverse), *inputs)
        assert_close(with_gradients(partial(ssm_scan, reverse=reverse, backend="cpu"), *inputs), expected, 1e-10)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
@pytest.mark.parametrize("shape", ((0, 3), (2, 0)))
def test_empty_inputs(backend, shape):
    b, x0, dt = torch.randn(*shape, 2, N), torch.randn(shape[0], 2, N), torch.ones(shape)
    Lambda, step = torch.randn(2, N), torch.ones(N)
    x, *gradients = with_empty(linear_scan, Lambda, b, x0, backend=backend)
    assert x.shape == b.shape and not any(g.any() for g in gradients)
    for v in (None, dt):
        x, *gradients = with_empty(ssm_scan, Lambda, step, v, b, x0, backend=backend)
        assert x.shape == b.shape and not any(g.any() for g in gradients)


def with_empty(function, *inputs, **options):
    inputs = [v if v is None else v.clone().requires_grad_() for v in inputs]
    x = function(*inputs, **options)
    x.sum().backward()
    return [x, *(v.grad for v in inputs if v is not None)]


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_any_strides(backend):
    a, b, x0 = scan_inputs(9, True, True)
    strided = [v.transpose(0, -1).contiguous().transpose(0, -1) for v in (a, b, x0)]
    assert not any(v.is_contiguous() for v in strided)
    scan = partial(linear_scan, backend=backend)
    assert_close(with_gradients(scan, *strided), with_gradients(scan, a, b, x0), 1e-12)
    expanded = b[:1, :1].expand(B, 9, 2, N)
    assert_close([scan(a, expanded)], [scan(a, expanded.contiguous())], 0)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_gradients_to_some_inputs_only(backend):
    inputs = ssm_inputs(7, True, True)
    full = with_gradients(partial(ssm_scan, backend=backend), *inputs)
    for k in range(5):
        some = [v.clone().requires_grad_(i == k) for i, v in enumerate(inputs)]
        x = ssm_scan(*some, backend=backend)
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x.dtype)
        weights[:, -1] += 1
        assert_close(torch.autograd.grad((x * weights).sum(), some[k]), [full[k + 1]], 1e-10)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_extreme_factors(backend):
    b, Lambda = torch.ones(1, 300, 2, 1), torch.tensor([[-0.5], [3.0]])
    assert torch.equal(linear_scan(torch.zeros(2, 1), b, backend=backend), b)
    still = linear_scan(torch.tensor([[1.0], [0.0]]), b, backend=backend)
    assert torch.equal(still[0, :, 0, 0], torch.arange(1.0, 301))
    for dt in (0.0, 1e-30, 1e-6, 1e6, 1e12):
        dts, x0 = torch.full((1, 300), dt, requires_grad=True), torch.ones(1, 2, 1)
        x = ssm_scan(Lambda, torch.ones(1), dts, b, x0, backend=backend)
        (gradient,) = torch.autograd.grad(x.sum(), dts)
        assert gradient.isfinite().all()
        if dt <= 1e-6:
            assert torch.allclose(x, x0.unsqueeze(1).expand_as(x), atol=1e-2)
        if dt >= 1e6:  # settled at -B u / Lambda
            assert torch.allclose(multiply(Lambda, x), -b, atol=1e-5)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_nan_propagates(backend):
    Lambda, step, dt, Bu, _ = ssm_inputs(8, True, False, torch.float32)
    dt[:, 3] = float("nan")
    x = ssm_scan(Lambda, step, dt, Bu, backend=backend)
    assert x[:, :3].isfinite().all() and x[:, 3:].isnan().all()


@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_half_precision_is_computed_in_float32(dtype):
    a, b, x0 = (v.to(dtype) for v in scan_inputs(50, False, True))
    x = linear_scan(a, b, x0)
    assert x.dtype == dtype
    assert torch.equal(x, linear_scan(a.float(), b.float(), x0.float()).to(dtype))
    assert linear_scan(a.float(), b, x0).dtype == torch.float32


def test_long_float32_sums_are_accurate():
    Lambda, step, dt, _, _ = ssm_inputs(1, True, False)
    length = 2**18
    dt, Bu = torch.rand(1, length).double(), torch.randn(1, length, 2, N).double()
    expected = with_gradients(ssm_scan, Lambda, step, dt, Bu)
    result = with_gradients(ssm_scan, *(v.float() for v in (Lambda, step, dt, Bu)))
    assert_close([v.double() for v in result], expected, 2e-5)


@pytest.mark.parametrize("method", DISCRETIZATIONS)
def test_overflow_only_where_the_exponential_overflows(method):
    """From the smallest number to infinity; values and gradients that are finite in the loop are finite here."""
    for dt in (-200.0, -104.0, -100.0, -88.0, -86.0, 80.0, 88.0, 88.5, 88.7, 89.0, 100.0, 200.0):
        inputs = [
            torch.tensor([[1.0, 1.0, -1.0], [1.0, 1e-3, 4.0]]), torch.ones(3), torch.tensor([[1.0, dt, 0.5]]),
            torch.ones(1, 3, 2, 3), torch.ones(1, 2, 3),
        ]  # fmt: skip
        expected = with_gradients(partial(ssm_by_definition, method=method, reverse=False), *inputs)
        found = with_gradients(partial(ssm_scan, method=method, backend="cpu"), *inputs)
        finite = expected[0].isfinite()
        torch.testing.assert_close(found[0][finite], expected[0][finite], rtol=1e-4, atol=1e-6)
        for u, v in zip(found[1:], expected[1:], strict=True):
            assert u[v.isfinite()].isfinite().all(), (dt, u, v)
