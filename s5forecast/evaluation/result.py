"""Result of a backtest: forecasts of past windows, the observed values, and metrics of any subset."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frame_kinds import PANDAS, Frame, FrameKind, takes_frames, to_pandas
from s5forecast.data.frames import Columns
from s5forecast.data.items import column_labels
from s5forecast.evaluation.definitions import warn_of_zeros
from s5forecast.evaluation.metrics import (
    DEFAULT_METRICS,
    HORIZON,
    SERIES,
    JointScore,
    aggregate,
    definitions,
    joint_scores,
    metric_names,
)
from s5forecast.evaluation.scores import crps, pit, pit_from_quantiles
from s5forecast.levels import level_name, quantile_columns, sample_columns

COLUMNS = ("item_id", "cutoff", "timestamp", "target")
WINDOW = ["item_id", "cutoff"]
KEYS = [*WINDOW, "timestamp"]
TIMES = ("fit_seconds", "predict_seconds")
WIDTH = 120  # of a table as text
CROSSING = 1e-6  # relative; smaller crossings are rounding errors


@dataclass(frozen=True, eq=False)
class Backtest:
    """Forecasts of past windows with the observed values, and their metrics. Figures are in ``s5forecast.plotting``.

    A UserWarning reports quantiles that cross.

    Args:
        name: name of the model.
        forecasts: long frame with a row per series, window and step: item_id, cutoff (time of the last value
            in the history), timestamp, target (NaN if not observed), mean, quantiles "0.1", "0.2" ...
            and samples "sample_0", "sample_1" ...
        seasonal_error: mean absolute seasonal difference of the history of each window, indexed by
            (item_id, cutoff) or by item_id; required by metrics that are scaled by it.
        metric_names: names in ``METRICS``, or GluonTS metric definitions.
        seconds: time to predict all windows.
        fit_seconds: time to fit the model; if given, part of the metrics.
        squared_seasonal_error: as ``seasonal_error``, the mean squared difference; required by RMSSE.
        skipped: series that were left out because of an error in their data, and the reasons; None unless
            ``on_error="skip"``.
        columns: column roles of the frame that was backtested, whose names ``forecasts`` has, except a name that
            another column of the forecasts has, such as ``"cutoff"``; the given frame may have them or the standard
            names.
        kind: kind of the frame ``forecasts``.

    Attributes:
        rows: ``forecasts`` as a pandas frame with the standard names, and the label of each series as text or a number
            in item_id.

    Raises:
        ValueError: a column is missing, a forecast is NaN or a target infinite.
    """

    name: str
    forecasts: Frame
    seasonal_error: pd.Series | None = None
    metric_names: Sequence[Any] = DEFAULT_METRICS
    seconds: float | None = None
    fit_seconds: float | None = None
    squared_seasonal_error: pd.Series | None = None
    columns: Columns | None = None
    skipped: pd.DataFrame | None = None
    kind: FrameKind = PANDAS
    rows: pd.DataFrame = field(init=False)
    _forecasts: pd.DataFrame = field(init=False, repr=False)

    def __post_init__(self) -> None:
        given = to_pandas(self.forecasts)
        own = {name: standard for name, standard in self._given_names.items() if standard not in given.columns}
        rows = given.rename(columns=own) if own else given
        object.__setattr__(self, "rows", rows)
        self._set_forecasts(rows.rename(columns=self._own_names))
        missing = [column for column in COLUMNS if column not in self.rows.columns]
        if missing or self.rows.empty:
            raise ValueError(f"the forecasts of {self.name!r} have no rows, or no columns {missing}")
        items = rows["item_id"]
        labels = column_labels(items).astype(object)  # categories without rows are no series
        if labels.dtype != items.dtype or labels is not items:
            object.__setattr__(self, "rows", rows.assign(item_id=labels))
        absent = self.rows[self._forecast_columns + sample_columns(self.rows)].isna().any(axis=1)
        if absent.any():
            row = self.rows[absent].iloc[0]
            when = f"{row['timestamp']}, made at {row['cutoff']}"
            raise ValueError(f"the forecast by {self.name!r} of series {row['item_id']!r} at {when}, is NaN")
        infinite = np.isinf(self.rows["target"].to_numpy(dtype=float))
        if infinite.any():
            row = self.rows[infinite].iloc[0]
            raise ValueError(f"the target of series {row['item_id']!r} at {row['timestamp']} is infinite")
        self._warn_of_crossing()

    def as_kind(self, kind: FrameKind) -> Backtest:
        """The backtest with ``forecasts`` in another kind of frame; cutoffs have the dtype of timestamps."""
        found = copy(self)
        time = kind.dtypes.get(self._own_names.get("timestamp", "timestamp"))
        object.__setattr__(found, "kind", replace(kind, dtypes={"cutoff": time, **kind.dtypes}))
        found._set_forecasts(self._forecasts)
        return found

    def _set_forecasts(self, frame: pd.DataFrame) -> None:
        object.__setattr__(self, "_forecasts", frame)
        object.__setattr__(self, "forecasts", self.kind.convert(frame))

    def with_standard_names(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A frame with the column names of the one that was backtested, with the standard names instead."""
        return frame.rename(columns=self._given_names)

    def with_rows(self, rows: pd.DataFrame, **changes: Any) -> Backtest:
        """The backtest with other values in ``rows``, whose order is the same."""
        return replace(self, forecasts=rows.assign(item_id=self._items), **changes)

    def given_items(self, index: pd.Index) -> pd.Index:
        """An index of groups with the values of the item column in place of the labels of series."""
        places = [place for place, name in enumerate(index.names) if self._sources.get(name) == "item_id"]
        if not places or self.rows["item_id"].equals(self._items):
            return index
        if not isinstance(index, pd.MultiIndex):
            return self._item_values(index)
        values: Any = self._item_values(index.levels[places[0]])
        return index.set_levels([values], level=places)

    def _item_values(self, labels: pd.Index) -> pd.Index:
        first = ~self.rows["item_id"].duplicated()
        given = dict(zip(self.rows["item_id"][first], self._items[first].tolist(), strict=True))
        values = np.empty(len(labels), dtype=object)
        values[:] = [given[label] for label in labels]
        return pd.Index(values, tupleize_cols=False, name=labels.name).astype(self._items.dtype)

    @property
    def _items(self) -> pd.Series:
        """What identifies the series of each row, as in the frame that was backtested."""
        return self._forecasts[self._own_names.get("item_id", "item_id")]

    def _warn_of_crossing(self) -> None:
        quantiles = self.rows[list(quantile_columns(self.rows).values())].to_numpy(dtype=float)
        lost = np.diff(quantiles, axis=1) < -CROSSING * np.abs(quantiles).max(axis=1, initial=0.0, keepdims=True)
        crossing = lost.any(axis=1)
        if crossing.any():
            row = self.rows[crossing].iloc[0]
            where = f"series {row['item_id']!r} at {row['timestamp']}"
            message = f"the quantiles by {self.name!r} cross in {crossing.sum()} rows, first in {where}; sort them"
            warnings.warn(message, UserWarning, stacklevel=4)

    @classmethod
    @takes_frames("forecasts")
    def from_frame(
        cls,
        forecasts: Frame,
        seasonal_error: pd.Series | None = None,
        *,
        name: str = "model",
        metrics: Any = DEFAULT_METRICS,
        item_id: str = "item_id",
        cutoff: str = "cutoff",
        timestamp: str = "timestamp",
        target: str = "target",
        squared_seasonal_error: pd.Series | None = None,
    ) -> Backtest:
        """Backtest of forecasts made elsewhere, a long frame that includes the observed target.

        Seasonal errors are computed with ``evaluation.seasonal_error``, for example by
        ``history.groupby("item_id")["target"].apply(seasonal_error, season=24)``.
        """
        names = dict(zip((item_id, cutoff, timestamp, target), COLUMNS, strict=True))
        frame = forecasts.rename(columns=names)
        columns = Columns(target, item_id, timestamp)
        return cls(name, frame, seasonal_error, metric_names(metrics), None, None, squared_seasonal_error, columns)

    def __repr__(self) -> str:
        return summary(f"Backtest of {self.name!r}", self, self.metrics)

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """Levels of the quantile columns, ascending."""
        return tuple(quantile_columns(self.rows))

    @cached_property
    def samples(self) -> np.ndarray | None:
        """Samples of each row, ``[M, N]``; None if there are none."""
        columns = sample_columns(self.rows)
        return self.rows[columns].to_numpy() if columns else None

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Metrics over all series, windows and steps, and the seconds, in one row named after the model.

        Values with a denominator of zero, as the MASE of a constant series, are excluded; a UserWarning counts them.
        """
        label, series = self.rows["target"].to_numpy(dtype=float), self.rows["item_id"].to_numpy()
        found = definitions(self.metric_names, self.quantile_levels, self.samples is not None)
        warn_of_zeros(found, label, self._arrays, series, "series")
        row = self._evaluate(np.zeros(len(self.rows), dtype=int), pd.Index([self.name], name="model"))
        times = dict(zip(TIMES, (self.fit_seconds, self.seconds), strict=True))
        return row.assign(**{column: value for column, value in times.items() if value is not None})

    def by(self, column: str | Sequence[str]) -> pd.DataFrame:
        """Metrics for each value of a column of the forecasts (item_id, cutoff ...), or each combination of several.

        Args:
            column: one or several columns, also by their names in the frame that was backtested. "step" is the position
                in the window, starting at 1; "window" stands for item_id and cutoff. Scores of whole vectors are
                omitted if the groups divide vectors, as "step" divides windows.

        Raises:
            ValueError: a column does not exist, or none is given.
        """
        table = self.grouped(column)
        table.index = self.given_items(table.index)
        names = self._own_names
        if "window" in ([column] if isinstance(column, str) else column):
            table.index.names = [names.get(str(name), name) for name in table.index.names]
        return table

    def grouped(self, column: str | Sequence[str]) -> pd.DataFrame:
        """As :meth:`by`, with the standard names for ``"window"``."""
        given = [column] if isinstance(column, str) else list(column)
        names = list(dict.fromkeys(name for one in given for name in (WINDOW if one == "window" else [one])))
        sources = self._sources
        unknown = [name for name in names if name != "step" and name not in sources]
        if unknown or not names:
            known = [name for name in self._forecasts.columns if name not in sample_columns(self.rows)]
            raise ValueError(f"cannot group metrics by {given}; use 'step', 'window', or columns among {known}")
        keys = [self.step if name == "step" else self.rows[sources[name]] for name in names]
        if len(keys) == 1:
            codes, values = pd.factorize(keys[0], sort=keys[0].dtype != object, use_na_sentinel=False)
            return self._evaluate(codes, pd.Index(values, name=names[0]))
        codes, groups = pd.factorize(pd.MultiIndex.from_arrays(keys))
        return self._evaluate(codes, pd.MultiIndex.from_tuples(list(groups), names=names))

    @property
    def _given_names(self) -> dict[str, str]:
        """Columns of the forecasts by their names in the frame that was backtested."""
        one = self.columns
        if one is None:
            return {}
        # With several targets, each is a series, so that the column of their values has no name of its own.
        target = {} if one.other_targets else {one.target: "target"}
        return {one.item_id: "item_id", one.timestamp: "timestamp", **target}

    @property
    def _sources(self) -> dict[Any, str]:
        """Columns of ``rows`` by their own names and those in the frame that was backtested."""
        return {**self._given_names, **{name: name for name in self.rows.columns}}

    @property
    def _own_names(self) -> dict[str, str]:
        """Names in the frame that was backtested of standard columns, except names that another column has."""
        return {standard: name for name, standard in self._given_names.items() if name not in self.rows.columns}

    @cached_property
    def step(self) -> pd.Series:
        """Position of each row in its window, starting at 1."""
        windows = self.rows.groupby(WINDOW, sort=False)
        return windows["timestamp"].rank("first").astype(int)

    @cached_property
    def pit(self) -> np.ndarray:
        """Probability integral transform of each row, ``[M]``; NaN if the target is not observed.

        It is computed from samples if there are any, otherwise by linear interpolation of the quantiles.
        """
        label = self.rows["target"].to_numpy(dtype=float)
        if self.samples is not None:
            return pit(label, self.samples)
        columns = quantile_columns(self.rows)
        if not columns:
            raise ValueError(f"the PIT requires quantiles or samples, {self.name!r} has neither")
        return pit_from_quantiles(label, self.rows[list(columns.values())].to_numpy(dtype=float), list(columns))

    @property
    def _forecast_columns(self) -> list[Any]:
        mean = ["mean"] if "mean" in self.rows.columns else []
        return mean + list(quantile_columns(self.rows).values())

    def _evaluate(self, codes: np.ndarray, groups: pd.Index) -> pd.DataFrame:
        """Metrics of the rows with each code. Groups of equal size are evaluated together, as rows of a matrix."""
        found = definitions(self.metric_names, self.quantile_levels, self.samples is not None)
        label = self.rows["target"].to_numpy(dtype=float)
        values = {name: np.full(len(groups), np.nan) for name in found}
        for members, rows in _by_size(codes):
            arrays = {name: array[rows] for name, array in self._arrays.items()}
            for name, value in aggregate(label[rows], arrays, found, axis=1).items():
                values[name][members] = value
        for name, metric in joint_scores(found).items():
            score = self._joint_score(metric, codes, len(groups))
            values |= {name: score} if score is not None else {}
            if score is None:
                del values[name]
        return pd.DataFrame(values, index=groups)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """Inputs of the metrics for each row, except the label."""
        naive = ["naive_2"] if "naive_2" in self.rows.columns else []
        found = {c: self.rows[c].to_numpy(dtype=float) for c in [*self._forecast_columns, *naive]}
        arrays = {_standard_name(column): array for column, array in found.items()}
        arrays |= self.scales
        if self.samples is not None:
            arrays |= {"crps": crps(self.rows["target"].to_numpy(dtype=float), self.samples), "pit": self.pit}
        return arrays

    @cached_property
    def scales(self) -> dict[str, np.ndarray]:
        """The available seasonal errors of each row by name, ``[M]``."""
        scales = {"seasonal_error": self.seasonal_error, "squared_seasonal_error": self.squared_seasonal_error}
        return {name: self._row_errors(errors) for name, errors in scales.items() if errors is not None}

    def _joint_score(self, metric: JointScore, codes: np.ndarray, count: int) -> np.ndarray | None:
        """Mean score of the vectors in each group, ``[count]``; None if a vector belongs to several groups."""
        assert self.samples is not None
        label = self.rows["target"].to_numpy(dtype=float)
        keys = WINDOW if metric.over == HORIZON else ["cutoff", "timestamp"]
        vectors = self.rows.groupby(keys, sort=False).ngroup().to_numpy()
        if metric.over == SERIES and (np.bincount(vectors) < self.rows["item_id"].nunique()).any():
            text = f"{metric.name} of {self.name!r}: at some times only a part of the series has a forecast"
            fix = "leave out series that end at other times than the rest"
            warnings.warn(f"{text}, and only that part is scored; {fix}", UserWarning, stacklevel=4)
        total, seen = np.zeros(count), np.zeros(count)  # scores and weights
        for _, rows in _by_size(vectors):
            group = codes[rows]
            if (group != group[:, :1]).any():
                return None
            score = metric.score(label[rows], self.samples[rows].reshape(*rows.shape, -1))
            scored = ~np.isnan(score)
            np.add.at(total, group[scored, 0], score[scored])
            np.add.at(seen, group[scored, 0], metric.weight(label[rows])[scored])
        with np.errstate(divide="ignore", invalid="ignore"):
            return total / seen

    def _row_errors(self, errors: pd.Series) -> np.ndarray:
        """Seasonal error of each row."""
        keys: pd.Index = pd.Index(self.rows["item_id"])
        if isinstance(errors.index, pd.MultiIndex):
            keys = pd.MultiIndex.from_frame(self.rows[["item_id", "cutoff"]])
            labels: Any = pd.Index(column_labels(pd.Series(errors.index.levels[0])))
            errors = errors.set_axis(errors.index.set_levels([labels], level=[0]))
        unknown = keys.difference(errors.index)
        if len(unknown):
            raise ValueError(f"no seasonal error for {unknown[0]!r}; index them by item_id, or item_id and cutoff")
        return errors.reindex(keys).to_numpy(dtype=float)


def summary(title: str, one: Backtest, metrics: pd.DataFrame) -> str:
    """Text with the number of series and windows, followed by a table of metrics."""
    series, windows = one.rows["item_id"].nunique(), len(one.rows[WINDOW].drop_duplicates())
    table = metrics.to_string(float_format="{:.4g}".format, line_width=WIDTH)
    return f"{title}: {series} series, {windows} windows, {len(one.rows)} rows\n{table}"


def _by_size(codes: np.ndarray) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Rows with the same code, for all codes with the same number of rows: codes ``[G]``, rows ``[G, size]``."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes[sizes > 0]):
        (members,) = np.nonzero(sizes == size)
        yield members, order[starts[members][:, None] + np.arange(size)]


def _standard_name(column: Any) -> str:
    try:
        return level_name(float(column))
    except ValueError:
        return str(column)
