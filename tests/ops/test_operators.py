"""The operators as PyTorch and the operating system see them: tracing, errors, threads, forks."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from s5forecast.ops import BACKENDS, DISCRETIZATIONS, linear_scan, ssm_scan
from s5forecast.ops.cpu import pool

B, T, N = 3, 20, 4


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    Lambda = torch.stack((-torch.rand(N), torch.randn(N)))
    return [Lambda, torch.rand(N), torch.rand(B, T), torch.randn(B, T, 2, N), torch.randn(B, 2, N)]


class Model(torch.nn.Module):
    """Both operators in sequence and in both directions, with slices of their states."""

    def __init__(self, backend):
        super().__init__()
        self.backend = backend

    def forward(self, poles, step, dt, Bu, x0):  # export turns names into lower case: not "Lambda"
        x = ssm_scan(poles, step, dt, Bu, x0, backend=self.backend)
        y = linear_scan(poles, x, x[:, -1], reverse=True, backend=self.backend)
        return x, y[:, 0]


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_opcheck(backend, inputs):
    Lambda, step, dt, Bu, x0 = (v.requires_grad_() for v in inputs)
    for state in (None, x0):
        for a in (Lambda, torch.randn_like(Bu).requires_grad_()):
            torch.library.opcheck(torch.ops.s5forecast.linear_scan.default, (a, Bu, state, False, backend))
        for method in BACKENDS[backend].methods:
            for steps in (None, dt):
                arguments = (Lambda, step, steps, Bu, state, method, True, backend)
                torch.library.opcheck(torch.ops.s5forecast.ssm_scan.default, arguments)


@pytest.mark.parametrize("backend", ("auto", "chunked"))
def test_compile_without_graph_breaks(backend, inputs):
    inputs = [v.requires_grad_() for v in inputs]
    model = Model(backend)
    expected = model(*inputs)
    torch._dynamo.reset()
    result = torch.compile(model, fullgraph=True, backend="aot_eager")(*inputs)
    for u, v in zip(result, expected, strict=True):
        torch.testing.assert_close(u, v)
    gradients = [torch.autograd.grad(sum(v.sum() for v in x), inputs) for x in (result, expected)]
    for u, v in zip(*gradients, strict=True):
        torch.testing.assert_close(u, v, rtol=1e-4, atol=1e-4)


def test_implementations_are_not_compiled(inputs):
    """As in a part of a compiled program that falls back to eager execution."""
    from torch._dynamo import utils

    @torch._dynamo.disable(recursive=False)
    def eager(a, b):
        return torch.ops.s5forecast.linear_scan(a, b, None, False, "cpu")

    Lambda, _, _, Bu, _ = inputs
    torch._dynamo.reset()
    utils.counters.clear()
    result = torch.compile(lambda a, b: eager(a, b) * 2, backend="eager")(Lambda, Bu)
    assert torch.equal(result, 2 * linear_scan(Lambda, Bu, backend="cpu"))
    assert utils.counters["stats"]["calls_captured"] == 1


@pytest.mark.parametrize("backend", ("auto", "chunked"))
def test_export(backend, inputs):
    program = torch.export.export(Model(backend), tuple(inputs))
    for u, v in zip(program.module()(*inputs), Model(backend)(*inputs), strict=True):
        torch.testing.assert_close(u, v)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "triton"])
def test_vmap(backend, inputs):
    Lambda, step, dt, Bu, x0 = inputs

    def scans(Lambda, dt, Bu, x0):
        x = ssm_scan(Lambda, step, dt, Bu, x0, backend=backend)
        return linear_scan(0.1 * Lambda, x, reverse=True, backend=backend)

    many = torch.stack((Lambda, Lambda / 2)), torch.stack((Bu, 2 * Bu))
    mapped = torch.func.vmap(scans, (0, None, 0, None))(many[0], dt, many[1], x0)
    for k in range(2):
        torch.testing.assert_close(mapped[k], scans(many[0][k], dt, many[1][k], x0))


@pytest.mark.parametrize("scan", ["linear_scan", "ssm_scan"])
def test_second_derivatives(scan, inputs):
    """The chunked backend has them; the kernels raise an error instead of dropping them."""
    Lambda, step, dt, Bu, x0 = (v.double() for v in inputs)
    dt, Bu, x0 = dt[:1, :3], Bu[:1, :3].requires_grad_(), x0[:1]

    def gradient(Bu, backend):
        if scan == "linear_scan":
            x = linear_scan(0.1 * Lambda, Bu, x0, backend=backend)
        else:
            x = ssm_scan(Lambda, step, dt, Bu, x0, backend=backend)
        return torch.autograd.grad(x.square().sum(), Bu, create_graph=True)[0]

    assert torch.autograd.gradcheck(lambda Bu: gradient(Bu, "chunked"), Bu)
    with pytest.raises(RuntimeError, match=f"{scan}_backward has no derivatives; use backend='chunked'"):
        gradient(Bu, "cpu").sum().backward()


def test_auto_is_the_kernels_on_the_cpu(inputs):
    assert torch.equal(ssm_scan(*inputs), ssm_scan(*inputs, backend="cpu"))


def test_auto_without_numba(inputs, monkeypatch):
    monkeypatch.setattr("s5forecast.ops.backends.HAS_NUMBA", False)
    assert torch.equal(ssm_scan(*inputs), ssm_scan(*inputs, backend="chunked"))


def test_autocast_leaves_the_state_in_float32(inputs):
    Lambda, step, dt, Bu, x0 = inputs
    with torch.autocast("cpu", torch.bfloat16):
        half = Bu @ torch.eye(N)
        assert half.dtype == torch.bfloat16
        assert ssm_scan(Lambda, step, dt, half, x0).dtype == torch.float32


@pytest.mark.parametrize("backend", ["auto", *BACKENDS])
def test_errors_name_the_argument_and_the_shapes(backend, inputs):
    Lambda, step, dt, Bu, x0 = inputs
    for wrong, message in (
        ((Lambda, Bu[0]), r"'b' has shape \[20, 2, 4\], expected \[B, T, 2, N\]"),
        ((Lambda[:, :3], Bu), r"'a' has shape \[2, 3\], expected \[2, 4\] or \[3, 20, 2, 4\]"),
        ((Lambda, Bu, x0[:2]), r"'initial_state' has shape \[2, 2, 4\], expected \[3, 2, 4\]"),
    ):
        with pytest.raises(ValueError, match=message):
            linear_scan(*wrong, backend=backend)
    for wrong, message in (
        ((Lambda[:1], step, dt, Bu), r"'Lambda' has shape \[1, 4\], expected \[2, 4\]"),
        ((Lambda, step[:1], dt, Bu), r"'step' has shape \[1\], expected \[4\]"),
        ((Lambda, step, dt[:, 1:], Bu), r"'dt' has shape \[3, 19\], expected \[3, 20\]"),
        ((Lambda, step, dt, Bu[:, :, 0]), r"'Bu' has shape \[3, 20, 4\], expected \[B, T, 2, N\]"),
    ):
        with pytest.raises(ValueError, match=message):
            ssm_scan(*wrong, backend=backend)


def test_errors_list_the_names(inputs):
    with pytest.raises(ValueError, match=", ".join(BACKENDS)):
        ssm_scan(*inputs, backend="gpu")
    with pytest.raises(ValueError, match=", ".join(DISCRETIZATIONS)):
        ssm_scan(*inputs, method="euler")


def test_error_on_another_device(inputs):
    inputs = [v.to("meta") for v in inputs]
    with pytest.raises(ValueError, match="'cpu' runs on cpu, the tensors are on meta"):
        ssm_scan(*inputs, backend="cpu")
    assert ssm_scan(*inputs).device.type == "meta"


@pytest.fixture
def many_parts(monkeypatch):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(threads)


def test_number_of_threads_changes(inputs, many_parts):
    results = []
    for threads in (3, 1, 4, 2):
        torch.set_num_threads(threads)
        results.append(ssm_scan(*inputs))
    assert all(torch.equal(x, results[0]) for x in results)


def test_calls_from_several_threads(inputs, many_parts):
    expected = ssm_scan(*inputs)
    with ThreadPoolExecutor(4) as executor:
        for future in [executor.submit(ssm_scan, *inputs) for _ in range(50)]:
            assert torch.equal(future.result(), expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork(inputs, many_parts):
    expected = ssm_scan(*inputs)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(ssm_scan(*inputs), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(ssm_scan(*inputs), expected)


def shifted(x):
    return x + 1


def test_no_writable_cache(monkeypatch):
    from s5forecast.ops.cpu import rows

    njit = rows.numba.njit

    def refuse(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function 'f': no locator available")
        return njit(**options)

    monkeypatch.setattr(rows.numba, "njit", refuse)
    assert rows.kernel(lambda x: x + 1)(1) == 2


def test_a_cache_that_becomes_unwritable(monkeypatch):
    from s5forecast.ops.cpu import rows

    def full(*arguments):
        raise OSError("no space left on device")

    compiled = rows.numba.njit(cache=True, **rows.OPTIONS)(shifted)
    monkeypatch.setattr(type(compiled._cache), "save_overload", full)
    assert rows.kernel(shifted)(1) == 2


@pytest.mark.parametrize("scan", ["linear_scan", "ssm_scan"])
def test_forward_mode_is_refused(scan):
    b = torch.ones(1, 3, 2, 2)
    scans = {
        "linear_scan": lambda b: linear_scan(torch.ones(2, 2), b),
        "ssm_scan": lambda b: ssm_scan(-torch.ones(2, 2), torch.ones(2), None, b),
    }
    with pytest.raises(NotImplementedError, match="forward-mode"):
        torch.func.jvp(scans[scan], (b,), (b,))


def test_the_cache_notices_changes_in_any_file_of_the_kernels(tmp_path, monkeypatch):
    """Numba itself only checks the file of a kernel, not those of the functions it calls."""
    from s5forecast.nn import stepper_cpu
    from s5forecast.ops.cpu import mimo, rows

    for module, kernel in (
        (mimo, mimo.mimo_forward),
        (mimo, mimo.mimo_backward),
        (stepper_cpu, stepper_cpu.step_tiles),
    ):
        stamp = rows.source_stamp(Path(module.__file__))
        assert kernel._cache._cache_file._source_stamp == stamp
        names = {name for name, _, _ in stamp}
        assert {"kernels.py", "products.py", "discretization.py", "mimo.py", "rows.py"} <= names
        assert Path(module.__file__).name in names
    for name in ("rows.py", "products.py"):
        (tmp_path / name).write_text("x = 1")
    monkeypatch.setattr(rows, "__file__", str(tmp_path / "rows.py"))
    before = rows.source_stamp(Path(__file__))
    assert rows.source_stamp(Path(__file__)) == before
    (tmp_path / "products.py").write_text("x = 12")
    assert rows.source_stamp(Path(__file__)) != before


def test_calling_an_operator_does_not_import_dynamo():
    program = (
        "import sys, torch, s5forecast.ops as ops; a = torch.ones(2, 1, requires_grad=True)\n"
        "ops.linear_scan(a, torch.ones(1, 3, 2, 1)).sum().backward(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "numba" in done.stdout.split() and "torch._dynamo" not in done.stdout.split()
