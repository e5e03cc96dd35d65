"""The two operators: checks, choice of backend by name, and the rules of differentiation.

With `x_t = a_t x_{t-1} + b_t` and the gradient `dx_t` on the states, the adjoint

    g_t = dx_t + conj(a_{t+1}) g_{t+1}

is a scan the other way, and `db_t = g_t`, `da_t = g_t conj(x_{t-1})`, `dx_0 = conj(a_1) g_1`.
See docs/derivations/scan.md.
"""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from s5forecast.ops.discretization import DISCRETIZATIONS
from s5forecast.ops.naive import multiply

HAS_NUMBA = find_spec("numba") is not None
HAS_TRITON = find_spec("triton") is not None


class Backend(NamedTuple):
    """Where the functions of a backend are; the module is imported when the backend is first used.

    Attributes:
        module: has `linear_scan(a, b, initial_state, reverse)`.
        device: the only type of device it runs on, if any.
        methods: the discretisations it fuses with the scan. If there are any, the module has
            `linear_scan_backward`, `ssm_scan` and `ssm_scan_backward` as well.
    """

    module: str
    device: str | None = None
    methods: tuple[str, ...] = ()


BACKENDS = {
    "naive": Backend("s5forecast.ops.naive"),
    "chunked": Backend("s5forecast.ops.chunked"),
    "cpu": Backend("s5forecast.ops.cpu", device="cpu", methods=("zoh", "bilinear", "dirac")),
    "triton": Backend("s5forecast.ops.triton_kernel", device="cuda", methods=("zoh", "bilinear", "dirac")),
}


def linear_scan(
    a: Tensor,
    b: Tensor,
    initial_state: Tensor | None = None,
    *,
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Linear recurrence over time, `x_t = a_t x_{t-1} + b_t`, complex and planar.

    Computed in float32, or in float64 if any argument is; returned in half precision if all arguments are.

    Args:
        a: `[2, N]`, or `[B, T, 2, N]` for one factor per step.
        b: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, the state before the first step (after the last if `reverse`), or zero.
        reverse: whether time runs from the last step to the first, `x_t = a_t x_{t+1} + b_t`.
        backend: a key of `BACKENDS`, or "auto".

    Returns:
        All states, `[B, T, 2, N]`.

    Raises:
        ValueError: if shapes do not fit, or the backend is unknown or does not run on the device of `b`.
        NotImplementedError: for forward-mode derivatives.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    refuse_forward_mode(a, b, initial_state)
    _check_inputs("b", b, initial_state)
    if a.shape != b.shape[2:] and a.shape != b.shape:
        raise ValueError(f"'a' has shape {_shape(a)}, expected {list(b.shape[2:])} or {_shape(b)} as 'b' has.")
    (a, b, initial_state), dtype = _promote(a, b, initial_state)
    backend = _choose(backend, b)
    return _linear_scan(a, b, initial_state, reverse, backend).to(dtype)


def ssm_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None = None,
    *,
    method: str = "zoh",
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Diagonal state-space model over regular or irregular steps, discretised on the way.

    `x_t = Lambda_bar_t x_{t-1} + input_scale_t (B u)_t`, where `method` gives both factors for `Lambda` and
    the step `step dt_t`. Dtypes are those of `linear_scan`.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`, positive: the length of a unit step as each state sees it.
        dt: `[B, T]`, the time since the previous step in unit steps; one everywhere if None.
        Bu: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, the state before the first step (after the last if `reverse`), or zero.
        method: a key of `DISCRETIZATIONS`.
        reverse: whether time runs from the last step to the first.
        backend: a key of `BACKENDS`, or "auto".

    Returns:
        All states, `[B, T, 2, N]`.

    Raises:
        ValueError: if shapes do not fit, the method is unknown, or the backend is unknown or does not run on
            the device of `Bu`.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    refuse_forward_mode(Lambda, step, dt, Bu, initial_state)
    _check_inputs("Bu", Bu, initial_state)
    check_shape("Lambda", Lambda, tuple(Bu.shape[2:]))
    check_shape("step", step, (Bu.shape[3],))
    if dt is not None:
        check_shape("dt", dt, tuple(Bu.shape[:2]))
    check_method(method)
    (Lambda, step, dt, Bu, initial_state), dtype = _promote(Lambda, step, dt, Bu, initial_state)
    backend = _choose(backend, Bu)
    if method in BACKENDS[backend].methods:
        return _ssm_scan(Lambda, step, dt, Bu, initial_state, method, reverse, backend).to(dtype)
    Delta = step if dt is None else step * dt.unsqueeze(-1)  # [N] or [B, T, N]
    Lambda_bar, input_scale = DISCRETIZATIONS[method](Lambda, Delta)
    return _linear_scan(Lambda_bar, multiply(input_scale, Bu), initial_state, reverse, backend).to(dtype)


def _check_inputs(name: str, b: Tensor, initial_state: Tensor | None) -> None:
    if b.ndim != 4 or b.shape[2] != 2:
        raise ValueError(f"'{name}' has shape {_shape(b)}, expected [B, T, 2, N].")
    if initial_state is not None:
        check_shape("initial_state", initial_state, (b.shape[0], 2, b.shape[3]))


def check_shape(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """Raise ValueError, naming the argument, unless it has the shape."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"'{name}' has shape {_shape(tensor)}, expected {list(shape)}.")


def check_method(method: str) -> None:
    """Raise ValueError, listing the names, for an unknown discretisation."""
    if method not in DISCRETIZATIONS:
        raise ValueError(f"'method' is {method!r}, expected one of {', '.join(DISCRETIZATIONS)}.")


def refuse_forward_mode(*tensors: Tensor | None) -> None:
    """Raise NotImplementedError for a tensor with a tangent: a custom operator would drop it without a word."""
    if forward_ad._current_level < 0:
        return
    if any(v is not None and forward_ad.unpack_dual(v).tangent is not None for v in tensors):
        raise NotImplementedError("the scans have no forward-mode derivatives; use torch.autograd.grad or backward()")


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)


def _choose(backend: str, b: Tensor) -> str:
    if backend == "auto":
        if b.device.type == "cuda" and b.dtype == torch.float32 and HAS_TRITON:
            return "triton"
        return "cpu" if b.device.type == "cpu" and HAS_NUMBA else "chunked"
    if backend not in BACKENDS:
        raise ValueError(f"'backend' is {backend!r}, expected one of auto, {', '.join(BACKENDS)}.")
    device = BACKENDS[backend].device
    if device not in (None, b.device.type) and not _interpreted(backend, b):
        raise ValueError(f"backend {backend!r} runs on {device}, the tensors are on {b.device.type}.")
    return backend


def _interpreted(backend: str, b: Tensor) -> bool:
    """Whether Triton's interpreter runs the kernels, slowly, on the CPU."""
    return backend == "triton" and b.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"


def _promote(*tensors: Tensor | None) -> tuple[list[Any], torch.dtype]:
    """The tensors in the dtype to compute in, and the dtype to return."""
    if any(tensor is not None and tensor.is_complex() for tensor in tensors):
        raise ValueError("complex numbers are given as real planes [..., 2, N]: torch.stack([z.real, z.imag], dim=-2)")
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    wide = torch.float64 if torch.float64 in dtypes else torch.float32
    narrow = dtypes in ({torch.float16}, {torch.bfloat16})
    return [None if tensor is None else tensor.to(wide) for tensor in tensors], dtypes.pop() if narrow else wide


def _module(backend: str) -> ModuleType:
    return import_module(BACKENDS[backend].module)


def one_by_one(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of `torch.vmap` for an operator: a loop, as parameters may differ from one call to the next."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        calls = [
            operator(*(v if d is None else v.select(d, k) for v, d in zip(arguments, in_dims, strict=True)))
            for k in range(info.batch_size)
        ]
        if isinstance(calls[0], Tensor):
            return torch.stack(calls), 0
        return tuple(map(torch.stack, zip(*calls, strict=True))), (0,) * len(calls[0])

    return rule


@torch.library.custom_op("s5forecast::linear_scan", mutates_args=())
def _linear_scan(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool, backend: str) -> Tensor:
    return _module(backend).linear_scan(a, b, initial_state, reverse)


@_linear_scan.register_fake
def _(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool, backend: str) -> Tensor:
    return b.new_empty(b.shape)


def _save_for_linear_scan(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, initial_state, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(a, initial_state, output)


def _differentiate_linear_scan(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, initial_state, x = ctx.saved_tensors
    adjoint = _linear_scan_backward if BACKENDS[ctx.backend].methods else _adjoint
    da, db, dx0 = adjoint(grad, a, initial_state, x, ctx.reverse, ctx.backend)
    return da, db, None if initial_state is None else dx0, None, None


def _adjoint(
    dx: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to `a`, `b` and the initial state, by any backend's scan."""
    conj = torch.stack((a.select(-2, 0), -a.select(-2, 1)), -2)
    next_conj = conj if a.ndim == 2 else conj.roll(1 if reverse else -1, 1)
    g = _linear_scan(next_conj, dx, None, not reverse, backend)
    first = slice(-1, None) if reverse else slice(0, 1)
    dx0 = multiply(conj if a.ndim == 2 else conj[:, first], g[:, first]).sum(1)

    x0 = torch.zeros_like(x[:, :1]) if initial_state is None else initial_state.unsqueeze(1)
    x_before = torch.cat((x, x0), 1)[:, 1:] if reverse else torch.cat((x0, x), 1)[:, :-1]
    da = multiply(g, torch.stack((x_before.select(-2, 0), -x_before.select(-2, 1)), -2))
    return (da.sum((0, 1)) if a.ndim == 2 else da), g, dx0


_linear_scan.register_autograd(_differentiate_linear_scan, setup_context=_save_for_linear_scan)


@torch.library.custom_op("s5forecast::linear_scan_backward", mutates_args=())
def _linear_scan_backward(
    dx: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return _module(backend).linear_scan_backward(dx, a, initial_state, x, reverse)


@_linear_scan_backward.register_fake
def _(
    dx: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return a.new_empty(a.shape), x.new_empty(x.shape), x.new_empty(x.shape[0], 2, x.shape[3])


@torch.library.custom_op("s5forecast::ssm_scan", mutates_args=())
def _ssm_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
    backend: str,
) -> Tensor:
    return _module(backend).ssm_scan(Lambda, step, dt, Bu, initial_state, method, reverse)


@_ssm_scan.register_fake
def _(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
    backend: str,
) -> Tensor:
    return Bu.new_empty(Bu.shape)


@torch.library.custom_op("s5forecast::ssm_scan_backward", mutates_args=())
def _ssm_scan_backward(
    dx: Tensor,
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    x: Tensor,
    method: str,
    reverse: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _module(backend).ssm_scan_backward(dx, Lambda, step, dt, Bu, initial_state, x, method, reverse)


@_ssm_scan_backward.register_fake
def _(
    dx: Tensor,
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    x: Tensor,
    method: str,
    reverse: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    ddt = x.new_empty((0, 0) if dt is None else dt.shape)
    dx0 = x.new_empty(x.shape[0], 2, x.shape[3])
    return Lambda.new_empty(Lambda.shape), step.new_empty(step.shape), ddt, x.new_empty(x.shape), dx0


def _save_for_ssm_scan(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.method, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(*tensors, output)


def _differentiate_ssm_scan(ctx: Any, dx: Tensor) -> tuple[Tensor | None, ...]:
    dt, initial_state = ctx.saved_tensors[2], ctx.saved_tensors[4]
    dLambda, dstep, ddt, dBu, dx0 = _ssm_scan_backward(dx, *ctx.saved_tensors, ctx.method, ctx.reverse, ctx.backend)
    ddt, dx0 = None if dt is None else ddt, None if initial_state is None else dx0
    return dLambda, dstep, ddt, dBu, dx0, None, None, None


_ssm_scan.register_autograd(_differentiate_ssm_scan, setup_context=_save_for_ssm_scan)

for _operator in (_linear_scan, _linear_scan_backward, _ssm_scan, _ssm_scan_backward):
    _operator.register_vmap(one_by_one(_operator))
