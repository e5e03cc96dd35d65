"""Frames of regular series: roles, order, gaps, categories, time zones, and invalid frames."""

import warnings
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.regular_frames import read_frame
from s5forecast.data.regular_sampling import RegularSampling, to_entries
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.timestamps import to_timestamps

COLUMNS = Columns(known=("price",), static=("shop", "area"))


def frame(steps=10, items=("b", "a"), freq="D", start="2024-01-01", tz=None):
    parts = []
    for number, item in enumerate(items):
        parts.append(
            pd.DataFrame(
                {
                    "item_id": item,
                    "timestamp": pd.date_range(start, periods=steps, freq=freq, tz=tz),
                    "target": np.arange(steps) + 100.0 * number,
                    "price": np.linspace(1, 2, steps),
                    "shop": f"shop {number}",
                    "area": 10.0 * number,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def entries_of(df, columns=COLUMNS, freq="infer"):
    series, frequency = read_frame(df, columns, freq)
    return to_entries(series, frequency, StaticFeatures.learn(series, columns))


def forecast_frame(df, columns, steps, levels):
    """A forecast of zeros."""
    sampling, series = RegularSampling(columns, steps).learn(df)
    query = sampling.query(sampling.ends(series), future_of(sampling, series) if columns.known else None)
    shape = (len(series), steps)
    return sampling.frame(query, np.zeros(shape), np.zeros((*shape, len(levels))), levels)


def future_of(sampling, series):
    """Known columns of ones over the horizon."""
    plain = replace(sampling, columns=replace(sampling.columns, known=()))
    return plain.query(plain.ends(series)).keys.assign(price=1.0)


def test_entries():
    first, second = entries_of(frame())
    assert first["item_id"] == "b" and second["item_id"] == "a"
    assert first["start"] == pd.Period("2024-01-01", "D")
    assert first["target"].tolist() == list(range(10)) and first["feat_dynamic_real"].shape == (1, 10)
    assert first["feat_static_cat"].tolist() == [0] and second["feat_static_cat"].tolist() == [1]
    assert second["feat_static_real"].tolist() == [10.0]


def test_rows_in_any_order_and_the_frame_unchanged():
    df = frame()
    shuffled = df.sample(frac=1, random_state=0)
    kept = shuffled.copy(deep=True)
    found = {e["item_id"]: e["target"].tolist() for e in entries_of(shuffled)}
    assert found == {e["item_id"]: e["target"].tolist() for e in entries_of(df)}
    pd.testing.assert_frame_equal(shuffled, kept)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "Float64", "float32", "bool", "boolean", object])
def test_numbers_of_any_dtype(dtype):
    df = frame(4, ["a"]).drop(columns=["price", "shop", "area"])
    df["target"] = pd.array([1, 0, 1, 1], dtype=dtype) if dtype is not object else [Decimal(1), 0, 1.0, None]
    if dtype in ("Int64", "Float64", "boolean"):
        df.loc[1, "target"] = pd.NA
    (entry,) = entries_of(df, Columns())
    assert entry["target"].dtype == ("float32" if dtype == "float32" else "float64")
    assert entry["target"][0] == 1
    assert np.isnan(entry["target"]).sum() == (1 if dtype in ("Int64", "Float64", "boolean", object) else 0)


def test_gaps_are_missing_values_and_reported_once():
    df = frame(10)
    gappy = df.drop(index=[3, 4, 15])
    message = r"3 timestamps are absent from the 'D' grid of 2 of 2 series \(most in series 'b': 2\); they .* values$"
    with pytest.warns(UserWarning, match=message) as caught:
        first, second = entries_of(gappy)
    assert len(caught) == 1
    assert np.flatnonzero(np.isnan(first["target"])).tolist() == [3, 4]
    assert np.flatnonzero(np.isnan(second["target"])).tolist() == [5]
    assert np.isnan(first["feat_dynamic_real"][0, 3])


def test_a_single_series_without_item_id():
    df = frame(items=["a"]).drop(columns="item_id")
    (entry,) = entries_of(df)
    assert len(entry["target"]) == 10
    indexed = df.set_index("timestamp")
    assert entries_of(indexed)[0]["target"].tolist() == entry["target"].tolist()
    out = forecast_frame(df, COLUMNS, 2, [0.5])
    assert list(out.columns) == ["timestamp", "mean", "0.5"]


def test_other_names_of_columns():
    df = frame().rename(columns={"item_id": "unique_id", "timestamp": "ds", "target": "y"})
    columns = Columns("y", "unique_id", "ds", ("price",), ("shop",))
    assert len(entries_of(df, columns)) == 2


@pytest.mark.parametrize("tz", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("freq", ["h", "D", "15min", "MS", "ME", "QS-FEB", "W-TUE", "B", "YE", "2h"])
def test_forecasts_continue_the_timestamps(freq, tz):
    stamps = pd.date_range("2024-02-01", periods=40, freq=freq, tz=tz)
    df = pd.DataFrame({"timestamp": stamps[:30], "target": np.arange(30.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = forecast_frame(df, Columns(), 10, [0.5])
    assert out["timestamp"].tolist() == stamps[30:].tolist()
    assert out["timestamp"].dt.tz == stamps.tz


def test_an_index_of_items_and_times():
    df = frame()
    indexed = entries_of(df.set_index(["item_id", "timestamp"]))
    assert [e["target"].tolist() for e in indexed] == [e["target"].tolist() for e in entries_of(df)]


def test_item_ids_may_be_tuples():
    df = frame(items=["a"]).drop(columns=["price", "shop", "area"])
    df["item_id"] = [("a", 1)] * len(df)
    out = forecast_frame(df, Columns(), 3, [0.1, 0.1 + 0.2])
    assert out["item_id"].tolist() == [("a", 1)] * 3 and list(out.columns[3:]) == ["0.1", "0.3"]


def test_item_ids_keep_their_type():
    df = frame(items=[7, 3])
    out = forecast_frame(df, COLUMNS, 3, [0.5])
    assert out["item_id"].dtype == np.int64 and out["item_id"].tolist() == [7] * 3 + [3] * 3


def test_future_is_aligned_by_time():
    sampling, series = RegularSampling(COLUMNS, 3).learn(frame(10))
    ahead = frame(4, start="2024-01-10").sample(frac=1, random_state=1)
    query = sampling.query(sampling.ends(series), ahead)
    assert np.allclose(query.known[:3, 0], np.linspace(1, 2, 4)[1:])
    (first, _), statics = sampling.entries(series, StaticFeatures(), query), sampling.entries(series, StaticFeatures())
    assert first["feat_dynamic_real"].shape == (1, 13) and statics[0]["feat_dynamic_real"].shape == (1, 10)


def test_unseen_and_missing_categories():
    series, _ = read_frame(frame(), COLUMNS)
    statics = StaticFeatures.learn(series, COLUMNS)
    assert statics.cardinality == [2]
    for value in ("another", None, np.nan):
        unseen = series[0]._replace(static={"shop": value, "area": np.nan})
        assert statics.encode(unseen)["feat_static_cat"].tolist() == [-1]
        assert np.isnan(statics.encode(unseen)["feat_static_real"]).all()


def set_cell(df, row, column, value):
    df = df.astype({column: object}) if isinstance(value, str) else df.copy()
    df.loc[row, column] = value
    return df


BAD_FRAMES = {
    "not a frame": (lambda df: df.to_dict(), "df must be a data frame of pandas, Polars or pyarrow, got dict"),
    "empty": (lambda df: df.iloc[:0], "df has no rows"),
    "misspelt": (lambda df: df.rename(columns={"target": "tagret"}), "df has no column 'target'; did you .* 'tagret'"),
    "no known": (lambda df: df.drop(columns="price"), "no column 'price'"),
    "duplicates": (lambda df: pd.concat([df, df.iloc[[12]]]), "series 'a': column 'timestamp' has 2024-01-03"),
    "infinite": (lambda df: set_cell(df, 11, "target", np.inf), "series 'a': column 'target' is infinite at 2024"),
    "infinite known": (lambda df: set_cell(df, 0, "price", -np.inf), "series 'b': column 'price' is infinite"),
    "text": (
        lambda df: set_cell(df, 12, "target", "many"),
        "series 'a': column 'target' must hold numbers, got 'many'; convert it with pd.to_numeric, which .*'coerce'$",
    ),
    "text known": (lambda df: set_cell(df, 2, "price", "high"), "'price' must .*astype\\('category'\\)$"),
    "all missing": (lambda df: df.assign(target=df["target"].where(df["item_id"] == "a")), "series 'b': column"),
    "no time": (lambda df: df.assign(timestamp=df["timestamp"].where(df["price"] > 1)), "NaT"),
    "numbers for time": (lambda df: df.assign(timestamp=range(20)), "must hold timestamps"),
    "nonsense for time": (lambda df: df.assign(timestamp="soon"), "cannot be read as ISO 8601 timestamps"),
    "no item": (lambda df: df.assign(item_id=df["item_id"].where(df["item_id"] == "a")), "every row needs the item_id"),
    "static changes": (
        lambda df: set_cell(df, 4, "shop", "moved"),
        r"series 'b': static column 'shop' changes .*\['shop 0', 'moved'\]; make it constant, or leave it .* static=$",
    ),
    "static number changes": (
        lambda df: set_cell(df, 4, "area", 3.0), r"\[0.0, 3.0\]; make it constant, or pass it as known=$"
    ),
    "static missing": (
        lambda df: set_cell(set_cell(df, 4, "shop", None), 5, "shop", np.nan),
        "series 'b': static column 'shop' is 'shop 0' in some rows and missing in 2; fill in the missing values$",
    ),
    "decimal comma": (
        lambda df: df.assign(target=df["target"].map("{:.1f}".format).str.replace(".", ",")),
        r"series 'b': column 'target' must .*, got '0,0'; df\['target'\] = .*pd.read_csv\(..., decimal=','\)\)$",
    ),
    "comma of either kind": (
        lambda df: df.assign(target="1,234"),
        "thousands, .*thousands=','.*, or if it is a decimal comma, .*decimal=','",
    ),
    "numbers as text": (lambda df: df.assign(target=df["target"].astype(str)), "'0.0'; .*to_numeric$"),
    "two frequencies": (
        lambda df: pd.concat([df, frame(items=["c"], freq="h")]),
        "series 'c': its frequency 'h' differs from 'D' of series 'b'",
    ),
    "same name": (lambda df: pd.concat([df, df[["price"]]], axis=1), r"same name: \['price'\]"),
    "stray time": (
        lambda df: pd.concat([frame(freq="s"), df.iloc[:1].assign(timestamp=pd.Timestamp("1900-01-01"))]),
        "series 'b' has 11 rows on a 's' grid",
    ),
    "uneven": (
        lambda df: df.assign(timestamp=df["timestamp"] + pd.to_timedelta(df["target"] ** 2, "s")),
        r"series 'b' has no regular frequency.*freq=None, horizon=\.\.\.\), or resample with s5forecast.regularize\(\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FRAMES)
def test_bad_frames(case):
    change, message = BAD_FRAMES[case]
    with pytest.raises(ValueError, match=message):
        read_frame(change(frame()), COLUMNS, "s" if case == "stray time" else "infer")


def test_a_frequency_that_contradicts_the_timestamps():
    with pytest.raises(ValueError, match=r"series 'b'.*2024-01-01.*'MS'|series 'b'.*2024-01-02.*'MS'"):
        read_frame(frame(), COLUMNS, "MS")
    with pytest.raises(ValueError, match="15min"):
        read_frame(frame(), COLUMNS, "fortnightly")


def test_duplicates_without_item_id_suggest_it():
    df = frame().drop(columns="item_id")
    with pytest.raises(ValueError, match="item_id="):
        read_frame(df, COLUMNS)
    with pytest.raises(ValueError, match="no column 'sku'"):
        read_frame(df, Columns(item_id="sku"))


def test_future_that_does_not_cover_the_horizon():
    sampling, series = RegularSampling(COLUMNS, 3).learn(frame(10))
    ends = sampling.ends(series)
    with pytest.raises(ValueError, match=r"\['price'\].*future="):
        sampling.query(ends)
    short = frame(3, start="2024-01-11").drop(index=[5])
    with pytest.warns(
        UserWarning, match=r"series 'a': the known covariates \['price'\] are missing .* at 2024-01-13"
    ) as found:
        known = sampling.query(ends, short).known
    assert len(found) == 1 and np.isnan(known[:, 0]).tolist() == [False] * 5 + [True]
    with pytest.raises(ValueError, match="series 'a': future= has no rows"):
        sampling.query(ends, short[short["item_id"] == "b"])


def test_numbers_in_training_and_text_later():
    series, _ = read_frame(frame(), COLUMNS)
    statics = StaticFeatures.learn(series, COLUMNS)
    with pytest.raises(ValueError, match="series 'b': static column 'area' was numeric"):
        statics.encode(series[0]._replace(static={"shop": "x", "area": "wide"}))


def test_inference_needs_more_than_a_row():
    df = frame(1)
    with pytest.raises(ValueError, match="freq="):
        read_frame(df, COLUMNS)
    series, frequency = read_frame(df, COLUMNS, "D")
    assert frequency == Frequency.parse("D") and len(series) == 2


def test_a_mostly_absent_grid_raises_a_doubt():
    df = frame().drop(columns="item_id").iloc[[0, 1, 2, 9]]
    message = r"6 timestamps are .* 1 of 1 series; they .* absent: are the dates parsed correctly, or is freq= wrong\?$"
    with pytest.warns(UserWarning, match=message):
        read_frame(df, COLUMNS, "D")


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        (["13/01/2024", "02/01/2024"], ["%d/%m/%Y"]),
        (["01/13/2024", "01/02/2024"], ["%m/%d/%Y"]),
        (["03.01.2024 10:30", "13.01.2024 11:30"], ["%d.%m.%Y %H:%M"]),
        (["13-01-24 10:30:00", None], ["%d-%m-%y %H:%M:%S"]),
        (["01/02/2024", "02/02/2024"], ["%d/%m/%Y", "%m/%d/%Y"]),
    ],
)
def test_dates_that_are_not_iso_8601(values, lines):
    """The line that the error shows reads the dates."""
    df = pd.DataFrame({"day": values, "target": 1.0})
    with pytest.raises(ValueError, match=f"column 'day' cannot be read as ISO 8601 timestamps.*{values[0]}") as caught:
        read_frame(df, Columns(timestamp="day"))
    message, calls = str(caught.value), [f"df['day'] = pd.to_datetime(df['day'], format='{line}')" for line in lines]
    assert message.endswith(" if the day comes before the month, otherwise ".join(calls))
    assert "mixed" not in message
    exec(calls[0], {"df": df, "pd": pd})
    assert df["day"].notna().tolist() == [value is not None for value in values]


def test_other_text_as_dates():
    for values, fix in (
        (["13 January 2024", "2024-01-14"], r"dayfirst=True\) if the day comes before the month, otherwise .*format="),
        (["13/01/2024", "14.01.2024"], "dayfirst=True"),
    ):
        with pytest.raises(ValueError, match=fix):
            to_timestamps(pd.Series(values, name="day"))
    with pytest.raises(
        ValueError, match=r"column 'day' of future= cannot .*: future\['day'\] = pd.to_datetime\(future"
    ):
        to_timestamps(pd.Series(["soon"], name="day"), "future=")


def test_errors_name_the_frame():
    sampling, series = RegularSampling(COLUMNS, 3).learn(frame(10))
    with pytest.raises(ValueError, match="future= has no column 'price'"):
        sampling.query(sampling.ends(series), frame(3).drop(columns="price"))
    with pytest.raises(ValueError, match="validation= has no column 'shop'"):
        sampling.read(frame(10).drop(columns="shop"), "validation=")
