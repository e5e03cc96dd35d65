"""Public holidays as known covariates, from the package ``holidays``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.covariates import Labels
from s5forecast.data.frequency import Frequency
from s5forecast.data.offset_aliases import DAY
from s5forecast.data.timestamps import time_index

NO_HOLIDAY = "none"
LANGUAGE = "en_US"  # of the names, which otherwise follow the locale of the machine


@dataclass(frozen=True)
class HolidayCalendar:
    """Holidays of some countries, at times in the time zone of the series.

    For steps of a day or less, and for irregular series, each country has two covariates: the holiday, a category, and
    the days since the nearest holiday, negative before it. For longer steps it has one: the number of holidays within
    the step. In years of which the package knows no holidays, the distance is missing.

    Args:
        countries: codes of the package ``holidays``, such as ``"US"``.

    Raises:
        ValueError: if the package is not installed, or for an unknown country.
    """

    countries: tuple[str, ...]

    @classmethod
    def parse(cls, holidays: str | Sequence[str] | None) -> HolidayCalendar | None:
        """The calendar of one country or of several; ``None`` without any."""
        if holidays is None:
            return None
        countries = (holidays,) if isinstance(holidays, str) else tuple(dict.fromkeys(holidays))
        if not countries or not all(isinstance(country, str) for country in countries):
            raise ValueError(f"holidays={holidays!r} must be a country code such as 'US', or a list of them")
        if find_spec("holidays") is None:
            raise ValueError(
                f"holidays={holidays!r} requires the package holidays; run pip install 's5forecast[holidays]'"
            )
        calendar = cls(countries)
        for country in countries:
            _holidays(country, 2024, 2024)
        return calendar

    def covariates(
        self, times: Any, frequency: Frequency | None, column: str = "timestamp"
    ) -> tuple[np.ndarray, Labels]:
        """The covariates at R times, float32 ``[F, R]``, and their labels.

        Args:
            times: timestamps; those without a time zone are local times.
            frequency: frequency of the steps that the times belong to, ``None`` for irregular series.
            column: name of the column of times, for the error.

        Raises:
            ValueError: for times that are numbers.
        """
        stamps = time_index(times)
        if not isinstance(stamps, pd.DatetimeIndex):
            raise ValueError(
                f"holidays= requires timestamps, but column {column!r} holds numbers; convert it with pd.to_datetime, "
                "or leave out holidays="
            )
        daily = frequency is None or frequency.seconds <= DAY or frequency.alias == "B"
        find = _of_days if daily else _of_long_steps
        rows: list[np.ndarray] = []
        labels: dict[str, Sequence[str] | None] = {}
        for country in self.countries:
            for name, (row, found) in find(stamps, country, frequency).items():
                rows.append(row)
                labels[f"{name} ({country})"] = found
        return np.stack(rows).astype(np.float32), labels


Found = dict[str, tuple[np.ndarray, Sequence[str] | None]]


def _of_days(stamps: pd.DatetimeIndex, country: str, frequency: Frequency | None) -> Found:
    """The holiday of the day of each time, and the days since the nearest one."""
    day = _days(stamps.tz_localize(None))
    years = stamps.year
    days, names = _holidays(country, years.min(), years.max())
    if not len(days):
        unknown = np.full(len(day), np.nan)
        return {"holiday": (np.zeros(len(day)), [NO_HOLIDAY]), "days since holiday": (unknown, None)}
    after = np.searchsorted(days, day).clip(1, len(days) - 1)
    since, until = day - days[after - 1], days[after] - day
    distance = np.where(until <= since, -until, since)
    nearest = np.where(until <= since, after, after - 1)
    found = np.where(distance == 0, names[nearest], NO_HOLIDAY)
    codes, labels = pd.factorize(np.append(found, NO_HOLIDAY), sort=True)
    return {"holiday": (codes[:-1], labels.tolist()), "days since holiday": (distance, None)}


def _of_long_steps(stamps: pd.DatetimeIndex, country: str, frequency: Frequency | None) -> Found:
    """The number of holidays within each step."""
    assert frequency is not None
    begin, end = frequency.days(stamps)
    first, last = (int(day.astype("datetime64[D]").astype(object).year) for day in (begin.min(), end.max()))
    days, _ = _holidays(country, first, last)
    return {"holidays in step": (np.searchsorted(days, end) - np.searchsorted(days, begin), None)}


def _days(stamps: pd.DatetimeIndex) -> np.ndarray:
    """Days since 1970, int64."""
    return stamps.to_numpy().astype("datetime64[D]").astype(np.int64)


@lru_cache(maxsize=64)
def _holidays(country: str, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970 and names of the holidays, also of the years before the first and after the last one."""
    try:
        found = import_module("holidays").country_holidays(country, years=range(first - 1, last + 2), language=LANGUAGE)
    except NotImplementedError as error:
        raise ValueError(f"holidays={country!r} is not a country of the package holidays: {error}") from error
    ordered = sorted(found.items())
    days = np.array([day for day, _ in ordered], dtype="datetime64[D]").astype(np.int64)
    return days, np.array([name for _, name in ordered], dtype=object)
