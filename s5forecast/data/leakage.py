"""Covariates that give the target away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from s5forecast.data.table import SeriesTable

# Share of equal values at which a covariate counts as a copy of the target, and the smallest number that is compared;
# not measured.
SHARE, ENOUGH = 0.99, 20
# Most shifts that are compared, and rows that are compared before a shift is compared on all rows; not measured.
MAX_SHIFT, SAMPLED = 60, 20_000


class Leak(NamedTuple):
    """A covariate that equals the target of another step.

    Args:
        role: argument of the forecaster that names the column, ``"known"`` or ``"past"``.
        column: name of the column.
        shift: steps from the column to the target that it equals; negative for an earlier target.
        share: share of equal values.
    """

    role: str
    column: str
    shift: int
    share: float

    def message(self, target: str, horizon: int) -> str:
        """What was found, and what to do about it."""
        steps = f"{abs(self.shift)} step{'s' if abs(self.shift) > 1 else ''}"
        where = f"{steps} {'later' if self.shift > 0 else 'earlier'}" if self.shift else "of the same row"
        reason = (
            f"it cannot be known over a horizon of {horizon} steps"
            if self.role == "known"
            else "its values are not known before the target"
        )
        return (
            f"{self.role} column {self.column!r} equals {target!r} {where} in {100 * self.share:.0f} % of the values, "
            f"so {reason}; leave it out of {self.role}="
        )


def find_leaks(table: SeriesTable, target: np.ndarray, role: str, names: Sequence[str], shifts: range) -> list[Leak]:
    """The covariates that equal the target some steps later.

    Args:
        table: R rows of S series.
        target: values, ``[R]``.
        role: ``"known"`` or ``"past"``, the covariates to compare.
        names: names of these columns; known rows beyond them, such as holidays, are not compared.
        shifts: shifts to compare, of which those closest to 0 are taken.

    Returns:
        For each column that is a copy, the shift with the largest share of equal values.
    """
    with np.errstate(over="ignore"):
        target, owners = target.astype(np.float32), table.owners
    nearest = sorted(shifts, key=abs)[: 2 * MAX_SHIFT]
    leaks = []
    rows = table.known if role == "known" else table.past
    for name, column in zip(names, rows[: len(names)], strict=True):
        found = [Leak(role, name, shift, _equal(column, target, owners, shift)) for shift in nearest]
        best = max(found, key=lambda leak: leak.share, default=None)
        if best is not None and best.share >= SHARE:
            leaks.append(best)
    return leaks


def _equal(column: np.ndarray, target: np.ndarray, owners: np.ndarray, shift: int) -> float:
    """Share of pairs of a covariate and the target ``shift`` steps later that are equal; 0 without enough values.

    Pairs of zeros are ignored: two columns that are mostly 0 are not copies of each other.
    """
    if len(target) - abs(shift) > 2 * SAMPLED:
        part = slice(0, SAMPLED)
        if _equal(column[part], target[part], owners[part], shift) < SHARE:
            return 0.0
    early, late = slice(0, len(target) - abs(shift)), slice(abs(shift), None)
    here, there = (early, late) if shift >= 0 else (late, early)
    one, other = column[here], target[there]
    both = (owners[here] == owners[there]) & ~np.isnan(one) & ~np.isnan(other) & ((one != 0) | (other != 0))
    one, other = one[both], other[both]
    if len(one) < ENOUGH or (other == other[0]).all():
        return 0.0
    return float((one == other).mean())
