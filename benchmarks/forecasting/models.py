"""Models by name: functions of a task and a seed that build an estimator or a predictor as a user would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gluonts.model.estimator import Estimator
from gluonts.model.seasonal_naive import SeasonalNaivePredictor as PointSeasonalNaive
from tasks import Task

from s5forecast import S5AutoregressiveEstimator, S5Estimator, make_estimator
from s5forecast.estimators.peers import PEERS
from s5forecast.evaluation.baselines import BASELINES, SeasonalNaivePredictor
from s5forecast.presets import PRESETS

LEVELS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def preset(name: str) -> Callable[[Task, int], Estimator]:
    """The direct model with a preset."""
    return lambda task, seed: make_estimator(
        task.freq, task.prediction_length, name, quantile_levels=LEVELS, seed=seed, device="cpu"
    )


def s5_direct(task: Task, seed: int) -> S5Estimator:
    """A network trained on the task alone, also where the default preset fine-tunes the pretrained one."""
    return S5Estimator(task.freq, task.prediction_length, quantile_levels=LEVELS, seed=seed, device="cpu")


def s5_autoregressive(task: Task, seed: int) -> S5AutoregressiveEstimator:
    return S5AutoregressiveEstimator(task.freq, task.prediction_length, seed=seed, device="cpu")


def s5_recursive_encoder(task: Task, seed: int) -> S5AutoregressiveEstimator:
    return S5AutoregressiveEstimator(task.freq, task.prediction_length, recursion="encoder", seed=seed, device="cpu")


def seasonal_naive(task: Task, seed: int) -> Any:
    """Seasonal naive forecast with the season of the task's protocol."""
    if task.baseline == "point":
        return PointSeasonalNaive(prediction_length=task.prediction_length, season_length=task.season)
    return SeasonalNaivePredictor(task.prediction_length, task.season)


def peer(name: str) -> Callable[[Task, int], Any]:
    """A GluonTS estimator with its defaults."""
    return lambda task, seed: PEERS[name](freq=task.freq, prediction_length=task.prediction_length, seed=seed)


def baseline(name: str) -> Callable[[Task, int], Any]:
    return lambda task, seed: BASELINES[name](prediction_length=task.prediction_length, season=task.season)


MODELS: dict[str, Callable[[Task, int], Any]] = {
    **{name: preset(name) for name in PRESETS},
    "s5_direct": s5_direct,
    "s5_autoregressive": s5_autoregressive,
    "s5_recursive_encoder": s5_recursive_encoder,
    "seasonal_naive": seasonal_naive,
    **{name: peer(name) for name in PEERS},
    **{name: baseline(name) for name in ("auto_ets", "auto_arima", "theta")},
}
