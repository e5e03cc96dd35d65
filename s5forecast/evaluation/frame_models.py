"""Forecasters and frames of forecasts with the interface of a model in a backtest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.alignment import raise_unaligned
from s5forecast.data.frames import Columns, with_labels
from s5forecast.data.frequency import Frequency
from s5forecast.data.table import FrameSeries, repeat_keys
from s5forecast.data.timestamps import read_times
from s5forecast.evaluation.fingerprint import fingerprint
from s5forecast.evaluation.models import Model
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.windows import RegularWindow, Window
from s5forecast.levels import level_name, quantile_columns, sample_columns


class ForecasterModel(Model):
    """An ``S5Forecaster``, or another class with ``fit(frame)`` and ``predict(frame, future, quantile_levels)``.

    A calibrated forecaster first makes uncalibrated forecasts of all windows. Its calibrator then corrects them in the
    order of time.

    Args:
        forecaster: it is not changed; a copy is fitted.
        series: series of the frame, by item_id.
        columns: column roles of the frame.
        frequency: frequency of the frame.
        refits: whether it is fitted more than once.
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

    def check(self, origins: Sequence[Sequence[RegularWindow]], columns: list[str]) -> None:
        """Check that the calibration has the same levels.

        Series that are forecast together must have the same timestamps.
        """
        if getattr(self.forecaster, "joint", False):
            raise_unaligned({one.item_id: (one.entry["start"], len(one.entry["target"])) for one in origins[0]})
        calibrator = self._calibrator(origins[0])
        levels = sorted(float(column) for column in columns if column != "mean")
        if calibrator is not None and levels != list(calibrator.levels_):
            raise ValueError(
                f"the forecaster is calibrated for the levels {calibrator.levels_}, but quantile_levels={levels}; use "
                "the same levels"
            )

    def fit(self, windows: Sequence[RegularWindow]) -> ForecasterModel:
        """A copy fitted on the history of each series; the forecaster itself if it has not seen the windows."""
        if self._has_not_seen(windows):
            fitted = copy(self.forecaster)
            fitted.__dict__.pop("calibrator_", None)
        elif getattr(self.forecaster, "only_unchanged", False):
            raise ValueError(
                "the forecaster has seen the windows, and the workers of a Ray dataset train nothing; fit and "
                "calibrate it on the data before the windows"
            )
        else:
            from sklearn.base import clone

            fitted = clone(self.forecaster)
            if self.frequency is not None and "freq" in fitted.get_params():
                # The season of integer times is that of the forecaster.
                fitted.set_params(freq=self.frequency.multiple if self.frequency.integer else self.frequency.alias)
            fitted.fit(self._frame(windows, 0, past=True))
        return type(self)(fitted, self.series, self.roles, self.frequency, self.refits)

    def finished(self, result: Backtest, first: Sequence[RegularWindow]) -> Backtest:
        """Calibrated, and with the time of the original fit, if the forecaster is used unchanged."""
        if not self._has_not_seen(first):
            return result
        calibrator = self._calibrator(first)
        forecasts = result.rows if calibrator is None else calibrator.transform(result.rows)
        seconds = getattr(self.forecaster, "fit_seconds_", result.fit_seconds)
        return result.with_rows(forecasts, fit_seconds=seconds)

    def settings(self, first: Sequence[RegularWindow]) -> str:
        """Fingerprint of the arguments, and of the trained predictor if the forecaster is used unchanged."""
        trained = getattr(self.forecaster, "predictor_", None) if self._has_not_seen(first) else None
        return fingerprint([type(self.forecaster), self.forecaster, trained])

    def _has_not_seen(self, windows: Sequence[RegularWindow]) -> bool:
        """Whether it was fitted and calibrated only on data before these windows."""
        names = ("trained_until_", "calibrated_until_")
        seen = [getattr(self.forecaster, name) for name in names if hasattr(self.forecaster, name)]
        if self.refits or not seen:
            return False
        return all(self._is_before(max(seen), window) for window in windows)

    def _is_before(self, time: Any, window: Any) -> bool:
        """Whether data up to a time end before the first step of a window."""
        return bool(time <= _naive(window.timestamps(None)[0]))

    def _calibrator(self, first: Sequence[RegularWindow]) -> Any:
        return getattr(self.forecaster, "calibrator_", None) if self._has_not_seen(first) else None

    def values(self, windows: Sequence[RegularWindow], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """One array for each window. Origins are forecast one by one, since a frame holds each series once."""
        if samples:
            raise ValueError(
                f"{type(self.forecaster).__name__} returns quantiles; backtest its predictor_ to keep samples"
            )
        levels = [float(column) for column in columns if column != "mean"]
        for _, group in groupby(windows, key=lambda window: window.origin):
            part = list(group)
            future = self._frame(part, part[0].length, past=False) if self.roles.known else None
            found = self.forecaster.predict(self._frame(part, 0, past=True), future, levels)
            stamps = found[self.roles.timestamp].to_numpy().reshape(len(part), -1)
            for position, window in enumerate(part):
                _check_stamps(window, stamps[position])
            yield from found[columns].to_numpy(dtype=float).reshape(len(part), -1, len(columns)).swapaxes(1, 2)

    def _frame(self, windows: Sequence[RegularWindow], ahead: int, *, past: bool) -> pd.DataFrame:
        """The history of windows, or the ``ahead`` steps after it, as a long frame."""
        frames = []
        for window in windows:
            one = self.series[window.item_id]
            steps = slice(0, window.cut) if past else slice(window.cut, window.cut + ahead)
            values: dict[str, Any] = {
                self.roles.timestamp: one.timestamps[steps],
                **one.covariates(self.roles, steps, past=past),
            }
            if past:
                values |= {self.roles.target: one.target[steps], **one.static}
            frames.append(pd.DataFrame(values))
        return self._with_keys(windows, frames)

    def _with_keys(self, windows: Sequence[Window], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """Frames of windows, with the columns that identify their series."""
        keys = repeat_keys([self.series[window.item_id] for window in windows], [len(one) for one in frames])
        return pd.concat([keys, pd.concat(frames, ignore_index=True)], axis=1)


class IrregularForecasterModel(ForecasterModel):
    """An ``S5Forecaster`` of irregular series, or another class with ``fit(frame)`` and ``predict(frame, times=...)``.

    ``predict`` returns a row for each row of ``times``, in order.
    """

    def check(self, origins: Sequence[Sequence[Any]], columns: list[str]) -> None:
        """The forecaster checks its inputs itself."""

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """One array for each window; the windows of an origin are forecast together."""
        name = type(self.forecaster).__name__
        if samples:
            raise ValueError(f"{name} draws no sample paths of irregular series; omit samples=True")
        levels, targets = [float(column) for column in columns if column != "mean"], self.roles.targets
        prefixes = [""] if len(targets) == 1 else [f"{target}_" for target in targets]
        names = [prefix + column for prefix in prefixes for column in columns]
        for _, group in groupby(windows, key=lambda window: window.origin):
            part = list(group)
            times = self._frame(part, 0, past=False)
            found = self.forecaster.predict(self._frame(part, 0, past=True), quantile_levels=levels, times=times)
            if len(found) != len(times):
                raise ValueError(f"{name} returned {len(found)} forecasts for {len(times)} times")
            values = found[names].to_numpy(dtype=float).reshape(len(found), len(targets), len(columns))
            for one in np.split(values, np.cumsum([window.length for window in part])[:-1]):
                yield one.T.reshape(len(columns), -1)

    def _is_before(self, time: Any, window: Any) -> bool:
        return bool(time < window.timestamps(None)[1])

    def _frame(self, windows: Sequence[Any], ahead: int, *, past: bool) -> pd.DataFrame:
        """The history of windows, or the times and known columns of their observations, as a long frame."""
        frames = []
        for window in windows:
            one, entry = self.series[window.item_id], window.entry
            rows = slice(0, window.cut) if past else slice(window.cut, window.cut + window.length)
            target = np.atleast_2d(entry["target"])[:, rows]
            values: dict[str, Any] = {self.roles.timestamp: entry["time"][rows]}
            values |= one.covariates(self.roles, one.timestamps.get_indexer(values[self.roles.timestamp]), past=past)
            if past:
                values |= {**dict(zip(self.roles.targets, target, strict=True)), **one.static}
            frames.append(pd.DataFrame(values))
        return self._with_keys(windows, frames)


class ForecastsModel(Model):
    """A long frame of forecasts with item_id, timestamp, mean, quantiles, and cutoff if windows overlap."""

    def __init__(self, forecasts: pd.DataFrame, columns: Columns, frequency: Frequency | None) -> None:
        forecasts = with_labels(forecasts, columns, "the frame of forecasts")
        self.keys = [key for key in (columns.item_id, "cutoff", columns.timestamp) if key in forecasts.columns]
        if columns.timestamp not in self.keys:
            raise ValueError(f"the frame of forecasts has no column {columns.timestamp!r}; it has {list(forecasts)}")
        times = {name: read_times(forecasts[name], "the frame") for name in self.keys if name != columns.item_id}
        forecasts = forecasts.assign(**times)
        twice = forecasts.duplicated(self.keys)
        if twice.any():
            row = dict(forecasts.loc[twice, self.keys].iloc[0])
            raise ValueError(
                f"the frame of forecasts has two rows for {row}; add a column 'cutoff' to separate windows"
            )
        self.forecasts, self.roles, self.frequency = forecasts.set_index(self.keys), columns, frequency

    def settings(self, first: Sequence[Any]) -> str:
        return fingerprint(self.forecasts.reset_index())

    def columns(self, quantile_levels: Sequence[float]) -> list[str]:
        """The columns of the frame."""
        points = [name for name in ("mean", "naive_2") if name in self.forecasts.columns]
        return points + [level_name(level) for level in quantile_columns(self.forecasts)]

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """The rows of each window; raises ValueError, naming the first, for a missing row."""
        levels = {level_name(level): name for level, name in quantile_columns(self.forecasts).items()}
        names = [levels.get(column, column) for column in columns] + (sample_columns(self.forecasts) if samples else [])
        if samples and len(names) == len(columns):
            raise ValueError(
                "the frame of forecasts has no sample columns 'sample_0', 'sample_1' ...; omit samples=True"
            )
        table = self.forecasts[names]
        for window in windows:
            times = window.timestamps(self.frequency)
            item_ids = np.empty(len(window.names), dtype=object)
            item_ids[:] = window.names
            steps = pd.DataFrame(
                {
                    self.roles.item_id: item_ids.repeat(window.length),
                    "cutoff": times[0],
                    self.roles.timestamp: times[1:].append([times[1:]] * (len(item_ids) - 1)),
                }
            )[self.keys]
            index = pd.MultiIndex.from_frame(steps) if len(self.keys) > 1 else pd.Index(steps[self.keys[0]])
            found = table.index.get_indexer(index)
            if (found < 0).any():
                row = dict(steps.iloc[int((found < 0).argmax())])
                given = dict(zip(self.keys, np.atleast_1d(table.index[0]), strict=True)) if len(table) else "empty"
                raise ValueError(f"the frame of forecasts has no row for {row}; its first row is {given}")
            yield table.to_numpy(dtype=float)[found].T


def _naive(stamp: Any) -> Any:
    return stamp if getattr(stamp, "tz", None) is None else stamp.tz_convert(None)


def _check_stamps(window: RegularWindow, stamps: np.ndarray) -> None:
    due = window.timestamps(None)[1:]
    first = stamps[0]
    if isinstance(due, pd.DatetimeIndex):
        first = pd.Timestamp(first, tz=due.tz if pd.Timestamp(first).tz is None else None)
    if len(stamps) != len(due) or first != due[0]:
        raise ValueError(
            f"the forecast of series {window.item_id!r} starts at {stamps[0]}, but its window starts at {due[0]}"
        )
