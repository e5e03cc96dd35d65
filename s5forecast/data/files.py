"""Files of long frames: CSV, JSON, Parquet, Arrow and Excel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

# Characters that separate the columns of CSV files in which the comma is the decimal mark.
OTHER_SEPARATORS = (";", "\t", "|")


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file, also one with another separator; then text such as ``1,5`` is read as a number."""
    names = pd.read_csv(path, nrows=0).columns
    separators = [one for one in OTHER_SEPARATORS if len(names) == 1 and one in names[0]]
    if not separators:
        return pd.read_csv(path)
    frame = pd.read_csv(path, sep=separators[0])
    text = frame.select_dtypes(exclude="number")
    if any(map(_has_decimal_commas, text.items())):
        return pd.read_csv(path, sep=separators[0], decimal=",")
    return frame


def _has_decimal_commas(column: tuple[Any, pd.Series]) -> bool:
    """Whether all values of a column of text are numbers, with a comma in some of them."""
    found = column[1].dropna().astype("string")
    return bool(found.str.contains(",").any() and found.str.fullmatch(r"\s*[-+]?\d*(,\d*)?\s*").all())


# Reader of each kind of file, and the package that it requires besides pandas.
READERS: dict[str, tuple[Callable[[Path], Any], str | None]] = {
    ".csv": (_read_csv, None),
    ".tsv": (partial(pd.read_csv, sep="\t"), None),
    ".json": (pd.read_json, None),
    ".jsonl": (partial(pd.read_json, lines=True), None),
    ".ndjson": (partial(pd.read_json, lines=True), None),
    ".parquet": (pd.read_parquet, "pyarrow"),
    ".pq": (pd.read_parquet, "pyarrow"),
    ".feather": (pd.read_feather, "pyarrow"),
    ".arrow": (pd.read_feather, "pyarrow"),
    ".xlsx": (pd.read_excel, "openpyxl"),
}
# Compressions of text files, which pandas infers, and the package that they require.
COMPRESSIONS = {".gz": None, ".bz2": None, ".xz": None, ".zip": None, ".zst": "zstandard"}


def read_file(path: Path) -> pd.DataFrame:
    """Read a file by the reader for the end of its name, as in ``sales.csv`` or ``Sales.CSV.gz``.

    Raises:
        ValueError: for a file of another kind or with damaged content, or a package that is not installed.
        OSError: if it cannot be opened.
    """
    *_, before, last = ["", "", *(suffix.lower() for suffix in path.suffixes)]
    kind = before if last in COMPRESSIONS else last
    if kind not in READERS:
        raise ValueError(
            f"{path} cannot be read; its name must end with one of {', '.join(READERS)}. CSV and JSON files may also "
            f"be compressed ({', '.join(COMPRESSIONS)})"
        )
    read, package = READERS[kind]
    try:
        return read(path)
    except ImportError as error:
        required = COMPRESSIONS.get(last) or package or error.name
        raise ValueError(f"{path} requires the package {required}; run pip install {required}") from error
    except OSError:
        raise
    except Exception as error:  # readers raise many types for damaged files
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
