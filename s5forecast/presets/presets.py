"""Presets by name, and make_estimator, which applies them to a model."""

from __future__ import annotations

from inspect import signature
from typing import Any, NamedTuple

from gluonts.model.estimator import Estimator

from s5forecast.choices import choose
from s5forecast.estimators import (
    EnsembleEstimator,
    PretrainedEstimator,
    S5AutoregressiveEstimator,
    S5Estimator,
    S5MultivariateEstimator,
)
from s5forecast.estimators.defaults import MEMBERS
from s5forecast.presets.best import BestEstimator
from s5forecast.presets.default import DefaultEstimator, tuned_like
from s5forecast.presets.limited import TimeLimitedEstimator


class Preset(NamedTuple):
    """Arguments of the network and number of networks.

    Args:
        arguments: default arguments of the model's estimator, fixed arguments of another one.
        members: number of networks.
        estimator: estimator that takes the place of that of ``model="direct"``.
        tuning_steps: steps of the fine-tuning that takes the place of ``model="direct"`` where there are few values.
    """

    arguments: dict[str, Any]
    members: int = 1
    estimator: Any = None
    tuning_steps: int | None = None

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
    "best": Preset({}, MEMBERS),
    "zero_shot": Preset({"num_steps": 0}, estimator=PretrainedEstimator),
    "fine_tuned": Preset({}, estimator=PretrainedEstimator),
}
MODELS: dict[str, Any] = {
    "direct": S5Estimator,
    "autoregressive": S5AutoregressiveEstimator,
    "multivariate": S5MultivariateEstimator,
}


def make_estimator(
    freq: str,
    prediction_length: int,
    preset: str = "default",
    model: str = "direct",
    time_limit: float | None = None,
    **estimator_kwargs: Any,
) -> Estimator:
    """Make the GluonTS estimator of a preset, for regular series.

    Args:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        preset: ``"default"`` trains a single network, and ``"fast"`` does so in a third of the time; if there are fewer
            than 5,000 values, no covariates and no other arguments of the network, both fine-tune the pretrained one,
            see :class:`~s5forecast.presets.DefaultEstimator`. ``"best"`` trains
            several: :class:`~s5forecast.presets.BestEstimator` for ``"direct"``, and an ensemble of three whose sample
            paths are pooled for the other models. ``"zero_shot"`` and ``"fine_tuned"``, for ``"direct"`` only, use
            the pretrained network as it is or after a short training, see
            :class:`~s5forecast.estimators.PretrainedEstimator`.
        model: ``"direct"``, ``"autoregressive"`` or ``"multivariate"``: :class:`~s5forecast.S5Estimator`,
            :class:`~s5forecast.S5AutoregressiveEstimator` or :class:`~s5forecast.S5MultivariateEstimator`.
        time_limit: seconds of training, see :class:`~s5forecast.presets.TimeLimitedEstimator`.
        estimator_kwargs: further arguments of the estimator, and ``num_members``, the number of networks in an
            ensemble; the pretrained network is a single one.

    Raises:
        ValueError: for an unknown name, with the known ones, or arguments that are refused by the estimator.
    """
    arguments = {"freq": freq, "prediction_length": prediction_length, **estimator_kwargs}
    return apply_preset(choose(MODELS, str(model), "model"), arguments, preset, time_limit)


def apply_preset(make: Any, arguments: dict[str, Any], preset: str, time_limit: float | None = None) -> Estimator:
    """The estimator of a preset.

    Args:
        make: class of the estimator of a single network.
        arguments: arguments of the class, and ``num_members``.
        preset, time_limit: as for :func:`make_estimator`.

    Raises:
        ValueError: as :func:`make_estimator`.
    """
    chosen = choose(PRESETS, str(preset), "preset")
    if chosen.estimator is not None:
        _check_replaced(make, arguments, preset)
        return chosen.estimator(**arguments, **chosen.arguments, time_limit=time_limit)
    given = {name: value for name, value in arguments.items() if name != "num_members"}
    accepted = signature(make).parameters
    arguments = {**{name: value for name, value in chosen.arguments.items() if name in accepted}, **arguments}
    members = arguments.pop("num_members", chosen.members)
    estimator = make(**arguments)
    if preset == "best" and isinstance(estimator, S5Estimator):
        estimator = BestEstimator(estimator, members)
    elif members != 1:
        estimator = EnsembleEstimator(estimator, members)
    if time_limit is not None:
        estimator = TimeLimitedEstimator(estimator, time_limit)
    if chosen.tuning_steps is None or make is not S5Estimator or members != 1:
        return estimator
    tuned = tuned_like(given, chosen.tuning_steps, time_limit)
    return estimator if tuned is None else DefaultEstimator(estimator, tuned)


def estimator_class(make: Any, preset: str) -> Any:
    """The class of which :func:`apply_preset` makes the estimators of single networks, by default ``make``."""
    return choose(PRESETS, str(preset), "preset").estimator or make


def unused_arguments(preset: str) -> list[str]:
    """Arguments that a preset does not take, though the class of its estimators has them."""
    chosen = choose(PRESETS, str(preset), "preset")
    return [] if chosen.estimator is None else [*chosen.fixed, "num_members"]


def _check_replaced(make: Any, arguments: dict[str, Any], preset: str) -> None:
    """Raise ValueError for a model or arguments that the estimator of a preset does not have."""
    chosen = PRESETS[preset]
    if make is not S5Estimator:
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
