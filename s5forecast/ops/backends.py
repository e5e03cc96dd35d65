"""Implementations of the scans by name. The module of a backend is imported when the backend is first used."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from s5forecast.notices import warn_user

HAS_NUMBA = find_spec("numba") is not None
HAS_TRITON = find_spec("triton") is not None


class Backend(NamedTuple):
    """Location and abilities of a backend.

    Attributes:
        module: a module that has `linear_scan(a, b, initial_state, reverse)`.
        device: the only device type the backend runs on, or None for any device.
        methods: the discretizations that the backend fuses with the scan. If there are any, the module must also
            have `linear_scan_backward`, `ssm_scan` and `ssm_scan_backward`.
    """

    module: str
    device: str | None = None
    methods: tuple[str, ...] = ()


# Steps of a sequence that is scanned without loading the kernels.
SHORT = 512

BACKENDS = {
    "naive": Backend("s5forecast.ops.naive"),
    "chunked": Backend("s5forecast.ops.chunked"),
    "cpu": Backend("s5forecast.ops.cpu", device="cpu", methods=("zoh", "bilinear", "dirac")),
    "triton": Backend("s5forecast.ops.gpu", device="cuda", methods=("zoh", "bilinear", "dirac")),
}


def choose_backend(backend: str, b: Tensor) -> str:
    """Return the key in `BACKENDS` of the backend that scans `b`.

    The Triton kernels are checked at their first use on a device, unless it is in compiled code. If they fail, the
    scans run in plain PyTorch, with one warning.

    Args:
        backend: a key of `BACKENDS`, or "auto" for the fastest backend available for the device and dtype of `b`.
        b: the tensor to scan, in the dtype of the computation.

    Raises:
        ValueError: if the backend is unknown or does not run on the device of `b`.
    """
    if backend == "auto":
        if b.device.type == "cuda" and b.dtype == torch.float32 and HAS_TRITON:
            return _checked("triton", b.device)
        return "cpu" if b.device.type == "cpu" and HAS_NUMBA and not is_short(b) else "chunked"
    if backend not in BACKENDS:
        raise ValueError(f"'backend' is {backend!r}, expected one of auto, {', '.join(BACKENDS)}.")
    device = BACKENDS[backend].device
    if device not in (None, b.device.type) and not _is_interpreted(backend, b):
        raise ValueError(f"backend {backend!r} runs on {device}, the tensors are on {b.device.type}.")
    return _checked(backend, b.device) if backend == "triton" else backend


def is_short(u: Tensor) -> bool:
    """Whether `u [1, T, ...]` is a single short sequence in inference.

    Loading Numba and its kernels takes longer than scanning it in plain PyTorch, a second and 100 MB of memory in a
    process that forecasts one series (benchmarks/start_up.py).
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return u.shape[0] == 1 and u.shape[1] <= SHORT


@contextmanager
def on_compilation(notify: Callable[[], None]) -> Iterator[None]:
    """Call ``notify`` whenever a kernel is compiled because the cache on disk lacks it."""
    if not HAS_NUMBA:
        yield
        return
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            notify()

        def on_end(self, event: Any) -> None: ...

    with event.install_listener("numba:compile", Listener()):
        yield


def load(backend: str) -> ModuleType:
    """Import the module of a backend."""
    return import_module(BACKENDS[backend].module)


def _checked(backend: str, device: torch.device) -> str:
    if torch.compiler.is_compiling():  # no kernel can run now
        return backend
    return backend if _works(backend, device) else "chunked"


@cache
def _works(backend: str, device: torch.device) -> bool:
    """Whether the kernels of a backend compile on a device and agree with the loop; warns if they do not."""
    from s5forecast.ops.self_check import find_fault

    try:
        fault = find_fault(load(backend), device)
    except Exception as error:  # compilers and drivers raise errors of many types
        fault = f"they fail with {type(error).__name__}: {next(iter(str(error).strip().splitlines()), 'no message')}"
    if fault is not None:
        warn_user(
            f"the {backend} kernels are not used on {device}, because {fault}; scans run in plain PyTorch, which is "
            "slower. Update triton and the driver of the GPU"
        )
    return fault is None


def _is_interpreted(backend: str, b: Tensor) -> bool:
    """Whether Triton's interpreter runs the kernels on the CPU, which is slow and meant for tests."""
    return backend == "triton" and b.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
