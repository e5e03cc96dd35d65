"""Frames of other libraries as frames of pandas, and back."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from frame_kinds import KINDS, class_of, make, polars, pyarrow

from s5forecast import S5Forecaster
from s5forecast.data.frame_kinds import PANDAS, read_kind, takes_frames, to_pandas

DAYS = [date(2024, 3, day) for day in (30, 31)] + [date(2024, 4, 1)]


def columns():
    """Columns of Polars of many dtypes."""
    pl = polars()
    hours = pl.Series([datetime(2024, 3, 31, hour) for hour in (0, 1, 2)])
    return {
        "text": pl.Series(["b", "a", None]),
        "category": pl.Series(["b", "a", None], dtype=pl.Categorical),
        "enum": pl.Series(["b", "a", None], dtype=pl.Enum(["c", "b", "a"])),
        "int8": pl.Series([1, 2, 3], dtype=pl.Int8),
        "uint64": pl.Series([1, 2**63, 3], dtype=pl.UInt64),
        "bool": pl.Series([True, False, True]),
        "date": pl.Series(DAYS),
        "naive": hours.dt.cast_time_unit("ms"),
        "aware": hours.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin"),
        "float": pl.Series([1.0, None, 2.5]),
        "float32": pl.Series([1.0, None, 2.5], dtype=pl.Float32),
    }


def test_a_frame_of_polars_and_back():
    pl = polars()
    given = pl.DataFrame(columns())
    frame, kind = read_kind(given)
    assert isinstance(frame, pd.DataFrame) and str(frame["aware"].dtype) == "datetime64[us, Europe/Berlin]"
    assert frame["text"].tolist() == ["b", "a", None] and isinstance(frame["enum"].dtype, pd.CategoricalDtype)
    assert kind.convert(frame).equals(given) and kind.convert(frame).schema == given.schema


def test_an_arrow_table_and_back():
    pa = pyarrow()
    given = pa.table({name: values.to_arrow() for name, values in columns().items()})
    frame, kind = read_kind(given)
    found = kind.convert(frame)
    assert found.to_pylist() == given.to_pylist()
    for name in ("int8", "date", "naive", "aware"):
        assert found.schema.field(name).type == given.schema.field(name).type


def test_missing_values_in_pandas():
    pl = polars()
    given = pl.DataFrame(
        {
            "int": [1, None, 3],
            "bool": [True, None, False],
            "float": [1.0, None, float("nan")],
            "decimal": [Decimal("1.5"), None, Decimal("2")],
            "time": [datetime(2024, 1, 1), None, None],
            "span": [timedelta(1), None, None],
        }
    )
    frame = to_pandas(given)
    assert frame.isna().sum().tolist() == [1, 1, 2, 1, 2, 2]
    assert frame["int"].dtype == float and frame["span"].dtype.kind == "m" and frame["time"].dtype.kind == "M"


def test_dates_with_a_time_of_day_keep_it():
    pl = polars()
    _, kind = read_kind(pl.DataFrame({"timestamp": DAYS, "target": [1, 2, 3]}))
    found = kind.convert(
        pd.DataFrame({"timestamp": pd.date_range("2024", periods=2, freq="h"), "target": [0.5, np.nan]})
    )
    assert found["timestamp"].dtype == pl.Datetime("ns") and found["target"].to_list() == [0.5, None]


def test_an_empty_frame():
    pl = polars()
    frame, kind = read_kind(pl.DataFrame(schema={"item_id": pl.String, "timestamp": pl.Date, "target": pl.Float64}))
    assert frame.shape == (0, 3) and kind.convert(frame).shape == (0, 3)


def test_frames_of_pandas_are_not_copied():
    for frame in (pd.DataFrame({"a": [1]}), pd.Series([1.0])):
        assert to_pandas(frame) is frame and read_kind(frame)[0] is frame
        assert read_kind(frame)[1] is PANDAS
    assert PANDAS.convert(frame) is frame


@pytest.mark.parametrize("other", [None, "text", [{"target": [1.0]}], {"a": [1]}, 3, np.ones(2)])
def test_other_objects_are_returned_unchanged(other):
    assert to_pandas(other) is other and read_kind(other) == (other, None)


def test_a_lazy_frame_is_collected_once():
    pl = polars()
    calls = []
    lazy = pl.LazyFrame({"timestamp": DAYS, "target": [1.0, 2.0, 3.0]}).map_batches(
        lambda frame: calls.append(1) or frame
    )
    S5Forecaster.pretrained(2, "D").check(lazy)
    assert len(calls) == 1


def test_the_kind_of_the_first_frame_is_returned():
    pl = polars()

    class Doubling:
        frame_kind_ = PANDAS

        @takes_frames("first", "second")
        def double(self, second=None, first=None, factor=2):
            assert all(isinstance(one, pd.DataFrame) for one in (first, second) if one is not None)
            return pd.DataFrame({"a": [factor]})

    one = Doubling()
    polar, panda = pl.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]})
    assert isinstance(one.double(), pd.DataFrame)
    assert isinstance(one.double(panda, first=polar), pl.DataFrame)
    assert isinstance(one.double(polar, first=panda), pd.DataFrame)
    assert isinstance(one.double(polar, factor=3), pl.DataFrame)
    one.frame_kind_ = read_kind(polar)[1]
    assert isinstance(one.double(), pl.DataFrame)


@pytest.mark.parametrize("kind", KINDS)
def test_series_and_times_of_a_forecast_join_the_frame(kind):
    """Forecasts have the dtypes of the frame, also after fit alone."""
    df = pd.DataFrame({"item_id": "a", "timestamp": pd.date_range("2024-01-01", periods=40), "target": np.arange(40.0)})
    given = make(kind, df)
    found = S5Forecaster.pretrained(2, "D").fit(given).predict()
    assert isinstance(found, class_of(kind))


def test_a_forecast_has_the_dtypes_of_polars():
    pl = polars()
    dates = pl.date_range(date(2024, 1, 1), date(2024, 2, 9), eager=True)
    item = pl.Series(["x"] * len(dates), dtype=pl.Enum(["x", "y"]))
    df = pl.DataFrame({"item_id": item, "timestamp": dates, "target": range(len(dates))})
    model = S5Forecaster.pretrained(2, "D").fit(df)
    for found in (model.predict(), model.stream().predict(), model.backtest(df).forecasts):
        assert found.schema["timestamp"] == pl.Date and found.schema["item_id"] == df.schema["item_id"]
        assert len(df.join(found, on=["item_id", "timestamp"], how="full", coalesce=True)) in (40, 42)
    assert model.backtest(df).forecasts.schema["cutoff"] == pl.Date


def test_kinds_of_streams_and_of_saved_models(tmp_path):
    pl = polars()
    df = pl.DataFrame({"timestamp": [*range(20)], "target": [float(step) for step in range(20)]})
    model = S5Forecaster.pretrained(2, 1).fit(df.to_pandas())
    assert isinstance(model.predict(), pd.DataFrame) and isinstance(model.predict(df), pl.DataFrame)
    stream = model.stream(df[:15])
    assert isinstance(stream.predict(), pl.DataFrame)
    assert isinstance(stream.update(df[15:].to_pandas()).predict(), pd.DataFrame)
    model.save(tmp_path)
    assert isinstance(S5Forecaster.load(tmp_path).predict(df), pl.DataFrame)
