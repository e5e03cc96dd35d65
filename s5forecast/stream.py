"""Stream of the series of long frames, which are forecast while new rows arrive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frame_kinds import PANDAS, Frame, FrameKind, takes_frames
from s5forecast.data.frames import SeriesEnds
from s5forecast.data.items import given_items, plain_keys, restored_keys
from s5forecast.data.missing_known import reported_once
from s5forecast.data.table import SeriesTable
from s5forecast.data.time_zones import zone_name
from s5forecast.estimators.stream import ForecastStream
from s5forecast.fitted_forecaster import FittedForecaster

FRAME_FILE = "frame.json"


class FrameStream:
    """Forecasts the series of long frames while new rows arrive.

    It keeps the state after the last observation of each series instead of the history.

    Args:
        forecaster: fitted forecaster.
        states: states of the network for all series.
        ends: time of the last observation of each series.
    """

    def __init__(self, forecaster: FittedForecaster, states: ForecastStream, ends: SeriesEnds) -> None:
        self.forecaster, self.states, self.ends = forecaster, states, ends
        self.frame_kind_ = PANDAS

    @classmethod
    def start(cls, forecaster: FittedForecaster, series: SeriesTable) -> FrameStream:
        """Start a stream from the histories of some series.

        Raises:
            ValueError: for a model that cannot stream, with the reason and the fix.
        """
        if not hasattr(forecaster.predictor_, "stream"):
            raise ValueError(
                f"{type(forecaster.predictor_).__name__} cannot stream; fit S5Forecaster with a single network and "
                "estimator_kwargs={'layer_kwargs': {'bidirectional': False}, 'patch_length': 1}"
            )
        states = forecaster.predictor_.stream(forecaster.sampling_.entries(series, forecaster.statics_))
        return cls(forecaster, states, forecaster.sampling_.ends(series))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.items)} series, last time {max(self.ends.last)})"

    @property
    def items(self) -> list[Any]:
        """What identifies each series: its ``item_id``, or a tuple if several columns do."""
        return self.ends.items if self.ends.keys is None else given_items(self.ends.keys)

    def as_kind(self, kind: FrameKind) -> FrameStream:
        """Return forecasts in a kind of frame, that of the last rows which the stream was given."""
        self.frame_kind_ = kind
        return self

    @takes_frames("df")
    def update(self, df: Frame) -> FrameStream:
        """Add the next rows of some series, in any order.

        Args:
            df: long frame as in training; a frame without rows is ignored. Absent rows of regular series become missing
                values. A new irregular series starts with its first row and then needs its static columns.

        Raises:
            ValueError: for a row that is not after the last observation of its series, a regular series that is not in
                the stream, or other invalid data, naming the series, the column and the fix. The stream is unchanged
                then.
        """
        if isinstance(df, pd.DataFrame | pd.Series) and df.empty:
            return self
        forecaster = self.forecaster
        with forecaster.skipping():
            new = forecaster.read(lambda rows: forecaster.sampling_.read_next(rows, self.ends, forecaster.statics_), df)
        self.states.observe(new.rows, new.describe)
        self.ends = new.ends
        return self

    @takes_frames("times", "future")
    def predict(
        self,
        future: Frame | None = None,
        quantile_levels: Sequence[float] | None = None,
        *,
        times: Frame | None = None,
        horizon: Any = None,
        every: Any = None,
    ) -> pd.DataFrame:
        """Forecast the steps that follow each regular series, or irregular series at the requested times.

        Arguments and result are those of :meth:`s5forecast.S5Forecaster.predict`.

        Raises:
            ValueError: for invalid data or a time that is not after the last observation, naming the series, the column
                and the fix.
        """
        levels = self.forecaster.forecast_levels(quantile_levels)
        with reported_once():
            with self.forecaster.skipping():
                _, query = self.forecaster.query(self.ends, lambda ends: ends, future, times, horizon, every)
            queries = self.forecaster.sampling_.stream_queries(query, self.forecaster.statics_)
        return self.forecaster.forecast_frame(query, lambda known: self.states.quantiles(queries, known), levels)

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, as JSON and arrays without pickle; the forecaster is saved separately.

        Raises:
            ValueError: for a time zone that has neither a name nor a fixed offset.
        """
        zone = getattr(self.ends.last[0], "tz", None)
        name = None if zone is None else zone_name(zone)
        self.states.save(path)
        stored = {
            "items": self.ends.items,
            "keys": None if self.ends.keys is None else plain_keys(self.ends.keys),
            "last": [
                one.isoformat() if isinstance(one, pd.Timestamp) else np.asarray(one).item() for one in self.ends.last
            ],
            "time_zone": name,
        }
        (Path(path) / FRAME_FILE).write_text(json.dumps(stored))

    @classmethod
    def load(cls, path: str | Path, forecaster: FittedForecaster) -> FrameStream:
        """Load a stream of the same forecaster from a folder that :meth:`save` wrote.

        Raises:
            ValueError: if a later version of the package wrote the folder, or if it belongs to another model.
        """
        states = ForecastStream.load(path, forecaster.predictor_)
        stored = json.loads((Path(path) / FRAME_FILE).read_text())
        zone = stored["time_zone"]
        # Earlier versions did not store the ends of irregular series, which their states also have.
        last, items = stored.get("last", list(states.last_times())), stored.get("items", states.items)
        if isinstance(last[0], str) or ("last" not in stored and not isinstance(last[0], float)):
            stamps = pd.to_datetime(last, format="ISO8601" if "last" in stored else None, utc=zone is not None)
            last = list(stamps if zone is None else stamps.tz_convert(zone))
        keys = stored.get("keys")
        return cls(
            forecaster,
            states,
            SeriesEnds(
                {item: position for position, item in enumerate(items)},
                last,
                keys=None if keys is None else restored_keys(keys, items),
            ),
        )
