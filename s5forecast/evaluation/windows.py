"""Windows of a series to be forecast, and exactly what a forecast of them may know."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.model.forecast import Forecast

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.evaluation.metrics import default_season, seasonal_error

PAST_FIELDS = (
    "target",
    "observed_values",
    "past_feat_dynamic",
    "past_feat_dynamic_real",
    "past_feat_dynamic_cat",
)
KNOWN_FIELDS = ("feat_dynamic", "feat_dynamic_real", "feat_dynamic_cat", "dynamic_feat", "time_feat")


@dataclass(frozen=True)
class Window:
    """The `length` steps of a GluonTS entry from step `cut` on, to be forecast from those before."""

    entry: DataEntry
    item_id: Any
    cut: int
    length: int

    @property
    def input(self) -> DataEntry:
        """What a forecast may know: the past of every field in time, over the horizon only known features."""
        entry = {**self.entry, "item_id": self.item_id}
        for fields, end in ((PAST_FIELDS, self.cut), (KNOWN_FIELDS, self.cut + self.length)):
            entry |= {field: np.asarray(entry[field])[..., :end] for field in fields if field in entry}
        return entry

    @property
    def label(self) -> np.ndarray:
        """What happened, `[H]`."""
        return np.asarray(self.entry["target"])[self.cut : self.cut + self.length].astype(float)

    def values(self, forecast: Forecast, columns: list[str]) -> np.ndarray:
        """Values `[columns, H]` of a forecast; raises ValueError when it is of other steps."""
        values = np.array([forecast[column] for column in columns], dtype=float)
        start = self._period(0)
        if values.shape != (len(columns), self.length) or forecast.start_date != start:
            raise ValueError(
                f"the forecast of series {self.item_id!r} has shape {values.shape[1:]} and starts at "
                f"{forecast.start_date}, where {self.length} steps from {start} are due: use the predictor's "
                "own prediction_length, and one without lead time"
            )
        return values

    def seasonal_error(self, season: int | None) -> float:
        """Mean absolute seasonal difference of the history, by default with GluonTS's season."""
        history = np.asarray(self.entry["target"])[: self.cut]
        return seasonal_error(history, season or default_season(self.entry["start"].freqstr))

    def timestamps(self, frequency: Frequency | None) -> pd.DatetimeIndex:
        """Times from the last step of the history on, `[1 + H]`; those of the entry where it has them."""
        if "timestamps" in self.entry:
            return self.entry["timestamps"][self.cut - 1 : self.cut + self.length]
        last = self._period(-1)
        if frequency is not None:
            return frequency.range(frequency.timestamp(last), 1 + self.length)
        with quiet_periods():
            return pd.period_range(last, periods=1 + self.length, freq=last.freq).to_timestamp()

    def _period(self, step: int) -> pd.Period:
        with quiet_periods():
            return self.entry["start"] + (self.cut + step)


def last_windows(data: Iterable[DataEntry], prediction_length: int, windows: int, step: int) -> list[Window]:
    """The last windows of every series, `step` apart, oldest first; series without a name are numbered.

    Raises ValueError, naming the series and the way out, for one that is too short or not univariate.
    """
    series = [(entry.get("item_id", str(number)), entry) for number, entry in enumerate(data)]
    if not series:
        raise ValueError("there is no series to backtest on")
    lengths = [_checked_length(item_id, entry, prediction_length, windows, step) for item_id, entry in series]
    return [
        Window(entry, item_id, length - prediction_length - step * back, prediction_length)
        for back in reversed(range(windows))
        for (item_id, entry), length in zip(series, lengths, strict=True)
    ]


def _checked_length(item_id: Any, entry: DataEntry, prediction_length: int, windows: int, step: int) -> int:
    shape = np.shape(entry["target"])
    if len(shape) != 1:
        raise ValueError(f"series {item_id!r} has a target of shape {shape}: give one entry per dimension")
    needed = prediction_length + (windows - 1) * step + 1
    if shape[0] < needed:
        possible = max(0, (shape[0] - 1 - prediction_length) // step + 1)
        fix = f"windows={possible}" if possible else "a shorter prediction_length"
        raise ValueError(
            f"series {item_id!r} has {shape[0]} values, but {windows} windows of {prediction_length} steps, "
            f"{step} apart, need {needed}: use {fix}, or leave the series out"
        )
    return int(shape[0])
