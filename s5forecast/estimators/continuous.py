"""S5ContinuousEstimator: irregular series, forecast at arbitrary times."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.torch.model.predictor import PyTorchPredictor

from s5forecast.choices import choose
from s5forecast.data.content import as_sequence
from s5forecast.data.entries import count_categories
from s5forecast.data.spec import IrregularSpec
from s5forecast.data.times import is_duration
from s5forecast.estimators.arguments import (
    FEATURES,
    NETWORK,
    TRAINING_OF_LARGE_ENTRIES,
    FeatureArguments,
    NetworkArguments,
    TrainingArguments,
    check_positive,
    spread_arguments,
)
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.defaults import EPOCHS, REASONS, resolve_timescales
from s5forecast.estimators.training import ForecastModule
from s5forecast.levels import DECILES
from s5forecast.networks.base import check_support
from s5forecast.networks.continuous import CONTINUOUS_SCALINGS, ContinuousNetwork
from s5forecast.seeding import seeded
from s5forecast.windows.batches import LastWindows, TrainingWindows, WindowStore
from s5forecast.windows.calendar import CYCLES


class S5ContinuousEstimator(ForecastEstimator):
    r"""Forecasts irregularly sampled series at arbitrary times, by an S5 encoder with one step for each gap.

    .. math:: x_n = e^{\Lambda \Delta\, dt_n} x_{n-1} + \bar B(dt_n)\, u_n, \qquad
              x(t_n + \tau) = e^{\Lambda \Delta \tau} x_n

    The states are advanced to each query time in closed form, independently of the other query times. Nothing is
    resampled. Several variables may be observed at different times; each has its own distribution at each query time.

    An entry has ``time [n]``, datetimes or numbers, beside ``target``, ``[n]`` or ``[D, n]`` with NaN for values that
    were not observed. To be forecast it has ``query_time [Q]`` after the last observation. Covariates, with one value
    for each time, are ``feat_dynamic_real [F, n]`` and ``query_feat_dynamic_real [F, Q]``, and
    ``past_feat_dynamic_real``. In training, ``cut_time`` fixes the end of the history of an entry, which is drawn at
    random otherwise.

    Args:
        prediction_horizon: how far ahead to forecast: a duration such as ``"12h"`` if times are datetimes, a number if
            times are numbers.
        prediction_length: number of next observations to train on, instead of a horizon or within it.
        target_dim: variables of each entry, D.
        context_length: observations of history that the network sees.
        time_unit: unit of the steps of the network, a duration or number; the median gap between observations if not
            given.
        max_queries: maximum number of query times of each training window; larger sets are thinned evenly.
        use_dt: whether the state moves by the true gaps; otherwise by one step for each observation, for comparison.
        dt_as_feature: whether the network sees the gaps, and the time since each variable was observed, as numbers.
        cycles: calendar cycles that the network sees, of ``"hour"``, ``"day"``, ``"week"``, ``"year"``, in local time.
        scaling: ``"standard"`` and ``"last"`` normalize each variable of each window, ``"global"`` by all data.
        distr_output, quantile_levels, loss: as in :class:`~s5forecast.S5Estimator`.
        variable_weights: weight of each variable in the loss. If not given, all values have the same weight, so that
            variables count by how often they are observed.
        width, num_layers, state_size: features, blocks, and states of each block.
        layer: a key of ``ssm.LAYERS`` that is causal and has ``advance``, or a list of keys, one for each block; a
            shorter list repeats.
        layer_kwargs: further arguments of the layer, such as
            ``dt_min`` and ``dt_max``, which are chosen by the context if not given, and
            ``discretization``: ``"zoh"`` holds each input over the gap before it, ``"dirac"`` takes it as an impulse.
        activation, dropout: of each block.
        num_feat_dynamic_real, num_past_feat_dynamic_real: number of covariates known at the query times, and of others.
        num_feat_static_real, num_feat_static_cat, cardinality: number of static features, categories of each.
        dynamic_cardinalities, past_dynamic_cardinalities: number of categories of each categorical covariate, known
            over the horizon and not. ``feat_dynamic_cat`` and ``past_feat_dynamic_cat`` of an entry have the codes 0,
            1, … of these categories, -1 for an unknown category, NaN for a missing one.
        weighted: not available for irregular series.
        lr, ssm_lr, weight_decay, warmup, patience: as in :class:`~s5forecast.S5Estimator`.
        batch_size, num_batches_per_epoch, sampling, max_epochs, predict_batch_size: as there.
        trainer_kwargs, seed, device: as there.

    Raises:
        ValueError: for an unknown name, with the known ones, or a number out of range.

    References:
        "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023), for a step per gap
    """

    @validated()
    @spread_arguments
    def __init__(
        self,
        prediction_horizon: Any = None,
        prediction_length: int | None = None,
        target_dim: int = 1,
        context_length: int = 128,
        time_unit: Any = None,
        max_queries: int = 64,
        use_dt: bool = True,
        dt_as_feature: bool = True,
        cycles: list[str] | None = None,
        scaling: str = "standard",
        distr_output: Any = "quantile",
        quantile_levels: list[float] | None = None,
        loss: str | None = None,
        variable_weights: list[float] | None = None,
        network: NetworkArguments = NETWORK,
        features: FeatureArguments = FEATURES,
        training: TrainingArguments = TRAINING_OF_LARGE_ENTRIES,
    ) -> None:
        super().__init__(**training._asdict())
        check_positive(target_dim=target_dim, context_length=context_length, max_queries=max_queries)
        choose(dict.fromkeys(CONTINUOUS_SCALINGS), scaling, "scaling")
        check_weights(variable_weights, target_dim)
        if features.weighted:
            raise ValueError("weighted=True requires regular series; use S5Estimator or S5AutoregressiveEstimator")
        datetimes = _datetimes(prediction_horizon, time_unit, cycles)
        self.time_unit = base_units(time_unit, datetimes, "time_unit")
        self.spec = IrregularSpec(
            target_dim=target_dim,
            context_length=context_length,
            horizon=base_units(prediction_horizon, datetimes, "prediction_horizon"),
            prediction_length=_checked_length(prediction_length, prediction_horizon),
            max_queries=max_queries,
            datetimes=datetimes,
            cycles=cycles or [],
            features=features.spec(),
        )
        self.choices.resolve("cycles", cycles, [], "S5Forecaster chooses cycles by the data, the estimator does not")
        self.set_quantile_levels(quantile_levels)
        self.set_output(distr_output, self.quantile_levels)
        self.set_loss(loss)
        self.cardinality = features.categories()
        dt_range = resolve_timescales(self.choices, context_length, network.layer_kwargs or {})
        self.network_kwargs = {
            "scaling": scaling,
            "time_unit": self.time_unit,
            "use_dt": use_dt,
            "dt_as_feature": dt_as_feature,
            **network.for_network(clip_eigs=True, **dt_range),
            "loss": loss,
            "quantile_levels": sorted({*DECILES, *self.quantile_levels}),
            "variable_weights": variable_weights,
        }

    def window_spec(self) -> IrregularSpec:  # type: ignore[override]
        return self.spec

    def create_network(self) -> ContinuousNetwork:
        return ContinuousNetwork(self.spec, self.output, self.cardinality, **self.network_kwargs)

    def create_validation_data_loader(self, data: Dataset, module: ForecastModule, **kwargs: Any) -> LastWindows:
        store = self._store(data)
        check_support(module.network.output, store.series)
        windows = LastWindows(store, batch_size=self.predict_batch_size, known=True)
        if not len(windows):
            raise ValueError("validation_data has no observed value within the last horizon of any series")
        return windows

    def epochs(self, store: WindowStore) -> int:
        """Number of epochs used when ``max_epochs`` is ``None``."""
        return EPOCHS

    def fit_choices(self, store: Any, from_predictor: PyTorchPredictor | None) -> None:
        """Resolve the output and the unit of time."""
        self.fit_output(store, from_predictor)
        self.fit_loss()
        self.fit_epochs(store)
        if from_predictor is None:
            self.choices.resolve("time_unit", self.time_unit, store.median_gap())
        else:
            self.choices.choose("time_unit", float(from_predictor.network.time_unit), REASONS["from_predictor"])

    @classmethod
    def derive_auto_fields(cls, train_iter: Iterable) -> dict[str, Any]:
        """The number of variables and of features of the first entry, and of their categories, for ``from_inputs``."""
        entries = as_sequence(train_iter)
        entry = entries[0]
        fields = ("feat_dynamic_real", "past_feat_dynamic_real", "feat_static_real")
        return {
            "target_dim": len(np.atleast_2d(entry["target"])),
            **{f"num_{field}": len(entry[field]) for field in fields if field in entry},
            "num_feat_static_cat": len(entry.get("feat_static_cat", ())),
            "cardinality": count_categories(entries, "feat_static_cat"),
            "dynamic_cardinalities": count_categories(entries, "feat_dynamic_cat"),
            "past_dynamic_cardinalities": count_categories(entries, "past_feat_dynamic_cat"),
        }

    def _training_windows(self, store: WindowStore) -> TrainingWindows:
        with seeded(self.seed) as generator:
            return TrainingWindows(
                store,
                batch_size=self.batch_size,
                num_batches=self.num_batches_per_epoch,
                generator=generator,
                sampling=self.sampling,
            )


def _datetimes(prediction_horizon: Any, time_unit: Any, cycles: list[str] | None) -> bool | None:
    """Whether times are datetimes, by the type of the durations; ``None`` if the arguments do not tell.

    Raises:
        ValueError: for an unknown cycle, or cycles if times are numbers.
    """
    for cycle in cycles or []:
        choose(CYCLES, cycle, "cycle")
    durations = [duration for duration in (prediction_horizon, time_unit) if duration is not None]
    datetimes = any(map(is_duration, durations)) if durations else True if cycles else None
    if cycles and datetimes is False:
        raise ValueError(f"cycles={cycles} require datetimes; leave them out if times are numbers")
    return datetimes


def _checked_length(prediction_length: int | None, prediction_horizon: Any) -> int | None:
    """The length; raise ValueError if it is below 1, or if neither length nor horizon is given."""
    if prediction_length is not None:
        check_positive(prediction_length=prediction_length)
    elif prediction_horizon is None:
        raise ValueError(
            "give prediction_horizon, such as '12h', or prediction_length, the number of next observations to forecast"
        )
    return prediction_length


def check_weights(weights: list[float] | None, dim: int) -> None:
    """Raise ValueError unless there is one positive number for each variable."""
    if weights is not None and not (len(weights) == dim and all(0 < weight < np.inf for weight in weights)):
        raise ValueError(f"variable_weights={weights} must be {dim} positive numbers, one for each variable")


def base_units(duration: Any, datetimes: bool | None, name: str) -> float | None:
    """A duration in seconds, or the number given, or ``None``.

    Raises:
        ValueError: naming the argument, if it is not positive, not a duration, or not of the kind of the times.
    """
    if duration is None:
        return None
    if is_duration(duration) != datetimes:
        raise ValueError(
            f"{name}={duration!r} and the other durations are of different kinds: give all as durations such as '12h' "
            "if times are datetimes, or all as numbers"
        )
    try:
        amount = pd.Timedelta(duration).total_seconds() if datetimes else float(duration)
    except ValueError as error:
        raise ValueError(f"{name}={duration!r} is not a duration such as '12h' or '30min' ({error})") from error
    if not 0 < amount < np.inf:
        raise ValueError(f"{name} must be positive, got {duration!r}")
    return amount
