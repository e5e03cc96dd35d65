"""The predictor of irregular series, and its forecasts at the times asked for."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.forecast import Forecast, Quantile
from gluonts.torch.model.predictor import PyTorchPredictor
from gluonts.transform import Identity
from torch import nn

from s5forecast.data.irregular_entries import IrregularSeries, read_irregular
from s5forecast.data.spec import IrregularSpec
from s5forecast.estimators.predictor import S5Predictor
from s5forecast.networks.prediction import Prediction
from s5forecast.windows.batches import LastIrregularWindows
from s5forecast.windows.irregular import IrregularStore

if TYPE_CHECKING:
    from s5forecast.estimators.continuous_stream import ContinuousStream


class Asked(NamedTuple):
    """What was asked of one series."""

    item_id: Any
    info: Any
    start: pd.Period | None
    asked: Any  # the times, as they came
    univariate: bool


class ContinuousForecast(Forecast):
    """Distributions at the Q times asked for of one series; ``index`` holds these times as they were given.

    Arguments:
        prediction: of this series, a batch of one.
        series: what was forecast.
    """

    def __init__(self, prediction: Prediction, series: IrregularSeries | Asked) -> None:
        self.item_id, self.info = series.item_id, series.info
        self.prediction_length = len(series.asked)
        self.univariate = series.univariate
        self._prediction, self._times = prediction, series.asked
        self.start_date = _start(series)

    @property
    def index(self) -> pd.Index:
        """The times asked for, in their order."""
        return pd.Index(self._times)

    @property
    def mean(self) -> np.ndarray:
        """``[Q]``, of several variables ``[Q, D]``."""
        return self._shaped(self._prediction.mean())

    def quantile(self, q: float | str) -> np.ndarray:
        """``[Q]``, of several variables ``[Q, D]``."""
        return self._shaped(self._prediction.quantiles([Quantile.parse(q).value])[..., 0])

    def dim(self) -> int:
        """Number of variables."""
        return self._prediction.scale.shape[-1]

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        values = values[0, : self.prediction_length]
        return values[:, 0] if self.univariate else values

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: without the quantiles computed so far."""
        return {**self.__dict__, "_prediction": self._prediction[:]}


class ContinuousPredictor(S5Predictor):
    """Forecasts each series of a dataset at the times its entry asks for.

    Arguments:
        prediction_net: the network.
        spec: what its windows hold.
        batch_size: series per pass.
        device: ``"auto"`` is CUDA where there is one, else the CPU.
    """

    spec: IrregularSpec  # type: ignore[assignment]

    @validated()
    def __init__(
        self, prediction_net: nn.Module, spec: IrregularSpec, batch_size: int = 64, device: str = "auto"
    ) -> None:
        PyTorchPredictor.__init__(
            self,
            input_names=[],
            prediction_net=prediction_net,
            batch_size=batch_size,
            prediction_length=spec.prediction_length or spec.max_queries,
            input_transform=Identity(),
            device=device,
        )
        self.spec = spec

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Forecast]:
        """One forecast for each entry, in order, at its ``query_time``.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix.
        """
        for prediction, series in self._predictions(dataset):
            for row, one in enumerate(series):
                yield ContinuousForecast(prediction[row : row + 1], one)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[M, D]`` and quantiles ``[M, D, Q]`` at all times asked for, those of the first entry first.

        Raises:
            ValueError: as :meth:`predict`.
        """
        D = self.spec.target_dim
        means, quantiles = [np.empty((0, D))], [np.empty((0, D, len(levels)))]
        for prediction, series in self._predictions(dataset):
            longest = max(len(one.query) for one in series)
            asked = np.arange(longest) < np.array([[len(one.query)] for one in series])
            means.append(prediction.mean()[asked])
            quantiles.append(prediction.quantiles(levels)[asked])
        return np.concatenate(means), np.concatenate(quantiles)

    def stream(self, dataset: Dataset) -> "ContinuousStream":
        """The series of a dataset, from their histories on forecast while they are observed.

        Raises:
            ValueError: as :meth:`predict`.
        """
        from s5forecast.estimators.continuous_stream import ContinuousStream

        return ContinuousStream.start(self, dataset)

    def _predictions(  # type: ignore[override]
        self, dataset: Iterable[dict[str, Any]], num_samples: int | None = None
    ) -> Iterator[tuple[Prediction, list[IrregularSeries]]]:
        entries = iter(dataset)
        self.prediction_net.eval()
        while chunk := list(islice(entries, self.batch_size)):
            store = IrregularStore(read_irregular(chunk, self.spec, forecast=True), self.spec)
            (batch,) = LastIrregularWindows(store, batch_size=self.batch_size, known=False)
            with torch.no_grad():
                found = self.prediction_net(type(batch)(*(x.to(self.device) for x in batch)))
            yield found, store.series


def _start(series: IrregularSeries | Asked) -> pd.Period | None:
    """The first time asked for, as GluonTS counts it: in the periods of the entry's start, else of seconds."""
    first = pd.Index(series.asked).min()
    if not isinstance(first, pd.Timestamp):
        return series.start
    freq = "s" if series.start is None else series.start.freqstr
    return pd.Period(first.tz_localize(None), freq)
