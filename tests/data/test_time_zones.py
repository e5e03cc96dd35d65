"""Names of time zones of any library."""

from datetime import timedelta, timezone
from zoneinfo import ZoneInfo

import dateutil.tz
import pandas as pd
import pytest

from s5forecast.data.time_zones import zone_name

ZONES = {
    "pytz": (lambda: pytest.importorskip("pytz").timezone("Europe/Berlin"), "Europe/Berlin"),
    "pytz with a fixed offset": (lambda: pytest.importorskip("pytz").FixedOffset(120), "UTC+02:00"),
    "pytz UTC": (lambda: pytest.importorskip("pytz").utc, "UTC"),
    "dateutil": (lambda: dateutil.tz.gettz("Europe/Berlin"), "Europe/Berlin"),
    "dateutil with a fixed offset": (lambda: dateutil.tz.tzoffset(None, -16200), "UTC-04:30"),
    "dateutil UTC": (dateutil.tz.tzutc, "UTC"),
    "datetime": (lambda: timezone(timedelta(hours=2)), "UTC+02:00"),
    "zoneinfo": (lambda: ZoneInfo("Etc/GMT-2"), "Etc/GMT-2"),
}


@pytest.mark.parametrize("library", ZONES)
def test_pandas_reads_the_name(library):
    make, name = ZONES[library]
    zone = make()
    assert zone_name(zone) == name
    for day in ("2024-01-15", "2024-07-15"):
        stamp = pd.Timestamp(day, tz="UTC")
        assert stamp.tz_convert(zone_name(zone)).utcoffset() == stamp.tz_convert(zone).utcoffset()


def test_a_zone_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"cannot be saved, because the zone has no name .* tz_convert"):
        zone_name(dateutil.tz.tzstr("CET-1CEST,M3.5.0,M10.5.0/3"))
