"""Series of a frame that are forecast while they are observed: new rows in, forecasts out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from s5forecast.data.irregular import NANOSECONDS
from s5forecast.data.irregular_frames import grid_steps
from s5forecast.data.irregular_history import IrregularRows
from s5forecast.data.irregular_updates import read_asked_rows, read_new_rows
from s5forecast.estimators.continuous_stream import ContinuousStream
from s5forecast.levels import check_levels

if TYPE_CHECKING:
    from s5forecast.irregular_forecaster import IrregularForecaster


class IrregularStream:
    """Irregular series of a frame, of each of which the state after its last observation is kept.

    Arguments:
        forecaster: a fitted one.
        states: of the series.
        time_zone: of the timestamps of a grid; ``None`` for none.
    """

    def __init__(self, forecaster: IrregularForecaster, states: ContinuousStream, time_zone: str | None) -> None:
        self.forecaster, self.states, self.time_zone = forecaster, states, time_zone

    @classmethod
    def start(cls, forecaster: IrregularForecaster, df: pd.DataFrame | None) -> IrregularStream:
        """The stream of the series of a frame, by default those of the training."""
        series = forecaster.histories(df)
        states = forecaster.predictor.stream(forecaster.to_gluonts(df))
        zone = getattr(series[0].timestamps, "tz", None)
        return cls(forecaster, states, None if zone is None else str(zone))

    @property
    def items(self) -> list[Any]:
        """The ``item_id`` of each series."""
        return self.states.items

    def update(self, df: pd.DataFrame) -> IrregularStream:
        """Take in the next rows of some series, or the first ones of new series; the order of rows does not matter.

        Arguments:
            df: long frame as in training; static columns are needed for new series alone.

        Raises:
            ValueError: for a row that is not after the last observation of its series, or data that does not fit
                otherwise, naming the series, the column and the fix; then no state has changed.
        """
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
        mean, quantiles = self.states.quantiles(rows, levels)
        self._warn_of_far(rows)
        return self.forecaster.frame(queries, mean, quantiles, levels)

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, JSON and arrays without pickle; the forecaster is saved on its own."""
        self.states.save(path)
        (Path(path) / "frame.json").write_text(json.dumps({"time_zone": self.time_zone}))

    @classmethod
    def load(cls, path: str | Path, forecaster: IrregularForecaster) -> IrregularStream:
        """Read what :meth:`save` wrote, of a stream of the same forecaster.

        Raises:
            ValueError: if it was written by a later format, or for another model.
        """
        states = ContinuousStream.load(path, forecaster.predictor)
        return cls(forecaster, states, json.loads((Path(path) / "frame.json").read_text())["time_zone"])

    @property
    def _datetimes(self) -> bool:
        return self.states.last_times().dtype == np.int64

    def _grid(self, horizon: Any, every: Any) -> pd.DataFrame:
        steps = pd.Index(grid_steps(horizon, every, datetimes=self._datetimes))
        last = pd.Index(self.states.last_times())
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
        last = self.states.last_times()[self.states.states.positions(rows.items).numpy()]
        elapsed = (rows.instants.exact - last[rows.series]) / (NANOSECONDS if self._datetimes else 1)
        far = int(elapsed.argmax())
        if elapsed[far] > limit * (1 + 1e-9):
            item = rows.items[rows.series[far]]
            self.forecaster.warn_of_far(
                "the series" if item is None else f"series {item!r}", elapsed[far] / limit, stacklevel=4
            )
