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

from s5forecast.data.content import as_sequence
from s5forecast.data.frequency import Frequency
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.combined import CombinedEstimator, CombinedPredictor
from s5forecast.estimators.continued import ContinuedTraining
from s5forecast.estimators.defaults import MEMBERS, REASONS, Choices
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.ensemble import EnsembleEstimator, EnsemblePredictor
from s5forecast.estimators.pretrained import PretrainedPredictor
from s5forecast.estimators.pretrained_estimator import PretrainedEstimator
from s5forecast.evaluation.baselines import BASELINES
from s5forecast.notices import warn_user
from s5forecast.presets.default import has_few_values

# Statistical models, keys of BASELINES.
ETS, ARIMA = "auto_ets", "auto_arima"
# Chosen on validation windows, see benchmarks/forecasting/NOTES.md. AutoARIMA is used for fewer values than this in all
# series, and if all series are shorter than this.
MAX_VALUES_FOR_ARIMA, MAX_LENGTH_FOR_ARIMA = 10_000, 1_000
# AutoETS is used for fewer recent values than this in all series, and for fewer seasons in each: it helps m4_weekly
# (82,000 values) and harms tourism_monthly (85,000).
MAX_RECENT_VALUES_FOR_ETS, MAX_SEASONS_FOR_ETS = 85_000, 50
# Statistical models are fitted to this many recent values of each series, or to the longer history if all series have
# few values and a season is short, so that all are fitted in about a minute.
RECENT_LENGTH, LONG_LENGTH, SHORT_SEASON = 260, 1_000, 24
# Longest horizon of an autoregressive member with a fixed weight: errors of drawn values accumulate over longer
# horizons and seasons. For the fewest values it is always a member, because members are weighted by their errors.
MAX_HORIZON_FOR_RECURSION = 96
# Weights of the ensemble and of the autoregressive network if there are no statistical models.
FIXED_WEIGHTS = (3 / 4, 1 / 4)
# Weight of the fine-tuned network beside others, and number of values in all series from which on it is used.
TUNED_WEIGHT, MIN_VALUES_FOR_TUNED = 0.3, 10_000
# Arguments of the direct network that the autoregressive one does not share.
NOT_SHARED = ("quantile_levels", "patch_length", "seed")


class BestEstimator(ContinuedTraining, Estimator):
    """Combines networks with different architectures and context lengths and, for short records, statistical models.

    ==========================================  ================================================================
    training data                               members
    ==========================================  ================================================================
    fewer than 5,000 values, no covariates      the pretrained network, fine-tuned and as it is, AutoARIMA
    fewer than 10,000 values in all series      one direct and one autoregressive network, AutoETS and AutoARIMA
    fewer than 85,000 values, counting at most  an ensemble of direct networks, AutoETS
    the last 260 of each series
    others, horizon up to 96, season up to 24   an ensemble of direct networks, an autoregressive network
    others                                      an ensemble of direct networks
    ==========================================  ================================================================

    For 10,000 values and more, under the same conditions as in the first row, the pretrained network, fine-tuned, is a
    further member, with a weight of 0.3.

    AutoETS is left out if a series has 50 seasons or more, and AutoARIMA if a series has 1,000 values or more; if no
    statistical model is left in the second and third row, one of the last two applies. Members have equal weights in
    the first row, fixed ones in the last two, and are weighted by their errors at the end of the training data in the
    others. The rule was chosen on validation windows of the forecasting benchmark.
    Statistical models ignore covariates; they require the extra ``statsforecast``, and are left out with a warning if
    it is not installed.

    Args:
        estimator: the direct network. The autoregressive network takes its non-default arguments that it also has,
            except ``quantile_levels`` and ``patch_length``.
        num_members: number of networks in the ensemble.
        tuned: estimator of the pretrained network; ``None`` to leave it out, also for few values.

    Raises:
        ValueError: for another estimator.
    """

    @validated()
    def __init__(
        self, estimator: Estimator, num_members: int = MEMBERS, tuned: PretrainedEstimator | None = None
    ) -> None:
        super().__init__()
        if not isinstance(estimator, S5Estimator):
            raise ValueError(
                f"estimator must be an S5Estimator, got {type(estimator).__name__}; make_estimator with "
                "preset='best' makes this estimator"
            )
        self.estimator, self.num_members, self.tuned = estimator, num_members, tuned
        self.prediction_length = estimator.window_spec().prediction_length
        self.ensemble = EnsembleEstimator(estimator, num_members)

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: Predictor | None = None,
        **kwargs: Any,
    ) -> CombinedPredictor:
        """Train the members that suit the number and the length of the series.

        Args:
            training_data, validation_data: as for the members.
            from_predictor: a predictor of this estimator, whose members and weights are kept and trained further.
            kwargs: further arguments of the members.

        Raises:
            ValueError: as the members; for an empty dataset, or a checkpoint to start from.
        """
        if kwargs.pop("ckpt_path", None) is not None:
            raise ValueError("preset='best' trains several networks, which cannot start from ckpt_path; leave it out")
        data = as_sequence(training_data)
        held_out = None if validation_data is None else as_sequence(validation_data)
        chosen = self.choose(data, held_out) if from_predictor is None else self.like(from_predictor, data, held_out)
        predictor = chosen.train(data, held_out, from_predictor=from_predictor, **kwargs)
        by_length = "by the number and length of the series"
        reason = by_length if from_predictor is None else REASONS["from_predictor"]
        record_members(predictor, chosen, reason)
        return predictor

    def like(
        self,
        predictor: Any,
        training_data: Sequence[dict[str, Any]],
        validation_data: Sequence[dict[str, Any]] | None = None,
    ) -> Any:
        """The estimator whose training continues that of a predictor; a model that was not trained itself.

        Args:
            predictor: the predictor.
            training_data, validation_data: as for :meth:`train`; a member with the pretrained network is kept as it is
                if either has too few values for a fine-tuning.

        Raises:
            ValueError: for a predictor without a network, or of another kind.
        """
        if isinstance(predictor, PretrainedPredictor) and self.tuned is not None:
            return self.tuned if predictor.was_trained else predictor
        if isinstance(predictor, EnsemblePredictor):
            return EnsembleEstimator(self.estimator, len(predictor.members))
        if isinstance(predictor, CombinedPredictor) and len(predictor.members) > 1:
            members = [self._member_like(member, training_data, validation_data) for member in predictor.members]
            levels = self.estimator.quantile_levels
            return CombinedEstimator(self.prediction_length, members, quantile_levels=levels, weights=predictor.weights)
        recursive = getattr(getattr(predictor, "spec", None), "recursive", None)
        if recursive is not None:
            return autoregressive_like(self.estimator) if recursive else self.estimator
        raise ValueError(
            f"from_predictor is a {type(predictor).__name__} without a network of this estimator, from which training "
            "could start; leave it out"
        )

    def _member_like(self, member: Any, *data: Any) -> Any:
        """As :meth:`like`, for a member of a combination, which may be a statistical model."""
        if not (hasattr(member, "network") or hasattr(member, "members")):
            return member
        chosen = self.like(member, *data)
        tuned = isinstance(chosen, PretrainedEstimator)
        return member if tuned and not chosen.can_train(*data) else chosen

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order."""
        data = as_sequence(training_data)
        return self.choose(data).trainings(data)

    def choose(
        self, training_data: Sequence[dict[str, Any]], validation_data: Sequence[dict[str, Any]] | None = None
    ) -> CombinedEstimator | EnsembleEstimator:
        """The combination for some training data.

        Args:
            training_data, validation_data: as for :meth:`train`; the pretrained network is left out if either has too
                few values for a fine-tuning.
        """
        horizon, season = self.prediction_length, Frequency.parse(self.estimator.spec.freq).season
        if not len(training_data):
            raise ValueError("the dataset is empty; give at least one series")
        levels = self.estimator.quantile_levels
        lengths = [np.shape(entry["target"])[-1] for entry in training_data]
        tuned, few = self.tuned, has_few_values(training_data)
        suitable = few or sum(lengths) >= MIN_VALUES_FOR_TUNED
        if tuned is None or not suitable or not tuned.can_train(training_data, validation_data):
            return self._trained_from_scratch(lengths)
        if few:
            untrained = tuned.untrained()
            untrained.learn_spread([np.asarray(entry["target"]) for entry in training_data])
            members = [tuned, untrained, *statistical_models(lengths, horizon, season, [ARIMA])]
            weights = [1 / len(members)] * len(members)
        else:
            members, weights = [self._trained_from_scratch(lengths), tuned], [1 - TUNED_WEIGHT, TUNED_WEIGHT]
        return CombinedEstimator(horizon, members, quantile_levels=levels, weights=weights)

    def _trained_from_scratch(self, lengths: Sequence[int]) -> CombinedEstimator | EnsembleEstimator:
        """The combination, without the pretrained network, for series of such lengths."""
        horizon, season = self.prediction_length, Frequency.parse(self.estimator.spec.freq).season
        levels = self.estimator.quantile_levels
        statistical = statistical_models(lengths, horizon, season)
        if statistical:
            few = sum(lengths) < MAX_VALUES_FOR_ARIMA
            networks = [self.estimator, autoregressive_like(self.estimator)] if few else [self.ensemble]
            return CombinedEstimator(horizon, [*networks, *statistical], quantile_levels=levels)
        if horizon > MAX_HORIZON_FOR_RECURSION or season > SHORT_SEASON:
            return self.ensemble
        networks = [self.ensemble, autoregressive_like(self.estimator)]
        return CombinedEstimator(horizon, networks, quantile_levels=levels, weights=list(FIXED_WEIGHTS))


def record_members(predictor: Any, estimator: Any, reason: str) -> None:
    """Record in the choices of a predictor which members were trained."""
    choices = Choices()
    several = isinstance(estimator, EnsembleEstimator)
    members = [estimator.estimator] * len(predictor.members) if several else single_members(estimator)
    choices.choose("members", [type(member).__name__ for member in members], reason)
    record = predictor.own_choices if hasattr(predictor, "own_choices") else predictor.choices
    record |= choices.plain()


def single_members(estimator: Any) -> list[Any]:
    """The members of a combination, and of combinations within it; or the estimator itself."""
    if not isinstance(estimator, CombinedEstimator):
        return [estimator]
    return [one for member in estimator.members for one in single_members(member)]


def autoregressive_like(estimator: S5Estimator) -> S5AutoregressiveEstimator:
    """The autoregressive network with a recursive encoder and the arguments that were given to a direct network.

    Its errors differ from those of the direct network more than those of a recursive decoder do.
    """
    defaults, accepted = signature(S5Estimator).parameters, signature(S5AutoregressiveEstimator).parameters
    given = {
        name: value
        for name, value in estimator.__init_args__.items()
        if name in accepted and name not in NOT_SHARED and value != defaults[name].default
    }
    if given.get("layer_kwargs"):
        given["layer_kwargs"] = {key: one for key, one in given["layer_kwargs"].items() if key != "bidirectional"}
    return S5AutoregressiveEstimator(**{**given, "recursion": "encoder", "seed": estimator.seed})


def statistical_models(
    lengths: Sequence[int], horizon: int, season: int, kinds: Sequence[str] = (ETS, ARIMA)
) -> list[Predictor]:
    """The statistical models of some kinds that improve networks for series of such lengths.

    They are fitted to all series in about a minute.
    """
    few, longest = sum(lengths) < MAX_VALUES_FOR_ARIMA, max(lengths)
    history = LONG_LENGTH if few and season <= SHORT_SEASON else RECENT_LENGTH
    some = sum(min(length, history) for length in lengths) < MAX_RECENT_VALUES_FOR_ETS
    suitable = {ETS: some and longest < MAX_SEASONS_FOR_ETS * season, ARIMA: few and longest < MAX_LENGTH_FOR_ARIMA}
    names = [name for name in kinds if suitable[name]]
    if names and find_spec("statsforecast") is None:
        warn_user(
            f"preset='best' leaves out {' and '.join(names)}, because statsforecast is not installed; run "
            "pip install 's5forecast[statsforecast]'"
        )
        return []
    return [BASELINES[name](horizon, season, max_history=history) for name in names]
