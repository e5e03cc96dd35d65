"""Files whose columns differ in type are read with a type that holds all values, or refused with the fix."""

import numpy as np
import pandas as pd
import pytest

from s5forecast import DiskData, S5Forecaster

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install '.[disk]'")
ds = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")
COLUMNS = S5Forecaster(3)._columns
TIME = pa.timestamp("ns")


def stored(path, *files):
    """One file for each table of columns, as values or as arrays of Arrow."""
    for number, columns in enumerate(files):
        parquet.write_table(pa.table(columns), path / f"{number}.parquet")
    return path


def table(items=("b", "a", "b"), times=(3, 2, 1), target=(1.0, 2.0, 3.0), **types):
    given = {"item_id": items, "timestamp": pa.array(times, pa.int64()).cast(TIME), "target": target}
    return {name: pa.array(one).cast(types[name]) if name in types else pa.array(one) for name, one in given.items()}


def read(source, monkeypatch):
    monkeypatch.setattr("s5forecast.data.disk_data.PART_ROWS", 2)
    return pd.concat(DiskData(source).frames(COLUMNS))


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.null(), pa.float64(), pa.float64()),
        (pa.float32(), pa.float32(), pa.float32()),
    ],
    ids=str,
)
@pytest.mark.parametrize("swapped", [False, True])
def test_numbers(first, second, common, swapped, tmp_path, monkeypatch):
    values = {kind: np.arange(3) + (0.1 if kind == pa.float64() else 1000 * (kind == pa.int64())) for kind in
              (first, second)}  # fmt: skip
    arrays = [
        pa.nulls(3) if kind == pa.null() else pa.array(values[kind]).cast(kind, safe=False) for kind in (first, second)
    ]
    tables = [table(items=["a", "b", "c"]), table(items=["d", "e", "f"])]
    files = [found | {"target": array} for found, array in zip(tables, arrays, strict=True)]
    path = stored(tmp_path, *(files[::-1] if swapped else files))
    assert DiskData(path).schema.field("target").type == common
    found = read(path, monkeypatch).set_index("item_id").loc[list("abcdef"), "target"]
    expected = [value for array in arrays for value in array.cast(common).to_pylist()]
    np.testing.assert_array_equal(found, np.array(expected, dtype=float))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pa.string(), pa.large_string()),
        (pa.string(), pa.string_view()),
        (pa.string_view(), pa.string_view()),
        (pa.string(), pa.dictionary(pa.int32(), pa.string())),
        (pa.dictionary(pa.int32(), pa.string()), pa.string()),
        (pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_text(first, second, tmp_path, monkeypatch):
    path = stored(tmp_path, table(item_id=first), table(items=["c", "a", "é"], times=[1, 1, 1], item_id=second))
    assert sorted(read(path, monkeypatch)["item_id"]) == ["a", "a", "b", "b", "c", "é"]


def test_times_of_several_units(tmp_path, monkeypatch):
    whole = table(timestamp=pa.timestamp("ms"), times=[3_000_000, 2_000_000, 1_000_000])
    found = read(stored(tmp_path, whole, table(items=["c"] * 3)), monkeypatch)
    assert sorted(found["timestamp"].astype("int64")) == [1, 2, 3, 1_000_000, 2_000_000, 3_000_000]


def test_files_without_rows(tmp_path, monkeypatch):
    empty = table(items=pa.array([], pa.string()), times=[], target=pa.array([], pa.float64()))
    expected = read(stored(tmp_path, table()), monkeypatch)
    pd.testing.assert_frame_equal(read(stored(tmp_path, empty, table(), empty), monkeypatch), expected)


def test_filtered_datasets(tmp_path, monkeypatch):
    path = stored(tmp_path, table(), table(items=["c"] * 3))
    found = read(ds.dataset(path).filter(ds.field("item_id") == "c"), monkeypatch)
    assert found["item_id"].tolist() == ["c"] * 3


@pytest.mark.parametrize(
    ("column", "second"),
    [
        ("item_id", {"items": [1, 2, 3]}),
        ("timestamp", {"timestamp": pa.timestamp("ns", "UTC")}),
        ("target", {"target": ["1", "2", "3"]}),
    ],
)
def test_types_without_a_common_one(column, second, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=rf"df: column '{column}' is .* in the file .*1\.parquet, and .* in others"):
        read(stored(tmp_path, table(), table(**second)), monkeypatch)


def test_columns_without_a_role_may_differ(tmp_path, monkeypatch):
    path = stored(tmp_path, table() | {"note": ["x", "y", "z"]}, table(items=["c"] * 3) | {"note": [1, 2, 3]})
    assert len(read(path, monkeypatch)) == 6


def test_column_that_only_later_files_have(tmp_path, monkeypatch):
    first = {name: values for name, values in table().items() if name != "target"}
    with pytest.raises(ValueError, match=r"the file .*0\.parquet has no column 'target', unlike others"):
        read(stored(tmp_path, first, table()), monkeypatch)


def test_values_that_the_schema_of_a_dataset_does_not_hold(tmp_path, monkeypatch):
    path = stored(tmp_path, table(target=[1, 2, 3]), table())
    parquet.write_table(pa.table(table(target=[0.5, 1.5, 2.5])), path / "1.parquet")
    with pytest.raises(ValueError, match=r"the file .*1\.parquet has values that cannot be converted to the types"):
        read(ds.dataset(path), monkeypatch)


def test_items_that_cannot_be_told_apart(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"values of type list<.*> cannot identify series; convert them to text"):
        read(stored(tmp_path, table(items=[["a"], ["b"], ["a"]])), monkeypatch)
