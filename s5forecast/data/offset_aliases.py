"""The table of pandas offset aliases, and the parts of an alias: multiple, stem and anchor."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

DAY = 86_400.0
YEAR = 365.2425 * DAY
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Stem(NamedTuple):
    """Properties of an alias without its multiple."""

    unit: str
    seconds: float  # nominal length
    seasons: tuple[int, ...]  # in steps, ascending; the first is the dominant one
    anchor: str = ""  # default anchor


STEMS = {
    "ms": Stem("ms", 1e-3, ()),
    "s": Stem("s", 1.0, (3_600, 86_400)),
    "min": Stem("min", 60.0, (1_440, 10_080)),
    "h": Stem("h", 3_600.0, (24, 168)),
    "D": Stem("D", DAY, (7,)),
    "B": Stem("B", 7 * DAY / 5, (5,)),
    "W": Stem("W", 7 * DAY, (52,), "SUN"),
    "MS": Stem("M", YEAR / 12, (12,)),
    "ME": Stem("M", YEAR / 12, (12,)),
    "QS": Stem("Q", YEAR / 4, (4,), "JAN"),
    "QE": Stem("Q", YEAR / 4, (4,), "DEC"),
    "YS": Stem("Y", YEAR, (), "JAN"),
    "YE": Stem("Y", YEAR, (), "DEC"),
    # Integer times; the length is nominal, so that they have neither a calendar nor a day.
    "step": Stem("step", YEAR, ()),
}
# Period aliases, and those of pandas before 2.2, where M, Q, Y and A are stamped at the end of the period.
SYNONYMS = {"H": "h", "T": "min", "S": "s", "L": "ms", "M": "ME", "Q": "QE", "Y": "YE", "A": "YE", "AS": "YS"}
CONSTANT_UNITS = ("ms", "s", "min", "h", "D")  # units of constant length, ascending
TICKS = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3_600 * 10**9}  # nanoseconds
MONTH_SPANS = {"M": 1, "Q": 3, "Y": 12}
ACCEPTED = (
    "ms, s, min, h, D, B, W-MON to W-SUN, MS, ME, QS-JAN to QS-DEC, QE-JAN to QE-DEC, YS-JAN to YS-DEC, "
    "YE-JAN to YE-DEC, each with an optional integer multiple, as in '15min'; "
    "or a whole number k for integer times that are k apart"
)


@cache
def split_alias(alias: str) -> tuple[int, str, str]:
    """Multiple, stem and anchor of an alias, such as 2, ``"W"`` and ``"SUN"``.

    Raises:
        ValueError: for an unknown alias; the message lists the known ones.
    """
    match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-([A-Z]{3}|[1-9]\d*))?", alias)
    if match is None:
        raise ValueError(f"Unknown frequency {alias!r}. Choose from {ACCEPTED}.")
    multiple, stem, anchor = int(match[1] or 1), SYNONYMS.get(match[2], match[2]), match[3] or ""
    default = STEMS[stem].anchor if stem in STEMS else ""
    anchors = WEEKDAYS if stem == "W" else MONTHS if default else ()
    known = anchor.isdigit() if stem == "step" else anchor in anchors
    if stem not in STEMS or multiple == 0 or (anchor and not known):
        raise ValueError(f"Unknown frequency {alias!r}. Choose from {ACCEPTED}.")
    return multiple, stem, anchor or default


def join_alias(multiple: int, stem: str, anchor: str) -> str:
    """The alias with these parts."""
    return (str(multiple) if multiple > 1 else "") + stem + ("-" + anchor if anchor else "")
