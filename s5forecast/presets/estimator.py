"""make_estimator, which applies a preset to a model."""

from __future__ import annotations

from inspect import signature
from typing import Any

from gluonts.model.estimator import Estimator

from s5forecast.choices import choose
from s5forecast.estimators import (
    EnsembleEstimator,
    S5AutoregressiveEstimator,
    S5Estimator,
    S5MultivariateEstimator,
)
from s5forecast.presets.best import BestEstimator
from s5forecast.presets.default import DefaultEstimator, tuned_like
from s5forecast.presets.limited import TimeLimitedEstimator
from s5forecast.presets.presets import PRESETS, other_estimator

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
            see :class:`~s5forecast.presets.DefaultEstimator`. ``"best"`` combines several models:
            :class:`~s5forecast.presets.BestEstimator` for ``"direct"``, and an ensemble of three whose sample paths are
            pooled for the other models. ``"zero_shot"`` and ``"fine_tuned"``, for ``"direct"`` only, use the pretrained
            network as it is or after a short training, see :class:`~s5forecast.estimators.PretrainedEstimator`.
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
        return other_estimator(arguments, preset, time_limit, direct=make is S5Estimator)
    given = {name: value for name, value in arguments.items() if name != "num_members"}
    accepted = signature(make).parameters
    arguments = {**{name: value for name, value in chosen.arguments.items() if name in accepted}, **arguments}
    members = arguments.pop("num_members", chosen.members)
    estimator, tuned = make(**arguments), None
    if preset == "best" and isinstance(estimator, S5Estimator):
        estimator = BestEstimator(estimator, members, tuned_like(given, chosen.tuning_steps))
    elif members != 1:
        estimator = EnsembleEstimator(estimator, members)
    elif make is S5Estimator:
        tuned = tuned_like(given, chosen.tuning_steps, time_limit)
    if time_limit is not None:
        estimator = TimeLimitedEstimator(estimator, time_limit)
    return estimator if tuned is None else DefaultEstimator(estimator, tuned)
