"""The GPU kernels agree with the loop; without a GPU, they run in Triton's interpreter."""

import os
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from s5forecast.ops import DISCRETIZATIONS, linear_scan, ssm_scan
from s5forecast.ops.gpu import launch
from s5forecast.ops.naive import linear_scan as loop
from s5forecast.ops.naive import multiply

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
READY = DEVICE == "cuda" or os.environ.get("TRITON_INTERPRET") == "1"
B, N = 2, 3
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
on_a_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="too slow in the interpreter")

overflow_is_fine = pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")


@pytest.fixture(autouse=True)
def ready(request):
    if not READY and request.function not in (test_in_the_interpreter, test_auto_and_errors):
        pytest.skip("needs a GPU or the interpreter, see test_in_the_interpreter")
    torch.manual_seed(0)


@pytest.mark.skipif(READY, reason="the tests run in this process")
@pytest.mark.parametrize("selection", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_in_the_interpreter(selection):
    """In another process, because Triton chooses its interpreter at its first import, and other packages import it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", selection, __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Fill new memory with NaN, to detect reads of uninitialized memory."""
    allocate = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: allocate(*a, **k).fill_(float("nan")))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """In the interpreter, tiles of 16 steps and 4 states, or of 32 and 2: there are several, and none is full."""
    if DEVICE == "cpu":
        sizes = {"THREADS": 32, "ROWS": 2, "ROWS_BACKWARD": 2, "SMALLEST_BLOCK": 2, "LARGEST_BLOCK": 4}
        for name, value in sizes.items():
            monkeypatch.setattr(launch, name, value)


@pytest.fixture
def chunked(monkeypatch):
    """As on a GPU so large that time is cut into chunks."""
    monkeypatch.setattr(launch, "PROGRAMS", 1000)


def assert_close(result, expected, tolerance):
    """Compare with a tolerance relative to the largest number of the expected tensor."""
    for u, v in zip(result, expected, strict=True):
        assert u.shape == v.shape
        scale = v.abs().max() if v.numel() else 0.0
        torch.testing.assert_close(u.double().cpu(), v, rtol=0, atol=float(tolerance * scale + 1e-30))


def with_gradients(function, *inputs):
    """The result, and the gradients of a random combination of it with respect to all inputs except None."""
    inputs = [v if v is None else v.clone().requires_grad_() for v in inputs]
    x = function(*inputs)
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    weights[:, -1] += 1  # the last state counts
    (x * weights).sum().backward()
    return [x.detach(), *(v.grad for v in inputs if v is not None)]


def scan_inputs(length, per_step, initial, batch=B, states=N):
    shape = (batch, length) if per_step else ()
    modulus, angle = torch.rand(*shape, states).sqrt(), 6.3 * torch.rand(*shape, states)
    a = torch.stack((modulus * angle.cos(), modulus * angle.sin()), -2).double()
    return a, torch.randn(batch, length, 2, states).double(), state(initial, batch, states)


def ssm_inputs(length, irregular, initial, batch=B, states=N):
    Lambda = torch.stack((-torch.rand(states) - 0.01, 10 * torch.randn(states)))
    dt = (2 * torch.rand(batch, length)).double() if irregular else None
    step, Bu = 0.01 + 0.2 * torch.rand(states), torch.randn(batch, length, 2, states)
    return Lambda.double(), step.double(), dt, Bu.double(), state(initial, batch, states)


def state(initial, batch, states):
    return torch.randn(batch, 2, states).double() if initial else None


def by_definition(Lambda, step, dt, Bu, x0, method, reverse):
    Delta = step if dt is None else step * dt.unsqueeze(-1)
    Lambda_bar, input_scale = DISCRETIZATIONS[method](Lambda, Delta)
    return loop(Lambda_bar, multiply(input_scale, Bu), x0, reverse)


def check_linear(inputs, reverse, dtype=torch.float32):
    expected = with_gradients(partial(loop, reverse=reverse), *inputs)
    scan = partial(linear_scan, reverse=reverse, backend="triton")
    assert_close(with_gradients(scan, *to_device(inputs, dtype)), expected, TOLERANCE[dtype])


def check_ssm(inputs, method, reverse, dtype=torch.float32):
    expected = with_gradients(partial(by_definition, method=method, reverse=reverse), *inputs)
    scan = partial(ssm_scan, method=method, reverse=reverse, backend="triton")
    assert_close(with_gradients(scan, *to_device(inputs, dtype)), expected, TOLERANCE[dtype])


def to_device(inputs, dtype):
    return [v if v is None else v.to(DEVICE, dtype) for v in inputs]


# In the interpreter three or four tiles, of which the last is not full, and more on a GPU.
IN_THE_INTERPRETER = (1, pytest.param(2, marks=pytest.mark.slow), 35, pytest.param(50, marks=pytest.mark.slow))
LENGTHS = (1, 2, 63, 100) if DEVICE == "cuda" else IN_THE_INTERPRETER


def cases(length):
    """All cases on a GPU; in the interpreter, a part of them for each length, which together cover all cases."""
    every = list(product((False, True), repeat=3))
    some = {1: (1, 2, 4, 7), 2: (0, 3, 5, 6), 35: (2, 5), 50: (1, 6)}
    return every if DEVICE == "cuda" else [every[k] for k in some[length]]


@pytest.mark.parametrize("length", LENGTHS)
def test_linear_scan_is_the_loop(length):
    for per_step, initial, reverse in cases(length):
        check_linear(scan_inputs(length, per_step, initial, B if length == 2 else 1), reverse)


@pytest.mark.parametrize("method", DISCRETIZATIONS)
@pytest.mark.parametrize("length", LENGTHS)
def test_ssm_scan_is_its_definition(length, method):
    for irregular, initial, reverse in cases(length):
        check_ssm(ssm_inputs(length, irregular, initial, B if length == 2 else 1), method, reverse)


@pytest.mark.parametrize("reverse", (False, True))
def test_chunks_of_time(reverse, chunked):
    check_linear(scan_inputs(90, reverse, True, batch=1), reverse)
    check_ssm(ssm_inputs(90, not reverse, reverse, batch=1), "bilinear" if reverse else "zoh", reverse)


def test_float64(chunked):
    check_linear(scan_inputs(40, True, True), False, torch.float64)
    check_ssm(ssm_inputs(40, True, True, batch=1), "zoh", True, torch.float64)


@on_a_gpu
@pytest.mark.parametrize("states", (1, 5, 32, 33, 100))
@pytest.mark.parametrize("batch, length", ((1, 20000), (3, 1000), (300, 200)))
def test_larger_sizes(batch, length, states):
    for per_step, reverse in product((False, True), repeat=2):
        check_linear(scan_inputs(length, per_step, reverse, batch, states), reverse)
        for method in DISCRETIZATIONS:
            check_ssm(ssm_inputs(length, per_step, not reverse, batch, states), method, reverse)


def test_the_result_is_the_same_every_time(chunked):
    inputs = to_device(ssm_inputs(50, True, True, batch=1), torch.float32)
    first, second = (with_gradients(partial(ssm_scan, backend="triton"), *inputs) for _ in range(2))
    assert all(torch.equal(u, v) for u, v in zip(first, second, strict=True))


@pytest.mark.parametrize("shape", ((0, 3), (2, 0)))
def test_empty_inputs(shape):
    b, x0, dt = torch.randn(*shape, 2, N), torch.randn(shape[0], 2, N), torch.ones(shape)
    a, step, b, x0, dt = to_device((torch.randn(2, N), torch.ones(N), b, x0, dt), torch.float32)
    for scan, *inputs in ((linear_scan, a, b, x0), (ssm_scan, a, step, None, b, x0), (ssm_scan, a, step, dt, b, x0)):
        inputs = [v if v is None else v.clone().requires_grad_() for v in inputs]
        x = scan(*inputs, backend="triton")
        x.sum().backward()
        assert x.shape == b.shape and not any(v.grad.any() for v in inputs if v is not None)


def test_any_strides():
    inputs = to_device(scan_inputs(9, True, True), torch.float32)
    strided = [v.transpose(0, -1).contiguous().transpose(0, -1) for v in inputs]
    scan = partial(linear_scan, backend="triton")
    for u, v in zip(with_gradients(scan, *strided), with_gradients(scan, *inputs), strict=True):
        assert torch.equal(u, v)


@overflow_is_fine
@pytest.mark.parametrize("dt", (0.0, 1e-30, 1e-6, 1e6, 1e12))
def test_extreme_steps(dt):
    Lambda, step, x0 = torch.tensor([[-0.5, 0.0, -1e-9], [3.0, 0.0, 1e-9]]), torch.ones(N), torch.ones(1, 2, N)
    Bu, dts = torch.ones(1, 20, 2, N), torch.full((1, 20), dt)
    inputs = to_device((Lambda, step, dts, Bu, x0), torch.float32)
    x, *gradients = with_gradients(partial(ssm_scan, backend="triton"), *inputs)
    assert x.isfinite().all() and all(g[..., 0].isfinite().all() for g in gradients)
    if dt <= 1e-6:
        assert_close([x], [by_definition(*(v.double() for v in (Lambda, step, dts, Bu, x0)), "zoh", False)], 1e-6)
    if dt >= 1e6:  # settled at -B u / Lambda
        torch.testing.assert_close(multiply(inputs[0], x)[..., 0], -inputs[3][..., 0], rtol=0, atol=1e-5)


def test_nan_propagates_forward_only(chunked):
    Lambda, step, dt, Bu, _ = to_device(ssm_inputs(40, True, False), torch.float32)
    dt[:, 20] = float("nan")
    x = ssm_scan(Lambda, step, dt, Bu, backend="triton")
    assert x[:, :20].isfinite().all() and x[:, 20:].isnan().all()


@overflow_is_fine
@pytest.mark.parametrize("method", ("zoh", "dirac"))
def test_overflow_only_where_the_exponential_overflows(method):
    for dt in (-100.0, -88.0, 88.0, 88.5, 89.0, 200.0):
        inputs = [
            torch.tensor([[1.0, -1.0], [1.0, 4.0]]), torch.ones(2), torch.tensor([[1.0, dt, 0.5]]),
            torch.ones(1, 3, 2, 2), torch.ones(1, 2, 2),
        ]  # fmt: skip
        inputs = [v.to(DEVICE) for v in inputs]
        expected = by_definition(*inputs, method, False)
        found = ssm_scan(*inputs, method=method, backend="triton")
        finite = expected.isfinite()
        torch.testing.assert_close(found[finite], expected[finite], rtol=1e-4, atol=1e-6)


@overflow_is_fine
def test_a_state_of_zero_stays_zero(chunked):
    """Even if the products of growing factors overflow, as after a long padding."""
    a, b = torch.tensor([[1e4], [0.0]]), torch.zeros(1, 80, 2, 1)
    b[:, -2:] = 1
    a, b = to_device((a, b), torch.float32)
    x = linear_scan(a, b, backend="triton")
    assert not x[:, :-2].any() and x[0, -1, 0, 0] == 10001


def test_auto_and_errors(monkeypatch):
    a, b, _ = to_device(scan_inputs(5, False, False), torch.float32)
    if DEVICE == "cuda":
        assert torch.equal(linear_scan(a, b), linear_scan(a, b, backend="triton"))
        monkeypatch.setattr("s5forecast.ops.backends.HAS_TRITON", False)
        assert torch.equal(linear_scan(a, b), linear_scan(a, b, backend="chunked"))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="'triton' runs on cuda, the tensors are on cpu"):
        linear_scan(a.cpu(), b.cpu(), backend="triton")


@pytest.mark.parametrize("initial", (False, True))
def test_opcheck(initial):
    Lambda, step, dt, Bu, x0 = (
        v if v is None else v.requires_grad_() for v in to_device(ssm_inputs(3, True, initial, 1), torch.float32)
    )
    checks = "test_schema", "test_faketensor"
    arguments = Lambda, Bu, x0, False, "triton"
    torch.library.opcheck(torch.ops.s5forecast.linear_scan.default, arguments, test_utils=checks)
    arguments = Lambda, step, dt, Bu, x0, "zoh", True, "triton"
    torch.library.opcheck(torch.ops.s5forecast.ssm_scan.default, arguments, test_utils=checks)


@overflow_is_fine
def test_growing_states_end_finite():
    """Steps beyond the end of a short sequence do not affect the gradients."""
    a = torch.full((2, N), 1e4, device=DEVICE).requires_grad_()
    b = torch.ones(1, 5, 2, N, device=DEVICE)
    (found,) = torch.autograd.grad(linear_scan(a, b, backend="triton")[:, :3].sum(), a)
    (expected,) = torch.autograd.grad(linear_scan(a, b, backend="naive")[:, :3].sum(), a)
    assert torch.allclose(found, expected, rtol=1e-4)
