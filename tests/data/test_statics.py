"""Static columns of any dtype: numbers or categories, as decided in training."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.frames import Columns
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.static_columns import category_code, static_values
from s5forecast.data.statics import StaticFeatures

COLUMNS = Columns(static=("shop",))
SAMPLINGS = {"regular": RegularSampling(COLUMNS, 2), "irregular": IrregularSampling(COLUMNS, "1D")}


def frame(values):
    """One series of four days for each value of the static column."""
    days = pd.date_range("2024-01-01", periods=4, freq="D")
    shop = pd.Series(values) if not isinstance(values, pd.Series) else values
    return pd.DataFrame(
        {
            "item_id": np.repeat([f"item {number}" for number in range(len(shop))], 4),
            "timestamp": np.tile(days, len(shop)),
            "target": np.arange(4.0 * len(shop)),
            "shop": shop.repeat(4).reset_index(drop=True),
        }
    )


def learned(values, kind="regular"):
    sampling, series = SAMPLINGS[kind].learn(frame(values))
    return sampling, StaticFeatures.learn(series, COLUMNS)


def codes(sampling, statics, values):
    entries = sampling.entries(sampling.read(frame(values)), statics)
    field = "feat_static_cat" if statics.categorical else "feat_static_real"
    return [entry[field][0] for entry in entries]


NUMBERS = {
    "integers": pd.Series([1, 2, 1]),
    "floats": pd.Series([1.0, 2.0, 1.0]),
    "nullable": pd.Series([1, None, 1], dtype="Int64"),
    "nullable floats": pd.Series([1.0, None, 1.0], dtype="Float64"),
    "Arrow integers": pd.Series([1, 2, None], dtype="int64[pyarrow]"),
    "Arrow floats": pd.Series([1, 2, 1], dtype="double[pyarrow]"),
    "objects": pd.Series([1, None, 2.5], dtype=object),
    "decimals": pd.Series([Decimal("1.5"), Decimal(2), None], dtype=object),
}
CATEGORIES = {
    "text": pd.Series(["1", "2", "1"]),
    "text with zeros": pd.Series(["01", "02", "01"]),
    "category": pd.Series(["x", "y", None], dtype="category"),
    "category of integers": pd.Series([1, 2, 1], dtype="category"),
    "category of floats": pd.Series([1.0, 2.5, 1.0], dtype="category"),
    "bool": pd.Series([True, False, True]),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "Arrow bool": pd.Series([True, False, True], dtype="bool[pyarrow]"),
    "Arrow text": pd.Series(["x", "y", "x"], dtype="string[pyarrow]"),
    "Arrow dictionary": pd.Series(["x", "y", "x"]).astype("category").astype("string[pyarrow]").astype("category"),
    "dates": pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"])),
    "mixed": pd.Series(["x", 1, 1.0], dtype=object),
    "one category": pd.Series(["x", "x", "x"], dtype="category"),
}


@pytest.mark.parametrize("kind", SAMPLINGS)
@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_any_dtype(kind, dtype):
    values = NUMBERS[dtype]
    sampling, statics = learned(values, kind)
    assert statics.real == ["shop"] and not statics.categorical
    expected = [np.nan if pd.isna(value) else float(value) for value in values]
    np.testing.assert_array_equal(codes(sampling, statics, values), np.float32(expected))


@pytest.mark.parametrize("kind", SAMPLINGS)
@pytest.mark.parametrize("dtype", CATEGORIES)
def test_categories_of_any_dtype(kind, dtype):
    values = CATEGORIES[dtype]
    sampling, statics = learned(values, kind)
    assert statics.categorical == ["shop"] and not statics.real
    assert statics.cardinality == [values.dropna().astype(str).str.removesuffix(".0").nunique()]
    found = codes(sampling, statics, values)
    assert [code == -1 for code in found] == values.isna().tolist()
    assert len({code for code in found if code >= 0}) == statics.cardinality[0]


# Values in training, the same values in prediction with another dtype.
CHANGES = {
    "category of integers to integers": (pd.Series([1, 2], dtype="category"), pd.Series([1, 2])),
    "category of integers to floats": (pd.Series([1, 2], dtype="category"), pd.Series([1.0, 2.0])),
    "category of integers to text": (pd.Series([1, 2], dtype="category"), pd.Series(["1", "2"])),
    "category of floats to integers": (pd.Series([1.0, 2.0], dtype="category"), pd.Series([1, 2])),
    "nullable to floats": (pd.Series([1, 2, None], dtype="Int64"), pd.Series([1.0, 2.0, np.nan])),
    "integers to Arrow": (pd.Series([1, 2]), pd.Series([1, 2], dtype="int64[pyarrow]")),
    "bool to numbers": (pd.Series([False, True]), pd.Series([0, 1])),
    "bool to floats": (pd.Series([False, True]), pd.Series([0.0, 1.0])),
    "bool to boolean": (pd.Series([False, True]), pd.Series([False, True], dtype="boolean")),
    "text to category": (pd.Series(["x", "y"]), pd.Series(["x", "y"], dtype="category")),
    "text to Arrow": (pd.Series(["x", "y"]), pd.Series(["x", "y"], dtype="string[pyarrow]")),
    "integers to text": (pd.Series([1, 2]), pd.Series(["1", "2"])),
}


@pytest.mark.parametrize("kind", SAMPLINGS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_dtype_of_the_training_decides(kind, change):
    trained, given = CHANGES[change]
    sampling, statics = learned(trained, kind)
    np.testing.assert_array_equal(codes(sampling, statics, given), codes(sampling, statics, trained))


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_one_warning_if_no_category_is_known(kind):
    sampling, statics = learned(pd.Series(["01", "02", "03", "04"]), kind)
    with pytest.warns(
        UserWarning, match=r"no value of .* 'shop' .* had \['01', '02', '03'\] and 1 more; found \['1', '2'\]"
    ) as caught:
        assert codes(sampling, statics, pd.Series([1, 2])) == [-1, -1]
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert codes(sampling, statics, pd.Series(["01", "new"])) == [0, -1]
        assert codes(sampling, statics, pd.Series([None, None], dtype=object)) == [-1, -1]


def test_text_for_a_numeric_column_is_refused():
    sampling, statics = learned(pd.Series([1, 2]))
    with pytest.raises(ValueError, match="series 'item 1': static column 'shop' was numeric in training but is 'wide'"):
        codes(sampling, statics, pd.Series(["1", "wide"]))


def test_categories_of_earlier_versions():
    statics = StaticFeatures([], ["shop"], [["1.0", "2.5"]])
    assert codes(SAMPLINGS["irregular"], statics, pd.Series([1.0, 2.5, 1.0])) == [0, 1, 0]


@pytest.mark.parametrize("text", [["2024-01-01"], ["x"], [None, "x"]])
def test_labels_of_one_category(text):
    assert static_values(pd.Series(text, dtype="category")).tolist() == text


@pytest.mark.parametrize("kind", SAMPLINGS)
def test_infinite_numbers_name_the_series_and_the_column(kind):
    with pytest.raises(ValueError, match="series 'item 1': static column 'shop' is infinite; correct"):
        learned(pd.Series([1.0, np.inf]), kind)


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", np.float32(1), Decimal(1)])
def test_spellings_of_one_category(value):
    assert category_code(value, ["0.5", "1"]) == category_code(value, ["0", "1.0"]) == 1
    assert category_code(value, ["2", "3"]) == -1
    assert category_code(value, ["False", "True"]) == 1
