"""Detection of count data."""

from __future__ import annotations

from torch import Tensor


def are_counts(values: Tensor, dim: int = 0) -> Tensor:
    """Whether all observed values along a dimension are non-negative integers; NaN means not observed."""
    return ((values >= 0) & (values == values.round()) | values.isnan()).all(dim)
