"""Warnings that point to the line of the user's code."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable
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

    def __init__(self, message: str, series: Iterable[str]) -> None:
        super().__init__(message)
        self.series = tuple(series)


def warn_user(message: str | SeriesWarning) -> None:
    """Issue a UserWarning at the innermost line outside this package."""
    depth, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((PACKAGE, BETWEEN)):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=depth + 1)
