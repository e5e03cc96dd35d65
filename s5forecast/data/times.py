"""Times and rows of irregular series: exact times, their kind and time zone, and rows of several series."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

NANOSECONDS = 10**9


class Instants(NamedTuple):
    """Times of one series, exact and as local wall time."""

    exact: np.ndarray  # [n] int64 nanoseconds since 1970 in UTC, or float64 as given
    clock: np.ndarray  # [n] float64, seconds since 1970 in local wall time; 0 if times are numbers
    aware: bool  # whether datetimes have a time zone

    @property
    def datetimes(self) -> bool:
        return self.exact.dtype == np.int64

    def since(self, origin: np.ndarray) -> np.ndarray:
        """Time since the origin in base units (seconds for datetimes), float64."""
        return self._in_base_units(self.exact - origin)

    def gaps(self) -> np.ndarray:
        """Time since the previous time in base units, float64 ``[n]``; NaN for the first."""
        return np.concatenate([[np.nan], self._in_base_units(np.diff(self.exact))])

    def _in_base_units(self, elapsed: np.ndarray) -> np.ndarray:
        return elapsed / NANOSECONDS if self.datetimes else elapsed


def read_instants(values: Any, field: str, name: str) -> Instants:
    """Convert datetimes, with or without a time zone, or numbers.

    Args:
        values: one-dimensional times.
        field, name: names of the field and of the series in error messages.

    Raises:
        ValueError: for missing times, numbers that are not finite, or values that are not times.
    """
    array = values if isinstance(values, pd.DatetimeIndex | pd.Series) else np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name}: {field} must have one dimension, got shape {array.shape}")
    if pd.api.types.is_numeric_dtype(array.dtype):
        numbers = np.asarray(array, dtype=np.float64)
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"{name}: {field} is {numbers[~np.isfinite(numbers)][0]} in row {np.isfinite(numbers).argmin()}; "
                "drop the row or correct the time"
            )
        return Instants(numbers, np.zeros(len(numbers)), False)
    try:
        stamps = pd.DatetimeIndex(array)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {field} must hold datetimes or numbers ({error})") from error
    if stamps.hasnans:
        raise ValueError(f"{name}: {field} is missing (NaT) in row {stamps.isna().argmax()}; drop the row")
    clock = stamps.tz_localize(None).as_unit("ns").asi8 / NANOSECONDS
    return Instants(stamps.as_unit("ns").asi8, clock, stamps.tz is not None)


def is_duration(value: Any) -> bool:
    """Whether a value is a duration of datetimes rather than a number."""
    # np.timedelta64 is a subclass of np.number.
    return isinstance(value, np.timedelta64) or not isinstance(value, int | float | np.number)


def check_kind(instants: Instants, datetimes: bool | None, field: str, name: str) -> None:
    """Raise ValueError, naming the series, unless the times are datetimes or numbers as expected."""
    if datetimes is not None and instants.datetimes != datetimes:
        found, fix = ("datetimes", "a duration such as '12h'") if instants.datetimes else ("numbers", "a number")
        raise ValueError(
            f"{name}: {field} holds {found}, unlike the horizon or the other times; convert them, or train with {fix} "
            "as the horizon"
        )


def check_zone(instants: Instants, aware: bool, field: str, name: str) -> None:
    """Raise ValueError, naming the series, unless the times have or lack a time zone as expected."""
    if instants.aware != aware:
        zones = ("no time zone", "a time zone")
        raise ValueError(
            f"{name}: {field} has {zones[instants.aware]}, but the other times have {zones[aware]}; make them "
            "consistent with tz_localize or tz_convert"
        )


class IrregularRows(NamedTuple):
    """R rows of k series, sorted by series and time.

    Query times are represented in the same way, with a target of D = 0 columns.
    """

    items: list[Any]  # [k] item_id of each series
    series: np.ndarray  # [R] int64, position in items, ascending
    instants: Instants  # times of the R rows
    target: np.ndarray  # [R, D] float64, NaN where not observed
    covariates: np.ndarray  # [R, F] float32
    column: str  # name of the time column in error messages

    def only(self, kept: Any) -> IrregularRows:
        """The rows selected by a mask or a slice."""
        exact, clock, aware = self.instants
        instants = Instants(exact[kept], clock[kept], aware)
        return self._replace(
            series=self.series[kept],
            instants=instants,
            target=self.target[kept],
            covariates=self.covariates[kept],
        )
