"""Training losses by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from s5forecast.choices import choose
from s5forecast.distributions.base import ForecastOutput, widened
from s5forecast.distributions.output import Output
from s5forecast.distributions.quantile import QuantileOutput


def nll(output: Output, target: Tensor, args: tuple[Tensor, ...], scale: Tensor | None, levels: Any) -> Tensor:
    """Negative log-likelihood, the loss that the output itself defines."""
    return output.loss(target, args, scale=scale)


def crps(output: Output, target: Tensor, args: tuple[Tensor, ...], scale: Tensor | None, levels: Any) -> Tensor:
    """Continuous ranked probability score, in units of the scale."""
    score = _distribution(output, args, scale).crps(target.double())
    return (score if scale is None else score / scale).to(target.dtype)


def quantile(
    output: Output, target: Tensor, args: tuple[Tensor, ...], scale: Tensor | None, levels: Sequence[float]
) -> Tensor:
    r"""Quantile loss in units of the scale, :math:`2 (y - q_u)(u - 1[y < q_u])`, averaged over the levels.

    Summed over a data set and divided by the sum of the absolute values, it is the weighted quantile loss.
    """
    if isinstance(output, QuantileOutput):
        return output.loss(target, args, scale=scale)
    u = torch.tensor(levels, dtype=torch.float64, device=target.device).view(-1, *[1] * target.ndim)
    error = target.double() - _distribution(output, args, scale).icdf(u)
    loss = 2 * torch.maximum(u * error, (u - 1) * error).mean(0)
    return (loss if scale is None else loss / scale).to(target.dtype)


def _distribution(output: Any, args: tuple[Tensor, ...], scale: Tensor | None) -> Any:
    return output.distribution(tuple(map(widened, args)), scale=None if scale is None else scale.double())


Loss = Callable[[Output, Tensor, tuple[Tensor, ...], Tensor | None, Sequence[float]], Tensor]
LOSSES: dict[str, Loss] = {"nll": nll, "crps": crps, "quantile": quantile}


def losses_of(output: Output) -> list[str]:
    """Names of the losses that an output supports, the default first."""
    if isinstance(output, QuantileOutput):
        return ["quantile"]
    if not isinstance(output, ForecastOutput):
        return ["nll"]
    return ["nll", "crps", "quantile"] if output.smooth_quantiles else ["nll", "crps"]


def check_loss(loss: str | None, output: Output) -> str:
    """Check the name of a loss; ``None`` stands for the default of the output.

    Raises:
        ValueError: for an unknown loss, or one that the output does not support.
    """
    if loss == "energy":
        raise ValueError("loss='energy' requires a multivariate output; for one variable, use loss='crps'")
    offered = losses_of(output)
    if loss is None:
        return offered[0]
    choose(LOSSES, loss, "loss")
    if loss not in offered:
        raise ValueError(
            f"{type(output).__name__} cannot be trained with loss={loss!r}; choose one of "
            f"{', '.join(map(repr, offered))}, or another distr_output"
        )
    return loss
