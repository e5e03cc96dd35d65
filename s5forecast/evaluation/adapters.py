"""The adapter of a model to backtest, and the settings that models bring."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.frames import Columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.table import FrameSeries
from s5forecast.evaluation.baselines import BASELINES, IRREGULAR_BASELINES
from s5forecast.evaluation.frame_models import ForecasterModel, ForecastsModel, IrregularForecasterModel
from s5forecast.evaluation.models import EstimatorModel, Model, PredictorModel, QueryPredictorModel


def regular_model(
    model: Any,
    frame: Sequence[FrameSeries] | None,
    columns: Columns,
    frequency: Frequency | None,
    length: int,
    refits: bool = False,
) -> Model:
    """Adapter of a name in ``BASELINES``, a predictor, an estimator, a forecaster or a frame of forecasts.

    Args:
        frame: series of the frame to backtest on, None for GluonTS entries.
        columns, frequency: of the frame.
        length: steps of a window.
        refits: whether the model is fitted more than once.
    """
    if isinstance(model, str):
        return PredictorModel(choose(BASELINES, model, "baseline")(prediction_length=length))
    if isinstance(model, pd.DataFrame):
        return ForecastsModel(model, columns, frequency)
    if hasattr(model, "train"):
        return EstimatorModel(model)
    if is_forecaster(model):
        if getattr(model, "freq", "infer") is None:
            raise ValueError(
                f"{type(model).__name__} forecasts irregular series (freq=None); cut them with since=, count= or "
                "fraction="
            )
        series = _by_name(model, frame)
        if model.prediction_length != length:
            raise ValueError(f"{type(model).__name__} forecasts {model.prediction_length} steps, not {length}")
        return ForecasterModel(model, series, columns, frequency, refits)
    if hasattr(model, "predict"):
        return PredictorModel(model)
    raise ValueError(
        f"{model!r} is not a predictor, an estimator, a forecaster, a frame of forecasts, or one of {list(BASELINES)}"
    )


def irregular_model(model: Any, frame: Sequence[FrameSeries] | None, columns: Columns, refits: bool = False) -> Model:
    """Adapter of a name in ``IRREGULAR_BASELINES``, or of a model of irregular series.

    Args:
        frame, columns, refits: as for :func:`regular_model`.
    """
    if isinstance(model, str):
        return EstimatorModel(choose(IRREGULAR_BASELINES, model, "baseline")(), QueryPredictorModel)
    if isinstance(model, pd.DataFrame):
        return ForecastsModel(model, columns, None)
    if hasattr(model, "train"):
        return EstimatorModel(model, QueryPredictorModel)
    if is_forecaster(model):
        if getattr(model, "freq", None) is not None:
            raise ValueError(
                f"{type(model).__name__} forecasts regular series (freq={model.freq!r}); pass windows= instead of "
                "since=, count= or fraction=, or a forecaster with freq=None"
            )
        return IrregularForecasterModel(model, _by_name(model, frame), columns, None, refits)
    if hasattr(model, "predict_quantiles"):
        return QueryPredictorModel(model)
    raise ValueError(
        f"{type(model).__name__} is not an estimator with train, a predictor with predict_quantiles, a forecaster with "
        f"fit and predict, a frame of forecasts, or one of {list(IRREGULAR_BASELINES)}"
    )


def is_forecaster(model: Any) -> bool:
    """Whether a model has ``fit`` and ``predict``, as an ``S5Forecaster``, and is no GluonTS estimator."""
    return hasattr(model, "fit") and hasattr(model, "predict") and not hasattr(model, "train")


def span_of(models: Iterable[Any]) -> tuple[int | None, Any]:
    """``prediction_length`` and ``horizon`` of the first forecaster of irregular series; None if there is none."""
    for model in models:
        if is_forecaster(model) and getattr(model, "freq", "infer") is None:
            return model.prediction_length, model.horizon
    return None, None


def frequency_of(freq: Any, models: Iterable[Any], season: int | None = None) -> Any:
    """``freq``, by default that of the first forecaster of integer times, with the season of integer times if known."""
    own = next((_integer_frequency(model) for model in models if _has_integer_times(model)), None)
    if isinstance(freq, Integral):
        freq = Frequency.parse(freq)  # type: ignore[arg-type]
    freq = freq or own
    if not isinstance(freq, Frequency) or not freq.integer:
        return freq
    if own is not None and own.multiple == freq.multiple and not freq.has_season:
        freq = own
    return freq if season is None else freq.with_season(season)


def _has_integer_times(model: Any) -> bool:
    return is_forecaster(model) and isinstance(getattr(model, "freq", None), Integral)


def _integer_frequency(model: Any) -> Frequency:
    """The frequency of a forecaster of integer times, with its season if it is found or given."""
    if hasattr(model, "sampling_"):
        return model.sampling_.frequency
    frequency, season = Frequency.parse(model.freq), getattr(model, "season", None)
    return frequency if season is None else frequency.with_season(season)


def on_error_of(models: Iterable[Any]) -> str:
    """``"skip"`` if a forecaster leaves out series that have an error, otherwise ``"raise"``."""
    skip = any(getattr(model, "on_error", None) == "skip" for model in models if is_forecaster(model))
    return "skip" if skip else "raise"


def _by_name(model: Any, frame: Sequence[FrameSeries] | None) -> dict[Any, FrameSeries]:
    """Series of a frame by the item_id of their windows."""
    if frame is None:
        raise ValueError(f"{type(model).__name__} is backtested on a DataFrame, not on GluonTS entries")
    return {str(number) if one.item_id is None else one.item_id: one for number, one in enumerate(frame)}


def name_of(model: Any) -> str:
    """Default name of a model: the model itself if it is a name, otherwise its class."""
    return model if isinstance(model, str) else "forecasts" if isinstance(model, pd.DataFrame) else type(model).__name__
