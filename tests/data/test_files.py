"""The name of a file decides how it is read; errors are one line."""

import gzip
import sys
from zipfile import ZipFile

import numpy as np
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


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".tsv.gz"])
def test_tab_separated_files_may_have_decimal_commas(suffix, tmp_path):
    NUMBERS.to_csv(tmp_path / f"sales{suffix}", index=False, sep="\t", decimal=",")
    pd.testing.assert_frame_equal(read_file(tmp_path / f"sales{suffix}"), NUMBERS)


@pytest.mark.parametrize("sep, suffix", [(";", ".csv"), ("\t", ".tsv")])
@pytest.mark.parametrize("numbers", [["1.5", "2.25"], ["1.0", "2.0"], ["", "2.5"]])
@pytest.mark.parametrize("codes", [["3,5", "4,5"], ["0,00", "1,01"], ["0,00  1,01", "0,01"]])
def test_commas_in_text_beside_decimal_points_are_kept(sep, suffix, numbers, codes, tmp_path):
    path = tmp_path / f"sales{suffix}"
    pd.DataFrame({"code": codes, "target": numbers}).to_csv(path, index=False, sep=sep)
    found = read_file(path)
    assert found["code"].tolist() == codes
    np.testing.assert_array_equal(found["target"], [float(value or "nan") for value in numbers])


@pytest.mark.parametrize(
    "header, names",
    [
        ('timestamp;"target, kg"', ["timestamp", "target, kg"]),
        ('"timestamp, UTC"\t"target, kg, net"', ["timestamp, UTC", "target, kg, net"]),
        ('"timestamp; UTC","target; kg; net"', ["timestamp; UTC", "target; kg; net"]),
    ],
)
def test_separators_in_quoted_names(header, names, tmp_path):
    path = tmp_path / "sales.csv"
    sep = header.split('"target')[0][-1]
    path.write_text(f"\ufeff{header}\n2024-01-01{sep}2\n", encoding="utf-8")
    found = read_file(path)
    assert found.columns.tolist() == names and found.iloc[0].tolist() == ["2024-01-01", 2]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".jsonl"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_name_the_fix(suffix, encoding, tmp_path):
    path = tmp_path / f"sales{suffix}"
    content = '{"item_id": "K\u00f6ln"}\n'.encode(encoding)
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    with pytest.raises(ValueError, match=r"is not encoded in UTF-8; save the file as UTF-8$"):
        read_file(path)


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
