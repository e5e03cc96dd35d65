"""Table of the parameters, automatic choices and training results of a fitted S5Forecaster."""

from __future__ import annotations

from typing import Any

import pandas as pd

from s5forecast.fitted_forecaster import FittedForecaster, networks
from s5forecast.forecaster_files import plain_parameters

FIELDS = ["value", "given", "reason"]


def summarize(forecaster: FittedForecaster) -> pd.DataFrame:
    """A row for each parameter, automatic choice and result of the training: value, whether given, and reason."""
    parameters = _parameters(forecaster)
    chosen = {name: row for name, row in _choices(forecaster.predictor_).items() if name not in parameters}
    rows = {**parameters, **chosen, **_results(forecaster)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=FIELDS, dtype=object)
    return table.rename_axis("name")


def _parameters(forecaster: FittedForecaster) -> dict[str, tuple[Any, bool, str]]:
    defaults = plain_parameters(forecaster._defaults())
    return {
        name: (value, value != defaults[name], "") for name, value in plain_parameters(forecaster.get_params()).items()
    }


def _choices(predictor: Any) -> dict[str, tuple[Any, bool, str]]:
    """The choices recorded by the estimator, for an ensemble also those of single members."""
    recorded = getattr(predictor, "choices", {})
    return {name: (one["value"], one["given"], one["reason"]) for name, one in recorded.items()}


def _results(forecaster: FittedForecaster) -> dict[str, tuple[Any, bool, str]]:
    sampling = forecaster.sampling_
    values: dict[str, tuple[Any, str]] = {
        "sampling": (sampling.kind, ""),
        "frequency": (sampling.alias, "inferred from the timestamps" if forecaster.freq == "infer" else ""),
        "output": ("" if forecaster.output_ is None else type(forecaster.output_).__name__, ""),
        "num_series": (forecaster.num_series_, ""),
        "num_network_parameters": (sum(map(_count_parameters, networks(forecaster.predictor_))), ""),
        "trained_until": (forecaster.trained_until_, ""),
        "fit_seconds": (forecaster.fit_seconds_, ""),
    }
    return {name: (value, False, reason) for name, (value, reason) in values.items()}


def _count_parameters(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
