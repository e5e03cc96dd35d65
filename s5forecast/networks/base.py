"""What a network must be able to do to be trained and to forecast."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from s5forecast.distributions import is_real, support
from s5forecast.networks.prediction import Prediction, SamplePaths

BatchT = TypeVar("BatchT")
WindowsT = TypeVar("WindowsT")


class ForecastNetwork(nn.Module, ABC, Generic[BatchT, WindowsT]):
    """Maps windows to distributions; its constructor is ``@validated()`` and takes plain data, so that it is saved."""

    @abstractmethod
    def forward(self, batch: BatchT, num_samples: int | None = None) -> Prediction | SamplePaths:
        """The forecast of all steps of the horizon; ``num_samples`` is the number of paths where they are drawn."""

    @abstractmethod
    def loss(self, batch: BatchT) -> Tensor:
        """What is minimised, a scalar."""

    @abstractmethod
    def check_streams(self) -> None:
        """Raise ValueError, with the reason and the fix, where series cannot be forecast while they are observed."""

    def divided(self, substeps: int) -> ForecastNetwork[BatchT, WindowsT]:
        """The same network at steps ``substeps`` times as short.

        Raises:
            ValueError: with the reason and the fix, for a network that cannot.
        """
        raise ValueError(f"{type(self).__name__} has one sampling rate; another one is forecast by S5Estimator")

    @abstractmethod
    def fit_features(self, windows: WindowsT) -> None:
        """Take from the training data what normalises the features."""

    @abstractmethod
    def fit_support(self, windows: WindowsT) -> None:
        """Take from the training data what values there can be.

        Raises:
            ValueError: naming the series, if the output does not reach its values.
        """


class HasTarget(Protocol):
    """A series with its values, NaN where not observed."""

    @property
    def item_id(self) -> Any: ...

    @property
    def target(self) -> np.ndarray: ...


def check_support(output: Any, all_series: Sequence[HasTarget]) -> None:
    """Raise ValueError, naming the series, for a value outside the support of an output."""
    if is_real(output):
        return
    for position, series in enumerate(all_series):
        observed = torch.from_numpy(series.target[~np.isnan(series.target)])
        outside = ~support(output).check(observed)
        if outside.any():
            name = position if series.item_id is None else series.item_id
            raise ValueError(
                f"series {name!r}: {type(output).__name__} cannot give the value {observed[outside][0].item():g} "
                "of target; choose another distr_output, or 'auto'"
            )
