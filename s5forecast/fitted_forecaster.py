"""Fitted state of S5Forecaster, and the conversion between frames and the data of its predictor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from s5forecast.data.alignment import raise_not_joint
from s5forecast.data.asked import Asked
from s5forecast.data.content import content_order, take
from s5forecast.data.disk_data import DiskData
from s5forecast.data.faults import ON_ERROR, Skipped, warn_of_skipped, without_faults
from s5forecast.data.frame_kinds import FrameKind
from s5forecast.data.frames import Queries, SeriesEnds, with_labels, without_series
from s5forecast.data.frequency import Frequency
from s5forecast.data.missing_known import collecting, reported_once
from s5forecast.data.sampling import Sampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.table import SeriesTable
from s5forecast.forecaster_parameters import ZERO_SHOT, ForecasterParameters
from s5forecast.levels import check_levels, level_name
from s5forecast.notices import warn_user

if TYPE_CHECKING:
    from typing_extensions import Self

    from s5forecast.evaluation.calibrator import ConformalCalibrator

T = TypeVar("T")
H = TypeVar("H", SeriesTable, SeriesEnds)


class FittedForecaster(ForecasterParameters):
    """The fitted attributes of :class:`~s5forecast.S5Forecaster`.

    Attributes:
        sampling_: Conversion of frames to entries, and of forecasts to frames.
        statics_: Encoding of the static columns.
        predictor_: The trained predictor; a ``NetworkPredictor`` after loading.
        history_: The training series, a sequence of ``FrameSeries``; absent from a loaded model.
        num_series_: Number of training series.
        shortest_series_: Length of the shortest training series; ``None`` if an earlier version saved the model.
        trained_until_: Last time of the training and validation data.
        fit_seconds_: Training time.
        calibrator_: Corrects the quantiles of every forecast; absent before calibration.
        calibrated_until_: Last time of the calibration data.
        frame_kind_: Kind of the frame that :meth:`fit` or :meth:`calibrate` was given, in which forecasts are returned.
        skipped_: With ``on_error="skip"``, the series that the last call left out, and the reasons.
    """

    sampling_: Sampling
    statics_: StaticFeatures
    predictor_: Any
    history_: SeriesTable
    num_series_: int | None
    shortest_series_: int | None
    trained_until_: Any
    fit_seconds_: float
    calibrator_: ConformalCalibrator
    calibrated_until_: Any
    frame_kind_: FrameKind
    skipped_: pd.DataFrame

    @property
    def output_(self) -> Any:
        """The output distribution of the forecasts; with ``"auto"``, the one chosen in training."""
        self._check_fitted()
        return self.predictor_.output

    @property
    def frequency_(self) -> Frequency | None:
        """Frequency of the training frame; ``None`` for irregular series."""
        self._check_fitted()
        return self.sampling_.frequency

    @property
    def needs_no_training(self) -> bool:
        """Whether :meth:`fit` trains nothing, so that other methods can do without it."""
        return self.preset == ZERO_SHOT

    def detached(self) -> Self:
        """A copy to send to other processes, without the training series and with its networks on the CPU."""
        found = copy(self)
        found.__dict__.pop("history_", None)
        if hasattr(found, "predictor_"):
            found.predictor_ = deepcopy(self.predictor_)
            found.to("cpu")
        return found

    def to(self, device: str) -> None:
        """Move the networks to a device, in place."""
        for predictor in single_predictors(self.predictor_):
            predictor.to(device)

    def forecast_levels(self, quantile_levels: Sequence[float] | None) -> list[float]:
        """The quantile levels of a forecast, by default those of the constructor.

        Raises:
            ValueError: for a level outside of (0, 1).
        """
        return check_levels(self.quantile_levels if quantile_levels is None else quantile_levels)

    def forecast_frame(
        self,
        query: Queries,
        predict: Callable[[Sequence[float]], tuple[np.ndarray, np.ndarray]],
        levels: list[float],
    ) -> pd.DataFrame:
        """Long frame of means and quantiles, calibrated if the forecaster is calibrated.

        Args:
            query: The times to forecast.
            predict: Returns means and quantiles at the given levels, sorted by series.
            levels: Quantile levels of the frame.

        Raises:
            ValueError: for a level that is not one of the calibration.
        """
        known = self.calibrator_.levels_ if hasattr(self, "calibrator_") else levels
        if not set(levels) <= set(known):
            raise ValueError(
                f"the forecaster is calibrated at the levels {known} only, not at {levels}; use these levels, or fit "
                "with other quantile_levels"
            )
        frame = self.sampling_.frame(query, *predict(known), known)
        self.sampling_.warn_of_far(query)
        return self._calibrated(frame, levels) if hasattr(self, "calibrator_") else frame

    @property
    def usable_predictor(self) -> Any:
        """The predictor; with ``on_error="skip"``, items that are forecast together may be left out."""
        return self.predictor_.of_some() if self._leaves_out_items else self.predictor_

    @property
    def _joint_items(self) -> list[Any]:
        return self.predictor_.item_ids if self._leaves_out_items else []

    @property
    def _leaves_out_items(self) -> bool:
        return self.joint and ON_ERROR[self.on_error]

    def forecast_quantiles(self, entries: Sequence[Any], levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means and quantiles of entries; paths are drawn in batches that do not depend on the order of the series."""
        with collecting([]):  # the frame is already reported
            return self._quantiles(entries, levels)

    def _quantiles(self, entries: Sequence[Any], levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        if not any(hasattr(network, "num_samples") for network in networks(self.predictor_)):
            return self.usable_predictor.predict_quantiles(entries, levels)
        order = content_order(entries)
        mean, quantiles = self.usable_predictor.predict_quantiles(take(entries, order), levels)
        places = np.argsort(order)
        return mean[places], quantiles[places]

    def _calibrated(self, frame: pd.DataFrame, levels: list[float]) -> pd.DataFrame:
        """Correct a forecast at all levels of the calibrator, and select the given levels."""
        names = {self._columns.item_id: "item_id", self.timestamp: "timestamp"}
        values = self.calibrator_.transform(with_labels(frame, self._columns).rename(columns=names))
        columns = [level_name(level) for level in levels]
        keys = frame.columns[: -len(self.calibrator_.levels_)].tolist()
        return frame.assign(**values[columns])[[*keys, *columns]]

    def _forget_calibration(self) -> None:
        for name in ("calibrator_", "calibrated_until_"):
            self.__dict__.pop(name, None)

    def _check_fitted(self) -> None:
        """Raise scikit-learn's NotFittedError before :meth:`fit`."""
        if not hasattr(self, "predictor_"):
            from sklearn.exceptions import NotFittedError

            fix = "call fit(df) first"
            if self.needs_no_training:
                fix += ", which trains nothing, or pass the histories, as in predict(df)"
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; {fix}")
        if self.joint and not hasattr(self.predictor_, "item_ids"):
            raise ValueError(
                "predictor_ does not name the series that model='multivariate' forecasts together; fit again, and use "
                "the weights of a checkpoint with forecaster.predictor_ = forecaster.predictor_.from_checkpoint(path)"
            )

    def _check_trained(self, what: str) -> None:
        """Raise ValueError if seasonal naive replaced the model."""
        members = getattr(self.predictor_, "choices", {}).get("members", {})
        if members.get("value") == ["SeasonalNaivePredictor"]:
            raise ValueError(
                f"{what} requires a trained network, but seasonal naive is used, because {members['reason']}; fit with "
                "a longer time_limit"
            )

    @contextmanager
    def skipping(self) -> Iterator[None]:
        """Name the series that the block leaves out in one warning, and record them in ``skipped_``."""
        self._left_out = Skipped()
        yield
        if ON_ERROR[self.on_error]:
            self.skipped_ = self._left_out.frame(self._columns.item_id, self._columns.identity)
            warn_of_skipped(self._left_out.reasons)
        del self._left_out

    @contextmanager
    def skipping_apart(self) -> Iterator[Skipped]:
        """Within :meth:`skipping`, record the series that the block leaves out in a record of its own."""
        outer, self._left_out = self._left_out, Skipped()
        try:
            yield self._left_out
        finally:
            self._left_out = outer

    def read(self, read: Callable[[pd.DataFrame], T], df: pd.DataFrame, what: str = "df") -> T:
        """The result of a function of a long frame; with ``on_error="skip"`` without the series that have an error.

        Raises:
            ValueError: for data on disk of a model that forecasts all series together.
        """
        if self.joint and isinstance(df, DiskData):
            raise ValueError(
                "model='multivariate' forecasts all series together and takes data in memory; pass a frame, such as "
                "pandas.read_parquet(path)"
            )
        return self.without_faults(read, df, lambda rows, reasons: without_series(rows, reasons, self._columns, what))

    def without_faults(self, make: Callable[[Any], T], data: Any, leave_out: Callable[..., Any]) -> T:
        """The result of a function of ``data``; with ``on_error="skip"`` without the series that have an error."""
        if not ON_ERROR[self.on_error]:
            return make(data)
        found, skipped = without_faults(make, data, leave_out)
        self._left_out.update(skipped)
        return found

    def query(
        self,
        histories: H,
        ends: Callable[[H], SeriesEnds],
        future: pd.DataFrame | None = None,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
    ) -> tuple[H, Queries]:
        """The histories and the times to forecast; with ``on_error="skip"`` without the series that have an error.

        Args:
            histories: a ``SeriesTable`` or ``SeriesEnds``.
            ends: returns the ends of the histories.
            future, times, horizon, every: as for :meth:`s5forecast.S5Forecaster.predict`.
        """

        def make(asked: Asked) -> tuple[H, Queries]:
            query = self.sampling_.query(ends(asked.histories), asked.future, asked.times, horizon, every)
            return asked.histories, query

        return self.without_faults(make, Asked(histories, future, times, self._columns), Asked.without_names)

    def aligned(self, series: SeriesTable, known: Sequence[Any] | None = None) -> SeriesTable:
        """The series; with ``on_error="skip"``, raise SeriesError for those that cannot be forecast with the others.

        Args:
            series: series of a frame.
            known: labels of the series that are forecast together; any if not given.
        """
        return raise_not_joint(series, known) if self._leaves_out_items else series

    def _queries(
        self,
        df: pd.DataFrame | None,
        future: pd.DataFrame | None,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
        method: str = "predict",
    ) -> tuple[Queries, Sequence[dict[str, Any]]]:
        """The times to forecast, and the GluonTS entries to forecast at these times."""
        with reported_once():
            with self.skipping():
                histories = self._histories(df, method)
                series, query = self.query(histories, self.sampling_.ends, future, times, horizon, every)
            entries = self.sampling_.entries(series, self.statics_, query)
        if df is not None:
            self.sampling_.warn_of_unobserved(series)
            self._warn_of_short(series)
        return query, entries

    def _warn_of_short(self, series: SeriesTable) -> None:
        """Warn if a history is shorter than the context of the networks and than every training series."""
        contexts = [one.spec.context_length for one in single_predictors(self.predictor_)]
        if self.shortest_series_ is None or not contexts:
            return
        lengths = self.sampling_.lengths(series)
        short = np.flatnonzero(lengths < min(max(contexts), self.shortest_series_))
        if len(short):
            count = f" ({len(short)} of {len(series)} series are too short)" if len(short) > 1 else ""
            rows = lengths[short[0]]
            warn_user(
                f"{series.name(short[0])} has {rows} {'row' if rows == 1 else 'rows'}, fewer than the {max(contexts)} "
                f"of the context{count}; pass the whole history, since forecasts depend on all rows of the context"
            )

    def _histories(self, df: pd.DataFrame | None, method: str = "predict") -> SeriesTable:
        if df is not None:
            return self.read(lambda frame: self.aligned(self.sampling_.read(frame), self._joint_items), df)
        if not hasattr(self, "history_"):
            raise ValueError(f"a loaded model has no data to continue; pass the histories as {method}(df)")
        return self.history_


def networks(predictor: Any) -> Iterator[Any]:
    """The networks of a predictor and of its parts."""
    return (one.prediction_net for one in single_predictors(predictor))


def single_predictors(predictor: Any) -> Iterator[Any]:
    """The predictors of single networks: a predictor itself, or its parts."""
    if hasattr(predictor, "prediction_net"):
        yield predictor
    for part in _parts(predictor):
        yield from single_predictors(part)


def _parts(predictor: Any) -> list[Any]:
    """The members of an ensemble, or the predictor of all items together."""
    return [*getattr(predictor, "members", []), *filter(None, [getattr(predictor, "predictor", None)])]
