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
    """
    names = list(columns)
    if getattr(dataset, "_scan_options", None):  # a filter, which only scans of the whole dataset apply
        yield from dataset.to_batches(columns=names, **READING)
        return
    for fragment in dataset.get_fragments():
        groups = fragment.split_by_row_group() if hasattr(fragment, "split_by_row_group") else [fragment]
        for group in groups:
            yield from group.to_batches(schema=dataset.schema, columns=names, **READING)
