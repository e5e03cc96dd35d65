"""Models by name, as a user would build them: a function of the task and a seed, giving an estimator or a predictor."""

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

# Values of all series below which AutoARIMA, and AutoETS, helps and is fitted in a minute or so: to whole series of few
# values in all and short seasons, else to the RECENT of each; AutoARIMA if all are shorter than SHORT. On validation
# windows AutoETS helps m4_weekly, of 82,000 recent values, and harms tourism_monthly, of 85,000: SOME lies between.
FEW, SOME, SHORT, RECENT, SHORT_SEASON = 10_000, 85_000, 1_000, 260, 24
# Of more seasons in a series, networks learn more than AutoETS knows.
SEASONS = 50
# Over longer horizons, and where many steps make a season, what is drawn step by step goes astray. Where values are
# fewest it may stand beside the others all the same: there each earns its weight.
FAR = 96
LEVELS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def s5_direct(task: Task, seed: int) -> S5Estimator:
    return S5Estimator(task.freq, task.prediction_length, quantile_levels=LEVELS, seed=seed, device="cpu")


def s5_combined(task: Task, seed: int) -> CombinedEstimator | EnsembleEstimator:
    """Networks of different contexts, and beside them what errs in another way.

    Statistical models where values are few; where they are fewest, with one network of each kind. Where there are no
    statistical models the autoregressive network, but for far horizons and long seasons.
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
    """Those that help networks with series of such lengths, and are fitted to all in a minute or so."""
    few, longest = sum(lengths) < FEW, max(lengths)
    history = SHORT if few and season <= SHORT_SEASON else RECENT
    some = sum(min(length, history) for length in lengths) < SOME
    names = ["auto_ets"] if some and longest < SEASONS * season else []
    names += ["auto_arima"] if few and longest < SHORT else []
    return [BASELINES[name](horizon, season, max_history=history) for name in names]


def s5_autoregressive(task: Task, seed: int) -> S5AutoregressiveEstimator:
    return S5AutoregressiveEstimator(task.freq, task.prediction_length, seed=seed, device="cpu")


def s5_recursive_encoder(task: Task, seed: int) -> S5AutoregressiveEstimator:
    """Which errs in another way than the direct network, more so than a recursive decoder."""
    return S5AutoregressiveEstimator(task.freq, task.prediction_length, recursion="encoder", seed=seed, device="cpu")


def seasonal_naive(task: Task, seed: int) -> Any:
    """As the protocol of the task takes it."""
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
