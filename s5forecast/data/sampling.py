"""The contract between long frames and models, which regular and irregular series implement."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns, FrameSeries, NextRows, Queries, SeriesEnds
from s5forecast.data.frequency import Frequency
from s5forecast.data.statics import StaticFeatures
from s5forecast.levels import level_name


class Sampling(ABC):
    """How the rows of long frames become GluonTS entries, and forecasts become rows again.

    Attributes:
        kind: name of the kind of sampling.
        columns: roles of the columns.
        frequency: of regular series.
    """

    kind: ClassVar[str]
    columns: Columns
    frequency: Frequency | None

    @property
    def alias(self) -> str | None:
        """Offset alias of the frequency."""
        return None if self.frequency is None else self.frequency.alias

    @abstractmethod
    def learn(self, df: pd.DataFrame) -> tuple[Sampling, list[FrameSeries]]:
        """Read the training frame; the sampling returned has what was learned from it, such as the frequency.

        Raises:
            ValueError: for a frame that does not fit, naming the series, the column and the fix.
        """

    @abstractmethod
    def read(self, df: pd.DataFrame) -> list[FrameSeries]:
        """Check a long frame and split it into series, in order of first appearance; the frame is not changed.

        Raises:
            ValueError: as :meth:`learn`.
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
            ends: of the series.
            future, times, horizon, every: as for :meth:`s5forecast.S5Forecaster.predict`.

        Raises:
            ValueError: for arguments of the other kind of sampling, or times or known columns that do not fit.
        """

    @abstractmethod
    def entries(
        self, series: Sequence[FrameSeries], statics: StaticFeatures, query: Queries | None = None
    ) -> list[dict[str, Any]]:
        """GluonTS entries of the series; with ``query``, of the series it contains and with what it asks for."""

    @abstractmethod
    def read_next(self, df: pd.DataFrame, ends: SeriesEnds, statics: StaticFeatures) -> NextRows:
        """Check a long frame of the next rows of some series, in any order; the frame is not changed.

        Args:
            df: long frame as in training.
            ends: of the series of a stream.
            statics: encodes the static columns of new irregular series.

        Raises:
            ValueError: for rows that do not fit, naming the series, the column and the fix.
        """

    @abstractmethod
    def stream_queries(self, query: Queries) -> Any:
        """The query as a stream takes it: entries of the horizons of regular series, ``IrregularRows`` of others."""

    @abstractmethod
    def estimator_arguments(self, series: Sequence[FrameSeries]) -> dict[str, Any]:
        """Estimator arguments that follow from the sampling of the training series."""

    @abstractmethod
    def last_observed(self, one: FrameSeries) -> Any:
        """Time of the last observation of a series."""

    @abstractmethod
    def divided(self, substeps: int) -> Sampling:
        """The same span of time in steps ``substeps`` times as short.

        Raises:
            ValueError: for irregular series.
        """

    def last(self, one: FrameSeries) -> Any:
        """The moment after which nothing of a series was seen, comparable between series."""
        return self.last_observed(one)

    def ends(self, series: Sequence[FrameSeries]) -> SeriesEnds:
        """Where the series end."""
        positions = {one.item_id: position for position, one in enumerate(series)}
        return SeriesEnds(positions, [self.last_observed(one) for one in series])

    def frame(self, query: Queries, mean: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> pd.DataFrame:
        """Long frame of forecasts, in the order of the query.

        Args:
            query: M times of one or more series.
            mean: ``[S, H]`` or ``[M, D]``, sorted by series.
            quantiles: the same with a last dimension Q.
            levels: Q quantile levels.

        Returns:
            The keys of the query, ``mean`` and ``"0.1"`` …; ``<target>_mean`` and ``<target>_0.1`` … for several
            targets.
        """
        M, D = len(query.keys), len(self.columns.targets)
        mean, quantiles = query.in_order(mean.reshape(M, D)), query.in_order(quantiles.reshape(M, D, -1))
        values = {}
        for number, target in enumerate(self.columns.targets):
            prefix = "" if D == 1 else f"{target}_"
            values[f"{prefix}mean"] = mean[:, number]
            values |= {f"{prefix}{level_name(q)}": quantiles[:, number, i] for i, q in enumerate(levels)}
        return pd.concat([query.keys, pd.DataFrame(values, index=query.keys.index)], axis=1)

    def samples_frame(self, query: Queries, samples: np.ndarray) -> pd.DataFrame:
        """Long frame of ``samples [S, H, N]``, in columns sample_0, sample_1 ..."""
        names = [f"sample_{number}" for number in range(samples.shape[-1])]
        return pd.concat([query.keys, pd.DataFrame(samples.reshape(len(query.keys), -1), columns=names)], axis=1)

    def history_frame(self, series: Sequence[FrameSeries]) -> pd.DataFrame:
        """Long frame of the targets."""
        frames = []
        for one in series:
            keys = {} if one.item_id is None else {self.columns.item_id: one.item_id}
            values = dict(zip(self.columns.targets, np.atleast_2d(one.target), strict=True))
            frames.append(pd.DataFrame({**keys, self.columns.timestamp: one.timestamps, **values}))
        return pd.concat(frames, ignore_index=True)

    def require_regular(self, name: str, fix: str) -> None:  # noqa: B027, regular series pass
        """Raise ValueError, with the fix, if the series are irregular."""

    def warn_of_far(self, query: Queries) -> None:  # noqa: B027, the horizon of regular series is fixed
        """Warn if a time lies beyond the horizon that the model was trained for."""


def check_prediction_length(length: Any) -> None:
    """Raise ValueError unless ``length`` is a positive whole number."""
    if not isinstance(length, Integral) or length < 1:
        raise ValueError(f"prediction_length must be a whole number of at least 1, got {length!r}")
