"""Treatment of missing steps at the input of an encoder: keep them as imputed, or skip them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class EncoderInputs(NamedTuple):
    """Arguments of :class:`~s5forecast.nn.Encoder`; ``dt`` and ``mask`` are None for regular steps without gaps."""

    steps: Tensor  # [B, M, F]
    dt: Tensor | None  # [B, M] time since the previous step, 1 for the first step; 0 for padding
    mask: Tensor | None  # [B, M] 1, or 0 for padding


def keep_gaps(steps: Tensor, observed: Tensor) -> EncoderInputs:
    """Pass all steps to the encoder; missing values have been imputed."""
    return EncoderInputs(steps, None, None)


def skip_gaps(steps: Tensor, observed: Tensor) -> EncoderInputs:
    """Pass only observed steps to the encoder, with the gaps between them as longer steps.

    Args:
        steps: ``[B, T, F]``.
        observed: ``[B, T]``, 1 for observed steps, otherwise 0.

    Returns:
        The observed steps, right-aligned and padded to M, the largest number of observed steps in a sequence. They are
        contiguous, so that both directions of a bidirectional encoder see the gaps as lengths of steps.
    """
    M = int(observed.sum(1).max())
    position = torch.argsort(observed, dim=1, stable=True)[:, observed.shape[1] - M :]
    mask = observed.gather(1, position)
    since = torch.where(mask[:, :-1] > 0, position.diff(dim=1), 1) * mask[:, 1:]
    dt = torch.cat([mask[:, :1], since], dim=1)
    return EncoderInputs(torch.take_along_dim(steps, position.unsqueeze(-1), dim=1), dt, mask)


# (steps [B, T, F], observed [B, T]) -> arguments of the encoder
MISSING: dict[str, Callable[[Tensor, Tensor], EncoderInputs]] = {"impute": keep_gaps, "skip": skip_gaps}
