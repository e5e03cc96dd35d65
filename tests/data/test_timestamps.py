"""One form of time for columns of any kind, and the advice for columns that cannot be read."""

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from s5forecast import regularize
from s5forecast.data.faults import SeriesError
from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_frames import read_frame
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.timestamps import require_datetimes, to_timestamps

DAYS = pd.date_range("2024-03-29", periods=5, freq="D")
HOURS = pd.date_range("2024-03-30 22:00", periods=6, freq="h", tz="Europe/Berlin")  # daylight saving begins
BERLIN = ZoneInfo("Europe/Berlin")

FORMS = {
    "nanoseconds": (lambda: DAYS.to_series(), DAYS),
    "seconds": (lambda: DAYS.as_unit("s").to_series(), DAYS),
    "text": (lambda: pd.Series(DAYS.strftime("%Y-%m-%d")), DAYS),
    "string dtype": (lambda: pd.Series(DAYS.strftime("%Y-%m-%d"), dtype="string"), DAYS),
    "categories": (lambda: pd.Series(DAYS.strftime("%Y-%m-%d"), dtype="category"), DAYS),
    "categories of datetimes": (lambda: pd.Series(DAYS, dtype="category"), DAYS),
    "dates": (lambda: pd.Series(DAYS.date, dtype=object), DAYS),
    "Python datetimes": (lambda: pd.Series(list(DAYS.to_pydatetime()), dtype=object), DAYS),
    "NumPy datetimes": (lambda: pd.Series(list(DAYS.to_numpy()), dtype=object), DAYS),
    "Arrow": (lambda: pd.Series(DAYS).astype("timestamp[ns][pyarrow]"), DAYS),
    "Arrow microseconds": (lambda: pd.Series(DAYS).astype("timestamp[us][pyarrow]"), DAYS),
    "Arrow dates": (lambda: pd.Series(DAYS).astype("date32[day][pyarrow]"), DAYS),
    "Arrow text": (lambda: pd.Series(DAYS.strftime("%Y-%m-%d"), dtype="string[pyarrow]"), DAYS),
    "time zone": (lambda: HOURS.to_series(), HOURS),
    "Arrow time zone": (lambda: pd.Series(HOURS).astype("timestamp[ns, tz=Europe/Berlin][pyarrow]"), HOURS),
    "Python time zone": (lambda: pd.Series([one.to_pydatetime() for one in HOURS], dtype=object), HOURS),
    "offset": (lambda: pd.Series([one.isoformat() for one in HOURS.tz_convert("UTC")]), HOURS),
}
MIXED = {
    "text": lambda stamps: [one.isoformat() for one in stamps],
    "Python datetimes": lambda stamps: [
        one.to_pydatetime().replace(tzinfo=timezone(timedelta(hours=int(one.utcoffset().total_seconds() // 3600))))
        for one in stamps
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_columns_of_any_kind_become_datetimes(form):
    make, expected = FORMS[form]
    found = to_timestamps(make())
    assert pd.api.types.is_datetime64_any_dtype(found.dtype)
    assert (found.dt.tz is None) == (expected.tz is None)
    assert found.reset_index(drop=True).equals(pd.Series(expected, dtype=found.dtype))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sampling", [RegularSampling(Columns(), 2), IrregularSampling(Columns(), "1D")])
def test_every_way_to_read_frames(form, sampling):
    make, expected = FORMS[form]
    df = pd.DataFrame({"timestamp": make().array, "target": np.arange(len(expected), dtype=float)})
    fixed, series = sampling.learn(df.iloc[:3])
    assert (pd.DatetimeIndex(series.timestamps) == expected[:3]).all()
    ends = fixed.ends(series)
    fresh = fixed.read_next(df.iloc[3:], ends, StaticFeatures()).ends
    assert fresh.last[0] == expected[-1]
    if sampling.kind == "irregular":
        query = fixed.query(ends, times=df.iloc[3:][["timestamp"]])
        assert (pd.DatetimeIndex(query.keys["timestamp"]) == expected[3:]).all()
    else:
        assert pd.DatetimeIndex(fixed.query(ends).keys["timestamp"])[0] == expected[3]
    grid = regularize(df, "D" if expected is DAYS else "h").frame
    assert len(grid) == len(expected)


@pytest.mark.parametrize("form", FORMS)
def test_future_frames(form):
    make, expected = FORMS[form]
    df = pd.DataFrame({"timestamp": make().array, "target": 1.0, "price": np.arange(len(expected), dtype=float)})
    sampling, series = RegularSampling(Columns(known=("price",)), 2).learn(df.iloc[:3])
    known = sampling.query(sampling.ends(series), df.iloc[3:5]).known
    assert known[:, 0].tolist() == [3, 4]


@pytest.mark.parametrize("form", MIXED)
def test_several_offsets_become_utc_with_one_warning(form):
    values = MIXED[form](HOURS)
    df = pd.DataFrame({"timestamp": pd.Series(values, dtype=object), "target": np.arange(6.0)})
    for sampling in (RegularSampling(Columns(), 2), IrregularSampling(Columns(), "1D")):
        with pytest.warns(UserWarning, match=r"'timestamp' has several UTC offsets.*tz_convert\('Europe") as caught:
            _, (one,) = sampling.learn(df)
        assert len(caught) == 1
        stamps = pd.DatetimeIndex(one.timestamps)
        assert str(stamps.tz) == "UTC" and (stamps == HOURS).all()
    assert caught[0].filename == __file__


@pytest.mark.parametrize("frequency", ["infer", "D"])
def test_local_days_with_several_offsets_need_their_time_zone(frequency):
    days = pd.date_range("2024-03-28", periods=6, freq="D", tz="Europe/Berlin")
    df = pd.DataFrame({"timestamp": [one.isoformat() for one in days], "target": 1.0})
    with (
        pytest.warns(UserWarning, match="converted to UTC"),
        pytest.raises(ValueError, match=r"the series.*local times.*\.dt\.tz_convert\('Europe/Berlin'\)"),
    ):
        read_frame(df, Columns(), frequency)


def test_times_with_and_without_offset_are_refused():
    values = pd.Series(["2024-01-01T10:00", "2024-01-01T11:00+01:00"], name="when")
    with pytest.raises(ValueError, match="'when' has times with and without a UTC offset, for example 2024-01-01T11"):
        to_timestamps(values)
    stamps = pd.Series([datetime(2024, 1, 1), datetime(2024, 1, 2, tzinfo=BERLIN)], name="when", dtype=object)
    with pytest.raises(ValueError, match="with and without a UTC offset"):
        to_timestamps(stamps)


@pytest.mark.parametrize(
    "old", [["1492-10-12", "1493-10-12"], [date(1492, 10, 12), None], ["2500-01-01", "2501-01-01"]]
)
def test_years_outside_the_range_of_nanoseconds(old):
    found = to_timestamps(pd.Series(old, dtype=object))
    assert found.dtype == "datetime64[us]"
    assert str(found[0])[:10] == str(old[0])


NUMBERS = {
    "years": ([2020, 2021], "format='%Y'"),
    "months": ([202001, 202002], "format='%Y%m'"),
    "days": ([20200101, 20200102], "format='%Y%m%d'"),
    "days of a spreadsheet": ([43_831, 43_832], "unit='D', origin='1899-12-30'"),
    "hours of days": ([2020010100, 2020010123], "format='%Y%m%d%H'"),
    "minutes of days": ([202001010000, 202001012359], "format='%Y%m%d%H%M'"),
    "seconds of days": ([20200101000000, 20200101235959], "format='%Y%m%d%H%M%S'"),
    "seconds that are no hours of days": ([2020013100, 2020013200], "unit='s'"),
    "seconds": ([1_577_836_800, 1_577_840_400], "unit='s'"),
    "milliseconds": ([1_577_836_800_000.0, 1_577_840_400_000.0], "unit='ms'"),
    "microseconds": ([1_577_836_800_000_000, 1_577_840_400_000_000], "unit='us'"),
    "nanoseconds": ([1_577_836_800_000_000_000, 1_577_840_400_000_000_000], "unit='ns'"),
}


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("dtype", ["as given", object, "category"])
def test_advice_for_numbers_names_the_unit(kind, dtype):
    numbers, arguments = NUMBERS[kind]
    df = pd.DataFrame({"day": pd.Series(numbers, dtype=None if dtype == "as given" else dtype)})
    with pytest.raises(ValueError, match=r"column 'day' must hold timestamps.* suggest") as caught:
        require_datetimes(df["day"])
    line = str(caught.value).split("suggest ")[1].split(";")[0]
    assert arguments in line
    if dtype == "as given" and "that are no" not in kind:
        exec(line, {"df": df, "pd": pd})
        assert df["day"].dt.year.tolist() == [2020, 2021 if kind == "years" else 2020]


OLD = pd.date_range("1500-01-01", periods=6, freq="YS", unit="s")
LATE = pd.date_range(end="2262-04-10", periods=6, freq="D")


OLD_TIMES = {
    "datetimes": OLD, "with a time zone": OLD.tz_localize("UTC"), "text": OLD.strftime("%Y-%m-%d"),
    "microseconds": OLD.as_unit("us").shift(900), "periods": pd.period_range("1500-01-01", periods=6, freq="D"),
}  # fmt: skip


@pytest.mark.parametrize("times", OLD_TIMES.values(), ids=OLD_TIMES)
@pytest.mark.parametrize("sampling", [RegularSampling(Columns(), 2), IrregularSampling(Columns(), "1D")])
def test_years_that_are_not_supported_are_refused_with_the_series(sampling, times):
    df = pd.DataFrame({"item_id": "a", "timestamp": times, "target": 1.0})
    with pytest.raises(ValueError, match=r"series 'a': column 'timestamp' has .* from 1678 to 2261.*freq=1"):
        sampling.learn(df)


@pytest.mark.parametrize("freq", ["D", "h", "YE"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_horizons_that_end_too_late_are_refused_before_training(freq, zone):
    times = pd.date_range(end="2262-03-31", periods=6, freq=freq, tz=zone)
    df = pd.DataFrame({"item_id": "a", "timestamp": times, "target": 1.0})
    with pytest.raises(ValueError, match=r"series 'a': \d+ steps of '.*' after 22.* are too many: .*freq=1"):
        RegularSampling(Columns(), 1000).learn(df)


def test_forecasts_that_end_too_late_name_the_series():
    df = pd.concat([pd.DataFrame({"item_id": item, "timestamp": LATE.shift(-9 * late), "target": 1.0})
                    for late, item in enumerate("ba")])  # fmt: skip
    sampling, series = RegularSampling(Columns(), 1).learn(df)
    with pytest.raises(SeriesError, match=r"series 'b': 3 steps of 'D' after 2262-04-10 .* are too many") as caught:
        replace(sampling, prediction_length=3).query(sampling.ends(series))
    assert list(caught.value.reasons) == ["series 'b'"]
    irregular, series = IrregularSampling(Columns()).learn(df)
    with pytest.raises(SeriesError, match="series 'b': horizon=3D after 2262-04-10") as caught:
        irregular.query(irregular.ends(series), horizon="3D", every="1D")
    assert list(caught.value.reasons) == ["series 'b'"]


def test_irregular_times_that_are_too_late():
    sampling, series = IrregularSampling(Columns()).learn(pd.DataFrame({"timestamp": LATE, "target": 1.0}))
    ends = sampling.ends(series)
    with pytest.raises(ValueError, match=r"horizon=.* after 2262-04-10 .* is too late: .*freq=None"):
        sampling.query(ends, horizon="100D", every="50D")
    late = pd.DataFrame({"timestamp": pd.Series(np.array(["2300-01-01"], dtype="datetime64[s]"))})
    with pytest.raises(ValueError, match="column 'timestamp' of times= has 2300-01-01"):
        sampling.query(ends, times=late)


def test_advice_for_times_between_whole_numbers_is_not_a_year():
    with pytest.raises(ValueError, match=r"got float64; pass freq=None \(irregular\)"):
        require_datetimes(pd.Series([1960.0, 1960.5], name="day"))


def test_durations_are_refused_with_the_conversion():
    with pytest.raises(ValueError, match=r"got timedelta64\[ns\]; add the time .* df\['day'\]\.dt\.total_seconds\(\)"):
        require_datetimes(pd.Series(pd.to_timedelta([1, 2], unit="h"), name="day"))


@pytest.mark.parametrize(
    "alias, stamped",
    [
        ("M", "MS"), ("Q-DEC", "QS-JAN"), ("W-SUN", "W-SUN"), ("W-FRI", "W-FRI"), ("2W-SUN", "2W-SUN"), ("D", "D"),
        ("h", "h"),
    ],
)  # fmt: skip
def test_periods_are_stamped_by_their_start_and_weeks_by_their_last_day(alias, stamped):
    periods = pd.period_range("2024-01", periods=8, freq=alias)
    values = np.arange(8.0)
    frames = [
        pd.DataFrame({"target": values}, periods),
        pd.DataFrame({"timestamp": periods, "target": values}),
        pd.DataFrame({"timestamp": list(periods), "target": values}).astype({"timestamp": object}),
        pd.Series(values, periods),
        pd.DataFrame({"target": values}, pd.MultiIndex.from_product([["a"], periods], names=["item_id", "timestamp"])),
    ]
    for frame in frames:
        sampling, series = RegularSampling(Columns(), 2).learn(frame)
        stamps = periods.end_time.normalize() if "W" in alias else periods.to_timestamp()
        assert series.timestamps.tolist() == stamps.tolist()
        assert sampling.frequency == Frequency.parse(stamped)


TEXT = {
    "seconds": (["1577836800", "1577840400"], "unit='s'", "2020-01-01 01:00"),
    "hours of days": (["2020010100", "2020010101"], "format='%Y%m%d%H'", "2020-01-01 01:00"),
    "days of a spreadsheet": (["43831", "43832"], "origin='1899-12-30'", "2020-01-02"),
    "afternoon": (["01/13/2020 11:05 AM", "01/13/2020 1:05 PM"], "'%m/%d/%Y %I:%M %p'", "2020-01-13 13:05"),
    "year first": (
        ["2020-01-13 11:05:09 am", "2020-01-13 1:05:09 pm"],
        "'%Y-%m-%d %I:%M:%S %p'",
        "2020-01-13 13:05:09",
    ),
    "without a space": (["13.01.2020 11:05AM", "13.01.2020 1:05PM"], "'%d.%m.%Y %I:%M%p'", "2020-01-13 13:05"),
    "weeks": (["2020-W01", "2020-W02"], "'%G-W%V-%u'", "2020-01-06"),
    "days of weeks": (["2020W011", "2020W012"], "'%GW%V%u'", "2019-12-31"),
}


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("dtype", [object, "string"])
def test_the_line_that_reads_text(kind, dtype):
    values, arguments, second = TEXT[kind]
    df = pd.DataFrame({"day": pd.Series(values, dtype=dtype)})
    with pytest.raises(ValueError, match="cannot be read as ISO 8601 timestamps") as caught:
        to_timestamps(df["day"])
    line = str(caught.value).split("convert it first: ")[1]
    assert arguments in line
    exec(line, {"df": df, "pd": pd})
    assert df["day"][1] == pd.Timestamp(second)


def test_text_of_numbers_of_steps():
    with pytest.raises(
        ValueError, match=r"df\['day'\] = pd.to_numeric\(df\['day'\]\), and pass freq=1 if they are numbers"
    ):
        to_timestamps(pd.Series(["17", "18"], name="day"))
