"""Rows of a Ray dataset, which the workers of a cluster read in parts of whole series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from s5forecast.data.frames import Columns, needed_columns
from s5forecast.data.series_numbers import series_codes

# Rows of a part, which a worker holds in memory.
PART_ROWS = 2**17
# Columns of a part on its way to a worker: its number, and its rows in Arrow's format.
PART, ROWS = "part", "rows"
# Makes a function of the number and the rows of a part, which returns an Arrow table.
MakeWork = Callable[..., Callable[[int, Any], Any]]


class RayData:
    """Long data in a Ray dataset, in place of a data frame, and the workers that forecast them.

    The rows of a series may be in any order and in several blocks. Ray's shuffle brings them together: a hash of the
    columns that identify the series divides the series into parts, and each part is one row on its way to a worker, so
    that no batch divides a series. A worker is an actor, which has the model in memory. If one is lost, Ray repeats the
    part it had.

    Args:
        dataset: a ``ray.data.Dataset``.
        workers: number of workers; as many as the cluster has room for by default.
        resources: of each worker, as arguments of ``Dataset.map_batches``, such as ``{"num_gpus": 1}``; one CPU by
            default.
        parts: number of parts, each of which a worker holds in memory; by default one for every 131,072 rows. The rows
            are counted for that, which executes the steps of a dataset that is not just read.

    Raises:
        ValueError: for numbers of workers or parts below 1.

    Example:
        >>> from s5forecast import RayData, S5Forecaster
        >>> dataset = ray.data.read_parquet("s3://sales/")  # doctest: +SKIP
        >>> data = RayData(dataset, workers=4, resources={"num_gpus": 1})  # doctest: +SKIP
        >>> forecasts = S5Forecaster.pretrained(28, freq="D").predict(data)  # doctest: +SKIP
        >>> forecasts.write_parquet("s3://forecasts/")  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: Any,
        workers: int | None = None,
        resources: Mapping[str, Any] | None = None,
        parts: int | None = None,
    ) -> None:
        for name, count in {"workers": workers, "parts": parts}.items():
            if count is not None and count < 1:
                raise ValueError(f"{name}={count} must be at least 1")
        self.dataset, self.workers, self.parts = dataset, workers, parts
        self.resources = dict(resources or {"num_cpus": 1})

    @classmethod
    def of(cls, data: Any) -> RayData:
        """The data of a dataset; ``RayData`` itself."""
        return data if isinstance(data, cls) else cls(data)

    @property
    def empty(self) -> pd.DataFrame:
        """A frame with the columns and no rows."""
        schema = self.dataset.schema()
        return pd.DataFrame(columns=[] if schema is None else schema.names)

    @property
    def num_threads(self) -> int:
        """Threads of a worker: one for each of its CPUs."""
        return max(1, int(self.resources.get("num_cpus", 1)))

    def map_parts(self, columns: Columns, make: MakeWork, *arguments: Any) -> Any:
        """A dataset of the tables that a function of each part returns.

        Rows are brought together at once; the function runs when the result is read.

        Args:
            columns: roles of the columns, which are those that are read.
            make: makes the function in each worker.
            arguments: of ``make``, which are sent to the workers.

        Raises:
            ValueError: for a dataset without rows, or without one of the columns.
        """
        from ray.data import ActorPoolStrategy

        identity, names = needed_columns(self.empty, columns)
        rows = self.dataset.count() if self.parts is None else self.dataset.limit(1).count()
        if not rows:  # which Ray's shuffle cannot divide
            raise ValueError("df has no rows")
        count = self.parts or -(-rows // PART_ROWS)
        numbered = self.dataset.select_columns(names).map_batches(
            _numbered, batch_format="pyarrow", fn_args=(identity, count), batch_size=None
        )
        # The shuffle ends before the workers start, which would otherwise take the CPUs that it needs.
        packed = numbered.groupby(PART, num_partitions=count).map_groups(_packed, batch_format="pyarrow").materialize()
        pool = ActorPoolStrategy(min_size=1) if self.workers is None else ActorPoolStrategy(size=self.workers)
        return packed.map_batches(
            _Worker, fn_constructor_args=(make, arguments), batch_size=1, batch_format="pyarrow", compute=pool,
            **self.resources,
        )  # fmt: skip


def is_ray(data: Any) -> bool:
    """Whether data are a Ray dataset or ``RayData``."""
    of_ray = type(data).__module__.startswith("ray.data.") and hasattr(data, "map_batches")
    return of_ray or isinstance(data, RayData)


class _Worker:
    """Applies a function to parts, each of which is one row."""

    def __init__(self, make: MakeWork, arguments: Sequence[Any]) -> None:
        self.work = make(*arguments)

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        with pa.ipc.open_stream(batch[ROWS][0].as_buffer()) as reader:
            return self.work(batch[PART][0].as_py(), reader.read_all())


def _numbered(table: Any, identity: Sequence[str], count: int) -> Any:
    """A table with the part of the series of each row."""
    import pyarrow as pa

    if not identity:
        return _with_part(table, pa.array([0] * len(table), pa.int64()))
    codes, hashes = series_codes([table.column(name) for name in identity])
    return _with_part(table, pa.array((hashes % count).astype("int64")[codes]))


def _with_part(table: Any, numbers: Any) -> Any:
    """The rows as one column, since the others may have the name of the part."""
    import pyarrow as pa

    return pa.table({PART: numbers, ROWS: table.to_struct_array()})


def _packed(table: Any) -> Any:
    """The rows of a part as one row."""
    import pyarrow as pa

    rows = pa.Table.from_struct_array(table.column(ROWS))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return pa.table({PART: table.column(PART)[:1], ROWS: pa.array([sink.getvalue().to_pybytes()], pa.large_binary())})
