"""Series of a frame that are forecast while they are observed: new rows in, forecasts out."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from s5forecast.data.entries import local_time, read_series
from s5forecast.data.frames import FrameSeries, Queries, SeriesEnds
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.estimators.continuous_stream import ContinuousStream
from s5forecast.estimators.regular_stream import RegularStream
from s5forecast.fitted_forecaster import FittedForecaster
from s5forecast.levels import check_levels

FRAME_FILE = "frame.json"
Predict = Callable[[Sequence[float]], tuple[np.ndarray, np.ndarray]]


class FrameStream(ABC):
    """Series of a frame, of each of which the state after its last observation is kept.

    Args:
        forecaster: Fitted forecaster.
        states: States of the series.
    """

    def __init__(self, forecaster: FittedForecaster, states: Any) -> None:
        self.forecaster, self.states = forecaster, states

    @classmethod
    def start(cls, forecaster: FittedForecaster, series: Sequence[FrameSeries]) -> FrameStream:
        """The stream of some series.

        Raises:
            ValueError: For a model that cannot stream, with the reason and the fix.
        """
        sampling = forecaster.sampling_
        if not hasattr(forecaster.predictor_, "stream"):
            raise ValueError(f"{type(forecaster.predictor_).__name__} cannot stream; use num_members=1")
        states = forecaster.predictor_.stream(sampling.entries(series, forecaster.statics_))
        return STREAMS[sampling.kind]._of(forecaster, states, sampling.ends(series))

    @classmethod
    def load(cls, path: str | Path, forecaster: FittedForecaster) -> FrameStream:
        """Read what :meth:`save` wrote, for a stream of the same forecaster.

        Raises:
            ValueError: If it was written by a later format, or for another model.
        """
        described = json.loads((Path(path) / FRAME_FILE).read_text())
        return STREAMS[forecaster.sampling_.kind]._restored(Path(path), described, forecaster)

    @property
    @abstractmethod
    def items(self) -> list[Any]:
        """The ``item_id`` of each series."""

    def update(self, df: pd.DataFrame) -> FrameStream:
        """Take in the next rows of some series, in any order.

        Args:
            df: Long frame as in training, or one without rows. Rows may also begin new irregular series, which then
                need their static columns; missing rows of regular series become missing values.

        Raises:
            ValueError: For a row that is not after the last observation of its series, a regular series that is not in
                the stream, or other data that do not fit, naming the series, the column and the fix. No state has
                changed then.
        """
        if not (isinstance(df, pd.DataFrame) and df.empty):
            self._update(df)
        return self

    def predict(
        self,
        future: pd.DataFrame | None = None,
        quantile_levels: Sequence[float] | None = None,
        *,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
    ) -> pd.DataFrame:
        """Forecast the steps that follow each regular series, or irregular series at the requested times.

        Arguments and result are those of :meth:`s5forecast.S5Forecaster.predict`.

        Raises:
            ValueError: Naming the series, the column and the fix; for a time that is not after the last observation.
        """
        levels = list(self.forecaster.quantile_levels if quantile_levels is None else quantile_levels)
        check_levels(levels)
        query = self.forecaster.sampling_.query(self._ends(), future, times, horizon, every)
        return self.forecaster.forecast_frame(query, self._predictor(query), levels)

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, JSON and arrays without pickle; the forecaster is saved separately."""
        self.states.save(path)
        (Path(path) / FRAME_FILE).write_text(json.dumps(self._described()))

    @classmethod
    @abstractmethod
    def _of(cls, forecaster: FittedForecaster, states: Any, ends: SeriesEnds) -> FrameStream:
        """The stream of series that end there."""

    @classmethod
    @abstractmethod
    def _restored(cls, path: Path, described: dict[str, Any], forecaster: FittedForecaster) -> FrameStream: ...

    @abstractmethod
    def _update(self, df: pd.DataFrame) -> None: ...

    @abstractmethod
    def _ends(self) -> SeriesEnds: ...

    @abstractmethod
    def _predictor(self, query: Queries) -> Predict:
        """Means and quantiles of a query by levels."""

    @abstractmethod
    def _described(self) -> dict[str, Any]:
        """What a saved stream needs beside its states."""


class IrregularFrameStream(FrameStream):
    """Irregular series; ``time_zone`` is that of the timestamps of a grid, ``None`` for none."""

    states: ContinuousStream

    def __init__(self, forecaster: FittedForecaster, states: ContinuousStream, time_zone: str | None) -> None:
        super().__init__(forecaster, states)
        self.time_zone = time_zone

    @classmethod
    def _of(cls, forecaster: FittedForecaster, states: Any, ends: SeriesEnds) -> IrregularFrameStream:
        zone = getattr(ends.last[0], "tz", None)
        return cls(forecaster, states, None if zone is None else str(zone))

    @classmethod
    def _restored(cls, path: Path, described: dict[str, Any], forecaster: FittedForecaster) -> IrregularFrameStream:
        return cls(forecaster, ContinuousStream.load(path, forecaster.predictor_), described["time_zone"])

    @property
    def items(self) -> list[Any]:
        return self.states.items

    def _update(self, df: pd.DataFrame) -> None:
        sampling = cast(IrregularSampling, self.forecaster.sampling_)
        new = sampling.read_next(df)
        if (None in new.rows.items) != (None in self.items):
            raise ValueError(
                f"the stream and the new rows must both have, or both lack, a column {sampling.columns.item_id!r}"
            )
        self.states.observe(new.rows, lambda item: sampling.encode_new(new, item, self.forecaster.statics_))

    def _ends(self) -> SeriesEnds:
        last = pd.Index(self.states.last_times())
        if last.dtype == np.int64:
            last = pd.DatetimeIndex(last, tz=None if self.time_zone is None else "UTC")
            last = last if self.time_zone is None else last.tz_convert(self.time_zone)
        return SeriesEnds({item: position for position, item in enumerate(self.items)}, last)

    def _predictor(self, query: Queries) -> Predict:
        rows = cast(IrregularSampling, self.forecaster.sampling_).query_rows(query)
        return lambda levels: self.states.quantiles(rows, levels)

    def _described(self) -> dict[str, Any]:
        return {"time_zone": self.time_zone}


class RegularFrameStream(FrameStream):
    """Regular series that end at the last step of each."""

    states: RegularStream

    def __init__(self, forecaster: FittedForecaster, states: RegularStream, ends: SeriesEnds) -> None:
        super().__init__(forecaster, states)
        self.ends = ends

    @classmethod
    def _of(cls, forecaster: FittedForecaster, states: Any, ends: SeriesEnds) -> RegularFrameStream:
        return cls(forecaster, states, ends)

    @classmethod
    def _restored(cls, path: Path, described: dict[str, Any], forecaster: FittedForecaster) -> RegularFrameStream:
        zone = described["time_zone"]
        stamps = pd.to_datetime(described["last"], format="ISO8601", utc=zone is not None)
        last = list(stamps if zone is None else stamps.tz_convert(zone))
        positions = {item: position for position, item in enumerate(described["items"])}
        return cls(forecaster, RegularStream.load(path, forecaster.predictor_), SeriesEnds(positions, last))

    @property
    def items(self) -> list[Any]:
        return self.ends.items

    def _update(self, df: pd.DataFrame) -> None:
        sampling = cast(RegularSampling, self.forecaster.sampling_)
        steps = sampling.read_next(df, self.ends)
        read = read_series(sampling.next_entries(steps), self.states.step_spec, forecast=False, observed=False)
        count = [len(one.target) for one in steps]
        self.states.observe(
            [one.item_id for one in read],
            [(one.time[:m], one.target, one.covariates[:m]) for one, m in zip(read, count, strict=True)],
        )
        last = list(self.ends.last)
        for one in steps:
            last[self.ends.positions[one.item_id]] = one.timestamps[-1]
        self.ends = self.ends._replace(last=last)

    def _ends(self) -> SeriesEnds:
        return self.ends

    def _predictor(self, query: Queries) -> Predict:
        spec, sampling = self.states.spec, cast(RegularSampling, self.forecaster.sampling_)
        entries = [
            {**entry, "time": local_time(entry, spec, spec.prediction_length)}
            for entry in sampling.horizon_entries(query)
        ]
        return lambda levels: self.states.predict_quantiles(entries, levels)

    def _described(self) -> dict[str, Any]:
        zone = self.ends.last[0].tz
        return {
            "items": self.items,
            "last": [stamp.isoformat() for stamp in self.ends.last],
            "time_zone": None if zone is None else str(zone),
        }


STREAMS: dict[str, type[FrameStream]] = {"regular": RegularFrameStream, "irregular": IrregularFrameStream}
