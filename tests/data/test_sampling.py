"""Frames beside the histories: future=, validation= and new rows have the same kind of times and of series."""

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster
from s5forecast.data.frames import Columns
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.statics import StaticFeatures

KNOWN = Columns(known=("price",))


def frame(tz=None, start="2024-03-30 12:00", steps=24):
    times = pd.date_range(start, periods=steps, freq="h", tz=tz)
    parts = [
        pd.DataFrame({"item_id": item, "timestamp": times, "target": 1.0, "price": np.arange(steps) + offset})
        for item, offset in (("a", 0.0), ("b", 100.0))
    ]
    return pd.concat(parts, ignore_index=True)


def learned(tz=None):
    df = frame(tz)
    sampling, series = RegularSampling(KNOWN, 4).learn(df[df.groupby("item_id").cumcount() < 20])
    return sampling, sampling.ends(series), df[df.groupby("item_id").cumcount() >= 20].drop(columns="target")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+05:30"])
def test_future_in_another_time_zone(zone):
    sampling, ends, ahead = learned("Europe/Berlin")
    expected = sampling.query(ends, ahead)
    other = ahead.assign(timestamp=ahead["timestamp"].dt.tz_convert(zone))
    query = sampling.query(ends, other)
    assert query.known.tolist() == expected.known.tolist()
    pd.testing.assert_frame_equal(query.keys, expected.keys)


def test_future_with_and_without_a_time_zone():
    sampling, ends, ahead = learned("Europe/Berlin")
    message = "series 'a': column 'timestamp' of future= has {} time zone, unlike the history; .* tz_localize or"
    with pytest.raises(ValueError, match=message.format("no")):
        sampling.query(ends, ahead.assign(timestamp=ahead["timestamp"].dt.tz_localize(None)))
    sampling, ends, ahead = learned()
    with pytest.raises(ValueError, match=message.format("a")):
        sampling.query(ends, ahead.assign(timestamp=ahead["timestamp"].dt.tz_localize("UTC")))


@pytest.mark.parametrize("keys", [(), ("store", "sku")])
def test_future_and_new_rows_without_the_item_column(keys):
    df = frame().assign(store="s", sku=lambda one: one["item_id"])
    columns = Columns(known=("price",), keys=keys)
    sampling, series = RegularSampling(columns, 4).learn(df[df["item_id"] == "a"])
    ends = sampling.ends(series)
    ahead = frame(start="2024-03-31 12:00", steps=4)[:4].drop(columns="item_id")
    if keys:
        with pytest.raises(ValueError, match="future= has no column 'store'"):
            sampling.query(ends, ahead)
        return
    with pytest.raises(
        ValueError, match=r"future= and the histories must both have.* 'item_id'; it is in the histories only"
    ):
        sampling.query(ends, ahead)
    with pytest.raises(ValueError, match=r"the new rows and the stream must both have.* 'item_id'"):
        sampling.read_next(ahead, ends, StaticFeatures())
    one, series = RegularSampling(KNOWN, 4).learn(df[df["item_id"] == "a"].drop(columns="item_id"))
    with pytest.raises(ValueError, match="both lack, a column 'item_id'; it is in future= only"):
        one.query(one.ends(series), ahead.assign(item_id="a"))


VALIDATION = {
    "no item column": (lambda df: df[:24].drop(columns="item_id"), "must both have.* 'item_id'; it is in df only"),
    "time zone": (
        lambda df: df.assign(timestamp=df["timestamp"].dt.tz_localize("UTC")),
        "column 'timestamp' of validation= has a time zone, unlike the history",
    ),
}


@pytest.mark.parametrize("kind", VALIDATION)
@pytest.mark.parametrize("sampling", [{"prediction_length": 4, "freq": "h"}, {"freq": None, "horizon": "4h"}])
def test_validation_frames_of_another_kind(kind, sampling):
    change, message = VALIDATION[kind]
    with pytest.raises(ValueError, match=message):
        S5Forecaster(verbose=False, **sampling).fit(frame(), validation=change(frame()))


def test_validation_frames_with_other_times():
    sampling = IrregularSampling(Columns())
    numbers = frame().assign(timestamp=np.tile(np.arange(24.0), 2))
    with pytest.raises(ValueError, match="column 'timestamp' of validation= holds numbers, unlike df; convert it"):
        sampling.check_validation(sampling.read(numbers), sampling.read(frame()))
