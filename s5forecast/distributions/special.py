"""Distribution functions that torch lacks, or for which it lacks some gradients."""

import math
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

# Relative step of central differences, which balances truncation and rounding errors in float64.
STEP = 1e-5
STIRLING_FROM = 50.0


def ndtr(x: Tensor) -> Tensor:
    """Standard normal distribution function, accurate in the lower tail, unlike ``torch.special.ndtr``."""
    return torch.special.erfc(-x / math.sqrt(2)) / 2


def gammainc(a: Tensor, x: Tensor) -> Tensor:
    """Regularized lower incomplete gamma function, differentiable in both."""
    return _apply(torch.special.gammainc, _gamma_density, x, a)


def betainc(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """Regularized incomplete beta function, differentiable in all three."""
    return _apply(lambda a, b, x: from_scipy(scipy_special("betainc"), a, b, x), _beta_density, x, a, b)


def stdtr(df: Tensor, x: Tensor) -> Tensor:
    """Distribution function of the standard Student's t, differentiable in both."""
    return _apply(lambda df, x: from_scipy(scipy_special("stdtr"), df, x), _student_density, x, df)


def log_beta_half(b: Tensor) -> Tensor:
    r"""``log B(1/2, b)``; by Stirling's series for large b, where differences of ``lgamma`` lose digits."""
    large = b.clamp_min(STIRLING_FROM)
    series = (math.log(math.pi) - large.log()) / 2 + 1 / (8 * large) - 1 / (192 * large**3) + 1 / (640 * large**5)
    small = b.clamp_max(STIRLING_FROM)
    exact = math.log(math.pi) / 2 + torch.lgamma(small) - torch.lgamma(small + 0.5)
    return torch.where(b < STIRLING_FROM, exact, series)


def student_log_density(df: Tensor, x: Tensor) -> Tensor:
    """Log-density of the standard Student's t."""
    return -(df + 1) / 2 * torch.log1p(x**2 / df) - df.log() / 2 - log_beta_half(df / 2)


def scipy_special(name: str) -> Callable[..., Any]:
    """Function of ``scipy.special``, imported only when needed to keep start-up fast."""
    return getattr(import_module("scipy.special"), name)


def from_scipy(function: Callable[..., Any], *args: Tensor) -> Tensor:
    """Apply a function of scipy to tensors, in float64 on the CPU and without gradient."""
    result = function(*(arg.detach().double().cpu().numpy() for arg in args))
    return torch.as_tensor(result).to(args[-1])


def implicit(x: Tensor, level: Tensor, cdf: Callable[[Tensor], Tensor], log_prob: Callable[[Tensor], Tensor]) -> Tensor:
    r"""Quantile ``x`` at ``level`` with the gradient that follows from ``cdf(x) = level``.

    .. math:: dx = (dq - \partial_\theta F(x)\, d\theta) / f(x)
    """
    x = x.detach()
    if not torch.is_grad_enabled():
        return x
    residual = level - cdf(x)
    return x + (residual - residual.detach()) * torch.exp(-log_prob(x).detach())


class _Special(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable, density: Callable, x: Tensor, *shapes: Tensor) -> Tensor:
        ctx.function, ctx.density = function, density
        ctx.save_for_backward(x, *shapes)
        return function(*shapes, x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        x, *shapes = ctx.saved_tensors
        of_x = gradient * ctx.density(*shapes, x) if ctx.needs_input_grad[2] else None
        of_shapes = (
            gradient * _difference(ctx.function, shapes, x, i) if ctx.needs_input_grad[3 + i] else None
            for i in range(len(shapes))
        )
        return None, None, of_x, *of_shapes


def _apply(function: Callable, density: Callable, x: Tensor, *shapes: Tensor) -> Tensor:
    wide = torch.broadcast_tensors(x.double(), *(shape.double() for shape in shapes))
    return _Special.apply(function, density, *wide).to(x.dtype)


def _difference(function: Callable, shapes: list[Tensor], x: Tensor, i: int) -> Tensor:
    step = STEP * shapes[i]
    above, below = ([*shapes[:i], shapes[i] + h, *shapes[i + 1 :]] for h in (step, -step))
    return (function(*above, x) - function(*below, x)) / (2 * step)


def _gamma_density(a: Tensor, x: Tensor) -> Tensor:
    x = x.clamp_min(torch.finfo(x.dtype).tiny)
    return torch.exp((a - 1) * x.log() - x - torch.lgamma(a))


def _beta_density(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    tiny, eps = torch.finfo(x.dtype).tiny, torch.finfo(x.dtype).eps
    x = x.clamp(tiny, 1 - eps)
    norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return torch.exp((a - 1) * x.log() + (b - 1) * torch.log1p(-x) - norm)


def _student_density(df: Tensor, x: Tensor) -> Tensor:
    return student_log_density(df, x).exp()
