"""Arrow rows divided into parts of whole series on disk, so that each part can be sorted in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Most parts that are written, each of which has an open file; systems allow 1,024 by default.
MAX_PARTS = 512


def part_of_series(rows: np.ndarray, limit: int, *, written: bool) -> np.ndarray:
    """Part of each series, ascending: about ``limit`` rows for each part, more if there were too many files.

    Args:
        rows: number of rows of each series, int64 ``[S]``.
        limit: rows of a part.
        written: whether parts are written to files.
    """
    if written:
        limit = max(limit, -(-int(rows.sum()) // MAX_PARTS))
    starts = (np.cumsum(rows) - rows) // limit
    return np.unique(starts, return_inverse=True)[1]


def write_parts(batches: Iterable[Any], parts_of: Callable[[Any], np.ndarray], folder: Path) -> None:
    """Append the rows of batches to a file for each part, in their order.

    Args:
        batches: Arrow record batches.
        parts_of: part of each row of a batch, int64 ``[M]``; rows with -1 are left out.
        folder: existing folder.
    """
    import pyarrow as pa

    writers: dict[int, Any] = {}
    try:
        for batch in batches:
            parts = parts_of(batch)
            order = np.argsort(parts, kind="stable")
            ordered = parts[order]
            rows = pa.RecordBatch.from_struct_array(batch.to_struct_array().take(pa.array(order)))
            begins = np.flatnonzero(np.diff(ordered, prepend=-1))  # rows with -1 come first and are no part
            for begin, end in zip(begins, [*begins[1:], len(ordered)], strict=True):
                part = int(ordered[begin])
                if part not in writers:
                    writers[part] = pa.ipc.new_stream(_file(folder, part), batch.schema)
                writers[part].write_batch(rows.slice(begin, end - begin))
    finally:
        for writer in writers.values():
            writer.close()


def read_part(folder: Path, part: int, schema: Any) -> Any:
    """The rows of a part as an Arrow table, of the ``schema`` if it has no rows."""
    import pyarrow as pa

    path = _file(folder, part)
    if not Path(path).exists():
        return schema.empty_table()
    with pa.OSFile(path) as file, pa.ipc.open_stream(file) as reader:
        return reader.read_all()


def consecutive_parts(batches: Iterable[Any], lengths: np.ndarray, schema: Any) -> Iterator[Any]:
    """Arrow tables of consecutive rows.

    Args:
        batches: record batches.
        lengths: rows of each table.
        schema: schema of the batches.

    Raises:
        ValueError: for more or fewer rows than those of all tables.
    """
    import pyarrow as pa

    waiting, rows, left = [], 0, iter(lengths.tolist())
    wanted = next(left, None)
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while wanted is not None and rows >= wanted:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, wanted)
            waiting, rows = table.slice(wanted).to_batches(), rows - wanted
            wanted = next(left, None)
    if rows or wanted is not None:
        raise ValueError("the files have changed while they were read; read them again")


def _file(folder: Path, part: int) -> str:
    return str(folder / f"rows-{part:05d}.arrow")
