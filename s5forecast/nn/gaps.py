"""What an encoder sees of missing steps: something in their place, or a longer step after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Shown(NamedTuple):
    """The arguments of an encoder; None stands for steps that are all there and of length 1."""

    steps: Tensor  # [B, M, F]
    dt: Tensor | None  # [B, M] since the step before, 1 for the first; 0 where there is none
    mask: Tensor | None  # [B, M] 1, or 0 where there is none


def keep_gaps(steps: Tensor, observed: Tensor) -> Shown:
    """All steps as they are."""
    return Shown(steps, None, None)


def skip_gaps(steps: Tensor, observed: Tensor) -> Shown:
    """Those of ``steps [B, T, F]`` that are ``observed [B, T]``, at the end of M, the most there are in a sequence.

    They are moved together, so that both directions of an encoder take the gaps for the lengths of its steps.
    """
    M = int(observed.sum(1).max())
    position = torch.argsort(observed, dim=1, stable=True)[:, observed.shape[1] - M :]
    mask = observed.gather(1, position)
    since = torch.where(mask[:, :-1] > 0, position.diff(dim=1), 1) * mask[:, 1:]
    dt = torch.cat([mask[:, :1], since], dim=1)
    return Shown(torch.take_along_dim(steps, position.unsqueeze(-1), dim=1), dt, mask)


# (steps [B, T, F], observed [B, T]) -> what is shown
MISSING: dict[str, Callable[[Tensor, Tensor], Shown]] = {"impute": keep_gaps, "skip": skip_gaps}
