"""Errors in the data of single series, and how to leave these series out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import reduce
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from s5forecast.data.items import join_keys, plain_keys, restored_keys
from s5forecast.notices import warn_user

ON_ERROR = {"raise": False, "skip": True}
# Series that are named in the warning.
MAX_NAMED = 5
T = TypeVar("T")
# Series that a warning has named, within a block in which each is named once.
_named: ContextVar[set[tuple[Any, ...]] | None] = ContextVar("_named", default=None)

# Whether series with an error are left out, within a call that does so.
_leaving_out: ContextVar[bool] = ContextVar("_leaving_out", default=False)


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


class Skipped:
    """Series that were left out, with the first reason for each.

    Attributes:
        reasons: error message of each series, by label.
    """

    def __init__(self) -> None:
        self.reasons: dict[Any, str] = {}
        self._keys: list[pd.DataFrame] = []

    def add(self, keys: pd.DataFrame, reasons: Iterable[str]) -> None:
        """Add series that are not yet left out.

        Args:
            keys: columns that identify the series, indexed by label; no columns for GluonTS entries.
            reasons: error message of each series.
        """
        found = dict(zip(keys.index.tolist(), reasons, strict=False))
        new = [label not in self.reasons for label in found]
        self.reasons |= {label: reason for label, reason in found.items() if label not in self.reasons}
        if any(new):
            self._keys.append(keys.iloc[np.flatnonzero(new)])

    def update(self, other: Skipped) -> None:
        """Add the series that another one has."""
        for keys in other._keys:
            self.add(keys, [other.reasons[label] for label in keys.index.tolist()])

    def plain(self) -> dict[str, Any]:
        """The series and the reasons as data for JSON."""
        keys = join_keys(*self._keys) if self._keys else pd.DataFrame()
        return {"labels": keys.index.tolist(), "keys": plain_keys(keys), "reasons": list(self.reasons.values())}

    @classmethod
    def restored(cls, plain: Mapping[str, Any]) -> Skipped:
        """The series that :meth:`plain` returned."""
        found = cls()
        found.add(restored_keys(plain["keys"], plain["labels"]), plain["reasons"])
        return found

    def frame(self, item_id: str, identity: Sequence[str]) -> pd.DataFrame:
        """The series as they are identified in the frame, or by item_id, and the reasons.

        Args:
            item_id: name of the column of labels, of series without other columns.
            identity: names of the columns that identify series.
        """
        if not self._keys:
            return pd.DataFrame({name: pd.Series(dtype=object) for name in (*identity, "reason")})
        parts = [keys if len(keys.columns) else keys.assign(**{item_id: keys.index}) for keys in self._keys]
        return reduce(join_keys, parts).reset_index(drop=True).assign(reason=list(self.reasons.values()))


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
    make: Callable[[Any], T], data: Any, leave_out: Callable[[Any, Mapping[str, str]], tuple[Any, pd.DataFrame]]
) -> tuple[T, Skipped]:
    """The result of a function for the series without an error.

    Args:
        make: function of the data, which raises SeriesError.
        data: frame or series.
        leave_out: returns the data without the series of the given names, and the columns that identify these series,
            indexed by label, in the order of the names.

    Returns:
        The result, and the series that were left out.

    Raises:
        ValueError: if no series is left, or for another error.
    """
    skipped = Skipped()
    while True:
        token = _leaving_out.set(True)
        try:
            return make(data), skipped
        except SeriesError as error:
            data, keys = leave_out(data, error.reasons)
            if not len(keys) or not len(data):
                raise
            skipped.add(keys, error.reasons.values())
        finally:
            _leaving_out.reset(token)


def wants_all_errors() -> bool:
    """Whether series with an error are left out, so that the errors of all are needed instead of the first."""
    return _leaving_out.get()


def valid_only(
    make: Callable[[Any], T], data: Any, leave_out: Callable[[Any, Mapping[str, str]], tuple[Any, pd.DataFrame]]
) -> tuple[T | None, Skipped]:
    """As :func:`without_faults`, but the result is ``None`` if there are no series, or all are left out."""
    skipped = Skipped()
    while len(data):
        try:
            return make(data), skipped
        except SeriesError as error:
            data, keys = leave_out(data, error.reasons)
            if not len(keys):
                raise
            skipped.add(keys, error.reasons.values())
    return None, skipped


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
