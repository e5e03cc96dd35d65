"""Series of a frame as concatenated arrays: views, checks of all series at once, and entries."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.common_frequency import infer_frequency
from s5forecast.data.entries import read_series
from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.gaps import grid_positions
from s5forecast.data.regular_frames import read_frame
from s5forecast.data.regular_sampling import RegularSampling, to_entries
from s5forecast.data.series import SeriesArrays
from s5forecast.data.spec import FeatureSpec, WindowSpec
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable, find_faults, raise_first, read_table

COLUMNS = Columns(known=("price",), static=("shop", "area"))
H = 3


def frame(lengths=(5, 1, 9), freq="h", tz=None, dtype="float64"):
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "item_id": name,
                "timestamp": pd.date_range("2024-03-09 20:00", periods=steps, freq=freq, tz=tz),
                "target": rng.normal(size=steps).astype(dtype),
                "price": rng.normal(size=steps),
                "shop": f"shop {number % 2}",
                "area": number + 0.5,
            }
        )
        for number, (name, steps) in enumerate(zip("cab", lengths, strict=True))
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_table_is_a_sequence_of_series():
    df = frame()
    table = read_table(df, COLUMNS).univariate()
    assert len(table) == 3 and [one.item_id for one in table] == ["c", "a", "b"]
    for one in table:
        rows = df[df["item_id"] == one.item_id]
        assert one.target.tolist() == rows["target"].tolist()
        assert one.timestamps.tolist() == rows["timestamp"].tolist()
        assert np.array_equal(one.known, rows[["price"]].to_numpy(np.float32).T)
        assert one.static == {"shop": rows["shop"].iloc[0], "area": rows["area"].iloc[0]}
        assert np.shares_memory(one.target, table.target)
    assert table[-1].item_id == "b"
    with pytest.raises(IndexError):
        table[3]


@pytest.mark.parametrize("chosen", [slice(0, 2), slice(None, None, 2), slice(2, 0, -1), slice(1, 1)])
def test_slices_of_a_table(chosen):
    table = read_table(frame(), COLUMNS).univariate()
    part = table[chosen]
    assert isinstance(part, SeriesTable) and part.items == table.items[chosen]
    for found, expected in zip(part, list(table)[chosen], strict=True):
        assert found.target.tolist() == expected.target.tolist() and found.static == expected.static


def test_all_bad_series_are_found_and_the_rest_can_be_kept():
    df = frame((4, 4, 4))
    df.loc[[0, 1, 2, 3, 8, 9, 10, 11], "target"] = np.nan
    df.loc[5, "shop"] = "moved"
    df.loc[9, "area"] = 9.0
    table, unobserved, changing = find_faults(df, COLUMNS)
    assert list(unobserved) == [0, 2] and sorted(changing) == [1, 2]
    assert unobserved[2] == "series 'b': column 'target' has no observed value; leave the series out"
    assert changing[1].startswith("series 'a': static column 'shop' changes within the series")
    with pytest.raises(ValueError, match="series 'c': column 'target' has no observed value"):
        raise_first(table, unobserved, changing)
    with pytest.raises(ValueError, match="series 'b': column 'target'"):
        raise_first(table, {2: unobserved[2]}, {2: changing[2]})
    assert table.without(unobserved).items == ["a"]


def test_all_series_off_the_grid_are_found():
    df = frame((4, 4, 4)).drop(columns=["price", "shop", "area"])
    df.loc[[1, 2, 11], "timestamp"] += pd.Timedelta("7min")
    table = read_table(df, Columns()).univariate()
    _, off_grid, _ = grid_positions(table, Frequency("h"))
    assert list(off_grid) == [0, 2] and "21:07:00" in off_grid[0] and "23:07:00" in off_grid[2]


@pytest.mark.parametrize("tz", [None, "UTC", "America/New_York"])
@pytest.mark.parametrize("freq", ["h", "15min", "36h", "D", "B", "W-TUE", "2W-SUN", "MS", "ME", "QS-FEB", "YE"])
def test_the_frequency_of_many_series_is_that_of_each(freq, tz):
    rng, parts = np.random.default_rng(1), []
    for number in range(12):
        stamps = pd.date_range("2019-01-07", periods=40, freq=freq, tz=tz)[number : number + 3 + 2 * number]
        kept = np.ones(len(stamps), dtype=bool)
        kept[1:-1] = rng.random(len(stamps) - 2) < 0.9
        parts.append(pd.DataFrame({"item_id": number, "timestamp": stamps[kept], "target": 1.0}))
    each = {}
    for part in parts:
        try:
            each.setdefault(Frequency.infer(pd.DatetimeIndex(part["timestamp"])).alias)
        except ValueError:
            each.setdefault(None)
    table = read_table(pd.concat(parts), Columns())
    if len(each) == 1 and None not in each:
        assert infer_frequency(table).alias == next(iter(each))
    else:
        with pytest.raises(ValueError, match="frequency"):
            infer_frequency(table)


@pytest.mark.parametrize("tz", [None, "America/New_York"])
@pytest.mark.parametrize("freq", ["h", "2h", "D", "B", "W-TUE", "MS", "QE-NOV"])
def test_arrays_equal_entries_read_one_by_one(freq, tz):
    spec = WindowSpec(freq, 4, H, [1], features=FeatureSpec(1, 0, 1, 1))
    sampling, table = RegularSampling(COLUMNS, H, Frequency(freq)).learn(frame((5, 2, 9), freq, tz, "float32"))
    statics = StaticFeatures.learn(table, COLUMNS)
    query = sampling.query(sampling.ends(table), frame((9, 9, 15), freq, tz))
    entries = sampling.entries(table, statics, query)
    found = read_series(entries, spec, forecast=True)
    assert isinstance(found, SeriesArrays)
    for one, expected in zip(found, read_series(list(entries), spec, forecast=True), strict=True):
        assert (one.item_id, one.start, one.forecast_start) == (
            expected.item_id,
            expected.start,
            expected.forecast_start,
        )
        for field in ("time", "target", "covariates", "static_real", "static_cat"):
            a, b = getattr(one, field), getattr(expected, field)
            assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), field


def test_entries_that_do_not_fit_get_the_same_message():
    table, frequency = read_frame(frame((5, 4, 9)), COLUMNS)
    entries = to_entries(table, frequency, StaticFeatures.learn(table, COLUMNS))
    for spec, forecast in (
        (WindowSpec("h", 4, H, [1], features=FeatureSpec(1)), True),
        (WindowSpec("h", 4, H, [1], features=FeatureSpec(2)), False),
        (WindowSpec("h", 4, H, [1], features=FeatureSpec(0, 1)), False),
        (WindowSpec("h", 4, H, [1], features=FeatureSpec(0, 0, 3)), False),
        (WindowSpec("D", 4, H, [1]), False),
    ):
        with pytest.raises(ValueError, match="series 'c'") as expected:
            read_series(list(entries), spec, forecast=forecast)
        with pytest.raises(ValueError, match="series 'c'") as found:
            read_series(entries, spec, forecast=forecast)
        assert str(found.value) == str(expected.value)


def test_future_rows_are_found_by_series_and_time():
    sampling, table = RegularSampling(COLUMNS, H).learn(frame((5, 4, 9)))
    ahead = frame((12, 12, 12)).sample(frac=1, random_state=3)
    extra = ahead.iloc[:2].assign(item_id="of no history")
    query = sampling.query(sampling.ends(table), pd.concat([extra, ahead]))
    for item, known in zip(query.items, query.known.reshape(3, H), strict=True):
        rows = ahead[ahead["item_id"] == item].sort_values("timestamp")
        begin = {"c": 5, "a": 4, "b": 9}[item]
        assert known.tolist() == rows["price"].to_numpy(np.float32)[begin : begin + H].tolist()
