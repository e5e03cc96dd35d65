"""Choices by name: a plain dict of what there is, and the error that lists it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(choices: Mapping[str, T], choice: str | T, what: str) -> T:
    """The entry named ``choice``, or ``choice`` itself where it is an object rather than a name.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in choices:
        raise ValueError(f"unknown {what} {choice!r}; choose one of {', '.join(map(repr, choices))}")
    return choices[choice]
