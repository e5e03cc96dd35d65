"""Forecasts with each kind of covariate, by S5Forecaster and by GluonTS's networks with the same columns.

A task is a frame with windows at its end. All models are trained once, with the same number of training windows, on the
data before the windows. The forecaster without covariates has the same network as with them: given arguments of the
training rule out the pretrained network, which the default preset uses for small data sets.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch

from s5forecast import S5Forecaster, backtest
from s5forecast.data.frequency import Frequency
from s5forecast.data.holiday_calendar import NO_HOLIDAY, HolidayCalendar
from s5forecast.estimators.peers import PEERS

METRICS = ["WQL", "MASE"]
BATCHES_PER_EPOCH, BATCH_SIZE = 50, 32


@dataclass(frozen=True)
class Task:
    """Series with covariates, whose last ``windows`` horizons are forecast.

    Args:
        frame: columns ``item_id``, ``timestamp``, ``target`` and covariates, a row for each step; all series end
            together.
        freq, horizon, windows: frequency, steps of a forecast, number of forecasts of each series.
        kinds: arguments of S5Forecaster for each kind of covariate.
        epochs: of the training, each of 50 batches of 32 windows.
    """

    frame: pd.DataFrame
    freq: str
    horizon: int
    windows: int
    kinds: dict[str, dict[str, Any]]
    epochs: int

    def validation(self) -> Task:
        """The same task on the windows before the test windows."""
        times = np.sort(self.frame["timestamp"].unique())
        last = times[-self.horizon * self.windows - 1]
        return replace(self, frame=self.frame[self.frame["timestamp"] <= last].reset_index(drop=True))


def forecaster(task: Task, kind: str, seed: int) -> S5Forecaster:
    training = {"max_epochs": task.epochs, "num_batches_per_epoch": BATCHES_PER_EPOCH, "batch_size": BATCH_SIZE}
    return S5Forecaster(
        task.horizon, freq=task.freq, seed=seed, verbose=False, estimator_kwargs=training, **task.kinds[kind]
    )


def evaluate_s5(task: Task, kind: str, seed: int) -> pd.Series:
    """Metrics of S5Forecaster."""
    backtested = forecaster(task, kind, seed).backtest(task.frame, windows=task.windows, metrics=METRICS)
    return backtested.metrics.iloc[0]


def evaluate_peer(task: Task, kind: str, seed: int, name: str) -> pd.Series:
    """Metrics of a GluonTS estimator."""
    entries, arguments = gluonts_data(task.frame, task.freq, task.kinds[kind], name)
    training = {
        "trainer_kwargs": {"max_epochs": task.epochs},
        "num_batches_per_epoch": BATCHES_PER_EPOCH,
        "batch_size": BATCH_SIZE,
    }
    estimator = PEERS[name](task.freq, task.horizon, seed=seed, arguments={**training, **arguments})
    return backtest(estimator, entries, task.horizon, windows=task.windows, metrics=METRICS).metrics.iloc[0]


def gluonts_data(
    frame: pd.DataFrame, freq: str, given: dict[str, Any], name: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Entries, and arguments of a GluonTS estimator, for the columns of S5Forecaster.

    GluonTS's networks take no missing covariates, which are interpolated. The holiday of a day is a number, 0 or 1.
    """
    static, known, past = (given.get(role, []) for role in ("static", "known", "past"))
    codes = {column: sorted(frame[column].unique()) for column in static}
    frequency = Frequency.parse(freq)
    entries = []
    for item, part in frame.groupby("item_id", sort=False):
        entry = {
            "item_id": item,
            "start": pd.Period(part["timestamp"].iloc[0], frequency.period_alias),
            "target": part["target"].to_numpy(dtype=float),
        }
        ahead = np.concatenate([_filled(part, known), _holidays(part["timestamp"], frequency, given.get("holidays"))])
        entry |= {"feat_dynamic_real": ahead} if len(ahead) else {}
        entry |= {"past_feat_dynamic_real": _filled(part, past)} if past else {}
        entry |= {"feat_static_cat": [codes[column].index(part[column].iloc[0]) for column in static]} if static else {}
        entries.append(entry)
    count = len(entries[0].get("feat_dynamic_real", ()))
    cardinality = [len(found) for found in codes.values()]
    if name == "deepar":
        categories = {"num_feat_static_cat": len(static), "cardinality": cardinality} if static else {}
        return entries, {"num_feat_dynamic_real": count, **categories}
    dims = {"dynamic_dims": [count] if count else None, "past_dynamic_dims": [len(past)] if past else None}
    return entries, {**dims, "static_cardinalities": cardinality or None}


def _filled(part: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Columns of one series without missing values, float32 ``[F, T]``."""
    return part[[*columns]].astype(float).interpolate(limit_direction="both").to_numpy(np.float32).T


def _holidays(times: pd.Series, frequency: Frequency, country: str | None) -> np.ndarray:
    """The covariates of a holiday calendar as numbers, float32 ``[F, T]``."""
    if country is None:
        return np.empty((0, len(times)), dtype=np.float32)
    rows, labels = HolidayCalendar((country,)).covariates(times, frequency)
    found = [
        row if names is None else row != names.index(NO_HOLIDAY)
        for row, names in zip(rows, labels.values(), strict=True)
    ]
    return np.array(found, dtype=np.float32)


MODELS = {
    "s5": evaluate_s5,
    "tft": partial(evaluate_peer, name="tft"),
    "deepar": partial(evaluate_peer, name="deepar"),
}


def is_possible(task: Task, model: str, kind: str) -> bool:
    """Whether a model takes a kind; GluonTS's DeepAR takes no columns of the past."""
    return model != "deepar" or "past" not in task.kinds[kind]


def evaluate(task: Task, model: str, kind: str, seed: int) -> dict[str, float]:
    """Metrics and processor seconds of one model."""
    began = process_time()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(cross in|are missing at steps to forecast)")
        metrics = MODELS[model](task, kind, seed)
    return {name: float(metrics[name]) for name in METRICS} | {"processor_seconds": process_time() - began}


def add_row(path: Path, key: dict[str, Any], evaluation: Callable[[], dict[str, float]]) -> None:
    """Append a row to a CSV file unless its key is there."""
    found = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=[*key])
    if (found[[*key]] == pd.Series(key)).all(axis=1).any():
        return
    row = key | evaluation()
    print(row, flush=True)
    pd.DataFrame([row]).to_csv(path, mode="a", header=not path.exists(), index=False, float_format="%.5f")


def add_arguments(parser: argparse.ArgumentParser, kinds: Sequence[str]) -> None:
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--kinds", nargs="+", choices=list(kinds), default=list(kinds))


def run(task: Task, path: Path, arguments: argparse.Namespace) -> None:
    """Evaluate all models, kinds and seeds; existing rows are kept, so that an interrupted run continues."""
    torch.set_num_threads(1)
    for seed in range(arguments.seeds):
        for model in arguments.models:
            for kind in arguments.kinds:
                if is_possible(task, model, kind):
                    key = {"model": model, "covariates": kind, "seed": seed}
                    add_row(path, key, partial(evaluate, task, **{"model": model, "kind": kind, "seed": seed}))
