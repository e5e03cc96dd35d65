"""The custom operators of PyTorch and their rules of differentiation.

With `x_t = a_t x_{t-1} + b_t` and the gradient `dx_t` with respect to the states, the adjoint

    g_t = dx_t + conj(a_{t+1}) g_{t+1}

is a scan in the opposite direction, and `db_t = g_t`, `da_t = g_t conj(x_{t-1})`, `dx_0 = conj(a_1) g_1`.
See docs/derivations/scan.md.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from s5forecast.ops.backends import BACKENDS, load
from s5forecast.ops.naive import multiply


def _loop_rule(operator: Callable[..., Any]) -> Callable[..., Any]:
    """Rule of `torch.vmap` for an operator: a loop, because parameters may differ between calls."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> Any:
        calls = [
            operator(*(v if d is None else v.select(d, k) for v, d in zip(arguments, in_dims, strict=True)))
            for k in range(info.batch_size)
        ]
        if isinstance(calls[0], Tensor):
            return torch.stack(calls), 0
        return tuple(map(torch.stack, zip(*calls, strict=True))), (0,) * len(calls[0])

    return rule


def _outside_dynamo(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a function without TorchDynamo, if it is loaded.

    TorchDynamo would compile the implementation of an operator that is called from an uncompiled part of a program.
    """
    disabled: Callable[..., Any] | None = None

    def run(*arguments: Any) -> Any:
        nonlocal disabled
        if "torch._dynamo" not in sys.modules:
            return function(*arguments)
        if disabled is None:
            disabled = torch.compiler.disable(function)  # would import TorchDynamo
        return disabled(*arguments)

    return run


def register_operator(function: Callable[..., Any]) -> Any:
    """Register a function as the operator `s5forecast::<name of the function>`.

    `torch.library.custom_op` is not used, because the first call of its operators imports TorchDynamo, which takes
    seconds.
    """
    name = f"s5forecast::{function.__name__}"
    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "CompositeExplicitAutograd", _outside_dynamo(function))
    operator = getattr(torch.ops.s5forecast, function.__name__).default
    torch.library.register_vmap(name, _loop_rule(operator))
    return operator


@register_operator
def linear_scan(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool, backend: str) -> Tensor:
    return load(backend).linear_scan(a, b, initial_state, reverse)


@torch.library.register_fake("s5forecast::linear_scan")
def _(a: Tensor, b: Tensor, initial_state: Tensor | None, reverse: bool, backend: str) -> Tensor:
    return b.new_empty(b.shape)


def _save_for_linear_scan(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, _, initial_state, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(a, initial_state, output)


def _differentiate_linear_scan(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, initial_state, x = ctx.saved_tensors
    adjoint = linear_scan_backward if BACKENDS[ctx.backend].methods else _adjoint
    da, db, dx0 = adjoint(grad, a, initial_state, x, ctx.reverse, ctx.backend)
    return da, db, None if initial_state is None else dx0, None, None


def _adjoint(
    dx: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients with respect to `a`, `b` and the initial state, from the scan of any backend."""
    conj = torch.stack((a.select(-2, 0), -a.select(-2, 1)), -2)
    next_conj = conj if a.ndim == 2 else conj.roll(1 if reverse else -1, 1)
    g = linear_scan(next_conj, dx, None, not reverse, backend)
    first = slice(-1, None) if reverse else slice(0, 1)
    dx0 = multiply(conj if a.ndim == 2 else conj[:, first], g[:, first]).sum(1)

    x0 = torch.zeros_like(x[:, :1]) if initial_state is None else initial_state.unsqueeze(1)
    x_before = torch.cat((x, x0), 1)[:, 1:] if reverse else torch.cat((x0, x), 1)[:, :-1]
    da = multiply(g, torch.stack((x_before.select(-2, 0), -x_before.select(-2, 1)), -2))
    return (da.sum((0, 1)) if a.ndim == 2 else da), g, dx0


torch.library.register_autograd(
    "s5forecast::linear_scan", _differentiate_linear_scan, setup_context=_save_for_linear_scan
)


@register_operator
def linear_scan_backward(
    dx: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return load(backend).linear_scan_backward(dx, a, initial_state, x, reverse)


@torch.library.register_fake("s5forecast::linear_scan_backward")
def _(
    dx: Tensor, a: Tensor, initial_state: Tensor | None, x: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return a.new_empty(a.shape), x.new_empty(x.shape), x.new_empty(x.shape[0], 2, x.shape[3])


@register_operator
def ssm_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    Bu: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
    backend: str,
) -> Tensor:
    return load(backend).ssm_scan(Lambda, step, dt, Bu, initial_state, method, reverse)


@torch.library.register_fake("s5forecast::ssm_scan")
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


@register_operator
def ssm_scan_backward(
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
    return load(backend).ssm_scan_backward(dx, Lambda, step, dt, Bu, initial_state, x, method, reverse)


@torch.library.register_fake("s5forecast::ssm_scan_backward")
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
    dLambda, dstep, ddt, dBu, dx0 = ssm_scan_backward(dx, *ctx.saved_tensors, ctx.method, ctx.reverse, ctx.backend)
    ddt, dx0 = None if dt is None else ddt, None if initial_state is None else dx0
    return dLambda, dstep, ddt, dBu, dx0, None, None, None


torch.library.register_autograd("s5forecast::ssm_scan", _differentiate_ssm_scan, setup_context=_save_for_ssm_scan)


@register_operator
def mimo_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return load("cpu").mimo_scan(Lambda, step, dt, B, C, D, u, initial_state, method, reverse, keep)


@torch.library.register_fake("s5forecast::mimo_scan")
def _(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
    method: str,
    reverse: bool,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    states = (*u.shape[:2], *Lambda.shape) if keep else (0, 0, *Lambda.shape)
    return u.new_empty(u.shape), u.new_empty(u.shape[0], *Lambda.shape), u.new_empty(states)


@register_operator
def mimo_scan_backward(
    dy: Tensor,
    dlast: Tensor,
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
    x: Tensor,
    method: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return load("cpu").mimo_scan_backward(dy, dlast, Lambda, step, dt, B, C, D, u, initial_state, x, method, reverse)


@torch.library.register_fake("s5forecast::mimo_scan_backward")
def _(
    dy: Tensor,
    dlast: Tensor,
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
    x: Tensor,
    method: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    ddt = u.new_empty((0, 0) if dt is None else dt.shape)
    whole = [u.new_empty(v.shape) for v in (Lambda, step, B, C, D, u, dlast)]
    return whole[0], whole[1], ddt, whole[2], whole[3], whole[4], whole[5], whole[6]


def _save_for_mimo_scan(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.method, ctx.reverse, _ = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)


def _differentiate_mimo_scan(
    ctx: Any, dy: Tensor | None, dlast: Tensor | None, _: Tensor | None
) -> tuple[Tensor | None, ...]:
    *inputs, x = ctx.saved_tensors
    Lambda, _, dt, _, _, _, u, initial_state = inputs
    if not x.numel():  # traced while gradients were disabled
        x = mimo_scan(*inputs, ctx.method, ctx.reverse, True)[2]
    dy = torch.zeros_like(u) if dy is None else dy
    dlast = u.new_zeros(u.shape[0], *Lambda.shape) if dlast is None else dlast
    gradients = list(mimo_scan_backward(dy, dlast, *inputs, x, ctx.method, ctx.reverse))
    gradients[2] = None if dt is None else gradients[2]
    gradients[7] = None if initial_state is None else gradients[7]
    return *gradients, None, None, None


torch.library.register_autograd("s5forecast::mimo_scan", _differentiate_mimo_scan, setup_context=_save_for_mimo_scan)


def refuse_second_derivatives(operator: str) -> None:
    """Raise an error instead of PyTorch's default for operators without a rule: a warning and missing gradients."""

    def refuse(ctx: Any, *gradients: Tensor | None) -> Any:
        raise RuntimeError(
            f"{operator} has no derivatives; use backend='chunked' to compute second derivatives of a scan or a layer"
        )

    torch.library.register_autograd(f"s5forecast::{operator}", refuse)


for _name in ("linear_scan_backward", "ssm_scan_backward", "mimo_scan_backward"):
    refuse_second_derivatives(_name)
