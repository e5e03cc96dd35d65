"""All rows of every kind of dataset are read in order, few at a time."""

import time

import pandas as pd
import pytest

from s5forecast.data import record_batches as reading

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")
ds = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def files(tmp_path):
    for number in range(2):
        frame = pd.DataFrame({"a": range(10 * number, 10 * number + 10), "b": number})
        frame.to_parquet(tmp_path / f"{number}.parquet", index=False, row_group_size=4)
    return ds.dataset(tmp_path)


def rows(dataset):
    return [row for batch in reading.record_batches(dataset, ["a"]) for row in batch.column("a").to_pylist()]


def test_rows_of_every_kind_of_dataset(files, tmp_path):
    assert rows(files) == list(range(20))
    assert rows(files.filter(ds.field("a") < 5)) == list(range(5))
    assert rows(ds.dataset([files, files])) == [*range(20), *range(20)]
    assert rows(ds.dataset(pa.table({"a": [3, 1, 2]}))) == [3, 1, 2]
    (tmp_path / "rows.csv").write_text("a,b\n5,1\n4,1\n")
    assert rows(ds.dataset(tmp_path / "rows.csv", format="csv")) == [5, 4]


def test_columns_of_folders(tmp_path):
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"]})
    frame.to_parquet(tmp_path / "rows", partition_cols=["b"])
    (first, second) = reading.record_batches(ds.dataset(tmp_path / "rows", partitioning="hive"), ["b", "a"])
    assert first.to_pydict() == {"b": ["x", "x"], "a": [1, 3]} and second.to_pydict() == {"b": ["y"], "a": [2]}


def test_files_are_not_read_ahead(tmp_path):
    values = pa.table({"a": list(range(400_000))})
    parquet.write_table(values, tmp_path / "rows.parquet", row_group_size=10_000)
    before, found = pa.total_allocated_bytes(), []
    for _ in reading.record_batches(ds.dataset(tmp_path / "rows.parquet"), ["a"]):
        time.sleep(0.002)
        found.append(pa.total_allocated_bytes() - before)
    assert len(found) == 40 and max(found) < values.nbytes / 4
