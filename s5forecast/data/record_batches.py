"""Record batches of a dataset of Arrow, of which few are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

# Rows of a batch.
BATCH_ROWS = 2**16
READING: dict[str, Any] = {
    "batch_size": BATCH_ROWS,
    "batch_readahead": 0,
    "fragment_readahead": 0,
    "use_threads": False,
}


def record_batches(dataset: Any, columns: Sequence[str]) -> Iterator[Any]:
    """Record batches of some columns, in the order of the rows.

    A scan of a Parquet file reads as far ahead as the file goes, whatever its limits are, while a batch is used. Its
    row groups are therefore scanned one after the other.

    Raises:
        ValueError: for values that cannot be converted to the type of their column.
    """
    names = list(columns)
    if is_filtered(dataset):
        yield from _with_rows(dataset, columns=names)
        return
    for fragment in dataset.get_fragments():
        groups = fragment.split_by_row_group() if hasattr(fragment, "split_by_row_group") else [fragment]
        for group in groups:
            yield from _with_rows(group, columns=names, schema=dataset.schema)


def is_filtered(dataset: Any) -> bool:
    """Whether a dataset has a filter, which only scans of the whole dataset apply."""
    return bool(getattr(dataset, "_scan_options", None))


def _with_rows(source: Any, **arguments: Any) -> Iterator[Any]:
    """Record batches of a dataset, or of a part of a file, that have rows."""
    import pyarrow as pa

    try:
        yield from (batch for batch in source.to_batches(**arguments, **READING) if batch.num_rows)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        where = f"the file {source.path}" if hasattr(source, "path") else "the dataset"
        raise ValueError(
            f"{where} has values that cannot be converted to the types of its columns ({error}); store each column "
            "with the same type in all files"
        ) from error
