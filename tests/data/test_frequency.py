"""Frequencies: numbering, ranges, Periods and inference of every alias, and errors."""

import pickle
import re
from itertools import product

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import MONTHS, WEEKDAYS

TICKS = ["ms", "s", "10s", "min", "5min", "15min", "30min", "h", "2h", "6h"]
WEEKS = [f"W-{day}" for day in WEEKDAYS]
QUARTERS = [f"{stem}-{month}" for stem, month in product(("QS", "QE"), MONTHS)]
YEARS = [f"{stem}-{month}" for stem, month in product(("YS", "YE"), MONTHS)]
MULTIPLES = ["3D", "2B", "2W-TUE", "2MS", "6ME", "2QS-FEB", "2QE-NOV", "2YS-APR", "5YE-MAR"]
ALIASES = [*TICKS, "D", "B", *WEEKS, "MS", "ME", *QUARTERS, *YEARS, *MULTIPLES]
REFUSED = [
    "SME",
    "SMS",
    "WOM-1MON",
    "LWOM-FRI",
    "BMS",
    "BME",
    "BQS",
    "BQE",
    "BYS",
    "BYE",
    "bh",
    "cbh",
    "C",
    "us",
    "ns",
]


def first_stamp(freq: Frequency, after: str = "1999-11-17") -> pd.Timestamp:
    return pd.tseries.frequencies.to_offset(freq.alias).rollforward(pd.Timestamp(after))


@pytest.mark.parametrize("alias", ALIASES)
def test_range_ordinal_period_and_inference_agree(alias):
    freq = Frequency.parse(alias)
    assert freq.alias == alias
    stamps = freq.range(first_stamp(freq), 50)
    assert list(stamps) == list(pd.date_range(stamps[0], periods=50, freq=alias))
    assert freq.ordinal(stamps).dtype == np.int64
    assert (np.diff(freq.ordinal(stamps)) == 1).all()
    periods = [freq.period(stamp) for stamp in stamps]
    assert {period.freqstr for period in periods} == {freq.period_alias}
    assert (np.diff([period.ordinal for period in periods]) == freq.multiple).all()
    assert [freq.timestamp(period) for period in periods] == list(stamps)
    assert list(Frequency.infer(stamps).range(stamps[0], 50)) == list(stamps)


def test_inferred_aliases():
    quarters = ["QS-JAN", "QS-FEB", "QS-MAR", "QE-OCT", "QE-NOV", "QE-DEC"]
    for alias in [
        *TICKS,
        "D",
        "B",
        *WEEKS,
        "MS",
        "ME",
        *quarters,
        *YEARS,
        "3D",
        "2B",
        "2W-TUE",
        "2MS",
        "2YS-APR",
    ]:
        freq = Frequency.parse(alias)
        assert Frequency.infer(freq.range(first_stamp(freq), 30)) == freq, alias


@pytest.mark.parametrize(
    ("given", "alias"),
    [
        *[("H", "h"), ("T", "min"), ("15T", "15min"), ("S", "s"), ("L", "ms"), ("1h", "h"), ("01D", "D")],
        *[("W", "W-SUN"), ("M", "ME"), ("3M", "3ME"), ("Q", "QE-DEC"), ("Q-JAN", "QE-JAN"), ("QS", "QS-JAN")],
        *[("Y", "YE-DEC"), ("A", "YE-DEC"), ("A-MAR", "YE-MAR"), ("YS", "YS-JAN"), ("AS-APR", "YS-APR")],
        *[(pd.offsets.Hour(2), "2h"), (pd.offsets.Minute(15), "15min"), (pd.offsets.BDay(), "B")],
        *[(pd.offsets.MonthBegin(), "MS"), (pd.offsets.QuarterBegin(startingMonth=2), "QS-FEB")],
        *[(pd.offsets.Week(weekday=1), "W-TUE"), (pd.Period("2020", "Q-NOV").freq, "QE-NOV")],
        (Frequency("MS"), "MS"),
    ],
)
def test_parse_takes_old_period_and_offset_spellings(given, alias):
    assert Frequency.parse(given) == Frequency(alias)
    assert Frequency.parse(given).alias == alias


@pytest.mark.parametrize(
    "given", [*REFUSED, "", "0h", "-1h", "1.5h", "1h30min", "D-TUE", "W-JAN", "QS-TUE", "x", None, "3"]
)
def test_parse_refuses_unknown_frequencies_and_lists_the_choices(given):
    with pytest.raises(ValueError, match=r"Unknown frequency .* Choose from ms, s, min, h, D, B, W-MON"):
        Frequency.parse(given)


@pytest.mark.parametrize("step", [0, -1, 1.0, 0.5, True, np.nan])
def test_parse_refuses_numbers_that_are_not_whole_and_positive(step):
    with pytest.raises(ValueError, match=f"freq={step} must be a whole number of at least 1 for integer times"):
        Frequency.parse(step)


@pytest.mark.parametrize("offset", [pd.offsets.SemiMonthEnd(), pd.offsets.CustomBusinessDay(), pd.DateOffset(days=2)])
def test_parse_refuses_irregular_offsets(offset):
    with pytest.raises(ValueError, match="Choose from"):
        Frequency.parse(offset)


def test_parse_refuses_weeks_without_weekday():
    with pytest.raises(ValueError, match=r"no weekday.*'W-SUN'"):
        Frequency.parse(pd.offsets.Week())


@pytest.mark.parametrize(
    ("alias", "unit", "seconds", "season", "seasons"),
    [
        ("ms", "ms", 1e-3, 1, ()),
        ("10s", "s", 10, 360, (360, 8_640)),
        ("min", "min", 60, 1_440, (1_440, 10_080)),
        ("5min", "min", 300, 288, (288, 2_016)),
        ("15min", "min", 900, 96, (96, 672)),
        ("h", "h", 3_600, 24, (24, 168)),
        ("2h", "h", 7_200, 12, (12, 84)),
        ("5h", "h", 18_000, 1, ()),
        ("24h", "h", 86_400, 7, (7,)),
        ("D", "D", 86_400, 7, (7,)),
        ("7D", "D", 604_800, 52, (52,)),
        ("B", "B", 120_960, 5, (5,)),
        ("W-TUE", "W", 604_800, 52, (52,)),
        ("2W-TUE", "W", 1_209_600, 26, (26,)),
        ("MS", "M", 2_629_746, 12, (12,)),
        ("3ME", "M", 7_889_238, 4, (4,)),
        ("QS-FEB", "Q", 7_889_238, 4, (4,)),
        ("YE-DEC", "Y", 31_556_952, 1, ()),
    ],
)
def test_units_seconds_and_seasons(alias, unit, seconds, season, seasons):
    freq = Frequency.parse(alias)
    assert (freq.unit, freq.seconds, freq.season, freq.seasons) == (unit, seconds, season, seasons)


@pytest.mark.parametrize(
    ("alias", "stamp", "period"),
    [
        ("MS", "2020-02-01", pd.Period("2020-02", "M")),
        ("ME", "2020-02-29", pd.Period("2020-02", "M")),
        ("QS-JAN", "2020-04-01", pd.Period("2020Q2", "Q-DEC")),
        ("QS-FEB", "2020-02-01", pd.Period("2021Q1", "Q-JAN")),
        ("QE-NOV", "2020-02-29", pd.Period("2020Q1", "Q-NOV")),
        ("YS-APR", "2020-04-01", pd.Period("2021", "Y-MAR")),
        ("YE-MAR", "2020-03-31", pd.Period("2020", "Y-MAR")),
        ("W-TUE", "2020-03-03", pd.Period("2020-03-03", "W-TUE")),
        ("15min", "2020-03-03 00:45", pd.Period("2020-03-03 00:45", "15min")),
        ("2MS", "2020-03-01", pd.Period("2020-03", "2M")),
    ],
)
def test_anchored_forms_have_the_right_period(alias, stamp, period):
    freq = Frequency.parse(alias)
    assert freq.period(pd.Timestamp(stamp)) == period
    assert freq.period(pd.Timestamp(stamp)).freqstr == period.freqstr
    assert freq.timestamp(period) == pd.Timestamp(stamp)


def test_period_drops_the_time_zone():
    stamp = pd.Timestamp("2020-07-01 09:00", tz="Europe/Berlin")
    assert Frequency.parse("h").period(stamp) == pd.Period("2020-07-01 09:00", "h")


def test_period_refuses_timestamps_between_steps():
    for alias, stamp in [
        ("h", "2020-01-01 00:30"),
        ("D", "2020-01-01 12:00"),
        ("MS", "2020-01-02"),
        ("B", "2020-01-04"),
    ]:
        with pytest.raises(ValueError, match=f"is not a timestamp of freq='{alias}'"):
            Frequency.parse(alias).period(pd.Timestamp(stamp))


def test_timestamp_refuses_periods_of_another_frequency():
    with pytest.raises(ValueError, match=r"freq='QS-FEB' needs Periods of freq 'Q-JAN', not 'Q-DEC'"):
        Frequency.parse("QS-FEB").timestamp(pd.Period("2020Q1", "Q-DEC"))


@pytest.mark.parametrize(
    ("alias", "stamps", "first"),
    [
        ("15min", ["2020-01-01 00:07", "2020-01-01 00:22", "2020-01-01 00:30"], "2020-01-01 00:30:00"),
        ("h", ["2020-01-01 00:00", "2020-01-01 01:30"], "2020-01-01 01:30:00"),
        ("2h", ["2020-01-01 00:00", "2020-01-01 03:00"], "2020-01-01 03:00:00"),
        ("D", ["2020-01-01", "2020-01-02 06:00"], "2020-01-02 06:00:00"),
        ("2D", ["2020-01-01", "2020-01-03", "2020-01-06"], "2020-01-06 00:00:00"),
        ("B", ["2020-01-03", "2020-01-04"], "2020-01-04 00:00:00 .Saturday"),
        ("W-TUE", ["2020-01-07", "2020-01-15"], "2020-01-15 00:00:00 .Wednesday"),
        ("MS", ["2020-01-01", "2020-02-02", "2020-03-03"], "2020-02-02"),
        ("ME", ["2020-01-31", "2020-02-28"], "2020-02-28"),
        ("2MS", ["2020-01-01", "2020-04-01"], "2020-04-01"),
        ("QS-FEB", ["2020-01-01"], "2020-01-01"),
        ("YE-MAR", ["2020-03-31", "2021-12-31"], "2021-12-31"),
    ],
)
def test_ordinal_names_the_first_stamp_off_the_grid(alias, stamps, first):
    with pytest.raises(ValueError, match=f"The timestamp {first}.* is not on the grid of freq='{alias}'"):
        Frequency.parse(alias).ordinal(pd.DatetimeIndex(stamps))


def test_ordinal_of_gaps_missing_and_empty_input():
    hours = Frequency.parse("h")
    assert np.diff(hours.ordinal(pd.DatetimeIndex(["2020-01-01 00:51", "2020-01-01 05:51"]))) == 5
    assert hours.ordinal(pd.DatetimeIndex([])).shape == (0,)
    assert Frequency.parse("D").ordinal(pd.DatetimeIndex([], tz="Europe/Berlin")).shape == (0,)
    with pytest.raises(ValueError, match="NaT"):
        hours.ordinal(pd.DatetimeIndex(["2020-01-01", None]))


@pytest.mark.parametrize("alias", ["B", "D", "W-FRI", "MS", "ME", "YE-DEC"])
def test_ordinal_reaches_past_the_epoch_and_nanoseconds(alias):
    stamps = pd.date_range("1400-01-01", periods=3, freq=alias, unit="s")
    assert (np.diff(Frequency.parse(alias).ordinal(stamps)) == 1).all()
    stamps = pd.date_range("1960-06-01", "1980-06-01", freq=alias)
    assert (np.diff(Frequency.parse(alias).ordinal(stamps)) == 1).all()


def test_range_starts_on_the_grid_only():
    with pytest.raises(ValueError, match="not on the grid of freq='MS'"):
        Frequency.parse("MS").range(pd.Timestamp("2020-01-02"), 3)
    assert len(Frequency.parse("MS").range(pd.Timestamp("2020-01-01"), 0)) == 0


@pytest.mark.parametrize("tz", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kolkata"])
@pytest.mark.parametrize("alias", ["15min", "h", "2h", "D", "B", "W-SUN", "MS", "QE-DEC"])
def test_time_zones_across_daylight_saving(alias, tz):
    freq = Frequency.parse(alias)
    start = first_stamp(freq, "2021-03-01").tz_localize(tz)
    periods = 4_000 if freq.seconds < 86_400 else 40
    stamps = freq.range(start, periods)
    assert stamps[0] == start
    assert str(stamps.tz) == tz
    assert (np.diff(freq.ordinal(stamps)) == 1).all()
    assert Frequency.infer(stamps) == freq
    if freq.seconds < 86_400:
        assert (np.diff(stamps.asi8) == freq.seconds * 1e9).all()
    else:
        assert set(stamps.strftime("%H:%M")) == {"00:00"}


@pytest.mark.parametrize(
    ("tz", "start"),
    [
        ("America/Sao_Paulo", "2018-10-30"),  # midnight is skipped on 4 November
        ("Europe/Berlin", "2021-03-20 02:30"),  # skipped on 28 March
        ("Europe/Berlin", "2021-10-20 02:30"),  # twice on 31 October
    ],
)
def test_days_whose_wall_time_is_skipped_or_ambiguous(tz, start):
    days = Frequency.parse("D")
    stamps = days.range(pd.Timestamp(start, tz=tz), 20)
    assert (np.diff(days.ordinal(stamps)) == 1).all()
    assert Frequency.infer(stamps) == days


def test_other_wall_times_are_off_the_grid_in_time_zones():
    stamps = pd.DatetimeIndex(["2021-03-20", "2021-03-21", "2021-03-22 05:00"], tz="Europe/Berlin")
    with pytest.raises(ValueError, match="2021-03-22 05:00"):
        Frequency.parse("D").ordinal(stamps)


@pytest.mark.parametrize("alias", ["s", "15min", "h", "D", "B", "W-TUE", "MS", "ME", "QS-FEB", "QE-NOV", "YS-APR"])
@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
def test_infer_with_gaps_duplicates_and_disorder(alias, tz):
    freq = Frequency.parse(alias)
    stamps = freq.range(first_stamp(freq).tz_localize(tz), 60)
    kept = np.delete(np.arange(60), [3, 7, 20, 21, 22, 40])
    shuffled = stamps[np.random.default_rng(0).permutation(np.append(kept, kept[:2]))]
    assert Frequency.infer(shuffled) == freq


def test_infer_hours_with_a_missing_day_and_working_days_with_holidays():
    hours = pd.date_range("2021-03-20", periods=24 * 14, freq="h", tz="Europe/Berlin")
    assert Frequency.infer(hours[(hours.day != 28)]).alias == "h"
    days = pd.bdate_range("2020-12-01", "2021-01-31")
    assert Frequency.infer(days.drop(pd.Timestamp("2020-12-25"))).alias == "B"
    assert Frequency.infer(pd.date_range("2020-12-07", "2020-12-11")).alias == "D"  # Monday to Friday, no weekend


@pytest.mark.parametrize(
    ("stamps", "alias"),
    [
        (["2020-01-01 00:00", "2020-01-01 00:15"], "15min"),
        (["2020-01-01", "2020-01-02"], "D"),
        (["2020-01-07", "2020-01-14"], "W-TUE"),
        (["2020-01-01", "2020-02-01"], "MS"),
        (["2020-01-31", "2020-02-29"], "ME"),
        (["2020-02-01", "2020-05-01"], "QS-FEB"),
        (["2019-02-28", "2020-02-29"], "YE-FEB"),
    ],
)
def test_infer_from_two_stamps(stamps, alias):
    assert Frequency.infer(pd.DatetimeIndex(stamps)).alias == alias


@pytest.mark.parametrize("stamps", [[], ["2020-01-01"], ["2020-01-01", "2020-01-01"]])
def test_infer_needs_two_stamps(stamps):
    with pytest.raises(ValueError, match=r"frequency of item 'a' cannot be inferred from \d distinct .* Pass freq="):
        Frequency.infer(pd.DatetimeIndex(stamps), name="item 'a'")


@pytest.mark.parametrize(
    "stamps",
    [
        pd.DatetimeIndex(["2020-01-01 00:00", "2020-01-01 00:07", "2020-01-01 00:21", "2020-01-01 01:00"]),
        pd.to_datetime(np.random.default_rng(0).integers(0, 10**18, 50)),
        pd.date_range("2020-01-01", periods=48, freq="h").append(pd.DatetimeIndex(["2020-01-04 00:07"])),
        pd.date_range("2020-01-15", periods=12, freq="SMS"),
        pd.DatetimeIndex([f"2020-{month:02}-15" for month in range(1, 13)]),
    ],
)
def test_infer_refuses_uneven_stamps_and_describes_them(stamps):
    with pytest.raises(
        ValueError,
        match=r"item 'a' has no regular frequency: .*% of its steps .*, but .* comes .* after .* (Pass freq=|You can)",
    ):
        Frequency.infer(stamps, name="item 'a'")


def test_infer_refuses_missing_stamps():
    with pytest.raises(ValueError, match="NaT"):
        Frequency.infer(pd.DatetimeIndex(["2020-01-01", None, "2020-01-02"]))


def test_frequencies_are_values():
    freq = Frequency.parse("QS-FEB")
    assert pickle.loads(pickle.dumps(freq)) == freq
    assert {freq, Frequency("QS-FEB")} == {freq}
    assert repr(freq) == "Frequency(alias='QS-FEB')"


@pytest.mark.parametrize(
    ("alias", "count", "expected"),
    [("h", 4, "15min"), ("D", 24, "h"), ("2h", 2, "h"), ("15min", 15, "min"), ("15min", 2, "450s"), ("h", 1, "h"),
     ("s", 1000, "ms"), ("2D", 2, "D"), ("7D", 7, "D")],
)  # fmt: skip
def test_divided_steps(alias, count, expected):
    divided = Frequency.parse(alias).divided(count)
    assert divided.alias == expected and divided.seconds * count == pytest.approx(Frequency.parse(alias).seconds)


def test_integer_times_are_written_as_the_argument_freq():
    assert Frequency.parse(5).with_season(3).text == "freq=5" and Frequency("15min").text == "'15min'"
    with pytest.raises(ValueError, match="the steps of freq=5 cannot be divided"):
        Frequency.parse(5).divided(5)


@pytest.mark.parametrize(("alias", "count"), [("MS", 30), ("B", 8), ("W-SUN", 7), ("YE", 4), ("ms", 2), ("s", 7)])
def test_steps_that_cannot_be_divided(alias, count):
    with pytest.raises(ValueError, match=r"cannot be divided|whole number of milliseconds"):
        Frequency.parse(alias).divided(count)


NOT_REGULAR = {
    "4-4-5 calendar": (
        pd.to_datetime("2024-01-01") + pd.to_timedelta(np.cumsum([0] + [28, 28, 35] * 4), unit="D"),
        r"67% of its steps are 28 days.*, but 2024-04-01 .*comes 35 days after 2024-02-26",
    ),
    "steps below 1 ms": (
        pd.date_range("2024-01-01", periods=20, freq="100us"),
        "most of its steps are 100 us, and steps shorter than 1 ms",
    ),
    "wall clock": (
        pd.date_range("2024-03-30", periods=12, freq="6h").tz_localize("Europe/Berlin"),
        r"but 2024-03-31 06:00:00\+02:00 comes 5 h after .*\.dt\.tz_localize\(None\)",
    ),
    "local days in UTC": (
        pd.date_range("2024-03-28", periods=8, freq="D", tz="Europe/Berlin").tz_convert("UTC"),
        r"comes 23 h after .*\.dt\.tz_convert\('Europe/Berlin'\)",
    ),
}


@pytest.mark.parametrize("kind", NOT_REGULAR)
def test_series_without_a_frequency_and_the_ways_out(kind):
    stamps, message = NOT_REGULAR[kind]
    ways = r"S5Forecaster\(freq=None, horizon=\.\.\.\).*s5forecast\.regularize\(\)"
    with pytest.raises(ValueError, match=f"item 'a' has no regular frequency: .*{message}") as caught:
        Frequency.infer(stamps, "item 'a'")
    assert re.search(ways, str(caught.value))
    # No alias describes steps below 1 ms.
    assert ("Pass freq=" in str(caught.value)) == (kind != "steps below 1 ms")


def test_timestamps_off_the_given_grid_and_the_ways_out():
    stamps, _ = NOT_REGULAR["wall clock"]
    ways = r"freq=None.*s5forecast\.regularize\(\).*\.dt\.tz_localize\(None\)"
    with pytest.raises(ValueError, match=rf"2024-03-31 06:00.*is not on the grid of freq='6h'.*{ways}"):
        Frequency("6h").ordinal(stamps)
