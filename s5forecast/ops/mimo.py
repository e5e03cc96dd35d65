"""The system of a whole layer as one operator, where a backend fuses the projections with the scan.

Between the inputs and the outputs nothing of the size of the states is written but the states themselves, and those
only where gradients are wanted. The inputs of the states are projected again for the adjoint.
"""

from typing import Any

import torch
from torch import Tensor

from s5forecast.ops.scan import HAS_NUMBA, check_method, check_shape, one_by_one, refuse_forward_mode


def fuses(backend: str, *tensors: Tensor | None) -> bool:
    """Whether `mimo_scan` takes these tensors: float32 or float64 all, on the CPU, without autocast."""
    given = [tensor for tensor in tensors if tensor is not None]
    dtype = given[0].dtype
    return (
        HAS_NUMBA
        and backend in ("auto", "cpu")
        and dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == dtype and tensor.device.type == "cpu" for tensor in given)
        and not torch.is_autocast_enabled("cpu")
    )


def mimo_scan(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None = None,
    *,
    method: str = "zoh",
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """`y_t = C x_t + D u_t`, where `x` are the states of `ssm_scan` for the inputs `B u_t`.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`, positive.
        dt: `[B, T]`, the time since the previous step in unit steps; one everywhere if None.
        B: `[2N, H]`, real part first.
        C: `[H, 2N]`, real.
        D: `[H]`.
        u: `[B, T, H]`.
        initial_state: `[B, 2, N]`, the state before the first step (after the last if `reverse`), or zero.
        method: a key of `DISCRETIZATIONS`.
        reverse: whether time runs from the last step to the first.

    Returns:
        `y [B, T, H]` and the state after the last step (the first if `reverse`), `[B, 2, N]`.

    It can be differentiated once, by autograd: `torch.func.grad` does not know PyTorch's custom operators. `torch.vmap`
    runs it in a loop.

    Raises:
        ValueError: if shapes or types do not fit, or the method is unknown.
        NotImplementedError: for forward-mode derivatives.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    arguments = Lambda, step, dt, B, C, D, u, initial_state
    refuse_forward_mode(*arguments)
    _check_inputs(*arguments)
    check_method(method)
    keep = torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in arguments)
    y, last, _ = _mimo_scan(*arguments, method, reverse, keep)
    return y, last


def _check_inputs(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
) -> None:
    """The kernels take what they are given for granted: it has to fit."""
    N, H = step.numel(), D.numel()
    if u.ndim != 3 or u.shape[2] != H:
        raise ValueError(f"'u' has shape {list(u.shape)}, expected [B, T, {H}].")
    check_shape("Lambda", Lambda, (2, N))
    check_shape("step", step, (N,))
    check_shape("B", B, (2 * N, H))
    check_shape("C", C, (H, 2 * N))
    check_shape("D", D, (H,))
    if dt is not None:
        check_shape("dt", dt, tuple(u.shape[:2]))
    if initial_state is not None:
        check_shape("initial_state", initial_state, (u.shape[0], 2, N))
    if not fuses("cpu", Lambda, step, dt, B, C, D, u, initial_state):
        raise ValueError("mimo_scan takes tensors on the CPU, float32 all or float64 all, and no autocast; see fuses")


@torch.library.custom_op("s5forecast::mimo_scan", mutates_args=())
def _mimo_scan(
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
    from s5forecast.ops import cpu_mimo

    return cpu_mimo.mimo_scan(Lambda, step, dt, B, C, D, u, initial_state, method, reverse, keep)


@_mimo_scan.register_fake
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


@torch.library.custom_op("s5forecast::mimo_scan_backward", mutates_args=())
def _mimo_scan_backward(
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
    from s5forecast.ops import cpu_mimo

    return cpu_mimo.mimo_scan_backward(dy, dlast, Lambda, step, dt, B, C, D, u, initial_state, x, method, reverse)


@_mimo_scan_backward.register_fake
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


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.method, ctx.reverse, _ = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, dy: Tensor | None, dlast: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    *inputs, x = ctx.saved_tensors
    Lambda, _, dt, _, _, _, u, initial_state = inputs
    if not x.numel():  # traced where gradients were off
        x = _mimo_scan(*inputs, ctx.method, ctx.reverse, True)[2]
    dy = torch.zeros_like(u) if dy is None else dy
    dlast = u.new_zeros(u.shape[0], *Lambda.shape) if dlast is None else dlast
    gradients = list(_mimo_scan_backward(dy, dlast, *inputs, x, ctx.method, ctx.reverse))
    gradients[2] = None if dt is None else gradients[2]
    gradients[7] = None if initial_state is None else gradients[7]
    return *gradients, None, None, None


_mimo_scan.register_autograd(_differentiate, setup_context=_save)
_mimo_scan.register_vmap(one_by_one(_mimo_scan))
_mimo_scan_backward.register_vmap(one_by_one(_mimo_scan_backward))
