"""What a network must be able to do to be trained and to forecast."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from s5forecast.data.windows import Batch, TrainingWindows
from s5forecast.estimators.outputs import Prediction


class ForecastNetwork(nn.Module, ABC):
    """Maps windows to distributions; its constructor is ``@validated()`` and takes plain data, so that it is saved."""

    @abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """The distributions of all steps of the horizon."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """What is minimised, a scalar."""

    @abstractmethod
    def fit_data(self, windows: TrainingWindows) -> None:
        """Take from the training data what is not learned: what normalises features, what values can be."""
