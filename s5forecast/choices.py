"""Lookup of named options in plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def choose(choices: Mapping[str, T], choice: str | T, what: str) -> T:
    """Look up an option by its name.

    Args:
        choices: the options by name.
        choice: a key of ``choices``, or an object that is not a string, which is returned unchanged.
        what: name of the argument, for the error.

    Raises:
        ValueError: for an unknown name; the message lists the known names.
    """
    if not isinstance(choice, str):
        return choice
    if choice not in choices:
        raise ValueError(f"unknown {what} {choice!r}; choose one of {', '.join(map(repr, choices))}")
    return choices[choice]
