"""S5Forecaster: probabilistic forecasts of the series of a long DataFrame, returned as a DataFrame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.content import content_order, take
from s5forecast.data.faults import ON_ERROR
from s5forecast.data.frame_kinds import Frame, FrameKind, takes_frames
from s5forecast.data.items import join_keys
from s5forecast.data.missing_known import collecting
from s5forecast.data.ray_data import RayData
from s5forecast.data.statics import StaticFeatures
from s5forecast.fitted_forecaster import FittedForecaster
from s5forecast.forecast_request import Request
from s5forecast.forecaster_parameters import PRETRAINED, ZERO_SHOT

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from s5forecast.data.check import DataCheck
    from s5forecast.data.sampling import Sampling
    from s5forecast.data.table import SeriesTable
    from s5forecast.evaluation.result import Backtest
    from s5forecast.stream import FrameStream


class S5Forecaster(FittedForecaster):
    """Probabilistic forecasts of the series of a long DataFrame.

    All methods take frames of pandas, Polars (also lazy ones), pyarrow and other kinds that narwhals reads, and return
    the same kind. Methods that take histories also take data on disk, which may be larger than memory: the path of
    Parquet files, a ``pyarrow.dataset.Dataset`` or :class:`~s5forecast.DiskData`. :meth:`predict` and :meth:`backtest`
    also take a Ray dataset or :class:`~s5forecast.RayData`, which several machines forecast.

    Args:
        prediction_length: Steps to forecast. For irregular series, how many of the next observations to train on.
        freq: Offset alias of the timestamps, such as ``"h"``, ``"15min"``, ``"MS"``; ``"infer"`` detects it. A whole
            number k means that times are integers that are k apart, such as years or numbers of steps. ``None`` means
            irregular series, whose times are timestamps or numbers and which
            :class:`~s5forecast.S5ContinuousEstimator` forecasts at any later times.
        season: Steps of the season of integer times, 1 for none; by default found in the training data. The seasons of
            datetimes follow from their frequency.
        horizon: How far ahead to forecast irregular series, such as ``"12h"``, or a number if times are numbers.
        target, item_id, timestamp: Column names. A frame without the column ``item_id`` is one series. Several
            columns may identify a series together, ``item_id=["store", "sku"]``. Irregular series may have several
            targets, ``target=["wind", "pressure"]``, observed at different times.
        known: Columns that are known over the horizon. In these, in ``past`` and in ``static``, text, booleans and the
            dtype category are categories; all may have missing values.
        past: Columns that are known up to the forecast only.
        static: Columns that are constant in each series.
        holidays: Country of the public holidays that are known covariates, such as ``"US"``, or several; requires the
            package holidays. Days are those of the time zone of the timestamps.
        weight: Column with the weight of each row in the training loss, at least 0; regular series only.
        quantile_levels: Levels of the forecasts, in (0, 1).
        preset: ``"fast"`` takes a third of the time of ``"default"``; both fine-tune a pretrained network if there are
            few values, see :class:`~s5forecast.presets.DefaultEstimator`. ``"best"`` combines several models:
            networks of different kinds and contexts and, where values are few, statistical models, see
            :class:`~s5forecast.presets.BestEstimator`. For models other than ``"direct"`` and for irregular series it
            is an ensemble of three networks. ``"zero_shot"`` trains nothing: a network that was pretrained on synthetic
            series forecasts regular series of any frequency, also without :meth:`fit`. ``"fine_tuned"`` trains this
            network further, for less time than ``"default"``. Both require ``model="direct"`` and use no covariates,
            see :class:`~s5forecast.estimators.PretrainedEstimator`.
        model: ``"direct"`` forecasts the whole horizon in one pass. ``"autoregressive"`` draws sample paths that are
            joint over the horizon. ``"multivariate"`` forecasts all series together, which must have the same
            timestamps; its paths are also joint over series.
        time_limit: Seconds of training. If necessary, fewer networks are trained, then for fewer steps. Seasonal
            naive is used, with a warning, if it is better or no network can be trained. Multivariate and irregular
            series have no seasonal naive: an error is raised if no network can be trained. See
            :class:`~s5forecast.presets.TimeLimitedEstimator`.
        aggregate: How to merge several rows of one irregular series and time: ``"mean"`` or ``"last"``; by default
            they raise an error.
        on_error: What to do about a series with invalid data, such as one without an observed value, with repeated
            timestamps, of another frequency than most, without its ``future=`` or too short for the windows of a
            backtest: ``"raise"`` an error, or ``"skip"`` the series with one warning that names all series that are
            left out. Of series that are forecast together, those are left out whose timestamps differ from those of
            most; the others are forecast as if the values of these were missing.
        estimator_kwargs: Further arguments of the model's estimator, see :class:`~s5forecast.S5Estimator`,
            :class:`~s5forecast.S5AutoregressiveEstimator`, :class:`~s5forecast.S5MultivariateEstimator` and
            :class:`~s5forecast.S5ContinuousEstimator`, or, with the presets of the pretrained network, of
            :class:`~s5forecast.estimators.PretrainedEstimator`; and ``num_members``, the number of networks with
            consecutive seeds, which see the whole, half and a quarter of the context in turn.
        seed: The same seed gives the same result on a CPU.
        verbose: Whether to show a progress bar during training, and while forecasts are made in parts.

    Attributes:
        predictor_: The trained GluonTS predictor.
        output_: The output distribution of the forecasts; with ``"auto"``, the one chosen in training.
        frequency_: Frequency of the training frame; ``None`` for irregular series.
        fit_seconds_: Training time.
        calibrator_: Corrects the quantiles of every forecast, after :meth:`calibrate`.
        skipped_: With ``on_error="skip"``, the series that the last call left out, with the reasons.

    Example:
        >>> from s5forecast import S5Forecaster, load_dataset
        >>> df = load_dataset("nyc_departures_hourly")
        >>> short = {"max_epochs": 1, "num_batches_per_epoch": 2}  # omit it to train properly
        >>> f = S5Forecaster(24, freq="h", estimator_kwargs=short, verbose=False).fit(df)
        >>> fc = f.predict()
        >>> list(fc.columns)
        ['item_id', 'timestamp', 'mean', '0.1', '0.2', ..., '0.9']
        >>> fc.groupby("item_id").size().unique().tolist()
        [24]
    """

    @classmethod
    def pretrained(cls, prediction_length: int, freq: str | int = "infer", **parameters: Any) -> S5Forecaster:
        """A forecaster that needs no training, for any number of regular series of any frequency.

        It is the preset ``"zero_shot"``: a network that was pretrained on synthetic series and comes with the package.
        Methods that are given histories, such as ``predict(df)``, do not require :meth:`fit`, which stores histories
        and frequency, as all other methods do.

        Args:
            prediction_length: Steps to forecast.
            freq: Frequency of the series, by default inferred from each frame.
            parameters: Further parameters of the constructor.

        Example:
            >>> from s5forecast import S5Forecaster, load_dataset
            >>> fc = S5Forecaster.pretrained(24).predict(load_dataset("nyc_departures_hourly"))
            >>> list(fc.columns)
            ['item_id', 'timestamp', 'mean', '0.1', '0.2', ..., '0.9']
        """
        return cls(prediction_length, freq, preset=ZERO_SHOT, **parameters)

    @takes_frames("df", "validation", on_disk=("df", "validation"))
    def fit(self, df: Frame, validation: Frame | None = None, *, checkpoint: str | Path | None = None) -> S5Forecaster:
        """Train on all series of a long frame.

        Args:
            df: One row for each series and timestamp, as a frame or on disk.
            validation: Frame like ``df`` for early stopping on its last horizon; it may include the rows of ``df``.
            checkpoint: Folder that the state of the training is written to after every epoch. The same call resumes an
                interrupted training, with the result of an uninterrupted one on a CPU, and does not repeat a finished
                one. Not available with ``time_limit`` and with the presets that combine models or use the pretrained
                network.

        Raises:
            ValueError: For invalid arguments or data, naming the series, the column and the fix.
        """
        from s5forecast.forecaster_training import train

        self._check_parameters()
        if validation is not None and self.needs_no_training:
            raise ValueError(
                f"validation= has no effect with preset={self.preset!r}, which trains nothing; leave it out"
            )
        began = perf_counter()
        held_out = None
        with self.skipping():
            sampling, series = self.read(self._learn, df)
            if validation is not None:
                held_out = self.read(
                    lambda frame: self.aligned(sampling.read(frame, "validation="), series.items),
                    validation,
                    "validation=",
                )
        sampling.warn_of_unobserved(series)
        if held_out is not None:
            sampling.check_validation(held_out, series)
        statics = StaticFeatures.learn(series, sampling.columns)
        predictor = train(
            self, sampling, series, statics, held_out, spent=perf_counter() - began,
            checkpoint=None if checkpoint is None else Path(checkpoint),
        )  # fmt: skip
        self._forget_calibration()
        self.sampling_, self.statics_, self.predictor_ = sampling, statics, predictor
        self.history_, self.num_series_ = series, len(series)
        self.shortest_series_ = int(sampling.lengths(series).min())
        self.trained_until_ = max(sampling.until(one) for one in (series, held_out) if one is not None)
        self.fit_seconds_ = perf_counter() - began
        return self

    @takes_frames("df", "future", "times")
    def check(self, df: Frame, future: Frame | None = None, *, times: Frame | None = None) -> DataCheck:
        """Check a frame before training: errors, suspicious values, and what training would choose.

        Errors of the data are part of the result and raise nothing.

        Args:
            df: Frame to train on.
            future: The ``known`` columns over the horizon, as for :meth:`predict`.
            times: For irregular series, the times to forecast and the ``known`` columns at these times.

        Returns:
            The findings, statistics of each series, and the settings that training would use with their reasons;
            :func:`~s5forecast.plotting.write_check` writes them to a page.

        Raises:
            ValueError: For invalid arguments of the constructor.
        """
        from s5forecast.forecaster_check import check_frame

        self._check_parameters()
        return check_frame(self, df, future, times)

    @takes_frames("df", "times", "future", on_disk=("df", "future"), on_ray=("df",))
    def predict(
        self,
        df: Frame | None = None,
        future: Frame | None = None,
        quantile_levels: Sequence[float] | None = None,
        *,
        times: Frame | None = None,
        horizon: Any = None,
        every: Any = None,
        step_scale: float = 1.0,
        output: str | Path | None = None,
    ) -> Any:
        """Forecast the steps that follow each regular series, or irregular series at the requested times.

        Args:
            df: Histories to continue, also of series that are not in the training frame, which is the default. Those of
                a Ray dataset are forecast by its workers.
            future: The ``known`` columns over the horizon, a row for each series and timestamp. Missing values are
                masked, with a warning for absent rows and missing numbers.
            quantile_levels: Levels of the forecasts; those of the constructor by default.
            times: For irregular series, a frame with the item_id and timestamp of each forecast and the ``known``
                columns at these times. Each time must come after the last observation of its series. Times in another
                time zone than the histories are converted for the forecast, and returned as given.
            horizon, every: Instead of ``times``, a grid after the last observation of each series; the horizon is
                that of the constructor by default.
            step_scale: Length of the steps of ``df`` relative to those of the training, 1 / k for a whole number k.
                With 0.25 a model trained on hours forecasts quarter-hours over the same span of time. This requires
                ``model="direct"`` with ``patch_length=1``, and no calibration.
            output: Folder of Parquet files that the forecasts are written to, a part of the series at a time. If it
                holds parts of the same forecast, only the missing ones are made. With ``on_error="skip"``, the file
                ``_skipped.parquet`` names the series that are left out.

        Returns:
            With ``output``, the folder. Otherwise a long frame with columns item_id, timestamp, mean and one for each
            level, named ``"0.1"`` …. With ``times`` it has the order and index of ``times``; for several targets the
            columns are ``<target>_mean``, ``<target>_0.1`` …. For a Ray dataset, another one with these columns.

        Raises:
            ValueError: For invalid data, naming the series, the column and the fix.
        """
        fitted, df = self._fitted_on(df)
        if fitted is not self:
            asked: dict[str, Any] = {
                "times": times, "horizon": horizon, "every": every, "step_scale": step_scale, "output": output,
            }  # fmt: skip
            with self._skipping_with(fitted):
                return fitted.predict(df, future, quantile_levels, **asked)
        levels = self.forecast_levels(quantile_levels)
        if step_scale != 1:
            rescaled = self._rescaled(step_scale, df)
            return rescaled.predict(df, future, levels, times=times, horizon=horizon, every=every, output=output)
        request = Request(levels, future, times, horizon, every)
        if isinstance(df, RayData):
            from s5forecast.ray_forecasts import predict_on_ray

            return predict_on_ray(self, df, request, output)
        if output is not None or request.needs_parts(getattr(self, "history_", None) if df is None else df):
            from s5forecast.forecast_parts import predict_in_parts

            return predict_in_parts(self, df, request, output)
        query, entries = self._queries(df, future, times, horizon, every)
        return self.forecast_frame(query, lambda known: self.forecast_quantiles(entries, known), levels)

    @takes_frames("df", "future")
    def predict_partition(
        self,
        df: Frame,
        future: Frame | None = None,
        quantile_levels: Sequence[float] | None = None,
        *,
        horizon: Any = None,
        every: Any = None,
        num_threads: int | None = 1,
    ) -> Any:
        """Forecast a part of the series, as the unit of work of Spark, Dask, Ray and other clusters.

        A forecast does not depend on the other series of the part, up to rounding. For this, a model that draws sample
        paths forecasts one series at a time, which is slower than :meth:`predict`, and its random numbers are those of
        ``predict`` for this series alone. No progress bar is shown.

        The forecaster can be pickled, with its training series; one from :meth:`load` has none. One that needs no
        training need not be fitted if it has ``freq``.

        Args:
            df: All rows of the histories of some series. Without rows, the result has none, but the same columns.
            future: The ``known`` columns over the horizon; other series in it are ignored.
            quantile_levels, horizon, every: As for :meth:`predict`.
            num_threads: Threads of PyTorch in this process; ``None`` for its default, which is one for each core.

        Returns:
            A long frame as that of :meth:`predict`, which is also the form of the files that ``output=`` writes.

        Raises:
            ValueError: As for :meth:`predict`, and for ``model="multivariate"``.

        Example:
            >>> from s5forecast import S5Forecaster, load_dataset
            >>> f = S5Forecaster.pretrained(24, freq="h")
            >>> df = load_dataset("nyc_departures_hourly")
            >>> len(f.predict_partition(df)), len(f.predict_partition(df[:0]))
            (480, 0)
        """
        from s5forecast.forecast_partition import forecast_partition

        request = Request(self.forecast_levels(quantile_levels), future, None, horizon, every)
        part = forecast_partition(self, df, request, num_threads)
        if ON_ERROR[self.on_error]:
            self.skipped_ = part.skipped.frame(self._columns.item_id, self._columns.identity)
        return part.rows

    @takes_frames("df", on_disk=("df",))
    def calibrate(
        self, df: Frame, windows: int, step: int | None = None, method: str = "adaptive", **options: Any
    ) -> S5Forecaster:
        """Correct the quantiles of all later forecasts, based on forecasts of the last windows of every series.

        As in :meth:`backtest`, a copy fitted on the data before the windows forecasts them if this model was trained
        on them. A later :meth:`fit` removes the calibration. A forecaster that needs no training and is not fitted is
        fitted on ``df`` first.

        Args:
            df: Histories, including the windows.
            windows: Number of windows at the end of each series.
            step: Steps from one window to the next, ``prediction_length`` by default.
            method: A key of ``evaluation.conformal.CONFORMAL_METHODS``: ``"adaptive"``, ``"cqr"``, ``"split"`` ….
            options: Arguments of :class:`~s5forecast.evaluation.ConformalCalibrator`: scale, per_item, per_step,
                learning_rate, item_share.

        Raises:
            ValueError: For invalid data, or if a level needs more windows, with their number.
        """
        from s5forecast.evaluation.calibrator import ConformalCalibrator

        fitted, _ = self._fitted_on(df)
        fitted.sampling_.require_regular("calibrate()", "forecast with predict(times=) alone")
        uncalibrated = copy(fitted)
        uncalibrated._forget_calibration()
        past = uncalibrated.backtest(df, windows, step, metrics=())
        calibrator = ConformalCalibrator(method, **options).fit(past)
        vars(self).update(vars(fitted), calibrator_=calibrator)
        with self.skipping():
            self.calibrated_until_ = self.sampling_.until(self._histories(df))
        if past.skipped is not None:
            self.skipped_ = past.skipped
        return self

    @takes_frames("df", on_disk=("df",))
    def stream(self, df: Frame | None = None, *, saved: str | Path | None = None) -> FrameStream:
        """Forecast series while new rows arrive, at a cost that does not depend on the length of their history.

        Args:
            df: The histories so far; the training frame by default.
            saved: Folder of a saved stream of this forecaster, instead of ``df``.

        Returns:
            A stream: ``stream.update(new_rows)`` adds the next rows of some series, ``stream.predict()`` forecasts
            (irregular series with ``times=``), ``stream.save(folder)`` saves the stream. Location and scale of each
            series do not change after the start, except with the pretrained network.

        Raises:
            ValueError: For invalid data, or a model that cannot stream, with the reason and the fix.
        """
        from s5forecast.stream import FrameStream

        fitted, df = self._fitted_on(df)
        if fitted is not self:
            with self._skipping_with(fitted):
                return fitted.stream(df, saved=saved)
        self._check_trained("stream()")
        if df is not None and saved is not None:
            raise ValueError("pass either df= or saved=, not both")
        if saved is not None:
            return FrameStream.load(saved, self)
        with self.skipping():
            return FrameStream.start(self, self._histories(df, "stream"))

    @takes_frames("df", "future", on_disk=("df",))
    def predict_samples(
        self, df: Frame | None = None, future: Frame | None = None, num_samples: int = 100
    ) -> pd.DataFrame:
        """Draw sample paths over the steps that follow each series.

        Args:
            df, future: As for :meth:`predict`.
            num_samples: Number of paths.

        Returns:
            Long frame with columns item_id, timestamp and one for each path, ``"sample_0"`` …; with
            ``model="multivariate"`` a column is one draw of all series together.

        Raises:
            ValueError: As for :meth:`predict`, and for a model that does not draw paths.
        """
        from gluonts.model.forecast import SampleForecast

        fitted, df = self._fitted_on(df)
        if fitted is not self:
            with self._skipping_with(fitted):
                return fitted.predict_samples(df, future, num_samples)
        self.sampling_.require_regular("predict_samples()", "use predict(times=)")
        query, entries = self._queries(df, future, method="predict_samples")
        order = content_order(entries)
        with collecting([]):  # the frame is already reported
            drawn = list(self.usable_predictor.predict(take(entries, order), num_samples=num_samples))
        forecasts = [drawn[position] for position in np.argsort(order)]
        if not isinstance(forecasts[0], SampleForecast):
            self._check_trained("predict_samples()")
            advice = ", and leave out preset=" if self.preset in PRETRAINED else ""
            raise ValueError(
                f"model={self.model!r} forecasts each step separately and draws no paths; use model='autoregressive', "
                f"or model='multivariate' for paths of all series together{advice}"
            )
        return self.sampling_.samples_frame(query, np.stack([forecast.samples.T for forecast in forecasts]))

    @takes_frames("df", on_disk=("df",), on_ray=("df",))
    def backtest(
        self,
        df: Frame,
        windows: int = 1,
        step: int | None = None,
        metrics: Sequence[Any] | None = None,
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
        """Forecast the last windows of every series of ``df``, each from the data before it.

        Irregular series are cut after a time or each of several times, before their last ``count`` observations, or
        after a fraction of them. The observations within the horizon after a cut are forecast at their own times.

        A backtest never uses a model that was trained or calibrated on the windows. If the data of this forecaster end
        before the first window, it is used unchanged, including its calibration. Otherwise a copy with the same
        parameters is fitted on the data before the first window; the copy is not calibrated.

        Args:
            df: Histories, including the windows. The workers of a Ray dataset train nothing, so the data of this
                forecaster must end before the first window.
            windows: Number of windows at the end of each series.
            step: Steps from one window to the next, ``prediction_length`` by default.
            metrics: Names in ``evaluation.METRICS``; a selection for the kind of series by default.
            season: Steps of the differences that scale MASE; that of GluonTS for the frequency by default, for integer
                times the one of this forecaster.
            refit: True fits a new copy at every window, a number k at every k-th window.
            directory, n_jobs, progress: As for :func:`~s5forecast.backtest`.
            since, count, fraction: Exactly one of these for irregular series, instead of ``windows`` and ``step``:
                the time of the cut or a list of times, the number of observations after it, or the fraction of
                observations before it.
        """
        from s5forecast.forecaster_backtest import backtest_forecaster

        self._check_parameters()
        return backtest_forecaster(
            self, getattr(self, "sampling_", None) or self._make_sampling(self.freq), df,
            metrics=metrics, windows=windows, step=step, season=season, refit=refit, directory=directory, n_jobs=n_jobs,
            progress=progress, since=since, count=count, fraction=fraction,
        )  # fmt: skip

    @takes_frames("df", "future", on_disk=("df",))
    def to_gluonts(self, df: Frame, future: Frame | None = None) -> list[dict[str, Any]]:
        """Convert the series of a frame to GluonTS entries, for :attr:`predictor_` or another predictor.

        Args:
            df: Long frame.
            future: The ``known`` columns over the horizon; by default the entries end with the history.
        """
        fitted, histories = self._fitted_on(df)
        if fitted is not self:
            with self._skipping_with(fitted):
                return fitted.to_gluonts(histories, future)
        if future is not None:
            return list(self._queries(histories, future)[1])
        with self.skipping():
            return list(self.sampling_.entries(self._histories(histories), self.statics_))

    @takes_frames("forecast", "history")
    def plot(
        self, forecast: Frame, history: Frame | None = None, *, target: str | None = None, **kwargs: Any
    ) -> go.Figure:
        """Plot a forecast and its history as a fan chart.

        Args:
            forecast: Frame that :meth:`predict` returned.
            history: Long frame; the training frame by default.
            target: Target to plot, the first one by default.
            kwargs: Arguments of :func:`~s5forecast.plotting.plot_forecast`.

        Raises:
            ValueError: For a target that is not one of the forecaster.
        """
        from s5forecast.plotting.forecasts import plot_forecast

        if not self.needs_no_training:
            self._check_fitted()
        if "item_id" in kwargs:
            raise TypeError(
                f"plot() uses the column item_id={self.item_id!r} of the forecaster; pass the series to show as "
                f"items=[{kwargs['item_id']!r}]"
            )
        if history is None and hasattr(self, "history_"):
            history = self.sampling_.history_frame(self.history_)
        targets = self._columns.targets
        target = choose({name: name for name in targets}, targets[0] if target is None else target, "target")
        if len(targets) > 1:
            forecast = forecast.rename(columns=lambda name: str(name).removeprefix(f"{target}_"))
        names: dict[str, Any] = {"target": target, "item_id": self.item_id, "timestamp": self.timestamp}
        return plot_forecast(history, forecast, **names, **kwargs)

    def summary(self) -> pd.DataFrame:
        """List every parameter, automatic choice and result of the training.

        Returns:
            Frame indexed by name with the columns value, given (whether the user set it), and reason of the choice.
        """
        from s5forecast.forecaster_summary import summarize

        self._check_fitted()
        return summarize(self)

    def save(self, path: str | Path) -> None:
        """Write the fitted model to a folder, as JSON and tensors without pickle and without the training data."""
        from s5forecast.forecaster_files import save_forecaster

        self._check_fitted()
        save_forecaster(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> S5Forecaster:
        """Load a forecaster from a folder that :meth:`save` wrote, on any device.

        Raises:
            ValueError: If a later version of the package wrote the folder.
        """
        from s5forecast.forecaster_files import load_forecaster

        parameters, frequency, fitted = load_forecaster(Path(path), device)
        forecaster = cls(**parameters)
        sampling = forecaster._make_sampling(frequency).with_kinds(fitted["statics_"])
        vars(forecaster).update(fitted, sampling_=sampling)
        return forecaster

    def as_kind(self, kind: FrameKind) -> S5Forecaster:
        """Record the kind of the frame that was given, in which methods without a frame return theirs."""
        self.frame_kind_ = kind
        return self

    def _learn(self, df: pd.DataFrame) -> tuple[Sampling, SeriesTable]:
        """The sampling and the series of a training frame."""
        sampling, series = self._make_sampling(self.freq).learn(df)
        return sampling, self.aligned(series)

    def _fitted_on(self, df: pd.DataFrame | None) -> tuple[S5Forecaster, pd.DataFrame | None]:
        """This forecaster and ``df`` if it is fitted; if it needs no training, a copy fitted on ``df``, and ``None``.

        Raises:
            NotFittedError: if it needs training, or without ``df``.
        """
        if isinstance(df, RayData):
            from s5forecast.forecast_partition import fitted_without_data

            return fitted_without_data(self), df
        if hasattr(self, "predictor_") or df is None or not self.needs_no_training:
            self._check_fitted()
            return self, df
        return copy(self).fit(df), None

    @contextmanager
    def _skipping_with(self, fitted: S5Forecaster) -> Iterator[None]:
        """Record the series that the fit of a copy and then the block leave out."""
        earlier = vars(fitted).get("skipped_")
        yield
        if ON_ERROR[self.on_error]:
            parts = [part for part in (earlier, fitted.skipped_) if part is not None and len(part)]
            self.skipped_ = join_keys(*parts).reset_index(drop=True) if parts else fitted.skipped_

    def _rescaled(self, step_scale: float, df: pd.DataFrame | None) -> S5Forecaster:
        """This forecaster for histories ``df`` in steps ``step_scale`` times as long."""
        from s5forecast.estimators.predictor import count_substeps

        self.sampling_.require_regular("step_scale", "pass the forecast times with times=")
        substeps = count_substeps(step_scale)
        sampling = self.sampling_.divided(substeps)
        alias, trained = sampling.alias, self.sampling_.alias
        predictor = self.predictor_.rescaled(step_scale)
        if df is None:
            raise ValueError(
                f"step_scale={step_scale} requires histories in steps of {alias!r}; pass them as predict(df)"
            )
        if hasattr(self, "calibrator_"):
            raise ValueError(
                f"the calibration is for steps of {trained!r} and does not apply to {alias!r}; use "
                "step_scale with a forecaster that is not calibrated"
            )
        rescaled = copy(self)
        rescaled.sampling_, rescaled.predictor_ = sampling, predictor
        if self.shortest_series_ is not None:
            rescaled.shortest_series_ = substeps * self.shortest_series_
        return rescaled
