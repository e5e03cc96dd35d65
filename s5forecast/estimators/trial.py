"""A short training without the end of each series, which decides how long to train on short records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from s5forecast.estimators.training import ForecastModule
from s5forecast.windows.regular import Batch


def losses_in_stages(
    module: ForecastModule, held_out: Batch, epochs: Sequence[int], fit: Callable[[int], Any]
) -> list[float]:
    """Loss of held-out windows after each stage of a training.

    The learning rate rises and decays to zero in every stage, so that each ends with a network that could be used, see
    "SGDR: Stochastic Gradient Descent with Warm Restarts" (Loshchilov, Hutter, 2017).

    Args:
        module: the network with its optimizer.
        held_out: windows whose horizons are not in the training data.
        epochs: epochs of each stage.
        fit: trains the module for a number of epochs.
    """
    losses = []
    for count in epochs:
        fit(count)
        losses.append(held_out_loss(module, held_out))
    return losses


@torch.no_grad()
def held_out_loss(module: ForecastModule, held_out: Batch) -> float:
    """Loss of the network on windows."""
    network = module.network.eval()
    device = next(network.parameters()).device
    loss = network.loss(type(held_out)(*(x.to(device) for x in held_out))).item()
    network.train()
    return loss
