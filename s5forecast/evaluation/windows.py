"""Windows of a series to be forecast, and exactly what a forecast of them may know."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.model.forecast import Forecast

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.evaluation.seasonality import default_season, seasonal_error, squared_seasonal_error

PAST_FIELDS = (
    "target",
    "observed_values",
    "past_feat_dynamic",
    "past_feat_dynamic_real",
    "past_feat_dynamic_cat",
)
STATIC_FIELDS = ("item_id", "start", "info", "feat_static_real", "feat_static_cat")
KNOWN_FIELDS = ("feat_dynamic", "feat_dynamic_real", "feat_dynamic_cat", "dynamic_feat", "time_feat")


@dataclass(frozen=True)
class Window:
    """The `length` steps of a GluonTS entry from step `cut` on, to be forecast from those before.

    Arguments:
        origin: number of the window in its series, the oldest first.
    """

    entry: DataEntry
    item_id: Any
    cut: int
    length: int
    origin: int

    @property
    def input(self) -> DataEntry:
        """What a forecast may know: the past of every field in time, over the horizon only known features."""
        return self._until(known=self.cut + self.length)

    @property
    def past(self) -> DataEntry:
        """What a model may be trained on: every field in time up to the cut."""
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
        """The axis along which a field that GluonTS does not name runs in time: the last as long as the target."""
        axes = [axis for axis, size in enumerate(np.shape(value)) if size == len(self.entry["target"])]
        return axes[-1] if axes else None

    @property
    def label(self) -> np.ndarray:
        """What happened, `[H]`."""
        return np.asarray(self.entry["target"])[self.cut : self.cut + self.length].astype(float)

    def values(self, forecast: Forecast, columns: list[str], samples: bool = False) -> np.ndarray:
        """Values `[columns, H]` of a forecast, and its N samples below, `[columns + N, H]`, where asked for.

        Raises ValueError when it is of other steps, or has no samples.
        """
        values = columns_of(forecast, columns).astype(float)
        start = self.period(0)
        if values.shape != (len(columns), self.length) or forecast.start_date != start:
            raise ValueError(
                f"the forecast of series {self.item_id!r} has shape {values.shape[1:]} and starts at "
                f"{forecast.start_date}, where {self.length} steps from {start} are due: use the predictor's "
                "own prediction_length, and one without lead time"
            )
        if not samples:
            return values
        if not hasattr(forecast, "samples"):
            raise ValueError(
                f"the forecast of series {self.item_id!r} is a {type(forecast).__name__} without samples: "
                "leave out samples=True, or use a model that draws paths"
            )
        return np.concatenate([values, forecast.samples])

    def seasonal_error(self, season: int | None) -> float:
        """Mean absolute seasonal difference of the history, by default with GluonTS's season."""
        return seasonal_error(*self._history(season))

    def squared_seasonal_error(self, season: int | None) -> float:
        """Mean squared seasonal difference of the history, by default with GluonTS's season."""
        return squared_seasonal_error(*self._history(season))

    def _history(self, season: int | None) -> tuple[np.ndarray, int]:
        history = np.asarray(self.entry["target"])[: self.cut]
        return history, season or default_season(self.entry["start"].freqstr)

    def timestamps(self, frequency: Frequency | None) -> pd.DatetimeIndex:
        """Times from the last step of the history on, `[1 + H]`; those of the entry where it has them."""
        if "timestamps" in self.entry:
            return self.entry["timestamps"][self.cut - 1 : self.cut + self.length]
        last = self.period(-1)
        if frequency is not None:
            return frequency.range(frequency.timestamp(last), 1 + self.length)
        with quiet_periods():
            return pd.period_range(last, periods=1 + self.length, freq=last.freq).to_timestamp()

    def period(self, step: int) -> pd.Period:
        """Period of a step, counted from the first to forecast."""
        with quiet_periods():
            return self.entry["start"] + (self.cut + step)


def columns_of(forecast: Forecast, columns: Sequence[str]) -> np.ndarray:
    """Mean and quantiles `[columns, H]` of a forecast, the median for a mean that was not stored.

    GluonTS does the same, and announces it for each forecast.
    """
    stored = getattr(forecast, "forecast_keys", columns)
    names = ["0.5" if column == "mean" and "mean" not in stored else column for column in columns]
    return np.array([forecast[name] for name in names])


def last_windows(data: Iterable[DataEntry], prediction_length: int, windows: int, step: int) -> list[list[Window]]:
    """The last windows of every series, `step` apart: a list for each origin, the oldest first.

    Series without a name are numbered.

    Raises:
        ValueError: naming the series and the way out, for one that is too short or not univariate.
    """
    series = [(entry.get("item_id", str(number)), entry) for number, entry in enumerate(data)]
    if not series:
        raise ValueError("there is no series to backtest on")
    lengths = [_checked_length(item_id, entry, prediction_length, windows, step) for item_id, entry in series]
    _refuse_duplicates([item_id for item_id, _ in series])
    return [
        [
            Window(
                entry, item_id, length - prediction_length - step * (windows - 1 - origin), prediction_length, origin
            )
            for (item_id, entry), length in zip(series, lengths, strict=True)
        ]
        for origin in range(windows)
    ]


def _refuse_duplicates(item_ids: list[Any]) -> None:
    seen: set[Any] = set()
    for item_id in item_ids:
        if item_id in seen:
            raise ValueError(f"two series have the item_id {item_id!r}: rename one, or leave item_id out")
        seen.add(item_id)


def _checked_length(item_id: Any, entry: DataEntry, prediction_length: int, windows: int, step: int) -> int:
    shape = np.shape(entry["target"])
    if len(shape) != 1:
        raise ValueError(f"series {item_id!r} has a target of shape {shape}: give one entry per dimension")
    if np.isinf(np.asarray(entry["target"], dtype=float)).any():
        raise ValueError(f"series {item_id!r} has an infinite target: write NaN for what was not observed")
    needed = prediction_length + (windows - 1) * step + 1
    if shape[0] < needed:
        possible = max(0, (shape[0] - 1 - prediction_length) // step + 1)
        fix = f"windows={possible}" if possible else "a shorter prediction_length"
        raise ValueError(
            f"series {item_id!r} has {shape[0]} values, but {windows} windows of {prediction_length} steps, "
            f"{step} apart, need {needed}: use {fix}, or leave the series out"
        )
    return int(shape[0])
