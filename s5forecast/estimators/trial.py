"""A short training without the end of each series, which decides how long to train on short records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from s5forecast.estimators.training import ForecastModule
from s5forecast.levels import DECILES
from s5forecast.windows.regular import Batch

# Series of which paths are drawn to compute the coverage, at most.
COVERED_WINDOWS = 64


class Trial(NamedTuple):
    """Scores of held-out windows.

    Args:
        losses: loss after each stage of the training.
        coverage: share of the values within the central 80 % of their distributions, after the last stage.
    """

    losses: list[float]
    coverage: float


def train_in_stages(module: ForecastModule, held_out: Batch, epochs: Sequence[int], fit: Callable[[int], Any]) -> Trial:
    """Train in stages and evaluate held-out windows.

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
        losses.append(_evaluated(module, held_out, lambda network, batch: network.loss(batch).item()))
    return Trial(losses, _evaluated(module, held_out, _coverage))


def _coverage(network: Any, held_out: Batch) -> float:
    some = type(held_out)(*(x[:: -(-len(x) // COVERED_WINDOWS)] for x in held_out))
    quantiles = torch.from_numpy(network(some).quantiles([DECILES[0], DECILES[-1]]))
    target, mask = some.target.cpu(), some.mask[:, some.past.shape[1] :].cpu()
    inside = (quantiles[..., 0] <= target) & (target <= quantiles[..., 1])
    return ((inside * mask).sum() / mask.sum()).item()


@torch.no_grad()
def _evaluated(module: ForecastModule, held_out: Batch, score: Callable[[Any, Batch], float]) -> float:
    network = module.network.eval()
    device = next(network.parameters()).device
    found = score(network, type(held_out)(*(x.to(device) for x in held_out)))
    network.train()
    return found
