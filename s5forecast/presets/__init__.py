"""Presets: configurations that trade training time for accuracy.

The estimators are imported on first use, because they need Lightning and the pretrained network does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from s5forecast.presets.presets import PRESETS

if TYPE_CHECKING:
    from s5forecast.presets.best import BestEstimator
    from s5forecast.presets.default import DefaultEstimator
    from s5forecast.presets.estimator import make_estimator
    from s5forecast.presets.limited import TimeLimitedEstimator

_HOMES = {
    "BestEstimator": "best",
    "DefaultEstimator": "default",
    "TimeLimitedEstimator": "limited",
    "make_estimator": "estimator",
}

__all__ = ["PRESETS", "BestEstimator", "DefaultEstimator", "TimeLimitedEstimator", "make_estimator"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
