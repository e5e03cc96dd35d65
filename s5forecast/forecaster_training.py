"""Training of an S5Forecaster: its estimator, and the arguments that follow from the series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from s5forecast import __version__, estimators
from s5forecast.choices import choose
from s5forecast.data.content import by_content
from s5forecast.data.faults import ON_ERROR
from s5forecast.data.sampling import Sampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable
from s5forecast.estimators.defaults import REASONS, default_cycles
from s5forecast.estimators.items import joint_entry, train_items
from s5forecast.evaluation.fingerprint import fingerprint, fingerprint_series
from s5forecast.forecaster_parameters import ESTIMATORS, ForecasterParameters
from s5forecast.levels import check_levels
from s5forecast.manifest import open_folder
from s5forecast.presets.presets import PRESETS, base_network, other_estimator, unused_arguments

OWN_ARGUMENTS = (
    "freq", "prediction_length", "prediction_horizon", "quantile_levels", "seed", "target_dim", "cardinality",
    "num_feat_dynamic_real", "num_past_feat_dynamic_real", "num_feat_static_real", "num_feat_static_cat",
    "dynamic_cardinalities", "past_dynamic_cardinalities", "weighted", "time_limit", "verbose",
)  # fmt: skip


def train(
    parameters: ForecasterParameters,
    sampling: Sampling,
    series: SeriesTable,
    statics: StaticFeatures,
    validation: SeriesTable | None = None,
    spent: float = 0.0,
    checkpoint: Path | None = None,
) -> Predictor:
    """The predictor trained on all series.

    Args:
        parameters: parameters of the forecaster.
        sampling: sampling of the series.
        series: training series.
        statics: encoding of the static columns.
        validation: series whose last horizon decides when to stop.
        spent: seconds of the time limit that reading the data took.
        checkpoint: folder of the state of the training.

    Raises:
        ValueError: for bad ``estimator_kwargs`` or data; for a folder with the state of another training.
    """
    estimator = untrained_estimator(parameters, sampling, series, statics)
    resumed = {} if checkpoint is None else _resumed(checkpoint, parameters, estimator, series, validation)
    if parameters.time_limit is not None:
        estimator.spent = spent
    entries = sampling.entries(series, statics)
    held_out = None if validation is None else sampling.entries(validation, statics)
    if parameters.model == "multivariate":
        return train_items(estimator, entries, held_out, complete=ON_ERROR[parameters.on_error], **resumed)
    return estimator.train(entries, held_out, **resumed)


def _resumed(
    folder: Path,
    parameters: ForecasterParameters,
    estimator: Any,
    series: SeriesTable,
    validation: SeriesTable | None,
) -> dict[str, Any]:
    """The argument of a training with a checkpoint, after checking the folder."""
    if not getattr(estimator, "takes_checkpoint", False):
        what = "time_limit=" if parameters.time_limit is not None else f"preset={parameters.preset!r}"
        raise ValueError(f"checkpoint= is not available with {what}; leave out one of them")
    given = {name: value for name, value in parameters.get_params().items() if name != "verbose"}
    manifest = {
        "version": __version__,
        "parameters": fingerprint(given),
        "data": fingerprint_series(series),
        "validation": None if validation is None else fingerprint_series(validation),
    }
    open_folder(folder, manifest, "checkpoint", "the training")
    return {"checkpoint": folder}


def automatic_choices(
    parameters: ForecasterParameters, sampling: Sampling, series: SeriesTable, statics: StaticFeatures
) -> dict[str, dict[str, Any]]:
    """Settings that training on the series would use, as saved in ``choices``; nothing is trained.

    Those of an ensemble or combination are the settings of its first network. Arguments and errors are those of
    :func:`train`.
    """
    estimator = untrained_estimator(parameters, sampling, series, statics)
    network = estimator if hasattr(estimator, "resolve_choices") else base_network(estimator)
    entries = sampling.entries(series, statics)
    if parameters.model == "multivariate":
        entries = [joint_entry(entries, [entry["item_id"] for entry in by_content(entries)])]
    return network.resolve_choices(entries).plain()


def untrained_estimator(
    parameters: ForecasterParameters, sampling: Sampling, series: SeriesTable, statics: StaticFeatures
) -> Estimator:
    """The untrained estimator of some series; arguments and errors are those of :func:`train`."""
    found = choose(ESTIMATORS[sampling.kind], parameters.model, "model")
    make = choose(PRESETS, str(parameters.preset), "preset").estimator or _class(found)
    _check_mappings(parameters.estimator_kwargs)
    given = dict(parameters.estimator_kwargs or {})
    check_estimator_kwargs(make, given, unused_arguments(parameters.preset))
    arguments = {
        **sampling.estimator_arguments(series),
        "quantile_levels": check_levels(parameters.quantile_levels),
        "num_feat_static_real": len(statics.real),
        "num_feat_static_cat": len(statics.categorical),
        "cardinality": statics.cardinality,
        **statics.dynamic_arguments,
        "weighted": parameters.weight is not None,
        "seed": parameters.seed,
        "verbose": parameters.verbose,
    }
    accepted = signature(make).parameters
    _check_categorical(parameters, statics, "dynamic_cardinalities" in accepted, make.__name__)
    if "cycles" in accepted:
        arguments["cycles"] = default_cycles(series)
    if parameters.model == "multivariate":
        for name in ("num_feat_dynamic_real", "num_past_feat_dynamic_real"):
            arguments[name] *= len(series)
    taken = {name: value for name, value in arguments.items() if name in accepted}
    if "trainer_kwargs" in accepted:
        taken["trainer_kwargs"] = {
            "enable_progress_bar": parameters.verbose,
            **(given.pop("trainer_kwargs", None) or {}),
        }
    preset = (parameters.preset, parameters.time_limit)
    if PRESETS[parameters.preset].estimator is not None:
        return other_estimator({**taken, **given}, *preset, direct=found == "S5Estimator")
    from s5forecast.presets.estimator import apply_preset  # needs Lightning, which the pretrained network does not

    estimator = apply_preset(make, {**taken, **given}, *preset)
    if "cycles" in taken and "cycles" not in given:
        base_network(estimator).choices.choose("cycles", taken["cycles"], REASONS["cycles"])
    return estimator


def _class(found: Any) -> Any:
    """A value of ``ESTIMATORS`` as a class."""
    return getattr(estimators, found) if isinstance(found, str) else found


def _check_categorical(parameters: ForecasterParameters, statics: StaticFeatures, accepted: bool, name: str) -> None:
    """Raise ValueError for categorical covariates if the estimator takes none."""
    columns = [column for column, labels in {**statics.known, **statics.past}.items() if labels is not None]
    if columns and not accepted:
        given = [column for column in columns if column in parameters.known or column in parameters.past]
        fixes = ["convert them to numbers"] * bool(given) + ["leave out holidays="] * (len(given) < len(columns))
        raise ValueError(
            f"{name} takes no categorical covariates, such as {columns}; {' and '.join(fixes)}, or use "
            "model='direct' or 'autoregressive'"
        )


def _check_mappings(given: Any) -> None:
    """Raise ValueError for ``estimator_kwargs``, or ``trainer_kwargs`` in it, that are no dictionaries."""
    kwargs = {"estimator_kwargs": given}
    if isinstance(given, Mapping):
        kwargs["estimator_kwargs['trainer_kwargs']"] = given.get("trainer_kwargs")
    for name, value in kwargs.items():
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a dictionary of arguments, such as {{'max_epochs': 10}}, got {value!r}")


def check_estimator_kwargs(make: type, given: dict[str, Any], unused: Sequence[str] = ()) -> None:
    """Raise ValueError for an argument that the estimator does not have, or that the forecaster sets."""
    every = [*(name for name in signature(make).parameters if name not in OWN_ARGUMENTS), "num_members"]
    known = [name for name in every if name not in unused]
    for name in given:
        if name in OWN_ARGUMENTS:
            raise ValueError(f"estimator_kwargs has {name!r}, which S5Forecaster sets from its own arguments")
        if name not in every:  # the preset says why it does not take others
            raise ValueError(f"estimator_kwargs has {name!r}; the arguments of {make.__name__} are {known}")
