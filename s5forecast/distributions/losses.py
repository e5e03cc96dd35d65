"""What training minimises, by name."""

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
    """Negative log-likelihood: the loss of the output itself."""
    return output.loss(target, args, scale=scale)


def crps(output: Output, target: Tensor, args: tuple[Tensor, ...], scale: Tensor | None, levels: Any) -> Tensor:
    """Continuous ranked probability score, in units of the scale."""
    score = _distribution(output, args, scale).crps(target.double())
    return (score if scale is None else score / scale).to(target.dtype)


def quantile(
    output: Output, target: Tensor, args: tuple[Tensor, ...], scale: Tensor | None, levels: Sequence[float]
) -> Tensor:
    r"""Quantile loss at the levels, in units of the scale: :math:`2 (y - q_u)(u - 1[y < q_u])`, averaged.

    Summed over a data set and divided by its absolute values it is the weighted quantile loss.
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
    """The losses an output can be trained by, its default first."""
    if isinstance(output, QuantileOutput):
        return ["quantile"]
    if not isinstance(output, ForecastOutput):
        return ["nll"]
    return ["nll", "crps", "quantile"] if output.smooth_quantiles else ["nll", "crps"]


def check_loss(loss: str | None, output: Output) -> str:
    """The loss named; the default of the output for ``None``.

    Raises:
        ValueError: for an unknown name, or a loss that the output cannot be trained by.
    """
    if loss == "energy":
        raise ValueError("loss='energy' is for multivariate outputs; of one variable it is loss='crps'")
    offered = losses_of(output)
    if loss is None:
        return offered[0]
    choose(LOSSES, loss, "loss")
    if loss not in offered:
        raise ValueError(
            f"{type(output).__name__} cannot be trained by loss={loss!r}; choose one of "
            f"{', '.join(map(repr, offered))}, or another distr_output"
        )
    return loss
