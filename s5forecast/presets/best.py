"""BestEstimator: the preset ``"best"`` for regular series, networks combined with statistical models."""

from collections.abc import Sequence
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.predictor import Predictor

from s5forecast.data.frequency import Frequency
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor
from s5forecast.estimators.defaults import MEMBERS, Choices
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.ensemble import EnsembleEstimator
from s5forecast.evaluation.baselines import BASELINES
from s5forecast.notices import warn_user

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
# Weights of the ensemble and of the autoregressive network if there are no statistical models.
FIXED_WEIGHTS = (3 / 4, 1 / 4)
# Arguments of the direct network that the autoregressive one does not share.
OWN = ("quantile_levels", "patch_length", "seed")


class BestEstimator(Estimator):
    """Combines networks of different kinds and contexts, and statistical models where values are few.

    ==========================================  ================================================================
    training data                               members
    ==========================================  ================================================================
    fewer than 10,000 values in all series      one direct and one autoregressive network, AutoETS and AutoARIMA
    fewer than 85,000 recent values             an ensemble of direct networks, AutoETS
    more, horizon up to 96, season up to 24     an ensemble of direct networks, an autoregressive network
    more, longer horizon or season              an ensemble of direct networks
    ==========================================  ================================================================

    AutoETS is left out for series of more than 50 seasons, AutoARIMA for series of 1,000 values and more. Members are
    weighted by their errors at the end of the training data if one of them is statistical. The rule was chosen on
    validation windows of the forecasting benchmark. Statistical models ignore covariates; they require the extra
    ``statsforecast``, and are left out with a warning if it is not installed.

    Args:
        estimator: direct network. Arguments that differ from their defaults are also those of the autoregressive one,
            which has its own quantile levels and the same seed.
        num_members: number of networks in the ensemble.

    Raises:
        ValueError: for another estimator.
    """

    @validated()
    def __init__(self, estimator: Estimator, num_members: int = MEMBERS) -> None:
        super().__init__()
        if not isinstance(estimator, S5Estimator):
            raise ValueError(f"estimator must be an S5Estimator, got {type(estimator).__name__}")
        self.estimator, self.num_members = estimator, num_members
        self.prediction_length = estimator.window_spec().prediction_length
        self.ensemble = EnsembleEstimator(estimator, num_members)
        self.autoregressive = autoregressive_like(estimator)

    def train(self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any) -> CombinedPredictor:
        """Train the members that suit the number and the length of the series.

        Raises:
            ValueError: as the members.
        """
        data = list(training_data)
        chosen = self.choose(data)
        predictor = chosen.train(data, validation_data, **kwargs)
        choices = Choices()
        names = [type(member).__name__ for member in getattr(chosen, "members", [chosen])]
        choices.choose("members", names, "by the number and length of the series")
        predictor.own_choices |= choices.plain()
        return predictor

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order."""
        data = list(training_data)
        return self.choose(data).trainings(data)

    def choose(self, training_data: Sequence[dict[str, Any]]) -> CombinedEstimator | EnsembleEstimator:
        """The combination for some training data."""
        horizon, season = self.prediction_length, Frequency.parse(self.estimator.spec.freq).season
        levels = self.estimator.quantile_levels
        lengths = [np.shape(entry["target"])[-1] for entry in training_data]
        statistical = statistical_models(lengths, horizon, season)
        if statistical:
            few = sum(lengths) < FEW
            networks = [self.estimator, self.autoregressive] if few else [self.ensemble]
            return CombinedEstimator(horizon, [*networks, *statistical], quantile_levels=levels)
        if horizon > FAR or season > SHORT_SEASON:
            return self.ensemble
        members = [self.ensemble, self.autoregressive]
        return CombinedEstimator(horizon, members, quantile_levels=levels, weights=list(FIXED_WEIGHTS))


def autoregressive_like(estimator: S5Estimator) -> S5AutoregressiveEstimator:
    """The autoregressive network with a recursive encoder and the arguments that were given to a direct network.

    Its errors differ from those of the direct network more than those of a recursive decoder do.
    """
    defaults, accepted = signature(S5Estimator).parameters, signature(S5AutoregressiveEstimator).parameters
    given = {
        name: value
        for name, value in estimator.__init_args__.items()
        if name in accepted and name not in OWN and value != defaults[name].default
    }
    if given.get("layer_kwargs"):
        given["layer_kwargs"] = {key: one for key, one in given["layer_kwargs"].items() if key != "bidirectional"}
    return S5AutoregressiveEstimator(**{**given, "recursion": "encoder", "seed": estimator.seed})


def statistical_models(lengths: Sequence[int], horizon: int, season: int) -> list[Predictor]:
    """The statistical models that improve networks for series of such lengths and fit all series in about a minute."""
    few, longest = sum(lengths) < FEW, max(lengths)
    history = SHORT if few and season <= SHORT_SEASON else RECENT
    some = sum(min(length, history) for length in lengths) < SOME
    names = ["auto_ets"] if some and longest < SEASONS * season else []
    names += ["auto_arima"] if few and longest < SHORT else []
    if names and find_spec("statsforecast") is None:
        warn_user(
            f"preset='best' leaves out {' and '.join(names)}, because statsforecast is not installed; run "
            "pip install 's5forecast[statsforecast]'"
        )
        return []
    return [BASELINES[name](horizon, season, max_history=history) for name in names]
