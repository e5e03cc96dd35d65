"""Tables of series whose rows are in memory-mapped files."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from io import FileIO
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any
from weakref import finalize

import numpy as np
import pandas as pd

from s5forecast.data.series_names import PackedNames
from s5forecast.data.table import FrameSeries, SeriesTable
from s5forecast.data.temporary_folder import TemporaryFolder

# Bytes of a mapping that are read before its pages are given back.
KEPT = 4 * 2**20
# The system maps the neighbors of a page that is read, in blocks of this size.
MAPPED_BYTES = 2**18
# Fields of a table that are files.
ROWS = ("timestamps", "target", "known", "past", "weight")
# Rows of a block of a table.
BLOCK_ROWS = 2**17


class MappedFiles:
    """Arrays of files that are mapped into memory, whose pages are given back after use.

    A process that is being started maps the same files, if these are pickled for it.

    Args:
        folder: folder of the files, which is removed when the arrays are not used any more.
    """

    def __init__(self, folder: TemporaryFolder) -> None:
        self._folder, self._maps, self._read = folder, dict[str, mmap.mmap](), 0
        self._files = dict[str, FileIO]()

    def array(self, name: str, dtype: np.dtype) -> np.ndarray:
        """The values of a file of the folder."""
        if name not in self._files:
            self._keep(name, FileIO(self._folder.path / name))
        self._maps[name] = mmap.mmap(self._files[name].fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._maps[name], dtype=dtype)

    def __getstate__(self) -> dict[str, Any]:
        shared = {name: reduction.DupFd(file.fileno()) for name, file in self._files.items()}
        return {"_folder": None, "_maps": {}, "_read": 0, "_files": {}, "shared": shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shared = state.pop("shared")
        vars(self).update(state)
        for name, file in shared.items():
            self._keep(name, FileIO(file.detach()))

    def _keep(self, name: str, file: FileIO) -> None:
        self._files[name] = file
        finalize(self, file.close)

    def count(self, size: int, places: int = 1) -> None:
        """Give the pages back after a number of bytes was read, so that memory does not hold whole files.

        Args:
            size: bytes that were read.
            places: places of each file at which they were read.
        """
        self._read += size + places * len(self._maps) * MAPPED_BYTES
        if self._read > KEPT:
            self.release()

    def release(self) -> None:
        """Give the pages back; they are read again when they are used."""
        self._read = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps.values():
                mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True, eq=False)
class MappedTable(SeriesTable):
    """A table whose rows are in mapped files; some of its series are a table in memory.

    Args:
        files: files of the arrays.
        fingerprint: hash of the contents.
    """

    files: MappedFiles | None = None
    fingerprint: str = ""

    def take(self, positions: Sequence[int] | np.ndarray) -> SeriesTable:
        found = super().take(positions)
        copied = SeriesTable(**{one.name: _copied(getattr(found, one.name)) for one in fields(SeriesTable)})
        places = 1 + int(np.count_nonzero(np.diff(positions) != 1))
        self.mapped.count(copied.target.nbytes + 8 * len(copied.timestamps), places)
        return copied

    def blocks(self) -> Iterator[SeriesTable]:
        for begin, end in block_bounds(self.bounds, BLOCK_ROWS):
            yield self.take(np.arange(begin, end))

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if isinstance(found, FrameSeries):
            self.mapped.count(found.target.nbytes + 8 * len(found.timestamps))
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is not None:  # the files exist as long as the process that is being started
            contents = {one.name: getattr(self, one.name) for one in fields(self)}
            return _remapped, (contents | {name: _first_dimensions(contents[name]) for name in ROWS},)
        return SeriesTable, tuple(_copied(getattr(self, one.name)) for one in fields(SeriesTable))

    @property
    def mapped(self) -> MappedFiles:
        """The files of the arrays."""
        assert self.files is not None
        return self.files


def block_bounds(bounds: np.ndarray, limit: int) -> Iterator[tuple[int, int]]:
    """First series and end of blocks of consecutive series with about ``limit`` rows."""
    blocks = bounds[:-1] // limit
    begins = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
    yield from zip(begins, [*begins[1:], len(blocks)], strict=True)


@dataclass
class TableWriter:
    """Appends tables of series to files, and maps the files as one table.

    Args:
        folder: folder of the files, which is removed when the table is not used any more.
    """

    folder: TemporaryFolder
    names: list[PackedNames] = field(default_factory=list)
    lengths: list[np.ndarray] = field(default_factory=list)
    static: list[pd.DataFrame] = field(default_factory=list)
    labels: dict[str, dict[str, int] | None] = field(default_factory=dict)
    first: SeriesTable | None = None

    def __post_init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def append(self, table: SeriesTable) -> None:
        """Append the series of a table with the same columns.

        Raises:
            ValueError: for times or values of another kind than those before.
        """
        if self.first is None:
            self.first = table.take([0])
        _check_times(self.first.timestamps, table)
        self.names.append(PackedNames.of(table.names))
        self.lengths.append(table.lengths)
        self.static.append(table.static.reset_index(drop=True))
        self._hash.update(repr((table.items, table.lengths.tolist(), table.static.to_numpy().tolist())).encode())
        names = list(table.labels)
        known, past = (
            self._merged(rows, chosen, table)
            for rows, chosen in (
                (table.known, names[: len(table.known)]),
                (table.past, names[len(table.known) :]),
            )
        )
        rows = {"timestamps": _numbers(table.timestamps), "target": table.target, "known": known, "past": past}
        if table.weight is not None:
            rows["weight"] = table.weight
        for name, values in rows.items():
            data = np.ascontiguousarray(values.T)
            self._hash.update(data.tobytes())
            with (self.folder.path / name).open("ab") as file:
                data.tofile(file)

    def finish(self) -> MappedTable:
        """The table of all series."""
        assert self.first is not None, "a table has at least one series"
        files, first = MappedFiles(self.folder), self.first
        bounds = np.concatenate([[0], np.cumsum(np.concatenate(self.lengths))])
        self._sort_labels()
        labels = {name: None if found is None else sorted(found) for name, found in self.labels.items()}
        self._hash.update(repr(labels).encode())
        table = MappedTable(
            names=PackedNames.joined(self.names),
            bounds=bounds,
            static=pd.concat(self.static, ignore_index=True),
            labels=labels,
            **{name: _mapped(files, name, getattr(first, name), bounds[-1]) for name in ROWS},
            files=files,
            fingerprint=self._hash.hexdigest(),
        )
        self.folder.remove()  # mapped files remain readable, and none are left if the process is killed
        return table

    def _merged(self, rows: np.ndarray, names: Sequence[str], table: SeriesTable) -> np.ndarray:
        """Covariates with codes that number the labels of all tables by first appearance."""
        if not any(table.labels[name] is not None for name in names):
            for name in names:
                self.labels.setdefault(name, None)
            return rows
        merged = rows.copy()
        for number, name in enumerate(names):
            found = table.labels[name]
            if found is None:
                self.labels.setdefault(name, None)
                continue
            known = self.labels.setdefault(name, {})
            assert known is not None, "a column of a file has one type"
            codes = np.array([known.setdefault(label, len(known)) for label in found], dtype=np.float32)
            merged[number] = _recoded(rows[number], codes)
        return merged

    def _sort_labels(self) -> None:
        """Number the labels in their order, in place."""
        assert self.first is not None
        names, F = list(self.labels), len(self.first.known)
        for file, chosen in (("known", names[:F]), ("past", names[F:])):
            ranks = {number: _ranks(known) for number, name in enumerate(chosen) if (known := self.labels[name])}
            if not ranks:
                continue
            mapped = np.memmap(self.folder.path / file, dtype=np.float32, mode="r+")
            rows = mapped.reshape(-1, len(chosen))
            for begin in range(0, len(rows), BLOCK_ROWS):
                block = rows[begin : begin + BLOCK_ROWS]
                for number, codes in ranks.items():
                    block[:, number] = _recoded(block[:, number], codes)
            mapped.flush()


def _mapped(files: MappedFiles, name: str, like: Any, rows: int) -> Any:
    """The rows of a file, of the type and with the first dimensions of others; ``None`` as it is."""
    if like is None:
        return None
    if isinstance(like, pd.Index):
        return _times(files.array(name, _numbers(like).dtype), like)
    if not np.prod(like.shape[:-1]):
        return np.empty((*like.shape[:-1], rows), like.dtype)
    return files.array(name, like.dtype).reshape(-1, *like.shape[:-1]).T


def _first_dimensions(rows: Any) -> Any:
    """The type and the first dimensions of rows, as no rows."""
    return None if rows is None else rows[..., :0].copy() if isinstance(rows, np.ndarray) else rows[:0]


def _remapped(contents: dict[str, Any]) -> MappedTable:
    """A table of files that another process has opened; the contents have no rows."""
    rows = {name: _mapped(contents["files"], name, contents[name], contents["bounds"][-1]) for name in ROWS}
    return MappedTable(**contents | rows)


def _ranks(labels: dict[str, int]) -> np.ndarray:
    """Position of each label in their order, by its code."""
    ranks = np.empty(len(labels), dtype=np.float32)
    ranks[[labels[name] for name in sorted(labels)]] = np.arange(len(labels))
    return ranks


def _recoded(row: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Codes replaced by others, NaN where missing."""
    return np.append(codes, np.float32(np.nan))[np.where(np.isnan(row), len(codes), row).astype(np.int64)]


def _numbers(times: pd.Index) -> np.ndarray:
    """Times as they are stored: nanoseconds since 1970 in UTC of datetimes, and numbers as they are."""
    return times.as_unit("ns").asi8 if isinstance(times, pd.DatetimeIndex) else times.to_numpy()


def _times(numbers: np.ndarray, like: pd.Index) -> pd.Index:
    """Stored times as an index with the name and the time zone of another."""
    if not isinstance(like, pd.DatetimeIndex):
        return pd.Index(numbers, name=like.name)
    index = pd.DatetimeIndex(numbers.view("M8[ns]"), name=like.name)
    return index if like.tz is None else index.tz_localize("UTC").tz_convert(like.tz)


def _check_times(first: pd.Index, table: SeriesTable) -> None:
    """Raise ValueError if the times of a table have another time zone, or another type, than the first ones."""
    zones = [str(getattr(times, "tz", None)) for times in (first, table.timestamps)]
    kinds = [times.dtype.kind for times in (first, table.timestamps)]
    if zones[0] != zones[1] or kinds[0] != kinds[1]:
        raise ValueError(
            f"column {first.name!r} has times of different kinds or UTC offsets, such as {first[0]} and, in "
            f"{table.name(0)}, {table.timestamps[0]}; store them as timestamps of one time zone"
        )


def _copied(value: Any) -> Any:
    """An array or an index in memory; other values unchanged."""
    return value.copy() if isinstance(value, np.ndarray | pd.Index) else value
