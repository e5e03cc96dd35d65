"""Discretizations from continuous to discrete time, in plain differentiable torch.

`x' = Lambda x + B u` becomes `x_t = Lambda_bar x_{t-1} + input_scale (B u_t)`. Complex numbers are stored as planes.
"""

from collections.abc import Callable
from math import factorial

import torch
from torch import Tensor

SMALL = 0.25  # |z| below which the series is at least as accurate as the quotient
TERMS = 13


def zoh(Lambda: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Zero-order hold: exact for inputs that are constant between the steps.

    `Lambda_bar = exp(Lambda step)`, `input_scale = (Lambda_bar - 1) / Lambda`, and `step` for `Lambda = 0`.

    Args:
        Lambda: `[..., 2, N]`.
        step: `[..., N]`.

    Returns:
        `Lambda_bar` and `input_scale`, each `[..., 2, N]`.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    Lambda_re, Lambda_im = Lambda.unbind(-2)
    z_re, z_im = Lambda_re * step, Lambda_im * step
    growth, cos, sin = torch.exp(z_re), torch.cos(z_im), torch.sin(z_im)

    small = z_re.abs() + z_im.abs() < SMALL
    # Both branches of `where` are differentiated, so neither may be evaluated where it is singular.
    safe_re = torch.where(small, 1.0, Lambda_re)
    safe_im = torch.where(small, 0.0, Lambda_im)
    # exp(z) - 1 without cancellation, in its value near z = 0 and in its derivative far from it
    near = z_re > -1
    e_near = torch.expm1(torch.where(near, z_re, 0.0)) * cos - 2 * torch.sin(z_im / 2).square()
    e_re = torch.where(near, e_near, growth * cos - 1)
    e_im = growth * sin
    norm = safe_re.square() + safe_im.square()
    quotient_re = (e_re * safe_re + e_im * safe_im) / norm
    quotient_im = (e_im * safe_re - e_re * safe_im) / norm
    series_re, series_im = _series(torch.where(small, z_re, 0.0), torch.where(small, z_im, 0.0))

    scale_re = torch.where(small, step * series_re, quotient_re)
    scale_im = torch.where(small, step * series_im, quotient_im)
    return torch.stack((growth * cos, growth * sin), -2), torch.stack((scale_re, scale_im), -2)


def bilinear(Lambda: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Bilinear (Tustin) discretization, the trapezoidal rule.

    `Lambda_bar = (1 + z / 2) / (1 - z / 2)`, `input_scale = step / (1 - z / 2)` with `z = Lambda step`.

    Args:
        Lambda: `[..., 2, N]`.
        step: `[..., N]`.

    Returns:
        `Lambda_bar` and `input_scale`, each `[..., 2, N]`.

    References:
        Simplified State Space Layers for Sequence Modeling, Smith, Warrington, Linderman, 2023.
    """
    half = Lambda * step.unsqueeze(-2) / 2
    half_re, half_im = half.unbind(-2)
    norm = (1 - half_re).square() + half_im.square()
    w_re, w_im = (1 - half_re) / norm, half_im / norm  # 1 / (1 - z / 2)
    Lambda_bar = torch.stack(((1 + half_re) * w_re - half_im * w_im, (1 + half_re) * w_im + half_im * w_re), -2)
    return Lambda_bar, torch.stack((step * w_re, step * w_im), -2)


def dirac(Lambda: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs as impulses, suited to events: `Lambda_bar = exp(Lambda step)`, `input_scale = 1`.

    Args:
        Lambda: `[..., 2, N]`.
        step: `[..., N]`.

    Returns:
        `Lambda_bar` and `input_scale`, each `[..., 2, N]`.

    References:
        Scalable Event-by-event Processing of Neuromorphic Sensory Signals With Deep State-Space Models,
        Schöne, Sushma, Zhuge, Mayr, Subramoney, Kappel, 2024.
    """
    z_re, z_im = (Lambda * step.unsqueeze(-2)).unbind(-2)
    growth = torch.exp(z_re)
    Lambda_bar = torch.stack((growth * torch.cos(z_im), growth * torch.sin(z_im)), -2)
    one = torch.ones_like(growth)
    return Lambda_bar, torch.stack((one, torch.zeros_like(one)), -2)


def _series(z_re: Tensor, z_im: Tensor) -> tuple[Tensor, Tensor]:
    """`(exp(z) - 1) / z = sum_k z^k / (k + 1)!`.

    A polynomial with real coefficients is evaluated at `z = w` as its remainder modulo `(z - w)(z - conj(w))`, with two
    real products per term (Knuth, The Art of Computer Programming, volume 2, section 4.6.4).
    """
    twice, norm = 2 * z_re, z_re.square() + z_im.square()
    high = torch.full_like(z_re, 1 / factorial(TERMS))
    low = torch.full_like(z_re, 1 / factorial(TERMS - 1))
    for k in range(TERMS - 2, 0, -1):
        high, low = torch.addcmul(low, high, twice), 1 / factorial(k) - high * norm
    return torch.addcmul(low, high, z_re), high * z_im


DISCRETIZATIONS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "zoh": zoh,
    "bilinear": bilinear,
    "dirac": dirac,
}
