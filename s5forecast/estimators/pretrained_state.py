"""State of series that the pretrained network forecasts: their last values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from s5forecast.estimators.regular_state import RegularState, forecast_starts
from s5forecast.estimators.states import NetworkRunner
from s5forecast.networks.prediction import Prediction
from s5forecast.networks.zero_shot import bounds_of
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.rows import RegularQueries, Steps


@dataclass(frozen=True)
class PretrainedState:
    """Last values of S series, as many as the pretrained network sees.

    An update adds values and drops as many; a forecast encodes all of them. Its patches end with the last step, so
    that a state of the encoder could be continued by whole patches only.
    """

    time: Tensor  # [S] int64, last step in base units since 1970, in local time
    past: Tensor  # [S, R] float64, the last R steps up to the last observed value, NaN where not observed
    missing: Tensor  # [S] int64, steps after it
    bounds: Tensor  # [S, 2] float64, limits of the forecasts by all values so far

    read_rows = staticmethod(RegularState.read_rows)
    frame_rows = staticmethod(RegularState.frame_rows)
    admit = staticmethod(RegularState.admit)
    pieces = staticmethod(RegularState.pieces)
    read_queries = staticmethod(RegularState.read_queries)
    frame_queries = staticmethod(RegularState.frame_queries)
    check_queries = staticmethod(RegularState.check_queries)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> PretrainedState:
        return cls(**tensors)

    def tensors(self) -> dict[str, Tensor]:
        return dict(vars(self))

    @classmethod
    def start(cls, predictor: NetworkRunner, store: WindowStore, index: Tensor) -> PretrainedState:
        """State of series ``index [S]`` after their last steps."""
        series = [store.series[row] for row in index]
        targets = [one.target.astype(np.float64) for one in series]
        last = [_last(target, predictor.spec.context_length) for target in targets]
        return cls(
            time=torch.tensor([one.time[len(one.target) - 1] for one in series]),
            past=torch.from_numpy(np.stack([past for past, _ in last])),
            missing=torch.tensor([missing for _, missing in last]),
            bounds=torch.tensor([bounds_of(target) for target in targets], dtype=torch.float64),
        )

    def updated(self, predictor: NetworkRunner, steps: Steps) -> PretrainedState:
        """State after further steps."""
        reach = self.past.shape[1]
        new = [row[mask] for row, mask in zip(steps.values.numpy(), steps.mask.numpy(), strict=True)]
        last = [_last(np.r_[past, values], reach) for past, values in zip(self.targets(), new, strict=True)]
        return PretrainedState(
            time=steps.time[:, -1],
            past=torch.from_numpy(np.stack([past for past, _ in last])),
            missing=torch.tensor([missing for _, missing in last]),
            bounds=_widened(self.bounds, steps.values),
        )

    def predict(
        self, predictor: Any, queries: RegularQueries, num_samples: int | None
    ) -> tuple[Prediction, list[Horizon]]:
        """Forecasts of the horizons after the last steps."""
        begun = [target[int((~np.isnan(target)).argmax()) :] for target in self.targets()]
        starts = forecast_starts(self.time, predictor.spec)
        horizons = [Horizon(*one) for one in zip(queries.items, queries.infos, starts, strict=True)]
        return predictor.prediction(begun, self.bounds.numpy()), horizons

    def targets(self) -> list[np.ndarray]:
        """The last steps of each series, up to now."""
        return [
            np.r_[past, np.full(missing, np.nan)]
            for past, missing in zip(self.past.numpy(), self.missing.tolist(), strict=True)
        ]


def _last(target: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """The last ``count`` steps up to the last observed value, NaN before a shorter series, and the steps after it."""
    seen = np.flatnonzero(~np.isnan(target))
    end = int(seen[-1]) + 1 if len(seen) else len(target)
    recent = target[max(end - count, 0) : end]
    return np.r_[np.full(count - len(recent), np.nan), recent], len(target) - end


def _widened(bounds: Tensor, values: Tensor) -> Tensor:
    """The bounds without those that a value is beyond, NaN where not observed."""
    least = values.nan_to_num(torch.inf).amin(1)
    greatest = values.nan_to_num(-torch.inf).amax(1)
    low, high = bounds.unbind(1)
    return torch.stack([low.where(least >= low, -torch.inf), high.where(greatest <= high, torch.inf)], dim=1)
