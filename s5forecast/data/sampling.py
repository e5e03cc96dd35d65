"""Contract between long frames and models, implemented for regular and irregular series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns, NextRows, Queries, SeriesEnds
from s5forecast.data.frequency import Frequency
from s5forecast.data.holiday_calendar import HolidayCalendar
from s5forecast.data.items import repeat_rows
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable
from s5forecast.data.timestamps import same_zone
from s5forecast.levels import level_name

if TYPE_CHECKING:
    from typing_extensions import Self


class Sampling(ABC):
    """Converts the rows of long frames to GluonTS entries, and forecasts back to rows.

    Attributes:
        kind: name of the kind of sampling, a key of the dictionaries of estimators and backtests.
        holidays: calendar whose holidays are known covariates, if any.
        columns: roles of the columns.
        frequency: frequency of regular series; ``None`` for irregular ones.
    """

    kind: ClassVar[str]
    columns: Columns
    frequency: Frequency | None
    holidays: HolidayCalendar | None

    @property
    def alias(self) -> str | None:
        """Offset alias of the frequency; ``None`` for irregular series."""
        return None if self.frequency is None else self.frequency.alias

    @abstractmethod
    def learn(self, df: pd.DataFrame) -> tuple[Sampling, SeriesTable]:
        """Read the training frame.

        Returns:
            This sampling with what was inferred from the frame, such as the frequency, and the series.

        Raises:
            ValueError: for invalid data, naming the series, the column and the fix.
        """

    @abstractmethod
    def read(self, df: pd.DataFrame, what: str = "df") -> SeriesTable:
        """Check a long frame and convert it to series, in order of first appearance; the frame is not changed.

        Args:
            df: long frame.
            what: name of the frame in error messages.

        Raises:
            ValueError: as for :meth:`learn`.
        """

    @abstractmethod
    def query(
        self,
        ends: SeriesEnds,
        future: pd.DataFrame | None = None,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
    ) -> Queries:
        """The times to forecast after the end of each series.

        Args:
            ends: ends of the series.
            future, times, horizon, every: as for :meth:`s5forecast.S5Forecaster.predict`.

        Raises:
            ValueError: for arguments of the other kind of sampling, and for invalid times or known columns.
        """

    @abstractmethod
    def entries(
        self, series: SeriesTable, statics: StaticFeatures, query: Queries | None = None
    ) -> Sequence[dict[str, Any]]:
        """GluonTS entries of the series; with ``query``, those of its series, with its times and known covariates."""

    @abstractmethod
    def read_next(self, df: pd.DataFrame, ends: SeriesEnds, statics: StaticFeatures) -> NextRows:
        """Check a long frame of the next rows of some series, in any order; the frame is not changed.

        Args:
            df: long frame as in training.
            ends: ends of the series of a stream.
            statics: encoding of the static columns, for new irregular series.

        Raises:
            ValueError: for invalid rows, naming the series, the column and the fix.
        """

    @abstractmethod
    def stream_queries(self, query: Queries, statics: StaticFeatures) -> Any:
        """The query in the form that streams take: entries for regular series, ``IrregularRows`` for irregular ones."""

    @abstractmethod
    def estimator_arguments(self, series: SeriesTable) -> dict[str, Any]:
        """Arguments of the estimator that the sampling determines."""

    @abstractmethod
    def last_observed(self, series: SeriesTable) -> pd.Index:
        """Time of the last step of each regular series, or of the last observed value of each irregular one."""

    def lengths(self, series: SeriesTable) -> np.ndarray:
        """Number of steps of each regular series, or of times with an observed value of each irregular one."""
        return series.lengths

    @abstractmethod
    def divided(self, substeps: int) -> Sampling:
        """The sampling of the same span of time in steps ``substeps`` times as short.

        Raises:
            ValueError: for irregular series.
        """

    def with_kinds(self, statics: StaticFeatures) -> Self:
        """The sampling that reads columns as numbers or categories as in training, which had this encoding."""
        columns = self.columns.with_kinds({**statics.known, **statics.past}, statics.categorical)
        return replace(self, columns=columns)  # type: ignore[type-var]

    def with_holidays(self, series: SeriesTable) -> SeriesTable:
        """The series with their holidays as known covariates."""
        if self.holidays is None:
            return series
        return series.with_known(*self.holidays.covariates(series.timestamps, self.frequency, self.columns.timestamp))

    def query_with_holidays(self, query: Queries) -> Queries:
        """The query with the holidays at its times as known covariates."""
        if self.holidays is None:
            return query
        rows, labels = self.holidays.covariates(query.keys[self.columns.timestamp], self.frequency)
        known = np.concatenate([query.known, rows.T], axis=1)
        return query._replace(known=known, labels={**query.labels, **labels})

    def until(self, series: SeriesTable) -> Any:
        """End of the last series, comparable between frames with different time zones."""
        return self.last_observed(series).max()

    def ends(self, series: SeriesTable) -> SeriesEnds:
        """Ends of the series."""
        positions = {item: position for position, item in enumerate(series.items)}
        return SeriesEnds(positions, self.last_observed(series), keys=series.keys)

    def check_validation(self, validation: SeriesTable, series: SeriesTable) -> None:
        """Raise ValueError unless a validation frame names its series and has times as the training frame."""
        one, other, column = validation.take([0])[0], series.take([0])[0], self.columns.timestamp
        check_same_names(one.item_id is not None, other.item_id is not None, self.columns, "validation=", "df")
        kinds = [isinstance(each.timestamps, pd.DatetimeIndex) for each in (one, other)]
        if kinds[0] != kinds[1]:
            found = "datetimes" if kinds[0] else "numbers"
            raise ValueError(f"column {column!r} of validation= holds {found}, unlike df; convert it")
        if kinds[0]:
            zone = pd.DatetimeIndex(other.timestamps).tz
            same_zone(pd.DatetimeIndex(one.timestamps), zone, f"column {column!r} of validation=")

    def item_columns(self, ends: SeriesEnds, count: int) -> pd.DataFrame:
        """The columns that identify series, each repeated for ``count`` rows; none for a series without a name."""
        keys = ends.keys
        if keys is None:
            keys = pd.DataFrame({self.columns.item_id: ends.items} if ends.named else {}, range(len(ends.items)))
        return repeat_rows(keys, count)

    def frame(self, query: Queries, mean: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> pd.DataFrame:
        """Long frame of forecasts, in the order of the query.

        Args:
            query: M times of one or more series.
            mean: means sorted by series, ``[S, H]`` or ``[M, D]``.
            quantiles: quantiles in the same order, with an additional last dimension Q.
            levels: Q quantile levels.

        Returns:
            A frame with the keys of the query and the columns ``mean``, ``"0.1"`` …, or ``<target>_mean``,
            ``<target>_0.1`` … for several targets.
        """
        M, D = len(query.keys), len(self.columns.targets)
        mean, quantiles = query.in_order(mean.reshape(M, D)), query.in_order(quantiles.reshape(M, D, -1))
        values = {}
        for number, target in enumerate(self.columns.targets):
            prefix = "" if D == 1 else f"{target}_"
            values[f"{prefix}mean"] = mean[:, number]
            values |= {f"{prefix}{level_name(q)}": quantiles[:, number, i] for i, q in enumerate(levels)}
        keys = query.keys if query.given is None else query.keys.assign(**{self.columns.timestamp: query.given})
        return pd.concat([keys, pd.DataFrame(values, index=keys.index)], axis=1)

    def samples_frame(self, query: Queries, samples: np.ndarray) -> pd.DataFrame:
        """Long frame of ``samples [S, H, N]``, with columns ``sample_0``, ``sample_1`` …"""
        names = [f"sample_{number}" for number in range(samples.shape[-1])]
        return pd.concat([query.keys, pd.DataFrame(samples.reshape(len(query.keys), -1), columns=names)], axis=1)

    def history_frame(self, series: SeriesTable) -> pd.DataFrame:
        """Long frame of the targets."""
        values = dict(zip(self.columns.targets, np.atleast_2d(series.target), strict=True))
        rows = pd.DataFrame({self.columns.timestamp: series.timestamps, **values})
        return pd.concat([repeat_rows(series.keys, series.lengths), rows], axis=1)

    def require_regular(self, name: str, fix: str) -> None:  # noqa: B027, regular series pass
        """Raise ValueError for irregular series: ``name`` requires regular ones. The message ends with the ``fix``."""

    def warn_of_unobserved(self, series: SeriesTable) -> None:  # noqa: B027, irregular series end with an observation
        """Warn if every regular series ends with steps without a target, which are not forecast."""

    def warn_of_far(self, query: Queries) -> None:  # noqa: B027, the horizon of regular series is fixed
        """Warn if a query time is beyond the horizon of the training."""


def check_same_names(named: bool, expected: bool, columns: Columns, what: str, other: str) -> None:
    """Raise ValueError unless two frames both have the columns that identify series, or both lack them."""
    if named != expected:
        names = ", ".join(map(repr, columns.identity))
        raise ValueError(
            f"{what} and {other} must both have, or both lack, a column {names}; it is in "
            f"{what if named else other} only"
        )


def check_prediction_length(length: Any) -> None:
    """Raise ValueError unless ``length`` is a positive whole number."""
    if not isinstance(length, Integral) or length < 1:
        raise ValueError(f"prediction_length must be a whole number of at least 1, got {length!r}")
