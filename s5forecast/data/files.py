"""Files of long frames: CSV, JSON, Parquet, Arrow and Excel."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

SEPARATORS = (",", ";", "\t", "|")


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file with the separator that its header has most often outside of quotes."""
    first = pd.read_csv(path, sep="\0", header=None, nrows=1, quoting=csv.QUOTE_NONE, na_filter=False, dtype=str)
    header = re.sub(r'"[^"]*"', "", str(first.iat[0, 0]))
    sep = max(SEPARATORS, key=header.count)
    return pd.read_csv(path) if sep == "," else _read_separated(path, sep)


def _read_separated(path: Path, sep: str) -> pd.DataFrame:
    """Read a file without commas between columns; the comma is the decimal mark if no number has a decimal point."""
    points, commas = (pd.read_csv(path, sep=sep, decimal=mark, low_memory=False) for mark in (".", ","))
    with_points, with_commas = (set(frame.select_dtypes("number")) for frame in (points, commas))
    return commas if with_points <= with_commas else points


# Reader of each kind of file, and the package that it requires besides pandas.
READERS: dict[str, tuple[Callable[[Path], Any], str | None]] = {
    ".csv": (_read_csv, None),
    ".tsv": (partial(_read_separated, sep="\t"), None),
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
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not encoded in UTF-8; save the file as UTF-8") from error
    except Exception as error:  # readers raise many types for damaged files
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
