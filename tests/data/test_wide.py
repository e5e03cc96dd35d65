"""Wide frames as long frames."""

import numpy as np
import pandas as pd
import pytest
from frame_kinds import KINDS, class_of, make, plain

from s5forecast import S5Forecaster, from_wide
from s5forecast.data.long_frames import long_frame

HOURS = pd.date_range("2024-01-01", periods=6, freq="h", name="timestamp")


def wide():
    return pd.DataFrame({"a": np.arange(6.0), "b": [np.nan, 1, np.nan, 2, np.nan, np.nan]}, HOURS)


def expected():
    times = [*HOURS, *HOURS[1:4]]
    return pd.DataFrame(
        {"item_id": ["a"] * 6 + ["b"] * 3, "timestamp": times, "target": [*np.arange(6.0), 1, np.nan, 2]}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_for_each_series(kind):
    given = make(kind, wide().reset_index())
    found = from_wide(given)
    assert isinstance(found, class_of(kind))
    pd.testing.assert_frame_equal(plain(found), plain(expected()))


INDEXED = {
    "named": wide(),
    "no name": wide().rename_axis(None),
    "another name": wide().rename_axis("hour"),
    "named columns": wide().rename_axis("shop", axis=1),
    "periods": wide().set_axis(HOURS.to_period("h")),
}


@pytest.mark.parametrize("name", INDEXED)
def test_times_as_the_index(name):
    found = from_wide(INDEXED[name])
    assert list(found) == ["item_id", "timestamp", "target"]
    assert found["target"].equals(expected()["target"])


def test_names_numbers_as_series_and_static_columns():
    df = wide().fillna(1.0).rename(columns={"a": 7, "b": 8}).rename_axis("hour")
    names = {"item_id": "shop", "timestamp": "hour", "target": "sales"}
    found = from_wide(df, **names, static={"region": {7: "north", 8: "south"}})
    assert list(found) == ["shop", "hour", "sales", "region"] and found["shop"].unique().tolist() == [7, 8]
    assert found.groupby("shop")["region"].unique().map(list).tolist() == [["north"], ["south"]]
    model = S5Forecaster.pretrained(2, "h", **names)
    assert model.predict(found)["shop"].tolist() == [7, 7, 8, 8]


def test_integer_times():
    df = pd.DataFrame({"year": [2000, 2001, 2002], "a": [1.0, 2.0, 3.0]})
    assert from_wide(df, timestamp="year")["year"].tolist() == [2000, 2001, 2002]


def test_a_series_without_a_value_is_kept_for_the_error_of_fit():
    found = from_wide(wide().assign(c=np.nan))
    with pytest.raises(ValueError, match="series 'c': column 'target' has no observed value"):
        S5Forecaster.pretrained(2, "h").predict(found)


REFUSED = {
    "long": (expected(), "as a long frame has"),
    "no times": (wide().reset_index(drop=True), r"no column 'timestamp'\. .*make it the index"),
    "text": (wide().assign(c="x"), r"column 'c' must hold the numbers .*df\.drop\(columns='c'\)"),
    "same names": (pd.concat([wide(), wide()], axis=1), r"same name: \['a', 'b'\]"),
    "two levels": (pd.concat({"x": wide()}, axis=1), r"2 levels, .*df\.columns\.map\('_'\.join\)"),
    "no rows": (wide()[:0], "df has no rows"),
    "no series": (wide()[[]], "df has no columns besides 'timestamp'"),
    "no frame": ([1], "got list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_frames_are_refused(name):
    df, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        from_wide(df)


def test_static_columns_of_all_series():
    with pytest.raises(ValueError, match="static column 'region' has no value for series 'b'"):
        from_wide(wide(), static={"region": {"a": 1}})


def test_the_advice_for_wide_frames_names_from_wide():
    with pytest.raises(ValueError, match=r"df = s5forecast\.from_wide\(df\)"):
        S5Forecaster(2, "h").fit(wide())
    assert long_frame(from_wide(wide()), ["item_id"], "timestamp", "target").shape == (9, 3)
