"""The state-space layers by name and their constructor arguments."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from s5forecast.choices import choose
from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.dss import DSS
from s5forecast.ssm.lru import LRU
from s5forecast.ssm.s4d import S4D
from s5forecast.ssm.s5 import S5

LAYERS: dict[str, type[StateSpaceLayer]] = {"s5": S5, "s4d": S4D, "dss": DSS, "lru": LRU}


def layer_arguments(
    layer: str,
    given: Mapping[str, Any] | None = None,
    *,
    preferred: Mapping[str, Any] | None = None,
    required: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Constructor arguments of a layer, after ``width``.

    Args:
        layer: a key of ``LAYERS``.
        given: arguments set by the user (``layer_kwargs``); they override ``preferred``.
        preferred: generic arguments that suit the task. Those that the layer does not take are left out.
        required: generic arguments that the task depends on; they override all others.

    Returns:
        ``layer_kwargs`` of :class:`~s5forecast.nn.Encoder`.

    Raises:
        ValueError: for an unknown layer, an argument of ``given`` that the layer does not have, or an argument of
            ``required`` that it does not take.
    """
    cls = choose(LAYERS, layer, "layer")
    given, preferred, required = dict(given or {}), dict(preferred or {}), dict(required or {})
    known = [name for name in signature(cls).parameters if name != "width"]
    for name in given:
        if name not in known:
            raise ValueError(f"layer {layer!r} has no argument {name!r} in layer_kwargs; it has {', '.join(known)}")
    for name in required:
        if name not in cls.generic_arguments:
            others = [repr(key) for key, other in LAYERS.items() if name in other.generic_arguments]
            raise ValueError(f"layer {layer!r} does not take {name}, which is needed here; use {' or '.join(others)}")
    suitable = {name: value for name, value in preferred.items() if name in cls.generic_arguments}
    return {**suitable, **given, **required}
