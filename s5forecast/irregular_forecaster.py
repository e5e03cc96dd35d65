"""What S5Forecaster does for irregular series: uneven timestamps in, forecasts at the times asked for out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns
from s5forecast.data.irregular_sampling import (
    IrregularFrame,
    Queries,
    default_cycles,
    grid_ahead,
    irregular_entries,
    read_irregular_frame,
    read_queries,
)
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.times import read_instants
from s5forecast.estimators.continuous import S5ContinuousEstimator
from s5forecast.estimators.predictor import NetworkPredictor
from s5forecast.evaluation.irregular_backtest import backtest_irregular, irregular_splits
from s5forecast.evaluation.result import Backtest
from s5forecast.levels import level_name

OWN_ARGUMENTS = (
    "prediction_horizon", "prediction_length", "target_dim", "quantile_levels", "seed",
    "num_feat_dynamic_real", "num_past_feat_dynamic_real", "num_feat_static_real", "num_feat_static_cat",
    "cardinality",
)  # fmt: skip


@dataclass
class IrregularForecaster:
    """Fits an :class:`~s5forecast.S5ContinuousEstimator` on long frames, and asks it for any later times.

    Arguments:
        targets: the D variables.
        columns: the other roles of columns.
        horizon, prediction_length: how far ahead, and how many of the next observations, it learns to forecast.
        quantile_levels: of the forecasts.
        aggregate: what becomes of several rows of one time, ``"mean"`` or ``"last"``; an error by default.
        estimator_kwargs: further arguments of the estimator.
        seed, verbose: as of :class:`~s5forecast.S5Forecaster`.
    """

    targets: Sequence[str]
    columns: Columns
    horizon: Any = None
    prediction_length: int | None = None
    quantile_levels: Sequence[float] = ()
    aggregate: str | None = None
    estimator_kwargs: dict[str, Any] = field(default_factory=dict)
    seed: int | None = 0
    verbose: bool = True
    statics: StaticFeatures = field(default_factory=StaticFeatures, init=False)
    predictor: NetworkPredictor = field(init=False)
    history: list[IrregularFrame] | None = field(default=None, init=False)

    def fit(self, df: pd.DataFrame, validation: pd.DataFrame | None = None) -> IrregularForecaster:
        """Train on all series of a frame; those of ``validation`` decide when to stop."""
        series = self._read(df)
        self.statics = StaticFeatures.learn(series, self.columns)
        entries = irregular_entries(series, self.statics)
        held_out = None if validation is None else irregular_entries(self._read(validation), self.statics)
        self.predictor = self._estimator(series).train(entries, held_out)
        self.history = series
        return self

    def predict(
        self,
        df: pd.DataFrame | None,
        times: pd.DataFrame | None,
        horizon: Any,
        every: Any,
        levels: Sequence[float],
    ) -> pd.DataFrame:
        """Mean and quantiles at the rows of ``times``, as they are asked for, or on a grid after each series.

        Returns:
            Frame with the index and the order of ``times``: item_id, timestamp, ``mean`` and ``"0.1"`` …; of several
            variables ``<variable>_mean`` and ``<variable>_0.1`` ….

        Raises:
            ValueError: naming the series, the column and the fix; for a time that is not after the last observation.
        """
        series = self.histories(df)
        queries = read_queries(self._times(series, times, horizon, every), series, self.columns)
        entries = queries.ask(irregular_entries(series, self.statics), self.columns.timestamp)
        mean, quantiles = self.predictor.predict_quantiles(entries, levels)
        self._warn_of_far(queries, series)
        return self.frame(queries, mean, quantiles, levels)

    def backtest(
        self,
        df: pd.DataFrame,
        until: Any,
        metrics: Sequence[Any],
        since: Any,
        count: int | None,
        fraction: float | None,
    ) -> Backtest:
        """Forecast what follows the cut of each series, at its own times, within the horizon.

        The model is used as it is if it was trained on data that end before, ``until``, else one of the same
        parameters is trained on what comes before the first cut. Of several targets each is a series of its own,
        ``"<item>:<target>"``.
        """
        series = self._read(df)
        statics = self.statics if until is not None else StaticFeatures.learn(series, self.columns)
        entries, reach = irregular_entries(series, statics), (self.horizon, self.prediction_length)
        cuts = {"since": since, "count": count, "fraction": fraction}
        first = irregular_splits(entries, *reach, **cuts)[0]
        seen = until is None or not until < min(entry["query_time"][0] for entry in first.input)
        anew = replace(self)
        anew.statics = statics
        return backtest_irregular(
            anew._estimator(series) if seen else self.predictor,
            entries,
            *reach,
            **cuts,
            quantile_levels=self.quantile_levels,
            metrics=metrics,
            variables=self.targets,
            name="S5Forecaster",
        )

    def histories(self, df: pd.DataFrame | None) -> list[IrregularFrame]:
        """The series of a frame, by default those of the training."""
        if df is not None:
            return self._read(df)
        if self.history is None:
            raise ValueError("a loaded model holds no data to continue; give the histories: predict(df, times=...)")
        return self.history

    def to_gluonts(self, df: pd.DataFrame | None) -> list[dict[str, Any]]:
        """The series as GluonTS entries, with ``time`` beside ``target``."""
        return irregular_entries(self.histories(df), self.statics)

    def history_frame(self) -> pd.DataFrame:
        """Long frame of the training targets."""
        frames = []
        for one in self.histories(None):
            keys = {} if one.item_id is None else {self.columns.item_id: one.item_id}
            values = dict(zip(self.targets, one.target, strict=True))
            frames.append(pd.DataFrame({**keys, self.columns.timestamp: one.timestamps, **values}))
        return pd.concat(frames, ignore_index=True)

    def _read(self, df: pd.DataFrame) -> list[IrregularFrame]:
        return read_irregular_frame(df, self.targets, self.columns, self.aggregate)

    def _estimator(self, series: Sequence[IrregularFrame]) -> S5ContinuousEstimator:
        given = dict(self.estimator_kwargs)
        check_estimator_kwargs(S5ContinuousEstimator, given, OWN_ARGUMENTS)
        trainer_kwargs = {"enable_progress_bar": self.verbose, **given.pop("trainer_kwargs", {})}
        given.setdefault("cycles", default_cycles(series))
        return S5ContinuousEstimator(
            prediction_horizon=self.horizon,
            prediction_length=self.prediction_length,
            target_dim=len(self.targets),
            quantile_levels=list(self.quantile_levels),
            num_feat_dynamic_real=len(self.columns.known),
            num_feat_static_real=len(self.statics.real),
            num_feat_static_cat=len(self.statics.categorical),
            cardinality=self.statics.cardinality,
            seed=self.seed,
            trainer_kwargs=trainer_kwargs,
            **given,
        )

    def _times(
        self, series: Sequence[IrregularFrame], times: pd.DataFrame | None, horizon: Any, every: Any
    ) -> pd.DataFrame:
        if times is None:
            return grid_ahead(series, self.columns, self.grid_horizon(horizon, every), every)
        if horizon is not None or every is not None:
            raise ValueError("give either times= or horizon= and every=, not both")
        return times

    def grid_horizon(self, horizon: Any, every: Any) -> Any:
        """How far ahead a grid reaches; raise ValueError where none is described, or times alone are not enough."""
        horizon = self.horizon if horizon is None else horizon
        if every is None or horizon is None:
            raise ValueError(
                "say at which times to forecast: times=, a frame with a row for each, or horizon= and every=, such as "
                "predict(horizon='12h', every='30min')"
            )
        if self.columns.known:
            raise ValueError(
                f"the known columns {list(self.columns.known)} are needed at each time: give a frame as times="
            )
        return horizon

    def _warn_of_far(self, queries: Queries, series: Sequence[IrregularFrame]) -> None:
        """Nothing was learnt of times beyond the horizon."""
        limit = self.predictor.spec.horizon
        if limit is None:
            return
        for number, rows in queries.rows:
            asked = read_instants(queries.keys[self.columns.timestamp].iloc[rows], "times", series[number].name)
            last = read_instants(pd.Index([series[number].last]), self.columns.timestamp, series[number].name)
            farthest = asked.since(last.exact[0]).max()
            if farthest > limit * (1 + 1e-9):
                self.warn_of_far(series[number].name, farthest / limit, stacklevel=5)
                return

    def warn_of_far(self, name: str, horizons: float, stacklevel: int) -> None:
        """Warn of a time so many horizons ahead."""
        warnings.warn(
            f"{name}: a time asked for is {horizons:.3g} times as far as the horizon "
            f"{self.horizon} that was trained for; fit with a longer one",
            UserWarning,
            stacklevel=stacklevel,
        )

    def frame(self, queries: Queries, mean: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> pd.DataFrame:
        """Forecasts ``mean [M, D]`` and ``quantiles [M, D, Q]`` beside the times asked for, in their order."""
        mean, quantiles = queries.in_order(mean), queries.in_order(quantiles)
        columns = {}
        for number, target in enumerate(self.targets):
            prefix = "" if len(self.targets) == 1 else f"{target}_"
            columns[f"{prefix}mean"] = mean[:, number]
            columns |= {f"{prefix}{level_name(q)}": quantiles[:, number, i] for i, q in enumerate(levels)}
        return pd.concat([queries.keys, pd.DataFrame(columns, index=queries.keys.index)], axis=1)


def check_estimator_kwargs(make: type, given: dict[str, Any], own: Sequence[str]) -> None:
    """Raise ValueError for an argument that the estimator does not take, or that the forecaster sets."""
    takes = [name for name in signature(make).parameters if name not in own]
    for name in given:
        if name in own:
            raise ValueError(f"estimator_kwargs has {name!r}, which S5Forecaster sets from its own arguments")
        if name not in takes:
            raise ValueError(f"estimator_kwargs has {name!r}; {make.__name__} takes {takes}")
