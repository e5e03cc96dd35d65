"""One warning that known covariates are missing at steps to forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain
from typing import Any, NamedTuple

from s5forecast.notices import SeriesWarning, warn_user


class MissingKnown(NamedTuple):
    """Known covariates that are missing at steps to forecast.

    Args:
        columns: names of the columns or fields.
        series: names of the series that lack values.
        first: the first missing step, in words.
    """

    columns: Sequence[str]
    series: Sequence[str]
    first: str

    @classmethod
    def of_steps(cls, lacking: Mapping[str, Mapping[str, int]]) -> MissingKnown:
        """From the first missing step of each field or column that lacks values, by name of the series."""
        columns = dict.fromkeys(field for steps in lacking.values() for field in steps)
        return cls(list(columns), list(lacking), f"at step {min(next(iter(lacking.values())).values())}")

    def and_others(self, others: Sequence[MissingKnown]) -> MissingKnown:
        """With the columns and series of others; the first step remains."""
        found = [self, *others]
        columns, series = (dict.fromkeys(chain(*names)) for names in list(zip(*found, strict=True))[:2])
        return MissingKnown(list(columns), list(series), self.first)


# What was found within a block that reports it at its end.
_found: ContextVar[list[MissingKnown] | None] = ContextVar("_found", default=None)


def report(found: Sequence[MissingKnown]) -> None:
    """Warn once, or leave that to the block that collects what is found."""
    if not found:
        return
    missing, outer = found[0].and_others(found[1:]), _found.get()
    if outer is not None:
        outer.append(missing)
        return
    others = "" if len(missing.series) == 1 else f" and {len(missing.series) - 1} other series"
    message = (
        f"{missing.series[0]}{others}: the known covariates {list(missing.columns)} are missing at steps to forecast, "
        f"starting {missing.first}; these values are masked. Pass them for the whole horizon"
    )
    warn_user(SeriesWarning(message, missing.series))


# Columns of the rows of each field, within a block that forecasts entries of a frame.
_columns: ContextVar[Mapping[str, Sequence[str]] | None] = ContextVar("_columns", default=None)


@contextmanager
def named_by_columns(columns: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Within the block, name columns of a frame instead of fields of its entries.

    Args:
        columns: columns of the rows of each field, such as ``feat_dynamic_real``.
    """
    token = _columns.set(columns)
    try:
        yield
    finally:
        _columns.reset(token)


def row_names(field: str, count: int) -> Sequence[str]:
    """The name of each of the ``count`` rows of a field: its column within :func:`named_by_columns`, or the field."""
    columns = (_columns.get() or {}).get(field.removeprefix("query_"), ())
    return columns if len(columns) == count else [field] * count


@contextmanager
def collecting(found: list[MissingKnown]) -> Iterator[None]:
    """Within the block, add what is missing to a list instead of warning."""
    token = _found.set(found)
    try:
        yield
    finally:
        _found.reset(token)


@contextmanager
def reported_once() -> Iterator[None]:
    """Warn of all that is missing within the block by one warning at its end."""
    found: list[MissingKnown] = []
    with collecting(found):
        yield
    report(found)


def in_step(parts: Sequence[Iterator[Any]]) -> Iterator[tuple[Any, ...]]:
    """As ``zip(*parts, strict=True)`` for forecasts of the same entries, whose missing values are reported once."""
    found: list[MissingKnown] = []
    rows, reported = zip(*parts, strict=True), False
    while True:
        with collecting(found):
            row = next(rows, None)
        if found and not reported:
            report(found)
            reported = True
        if row is None:
            return
        yield row
