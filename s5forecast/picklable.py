"""Objects of GluonTS's ``validated`` classes that can be saved after they were pickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gluonts.core import fqname_for


class Picklable:
    """Base of validated classes whose objects are pickled for other processes.

    GluonTS adds the methods that encode an object to its class when it creates the first object of the class. A process
    that only unpickles objects lacks them, so they are added when an object is unpickled, also to the classes of its
    arguments.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore: Any = getattr(super(), "__setstate__", vars(self).update)
        restore(state)
        kinds: set[Any] = set(map(type, _validated(self)))
        for kind in kinds:
            if not hasattr(kind, "__getnewargs_ex__"):
                kind.__getnewargs_ex__, kind.__repr__ = _arguments, _representation


def _validated(value: Any) -> Iterator[Any]:
    """The objects of validated classes among an object and its arguments."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _validated(one)
        return
    if hasattr(value, "__init_args__"):
        yield value
    for arguments in ("__init_args__", "__init_passed_kwargs__"):  # of validated classes and of GluonTS's dataclasses
        yield from _validated(getattr(value, arguments, ()))


def _arguments(value: Any) -> tuple[tuple[()], Mapping[str, Any]]:
    """As GluonTS's method of the same purpose."""
    return (), value.__init_args__


def _representation(value: Any) -> str:
    """As GluonTS's method of the same purpose."""
    arguments = ", ".join(f"{name}={one!r}" for name, one in value.__init_args__.items())
    return f"{fqname_for(type(value))}({arguments})"
