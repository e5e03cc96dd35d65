"""Forecasts of many series, made for a part of them at a time, in memory or as Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from s5forecast.data.content import content_order
from s5forecast.data.disk_data import DiskData
from s5forecast.data.faults import Skipped
from s5forecast.data.frame_kinds import FrameKind, arrow_kind
from s5forecast.data.missing_known import reported_once
from s5forecast.data.row_groups import group_rows
from s5forecast.data.table import SeriesTable
from s5forecast.evaluation.fingerprint import fingerprint, fingerprint_series
from s5forecast.fitted_forecaster import FittedForecaster, single_predictors
from s5forecast.forecast_folder import ForecastFolder
from s5forecast.forecast_partition import Part, check_divisible, draws_paths, forecast_series
from s5forecast.forecast_request import Request
from s5forecast.notices import one_warning_each

# Column of the position of the series, while forecasts are put together.
_OWNER = "\0owner"
# Least number of series in a part.
PART_SERIES = 4096


def predict_in_parts(forecaster: FittedForecaster, df: Any, request: Request, output: Any = None) -> Any:
    """The forecasts of all series in one frame, or the folder that they are written to."""
    check_divisible(forecaster, request)
    with forecaster.skipping(), one_warning_each(), reported_once():
        parts = ForecastParts(forecaster, forecaster._histories(df), request)
        if df is not None:
            forecaster.sampling_.warn_of_unobserved(parts.series)
            forecaster._warn_of_short(parts.series)
        if output is None:
            found = []
            for _, part in parts.all(range(len(parts))):
                forecaster._left_out.update(part.skipped)
                found.append(part.rows.assign(**{_OWNER: part.owners}))
            frame = pd.concat(found, ignore_index=True)
            return frame.sort_values(_OWNER, kind="stable", ignore_index=True).drop(columns=_OWNER)
        kind = arrow_kind(df.schema if isinstance(df, DiskData) else None)
        return _write(parts, ForecastFolder(Path(output), parts.manifest()), kind)


class ForecastParts:
    """Divides series into parts whose forecasts equal those of all series together.

    Args:
        forecaster: fitted forecaster.
        series: histories.
        request: what to forecast.
    """

    def __init__(self, forecaster: FittedForecaster, series: SeriesTable, request: Request) -> None:
        self.forecaster, self.series, self.request = forecaster, series, request
        # Whole batches, so that each batch holds the same series as without parts.
        batch = lcm(*(one.batch_size for one in single_predictors(forecaster.predictor_)))
        self.size = batch * -(-PART_SERIES // batch)
        self._order = self._content_order()
        self._future = None
        if request.future is not None:
            place = np.argsort(self._order) if self._order is not None else np.arange(len(series))
            self._future = group_rows(request.future, series, place // self.size, forecaster._columns)

    def __len__(self) -> int:
        return -(-len(self.series) // self.size)

    def positions(self, part: int) -> np.ndarray:
        """Positions of the series of a part."""
        chosen = slice(part * self.size, (part + 1) * self.size)
        return np.arange(len(self.series))[chosen] if self._order is None else self._order[chosen]

    def all(self, numbers: Sequence[int]) -> Iterator[tuple[int, Part]]:
        """The parts with some numbers, with a progress bar of the series."""
        done = len(self.series) - sum(len(self.positions(number)) for number in numbers)
        bar = tqdm(
            desc="forecasting", total=len(self.series), initial=done, unit=" series",
            disable=not self.forecaster.verbose,
        )  # fmt: skip
        with bar:
            for number in numbers:
                yield number, self.forecast(number)
                bar.update(len(self.positions(number)))

    def forecast(self, number: int) -> Part:
        """The forecasts of a part."""
        positions = self.positions(number)
        future = None if self._future is None else self._future.frame(number)
        part = forecast_series(self.forecaster, self.series.take(positions), self.request._replace(future=future))
        return part._replace(owners=positions[part.owners])

    def manifest(self) -> dict[str, Any]:
        """What the forecasts depend on, as plain data."""
        forecaster, request, series = self.forecaster, self.request, self.series
        calibrator = getattr(forecaster, "calibrator_", None)
        model = [
            forecaster.predictor_, repr(forecaster.statics_), repr(forecaster.sampling_),
            None if calibrator is None else calibrator.to_json(),
        ]  # fmt: skip
        return {
            "model": fingerprint(model),
            "data": fingerprint_series(series),
            "future": fingerprint(_identity(request.future)),
            "request": repr([request.levels, request.horizon, request.every]),
            "series": len(series),
            "series_per_part": self.size,
        }

    def _content_order(self) -> np.ndarray | None:
        """The order in which paths are drawn; ``None`` for networks that draw none."""
        forecaster = self.forecaster
        if not draws_paths(forecaster):
            return None
        return content_order(forecaster.sampling_.entries(self.series, forecaster.statics_))


def _write(parts: ForecastParts, folder: ForecastFolder, kind: FrameKind) -> Path:
    """Write the parts that a folder lacks, and the table of the series that are left out."""
    columns, left_out = parts.forecaster._columns, parts.forecaster._left_out
    made: dict[int, Skipped] = {}
    for number, part in parts.all(folder.missing(len(parts))):
        made[number] = part.skipped
        table = kind.convert(part.frame)
        folder.write(number, table.slice(0, len(part.owners)), part.skipped)
    for number in range(len(parts)):
        left_out.update(made[number] if number in made else folder.skipped(number))
    folder.finish(left_out, kind, columns)
    return folder.path


def _identity(data: Any) -> Any:
    """What identifies data: the files of data on disk with their sizes and times of change, else the data."""
    if not isinstance(data, DiskData):
        return data
    paths = [Path(name) for name in getattr(data.dataset, "files", [])]
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path.exists()]
    return files or [str(data.schema), data.dataset.count_rows()]
