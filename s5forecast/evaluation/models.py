"""What can be backtested, as one kind of model: fitted to the past of windows, it gives values for windows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from s5forecast.choices import choose
from s5forecast.data.frames import Columns, FrameSeries
from s5forecast.data.frequency import Frequency
from s5forecast.evaluation.baselines import BASELINES
from s5forecast.evaluation.fingerprint import fingerprint
from s5forecast.evaluation.metrics import quantile_columns, sample_columns
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.windows import Window
from s5forecast.levels import level_name

FRAME = tuple[list[FrameSeries], Columns]


class Model(ABC):
    """A forecaster of windows.

    Attributes:
        trains: whether `fit` makes a new model, rather than give back this one.
    """

    trains: bool = False

    def fit(self, windows: Sequence[Window]) -> Model:
        """The model trained on what precedes these windows, one for each series."""
        return self

    @abstractmethod
    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """Values `[columns, H]` of each window, with N samples `[columns + N, H]`."""

    def columns(self, quantile_levels: Sequence[float]) -> list[str]:
        """The mean and the quantiles to ask for."""
        return ["mean", *map(level_name, quantile_levels)]

    def check(self, origins: Sequence[Sequence[Window]], columns: list[str]) -> None:  # noqa: B027, most have nothing
        """Raise ValueError, before any work, for windows or columns that cannot be forecast."""

    @abstractmethod
    def settings(self, first: Sequence[Window]) -> str:
        """The fingerprint of whatever its forecasts follow from but the data, the first window of each series given."""

    def finished(self, result: Backtest, first: Sequence[Window]) -> Backtest:
        """The result with what is known only after all windows, the first of each series among them."""
        return result


class PredictorModel(Model):
    """Anything with GluonTS's `predict`."""

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor

    def settings(self, first: Sequence[Window]) -> str:
        return fingerprint(self.predictor)

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """Each forecast as it comes; raises ValueError when they are not as many as the windows, or not in order."""
        count = 0
        for count, forecast in enumerate(self.predictor.predict([window.input for window in windows]), start=1):
            if count > len(windows):
                break
            window = windows[count - 1]
            if forecast.item_id is not None and str(forecast.item_id) != str(window.item_id):
                raise ValueError(
                    f"{type(self.predictor).__name__!r} gave a forecast of series {forecast.item_id!r} where one of "
                    f"{window.item_id!r} is due: forecast the entries in their order"
                )
            yield window.values(forecast, columns, samples)
        if count != len(windows):
            number = f"{count} forecasts" if count < len(windows) else "more forecasts"
            raise ValueError(f"{type(self.predictor).__name__!r} gave {number} for {len(windows)} windows")


class EstimatorModel(Model):
    """Anything with GluonTS's `train`."""

    trains = True

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def settings(self, first: Sequence[Window]) -> str:
        return fingerprint(self.estimator)

    def fit(self, windows: Sequence[Window]) -> PredictorModel:
        """Trained on the past of each series."""
        return PredictorModel(self.estimator.train([window.past for window in windows]))

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        raise TypeError("an estimator forecasts nothing before it is trained")


class ForecasterModel(Model):
    """An `S5Forecaster`, or what is like it: `fit(frame)`, `predict(frame, future, quantile_levels)`.

    A calibrated one is asked for its forecasts as they are; its calibrator then follows all of them in order of time.

    Arguments:
        forecaster: it is not changed; a copy is fitted.
        series: of the frame, by item.
        columns: of the frame.
        frequency: of the frame.
        refits: whether it is fitted anew as the windows go on.
    """

    trains = True

    def __init__(
        self,
        forecaster: Any,
        series: dict[Any, FrameSeries],
        columns: Columns,
        frequency: Frequency | None,
        refits: bool = False,
    ) -> None:
        self.forecaster, self.series, self.roles = forecaster, series, columns
        self.frequency, self.refits = frequency, refits

    def check(self, origins: Sequence[Sequence[Window]], columns: list[str]) -> None:
        """All known columns reach over the windows, and the calibration has the levels asked for."""
        for window in (window for windows in origins for window in windows):
            one, ahead = self.series[window.item_id], slice(window.cut, window.cut + window.length)
            for name, values in zip(self.roles.known, one.known[:, ahead], strict=True):
                if np.isnan(values).any():
                    when = one.timestamps[ahead][int(np.isnan(values).argmax())]
                    raise ValueError(
                        f"{one.name}: known column {name!r} has no value at {when}, within the windows to forecast; "
                        "fill it"
                    )
        calibrator = self._calibrator(origins[0])
        levels = sorted(float(column) for column in columns if column != "mean")
        if calibrator is not None and levels != list(calibrator.levels_):
            raise ValueError(f"the forecaster is calibrated at the levels {calibrator.levels_}, asked for are {levels}")

    def fit(self, windows: Sequence[Window]) -> ForecasterModel:
        """A copy fitted to the past of each series; the forecaster itself where it has seen nothing later."""
        if self._has_not_seen(windows):
            fitted = copy(self.forecaster)
            fitted.__dict__.pop("calibrator_", None)
        else:
            fitted = clone(self.forecaster)
            if self.frequency is not None and "freq" in fitted.get_params():
                fitted.set_params(freq=self.frequency.alias)
            fitted.fit(self._frame(windows, 0, past=True))
        return ForecasterModel(fitted, self.series, self.roles, self.frequency, self.refits)

    def finished(self, result: Backtest, first: Sequence[Window]) -> Backtest:
        """Calibrated, and with the time that fitting took, where the forecaster was used as it is."""
        if not self._has_not_seen(first):
            return result
        calibrator = self._calibrator(first)
        forecasts = result.forecasts if calibrator is None else calibrator.transform(result.forecasts)
        seconds = getattr(self.forecaster, "fit_seconds_", result.fit_seconds)
        return replace(result, forecasts=forecasts, fit_seconds=seconds)

    def settings(self, first: Sequence[Window]) -> str:
        """Of the arguments, and of what was learnt where the forecaster is used as it is."""
        learnt = getattr(self.forecaster, "predictor_", None) if self._has_not_seen(first) else None
        return fingerprint([type(self.forecaster), self.forecaster, learnt])

    def _has_not_seen(self, windows: Sequence[Window]) -> bool:
        """Whether it is fitted and calibrated on nothing later than the past of these windows."""
        names = ("trained_until_", "calibrated_until_")
        seen = [getattr(self.forecaster, name) for name in names if hasattr(self.forecaster, name)]
        if self.refits or not seen:
            return False
        return all(max(seen) <= _naive(window.timestamps(None)[0]) for window in windows)

    def _calibrator(self, first: Sequence[Window]) -> Any:
        return getattr(self.forecaster, "calibrator_", None) if self._has_not_seen(first) else None

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """Of the windows of one origin at a time, as a frame holds a series once."""
        if samples:
            raise ValueError(f"{type(self.forecaster).__name__} gives quantiles; backtest its predictor for samples")
        levels = [float(column) for column in columns if column != "mean"]
        for _, group in groupby(windows, key=lambda window: window.origin):
            part = list(group)
            future = self._frame(part, part[0].length, past=False) if self.roles.known else None
            found = self.forecaster.predict(self._frame(part, 0, past=True), future, levels)
            stamps = found[self.roles.timestamp].to_numpy().reshape(len(part), -1)
            for position, window in enumerate(part):
                _check_stamps(window, stamps[position])
            yield from found[columns].to_numpy(dtype=float).reshape(len(part), -1, len(columns)).swapaxes(1, 2)

    def _frame(self, windows: Sequence[Window], ahead: int, *, past: bool) -> pd.DataFrame:
        """The past of windows, or the `ahead` steps after it, as a long frame."""
        frames = []
        for window in windows:
            one = self.series[window.item_id]
            steps = slice(0, window.cut) if past else slice(window.cut, window.cut + ahead)
            values: dict[str, Any] = {} if one.item_id is None else {self.roles.item_id: one.item_id}
            values |= {
                self.roles.timestamp: one.timestamps[steps],
                **dict(zip(self.roles.known, one.known[:, steps], strict=True)),
            }
            if past:
                values |= {self.roles.target: one.target[steps], **one.static}
            frames.append(pd.DataFrame(values))
        return pd.concat(frames, ignore_index=True)


class ForecastsModel(Model):
    """Forecasts made elsewhere: a long frame item_id, timestamp, mean and quantiles, and cutoff if windows overlap."""

    def __init__(self, forecasts: pd.DataFrame, columns: Columns, frequency: Frequency | None) -> None:
        self.keys = [key for key in (columns.item_id, "cutoff", columns.timestamp) if key in forecasts.columns]
        if columns.timestamp not in self.keys:
            raise ValueError(f"the frame of forecasts has no column {columns.timestamp!r}; it has {list(forecasts)}")
        twice = forecasts.duplicated(self.keys)
        if twice.any():
            row = dict(forecasts.loc[twice, self.keys].iloc[0])
            raise ValueError(f"the frame of forecasts has two rows for {row}; tell windows apart by a column 'cutoff'")
        self.forecasts, self.roles, self.frequency = forecasts.set_index(self.keys), columns, frequency

    def settings(self, first: Sequence[Window]) -> str:
        return fingerprint(self.forecasts.reset_index())

    def columns(self, quantile_levels: Sequence[float]) -> list[str]:
        """Those the frame has."""
        points = [name for name in ("mean", "naive_2") if name in self.forecasts.columns]
        return points + [level_name(level) for level in quantile_columns(self.forecasts)]

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """Rows of each window; raises ValueError, naming the first, for a row that is missing."""
        levels = {level_name(level): name for level, name in quantile_columns(self.forecasts).items()}
        names = [levels.get(column, column) for column in columns] + (sample_columns(self.forecasts) if samples else [])
        if samples and len(names) == len(columns):
            raise ValueError("the frame of forecasts has no samples, columns 'sample_0', 'sample_1' ...")
        table = self.forecasts[names]
        for window in windows:
            times = window.timestamps(self.frequency)
            steps = pd.DataFrame(
                {self.roles.item_id: window.item_id, "cutoff": times[0], self.roles.timestamp: times[1:]}
            )
            index = pd.MultiIndex.from_frame(steps[self.keys]) if len(self.keys) > 1 else pd.Index(times[1:])
            found = table.index.get_indexer(index)
            if (found < 0).any():
                row = dict(steps[self.keys].iloc[int((found < 0).argmax())])
                given = dict(zip(self.keys, np.atleast_1d(table.index[0]), strict=True)) if len(table) else "nothing"
                raise ValueError(f"the frame of forecasts has no row for {row}; its first is {given}")
            yield table.to_numpy(dtype=float)[found].T


def as_model(
    model: Any, frame: FRAME | None, columns: Columns, frequency: Frequency | None, length: int, refits: bool = False
) -> Model:
    """The model of a name in `BASELINES`, a predictor, an estimator, a forecaster or a frame of forecasts."""
    if isinstance(model, str):
        return PredictorModel(choose(BASELINES, model, "baseline")(prediction_length=length))
    if isinstance(model, pd.DataFrame):
        return ForecastsModel(model, columns, frequency)
    if hasattr(model, "train"):
        return EstimatorModel(model)
    if hasattr(model, "fit") and hasattr(model, "predict"):
        if frame is None:
            raise ValueError(f"{type(model).__name__} is backtested on a DataFrame, not on GluonTS entries")
        if model.prediction_length != length:
            raise ValueError(f"{type(model).__name__} forecasts {model.prediction_length} steps, not {length}")
        series = {str(number) if one.item_id is None else one.item_id: one for number, one in enumerate(frame[0])}
        return ForecasterModel(model, series, columns, frequency, refits)
    if hasattr(model, "predict"):
        return PredictorModel(model)
    raise ValueError(
        f"{model!r} is no predictor, estimator, forecaster, frame of forecasts, or name of {list(BASELINES)}"
    )


def name_of(model: Any) -> str:
    """A name for a model: its own where it is one, else its class."""
    return model if isinstance(model, str) else "forecasts" if isinstance(model, pd.DataFrame) else type(model).__name__


def _naive(stamp: pd.Timestamp) -> pd.Timestamp:
    return stamp if stamp.tz is None else stamp.tz_convert(None)


def _check_stamps(window: Window, stamps: np.ndarray) -> None:
    due = window.timestamps(None)[1:]
    if (
        len(stamps) != len(due)
        or pd.Timestamp(stamps[0], tz=due.tz if pd.Timestamp(stamps[0]).tz is None else None) != due[0]
    ):
        raise ValueError(f"the forecast of series {window.item_id!r} starts at {stamps[0]}, where {due[0]} is due")
