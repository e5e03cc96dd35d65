"""Predictors and estimators with one interface for backtests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from s5forecast.evaluation.fingerprint import fingerprint
from s5forecast.evaluation.result import Backtest
from s5forecast.evaluation.windows import RegularWindow, Window
from s5forecast.levels import level_name


class Model(ABC):
    """A forecaster of windows.

    Attributes:
        trains: whether ``fit`` returns a new, trained model.
    """

    trains: bool = False

    def fit(self, windows: Sequence[Any]) -> Model:
        """The model trained on the history of these windows, one window for each series."""
        return self

    @abstractmethod
    def values(self, windows: Sequence[Any], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """Values ``[columns, D * H]`` of each window, followed by N sample paths, ``[columns + N, D * H]``."""

    def columns(self, quantile_levels: Sequence[float]) -> list[str]:
        """Names of the mean and the quantiles to forecast."""
        return ["mean", *map(level_name, quantile_levels)]

    def check(self, origins: Sequence[Sequence[Any]], columns: list[str]) -> None:  # noqa: B027, optional
        """Raise ValueError, before any work, for windows or columns that cannot be forecast."""

    @abstractmethod
    def settings(self, first: Sequence[Any]) -> str:
        """Fingerprint of everything that determines the forecasts except the data.

        Args:
            first: the windows of the first origin.
        """

    def finished(self, result: Backtest, first: Sequence[Any]) -> Backtest:
        """The result, completed after all windows are forecast."""
        return result


class PredictorModel(Model):
    """A predictor with GluonTS's ``predict``."""

    def __init__(self, predictor: Any) -> None:
        self.predictor = predictor

    def settings(self, first: Sequence[Any]) -> str:
        return fingerprint(self.predictor)

    def values(self, windows: Sequence[RegularWindow], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """One array for each forecast.

        Raises:
            ValueError: the predictor returns too few or too many forecasts, or returns them in another order.
        """
        count = 0
        for count, forecast in enumerate(self.predictor.predict([window.input for window in windows]), start=1):
            if count > len(windows):
                break
            window = windows[count - 1]
            if forecast.item_id is not None and str(forecast.item_id) != str(window.item_id):
                raise ValueError(
                    f"{type(self.predictor).__name__!r} returned a forecast of series {forecast.item_id!r} "
                    f"in place of series {window.item_id!r}; return the forecasts in the order of the entries"
                )
            yield window.values(forecast, columns, samples)
        if count != len(windows):
            number = f"{count} forecasts" if count < len(windows) else "more forecasts"
            raise ValueError(f"{type(self.predictor).__name__!r} returned {number} for {len(windows)} windows")


class QueryPredictorModel(PredictorModel):
    """A predictor of irregular series, with ``predict_quantiles(entries, levels)``.

    It returns means ``[M, D]`` and quantiles ``[M, D, Q]`` at the M times in the ``query_time`` of all entries, in
    order.
    """

    def values(self, windows: Sequence[Window], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        """One array for each window; the windows of an origin are forecast together."""
        if samples:
            raise ValueError(f"{type(self.predictor).__name__} draws no sample paths; omit samples=True")
        levels = [float(column) for column in columns if column != "mean"]
        for _, group in groupby(windows, key=lambda window: window.origin):
            part = list(group)
            mean, quantiles = self.predictor.predict_quantiles([window.input for window in part], levels)
            found = np.concatenate([np.asarray(mean)[..., None], quantiles], axis=-1)  # [M, D, columns]
            ends = np.cumsum([window.length for window in part])
            if len(found) != ends[-1]:
                raise ValueError(
                    f"{type(self.predictor).__name__} returned {len(found)} forecasts for {ends[-1]} times"
                )
            for one in np.split(found, ends[:-1]):
                yield one.T.reshape(len(columns), -1)


class EstimatorModel(Model):
    """An estimator with GluonTS's ``train``.

    Args:
        estimator: it is not changed.
        adapt: adapter of the trained predictor.
    """

    trains = True

    def __init__(self, estimator: Any, adapt: type[PredictorModel] = PredictorModel) -> None:
        self.estimator, self.adapt = estimator, adapt

    def settings(self, first: Sequence[Any]) -> str:
        return fingerprint(self.estimator)

    def fit(self, windows: Sequence[Window]) -> PredictorModel:
        """The predictor trained on the history of each window."""
        return self.adapt(self.estimator.train([window.past for window in windows]))

    def values(self, windows: Sequence[Any], columns: list[str], samples: bool) -> Iterator[np.ndarray]:
        raise TypeError("an estimator must be trained before it forecasts")
