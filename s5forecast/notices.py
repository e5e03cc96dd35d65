"""Warnings that point to the line of the user's code."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

PACKAGE = str(Path(__file__).parent) + os.sep
# Between the lines of this package that enter and leave a block.
BETWEEN = contextlib.__file__


class SeriesWarning(UserWarning):
    """A warning about some of the series.

    Args:
        message: text of the warning.
        series: names of the series, such as ``"series 'a'"``, the most affected first.
    """

    def __init__(self, message: str, series: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.series = tuple(series)  # an attribute that is pickled, so that warnings cross processes


# Messages by the line of this package that warns, within a block that issues one warning for each line.
_collected: ContextVar[dict[tuple[str, int], list[str | SeriesWarning]] | None] = ContextVar("_collected", default=None)


def warn_user(message: str | SeriesWarning) -> None:
    """Issue a UserWarning at the innermost line outside this package."""
    collected = _collected.get()
    if collected is not None:
        caller = sys._getframe(1)
        collected.setdefault((caller.f_code.co_filename, caller.f_lineno), []).append(message)
        return
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((PACKAGE, BETWEEN)):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth + 1)


@contextmanager
def one_warning_each() -> Iterator[None]:
    """Issue one warning for each kind that occurs in the block, with the number of similar ones.

    Data that are read or forecast in parts would repeat a warning for every part. Within another such block, the
    outer one issues the warnings.
    """
    found: dict[tuple[str, int], list[str | SeriesWarning]] = {}
    outer = _collected.get()
    token = _collected.set(found)
    try:
        yield
    finally:
        _collected.reset(token)
    if outer is not None:
        for line, messages in found.items():
            outer.setdefault(line, []).extend(messages)
        return
    for messages in found.values():
        first, *others = map(str, messages)
        different = set(others) - {first}
        text = first + (f" (and {len(different)} similar warnings for other series)" if different else "")
        series = [name for one in messages if isinstance(one, SeriesWarning) for name in one.series]
        warn_user(SeriesWarning(text, dict.fromkeys(series)) if series else text)
