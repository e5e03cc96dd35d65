"""CalibratedPredictor: a GluonTS predictor with calibrated quantiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.dataset.common import DataEntry
from gluonts.model.forecast import Forecast, QuantileForecast
from gluonts.model.predictor import Predictor

from s5forecast.aliases import check_folder, load
from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.windows import columns_of
from s5forecast.levels import DECILES, level_name

CHUNK = 256


class CalibratedPredictor(Predictor):
    """Forecasts of a predictor, corrected by a calibrator, at the levels of the calibrator.

    Series without item_id are named by their position, as in ``backtest``.

    Args:
        predictor: any GluonTS predictor. To load a saved one whose class is not part of s5forecast, first pass the
            import path of the class to :func:`s5forecast.aliases.allow`.
        calibrator: fitted on forecasts of the predictor.
    """

    def __init__(self, predictor: Predictor, calibrator: ConformalCalibrator) -> None:
        super().__init__(predictor.prediction_length, predictor.lead_time)
        self.predictor = predictor
        self.calibrator = calibrator

    def __eq__(self, other: object) -> bool:
        """Whether the other predictor has an equal predictor and the same corrections."""
        if not isinstance(other, CalibratedPredictor) or self.calibrator.to_json() != other.calibrator.to_json():
            return False
        return bool(self.predictor == other.predictor)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.predictor!r}, {self.calibrator!r})"

    def predict(self, dataset: Iterable[DataEntry], **kwargs: Any) -> Iterator[QuantileForecast]:
        """One forecast for each entry, in order, with the mean unchanged and calibrated quantiles.

        Raises:
            ValueError: there is no correction for a series or step, or a forecast is NaN.
        """
        forecasts = enumerate(self.predictor.predict(dataset, **kwargs))
        while chunk := list(islice(forecasts, CHUNK)):
            yield from self._calibrated(chunk)

    def serialize(self, path: Path) -> None:
        """Write the corrections to an existing folder as JSON, and the predictor to a subfolder."""
        super().serialize(path)
        (path / "predictor").mkdir(exist_ok=True)
        self.predictor.serialize(path / "predictor")
        (path / "calibrator.json").write_text(self.calibrator.to_json())

    @classmethod
    def deserialize(cls, path: Path, device: Any = None) -> CalibratedPredictor:
        """Read what ``serialize`` wrote; ``device`` is that of a predictor with a network.

        Raises:
            ValueError: :func:`~s5forecast.aliases.check_folder` refuses the folder.
        """
        check_folder(path)
        calibrator = ConformalCalibrator.from_json((path / "calibrator.json").read_text())
        return cls(load(path / "predictor", device), calibrator)

    def _calibrated(self, numbered: list[tuple[int, Forecast]]) -> Iterator[QuantileForecast]:
        columns = [level_name(level) for level in self.calibrator.levels_]
        frame = pd.concat([_frame(forecast, number, columns) for number, forecast in numbered], ignore_index=True)
        calibrated = self.calibrator.transform(frame)[["mean", *columns]].to_numpy()
        arrays = calibrated.reshape(len(numbered), self.prediction_length, -1).swapaxes(1, 2)
        for (_, forecast), array in zip(numbered, arrays, strict=True):
            yield QuantileForecast(
                forecast_arrays=array,
                start_date=forecast.start_date,
                forecast_keys=["mean", *columns],
                item_id=forecast.item_id,
                info=forecast.info,
            )


def calibrate(
    predictor: Predictor,
    data: Iterable[DataEntry],
    prediction_length: int,
    windows: int,
    *,
    step: int | None = None,
    quantile_levels: Sequence[float] = DECILES,
    method: str = "adaptive",
    **options: Any,
) -> CalibratedPredictor:
    """Calibrate the quantiles of a predictor on the last windows of the data, which it must not have seen.

    Args:
        predictor: any GluonTS predictor.
        data: GluonTS entries, ``target`` ``[T]``.
        prediction_length: steps H of a window.
        windows: number of windows at the end of each series; level tau requires n >= tau / (1 - tau) scores.
        step: steps from one window to the next, ``prediction_length`` by default.
        quantile_levels: levels to calibrate, in (0, 1).
        method: a key of ``CONFORMAL_METHODS``: "adaptive", "adaptive_cqr", "cqr", "cqr_symmetric" or "split".
        options: further arguments of ``ConformalCalibrator``: scale, per_item, per_step, learning_rate, item_share.

    Raises:
        ValueError: as ``backtest`` and ``ConformalCalibrator``; if there are too few windows, with the number required.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from s5forecast.evaluation import SeasonalNaivePredictor, calibrate
        >>> target = np.random.default_rng(0).normal(size=300)
        >>> series = [{"start": pd.Period("2024-01-01", "D"), "target": target}]
        >>> predictor = SeasonalNaivePredictor(prediction_length=7, season=7)
        >>> calibrated = calibrate(predictor, series, prediction_length=7, windows=20)
        >>> next(iter(calibrated.predict(series))).quantile(0.9).shape
        (7,)
    """
    calibrator = ConformalCalibrator(method, **options)
    past = backtest(
        predictor,
        data,
        prediction_length=prediction_length,
        windows=windows,
        step=step,
        quantile_levels=quantile_levels,
        metrics=(),
    )
    return CalibratedPredictor(predictor, calibrator.fit(past.rows))


def _frame(forecast: Forecast, number: int, columns: list[str]) -> pd.DataFrame:
    """A long frame with the position of the forecast as cutoff, and the step as timestamp."""
    names = ["mean", *columns]
    values = dict(zip(names, columns_of(forecast, names), strict=True))
    item = str(number) if forecast.item_id is None else forecast.item_id
    return pd.DataFrame({"item_id": item, "cutoff": number, "timestamp": np.arange(len(values["mean"])), **values})
