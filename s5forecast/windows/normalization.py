"""Normalization of windows, also of those with few observed values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from s5forecast.data.spec import TypicalWindow, WindowSpec
from s5forecast.notices import warn_user
from s5forecast.windows.scaling import SCALINGS, deviation, masked_mean, positive

# With fewer observed values, the spread of a window says little about that of its series. The pretrained network has
# the same bound, see networks/pretrained.py.
FEWEST_OBSERVED = 4
# Series listed in a warning.
MAX_LISTED = 5


class Normalization(NamedTuple):
    """Location, scale and level of B windows, ``[B, 1]`` float64 each: ``values = loc + scale * normalized values``."""

    loc: Tensor
    scale: Tensor
    level: Tensor  # mean absolute value, 1 if it is 0

    @classmethod
    def of(cls, scaling: str, values: Tensor, mask: Tensor) -> Normalization:
        """From the observed values of each window, ``[B, T]``."""
        return cls(*SCALINGS[scaling](values, mask), positive(masked_mean(values.abs(), mask)))

    @classmethod
    def of_few(cls, spec: WindowSpec, values: Tensor, mask: Tensor) -> Normalization:
        """From the last observed values of each series, and from typical training windows if these are too few.

        The typical scale, relative to the level, counts as much as one value.

        Args:
            spec: contents of the windows.
            values, mask: as returned by :meth:`ObservedValues.last`.
        """
        own = cls.of(spec.scaling, values, mask)
        count = mask.sum(1, keepdim=True)
        typical = spec.typical
        if typical is None:
            return own
        observed = masked_mean(values.abs(), mask)
        expected = torch.where(observed > 0, typical.ratio * observed, typical.scale)
        own_weight = (count - 1).clamp(min=0)
        blended = ((own_weight * own.scale**2 + expected**2) / (own_weight + 1)).sqrt()
        enough = count >= fewest_observed(spec)
        return cls(
            loc=torch.where(count > 0, own.loc, typical.location),
            scale=torch.where(enough, own.scale, blended),
            level=torch.where(observed > 0, own.level, typical.level),
        )

    def replaced(self, rows: Tensor, others: Normalization) -> Normalization:
        """A copy with other values in some rows."""
        return Normalization(
            *(old.index_put((rows,), new) for old, new in zip(self, others, strict=True)),
        )


class ObservedValues:
    """The observed values of concatenated series, without the missing ones between them.

    Args:
        values: concatenated series.
        mask: whether each value was observed.
    """

    def __init__(self, values: Tensor, mask: Tensor) -> None:
        self.rows = torch.nonzero(mask).squeeze(-1)
        self.values = values[self.rows].double()

    def last(self, begin: Tensor, end: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The last ``count`` observed values of rows ``begin`` to ``end [B]``, and their mask, ``[B, 2 * count]``.

        They end with the last observed value. One missing step replaces each gap between them.
        """
        first, beyond = torch.searchsorted(self.rows, torch.stack([begin, end])).unsqueeze(-1)
        number = beyond + torch.arange(-count, 0)
        present, number = number >= first, number.clamp(min=0)
        distance = self.rows[number].diff(dim=1).clamp(1, 2).where(present[:, :-1], 1)
        ahead = distance.flip(1).cumsum(1).flip(1)
        slot = 2 * count - 1 - torch.cat([ahead, torch.zeros_like(number[:, :1])], dim=1)
        empty = self.values.new_zeros(len(begin), 2 * count)
        mask = present.double()
        return empty.scatter(1, slot, self.values[number] * mask), empty.scatter(1, slot, mask)


def fewest_observed(spec: WindowSpec) -> int:
    """Fewest observed values by which a window is normalized."""
    return min(FEWEST_OBSERVED, spec.context_length)


def warn_few_values(items: Sequence[Any], spec: WindowSpec) -> None:
    """Warn that series have too few recent values to be normalized by them."""
    further = len(items) - MAX_LISTED
    names = ", ".join(map(repr, items[:MAX_LISTED])) + (f" and {further} more" if further > 0 else "")
    warn_user(
        f"fewer than {fewest_observed(spec)} values were observed in the context of series {names}; their location and "
        "scale are taken from older values or, if there are too few, from the typical ratio of spread to level in the "
        "training data; give more history if there is any"
    )


def typical_window(past: Tensor, mask: Tensor, found: Normalization, spec: WindowSpec) -> TypicalWindow | None:
    """The typical location and scale of windows; ``None`` without normalization, or if no window varies.

    Args:
        past, mask: values of the contexts, ``[B, L]``.
        found: their normalization.
        spec: contents of the windows.
    """
    varies = (deviation(past, mask) > 0) & (mask.sum(1, keepdim=True) >= fewest_observed(spec))
    if spec.scaling == "none" or not varies.any():
        return None
    loc, scale, level = (x[varies] for x in found)
    return TypicalWindow(
        location=loc.mean().item(),
        scale=scale.log().mean().exp().item(),
        level=level.log().mean().exp().item(),
        ratio=(scale / level).log().mean().exp().item(),
    )
