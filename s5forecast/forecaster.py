"""S5Forecaster: pandas in, pandas out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import asdict
from datetime import timedelta
from inspect import signature
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from gluonts.core.serde import dump_json, load_json
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor
from sklearn.utils.validation import check_is_fitted

from s5forecast.aliases import check_folder
from s5forecast.choices import choose
from s5forecast.data.frames import (
    FrameSeries,
    history_frame,
    read_frame,
    read_future,
    samples_frame,
    to_entries,
    to_frame,
)
from s5forecast.data.frequency import Frequency
from s5forecast.data.statics import StaticFeatures
from s5forecast.distributions import Output
from s5forecast.estimators import (
    EnsembleEstimator,
    S5MultivariateEstimator,
)
from s5forecast.estimators.items import train_items
from s5forecast.estimators.predictor import count_substeps
from s5forecast.evaluation.backtest import METRIC_NAMES, Backtest, backtest
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.irregular_backtest import IRREGULAR_METRICS
from s5forecast.forecaster_parameters import ESTIMATORS, ForecasterParameters
from s5forecast.irregular_forecaster import IrregularForecaster, check_estimator_kwargs
from s5forecast.levels import check_levels, level_name
from s5forecast.stream import IrregularFrameStream, RegularFrameStream

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMAT_VERSION = 1
OWN_ARGUMENTS = (
    "freq", "prediction_length", "quantile_levels", "seed", "target_dim",
    "num_feat_dynamic_real", "num_feat_static_real", "num_feat_static_cat", "cardinality",
)  # fmt: skip
NOT_SAVED = ("callbacks", "logger")


class S5Forecaster(ForecasterParameters):
    """Probabilistic forecasts of the series of a long DataFrame.

    Arguments:
        prediction_length: steps to forecast; of irregular series how many of the next observations to learn from.
        freq: offset alias of the timestamps, such as ``"h"``, ``"15min"``, ``"MS"``; ``"infer"`` finds it. ``None``
            stands for irregular series, with timestamps or numbers as times, which
            :class:`~s5forecast.S5ContinuousEstimator` forecasts at any times asked for.
        horizon: how far ahead to forecast irregular series, such as ``"12h"``, or a number where times are numbers.
        target, item_id, timestamp: names of columns. A frame without the column ``item_id`` is one series. Irregular
            series may have several targets, ``target=["wind", "pressure"]``, observed at different times.
        known: columns of numbers that are known over the horizon.
        static: columns that are constant in each series; text is taken as categories.
        quantile_levels: of the forecasts, in (0, 1).
        estimator: a key of ``ESTIMATORS``: ``"direct"`` forecasts the whole horizon in one pass,
            ``"autoregressive"`` draws paths that are joint over the horizon.
        multivariate: whether all series, of the same timestamps, are forecast together by
            :class:`~s5forecast.S5MultivariateEstimator`, in place of ``estimator``; paths are joint over series too.
        aggregate: what becomes of several rows of one irregular series and time: ``"mean"`` or ``"last"`` makes them
            one; an error by default.
        estimator_kwargs: further arguments of the estimator, see :class:`~s5forecast.S5Estimator` and
            :class:`~s5forecast.S5AutoregressiveEstimator`.
        num_members: networks, from consecutive seeds, on the whole, half and a quarter of the context in turn, whose
            quantiles are averaged; for ``"direct"``. Three mostly forecast better than one, and take three times as
            long.
        seed: the same seed gives the same result on a CPU.
        verbose: whether a progress bar is shown while training.

    Attributes:
        predictor_: the trained GluonTS predictor.
        output_: what its forecasts are: the one picked, where that was left to the data.
        frequency_: of the training frame.
        fit_seconds_: time to fit.
        calibrator_: corrects the quantiles of every forecast, after :meth:`calibrate`.
    """

    def fit(self, df: pd.DataFrame, validation: pd.DataFrame | None = None) -> S5Forecaster:
        """Train on all series of a long frame.

        Arguments:
            df: one row for each series and timestamp.
            validation: frame like ``df``, whose last horizon decides when to stop; it may begin with ``df``.

        Raises:
            ValueError: for bad arguments or data, naming the series, the column and the fix.
        """
        self._check_parameters()
        if self.freq is None:
            return self._fit_irregular(df, validation)
        series, frequency = read_frame(df, self._columns, self.freq)
        held_out = None if validation is None else read_frame(validation, self._columns, frequency)[0]
        return self._fit(series, frequency, held_out)

    def predict(
        self,
        df: pd.DataFrame | None = None,
        future: pd.DataFrame | None = None,
        quantile_levels: Sequence[float] | None = None,
        *,
        times: pd.DataFrame | None = None,
        horizon: Any = None,
        every: Any = None,
        step_scale: float = 1.0,
    ) -> pd.DataFrame:
        """Forecast the steps that follow each series, or irregular series at the times asked for.

        Arguments:
            df: histories to continue, of series seen in training or not; the training frame by default.
            future: the ``known`` columns over the horizon, a row for each series and timestamp.
            quantile_levels: levels other than those of the constructor.
            times: of irregular series, a frame with the item_id and timestamp of each forecast, and the ``known``
                columns then. Each must come after the last observation of its series: what lies before was filtered
                already, and is refused.
            horizon, every: in place of ``times``, a grid after the last observation of each series; the horizon is
                that of the constructor by default.
            step_scale: length of the steps of ``df`` in those of the training, 1 / k for a whole number k: with 0.25 a
                model trained on hours forecasts quarter-hours, over the same span of time. It needs
                ``estimator="direct"`` with ``patch_length=1``, and no calibration.

        Returns:
            Long frame: item_id, timestamp, mean and a column for each level, named ``"0.1"`` …; with ``times`` in its
            order and with its index, and for several targets ``<target>_mean``, ``<target>_0.1`` ….

        Raises:
            ValueError: for data that does not fit, naming the series, the column and the fix.
        """
        check_is_fitted(self, "predictor_")
        levels = list(self.quantile_levels if quantile_levels is None else quantile_levels)
        check_levels(levels)
        if self.freq is None:
            self._refuse(future, "future=", "give the known columns in times=")
            if step_scale != 1:
                raise ValueError("step_scale is of regular series; irregular ones are forecast at any times=")
            return self.irregular_.predict(df, times, horizon, every, levels)
        if not (times is horizon is every is None):
            raise ValueError("times=, horizon= and every= are of irregular series: fit with freq=None")
        if step_scale != 1:
            return self._rescaled(step_scale, df).predict(df, future, levels)
        series = self._histories(df)
        entries = to_entries(series, self.frequency_, self.statics_, self._future(future, series))
        return self._forecast(series, lambda known: self.predictor_.predict_quantiles(entries, known), levels)

    def calibrate(
        self, df: pd.DataFrame, windows: int, step: int | None = None, method: str = "adaptive", **options: Any
    ) -> S5Forecaster:
        """Correct the quantiles of all later forecasts by those of the last windows of every series of ``df``.

        As in :meth:`backtest`, a copy fitted on what comes before the windows forecasts them if this model has seen
        them. A later :meth:`fit` forgets the calibration.

        Arguments:
            df: histories, the windows included.
            windows: number of windows at the end of each series.
            step: steps from one window to the next, ``prediction_length`` by default.
            method: a key of ``evaluation.conformal.METHODS``: ``"adaptive"``, ``"cqr"``, ``"split"`` ….
            options: of :class:`~s5forecast.evaluation.ConformalCalibrator`: scale, per_item, per_step, learning_rate,
                item_share.

        Raises:
            ValueError: for bad data, or too few windows for a level, naming how many it takes.
        """
        check_is_fitted(self, "predictor_")
        self._check_regular("calibrate")
        uncalibrated = copy(self)
        uncalibrated._forget_calibration()
        past = uncalibrated.backtest(df, windows, step).forecasts
        self.calibrator_ = ConformalCalibrator(method, **options).fit(past)
        self.calibrated_until_ = max(_moment(one) for one in read_frame(df, self._columns, self.frequency_)[0])
        return self

    def stream(
        self, df: pd.DataFrame | None = None, *, saved: str | Path | None = None
    ) -> IrregularFrameStream | RegularFrameStream:
        """Forecast series while they are observed, at a cost that does not depend on their past.

        Arguments:
            df: the histories so far; the training frame by default.
            saved: in place of ``df``, the folder to which a stream of this forecaster was saved.

        Returns:
            A stream: ``stream.update(new_rows)`` takes in the next rows of some series, ``stream.predict()``
            forecasts, irregular series with ``times=``, ``stream.save(folder)`` keeps it. What normalises each
            series stays as it is now.

        Raises:
            ValueError: for data that does not fit, or a model that cannot, with the reason and the fix.
        """
        check_is_fitted(self, "predictor_")
        if df is not None and saved is not None:
            raise ValueError("give either the histories or saved=, not both")
        if self.freq is None:
            if saved is not None:
                return IrregularFrameStream.load(saved, self.irregular_)
            return IrregularFrameStream.start(self.irregular_, df)
        predictor = self.predictor_.predictor if self.multivariate else self.predictor_
        predictor.network.check_streams()
        if saved is not None:
            return RegularFrameStream.load(saved, self)
        return RegularFrameStream.start(self, self._histories(df))

    def predict_samples(
        self, df: pd.DataFrame | None = None, future: pd.DataFrame | None = None, num_samples: int = 100
    ) -> pd.DataFrame:
        """Sample paths over the steps that follow each series, by an estimator that draws them.

        Arguments:
            df, future: as in :meth:`predict`.
            num_samples: number of paths.

        Returns:
            Long frame: item_id, timestamp and a column for each path, ``"sample_0"`` …; with ``multivariate=True`` a
            column is one draw of all series together.

        Raises:
            ValueError: as :meth:`predict`; for an estimator that gives each step on its own.
        """
        check_is_fitted(self, "predictor_")
        self._check_regular("predict_samples")
        series = self._histories(df)
        entries = to_entries(series, self.frequency_, self.statics_, self._future(future, series))
        forecasts = list(self.predictor_.predict(entries, num_samples=num_samples))
        if not isinstance(forecasts[0], SampleForecast):
            raise ValueError(
                f"estimator={self.estimator!r} gives each step on its own; paths are drawn by "
                "estimator='autoregressive', and over all series together by multivariate=True"
            )
        samples = np.stack([forecast.samples.T for forecast in forecasts])
        return samples_frame(series, self._columns, self.frequency_, samples)

    def backtest(
        self,
        df: pd.DataFrame,
        windows: int = 1,
        step: int | None = None,
        metrics: Sequence[Any] = METRIC_NAMES,
        season: int | None = None,
        *,
        refit: bool | int = False,
        directory: str | Path | None = None,
        n_jobs: int = 1,
        progress: bool = False,
        since: Any = None,
        count: int | None = None,
        fraction: float | None = None,
    ) -> Backtest:
        """Forecast the last windows of every series of ``df`` from what came before each.

        An irregular series is cut after a time, or after each of several, before its last ``count`` observations, or
        after a fraction of them, and the observations within the horizon are forecast at their own times.

        The model must not have seen the windows. If this one was fitted on data that end before them it is
        used as it is, calibrated if it is, else a copy with the same parameters is fitted on what comes before the
        first window. What it was calibrated on counts as seen; the copy is not calibrated.

        Arguments:
            df: histories, the windows included.
            windows: number of windows at the end of each series.
            step: steps from one window to the next, ``prediction_length`` by default.
            metrics: names in ``evaluation.METRICS``.
            season: steps of the differences that scale MASE; by frequency, as in GluonTS, when not given.
            refit: True fits a copy anew at every window, a number k at every k-th.
            directory, n_jobs, progress: as of :func:`~s5forecast.backtest`.
            since, count, fraction: where irregular series are cut; one of them, in place of ``windows`` and ``step``;
                ``since`` may be a list of times.
        """
        self._check_parameters()
        if self.freq is None:
            if (windows, step, season, refit, directory) != (1, None, None, False, None):
                raise ValueError(
                    "windows=, step=, season=, refit= and directory= are of regular series; cut irregular ones by "
                    "since=, count= or fraction="
                )
            irregular, until = getattr(self, "irregular_", self._irregular()), getattr(self, "trained_until_", None)
            metrics = IRREGULAR_METRICS if metrics is METRIC_NAMES else metrics
            return irregular.backtest(df, until, metrics, since, count, fraction)
        if not (since is count is fraction is None):
            raise ValueError("since=, count= and fraction= cut irregular series: give windows= for regular ones")
        return backtest(
            self,
            df,
            self._steps,
            windows,
            step,
            refit,
            quantile_levels=list(self.quantile_levels),
            metrics=metrics,
            season=season,
            freq=self.freq,
            directory=directory,
            n_jobs=n_jobs,
            progress=progress,
        )

    @property
    def output_(self) -> Output:
        """The distribution of the forecasts: the one picked, where that was left to the data."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.output

    def to_gluonts(self, df: pd.DataFrame, future: pd.DataFrame | None = None) -> list[dict[str, Any]]:
        """The series of a frame as GluonTS entries, as :attr:`predictor_` and any other predictor take them.

        Arguments:
            df: long frame.
            future: the ``known`` columns over the horizon; without them the entries end with the history.
        """
        check_is_fitted(self, "predictor_")
        if self.freq is None:
            return self.irregular_.to_gluonts(df)
        series = self._histories(df)
        ahead = None if future is None else self._future(future, series)
        return to_entries(series, self.frequency_, self.statics_, ahead)

    def plot(
        self, forecast: pd.DataFrame, history: pd.DataFrame | None = None, *, target: str | None = None, **kwargs: Any
    ) -> go.Figure:
        """Fan chart of a forecast after its history, the training frame by default; of several targets the first.

        Raises:
            ValueError: for a target that is not one of the forecaster.
        """
        from s5forecast.plotting.forecasts import plot_forecast

        if history is None and self.freq is None and self.irregular_.history is not None:
            history = self.irregular_.history_frame()
        if history is None and hasattr(self, "history_"):
            history = history_frame(self.history_, self._columns)
        target = self._columns.target if target is None else target
        targets = [self._targets] if isinstance(self._targets, str) else self._targets
        choose(dict.fromkeys(targets), target, "target")
        if len(targets) > 1:
            forecast = forecast.rename(columns=lambda name: str(name).removeprefix(f"{target}_"))
        names: dict[str, Any] = {"target": target, "item_id": self.item_id, "timestamp": self.timestamp}
        return plot_forecast(history, forecast, **names, **kwargs)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a folder: JSON and tensors, no pickle, none of the training data."""
        check_is_fitted(self, "predictor_")
        path = Path(path)
        (path / "predictor").mkdir(parents=True, exist_ok=True)
        state = {
            "format_version": FORMAT_VERSION,
            "parameters": self._saved_parameters(),
            "frequency": None if self.freq is None else self.frequency_.alias,
            "statics": asdict(self.statics_),
            "trained_until": self.trained_until_,
            "fit_seconds": self.fit_seconds_,
        }
        if hasattr(self, "calibrator_"):
            state |= {"calibrator": self.calibrator_.to_json(), "calibrated_until": self.calibrated_until_}
        (path / "forecaster.json").write_text(dump_json(state, indent=1))
        self.predictor_.serialize(path / "predictor")

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> S5Forecaster:
        """Read what :meth:`save` wrote, on whatever device it was trained."""
        path = Path(path)
        check_folder(path)
        state = load_json((path / "forecaster.json").read_text())
        if state["format_version"] > FORMAT_VERSION:
            raise ValueError(f"{path} was written by a later version; update s5forecast")
        forecaster = cls(**state["parameters"])
        forecaster.statics_ = StaticFeatures(**state["statics"])
        forecaster.trained_until_ = state["trained_until"]
        forecaster.fit_seconds_ = state["fit_seconds"]
        forecaster.predictor_ = Predictor.deserialize(path / "predictor", device=device)
        if state["frequency"] is None:
            forecaster.irregular_ = forecaster._irregular()
            forecaster.irregular_.statics, forecaster.irregular_.predictor = forecaster.statics_, forecaster.predictor_
        else:
            forecaster.frequency_ = Frequency.parse(state["frequency"])
        if "calibrator" in state:
            forecaster.calibrator_ = ConformalCalibrator.from_json(state["calibrator"])
            forecaster.calibrated_until_ = state["calibrated_until"]
        return forecaster

    def _saved_parameters(self) -> dict[str, Any]:
        """All parameters as plain data; callbacks and loggers belong to a training and are left out."""
        given = dict(self.estimator_kwargs or {})
        if "trainer_kwargs" in given:
            given["trainer_kwargs"] = {k: v for k, v in given["trainer_kwargs"].items() if k not in NOT_SAVED}
        lists = {name: list(getattr(self, name)) for name in ("known", "static", "quantile_levels")}
        given = {name: _plain(value) for name, value in given.items()}
        return {
            **self.get_params(),
            **lists,
            "horizon": _plain(self.horizon),
            "target": self._targets,
            "estimator_kwargs": given,
        }

    def _fit(
        self, series: list[FrameSeries], frequency: Frequency, validation: list[FrameSeries] | None = None
    ) -> S5Forecaster:
        began = perf_counter()
        self._forget_calibration()
        self.frequency_ = frequency
        self.statics_ = StaticFeatures.learn(series, self._columns)
        held_out = None if validation is None else to_entries(validation, frequency, self.statics_)
        entries, estimator = to_entries(series, frequency, self.statics_), self._estimator(len(series))
        if isinstance(estimator, S5MultivariateEstimator):
            self.predictor_ = train_items(estimator, entries, held_out)
        else:
            self.predictor_ = estimator.train(entries, held_out)
        self.history_ = series
        self.trained_until_ = max(_moment(one) for one in [*series, *(validation or [])])
        self.fit_seconds_ = perf_counter() - began
        return self

    def _fit_irregular(self, df: pd.DataFrame, validation: pd.DataFrame | None) -> S5Forecaster:
        began = perf_counter()
        self._forget_calibration()
        self.irregular_ = self._irregular().fit(df, validation)
        self.predictor_, self.statics_ = self.irregular_.predictor, self.irregular_.statics
        held_out = [] if validation is None else self.irregular_.histories(validation)
        self.trained_until_ = max(one.last for one in [*self.irregular_.histories(None), *held_out])
        self.fit_seconds_ = perf_counter() - began
        return self

    def _irregular(self) -> IrregularForecaster:
        return IrregularForecaster(
            targets=[self._targets] if isinstance(self._targets, str) else self._targets,
            columns=self._columns,
            horizon=self.horizon,
            prediction_length=self.prediction_length,
            quantile_levels=list(self.quantile_levels),
            aggregate=self.aggregate,
            estimator_kwargs=dict(self.estimator_kwargs or {}),
            seed=self.seed,
            verbose=self.verbose,
        )

    def _rescaled(self, step_scale: float, df: pd.DataFrame | None) -> S5Forecaster:
        """This forecaster for steps ``step_scale`` times as long, of which the histories ``df`` must be."""
        frequency = self.frequency_.divided(count_substeps(step_scale))
        if df is None:
            raise ValueError(
                f"give the histories in steps of {frequency.alias!r} to step_scale={step_scale}: predict(df)"
            )
        if hasattr(self, "calibrator_"):
            raise ValueError(
                f"the forecaster is calibrated for steps of {self.frequency_.alias!r}, which says nothing of "
                f"{frequency.alias!r}; use step_scale with one that is not calibrated"
            )
        rescaled = copy(self)
        rescaled.predictor_ = self.predictor_.rescaled(step_scale)
        rescaled.frequency_, rescaled.prediction_length = frequency, rescaled.predictor_.prediction_length
        return rescaled

    def _forecast(
        self,
        series: Sequence[FrameSeries],
        predict: Callable[[Sequence[float]], tuple[np.ndarray, np.ndarray]],
        levels: list[float],
    ) -> pd.DataFrame:
        """Long frame of what ``predict`` gives at some levels, calibrated where this is."""
        known = self.calibrator_.levels_ if hasattr(self, "calibrator_") else levels
        if not set(levels) <= set(known):
            raise ValueError(f"the forecaster is calibrated at the levels {known} alone, asked for are {levels}")
        frame = to_frame(series, self._columns, self.frequency_, *predict(known), known)
        return self._calibrated(frame, levels) if hasattr(self, "calibrator_") else frame

    def _calibrated(self, frame: pd.DataFrame, levels: list[float]) -> pd.DataFrame:
        """A forecast at all levels of the calibrator, corrected, with the quantiles asked for."""
        names = {self.item_id: "item_id", self.timestamp: "timestamp"}
        values = self.calibrator_.transform(frame.rename(columns=names))
        asked = [level_name(level) for level in levels]
        keys = frame.columns[: -len(self.calibrator_.levels_)].tolist()
        return frame.assign(**values[asked])[[*keys, *asked]]

    def _forget_calibration(self) -> None:
        for name in ("calibrator_", "calibrated_until_"):
            self.__dict__.pop(name, None)

    def _estimator(self, count: int) -> Estimator:
        """The estimator of ``count`` series."""
        make = S5MultivariateEstimator if self.multivariate else choose(ESTIMATORS, self.estimator, "estimator")
        given = dict(self.estimator_kwargs or {})
        check_estimator_kwargs(make, given, OWN_ARGUMENTS)
        trainer_kwargs = {"enable_progress_bar": self.verbose, **given.pop("trainer_kwargs", {})}
        own = {
            "freq": self.frequency_.alias,
            "prediction_length": self.prediction_length,
            "quantile_levels": list(self.quantile_levels),
            "target_dim": count,
            "num_feat_dynamic_real": len(self.known) * (count if self.multivariate else 1),
            "num_feat_static_real": len(self.statics_.real),
            "num_feat_static_cat": len(self.statics_.categorical),
            "cardinality": self.statics_.cardinality,
            "seed": self.seed,
        }
        own = {name: value for name, value in own.items() if name in signature(make).parameters}
        estimator = make(trainer_kwargs=trainer_kwargs, **own, **given)
        return estimator if self.num_members == 1 else EnsembleEstimator(estimator, self.num_members)

    def _histories(self, df: pd.DataFrame | None) -> list[FrameSeries]:
        if df is not None:
            return read_frame(df, self._columns, self.frequency_)[0]
        if not hasattr(self, "history_"):
            raise ValueError("a loaded model holds no data to continue; give the histories: predict(df)")
        return self.history_

    def _future(self, future: pd.DataFrame | None, series: list[FrameSeries]) -> list[np.ndarray]:
        return read_future(future, series, self._columns, self.frequency_, self._steps)


def _plain(value: Any) -> Any:
    """A duration as text, anything else as it is."""
    return str(pd.Timedelta(value)) if isinstance(value, timedelta | np.timedelta64) else value


def _moment(one: FrameSeries) -> pd.Timestamp:
    """The last timestamp, comparable whether or not it has a time zone."""
    last = one.timestamps[-1]
    return last if last.tz is None else last.tz_convert(None)
