"""Check of the GPU kernels against the loop, at their first use on a device."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from s5forecast.ops.discretization import DISCRETIZATIONS
from s5forecast.ops.naive import linear_scan, multiply

# More than one tile of every kernel, and neither a whole number of tiles nor of blocks of states.
STEPS, STATES = 300, 3
# Relative to the largest value; float32 sums of this length agree to about 1e-6.
TOLERANCE = 1e-4


def find_fault(kernels: ModuleType, device: torch.device) -> str | None:
    """The first scan of a GPU backend whose result or gradient differs from that of the loop.

    Args:
        kernels: module with ``linear_scan``, ``ssm_scan`` and their ``_backward``.
        device: device to run on.

    Returns:
        A description of the difference; ``None`` if all agree.
    """
    inputs = _inputs(device)
    for name, check in (("linear_scan", _linear_scans), ("ssm_scan", _ssm_scans)):
        found, expected = check(kernels, *inputs)
        for what, one, reference in zip(("states", "gradients"), found, expected, strict=True):
            for u, v in zip(one, reference, strict=True):
                difference = (u.double() - v).abs().max() / v.abs().max()
                if not difference <= TOLERANCE:  # also if it is NaN
                    return f"the {what} of {name} differ by {difference:.1e} of the largest value"
    return None


def _inputs(device: torch.device) -> list[Tensor]:
    """``Lambda``, ``step``, ``dt``, ``Bu``, the first state and the gradient of the states, float32."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, STEPS, 2, STATES)
    Lambda = torch.stack([torch.full((STATES,), -0.5), torch.arange(1.0, 1.0 + STATES)])
    step, dt = torch.linspace(0.01, 0.5, STATES), torch.rand(1, STEPS, generator=generator) + 0.5
    Bu, first, gradient = (torch.randn(size, generator=generator) for size in (shape, (1, 2, STATES), shape))
    return [v.to(device) for v in (Lambda, step, dt, Bu, first, gradient)]


def _linear_scans(
    kernels: ModuleType, Lambda: Tensor, step: Tensor, dt: Tensor, Bu: Tensor, first: Tensor, gradient: Tensor
) -> tuple[Any, Any]:
    """States and gradients of ``linear_scan``, by the kernels and by the loop in float64."""
    a, _ = DISCRETIZATIONS["zoh"](Lambda, step)
    x = kernels.linear_scan(a, Bu, first, False)
    found = kernels.linear_scan_backward(gradient, a, first, x, False)
    a, Bu, first = inputs = _with_gradient(a, Bu, first)
    reference = linear_scan(a, Bu, first, False)
    return ([x], found), ([reference], torch.autograd.grad(reference, inputs, gradient.double()))


def _ssm_scans(
    kernels: ModuleType, Lambda: Tensor, step: Tensor, dt: Tensor, Bu: Tensor, first: Tensor, gradient: Tensor
) -> tuple[Any, Any]:
    """States and gradients of ``ssm_scan``, which runs backward, by the kernels and by the loop."""
    x = kernels.ssm_scan(Lambda, step, dt, Bu, first, "zoh", True)
    found = kernels.ssm_scan_backward(gradient, Lambda, step, dt, Bu, first, x, "zoh", True)
    Lambda, step, dt, Bu, first = inputs = _with_gradient(Lambda, step, dt, Bu, first)
    Lambda_bar, scale = DISCRETIZATIONS["zoh"](Lambda, step * dt.unsqueeze(-1))
    reference = linear_scan(Lambda_bar, multiply(scale, Bu), first, True)
    return ([x], found), ([reference], torch.autograd.grad(reference, inputs, gradient.double()))


def _with_gradient(*tensors: Tensor) -> list[Tensor]:
    return [v.detach().double().requires_grad_() for v in tensors]
