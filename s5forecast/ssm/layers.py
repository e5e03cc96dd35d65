"""The state-space layers by name and their constructor arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, cast

from s5forecast.choices import choose
from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.dss import DSS
from s5forecast.ssm.dss_softmax import DSSSoftmax
from s5forecast.ssm.liquid_s4 import LiquidS4
from s5forecast.ssm.lru import LRU
from s5forecast.ssm.mega import Mega
from s5forecast.ssm.s4 import S4
from s5forecast.ssm.s4d import S4D
from s5forecast.ssm.s5 import S5

LAYERS: dict[str, type[StateSpaceLayer]] = {
    "s5": S5,
    "s4": S4,
    "s4d": S4D,
    "dss": DSS,
    "dss_softmax": DSSSoftmax,
    "lru": LRU,
    "liquid_s4": LiquidS4,
    "mega": Mega,
}


# The layer of all blocks, or a list of layers that repeats over the blocks, and their constructor arguments.
LayerNames = str | Sequence[str]
LayerArguments = dict[str, Any] | list[dict[str, Any]]


def layer_arguments(
    layer: LayerNames,
    given: Mapping[str, Any] | None = None,
    *,
    preferred: Mapping[str, Any] | None = None,
    required: Mapping[str, Any] | None = None,
) -> Any:
    """Constructor arguments of a layer, after ``width``.

    Args:
        layer: a key of ``LAYERS``, or a list of keys.
        given: arguments set by the user (``layer_kwargs``); they override ``preferred``. In a list of layers, each
            argument is passed to the layers that have it.
        preferred: generic arguments that suit the task. Those that the layer does not take are left out.
        required: generic arguments that the task depends on; they override all others.

    Returns:
        ``layer_kwargs`` of :class:`~s5forecast.nn.Encoder`: a dict, or one dict for each layer of a list.

    Raises:
        ValueError: for an unknown layer, an argument of ``given`` that the layer does not have, or an argument of
            ``required`` that it does not take.
    """
    if not isinstance(layer, str):
        _check_known_by_one(layer, given or {})
        return [
            layer_arguments(name, _accepted(name, given or {}), preferred=preferred, required=required)
            for name in layer
        ]
    cls = choose(LAYERS, layer, "layer")
    given, preferred, required = dict(given or {}), dict(preferred or {}), dict(required or {})
    known = _parameters(layer)
    for name in given:
        if name not in known:
            raise ValueError(f"layer {layer!r} has no argument {name!r} in layer_kwargs; it has {', '.join(known)}")
    for name in required:
        if name not in cls.generic_arguments:
            others = [repr(key) for key, other in LAYERS.items() if name in other.generic_arguments]
            raise ValueError(f"layer {layer!r} does not take {name}, which is needed here; use {' or '.join(others)}")
    suitable = {name: value for name, value in preferred.items() if name in cls.generic_arguments}
    return {**suitable, **given, **required}


def is_bidirectional(layer_kwargs: LayerArguments) -> bool:
    """Whether constructor arguments, as returned by :func:`layer_arguments`, make any of the layers bidirectional."""
    return any(arguments.get("bidirectional") for arguments in _as_list(layer_kwargs))


def with_shorter_steps(layer: LayerNames, layer_kwargs: LayerArguments, substeps: int) -> Any:
    """Constructor arguments of the same layers for steps that are ``substeps`` times as short.

    Raises:
        ValueError: for a layer that does not take ``step_scale``.
    """
    if isinstance(layer, str):
        (arguments,) = _as_list(layer_kwargs)
        required = {"step_scale": arguments.get("step_scale", 1.0) / substeps}
        return layer_arguments(layer, arguments, required=required)
    pairs = zip(layer, _as_list(layer_kwargs), strict=True)
    return [with_shorter_steps(name, arguments, substeps) for name, arguments in pairs]


def layers_of_blocks(
    layer: LayerNames | type[StateSpaceLayer], layer_kwargs: LayerArguments | None, num_layers: int
) -> list[tuple[Any, dict[str, Any]]]:
    """The constructor of the layer of each block and its arguments; a list of layers repeats.

    Raises:
        ValueError: for an unknown layer, an argument that no layer has, or a list that is empty or longer than the
            number of blocks.
    """
    if isinstance(layer, str) or not isinstance(layer, Sequence):
        return [(choose(LAYERS, layer, "layer"), dict(cast(dict[str, Any], layer_kwargs or {})))] * num_layers
    check_names(layer, num_layers)
    arguments = layer_kwargs if isinstance(layer_kwargs, list) else layer_arguments(layer, layer_kwargs)
    made = [(choose(LAYERS, name, "layer"), one) for name, one in zip(layer, arguments, strict=True)]
    return [made[block % len(made)] for block in range(num_layers)]


def check_names(layer: LayerNames, num_layers: int) -> None:
    """Raise ValueError for an unknown layer, or for a list that is empty or longer than the number of blocks."""
    names = [layer] if isinstance(layer, str) else list(layer)
    for name in names:
        choose(LAYERS, name, "layer")
    if not 1 <= len(names) <= num_layers:
        raise ValueError(
            f"layer={names} must name between 1 and num_layers={num_layers} layers, one for each block; a shorter list "
            "repeats"
        )


def _as_list(layer_kwargs: LayerArguments) -> list[dict[str, Any]]:
    return layer_kwargs if isinstance(layer_kwargs, list) else [layer_kwargs]


def _parameters(layer: str) -> list[str]:
    """Names of the constructor arguments after ``width``."""
    return [name for name in signature(choose(LAYERS, layer, "layer")).parameters if name != "width"]


def _accepted(layer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = _parameters(layer)
    return {name: value for name, value in given.items() if name in known}


def _check_known_by_one(layers: Sequence[str], given: Mapping[str, Any]) -> None:
    for name in given:
        if not any(name in _parameters(layer) for layer in layers):
            known = "; ".join(f"{layer!r} has {', '.join(_parameters(layer))}" for layer in dict.fromkeys(layers))
            raise ValueError(f"none of the layers has an argument {name!r} in layer_kwargs: {known}")
