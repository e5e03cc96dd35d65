"""Contract of the networks that estimators train and predictors run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from s5forecast.distributions import is_real, support
from s5forecast.networks.prediction import Prediction, SamplePaths
from s5forecast.nn import FeatureInputs
from s5forecast.picklable import Picklable
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.regular import Batch

# Windows from which location and scale of the input features are taken.
FITTING_WINDOWS = 512

BatchT = TypeVar("BatchT")
WindowsT = TypeVar("WindowsT")


class ForecastNetwork(Picklable, nn.Module, ABC, Generic[BatchT, WindowsT]):
    """Maps windows to forecasts.

    The constructor is ``@validated()`` and takes plain data, with which GluonTS saves the network. A network that
    :meth:`check_streams` accepts has ``update_state`` and the methods that forecast from a state, see
    :class:`~s5forecast.networks.autoregressive.AutoregressiveNetwork` for regular series and
    :class:`~s5forecast.networks.continuous.ContinuousNetwork` for irregular series.
    """

    @abstractmethod
    def forward(self, batch: BatchT, num_samples: int | None = None) -> Prediction | SamplePaths:
        """Forecast of the horizon.

        Args:
            batch: B windows.
            num_samples: sample paths per series; ignored by networks that do not sample.
        """

    @abstractmethod
    def loss(self, batch: BatchT) -> Tensor:
        """Training loss, a scalar: a mean over the observed values."""

    @abstractmethod
    def loss_weight(self, batch: BatchT) -> Tensor:
        """Total weight of the values in the mean of :meth:`loss`, a scalar; 0 if no value is observed."""

    @abstractmethod
    def check_streams(self) -> None:
        """Raise ValueError, with the reason and the fix, for a network that cannot be advanced step by step."""

    def divided(self, substeps: int) -> ForecastNetwork[BatchT, WindowsT]:
        """A copy of this network for steps ``substeps`` times as short.

        Raises:
            ValueError: for a network that cannot be rescaled, with the reason and the fix.
        """
        raise ValueError(f"{type(self).__name__} has a fixed sampling rate; use S5Estimator to forecast at another one")

    @abstractmethod
    def fit_features(self, windows: WindowsT) -> None:
        """Set location and scale of the input features from training windows."""

    @abstractmethod
    def fit_support(self, windows: WindowsT) -> None:
        """Set from the training data whether forecasts are counts.

        Raises:
            ValueError: for a value outside the support of the output, naming the series.
        """


class UnivariateNetwork(FeatureInputs, ForecastNetwork[Batch, TrainingWindows]):
    """Base of networks that forecast one regular series from its own window."""

    output: Any
    counts: Tensor

    @torch.no_grad()
    def fit_features(self, windows: TrainingWindows) -> None:
        """Take location and scale of covariates and static features from training windows."""
        batch = windows.draw(FITTING_WINDOWS)
        self.fit_standardization(batch.covariates, batch.static_real)

    @torch.no_grad()
    def fit_support(self, windows: TrainingWindows) -> None:
        """Check the values, and record whether all series are counts."""
        check_support(self.output, windows.store.series)
        self.counts.fill_(bool(windows.store.counts.all()))


class HasTarget(Protocol):
    """A series with a target, NaN where not observed."""

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
                f"series {name!r}: target contains {observed[outside][0].item():g}, which is outside the support of "
                f"{type(output).__name__}; choose another distr_output, or 'auto'"
            )
