"""Names of time zones in saved streams."""

from __future__ import annotations

from datetime import timezone, tzinfo
from zoneinfo import available_timezones


def zone_name(zone: tzinfo) -> str:
    """Name of a time zone in the IANA database, or its fixed offset such as ``"UTC+02:00"``, which pandas can read.

    Args:
        zone: time zone of zoneinfo, pytz, dateutil or datetime.

    Raises:
        ValueError: for a time zone that has neither, with the fix.
    """
    known = available_timezones()
    found = next((name for name in _names(zone) if name in known), None)
    if found is not None:
        return found
    offset = zone.utcoffset(None)
    if offset is None or offset.total_seconds() % 60:
        raise ValueError(
            f"a stream with the time zone {zone!r} cannot be saved, because the zone has no name in the IANA database; "
            "start the stream from histories with a named time zone, for example tz_convert('Europe/Berlin')"
        )
    return str(timezone(offset))


def _names(zone: tzinfo) -> list[str]:
    """Possible names: those of zoneinfo and pytz, and the ends of the path of the file that dateutil has read."""
    parts = str(getattr(zone, "_filename", "")).split("/")
    paths = ["/".join(parts[first:]) for first in range(len(parts))]
    return [str(name) for name in (getattr(zone, "key", None), getattr(zone, "zone", None), *paths) if name]
