"""The name of a file decides how it is read; errors are one line."""

import sys
from zipfile import ZipFile

import pandas as pd
import pytest

from s5forecast.data.files import READERS, read_file

DF = pd.DataFrame({"item_id": ["a", "b"], "target": [1.5, 2.0]})
WRITERS = {
    ".csv": lambda path: DF.to_csv(path, index=False),
    ".CSV": lambda path: DF.to_csv(path, index=False),
    ".csv.gz": lambda path: DF.to_csv(path, index=False),
    ".CSV.ZIP": lambda path: DF.to_csv(path, index=False),
    ".tsv": lambda path: DF.to_csv(path, index=False, sep="\t"),
    ".json": lambda path: DF.to_json(path, orient="records"),
    ".jsonl": lambda path: DF.to_json(path, orient="records", lines=True),
    ".ndjson.xz": lambda path: DF.to_json(path, orient="records", lines=True),
    ".parquet": DF.to_parquet,
    ".pq": DF.to_parquet,
    ".feather": DF.to_feather,
    ".arrow": DF.to_feather,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_kind_of_file(suffix, tmp_path):
    if suffix in (".parquet", ".pq", ".feather", ".arrow"):
        pytest.importorskip("pyarrow", reason="the extra polars is not installed")
    WRITERS[suffix](tmp_path / f"sales.2024{suffix}")
    pd.testing.assert_frame_equal(read_file(tmp_path / f"sales.2024{suffix}"), DF)


NUMBERS = DF.assign(target=[1.5, -20.25], count=[1, 2])


@pytest.mark.parametrize("sep", [";", "\t", "|"])
@pytest.mark.parametrize("decimal", [",", "."])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_with_other_separators(sep, decimal, suffix, tmp_path):
    path = tmp_path / f"sales{suffix}"
    NUMBERS.assign(note=["a, b", None]).to_csv(path, index=False, sep=sep, decimal=decimal)
    found = read_file(path)
    pd.testing.assert_frame_equal(found.drop(columns="note"), NUMBERS)
    assert found["note"].tolist()[0] == "a, b"


def test_one_column_is_read(tmp_path):
    DF[["target"]].to_csv(tmp_path / "sales.csv", index=False)
    pd.testing.assert_frame_equal(read_file(tmp_path / "sales.csv"), DF[["target"]])


@pytest.mark.parametrize("name", ["sales", "sales.dat", "sales.gz", "sales.csv.rar"])
def test_other_names_list_those_that_are_read(name, tmp_path):
    with pytest.raises(
        ValueError, match=r"must end with one of \.csv, \.tsv, .*\.parquet.*compressed \(\.gz"
    ) as raised:
        read_file(tmp_path / name)
    assert all(suffix in str(raised.value) for suffix in READERS)


@pytest.mark.parametrize("suffix", [".csv", ".csv.zip", ".csv.gz", ".json", ".jsonl", ".parquet", ".arrow"])
def test_damaged_files(suffix, tmp_path):
    path = tmp_path / f"sales{suffix}"
    path.write_bytes(b"" if suffix == ".csv" else b"{1\n2,\n")
    with pytest.raises((ValueError, OSError)) as raised:
        read_file(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "suffix, package",
    [(".parquet", "pyarrow"), (".feather", "pyarrow"), (".xlsx", "openpyxl"), (".csv.zst", "zstandard")],
)
def test_missing_packages_are_named(suffix, package, tmp_path, monkeypatch):
    for name in ("pyarrow", "fastparquet", "openpyxl", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    path = tmp_path / f"sales{suffix}"
    with ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(ValueError, match=f"requires the package {package}; run pip install {package}$"):
        read_file(path)
