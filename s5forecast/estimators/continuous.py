"""S5ContinuousEstimator: irregular series, forecast at any time asked for."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset

from s5forecast.choices import choose
from s5forecast.data.spec import IrregularSpec
from s5forecast.data.times import is_duration
from s5forecast.distributions import AUTO, check_loss, make_output
from s5forecast.estimators.base import ForecastEstimator, check_positive, checked_cardinality
from s5forecast.estimators.training import ForecastModule
from s5forecast.levels import DECILES
from s5forecast.networks.base import check_support
from s5forecast.networks.continuous import SCALINGS, ContinuousNetwork
from s5forecast.nn import ACTIVATIONS
from s5forecast.seeding import seeded
from s5forecast.ssm import LAYERS
from s5forecast.windows.batches import LastWindows, TrainingWindows, WindowStore
from s5forecast.windows.calendar import CYCLES
from s5forecast.windows.irregular import IrregularBatch

# The slowest state begins with a real part of -1/2 and keeps exp(-6 / 2), 5 %, of what is a context ago.
FORGOTTEN = 6.0
DT_MAX = 0.1


class S5ContinuousEstimator(ForecastEstimator):
    r"""Forecasts series observed at uneven times, at any times asked for, by an S5 encoder with a step for each gap.

    .. math:: x_n = e^{\Lambda \Delta\, dt_n} x_{n-1} + \bar B(dt_n)\, u_n, \qquad
              x(t_n + \tau) = e^{\Lambda \Delta \tau} x_n

    The states are advanced to the times asked for in closed form, each time on its own: their number, order and
    grouping make no difference. Nothing is resampled. Several variables may be observed at different times; each
    has a distribution of its own at each time.

    An entry has ``time [n]``, datetimes or numbers, beside ``target``, ``[n]`` or ``[D, n]`` with NaN for what was not
    observed; to be forecast it has ``query_time [Q]`` after the last observation. Covariates, one value for each
    time, are ``feat_dynamic_real [F, n]``, then ``query_feat_dynamic_real [F, Q]``, and ``past_feat_dynamic_real``. In
    training a ``cut_time`` fixes where the history of an entry ends; else cuts are drawn at random.

    Arguments:
        prediction_horizon: how far ahead to forecast: a duration such as ``"12h"`` where times are datetimes, a
            number where they are numbers.
        prediction_length: how many of the next observations to learn to forecast, in place of a horizon or within it.
        target_dim: variables of each entry, D.
        context_length: observations of history the network sees.
        time_unit: what the steps of the network are counted in, a duration or number; the median gap between
            observations when not given.
        max_queries: times asked of each training window, at most; they are taken evenly where more follow.
        use_dt: whether the state moves by the true gaps; if not, by one step for each observation, for comparison.
        dt_as_feature: whether the network is shown the gaps, and how long ago each variable was seen, as numbers.
        cycles: calendar cycles the network is shown, of ``"hour"``, ``"day"``, ``"week"``, ``"year"``, by the clock
            of the time zone given.
        scaling: ``"standard"`` and ``"last"`` normalise each variable of each window, ``"global"`` by all data.
        distr_output, quantile_levels, loss: as in :class:`~s5forecast.S5Estimator`.
        variable_weights: weight of each variable in the loss, in which all values count alike when it is not given, so
            that variables count by how often they are observed.
        width, num_layers, state_size: size of the network: features, blocks, states of each block.
        layer: a key of ``ssm.LAYERS`` that is causal and can be advanced; layer_kwargs: its further arguments, such as
            ``dt_min`` and ``dt_max``, which are chosen by the context when not given, and
            ``discretization``: ``"zoh"`` holds each input over the gap before it, ``"dirac"`` takes it as an impulse.
        activation, dropout: of each block.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known at the times asked for, and not.
        num_feat_static_real, num_feat_static_cat, cardinality: static features, categories of each.
        lr, ssm_lr, weight_decay, warmup, patience, batch_size, num_batches_per_epoch, max_epochs,
            predict_batch_size, trainer_kwargs, seed, device: as in :class:`~s5forecast.S5Estimator`.

    Raises:
        ValueError: for a name or a number that cannot be, listing the choices.

    References:
        "Simplified State Space Layers for Sequence Modeling" (Smith, Warrington, Linderman, 2023), for a step per gap
    """

    @validated()
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
        width: int = 64,
        num_layers: int = 2,
        state_size: int = 64,
        layer: str = "s5",
        layer_kwargs: dict[str, Any] | None = None,
        activation: str = "half_glu2",
        dropout: float = 0.1,
        num_feat_dynamic_real: int = 0,
        num_past_feat_dynamic_real: int = 0,
        num_feat_static_real: int = 0,
        num_feat_static_cat: int = 0,
        cardinality: list[int] | None = None,
        lr: float = 3e-3,
        ssm_lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        patience: int = 10,
        batch_size: int = 32,
        num_batches_per_epoch: int = 50,
        max_epochs: int = 20,
        predict_batch_size: int = 64,
        trainer_kwargs: dict[str, Any] | None = None,
        seed: int | None = 0,
        device: str = "auto",
    ) -> None:
        super().__init__(
            lr=lr, ssm_lr=ssm_lr, weight_decay=weight_decay, warmup=warmup, patience=patience,
            batch_size=batch_size, num_batches_per_epoch=num_batches_per_epoch,
            predict_batch_size=predict_batch_size, trainer_kwargs={"max_epochs": max_epochs, **(trainer_kwargs or {})},
            seed=seed, device=device,
        )  # fmt: skip
        if prediction_horizon is None and prediction_length is None:
            raise ValueError(
                "give prediction_horizon, such as '12h', or prediction_length, how many of the next observations to "
                "forecast"
            )
        check_positive(
            prediction_length=1 if prediction_length is None else prediction_length,
            target_dim=target_dim,
            context_length=context_length,
            max_queries=max_queries,
            width=width,
            num_layers=num_layers,
            state_size=state_size,
        )
        choose(dict.fromkeys(SCALINGS), scaling, "scaling")
        choose(LAYERS, layer, "layer")
        choose(ACTIVATIONS, activation, "activation")
        for cycle in cycles or []:
            choose(CYCLES, cycle, "cycle")
        check_weights(variable_weights, target_dim)
        durations = [duration for duration in (prediction_horizon, time_unit) if duration is not None]
        datetimes = any(map(is_duration, durations)) if durations else True if cycles else None
        self.spec = IrregularSpec(
            target_dim=target_dim,
            context_length=context_length,
            horizon=base_units(prediction_horizon, datetimes, "prediction_horizon"),
            prediction_length=prediction_length,
            max_queries=max_queries,
            datetimes=datetimes,
            cycles=cycles or [],
            num_feat_dynamic_real=num_feat_dynamic_real,
            num_past_feat_dynamic_real=num_past_feat_dynamic_real,
            num_feat_static_real=num_feat_static_real,
            num_feat_static_cat=num_feat_static_cat,
        )
        if cycles and datetimes is False:
            raise ValueError(f"cycles={cycles} are of datetimes; leave them out where times are numbers")
        self.quantile_levels = list(DECILES) if quantile_levels is None else quantile_levels
        self.automatic = distr_output == AUTO
        self.output = make_output("normal" if self.automatic else distr_output, self.quantile_levels)
        check_loss(loss, self.output)
        self.cardinality = checked_cardinality(cardinality, num_feat_static_cat)
        self.network_kwargs = {
            "scaling": scaling,
            "time_unit": base_units(time_unit, datetimes, "time_unit"),
            "use_dt": use_dt,
            "dt_as_feature": dt_as_feature,
            "width": width,
            "num_layers": num_layers,
            "layer": layer,
            "layer_kwargs": {
                "state_size": state_size,
                "clip_eigs": True,
                **timescales(context_length),
                **(layer_kwargs or {}),
            },
            "activation": activation,
            "dropout": dropout,
            "loss": loss,
            "quantile_levels": sorted({*DECILES, *self.quantile_levels}),
            "variable_weights": variable_weights,
        }

    def window_spec(self) -> IrregularSpec:  # type: ignore[override]
        return self.spec

    def create_network(self) -> ContinuousNetwork:
        return ContinuousNetwork(self.spec, self.output, self.cardinality, **self.network_kwargs)

    def create_validation_data_loader(  # type: ignore[override]
        self, data: Dataset, module: ForecastModule, **kwargs: Any
    ) -> Iterable[IrregularBatch]:
        store = self._store(data)
        check_support(module.network.output, store.series)
        windows = LastWindows(store, batch_size=self.predict_batch_size, known=True)
        if not len(windows):
            raise ValueError("validation_data has no observed value within the last horizon of any series")
        return windows

    @classmethod
    def derive_auto_fields(cls, train_iter: Iterable) -> dict[str, Any]:
        """The number of variables and of features of the first entry, for ``from_inputs``."""
        (entry,) = islice(train_iter, 1)
        fields = ("feat_dynamic_real", "past_feat_dynamic_real", "feat_static_real")
        return {"target_dim": len(np.atleast_2d(entry["target"]))} | {
            f"num_{field}": len(entry[field]) for field in fields if field in entry
        }

    def _training_windows(self, store: WindowStore) -> TrainingWindows:
        with seeded(self.seed) as generator:
            return TrainingWindows(
                store, batch_size=self.batch_size, num_batches=self.num_batches_per_epoch, generator=generator
            )


def timescales(context_length: int) -> dict[str, float]:
    """Initial timescales by which even the slowest state forgets nearly all within a context.

    A stream shows the network more than any window of the training did; states that were still filling up at the end of
    those would go on to values that nothing was learnt of.
    """
    slowest = FORGOTTEN / context_length
    return {"dt_min": slowest, "dt_max": max(DT_MAX, 10 * slowest)}


def check_weights(weights: list[float] | None, dim: int) -> None:
    """Raise ValueError unless there is a positive number for each variable."""
    if weights is not None and not (len(weights) == dim and all(0 < weight < np.inf for weight in weights)):
        raise ValueError(f"variable_weights={weights} must be {dim} positive numbers, one for each variable")


def base_units(duration: Any, datetimes: bool | None, name: str) -> float | None:
    """A duration in seconds, or the number given; ``None`` stays so.

    Raises:
        ValueError: naming the argument, for one that is not positive, no duration or not of the kind of the times.
    """
    if duration is None:
        return None
    if is_duration(duration) != datetimes:
        raise ValueError(
            f"{name}={duration!r} and the other durations are of different kinds: give all as durations such as '12h', "
            "for datetimes, or all as numbers"
        )
    try:
        amount = pd.Timedelta(duration).total_seconds() if datetimes else float(duration)
    except ValueError as error:
        raise ValueError(f"{name}={duration!r} is no duration such as '12h' or '30min' ({error})") from error
    if not 0 < amount < np.inf:
        raise ValueError(f"{name} must be positive, got {duration!r}")
    return amount
