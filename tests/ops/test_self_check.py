"""GPU kernels that do not compile or compute something else are not used, and one warning says why."""

from types import SimpleNamespace

import pytest
import torch

from s5forecast.ops import backends, cpu, linear_scan
from s5forecast.ops.self_check import find_fault

CPU = torch.device("cpu")
SCANS = ("linear_scan", "linear_scan_backward", "ssm_scan", "ssm_scan_backward")


def kernels(**replaced):
    """The CPU kernels in the place of GPU kernels, with some of them replaced."""
    return SimpleNamespace(**{name: getattr(cpu, name) for name in SCANS} | replaced)


def wrong(name):
    """A kernel whose first result is off by 1 % in its last element."""

    def kernel(*arguments):
        result = getattr(cpu, name)(*arguments)
        first = (result if isinstance(result, torch.Tensor) else result[0]).clone()
        first.view(-1)[-1] += 0.01 * first.abs().max()
        return first if isinstance(result, torch.Tensor) else (first, *result[1:])

    return kernel


def fails(*arguments):
    raise RuntimeError("PassManager::run failed\nat line 12")


@pytest.fixture
def interpreted(monkeypatch):
    """Install kernels as the triton backend on the CPU, unchecked."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    backends._works.cache_clear()
    yield lambda found: monkeypatch.setattr(backends, "load", lambda backend: found)
    backends._works.cache_clear()


def test_right_kernels_pass():
    assert find_fault(kernels(), CPU) is None


@pytest.mark.parametrize("name", SCANS)
def test_a_wrong_result_is_found(name):
    scan = name.removesuffix("_backward")
    what = "gradients" if name.endswith("backward") else "states"
    assert f"the {what} of {scan} differ by 1.0e-02" in find_fault(kernels(**{name: wrong(name)}), CPU)


def test_nan_is_a_wrong_result():
    broken = kernels(ssm_scan=lambda *arguments: torch.full_like(arguments[3], torch.nan))
    assert "the states of ssm_scan differ by nan" in find_fault(broken, CPU)


@pytest.mark.parametrize(
    "name, replacement, reason",
    [
        ("ssm_scan_backward", wrong("ssm_scan_backward"), "the gradients of ssm_scan differ by 1.0e-02"),
        ("linear_scan", fails, "they fail with RuntimeError: PassManager::run failed; "),
    ],
)
def test_the_torch_backend_replaces_kernels_that_fail(interpreted, name, replacement, reason):
    interpreted(kernels(**{name: replacement}))
    b = torch.ones(1, 4, 2, 1)
    with pytest.warns(UserWarning, match=reason) as caught:
        assert backends.choose_backend("triton", b) == "chunked"
        assert backends.choose_backend("triton", b) == "chunked"
    assert len(caught) == 1 and "not used on cpu" in str(caught[0].message)


def test_a_scan_is_right_without_the_kernels(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(backends, "_works", lambda backend, device: False)
    a, b = torch.tensor([[0.5], [0.0]]), torch.ones(1, 4, 2, 1)
    assert linear_scan(a, b, backend="triton")[0, :, 0, 0].tolist() == [1.0, 1.5, 1.75, 1.875]


def test_right_kernels_are_used_without_a_warning(interpreted):
    interpreted(kernels())
    assert backends.choose_backend("triton", torch.ones(1, 4, 2, 1)) == "triton"
