"""Splitters cut histories into windows of a backtest.

``RegularSplitter`` cuts series with a frequency by steps, ``IrregularSplitter`` cuts series observed at uneven times by
time, count or fraction. Both give the same kind of window.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry

from s5forecast.data.faults import SeriesError
from s5forecast.data.seasons import common_season
from s5forecast.data.times import Instants, is_duration, read_instants
from s5forecast.data.timestamps import RANGE_FIX
from s5forecast.evaluation.metrics import DEFAULT_METRICS, UNSCALED_METRICS
from s5forecast.evaluation.windows import IrregularWindow, RegularWindow, Window, take_rows


class WindowSplitter(ABC):
    """Cuts histories into windows.

    Attributes:
        default_metrics: metrics of a backtest that names none.
    """

    default_metrics: ClassVar[tuple[str, ...]]

    @abstractmethod
    def split(self, entries: Iterable[DataEntry]) -> list[list[Window]]:
        """Windows of all series, a list for each forecast origin, the oldest first.

        Series without item_id are named by their position.

        Raises:
            ValueError: an entry does not fit, naming the series and the fix.
        """

    def without_window(self, entries: Iterable[DataEntry], origins: Sequence[Sequence[Window]]) -> dict[Any, str]:
        """The series that no origin has a window of, with the reason."""
        return {}

    @property
    @abstractmethod
    def settings(self) -> list[Any]:
        """The arguments as plain data."""

    def seasonal_errors(self, windows: Sequence[Any], season: int | None) -> dict[str, list[float]]:
        """Seasonal errors of each window by name; empty for series without a season."""
        return {}


@dataclass(frozen=True)
class RegularSplitter(WindowSplitter):
    """The last windows of every series, a fixed number of steps apart.

    Args:
        prediction_length: steps H of a window.
        windows: number of windows of each series.
        step: steps from one window to the next; ``prediction_length`` by default.

    Raises:
        ValueError: an argument is not a whole number of at least 1.
    """

    prediction_length: int
    windows: int = 1
    step: int | None = None
    default_metrics: ClassVar[tuple[str, ...]] = DEFAULT_METRICS

    def __post_init__(self) -> None:
        given = {"prediction_length": self.prediction_length, "windows": self.windows, "step": self.distance}
        for name, value in given.items():
            check_positive_integer(name, value)

    @property
    def distance(self) -> int:
        """Steps from one window to the next."""
        return self.prediction_length if self.step is None else self.step

    @property
    def settings(self) -> list[Any]:
        """Length, number and distance of the windows."""
        return [self.prediction_length, self.windows, self.distance]

    def split(self, entries: Iterable[DataEntry]) -> list[list[Window]]:
        """As ``WindowSplitter.split``; refuses series that are too short or multivariate."""
        series = _named_series(entries)
        lengths = [self._checked_length(item_id, entry) for item_id, entry in series]
        return [
            [
                RegularWindow(entry, item_id, length - self._steps_from(origin), self.prediction_length, origin)
                for (item_id, entry), length in zip(series, lengths, strict=True)
            ]
            for origin in range(self.windows)
        ]

    def season(self, targets: Iterable[np.ndarray]) -> int:
        """The season that most of the series have before the first window, 1 if there is none."""
        return common_season(target[: max(0, len(target) - self._steps_from(0))] for target in targets)

    def seasonal_errors(self, windows: Sequence[Any], season: int | None) -> dict[str, list[float]]:
        """Mean absolute and mean squared seasonal difference of the history of each window."""
        return {
            "seasonal_error": [window.seasonal_error(season) for window in windows],
            "squared_seasonal_error": [window.squared_seasonal_error(season) for window in windows],
        }

    def _steps_from(self, origin: int) -> int:
        """Steps from an origin to the end of a series."""
        return self.prediction_length + self.distance * (self.windows - 1 - origin)

    def _checked_length(self, item_id: Any, entry: DataEntry) -> int:
        shape = np.shape(entry["target"])
        if len(shape) != 1:
            text = f"series {item_id!r} has a target of shape {shape}; give one entry per dimension"
            raise SeriesError({f"series {item_id!r}": text})
        if np.isinf(np.asarray(entry["target"], dtype=float)).any():
            text = f"series {item_id!r} has an infinite target; use NaN for missing values"
            raise SeriesError({f"series {item_id!r}": text})
        needed = self._steps_from(0) + 1
        if shape[0] < needed:
            possible = max(0, (shape[0] - 1 - self.prediction_length) // self.distance + 1)
            fix = f"windows={possible}" if possible else "a shorter prediction_length"
            text = (
                f"series {item_id!r} has {shape[0]} values, but {self.windows} windows of {self.prediction_length} "
                f"steps, {self.distance} apart, need {needed} values; use {fix}, or leave the series out"
            )
            raise SeriesError({f"series {item_id!r}": text})
        return int(shape[0])


@dataclass(frozen=True)
class IrregularSplitter(WindowSplitter):
    """Cuts every series at times, before its last ``count`` observations, or after a fraction of its observations.

    Rows without any observed value are dropped. An origin leaves out series without observations before or after it; a
    backtest names the series that all origins leave out in a warning.

    Args:
        horizon: length of a window after the last observation of the history, as a duration or number; by default up to
            the end of the series.
        prediction_length: maximum number of observations in a window.
        since: time of the cut, or a list of times, each of which is an origin.
        count: number of observations at the end of each series to forecast.
        fraction: fraction of the observations in the history.
        variables: names of the D variables; by default their numbers.

    Raises:
        ValueError: not exactly one of ``since``, ``count`` and ``fraction`` is given, or one is out of range.
    """

    horizon: Any = None
    prediction_length: int | None = None
    since: Any = None
    count: int | None = None
    fraction: float | None = None
    variables: Sequence[str] | None = None
    default_metrics: ClassVar[tuple[str, ...]] = UNSCALED_METRICS

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.since, self.count, self.fraction)) != 1:
            raise ValueError(
                "give exactly one of since= (a time), count= (observations at the end) and fraction= (of the history)"
            )
        for name in ("prediction_length", "count"):
            if getattr(self, name) is not None:
                check_positive_integer(name, getattr(self, name))
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise ValueError(f"fraction={self.fraction!r} must lie in (0, 1)")

    @property
    def settings(self) -> list[Any]:
        """All arguments as text."""
        values = [self.horizon, self.prediction_length, *self._moments, self.count, self.fraction, self.variables]
        return [str(value) for value in values]

    @cached_property
    def _moments(self) -> list[Any]:
        return sorted(self.since) if isinstance(self.since, list | tuple | pd.Index | np.ndarray) else [self.since]

    def split(self, entries: Iterable[DataEntry]) -> list[list[Window]]:
        """As ``WindowSplitter.split``, of entries with ``time [n]`` and ``target``, ``[n]`` or ``[D, n]``."""
        series = []
        for item_id, entry in _named_series(entries):
            observed = _observed_rows(entry)
            self._check_variables(item_id, observed)
            series.append((item_id, observed, read_instants(observed["time"], "time", f"series {item_id!r}")))
        return [self._windows(series, moment, origin) for origin, moment in enumerate(self._moments)]

    def without_window(self, entries: Iterable[DataEntry], origins: Sequence[Sequence[Window]]) -> dict[Any, str]:
        cut = {window.item_id for windows in origins for window in windows}
        return {
            item_id: f"series {item_id!r} has no observations both before and after a cut"
            for item_id, _ in _named_series(entries)
            if item_id not in cut
        }

    def _windows(self, series: list[tuple[Any, DataEntry, Instants]], moment: Any, origin: int) -> list[Window]:
        windows: list[Window] = []
        for item_id, entry, instants in series:
            cut = self._cut(instants, moment)
            end = self._end(instants, cut)
            if 0 < cut < end:
                windows.append(IrregularWindow(entry, item_id, cut, end - cut, origin, self.variables))
        if not windows:
            raise ValueError(
                "no series has observations before and after the cut; cut elsewhere or give a longer horizon"
            )
        return windows

    def _cut(self, instants: Instants, moment: Any) -> int:
        """Number of observations in the history."""
        n = len(instants.exact)
        if self.count is not None:
            return max(n - self.count, 0)
        if self.fraction is not None:
            return int(n * self.fraction)
        time = pd.Timestamp(moment) if instants.datetimes else moment
        if instants.datetimes and instants.aware != (time.tz is not None):
            raise ValueError(f"since={moment!r} and the times of the data must both have a time zone, or neither")
        if instants.datetimes and not pd.Timestamp.min < time.tz_localize(None) < pd.Timestamp.max:
            raise ValueError(f"since={moment!r} is out of range, because {RANGE_FIX}")
        return int(
            np.searchsorted(instants.exact, read_instants([time], "the time", f"since={moment!r}").exact[0], "right")
        )

    def _end(self, instants: Instants, cut: int) -> int:
        """Number of observations up to the end of the window."""
        end = len(instants.exact)
        if self.horizon is not None and cut > 0:
            if is_duration(self.horizon) != instants.datetimes:
                raise ValueError(
                    f"horizon={self.horizon!r} must be a duration such as '12h' if times are datetimes, and a number "
                    "if they are numbers"
                )
            ahead = pd.Timedelta(self.horizon).as_unit("ns").value if instants.datetimes else self.horizon
            end = int(np.searchsorted(instants.exact, instants.exact[cut - 1] + ahead, "right"))
        return end if self.prediction_length is None else min(end, cut + self.prediction_length)

    def _check_variables(self, item_id: Any, entry: DataEntry) -> None:
        dim = len(np.atleast_2d(entry["target"]))
        if self.variables is not None and len(self.variables) != dim:
            raise ValueError(f"series {item_id!r} has {dim} variables, but variables={list(self.variables)!r}")


class IrregularSplit(NamedTuple):
    """Entries for training and forecasting, and the labels; has the fields that GluonTS reads of its ``TestData``."""

    training: list[dict[str, Any]]
    input: list[dict[str, Any]]  # with the times to forecast as query_time [Q]
    label: list[dict[str, Any]]  # target [Q] or [D, Q], padded with NaN


def split_irregular(
    data: Iterable[dict[str, Any]],
    horizon: Any = None,
    prediction_length: int | None = None,
    *,
    since: Any = None,
    count: int | None = None,
    fraction: float | None = None,
) -> IrregularSplit:
    """Cut irregular entries into history and label, for GluonTS's ``evaluate_forecasts``.

    GluonTS needs labels of one length. Shorter labels are padded with NaN, which it ignores, and their last time is
    repeated in ``query_time``. Series without a history or a label are left out.

    Args:
        data: entries with ``time [n]`` and ``target``, ``[n]`` or ``[D, n]``.
        horizon, prediction_length, count, fraction: see :class:`IrregularSplitter`.
        since: time of the cut.

    Raises:
        ValueError: as :class:`IrregularSplitter`.
    """
    windows, *others = IrregularSplitter(horizon, prediction_length, since, count, fraction).split(data)
    if others:
        raise ValueError(f"since={since!r}: split_irregular cuts at one time; call it for each of several")
    longest = max(window.length for window in windows)
    split = IrregularSplit([], [], [])
    for window in windows:
        entry = window.input
        padded = np.minimum(np.arange(longest), window.length - 1)
        for field in ("query_feat_dynamic_real", "query_feat_dynamic_cat"):
            if field in entry:
                entry[field] = entry[field][:, padded]
        target = np.asarray(window.entry["target"], dtype=np.float64)[..., window.cut + padded]
        target[..., window.length :] = np.nan
        split.training.append(window.past)
        split.input.append({**entry, "query_time": entry["query_time"][padded]})
        split.label.append({"item_id": window.item_id, "start": entry["start"], "target": target})
    return split


def check_positive_integer(name: str, value: Any) -> None:
    """Raise ValueError unless the value of the argument ``name`` is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


def _named_series(entries: Iterable[DataEntry]) -> list[tuple[Any, DataEntry]]:
    """Entries with their item_id, by default their position.

    Raises:
        ValueError: there is no entry, or two have the same item_id.
    """
    series = []
    for number, entry in enumerate(entries):
        item_id = entry.get("item_id")
        series.append((str(number) if item_id is None else item_id, entry))
    if not series:
        raise ValueError("there is no series to backtest on; give at least one")
    seen: set[Any] = set()
    for item_id, _ in series:
        if item_id in seen:
            raise ValueError(f"two series have the item_id {item_id!r}; rename one, or leave item_id out")
        seen.add(item_id)
    return series


def _observed_rows(entry: DataEntry) -> DataEntry:
    """An irregular entry without the rows that have no observed value."""
    target = np.atleast_2d(np.asarray(entry["target"], dtype=np.float64))
    return take_rows(entry, np.flatnonzero(~np.isnan(target).all(axis=0)))
