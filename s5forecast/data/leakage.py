"""Covariates that leak the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from s5forecast.data.profile import FENCE, quantiles
from s5forecast.data.table import SeriesTable

# A later target is leaked if a line through the values of the covariate leaves less than this share of the variance
# that other relations leave. A copy that is rounded to a third of the standard deviation leaves 1/12/9 = 0.009.
CLOSE = 0.01
# Equal changes of the covariate that are needed: fewer events of two series coincide by chance at one of many shifts.
ENOUGH = 10
# A share of the variance below this is a rounding error; that of a float32 is 1e-14.
ROUNDING = 1e-12
# Rows that are compared, all together and at least of each series. Normal values have a third as many equal changes.
ROWS, ROWS_OF_SERIES = 64_000, 64
# Shifts that are compared for shorter horizons too: a month of days.
LEAST_REACH = 31
BOOLEANS = {"True": 1, "False": 0}
# Share of equal values from which on a covariate is called equal to the target.
EQUAL = 0.99


@dataclass(frozen=True)
class Leak:
    """A covariate that leaks the target of another step.

    Args:
        role: argument of the forecaster that names the column, ``"known"`` or ``"past"``.
        column: name of the column.
        shift: steps from the column to the target that it leaks; negative for an earlier target.
        equal: whether the values are equal, and not only on a line.
        series: positions of the series.
    """

    role: str
    column: str
    shift: int
    equal: bool
    series: Sequence[int]

    def message(self, table: SeriesTable, target: str, horizon: int) -> str:
        """The text of the finding, with a fix."""
        steps = f"{abs(self.shift)} step{'s' if abs(self.shift) > 1 else ''}"
        where = f"{steps} {'later' if self.shift > 0 else 'earlier'}" if self.shift else "of the same row"
        relation = "equals" if self.equal else "is almost a linear function of"
        first = table.name(self.series[0])
        series = first if len(table) == 1 else f"{len(self.series)} of {len(table)} series, such as {first}"
        time = f"{horizon} steps ahead" if self.role == "known" else "at the time of its row"
        return (
            f"{self.role} column {self.column!r} {relation} {target!r} {where} in {series}; if its values are not "
            f"known {time}, leave it out of {self.role}="
        )


@dataclass(frozen=True)
class Pairs:
    """Rows of a covariate, which are compared with the targets of other rows of the same series.

    Args:
        rows: rows of the table around changes of the covariate, ``[N]``.
        values, changes: value of the covariate at these rows, and its difference from the one before it, ``[N]``.
        series: position of the series, ``[N]``.
        target: targets of all R rows, NaN for outliers, ``[R]``.
        bounds: first row of each series, and R, ``[S + 1]``.
    """

    rows: np.ndarray
    values: np.ndarray
    changes: np.ndarray
    series: np.ndarray
    target: np.ndarray
    bounds: np.ndarray

    @property
    def count(self) -> int:
        """Number of series, S."""
        return len(self.bounds) - 1

    def of_series(self, chosen: np.ndarray) -> Pairs:
        """The rows of some series, by whether each is ``chosen [S]``."""
        kept = chosen[self.series]
        parts = {name: getattr(self, name)[kept] for name in ("rows", "values", "changes", "series")}
        return replace(self, **parts)

    def targets(self, shift: int) -> np.ndarray:
        """Targets some steps after the rows, NaN outside of the series, ``[N]``."""
        there = self.rows + shift
        inside = (there >= self.bounds[self.series]) & (there < self.bounds[self.series + 1])
        return np.where(inside, self.target[np.where(inside, there, 0)], np.nan)

    def unexplained(self, of: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Share of the variance of each series that a line leaves, ``[S]``; 1 without enough values."""
        both = np.isfinite(of) & np.isfinite(by)
        of, by, series = of[both], by[both], self.series[both]
        count = self._sums(series)
        of, by = (one - (self._sums(series, one) / np.maximum(count, 1))[series] for one in (of, by))
        total = self._sums(series, of * of) * self._sums(series, by * by)
        explained = self._sums(series, of * by) ** 2 / np.where(total > 0, total, 1)
        return np.where((count >= ENOUGH) & (total > 0), 1 - explained, 1.0)

    def evidence(self, targets: np.ndarray) -> np.ndarray:
        """Number of equal changes that are as informative as the changes at the rows with a target, ``[S]``.

        It is the square of the sum of the squares, divided by the sum of their squares: 1 if one change is much larger
        than all others.
        """
        seen = np.isfinite(targets)
        squares, series = self.changes[seen] ** 2, self.series[seen]
        fourth = self._sums(series, squares**2)
        return self._sums(series, squares) ** 2 / np.where(fourth > 0, fourth, 1)

    def _sums(self, series: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(series, values, minlength=self.count)


def find_leaks(
    table: SeriesTable, target: np.ndarray, role: str, names: Sequence[str], horizon: int, seasons: Sequence[int]
) -> Iterator[Leak]:
    """The covariates that leak later targets.

    When row t is used, the targets up to row t are known for a past column, and those up to row t - H for a known
    column, with H the horizon. A column leaks if its value in row t is almost a linear function of a target that is not
    known then, and of no target that is known. A target that is almost a linear function of the last known one does not
    count. Constants, trends and slowly changing targets are therefore no leaks, nor are columns that repeat after one
    of the given seasons.

    Args:
        table: R rows of S series.
        target: values, ``[R]``.
        role: ``"known"`` or ``"past"``, the covariates to compare.
        names: names of these columns; known rows beyond them, such as holidays, are not compared.
        horizon: steps to forecast.
        seasons: lengths of seasons in steps, ascending.

    Yields:
        A leak for each shift of each column, those of most series first.
    """
    with np.errstate(over="ignore"):
        target = target.astype(np.float32).astype(np.float64)
    target, _, _ = _without_outliers(np.where(np.isfinite(target), target, np.nan), table)
    lead, reach = horizon if role == "known" else 0, max(horizon, LEAST_REACH)
    covariates = table.known if role == "known" else table.past
    for name, codes in zip(names, covariates[: len(names)], strict=True):
        values, rows, changes = _without_outliers(_numbers(codes, table.labels.get(name)), table)
        pairs = Pairs(rows, values[rows], changes, table.owners[rows], target, table.bounds)
        shifts = _search(pairs, lead, reach, seasons)
        distinct, counts = np.unique(shifts[np.isfinite(shifts)].astype(int), return_counts=True)
        for shift in distinct[np.argsort(-counts, kind="stable")].tolist():
            series = np.flatnonzero(shifts == shift)
            leaking = pairs.of_series(shifts == shift)
            later = leaking.targets(shift)
            equal = (leaking.values == later)[np.isfinite(later)].mean() >= EQUAL
            yield Leak(role, name, shift, bool(equal), series.tolist())


def _search(pairs: Pairs, lead: int, reach: int, seasons: Sequence[int]) -> np.ndarray:
    """The shift at which each series leaks, ``[S]``, NaN if it does not.

    Args:
        pairs: rows of the covariate.
        lead: steps from the last known target to the covariate.
        reach: longest shift.
        seasons: lengths of seasons in steps.
    """
    most, shifts = ROWS // ROWS_OF_SERIES, sorted(range(1 - lead, reach + 1), key=abs)
    if pairs.count <= most:
        return _leaking(pairs, lead, reach, seasons, shifts)
    some = np.zeros(pairs.count, dtype=bool)
    some[np.linspace(0, pairs.count - 1, most).astype(int)] = True
    found = _leaking(pairs.of_series(some), lead, reach, seasons, shifts)
    shifts = np.unique(found[np.isfinite(found)]).astype(int).tolist()
    return _leaking(pairs, lead, reach, seasons, shifts) if shifts else found


def _leaking(pairs: Pairs, lead: int, reach: int, seasons: Sequence[int], shifts: Sequence[int]) -> np.ndarray:
    """As :func:`_search`, of some shifts."""
    found, least = np.full(pairs.count, np.nan), np.ones(pairs.count)
    for shift in shifts:
        later = pairs.targets(shift)
        left = pairs.unexplained(later, pairs.values)
        close = left < np.minimum(CLOSE, least)
        if close.any():
            known = pairs.unexplained(later, pairs.targets(-lead))
            close &= (left + ROUNDING < CLOSE * known) & (pairs.evidence(later) >= ENOUGH)
            found[close], least[close] = shift, left[close]
    for shift in np.unique(found[np.isfinite(found)]).astype(int).tolist():
        one = pairs.of_series(found == shift)
        earlier = {*range(-lead - reach, 1 - lead), *(shift - season for season in seasons if shift - season <= -lead)}
        for other in sorted(earlier):
            left = one.unexplained(one.targets(other), one.values)
            found[(found == shift) & (least + ROUNDING >= CLOSE * left)] = np.nan
    return found


def _changing_rows(values: np.ndarray, owners: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows around changes of a value within a series, and the difference of each from the value before it.

    Of each of ``count`` series, the changes are at most as many as :data:`ROWS` allows, at equal distances. The rows
    before the changes are included, because at the changes alone a column of two values would alternate.
    """
    seen = np.flatnonzero(~np.isnan(values))
    series = owners[seen]
    changes = np.diff(values[seen], prepend=0.0)
    changes[np.diff(series, prepend=-1) != 0] = 0.0
    changed = np.flatnonzero(changes)
    series = series[changed]
    counts = np.bincount(series, minlength=count)
    number = np.arange(len(changed)) - np.repeat(np.cumsum(counts) - counts, counts)
    most, of = max(ROWS // count, ROWS_OF_SERIES), counts[series]
    kept = changed[(of <= most) | (number * most // of != (number - 1) * most // of)]
    near = np.zeros(len(seen), dtype=bool)
    near[kept] = near[kept - 1] = True
    places = np.flatnonzero(near)
    return seen[places], changes[places]


def _without_outliers(values: np.ndarray, table: SeriesTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, NaN beyond the outer fences of those at which a series changes, and their :func:`_changing_rows`."""
    owners, count = table.owners, len(table)
    rows, changes = _changing_rows(values, owners, count)
    low, high = (quantiles(values[rows], owners[rows], count, level) for level in (0.25, 0.75))
    reach = np.where(high > low, FENCE * (high - low), np.inf)
    outside = (values < np.repeat(low - reach, table.lengths)) | (values > np.repeat(high + reach, table.lengths))
    if not outside.any():
        return values, rows, changes
    values = np.where(outside, np.nan, values)
    return values, *_changing_rows(values, owners, count)


def _numbers(row: np.ndarray, labels: Sequence[str] | None) -> np.ndarray:
    """A covariate as numbers: labels that are numbers or booleans by their value, others by their code."""
    if labels is None:
        return row.astype(np.float64)
    try:
        values = [float(BOOLEANS.get(label, label)) for label in labels]
    except ValueError:
        return row.astype(np.float64)
    numbers = np.array([*values, np.nan])
    return numbers[np.where(np.isnan(row), len(labels), row).astype(np.int64)]
