"""Forecasts of the series of a Ray dataset, made by the workers of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

from s5forecast.data.conversion import arrow_to_pandas
from s5forecast.data.disk_data import DiskData
from s5forecast.data.frame_kinds import arrow_kind
from s5forecast.data.ray_data import RayData
from s5forecast.evaluation.fingerprint import fingerprint
from s5forecast.fitted_forecaster import FittedForecaster
from s5forecast.forecast_folder import ForecastFolder
from s5forecast.forecast_partition import check_divisible, forecast_partition
from s5forecast.forecast_request import Request


def predict_on_ray(forecaster: FittedForecaster, data: RayData, request: Request, output: Any = None) -> Any:
    """A Ray dataset of forecasts, or the folder that the workers write them to.

    Args:
        forecaster: fitted forecaster.
        data: histories.
        request: what to forecast; ``future`` is sent to every worker.
        output: folder that all machines see, with the same path.
    """
    check_divisible(forecaster, request)
    if isinstance(request.future, DiskData):
        raise ValueError(
            "future= of a Ray dataset must be a frame, which is sent to every worker; read it, for example with "
            "pandas.read_parquet(path)"
        )
    arguments = (forecaster.detached(), request, data.num_threads)
    if output is None:
        return data.map_parts(forecaster._columns.unweighted, PartForecaster, *arguments)
    manifest = {
        "model": fingerprint(forecaster.predictor_),
        "data": uuid4().hex,  # the contents of a dataset are not known before it is read
        "request": repr([request.levels, request.horizon, request.every]),
    }
    folder = ForecastFolder(Path(output).absolute(), manifest)
    parts = data.map_parts(forecaster._columns.unweighted, PartWriter, *arguments, folder)
    with forecaster.skipping():
        for row in parts.iter_rows():
            forecaster._left_out.update(folder.skipped(row["part"]))
        folder.finish(forecaster._left_out, arrow_kind(), forecaster._columns)
    return Path(output)


class PartForecaster:
    """Forecasts parts in a worker, with a model that is loaded once.

    Args:
        forecaster: its networks are moved to the GPU of the worker, if it has one.
        request: what to forecast.
        num_threads: threads of PyTorch.
    """

    def __init__(self, forecaster: FittedForecaster, request: Request, num_threads: int) -> None:
        self.forecaster, self.request, self.num_threads = forecaster, request, num_threads
        forecaster.to("auto")

    def __call__(self, number: int, rows: Any) -> Any:
        return self.forecast(rows)[0]

    def forecast(self, rows: Any) -> tuple[Any, Any]:
        """The forecasts of the rows of a part, as an Arrow table, and the series that are left out."""
        part = forecast_partition(self.forecaster, arrow_to_pandas(rows), self.request, self.num_threads)
        return arrow_kind(rows.schema).convert(part.rows), part.skipped


class PartWriter(PartForecaster):
    """Writes the forecasts of parts to a folder, and returns their numbers; other arguments as before.

    Args:
        folder: folder of forecasts.
    """

    def __init__(
        self, forecaster: FittedForecaster, request: Request, num_threads: int, folder: ForecastFolder
    ) -> None:
        super().__init__(forecaster, request, num_threads)
        self.folder = folder

    def __call__(self, number: int, rows: Any) -> Any:
        import pyarrow as pa

        self.folder.write(number, *self.forecast(rows))
        return pa.table({"part": [number]})
