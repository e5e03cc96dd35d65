"""Order of series by their content, so that neither their order in the data nor their names affect training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frame_entries import FrameEntries, TableEntries

# Fields of an entry that a network sees.
FIELDS = (
    "start", "target", "time", "cut_time", "feat_dynamic_real", "feat_dynamic_cat", "past_feat_dynamic_real",
    "past_feat_dynamic_cat", "feat_static_real", "feat_static_cat", "weight",
)  # fmt: skip


def as_sequence(dataset: Iterable[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """The entries of a dataset, to be read several times; those of a frame are not created."""
    return dataset if isinstance(dataset, Sequence) else list(dataset)


def by_content(entries: Iterable[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Sort the entries of a dataset by their content, and name those without item_id by their position."""
    if not isinstance(entries, TableEntries):
        entries = [{"item_id": position, **entry} for position, entry in enumerate(entries)]
    return take(entries, content_order(entries))


def take(entries: Sequence[dict[str, Any]], positions: Sequence[int] | np.ndarray) -> Sequence[dict[str, Any]]:
    """The entries at some positions."""
    if isinstance(entries, TableEntries):
        return entries.take(positions)
    return [entries[position] for position in positions]


def content_order(entries: Sequence[dict[str, Any]]) -> np.ndarray:
    """Positions of the entries, sorted by hashes of the fields that a network sees; equal entries keep their order.

    The first hash is that of the ranks of the values, so that other units of the values or of the time do not change
    the order.
    """
    blocks = map(_frame_hashes, entries.blocks()) if isinstance(entries, TableEntries) else [list(map(_hash, entries))]
    words, end = np.empty((len(entries), 4), dtype=np.uint64), 0
    for block in blocks:
        words[end : end + len(block)] = _words(block)
        end += len(block)
    order = np.argsort(words[:, 0], kind="stable")
    return _in_order_of_others(order, words)


def _in_order_of_others(order: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Positions in the ``order`` of the first of their ``words [S, 4]``, with ties sorted by the other words."""
    first = words[order, 0]
    tied = np.flatnonzero(np.diff(first, prepend=~first[:1]) == 0)
    tied = np.union1d(tied - 1, tied)
    rows = order[tied]
    order[tied] = rows[np.lexsort(words[rows].T[::-1])]
    return order


def _words(hashes: Iterable[tuple[bytes, bytes]]) -> np.ndarray:
    """Pairs of hashes as numbers that have the same order, ``[S, 4]``."""
    return np.frombuffer(b"".join(part for pair in hashes for part in pair), dtype=">u8").reshape(-1, 4).astype("u8")


def _frame_hashes(entries: FrameEntries) -> list[tuple[bytes, bytes]]:
    """The hashes of the entries of a frame, without creating them."""
    table, (real, cat) = entries.table, entries.static_arrays
    starts, bounds = entries.starts.asi8.tolist(), table.bounds.tolist()
    return [
        _hash(
            {
                "start": str(start),
                "target": table.target[begin:end],
                **entries.statics.dynamic_fields(table.known[:, begin:end], table.past[:, begin:end]),
                "feat_static_real": real[position],
                "feat_static_cat": cat[position],
                **({} if table.weight is None else {"weight": table.weight[begin:end]}),
            }
        )
        for position, (start, begin, end) in enumerate(zip(starts, bounds, bounds[1:], strict=False))
    ]


def _hash(entry: dict[str, Any]) -> tuple[bytes, bytes]:
    """Hashes of the ranks of the values, and of all fields; entries are checked later."""
    values = np.asarray(entry.get("target", ()))
    ranks = values if values.dtype == object else np.argsort(values, kind="stable")
    found = blake2b(digest_size=16)
    for field in FIELDS:
        if field in entry:
            found.update(field.encode() + _bytes(entry[field]))
    return blake2b(_bytes(ranks), digest_size=16).digest(), found.digest()


def _bytes(value: Any) -> bytes:
    if isinstance(value, pd.Period | str):
        return str(getattr(value, "ordinal", value)).encode()
    values = value.asi8 if isinstance(value, pd.DatetimeIndex) else np.asarray(value)
    return repr(value).encode() if values.dtype == object else np.ascontiguousarray(values).tobytes()
