"""Labels of series, and the columns that identify them."""

import json

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster
from s5forecast.data.items import given_items, join_keys, plain_keys, read_items, restored_keys


def tuples(values):
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


COLUMNS = {
    "text": (["b", "a"], ["b", "a"]),
    "integers": (np.array([7, 3]), [7, 3]),
    "categories of integers": (pd.Categorical([7, 3]), [7, 3]),
    "Arrow text": (pd.array(["b", "a"], dtype="string[pyarrow]"), ["b", "a"]),
    "tuples": (tuples([("b", 1), ("a", 2)]), ["('b', 1)", "('a', 2)"]),
    "dates": (pd.to_datetime(["2024-01-02", "2024-01-01"]), ["2024-01-02 00:00:00", "2024-01-01 00:00:00"]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_labels_and_columns(kind):
    values, labels = COLUMNS[kind]
    df = pd.DataFrame({"item": values}).iloc[[0, 0, 1, 0]]
    codes, keys = read_items(df, ["item"])
    assert codes.tolist() == [0, 0, 1, 0] and keys.index.tolist() == labels
    assert keys["item"].dtype == df["item"].dtype and given_items(keys) == pd.Series(values).tolist()
    restored = restored_keys(json.loads(json.dumps(plain_keys(keys))), labels)
    pd.testing.assert_frame_equal(restored, keys)


def test_several_columns_have_one_label():
    df = pd.DataFrame({"store": ["a", "b", "a", "b"], "sku": [1.0, 1.0, 2.5, 1.0]})
    codes, keys = read_items(df, ["store", "sku"])
    assert codes.tolist() == [0, 1, 2, 1]
    assert keys.index.tolist() == ["store=a, sku=1", "store=b, sku=1", "store=a, sku=2.5"]
    assert given_items(keys) == [("a", 1.0), ("b", 1.0), ("a", 2.5)]
    assert read_items(df.astype({"store": "category"}), ["store", "sku"]).labels == keys.index.tolist()


def test_a_frame_without_columns_that_identify_series():
    codes, keys = read_items(pd.DataFrame({"target": [1.0, 2.0]}), [])
    assert codes.tolist() == [0, 0] and keys.index.tolist() == [None] and given_items(keys) == [None]


def test_categories_of_both():
    first, second = (read_items(pd.DataFrame({"item": pd.Categorical([name])}), ["item"]).keys for name in "ba")
    assert join_keys(first, second)["item"].cat.categories.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", None], "future=: column 'item' has missing values"),
        ([["a"], ["b"]], r"future=: column 'item' cannot identify series.*convert it to text"),
        (tuples([("a",), "('a',)"]), r"several series have the name \"\('a',\)\"; rename"),
    ],
)
def test_columns_that_cannot_identify_series(values, message):
    with pytest.raises(ValueError, match=message):
        read_items(pd.DataFrame({"item": values}), ["item"], "future=")


def test_errors_name_the_columns_and_the_series():
    times = pd.date_range("2024-01-01", periods=3, freq="D")
    df = pd.DataFrame({"store": "a", "sku": 1, "timestamp": times, "target": [1.0, 2.0, np.inf]})
    forecaster = S5Forecaster(2, "D", item_id=["store", "sku"], verbose=False)
    with pytest.raises(ValueError, match="series 'store=a, sku=1': column 'target' is infinite"):
        forecaster.fit(df)
    with pytest.raises(ValueError, match="df has no column 'sku'"):
        forecaster.fit(df.drop(columns="sku"))
    with pytest.raises(ValueError, match=r"each column must have one role, but \['store'\]"):
        S5Forecaster(2, "D", item_id=["store", "sku"], static=["store"]).fit(df)
