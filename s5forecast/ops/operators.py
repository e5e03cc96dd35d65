"""The public operators: argument checks, dtypes and the choice of a backend."""

from typing import Any

import torch
from torch import Tensor

from s5forecast.ops import attention, autograd, averages, backends, liquid
from s5forecast.ops.checks import check_fused, check_shape, refuse_forward_mode, shape
from s5forecast.ops.discretization import DISCRETIZATIONS
from s5forecast.ops.naive import multiply


def linear_scan(
    a: Tensor,
    b: Tensor,
    initial_state: Tensor | None = None,
    *,
    reverse: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Linear recurrence over time, `x_t = a_t x_{t-1} + b_t`, for complex numbers stored as planes.

    The computation runs in float32, or in float64 if any argument is float64. The result is returned in half
    precision if all arguments are in half precision.

    Args:
        a: `[2, N]`, or `[B, T, 2, N]` for one factor per step.
        b: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, the state before the first step (after the last one if `reverse`); zero if None.
        reverse: whether time runs from the last step to the first, `x_t = a_t x_{t+1} + b_t`.
        backend: a key of `BACKENDS`, or "auto".

    Returns:
        The states at all steps, `[B, T, 2, N]`.

    Raises:
        ValueError: if shapes do not match, or the backend is unknown or does not run on the device of `b`.
        NotImplementedError: for forward-mode derivatives.

    Example:
        >>> import torch
        >>> from s5forecast.ops import linear_scan
        >>> a, b = torch.zeros(2, 1), torch.zeros(1, 4, 2, 1)
        >>> a[0], b[:, :, 0] = 0.5, 1.0  # the real parts
        >>> linear_scan(a, b)[0, :, 0, 0].tolist()
        [1.0, 1.5, 1.75, 1.875]

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    refuse_forward_mode(a, b, initial_state)
    _check_scan_inputs("b", b, initial_state)
    if a.shape != b.shape[2:] and a.shape != b.shape:
        raise ValueError(f"'a' has shape {shape(a)}, expected {list(b.shape[2:])} or {shape(b)} as 'b' has.")
    (a, b, initial_state), dtype = _promote(a, b, initial_state)
    backend = backends.choose_backend(backend, b)
    return autograd.linear_scan(a, b, initial_state, reverse, backend).to(dtype)


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
    """States of a diagonal state-space model over regular or irregular steps.

    `x_t = Lambda_bar_t x_{t-1} + input_scale_t (B u)_t`, where the discretization `method` computes both factors from
    `Lambda` and the step `step dt_t`. Dtypes follow the rules of `linear_scan`.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`, positive: the length of a unit step for each state.
        dt: `[B, T]`, the time since the previous step in unit steps; 1 at every step if None.
        Bu: `[B, T, 2, N]`.
        initial_state: `[B, 2, N]`, the state before the first step (after the last one if `reverse`); zero if None.
        method: a key of `DISCRETIZATIONS`.
        reverse: whether time runs from the last step to the first.
        backend: a key of `BACKENDS`, or "auto".

    Returns:
        The states at all steps, `[B, T, 2, N]`.

    Raises:
        ValueError: if shapes do not match, the method is unknown, or the backend is unknown or does not run on
            the device of `Bu`.
        NotImplementedError: for forward-mode derivatives.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    refuse_forward_mode(Lambda, step, dt, Bu, initial_state)
    _check_scan_inputs("Bu", Bu, initial_state)
    check_shape("Lambda", Lambda, tuple(Bu.shape[2:]))
    check_shape("step", step, (Bu.shape[3],))
    if dt is not None:
        check_shape("dt", dt, tuple(Bu.shape[:2]))
    _check_method(method)
    (Lambda, step, dt, Bu, initial_state), dtype = _promote(Lambda, step, dt, Bu, initial_state)
    backend = backends.choose_backend(backend, Bu)
    if method in backends.BACKENDS[backend].methods:
        return autograd.ssm_scan(Lambda, step, dt, Bu, initial_state, method, reverse, backend).to(dtype)
    Delta = step if dt is None else step * dt.unsqueeze(-1)  # [N] or [B, T, N]
    Lambda_bar, input_scale = DISCRETIZATIONS[method](Lambda, Delta)
    return autograd.linear_scan(Lambda_bar, multiply(input_scale, Bu), initial_state, reverse, backend).to(dtype)


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
    """Outputs of a whole layer, `y_t = C x_t + D u_t`, where `x` are the states of `ssm_scan` for the inputs `B u_t`.

    One fused operator for tensors that :func:`fuses` accepts. It writes the states to memory only if gradients are
    needed, and computes the projected inputs `B u_t` again in the backward pass. It can be differentiated once, by
    autograd; `torch.func.grad` does not support custom operators. `torch.vmap` runs it in a loop.

    Args:
        Lambda: `[2, N]`.
        step: `[N]`, positive.
        dt: `[B, T]`, the time since the previous step in unit steps; 1 at every step if None.
        B: `[2N, H]`, real parts first.
        C: `[H, 2N]`, real.
        D: `[H]`.
        u: `[B, T, H]`.
        initial_state: `[B, 2, N]`, the state before the first step (after the last one if `reverse`); zero if None.
        method: a key of `DISCRETIZATIONS`.
        reverse: whether time runs from the last step to the first.

    Returns:
        `y [B, T, H]` and the state after the last step (the first one if `reverse`), `[B, 2, N]`.

    Raises:
        ValueError: if shapes or dtypes do not match, or the method is unknown.
        NotImplementedError: for forward-mode derivatives.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    arguments = Lambda, step, dt, B, C, D, u, initial_state
    refuse_forward_mode(*arguments)
    _check_mimo_inputs(*arguments)
    _check_method(method)
    keep = _needs_gradients(*arguments)
    y, last, _ = autograd.mimo_scan(*arguments, method, reverse, keep)
    return y, last


def liquid_scan(
    A: Tensor, B: Tensor, C: Tensor, limit: Tensor, u: Tensor, initial_state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Outputs of systems whose factors depend on the input, `y_t = C x_t` with `x_t = f_t x_{t-1} + B u_t`.

    The factors are `f_t = A + B u_t`, scaled such that `|f_t|^2` is at most `limit`. Each of the H channels has a
    system of its own, with N / H states at a stride of H. One fused operator for tensors that :func:`fuses` accepts,
    which does not write the states and the factors to memory. It can be differentiated once, by autograd.

    Args:
        A: `[2, N]`.
        B: `[2, N]`.
        C: `[2, N]`, real weights of the real and the imaginary parts of the states.
        limit: `[N]`, positive.
        u: `[B, T, H]`.
        initial_state: `[B, 2, N]`, the state before the first step; zero if None.

    Returns:
        `y [B, T, H]` and the state after the last step, `[B, 2, N]`.

    Raises:
        ValueError: if shapes or dtypes do not match.
        NotImplementedError: for forward-mode derivatives.

    References:
        Liquid Structural State-Space Models, Hasani, Lechner, Wang, Chahine, Amini, Rus, 2022.
    """
    arguments = A, B, C, limit, u, initial_state
    refuse_forward_mode(*arguments)
    N = limit.numel()
    if u.ndim != 3 or u.shape[2] == 0 or N % u.shape[2]:
        raise ValueError(f"'u' has shape {shape(u)}, expected [B, T, H], where H divides {N}, the number of states.")
    for name, value in (("A", A), ("B", B), ("C", C)):
        check_shape(name, value, (2, N))
    check_shape("limit", limit, (N,))
    if initial_state is not None:
        check_shape("initial_state", initial_state, (u.shape[0], 2, N))
    check_fused("liquid_scan", *arguments)
    keep = _needs_gradients(*arguments)
    y, last, _ = liquid.liquid_scan(*arguments, keep)
    return y, last


def moving_averages(
    q: Tensor, p: Tensor, eta: Tensor, omega: Tensor, x: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted sums of moving averages, `y_t = eta h_t + omega x_t` with `h_t = q h_{t-1} + p x_t`.

    Each of the H channels has N / H averages, at a stride of H. One fused operator for tensors that :func:`fuses`
    accepts, which does not write the averages to memory. It can be differentiated once, by autograd.

    Args:
        q: `[N]`, factors between 0 and 1.
        p: `[N]`, weights of the input.
        eta: `[N]`, weights of the averages.
        omega: `[H]`.
        x: `[B, T, H]`.
        state: `[B, N]`, the averages before the first step.

    Returns:
        `y [B, T, H]` and the averages after the last step, `[B, N]`.

    Raises:
        ValueError: if shapes or dtypes do not match.
        NotImplementedError: for forward-mode derivatives.

    References:
        Mega: Moving Average Equipped Gated Attention, Ma, Zhou, Kong, He, Gui, Neubig, May, Zettlemoyer, 2022.
    """
    arguments = q, p, eta, omega, x, state
    refuse_forward_mode(*arguments)
    N, H = q.numel(), omega.numel()
    if x.ndim != 3 or x.shape[2] != H or H == 0 or N % H:
        raise ValueError(f"'x' has shape {shape(x)}, expected [B, T, {H}], where {H} divides {N}.")
    for name, value in (("q", q), ("p", p), ("eta", eta)):
        check_shape(name, value, (N,))
    check_shape("omega", omega, (H,))
    check_shape("state", state, (len(x), N))
    check_fused("moving_averages", *arguments)
    y, last, _ = averages.moving_averages(*arguments, _needs_gradients(*arguments))
    return y, last


def gated_attention(
    averaged: Tensor,
    u: Tensor,
    mixed: Tensor,
    mixed_bias: Tensor,
    values: Tensor,
    values_bias: Tensor,
    attended: Tensor,
    scale: Tensor,
    shift: Tensor,
    bias: Tensor,
    *,
    kind: str,
    causal: bool,
) -> Tensor:
    """Gated attention within chunks that begin with the sequence, as :class:`s5forecast.ssm.Mega` defines it.

    One fused operator for tensors that :func:`fuses` accepts, which writes nothing but the outputs to memory. The
    backward pass computes everything else again. It can be differentiated once, by autograd.

    Args:
        averaged: `[B, T, H]`, the moving averages before their activation.
        u: `[B, T, H]`.
        mixed: `[2 H + z + v, H]`, the projection of the averages to the gate of the output, the input of queries and
            keys, the gate of the values, and the candidate.
        mixed_bias: `[2 H + z + v]`.
        values: `[v, H]`.
        values_bias: `[v]`.
        attended: `[H, v]`, the projection of the values seen to the candidate.
        scale, shift: `[2, z]`, of queries and of keys.
        bias: `[2 C - 1]`, those of the distances C - 1, ..., 1 - C of a key from its query, for chunks of C steps.
        kind: the function of the scores, one of `attention.KINDS`.
        causal: whether keys of later steps are not seen.

    Returns:
        `[B, T, H]`.

    Raises:
        ValueError: if shapes or dtypes do not match, or the kind is unknown.
        NotImplementedError: for forward-mode derivatives.

    References:
        Mega: Moving Average Equipped Gated Attention, Ma, Zhou, Kong, He, Gui, Neubig, May, Zettlemoyer, 2022.
    """
    arguments = averaged, u, mixed, mixed_bias, values, values_bias, attended, scale, shift, bias
    refuse_forward_mode(*arguments)
    (v, H), z = values.shape, scale.shape[-1]
    if u.ndim != 3 or u.shape[2] != H:
        raise ValueError(f"'u' has shape {shape(u)}, expected [B, T, {H}].")
    if bias.ndim != 1 or bias.numel() % 2 == 0:
        raise ValueError(f"'bias' has shape {shape(bias)}, expected [2 C - 1] for chunks of C steps.")
    if kind not in attention.KINDS:
        raise ValueError(f"'kind' is {kind!r}, expected one of {', '.join(attention.KINDS)}.")
    F = 2 * H + z + v
    sizes = tuple(u.shape), tuple(u.shape), (F, H), (F,), (v, H), (v,), (H, v), (2, z), (2, z)
    names = "averaged", "u", "mixed", "mixed_bias", "values", "values_bias", "attended", "scale", "shift"
    for name, value, size in zip(names, arguments, sizes, strict=False):
        check_shape(name, value, size)
    check_fused("gated_attention", *arguments)
    return attention.gated_attention(*arguments, kind, causal)


def _needs_gradients(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(v is not None and v.requires_grad for v in tensors)


def _check_scan_inputs(name: str, b: Tensor, initial_state: Tensor | None) -> None:
    if b.ndim != 4 or b.shape[2] != 2:
        raise ValueError(f"'{name}' has shape {shape(b)}, expected [B, T, 2, N].")
    if initial_state is not None:
        check_shape("initial_state", initial_state, (b.shape[0], 2, b.shape[3]))


def _check_mimo_inputs(
    Lambda: Tensor,
    step: Tensor,
    dt: Tensor | None,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    u: Tensor,
    initial_state: Tensor | None,
) -> None:
    """Check all shapes, because the kernels do not check bounds."""
    N, H = step.numel(), D.numel()
    if u.ndim != 3 or u.shape[2] != H:
        raise ValueError(f"'u' has shape {shape(u)}, expected [B, T, {H}].")
    check_shape("Lambda", Lambda, (2, N))
    check_shape("step", step, (N,))
    check_shape("B", B, (2 * N, H))
    check_shape("C", C, (H, 2 * N))
    check_shape("D", D, (H,))
    if dt is not None:
        check_shape("dt", dt, tuple(u.shape[:2]))
    if initial_state is not None:
        check_shape("initial_state", initial_state, (u.shape[0], 2, N))
    check_fused("mimo_scan", Lambda, step, dt, B, C, D, u, initial_state)


def _check_method(method: str) -> None:
    if method not in DISCRETIZATIONS:
        raise ValueError(f"'method' is {method!r}, expected one of {', '.join(DISCRETIZATIONS)}.")


def _promote(*tensors: Tensor | None) -> tuple[list[Any], torch.dtype]:
    """Convert the tensors to the dtype of the computation; return them and the dtype of the result."""
    if any(tensor is not None and tensor.is_complex() for tensor in tensors):
        raise ValueError(
            "complex tensors are not supported; pass real planes [..., 2, N], torch.stack([z.real, z.imag], dim=-2)"
        )
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    wide = torch.float64 if torch.float64 in dtypes else torch.float32
    narrow = dtypes in ({torch.float16}, {torch.bfloat16})
    return [None if tensor is None else tensor.to(wide) for tensor in tensors], dtypes.pop() if narrow else wide
