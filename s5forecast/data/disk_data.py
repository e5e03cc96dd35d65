"""Rows in files, which are read in parts of whole series and kept in memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from s5forecast.data.arrow_files import check_columns, open_dataset
from s5forecast.data.common_frequency import OtherFrequencyError
from s5forecast.data.conversion import arrow_to_pandas
from s5forecast.data.faults import SeriesError, wants_all_errors
from s5forecast.data.frames import Columns, needed_columns, series_name, without_series
from s5forecast.data.items import join_keys
from s5forecast.data.mapped_table import TableWriter
from s5forecast.data.partitions import consecutive_parts, part_of_series, read_part, write_parts
from s5forecast.data.record_batches import record_batches
from s5forecast.data.series_numbers import SeriesNumbers, series_codes
from s5forecast.data.table import SeriesTable
from s5forecast.data.temporary_folder import TemporaryFolder
from s5forecast.notices import one_warning_each

# Rows of a part, which is sorted and checked in memory.
PART_ROWS = 2**18
Read = Callable[[pd.DataFrame], SeriesTable]
T = TypeVar("T")


class DiskData:
    """Long data in files that may be larger than memory, in place of a data frame.

    The rows of a series may be in any order and in several files. They are divided into parts of whole series, which
    are sorted and checked one after the other; the series are then kept in memory-mapped files.

    Args:
        source: a Parquet file, a folder of Parquet files, a pattern such as ``"sales/*.parquet"``, or a
            ``pyarrow.dataset.Dataset``.
        folder: folder for the temporary files, which take about as much space as the uncompressed columns; that of the
            system by default. They are removed when they are not used any more.

    Raises:
        ImportError: if pyarrow is not installed.
        ValueError: if there are no files.

    Example:
        >>> from s5forecast import DiskData, S5Forecaster
        >>> data = DiskData("sales/*.parquet", folder="/scratch")  # doctest: +SKIP
        >>> S5Forecaster.pretrained(28).predict(data, output="forecasts/")  # doctest: +SKIP
    """

    def __init__(self, source: Any, folder: str | Path | None = None) -> None:
        self.dataset, self.from_path = open_dataset(source), isinstance(source, str | Path)
        self.folder = None if folder is None else Path(folder)
        self._rows: dict[Any, _Rows] = {}
        self._bad: list[pd.DataFrame] = []  # keys of series with an error
        self._left_out: dict[str, str] = {}  # reason by name

    @classmethod
    def of(cls, data: Any) -> DiskData:
        """The data of a path or a dataset; ``DiskData`` itself."""
        return data if isinstance(data, cls) else cls(data)

    def __len__(self) -> int:
        """Number of series that are not left out; of rows if they have not been read yet."""
        if not self._rows:
            return int(self.dataset.count_rows())
        return max(rows.num_series for rows in self._rows.values()) - len(self._left_out)

    @property
    def schema(self) -> Any:
        """Arrow schema of the rows."""
        return self.dataset.schema

    @property
    def empty(self) -> pd.DataFrame:
        """A frame with the columns and no rows."""
        return arrow_to_pandas(self.schema.empty_table())

    def without(self, reasons: Mapping[str, str]) -> tuple[DiskData, pd.DataFrame]:
        """The data without the series of the given names, and the keys of these series in the order of the names."""
        keys = join_keys(*self._bad) if self._bad else pd.DataFrame()
        positions = {series_name(label): position for position, label in enumerate(keys.index.tolist())}
        left = [name for name in reasons if name in positions]
        found = DiskData(self.dataset, self.folder)
        found._rows, found._bad = self._rows, self._bad
        found._left_out = {**self._left_out, **{name: reasons[name] for name in left}}
        return found, keys.iloc[[positions[name] for name in left]]

    def table(self, columns: Columns, read: Read, what: str = "df") -> SeriesTable:
        """The series of all parts, in order of first appearance, with their rows in mapped files.

        Args:
            columns: roles of the columns.
            read: checks the rows of a part and converts them to series.
            what: name of the data in error messages.

        Raises:
            SeriesError: with the errors of all series if they are left out, else with those of the first part that has
                any; ValueError: for other errors.
        """
        writer, reasons = TableWriter(TemporaryFolder(self.temporary())), dict[str, str]()
        with one_warning_each():
            for frame in self.frames(columns, what):
                table, errors = self._valid(frame, columns, read, what)
                reasons |= errors
                if table is not None:
                    writer.append(table)
        if reasons:
            raise SeriesError(reasons)
        return writer.finish()

    def first(self, columns: Columns, find: Callable[[pd.DataFrame], T | None], what: str = "df") -> T | None:
        """The first result of a function of a part that is not ``None``; arguments and errors as of :meth:`table`."""
        found = (self._valid(frame, columns, find, what)[0] for frame in self.frames(columns, what))
        return next((one for one in found if one is not None), None)

    def _valid(
        self, frame: pd.DataFrame, columns: Columns, read: Callable[[pd.DataFrame], T], what: str
    ) -> tuple[T | None, dict[str, str]]:
        """The result for the valid series of a part, if there are any, and the errors of the others by name.

        Raises:
            SeriesError: if the errors of all series are not needed.
        """
        reasons: dict[str, str] = {}
        while len(frame):
            try:
                return read(frame), reasons
            except SeriesError as error:
                if not (wants_all_errors() or isinstance(error, OtherFrequencyError)):
                    raise
                frame, keys = without_series(frame, error.reasons, columns, what)
                if not len(keys):
                    raise
                self._bad.append(keys)
                reasons |= error.reasons
        return None, reasons

    def frames(self, columns: Columns, what: str = "df") -> Iterator[pd.DataFrame]:
        """The rows of the parts, with the columns that have a role, without series that are left out.

        Raises:
            ValueError: for data without rows, or without one of the columns.
        """
        for table in self._divided(columns, what).tables():
            frame = arrow_to_pandas(table)
            if self._left_out:
                frame, _ = without_series(frame, self._left_out, columns, what)
            yield frame

    def batches(self, names: Sequence[str]) -> Iterator[Any]:
        """Record batches of some columns, in the order of the files."""
        yield from record_batches(self.dataset, list(names))

    def num_series(self, columns: Columns, what: str = "df") -> int:
        """Number of series that are not left out."""
        return self._divided(columns, what).num_series - len(self._left_out)

    def temporary(self) -> Path | None:
        """The folder for temporary files; ``None`` for that of the system."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def _divided(self, columns: Columns, what: str) -> _Rows:
        identity, needed = needed_columns(self.empty, columns, what)
        key = (*identity, None, *needed)
        if key not in self._rows:
            check_columns(self.dataset, needed, what, same_types=self.from_path)
            self._rows[key] = _Rows(self.dataset, identity, needed, self.temporary(), what)
        return self._rows[key]


class _Rows:
    """The rows of a dataset in parts of whole series, in order of first appearance."""

    def __init__(self, dataset: Any, identity: list[str], names: list[str], folder: Path | None, what: str) -> None:
        self._dataset, self._names = dataset, names
        numbers, counts, self._sorted = _counted(dataset, identity)
        if not counts.sum():
            raise ValueError(f"{what} has no rows")
        self.num_series = len(counts)
        parts = part_of_series(counts, PART_ROWS, written=not self._sorted)
        self._lengths = np.bincount(parts, weights=counts).astype(np.int64)
        self._folder: Any = None
        if not self._sorted:

            def parts_of(batch: Any) -> np.ndarray:
                codes, hashes = series_codes([batch.column(name) for name in identity])
                return parts[numbers.find(hashes)][codes]

            self._folder = TemporaryFolder(folder)
            write_parts(self._batches(), parts_of, self._folder.path)

    def tables(self) -> Iterator[Any]:
        """Arrow table of each part."""
        if self._sorted:
            yield from consecutive_parts(self._batches(), self._lengths, self._schema)
            return
        for part in range(len(self._lengths)):
            yield read_part(self._folder.path, part, self._schema)

    @property
    def _schema(self) -> Any:
        import pyarrow as pa

        return pa.schema([self._dataset.schema.field(name) for name in self._names])

    def _batches(self) -> Iterator[Any]:
        yield from record_batches(self._dataset, self._names)


def read_parts(data: Any, columns: Columns, read: Read, what: str = "df") -> SeriesTable:
    """The series of a frame, or of data on disk, whose parts are read one after the other."""
    return data.table(columns, read, what) if isinstance(data, DiskData) else read(data)


def is_on_disk(data: Any) -> bool:
    """Whether data are a path, a dataset of Arrow, or ``DiskData``."""
    if isinstance(data, str | Path | DiskData):
        return True
    return type(data).__module__.startswith("pyarrow") and hasattr(data, "to_batches") and hasattr(data, "scanner")


def _counted(dataset: Any, identity: list[str]) -> tuple[SeriesNumbers, np.ndarray, bool]:
    """Numbers of the series, rows of each, ``[S]``, and whether the rows of each series are consecutive."""
    numbers, counts, ordered, last = SeriesNumbers(), np.zeros(0, dtype=np.int64), True, 0
    if not identity:
        return numbers, np.array([dataset.count_rows()]), True
    for batch in record_batches(dataset, identity):
        codes, hashes = series_codes([batch.column(name) for name in identity])
        rows = numbers.add(hashes)[codes]
        ordered = ordered and rows[0] >= last and bool((np.diff(rows) >= 0).all())
        last = rows[-1]
        counts = np.append(counts, np.zeros(len(numbers) - len(counts), dtype=np.int64))
        counts += np.bincount(rows, minlength=len(counts))
    return numbers, counts, ordered
