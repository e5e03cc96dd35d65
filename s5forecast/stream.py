"""Series of a frame that are forecast while they are observed: new rows in, forecasts out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from s5forecast.data.entries import local_time, read_series
from s5forecast.data.frames import FrameSeries, fill_gaps, read_future, split_frame, to_entries
from s5forecast.data.irregular_sampling import grid_steps
from s5forecast.data.irregular_updates import read_asked_rows, read_new_rows
from s5forecast.data.times import NANOSECONDS, IrregularRows
from s5forecast.estimators.stream import ForecastStream
from s5forecast.levels import check_levels
from s5forecast.windows.rows import IrregularQueries, RegularRows

if TYPE_CHECKING:
    from s5forecast.forecaster import S5Forecaster
    from s5forecast.irregular_forecaster import IrregularForecaster


class IrregularFrameStream:
    """Irregular series of a frame, of each of which the state after its last observation is kept.

    Arguments:
        forecaster: a fitted one.
        states: of the series.
        time_zone: of the timestamps of a grid; ``None`` for none.
    """

    def __init__(self, forecaster: IrregularForecaster, states: ForecastStream, time_zone: str | None) -> None:
        self.forecaster, self.states, self.time_zone = forecaster, states, time_zone

    @classmethod
    def start(cls, forecaster: IrregularForecaster, df: pd.DataFrame | None) -> IrregularFrameStream:
        """The stream of the series of a frame, by default those of the training."""
        series = forecaster.histories(df)
        states = forecaster.predictor.stream(forecaster.to_gluonts(df))
        zone = getattr(series[0].timestamps, "tz", None)
        return cls(forecaster, states, None if zone is None else str(zone))

    @property
    def items(self) -> list[Any]:
        """The ``item_id`` of each series."""
        return self.states.items

    def update(self, df: pd.DataFrame) -> IrregularFrameStream:
        """Take in the next rows of some series, or the first ones of new series; the order of rows does not matter.

        Arguments:
            df: long frame as in training, of no rows if there are none yet; static columns are needed for new series
                alone.

        Raises:
            ValueError: for a row that is not after the last observation of its series, or data that does not fit
                otherwise, naming the series, the column and the fix; then no state has changed.
        """
        if isinstance(df, pd.DataFrame) and df.empty:
            return self
        forecaster = self.forecaster
        new = read_new_rows(df, forecaster.targets, forecaster.columns, forecaster.aggregate)
        if (None in new.rows.items) != (None in self.items):
            found, other = ("has no", "has one") if None in new.rows.items else ("has a", "had none")
            raise ValueError(
                f"the frame {found} column {forecaster.columns.item_id!r}, that of the stream {other}; "
                "name the series alike"
            )
        self.states.observe(new.rows, lambda item: new.describe(item, forecaster.statics, forecaster.columns))
        return self

    def predict(
        self,
        times: pd.DataFrame | None = None,
        quantile_levels: Sequence[float] | None = None,
        *,
        horizon: Any = None,
        every: Any = None,
    ) -> pd.DataFrame:
        """Mean and quantiles at the rows of ``times``, or on a grid after the last observation of each series.

        Arguments and result are those of :meth:`s5forecast.S5Forecaster.predict`.

        Raises:
            ValueError: naming the series, the column and the fix; for a time that is not after the last observation.
        """
        levels = list(self.forecaster.quantile_levels if quantile_levels is None else quantile_levels)
        check_levels(levels)
        if times is None:
            times = self._grid(self.forecaster.grid_horizon(horizon, every), every)
        elif not (horizon is every is None):
            raise ValueError("give either times= or horizon= and every=, not both")
        rows, queries = read_asked_rows(
            times, self.forecaster.columns, named=None not in self.items, datetimes=self._datetimes
        )
        mean, quantiles = self.states.quantiles(IrregularQueries.of(rows), levels)
        self._warn_of_far(rows)
        return self.forecaster.frame(queries, mean, quantiles, levels)

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, JSON and arrays without pickle; the forecaster is saved on its own."""
        self.states.save(path)
        (Path(path) / "frame.json").write_text(json.dumps({"time_zone": self.time_zone}))

    @classmethod
    def load(cls, path: str | Path, forecaster: IrregularForecaster) -> IrregularFrameStream:
        """Read what :meth:`save` wrote, of a stream of the same forecaster.

        Raises:
            ValueError: if it was written by a later format, or for another model.
        """
        states = ForecastStream.load(path, forecaster.predictor)
        return cls(forecaster, states, json.loads((Path(path) / "frame.json").read_text())["time_zone"])

    @property
    def _datetimes(self) -> bool:
        return self.states.states.tensors["time"].numpy().dtype == np.int64

    def _grid(self, horizon: Any, every: Any) -> pd.DataFrame:
        steps = pd.Index(grid_steps(horizon, every, datetimes=self._datetimes))
        last = pd.Index(self.states.states.tensors["time"].numpy())
        if self._datetimes:
            zone = None if self.time_zone is None else "UTC"
            last = pd.DatetimeIndex(last, tz=zone)
            last = last if zone is None else last.tz_convert(self.time_zone)
        times = last.repeat(len(steps)) + np.tile(steps, len(last))
        columns = self.forecaster.columns
        keys = {} if None in self.items else {columns.item_id: np.repeat(np.array(self.items, object), len(steps))}
        return pd.DataFrame({**keys, columns.timestamp: times}).infer_objects()

    def _warn_of_far(self, rows: IrregularRows) -> None:
        """Nothing was learnt of times beyond the horizon."""
        limit = self.forecaster.predictor.spec.horizon
        if limit is None:
            return
        last = self.states.states.tensors["time"].numpy()[self.states.states.positions(rows.items).numpy()]
        elapsed = (rows.instants.exact - last[rows.series]) / (NANOSECONDS if self._datetimes else 1)
        far = int(elapsed.argmax())
        if elapsed[far] > limit * (1 + 1e-9):
            item = rows.items[rows.series[far]]
            self.forecaster.warn_of_far(
                "the series" if item is None else f"series {item!r}", elapsed[far] / limit, stacklevel=4
            )


class RegularFrameStream:
    """Regular series of a frame, of each of which the state after its last step is kept.

    Arguments:
        forecaster: a fitted one.
        states: of the series.
        last: of each series one step, the last.
    """

    def __init__(self, forecaster: S5Forecaster, states: ForecastStream, last: Sequence[FrameSeries]) -> None:
        self.forecaster, self.states = forecaster, states
        self.last = {one.item_id: one for one in last}

    @classmethod
    def start(cls, forecaster: S5Forecaster, series: Sequence[FrameSeries]) -> RegularFrameStream:
        """The stream of some series."""
        entries = to_entries(series, forecaster.frequency_, forecaster.statics_)
        return cls(forecaster, forecaster.predictor_.stream(entries), [_last_step(one) for one in series])

    @property
    def items(self) -> list[Any]:
        """The ``item_id`` of each series."""
        return list(self.last)

    def update(self, df: pd.DataFrame) -> RegularFrameStream:
        """Take in the next rows of some series; the order of rows does not matter, and a gap is of missing values.

        Arguments:
            df: long frame as in training, of no rows if there are none yet; static columns may be left out.

        Raises:
            ValueError: for a row that is not after the last one of its series, a series that the stream does not
                know, or data that does not fit otherwise, naming the series, the column and the fix; then no state
                has changed.
        """
        if isinstance(df, pd.DataFrame) and df.empty:
            return self
        columns = self.forecaster._columns
        parts = split_frame(df, columns, [columns.target, *columns.known], ())
        steps = [self._next(item, part) for item, part in parts]
        entries = to_entries(steps, self.forecaster.frequency_, self.forecaster.statics_, static=False)
        spec = self.states.spec._replace(num_feat_static_real=0, num_feat_static_cat=0)
        read = read_series(entries, spec, forecast=False, observed=False)
        count = [len(one.target) for one in steps]
        arrays = [(one.time[:m], one.target, one.covariates[:m]) for one, m in zip(read, count, strict=True)]
        self.states.observe(RegularRows([one.item_id for one in read], arrays))
        self.last |= {one.item_id: _last_step(one) for one in steps}
        return self

    def predict(
        self, future: pd.DataFrame | None = None, quantile_levels: Sequence[float] | None = None
    ) -> pd.DataFrame:
        """Forecast the steps that follow each series.

        Arguments and result are those of :meth:`s5forecast.S5Forecaster.predict`.

        Raises:
            ValueError: naming the series, the column and the fix.
        """
        forecaster, series = self.forecaster, list(self.last.values())
        levels = list(forecaster.quantile_levels if quantile_levels is None else quantile_levels)
        check_levels(levels)
        frequency, H = forecaster.frequency_, self.states.spec.prediction_length
        known = read_future(future, series, forecaster._columns, frequency, H)
        stamps = [frequency.range(one.timestamps[0], H + 1)[1:] for one in series]
        ahead = [one._replace(timestamps=each) for one, each in zip(series, stamps, strict=True)]
        entries = [
            {**entry, "feat_dynamic_real": values, "time": local_time(entry, self.states.spec, H)}
            for entry, values in zip(
                to_entries(ahead, frequency, forecaster.statics_, static=False), known, strict=True
            )
        ]
        return forecaster._forecast(series, lambda at: self.states.predict_quantiles(entries, at), levels)

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, JSON and arrays without pickle; the forecaster is saved on its own."""
        self.states.save(path)
        stamps = [one.timestamps[0] for one in self.last.values()]
        zone = None if stamps[0].tz is None else str(stamps[0].tz)
        described = {"items": self.items, "last": [stamp.isoformat() for stamp in stamps], "time_zone": zone}
        (Path(path) / "frame.json").write_text(json.dumps(described))

    @classmethod
    def load(cls, path: str | Path, forecaster: S5Forecaster) -> RegularFrameStream:
        """Read what :meth:`save` wrote, of a stream of the same forecaster.

        Raises:
            ValueError: if it was written by a later format, or for another model.
        """
        states = ForecastStream.load(path, forecaster.predictor_)
        described = json.loads((Path(path) / "frame.json").read_text())
        stamps = pd.to_datetime(described["last"], format="ISO8601", utc=described["time_zone"] is not None)
        if described["time_zone"] is not None:
            stamps = stamps.tz_convert(described["time_zone"])
        known = np.empty((len(forecaster.known), 1), dtype=np.float32)
        last = [
            FrameSeries(item, stamps[row : row + 1], np.full(1, np.nan), known, {})
            for row, item in enumerate(described["items"])
        ]
        return cls(forecaster, states, last)

    def _next(self, item: Any, part: pd.DataFrame) -> FrameSeries:
        """The steps that follow the last one of a series."""
        columns, name = self.forecaster._columns, "the series" if item is None else f"series {item!r}"
        if item not in self.last:
            raise ValueError(
                f"{name} is not in the stream, and has no window yet that could tell its location and scale; "
                "give its history to stream()"
            )
        last = self.last[item].timestamps
        stamps = pd.DatetimeIndex(part[columns.timestamp])
        if (stamps.tz is None) != (last.tz is None):
            raise ValueError(
                f"{name}: column {columns.timestamp!r} has {'no' if stamps.tz is None else 'a'} time zone, unlike the "
                "history; give both alike, with tz_localize or tz_convert"
            )
        stamps = stamps if stamps.tz is None else stamps.tz_convert(last.tz)
        if stamps[0] <= last[0]:
            raise ValueError(
                f"{name}: {columns.timestamp} {stamps[0]} is not after the last observation, at {last[0]}; leave out "
                "rows that the stream has seen, or begin a new one to correct them"
            )
        known = part[list(columns.known)].to_numpy(dtype=np.float32).T
        whole = FrameSeries(
            item_id=item,
            timestamps=pd.DatetimeIndex(last.append(stamps)),
            target=np.concatenate([[np.nan], part[columns.target].to_numpy()]),
            known=np.concatenate([np.full((len(known), 1), np.nan, dtype=np.float32), known], axis=1),
            static={},
        )
        filled = fill_gaps(whole, self.forecaster.frequency_)
        return filled._replace(timestamps=filled.timestamps[1:], target=filled.target[1:], known=filled.known[:, 1:])


def _last_step(one: FrameSeries) -> FrameSeries:
    return one._replace(timestamps=one.timestamps[-1:], target=one.target[-1:], known=one.known[:, -1:])
