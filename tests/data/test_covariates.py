import numpy as np
import pandas as pd
import pytest

from s5forecast.data.covariates import covariate_values, decoded, encoded, is_categorical
from s5forecast.data.entries import read_series
from s5forecast.data.frames import Columns
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.spec import FeatureSpec, WindowSpec
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import read_table

COLUMNS = Columns(known=("price", "event"), past=("sky", "wind"), weight="importance")
DAYS = pd.date_range("2024-01-01", periods=6)


def frame(items="ab"):
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": DAYS,
                "target": np.arange(6.0) + 10 * number,
                "price": np.linspace(1, 2, 6),
                "event": ["none", "sale", None, "fair", "none", "sale"],
                "sky": pd.Categorical(["sun", "rain", "sun", "sun", "rain", "sun"]),
                "wind": [1.0, np.nan, 3, 4, 5, 6],
                "importance": 1.0 + number,
            }
        )
        for number, item in enumerate(items)
    ]
    return pd.concat(parts, ignore_index=True)


KINDS = {
    "text": (pd.Series(["a", "b", None]), True),
    "string dtype": (pd.Series(["a", None], dtype="string"), True),
    "bool": (pd.Series([True, False]), True),
    "nullable bool": (pd.Series([True, None], dtype="boolean"), True),
    "objects that are booleans": (pd.Series([True, None], dtype=object), True),
    "category of numbers": (pd.Series([1, 2]).astype("category"), True),
    "numbers": (pd.Series([1.5, None]), False),
    "nullable numbers": (pd.Series([1, None], dtype="Int64"), False),
    "objects that are numbers": (pd.Series([1, 2.5], dtype=object), False),
    "missing objects": (pd.Series([None, None], dtype=object), True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_decide_whether_a_column_is_categorical(kind):
    values, expected = KINDS[kind]
    assert is_categorical(values) == expected


@pytest.mark.parametrize(
    "values, fix",
    [(["1", "2", "3"], "pd.to_numeric"), (["1,5", "2,5", "3,5"], "decimal=','"), ([1, 2, "x"], "numeric")],
)
def test_text_that_stands_for_numbers_is_no_category(values, fix):
    times, codes = pd.Series(DAYS[:3]), np.array([0, 0, 0])
    with pytest.raises(ValueError, match=f"series 'a': column 'price' must hold numbers.*{fix}"):
        covariate_values(pd.Series(values, name="price", dtype=object), times, codes, ["series 'a'"])


def test_rows_and_labels_of_a_frame():
    table = read_table(frame(), COLUMNS)
    assert table.known.shape == table.past.shape == (2, 12)
    assert table.labels == {"price": None, "event": ["fair", "none", "sale"], "sky": ["rain", "sun"], "wind": None}
    events = pd.Series(decoded("event", table.known[1], table.labels)[:4])
    assert (
        events.tolist() == ["none", "sale", np.nan, "fair"] and events.cat.categories.tolist() == table.labels["event"]
    )
    assert table.weight.tolist() == [1.0] * 6 + [2.0] * 6
    part = table.take([1])
    assert part.past.shape == (2, 6) and part.weight.tolist() == [2.0] * 6
    found = table[0].covariates(COLUMNS, slice(2, 4), past=True)
    assert list(found) == ["price", "event", "sky", "wind", "importance"] and found["sky"].tolist() == ["sun", "sun"]
    assert list(table[0].covariates(COLUMNS, slice(2, 4), past=False)) == ["price", "event"]


def test_gaps_have_missing_covariates_and_no_weight():
    with pytest.warns(UserWarning, match="absent"):
        _, table = RegularSampling(COLUMNS, 2).learn(frame("a").drop(index=2))
    assert np.isnan(table.known[:, 2]).all() and np.isnan(table.past[:, 2]).all() and table.weight[2] == 0


@pytest.mark.parametrize(
    "later",
    [
        pd.Series(["True", "False", None]), pd.Series([1, 0, None]), pd.Series([True, False, None], dtype="boolean"),
        pd.Series([1.0, 0.0, np.nan]), pd.Series([1, 0, None], dtype="Int64"),
    ],
)  # fmt: skip
def test_labels_do_not_depend_on_the_dtype(later):
    columns = Columns(known=("open",))
    df = frame("a").iloc[:3].drop(columns=["event", "sky"])
    train = read_table(df.assign(open=[True, False, True]), columns)
    statics = StaticFeatures.learn(train, columns)
    table = read_table(df.assign(open=later.to_numpy(dtype=object, na_value=None)).assign(open=later.values), columns)
    codes = statics.encode_covariates(table).known[0]
    assert codes[:2].tolist() == [1, 0] and np.isnan(codes[2])


def test_codes_are_those_of_the_training():
    series = read_table(frame(), COLUMNS)
    statics = StaticFeatures.learn(series, COLUMNS)
    later = read_table(frame().assign(event=["sale", "concert", None] * 4), COLUMNS)
    codes = statics.encode_covariates(later).known[1]
    assert codes[:2].tolist() == [2, -1] and np.isnan(codes[2])
    with pytest.warns(UserWarning, match="no value of the column 'event' is a category of the training"):
        statics.warn_of_unknown(read_table(frame().assign(event="concert"), COLUMNS))


def test_numbers_come_before_codes():
    rows = np.array([[0, 1], [5, 6], [1, 0]], dtype=np.float32)
    labels = {"a": ["x", "y"], "b": None, "c": ["u", "v"]}
    found = encoded(rows, labels, {"a": ["y", "x"], "b": None, "c": ["u", "v"]})
    assert found.tolist() == [[5, 6], [1, 0], [1, 0]]
    assert encoded(rows, {"b": None}, {"b": None}) is rows


def test_text_in_a_column_of_numbers_names_series_and_column():
    columns = Columns(known=("price",))
    statics = StaticFeatures.learn(read_table(frame()[["item_id", "timestamp", "target", "price"]], columns), columns)
    later = read_table(frame().assign(price=["high"] * 12), columns)
    with pytest.raises(ValueError, match="series 'a': column 'price' had numbers in training but has 'high' here"):
        statics.encode_covariates(later)


@pytest.mark.parametrize(
    "later", [["1", "3", None], [1, 3, None], [1.0, 3.0, np.nan], ["1", 3, None], pd.Categorical(["1", "3", None])]
)
def test_the_training_decides_that_numbers_are_categories(later):
    columns = Columns(known=("open",), past=("shut",))
    df = frame("a").iloc[:3].drop(columns=["event", "sky"])
    kinds = pd.Series([1, 2, 3], df.index).astype("category")
    sampling, series = RegularSampling(columns, 2).learn(df.assign(open=kinds, shut=kinds))
    statics = StaticFeatures.learn(series, columns)
    values = pd.Series(later, df.index, dtype=getattr(later, "dtype", object))
    found = statics.encode_covariates(sampling.read(df.assign(open=values, shut=values)))
    for codes in (found.known[0], found.past[0]):
        assert codes[:2].tolist() == [0, 2] and np.isnan(codes[2])
    with pytest.raises(ValueError, match="series 'a': column 'open' must hold numbers, got '1'"):
        RegularSampling(columns, 2).learn(df.assign(open=["1", "2", "3"], shut=1.0))


def test_large_whole_numbers_are_exact_labels():
    columns = Columns(known=("code",))
    df = frame("a").iloc[:2].drop(columns=["event", "sky"])
    codes = pd.Series([2**53, 2**53 + 1], df.index)
    sampling, series = RegularSampling(columns, 2).learn(df.assign(code=codes.astype("category")))
    statics = StaticFeatures.learn(series, columns)
    assert statics.encode_covariates(sampling.read(df.assign(code=codes))).known[0].tolist() == [0, 1]


@pytest.mark.parametrize("columns", [Columns(known=("price",)), Columns(past=("price",)), Columns(static=("price",))])
def test_numbers_that_single_precision_cannot_represent(columns):
    df = frame()[["item_id", "timestamp", "target"]].assign(price=2.0)
    df.loc[df["item_id"] == "b", "price"] = -1e39
    with pytest.raises(ValueError, match=r"series 'b': .*'price' is -1e\+39.*up to 3.4e\+38; divide it by a constant"):
        read_table(df, columns)


def test_entries_have_a_field_for_each_kind():
    sampling, series = RegularSampling(COLUMNS, 2).learn(frame())
    statics = StaticFeatures.learn(series, COLUMNS)
    future = frame().groupby("item_id").head(2).assign(timestamp=lambda d: d["timestamp"] + pd.Timedelta(days=6))
    entry = sampling.entries(series, statics, sampling.query(sampling.ends(series), future))[1]
    shapes = {name: np.shape(value) for name, value in entry.items() if "dynamic" in name or name == "weight"}
    assert shapes == {
        "feat_dynamic_real": (1, 8), "feat_dynamic_cat": (1, 8), "past_feat_dynamic_real": (1, 6),
        "past_feat_dynamic_cat": (1, 6), "weight": (6,),
    }  # fmt: skip
    assert entry["past_feat_dynamic_cat"].dtype == np.int64  # no missing value


def spec(**features):
    return WindowSpec("D", 4, 2, [1], features=FeatureSpec(1, 1, 0, 0, (3,), (2,), **features))


def test_entries_of_a_frame_are_read_like_others():
    sampling, series = RegularSampling(COLUMNS, 2).learn(frame())
    entries = sampling.entries(series, StaticFeatures.learn(series, COLUMNS))
    fast, slow = (read_series(one, spec(weighted=True), forecast=False) for one in (entries, list(entries)))
    assert type(fast) is not type(slow)
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one.covariates, other.covariates)
        np.testing.assert_array_equal(one.weight, other.weight)
    assert np.isnan(fast[0].covariates[-2:]).all()
    assert fast[0].covariates[1, [0, 1, 3]].tolist() == [np.float32(1.2), 2, 0]


def test_missing_values_of_entries_are_masked_with_one_warning():
    start = pd.Period("2024-01-01", "D")
    real, cat = np.arange(8.0)[None], np.array([[0, 1, 2, 0, np.nan, 1, 2, np.nan]])
    entry = {
        "start": start, "target": np.arange(6.0), "feat_dynamic_real": real[:, :7], "feat_dynamic_cat": cat,
        "past_feat_dynamic_real": np.full((1, 9), 7.0), "past_feat_dynamic_cat": np.ones((1, 6), dtype=int),
    }  # fmt: skip
    with pytest.warns(
        UserWarning, match=r"series 0 and 1 other series: .*\['feat_dynamic_real'\].* starting at step 2"
    ) as found:
        one, _ = read_series([entry, entry], spec(), forecast=True)
    assert len(found) == 1
    assert np.isnan(one.covariates).tolist()[4:] == [
        [False, True, False, False], [False, False, False, False], [False, False, True, True], [True, True, True, True],
    ]  # fmt: skip
    with pytest.raises(ValueError, match="series 0: feat_dynamic_real has 6 steps"):
        read_series([{**entry, "feat_dynamic_real": real[:, :6]}], spec(), forecast=True)


INVALID = {
    "fraction": ("feat_dynamic_cat", [[0, 1, 1.5, 0, 0, 0, 0]], "is 1.5 in row 0 at step 2"),
    "negative": ("past_feat_dynamic_cat", [[0, 1, -2, 0, 0, 0]], "is -2 in row 0 at step 2"),
    "no category": ("past_feat_dynamic_cat", [[0, 1, 2, 0, 0, 0]], "is 2 in row 0 at step 2, .* numbered from 0 to 1"),
    "over the horizon": ("feat_dynamic_cat", [[0] * 7 + [3]], "is 3 in row 0 at step 7"),
    "static fraction": ("feat_static_cat", [0, 0.5], "is 0.5 in row 1"),
    "static": ("feat_static_cat", [3, 0], "is 3 in row 0, .* numbered from 0 to 2; use -1 for an unknown category"),
    "large number": ("feat_dynamic_real", np.full((1, 8), 1e39), r"is 1e\+39 in row 0 at step 0, .* up to 3.4e\+38"),
    "large past number": ("past_feat_dynamic_real", np.full((1, 6), -1e39), r"is -1e\+39 in row 0 at step 0"),
    "large static number": ("feat_static_real", [1e39], r"is 1e\+39 in row 0"),
    "large weight": ("weight", 1e39, r"is 1e\+39, .* divide it by a constant"),
    "infinite number": ("feat_dynamic_real", [[1, np.inf] + [0] * 6], "has an infinite value at step 1"),
    "no step of the horizon": ("feat_dynamic_cat", np.zeros((1, 6)), "has 6 steps, but at least 7 are needed"),
}
VALID = {
    "start": pd.Period("2024-01-01", "D"), "target": np.arange(6.0), "feat_dynamic_real": np.zeros((1, 8)),
    "feat_dynamic_cat": [[0, 1, 2, -1, np.nan, 0, 0, 0]], "past_feat_dynamic_real": np.zeros((1, 6)),
    "past_feat_dynamic_cat": [[0, 1, -1, np.nan, 0, 0]], "feat_static_real": [1.0], "feat_static_cat": [2, -1],
    "weight": 1.0,
}  # fmt: skip
FEATURES = FeatureSpec(1, 1, 1, 2, (3,), (2,), weighted=True, static_cardinalities=(3, 2))


@pytest.mark.parametrize("case", INVALID)
def test_values_of_entries_that_are_no_feature(case):
    field, values, message = INVALID[case]
    spec = WindowSpec("D", 4, 2, [1], features=FEATURES)
    ahead = case == "no step of the horizon"
    (one,) = read_series([VALID], spec, forecast=ahead)
    assert one.static_cat.tolist() == [2, -1] and one.weight.tolist() == [1.0] * 6
    with pytest.raises(ValueError, match=f"series 0: {field} {message}"):
        read_series([{**VALID, field: values}], spec, forecast=ahead)


def test_specifications_of_earlier_versions_do_not_limit_static_codes():
    spec = WindowSpec("D", 4, 2, [1], features=FEATURES._replace(static_cardinalities=()))
    (one,) = read_series([{**VALID, "feat_static_cat": [9, 0]}], spec, forecast=False)
    assert one.static_cat.tolist() == [9, 0]
    with pytest.raises(ValueError, match=r"series 0: feat_static_cat is -2 in row 0, .* whole numbers from 0"):
        read_series([{**VALID, "feat_static_cat": [-2, 0]}], spec, forecast=False)


@pytest.mark.parametrize(
    "weight, message", [([1.0, 2.0], "shape"), ([1, 1, 1, 1, -1, 1], "negative"), ("x", "numbers")]
)
def test_bad_weights_of_entries(weight, message):
    entry = {"start": pd.Period("2024-01-01", "D"), "target": np.arange(6.0), "weight": weight}
    with pytest.raises(ValueError, match=f"series 0: .*{message}"):
        read_series([entry], WindowSpec("D", 4, 2, [1], features=FeatureSpec(weighted=True)), forecast=False)


@pytest.mark.parametrize(
    "value, message",
    [
        (np.nan, "is missing at 2024-01-03"), (-1.0, "is -1.0 at 2024-01-03"),
        (1e39, r"is 1e\+39 at 2024-01-03 .*, but .* divide it"),
    ],
)  # fmt: skip
def test_bad_weights_of_frames(value, message):
    df = frame()
    df.loc[8, "importance"] = value
    with pytest.raises(ValueError, match=f"series 'b': the weight 'importance' {message}"):
        RegularSampling(COLUMNS, 2).learn(df)
    with pytest.raises(ValueError, match="the weight 'importance' is 0 in all rows"):
        RegularSampling(COLUMNS, 2).learn(df.assign(importance=0.0))
