"""Windows of series to forecast, and the data that each forecast may use."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.ev.ts_stats import seasonal_error as gluonts_seasonal_error
from gluonts.model.forecast import Forecast
from gluonts.time_feature.seasonality import get_seasonality

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.data.seasons import SEASON_FIELD

PAST_FIELDS = (
    "target",
    "observed_values",
    "past_feat_dynamic",
    "past_feat_dynamic_real",
    "past_feat_dynamic_cat",
)
STATIC_FIELDS = ("item_id", "start", "info", "feat_static_real", "feat_static_cat")
KNOWN_FIELDS = ("feat_dynamic", "feat_dynamic_real", "feat_dynamic_cat", "dynamic_feat", "time_feat")
IRREGULAR_FIELDS = (
    "target", "feat_dynamic_real", "feat_dynamic_cat", "past_feat_dynamic_real", "past_feat_dynamic_cat",
)  # fmt: skip


@dataclass(frozen=True)
class Window(ABC):
    """The ``length`` observations of an entry from position ``cut`` on, to be forecast from the earlier ones.

    Args:
        entry: GluonTS entry with the history and the window.
        item_id: name of the series.
        cut: number of observations in the history.
        length: number H of observations in the window.
        origin: number of the forecast origin, the oldest first.
    """

    entry: DataEntry
    item_id: Any
    cut: int
    length: int
    origin: int

    @property
    @abstractmethod
    def input(self) -> DataEntry:
        """The data a forecast may use: the history, and the features known over the window."""

    @property
    @abstractmethod
    def past(self) -> DataEntry:
        """The data a model may be trained on: the history alone."""

    @property
    def names(self) -> list[Any]:
        """Names of the D target variables, which are separate series in the result."""
        return [self.item_id]

    @property
    def label(self) -> np.ndarray:
        """Observed target of the window, ``[D * H]``, one variable after the other."""
        return np.asarray(self.entry["target"])[..., self.cut : self.cut + self.length].astype(float).ravel()

    @abstractmethod
    def timestamps(self, frequency: Frequency | None) -> pd.Index:
        """Time of the last observation of the history and of each observation in the window, ``[1 + H]``."""


@dataclass(frozen=True)
class RegularWindow(Window):
    """A window of a univariate series on a regular grid."""

    @property
    def input(self) -> DataEntry:
        """The history of every field along time, and known features over the window as well."""
        return self._until(known=self.cut + self.length)

    @property
    def past(self) -> DataEntry:
        """The history of every field along time."""
        return self._until(known=self.cut)

    def _until(self, known: int) -> DataEntry:
        entry = {**self.entry, "item_id": self.item_id}
        fields = [field for field in entry if field not in STATIC_FIELDS]
        for field in fields:
            if field == "timestamps":
                entry[field] = entry[field][: self.cut]
            elif field in KNOWN_FIELDS:
                entry[field] = np.asarray(entry[field])[..., :known]
            elif field in PAST_FIELDS:
                entry[field] = np.asarray(entry[field])[..., : self.cut]
            elif (axis := self._time_axis(entry[field])) is not None:
                entry[field] = np.asarray(entry[field]).take(range(self.cut), axis)
        return entry

    def _time_axis(self, value: Any) -> int | None:
        """The time axis of a field unknown to GluonTS: the last axis that is as long as the target."""
        axes = [axis for axis, size in enumerate(np.shape(value)) if size == len(self.entry["target"])]
        return axes[-1] if axes else None

    def values(self, forecast: Forecast, columns: list[str], samples: bool = False) -> np.ndarray:
        """Values ``[columns, H]`` of a forecast; with ``samples`` followed by its N paths, ``[columns + N, H]``.

        Raises:
            ValueError: the forecast covers other steps, or has no samples.
        """
        values = columns_of(forecast, columns).astype(float)
        start = self.period(0)
        if values.shape != (len(columns), self.length) or forecast.start_date != start:
            raise ValueError(
                f"the forecast of series {self.item_id!r} has shape {values.shape[1:]} and starts at "
                f"{forecast.start_date}, but the window has {self.length} steps and starts at {start}; use the "
                "predictor's own prediction_length, and a predictor without lead time"
            )
        if not samples:
            return values
        if not hasattr(forecast, "samples"):
            raise ValueError(
                f"the forecast of series {self.item_id!r} is a {type(forecast).__name__} without samples; "
                "omit samples=True, or use a model that draws sample paths"
            )
        return np.concatenate([values, forecast.samples])

    def seasonal_error(self, season: int | None) -> float:
        """Mean absolute seasonal difference of the history, by default with the season of the entry."""
        return seasonal_error(*self._history(season))

    def squared_seasonal_error(self, season: int | None) -> float:
        """Mean squared seasonal difference of the history, by default with the season of the entry."""
        return squared_seasonal_error(*self._history(season))

    def _history(self, season: int | None) -> tuple[np.ndarray, int]:
        history = np.asarray(self.entry["target"])[: self.cut]
        return history, season or self.entry.get(SEASON_FIELD) or default_season(self.entry["start"].freqstr)

    def timestamps(self, frequency: Frequency | None) -> pd.DatetimeIndex:
        """The ``timestamps`` of the entry if it has them; otherwise computed from ``start``."""
        if "timestamps" in self.entry:
            return self.entry["timestamps"][self.cut - 1 : self.cut + self.length]
        last = self.period(-1)
        if frequency is not None:
            return frequency.range(frequency.timestamp(last), 1 + self.length)
        with quiet_periods():
            return pd.period_range(last, periods=1 + self.length, freq=last.freq).to_timestamp()

    def period(self, step: int) -> pd.Period:
        """Period of a step, counted from the first step of the window."""
        with quiet_periods():
            return self.entry["start"] + (self.cut + step)


@dataclass(frozen=True)
class IrregularWindow(Window):
    """A window of a series observed at uneven times, with D variables.

    Args:
        variables: names of the D variables; by default their numbers.
    """

    variables: Sequence[str] | None = None

    @property
    def input(self) -> DataEntry:
        """The history, and the times to forecast as ``query_time [H]``, with the features known then."""
        entry, ahead = self.entry, np.arange(self.cut, self.cut + self.length)
        fields = [field for field in ("feat_dynamic_real", "feat_dynamic_cat") if entry.get(field) is not None]
        queries = {f"query_{field}": np.atleast_2d(entry[field])[:, ahead] for field in fields}
        start = entry.get("start", _first_period(entry["time"]))
        return {**self.past, "start": start, "query_time": entry["time"][ahead], **queries}

    @property
    def past(self) -> DataEntry:
        """The rows of the history in every field along time."""
        return {**take_rows(self.entry, np.arange(self.cut)), "item_id": self.item_id}

    @property
    def names(self) -> list[Any]:
        """The series, or ``"<item_id>:<variable>"`` for each of several variables."""
        dim = len(np.atleast_2d(self.entry["target"]))
        return [self.item_id] if dim == 1 else [f"{self.item_id}:{name}" for name in self.variables or range(dim)]

    def timestamps(self, frequency: Frequency | None) -> pd.Index:
        """The times of the entry."""
        return self.entry["time"][self.cut - 1 : self.cut + self.length]


def seasonal_error(history: np.ndarray, season: int) -> float:
    """Mean ``|y_t - y_{t - season}|`` over the observed pairs of a history ``[T]``, as GluonTS computes it.

    A history shorter than a season is differenced by one step; NaN if there is no observed pair.
    """
    values = np.ma.masked_invalid(np.asarray(history, dtype=float))
    if len(values) in (0, 1, season):
        return float("nan")
    return float(np.ma.filled(gluonts_seasonal_error(values, seasonality=season), np.nan).item())


def squared_seasonal_error(history: np.ndarray, season: int) -> float:
    """Mean ``(y_t - y_{t - season})^2`` over the observed pairs of a history ``[T]``.

    A short history is treated as in ``seasonal_error``.
    """
    values = np.asarray(history, dtype=float)
    values = np.diff(values) if len(values) < season else values[season:] - values[: len(values) - season]
    seen = values[~np.isnan(values)]
    return float(np.mean(seen**2)) if len(seen) else float("nan")


@lru_cache
def default_season(freq: str) -> int:
    """GluonTS's season for MASE, for a Period's frequency: h 24, min 1440, M 12, Q 4, D and W 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # GluonTS turns Period spellings into offsets
        return int(get_seasonality(freq))


def columns_of(forecast: Forecast, columns: Sequence[str]) -> np.ndarray:
    """Mean and quantiles ``[columns, H]`` of a forecast; the median if the mean is not stored.

    GluonTS also falls back to the median, but with a message for each forecast.
    """
    stored = getattr(forecast, "forecast_keys", columns)
    names = ["0.5" if column == "mean" and "mean" not in stored else column for column in columns]
    return np.array([forecast[name] for name in names])


def take_rows(entry: DataEntry, rows: np.ndarray) -> DataEntry:
    """Some rows of an irregular entry, in every field along time."""
    taken = {field: np.asarray(entry[field])[..., rows] for field in IRREGULAR_FIELDS if field in entry}
    others = {field: value for field, value in entry.items() if field not in (*IRREGULAR_FIELDS, "cut_time")}
    return {**others, **taken, "time": pd.Index(entry["time"])[rows]}


def _first_period(time: pd.Index) -> pd.Period:
    """The ``start`` that GluonTS requires: the first time as a Period of seconds, a constant for numbers."""
    first = time[0]
    return pd.Period(first.tz_localize(None) if isinstance(first, pd.Timestamp) else "1970-01-01", "s")
