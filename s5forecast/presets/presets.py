"""Presets by name, without their estimators, which need Lightning."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple

from s5forecast.estimators.defaults import MEMBERS
from s5forecast.estimators.pretrained_estimator import PretrainedEstimator


class Preset(NamedTuple):
    """Arguments of the network and number of networks.

    Args:
        arguments: default arguments of the model's estimator, fixed arguments of another one.
        members: number of networks.
        estimator: estimator that takes the place of that of ``model="direct"``.
        tuning_steps: steps of the fine-tuning of the pretrained network where there are few values, for
            ``model="direct"``; 0 for an estimator of its own.
    """

    arguments: dict[str, Any]
    members: int = 1
    estimator: Any = None
    tuning_steps: int = 0

    @property
    def fixed(self) -> tuple[str, ...]:
        """Arguments of the other estimator that cannot be given."""
        return (*self.arguments, *(TRAINING if self.arguments.get("num_steps") == 0 else ()))


# Arguments of PretrainedEstimator that have no effect if nothing is trained.
TRAINING = ("synthetic_share", "lr", "ssm_lr", "patience")
PRESETS = {
    # 28 % of the default's steps take at most a third of its processor time, see benchmarks/presets_speed.py.
    "fast": Preset({"num_batches_per_epoch": 14}, tuning_steps=42),
    "default": Preset({}, tuning_steps=150),
    "best": Preset({}, MEMBERS, tuning_steps=150),
    "zero_shot": Preset({"num_steps": 0}, estimator=PretrainedEstimator),
    "fine_tuned": Preset({}, estimator=PretrainedEstimator),
}


def unused_arguments(preset: str) -> list[str]:
    """Arguments that a preset does not take, though the class of its estimators has them."""
    chosen = PRESETS[preset]
    return [] if chosen.estimator is None else [*chosen.fixed, "num_members"]


def other_estimator(arguments: dict[str, Any], preset: str, time_limit: float | None, *, direct: bool) -> Any:
    """Make the estimator of a preset that replaces the one of ``model="direct"``.

    Args:
        arguments: arguments of the estimator.
        preset: a preset with an estimator of its own.
        time_limit: seconds of training.
        direct: whether the model is ``"direct"`` and the series are regular.

    Raises:
        ValueError: for another model, or arguments that the estimator does not have.
    """
    chosen = PRESETS[preset]
    if not direct:
        raise ValueError(
            f"preset={preset!r} is available for regular series and model='direct' only; leave out model= and pass "
            "freq=, or choose another preset"
        )
    accepted = [name for name in signature(chosen.estimator).parameters if name not in chosen.fixed]
    if unknown := [name for name in arguments if name not in accepted]:
        size = "has a fixed size" if len(chosen.fixed) == 0 else "has a fixed size, is not trained"
        raise ValueError(
            f"preset={preset!r} does not take {unknown}: the pretrained network {size} and uses no covariates; its "
            f"arguments are {accepted}"
        )
    return chosen.estimator(**arguments, **chosen.arguments, time_limit=time_limit)


def base_network(estimator: Any) -> Any:
    """The first network of an estimator."""
    return base_network(estimator.estimator) if hasattr(estimator, "estimator") else estimator
