"""Models by name: functions of a task and a seed that build an estimator or a predictor as a user would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gluonts.model.predictor import Predictor
from gluonts.model.seasonal_naive import SeasonalNaivePredictor as PointSeasonalNaive
from tasks import Task

from s5forecast import S5Estimator
from s5forecast.data.frequency import Frequency
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.combined import CombinedEstimator
from s5forecast.estimators.ensemble import EnsembleEstimator
from s5forecast.estimators.peers import PEERS
from s5forecast.evaluation.baselines import BASELINES, SeasonalNaivePredictor

# AutoARIMA is used for fewer than FEW values in all series, and AutoETS for fewer than SOME: they improve the forecasts
# and are fitted in about a minute. They are fitted to whole series if there are few values and seasons are short, and
# otherwise to the RECENT values of each; AutoARIMA only if all series are shorter than SHORT. On validation windows
# AutoETS helps m4_weekly (82,000 recent values) and harms tourism_monthly (85,000): SOME lies between.
FEW, SOME, SHORT, RECENT, SHORT_SEASON = 10_000, 85_000, 1_000, 260, 24
# With more seasons in a series, networks forecast better than AutoETS.
SEASONS = 50
# Longest horizon of an autoregressive member with fixed weight: errors of drawn values accumulate over longer horizons
# and seasons. For the fewest values it is always a member, because members are weighted by their errors.
FAR = 96
LEVELS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def s5_direct(task: Task, seed: int) -> S5Estimator:
    return S5Estimator(task.freq, task.prediction_length, quantile_levels=LEVELS, seed=seed, device="cpu")


def s5_combined(task: Task, seed: int) -> CombinedEstimator | EnsembleEstimator:
    """Networks with different contexts, combined with forecasters that make different errors.

    Few values in all: statistical models; fewest: with one network of each kind. Without statistical models, the
    autoregressive network is added, except for long horizons and seasons.
    """
    network, horizon = s5_direct(task, seed), task.prediction_length
    autoregressive = s5_recursive_encoder(task, seed)
    together = EnsembleEstimator(network)
    lengths, season = [len(entry["target"]) for entry in task.train], Frequency.parse(task.freq).season
    statistical = statistical_models(lengths, horizon, season)
    if statistical:
        networks = [network, autoregressive] if sum(lengths) < FEW else [together]
        return CombinedEstimator(horizon, [*networks, *statistical], quantile_levels=LEVELS)
    if horizon > FAR or season > SHORT_SEASON:
        return together
    return CombinedEstimator(horizon, [together, autoregressive], quantile_levels=LEVELS, weights=[3 / 4, 1 / 4])


def statistical_models(lengths: list[int], horizon: int, season: int) -> list[Predictor]:
    """The statistical models that improve networks for series of such lengths and fit all series in about a minute."""
    few, longest = sum(lengths) < FEW, max(lengths)
    history = SHORT if few and season <= SHORT_SEASON else RECENT
    some = sum(min(length, history) for length in lengths) < SOME
    names = ["auto_ets"] if some and longest < SEASONS * season else []
    names += ["auto_arima"] if few and longest < SHORT else []
    return [BASELINES[name](horizon, season, max_history=history) for name in names]


def s5_autoregressive(task: Task, seed: int) -> S5AutoregressiveEstimator:
    return S5AutoregressiveEstimator(task.freq, task.prediction_length, seed=seed, device="cpu")


def s5_recursive_encoder(task: Task, seed: int) -> S5AutoregressiveEstimator:
    """Its errors differ from those of the direct network more than those of a recursive decoder do."""
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
    "s5_direct": s5_direct,
    "s5_combined": s5_combined,
    "s5_autoregressive": s5_autoregressive,
    "s5_recursive_encoder": s5_recursive_encoder,
    "seasonal_naive": seasonal_naive,
    **{name: peer(name) for name in PEERS},
    **{name: baseline(name) for name in ("auto_ets", "auto_arima", "theta")},
}
