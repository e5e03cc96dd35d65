"""What all streams share: a state of each series, moved on by each observation, saved and restored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from gluonts.model.forecast import Forecast

from s5forecast.estimators.states import SeriesStates, fingerprint

if TYPE_CHECKING:
    from s5forecast.estimators.predictor import NetworkPredictor

StreamT = TypeVar("StreamT", bound="ForecastStream")
# Steps of padded series encoded at once.
STEPS = 2**16


class ForecastStream(ABC):
    """Series that are forecast while they are observed, at a cost that does not depend on their past.

    Of each series there is the state of the network after its last observation, in place of its history; what
    normalises it stays as it was when the stream began.

    Arguments:
        predictor: whose network is run.
        states: of the series.
    """

    def __init__(self, predictor: NetworkPredictor, states: SeriesStates) -> None:
        self.predictor, self.states = predictor, states
        predictor.prediction_net.eval()

    def __len__(self) -> int:
        return len(self.states)

    @property
    def items(self) -> list[Any]:
        """The ``item_id`` of each series."""
        return list(self.states.items)

    @abstractmethod
    def update(self, entries: Iterable[dict[str, Any]]) -> None:
        """Take in the next observations of some series; where one does not fit, no state changes.

        Raises:
            ValueError: naming the series, the field and the fix.
        """

    @abstractmethod
    def predict(self, entries: Iterable[dict[str, Any]]) -> Iterator[Forecast]:
        """One forecast for each entry, in order; no state changes.

        Raises:
            ValueError: naming the series, the field and the fix.
        """

    @abstractmethod
    def predict_quantiles(
        self, entries: Iterable[dict[str, Any]], levels: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and quantiles, as of the predictor.

        Raises:
            ValueError: as :meth:`predict`.
        """

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, JSON and arrays without pickle; the predictor is saved on its own."""
        self.states.save(Path(path), fingerprint(self.predictor.prediction_net))

    @classmethod
    def load(cls: type[StreamT], path: str | Path, predictor: NetworkPredictor) -> StreamT:
        """Read what :meth:`save` wrote, of a stream of the same predictor.

        Raises:
            ValueError: if it was written by a later format, or for another predictor.
        """
        return cls(predictor, SeriesStates.load(Path(path), fingerprint(predictor.prediction_net)))
