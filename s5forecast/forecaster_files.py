"""Files of a fitted S5Forecaster: JSON and tensors, without pickled code and training data."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.serde import dump_json, load_json

from s5forecast.aliases import check_folder
from s5forecast.data.statics import StaticFeatures
from s5forecast.estimators.predictor import load_predictor
from s5forecast.fitted_forecaster import FittedForecaster
from s5forecast.levels import check_levels
from s5forecast.notices import warn_user

FORECASTER_FORMAT = 2
STATE_FILE, PREDICTOR_FOLDER = "forecaster.json", "predictor"


def save_forecaster(forecaster: FittedForecaster, path: Path) -> None:
    """Write a fitted forecaster to a folder; warn of arguments of the trainer that JSON cannot hold."""
    parameters = plain_parameters(forecaster.get_params())
    if left_out := _trainer_kwargs(forecaster.get_params()).keys() - _trainer_kwargs(parameters).keys():
        warn_user(
            f"trainer_kwargs {sorted(left_out)} are not saved, because JSON cannot hold them; pass them again with "
            "set_params before you fit the loaded forecaster"
        )
    (path / PREDICTOR_FOLDER).mkdir(parents=True, exist_ok=True)
    state = {
        "format_version": FORECASTER_FORMAT,
        "parameters": parameters,
        "frequency": forecaster.sampling_.alias,
        "statics": _plain_statics(forecaster.statics_),
        "num_series": forecaster.num_series_,
        "shortest_series": forecaster.shortest_series_,
        "trained_until": forecaster.trained_until_,
        "fit_seconds": forecaster.fit_seconds_,
    }
    if hasattr(forecaster, "calibrator_"):
        state |= {"calibrator": forecaster.calibrator_.to_json(), "calibrated_until": forecaster.calibrated_until_}
    (path / STATE_FILE).write_text(dump_json(state, indent=1))
    forecaster.predictor_.serialize(path / PREDICTOR_FOLDER)


def load_forecaster(path: Path, device: str | None) -> tuple[dict[str, Any], str | None, dict[str, Any]]:
    """Read a folder that :func:`save_forecaster` wrote, on any device.

    Returns:
        Constructor arguments, the alias of the frequency, and the fitted attributes.

    Raises:
        ValueError: if a later version wrote the folder, or if :func:`~s5forecast.aliases.check_folder` refuses it.
    """
    check_folder(path)
    state = load_json((path / STATE_FILE).read_text())
    if state["format_version"] > FORECASTER_FORMAT:
        raise ValueError(f"{path} was written by a later version of s5forecast; update s5forecast")
    fitted = {
        "predictor_": load_predictor(path / PREDICTOR_FOLDER, device),
        "statics_": _restored_statics(state),
        "num_series_": state.get("num_series"),
        "shortest_series_": state.get("shortest_series"),
        "trained_until_": state["trained_until"],
        "fit_seconds_": state["fit_seconds"],
    }
    if "calibrator" in state:
        from s5forecast.evaluation.calibrator import ConformalCalibrator

        calibrator = ConformalCalibrator.from_json(state["calibrator"])
        fitted |= {"calibrator_": calibrator, "calibrated_until_": state["calibrated_until"]}
    return _current_parameters(state["parameters"]), state["frequency"], fitted


def _plain_statics(statics: StaticFeatures) -> dict[str, Any]:
    """The encoding as plain data; JSON does not keep the order of a mapping."""
    return {**asdict(statics), "known": list(statics.known.items()), "past": list(statics.past.items())}


def _restored_statics(state: dict[str, Any]) -> StaticFeatures:
    """The encoding; earlier versions had known covariates that are numbers, and did not store them."""
    stored = {"known": [(name, None) for name in state["parameters"]["known"]], "past": (), **state["statics"]}
    return StaticFeatures(**{**stored, "known": dict(stored["known"]), "past": dict(stored["past"])})


def _current_parameters(saved: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments from those of any version of the format; version 1 had other names for the model."""
    parameters = dict(saved)
    if "estimator" in parameters:
        model, joint = parameters.pop("estimator"), parameters.pop("multivariate")
        parameters["model"] = "multivariate" if joint else model
        if (members := parameters.pop("num_members")) != 1:
            parameters["estimator_kwargs"] = {**(parameters["estimator_kwargs"] or {}), "num_members": members}
    return parameters


def plain_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments as plain data, without arguments of the trainer that JSON cannot hold."""
    kwargs = dict(parameters["estimator_kwargs"] or {})
    if "trainer_kwargs" in kwargs:
        plain = {name: _plain_argument(value) for name, value in _trainer_kwargs(parameters).items()}
        kwargs["trainer_kwargs"] = {name: value for name, value in plain.items() if _is_json(value)}
    names = {role: parameters[role] for role in ("target", "item_id")}
    return {
        **parameters,
        **{name: list(parameters[name]) for name in ("known", "past", "static")},
        "quantile_levels": check_levels(parameters["quantile_levels"]),
        "holidays": _plain_names(parameters["holidays"]),
        "horizon": _plain_duration(parameters["horizon"]),
        **{role: _plain_names(name) for role, name in names.items()},
        "estimator_kwargs": {name: _plain_duration(value) for name, value in kwargs.items()},
    }


def _plain_names(names: Any) -> Any:
    """One name, a list of names, or ``None``."""
    return names if names is None or isinstance(names, str) else list(names)


def _trainer_kwargs(parameters: dict[str, Any]) -> dict[str, Any]:
    return (parameters["estimator_kwargs"] or {}).get("trainer_kwargs") or {}


def _plain_argument(value: Any) -> Any:
    """An argument of Lightning's ``Trainer`` in a form that JSON can hold, if there is one."""
    if isinstance(value, timedelta | np.timedelta64):
        return {"seconds": pd.Timedelta(value).total_seconds()}
    return str(value) if isinstance(value, PurePath) else value.item() if isinstance(value, np.generic) else value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _plain_duration(value: Any) -> Any:
    """A duration as text, any other value unchanged."""
    return str(pd.Timedelta(value)) if isinstance(value, timedelta | np.timedelta64) else value
