"""Errors in the data of single series, and how to leave these series out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from s5forecast.notices import warn_user

ON_ERROR = {"raise": False, "skip": True}
# Series that are named in the warning.
MAX_NAMED = 5
T = TypeVar("T")
# Series that a warning has named, within a block in which each is named once.
_named: ContextVar[set[tuple[Any, ...]] | None] = ContextVar("_named", default=None)


class SeriesError(ValueError):
    """Invalid data of one or several series; the message describes the first.

    Args:
        reasons: error message by name of the series, such as ``"series 'a'"``.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(next(iter(reasons.values())))
        self.reasons = dict(reasons)

    def __reduce__(self) -> tuple[type, tuple[dict[str, str]]]:
        return type(self), (self.reasons,)


def raise_for_rows(bad: np.ndarray, codes: np.ndarray, names: Sequence[str], message: Callable[[int], str]) -> None:
    """Raise SeriesError if there is a bad row.

    Args:
        bad: whether each row is bad, ``[R]``.
        codes: position in ``names`` of the series of each row, ``[R]``.
        names: names of the series.
        message: error message of a row.
    """
    rows = np.flatnonzero(bad)
    if len(rows):
        first = np.sort(np.unique(codes[rows], return_index=True)[1])
        raise SeriesError({names[codes[row]]: message(row) for row in rows[first].tolist()})


def without_faults(
    make: Callable[[Any], T], data: Any, leave_out: Callable[[Any, Mapping[str, str]], tuple[Any, list[Any]]]
) -> tuple[T, dict[Any, str]]:
    """The result of a function for the series without an error.

    Args:
        make: function of the data, which raises SeriesError.
        data: frame or series.
        leave_out: returns the data without the series of the given names, and the labels of these series.

    Returns:
        The result, and the error message of each series that was left out.

    Raises:
        ValueError: if no series is left, or for another error.
    """
    skipped: dict[Any, str] = {}
    while True:
        try:
            return make(data), skipped
        except SeriesError as error:
            data, labels = leave_out(data, error.reasons)
            if not labels or not len(data):
                raise
            skipped |= dict(zip(labels, error.reasons.values(), strict=False))


def skipped_frame(skipped: Mapping[Any, str], item_id: str) -> pd.DataFrame:
    """The series that were left out and the reasons, as a frame."""
    items = np.empty(len(skipped), dtype=object)
    items[:] = list(skipped)
    return pd.DataFrame({item_id: items, "reason": list(skipped.values())})


@contextmanager
def warning_once() -> Iterator[None]:
    """Within the block, warn only once of the same series that were left out."""
    token = _named.set(set())
    try:
        yield
    finally:
        _named.reset(token)


def warn_of_skipped(skipped: Mapping[Any, str]) -> None:
    """Name the series that were left out, and the first reason."""
    named = _named.get()
    if named is not None:
        if tuple(skipped) in named:
            return
        named.add(tuple(skipped))
    if skipped:
        names = ", ".join(map(repr, list(skipped)[:MAX_NAMED]))
        more = f" and {len(skipped) - MAX_NAMED} more" if len(skipped) > MAX_NAMED else ""
        verb = "is" if len(skipped) == 1 else "are"
        warn_user(f"{len(skipped)} series {verb} left out: {names}{more}; {next(iter(skipped.values()))}")
