"""Backtests: a predictor forecasts the last windows of every series, each from what came before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.model.predictor import Predictor

from s5forecast.data.frequency import Frequency
from s5forecast.evaluation.metrics import evaluate, quantile_columns
from s5forecast.evaluation.windows import Window, last_windows
from s5forecast.levels import DECILES, check_levels, level_name

if TYPE_CHECKING:
    import plotly.graph_objects as go

METRIC_NAMES = ("WQL", "MASE", "sMAPE", "coverage_80")
COLUMNS = ("item_id", "cutoff", "timestamp", "target")


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of past windows beside what happened, and their metrics.

    Arguments:
        name: of the model.
        forecasts: long frame with a row per series, window and step: item_id, cutoff (time of the last value
            the forecast could see), timestamp, target (NaN: not observed), mean, quantiles "0.1", "0.2" ...
        seasonal_error: mean absolute seasonal difference of the history before each window, indexed by
            (item_id, cutoff) or by item_id; needed by the metrics that are scaled by it.
        metric_names: names in `METRICS`, or GluonTS metric definitions.
        seconds: time to predict all windows.
        fit_seconds: time to fit the model, reported with the metrics when given.

    Raises:
        ValueError: a column is missing, or a forecast is NaN.
    """

    name: str
    forecasts: pd.DataFrame
    seasonal_error: pd.Series | None = None
    metric_names: Sequence[Any] = METRIC_NAMES
    seconds: float | None = None
    fit_seconds: float | None = None

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.forecasts.columns]
        if missing or self.forecasts.empty:
            raise ValueError(f"the forecasts of {self.name!r} have no rows, or lack the columns {missing}")
        absent = self.forecasts[self._forecast_columns].isna().any(axis=1)
        if absent.any():
            row = self.forecasts[absent].iloc[0]
            when = f"{row['timestamp']}, made at {row['cutoff']}"
            raise ValueError(f"the forecast by {self.name!r} of series {row['item_id']!r} at {when}, is NaN")

    @classmethod
    def from_frame(
        cls,
        forecasts: pd.DataFrame,
        seasonal_error: pd.Series | None = None,
        *,
        name: str = "model",
        metrics: Sequence[Any] = METRIC_NAMES,
        item_id: str = "item_id",
        cutoff: str = "cutoff",
        timestamp: str = "timestamp",
        target: str = "target",
    ) -> Backtest:
        """Backtest from forecasts made elsewhere: a long frame that also holds what happened.

        The seasonal errors come from `metrics.seasonal_error`, for example
        `history.groupby("item_id")["target"].apply(seasonal_error, season=24)`.
        """
        names = dict(zip((item_id, cutoff, timestamp, target), COLUMNS, strict=True))
        return cls(name, forecasts.rename(columns=names), seasonal_error, tuple(metrics))

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """Levels of the quantile columns, ascending."""
        return tuple(quantile_columns(self.forecasts))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row, named after the model: the metrics over all series, windows and steps, and the seconds."""
        row = self._evaluate(np.zeros(len(self.forecasts), dtype=int), pd.Index([self.name], name="model"))
        times = {"fit_seconds": self.fit_seconds, "predict_seconds": self.seconds}
        return row.assign(**{column: value for column, value in times.items() if value is not None})

    def by(self, column: str) -> pd.DataFrame:
        """Metrics per value of a column of the forecasts (item_id, cutoff ...), or per "step" from 1 on."""
        keys = self.step if column == "step" else self.forecasts[column]
        codes, values = pd.factorize(keys, sort=keys.dtype != object, use_na_sentinel=False)
        return self._evaluate(codes, pd.Index(values, name=column))

    @property
    def step(self) -> pd.Series:
        """Position of each row in its window, from 1 on."""
        windows = self.forecasts.groupby(["item_id", "cutoff"], sort=False)
        return windows["timestamp"].rank("first").astype(int)

    def plot(self, history: pd.DataFrame | None = None, **kwargs: Any) -> go.Figure:
        """Fan chart of the windows with what happened; arguments as `plotting.forecasts.plot_backtest`."""
        from s5forecast.plotting.forecasts import plot_backtest

        return plot_backtest(self.forecasts, history, **kwargs)

    @property
    def _forecast_columns(self) -> list[Any]:
        mean = ["mean"] if "mean" in self.forecasts.columns else []
        return mean + list(quantile_columns(self.forecasts).values())

    def _evaluate(self, codes: np.ndarray, groups: pd.Index) -> pd.DataFrame:
        """Metrics of the rows with each code; groups are rows of a matrix padded with missing labels."""
        position = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        shape = (len(groups), position.max() + 1)

        def padded(values: Any, fill: float = 0.0) -> np.ndarray:
            matrix = np.full(shape, fill)
            matrix[codes, position] = pd.Series(values).to_numpy(dtype=float)
            return matrix

        label = padded(self.forecasts["target"], np.nan)
        forecasts = {str(column): padded(self.forecasts[column]) for column in self._forecast_columns}
        errors = None if self.seasonal_error is None else padded(self._row_errors(self.seasonal_error), 1.0)
        return pd.DataFrame(evaluate(label, forecasts, errors, self.metric_names, axis=1), index=groups)

    def _row_errors(self, errors: pd.Series) -> np.ndarray:
        """Seasonal error of each row."""
        keys: pd.Index = pd.Index(self.forecasts["item_id"])
        if errors.index.nlevels == 2:
            keys = pd.MultiIndex.from_frame(self.forecasts[["item_id", "cutoff"]])
        unknown = keys.difference(errors.index)
        if len(unknown):
            raise ValueError(f"no seasonal error for {unknown[0]!r}: index them by item_id, or item_id and cutoff")
        return errors.reindex(keys).to_numpy(dtype=float)


def backtest(
    predictor: Predictor,
    data: Iterable[DataEntry],
    *,
    prediction_length: int,
    windows: int = 1,
    step: int | None = None,
    quantile_levels: Sequence[float] = DECILES,
    metrics: Sequence[Any] = METRIC_NAMES,
    season: int | None = None,
    name: str | None = None,
    freq: Frequency | str | None = None,
) -> Backtest:
    """Forecast the last windows of every series with a GluonTS predictor, and compare with what happened.

    Arguments:
        predictor: anything with GluonTS's `predict`; called once, with all windows, oldest first.
        data: GluonTS entries, `target` `[T]`; the series may differ in length. What each forecast is given
            ends with its history, but for the known dynamic features, which reach over the horizon. An entry
            may hold its `timestamps` `[T]`, which the result then has.
        prediction_length: steps H of a window.
        windows: number of windows at the end of each series.
        step: steps from one window to the next, `prediction_length` by default.
        quantile_levels: levels to ask of the forecasts, in (0, 1).
        metrics: names in `METRICS`, or GluonTS metric definitions.
        season: steps of the differences that scale MASE; by default GluonTS's for the frequency (24 for
            hours, 12 for months, 1 for days and weeks).
        name: of the model; by default the predictor's class.
        freq: frequency whose timestamps the result has; by default each period is stamped by its start.

    Raises:
        ValueError: a series is too short, a level or metric unknown, or a forecast does not fit its window.
    """
    step = prediction_length if step is None else step
    check_backtest(prediction_length, windows, step, metrics, quantile_levels)
    frequency = None if freq is None else Frequency.parse(freq)
    cuts = last_windows(data, prediction_length, windows, step)
    inputs = [window.input for window in cuts]
    name = type(predictor).__name__ if name is None else name
    began = perf_counter()
    forecasts = list(predictor.predict(inputs))
    seconds = perf_counter() - began
    if len(forecasts) != len(cuts):
        raise ValueError(f"{name!r} gave {len(forecasts)} forecasts for {len(cuts)} windows")
    columns = ["mean", *map(level_name, quantile_levels)]
    pairs = zip(cuts, forecasts, strict=True)
    values = np.concatenate([window.values(forecast, columns) for window, forecast in pairs], axis=1)
    frame = _keys(cuts, frequency).assign(**dict(zip(columns, values, strict=True)))
    index = pd.MultiIndex.from_frame(frame[["item_id", "cutoff"]].iloc[::prediction_length])
    errors = pd.Series([window.seasonal_error(season) for window in cuts], index, name="seasonal_error")
    return Backtest(name, frame, errors, tuple(metrics), seconds)


def check_backtest(
    prediction_length: int, windows: int, step: int, metrics: Sequence[Any], quantile_levels: Sequence[float]
) -> None:
    """Raise ValueError for a wrong number, metric or level, before the work is done."""
    if min(prediction_length, windows, step) < 1:
        raise ValueError(f"{prediction_length=}, {windows=} and {step=} must be at least 1")
    check_levels(quantile_levels)
    one = np.ones((1, 1))
    evaluate(one, {"mean": one, **{level_name(level): one for level in quantile_levels}}, one, metrics)


def _keys(windows: list[Window], frequency: Frequency | None) -> pd.DataFrame:
    """The columns item_id, cutoff, timestamp and target of windows of equal length."""
    item_ids = np.array([window.item_id for window in windows], dtype=object)
    times = [window.timestamps(frequency) for window in windows]  # of 1 + H each
    length = len(times[0]) - 1
    return pd.DataFrame(
        {
            "item_id": np.repeat(item_ids, length),
            "cutoff": _joined([stamps[:1].repeat(length) for stamps in times]),
            "timestamp": _joined([stamps[1:] for stamps in times]),
            "target": np.concatenate([window.label for window in windows]),
        }
    )


def _joined(parts: list[pd.DatetimeIndex]) -> pd.Index:
    return parts[0].append(parts[1:])
