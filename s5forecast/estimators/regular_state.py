"""State of regular series after their last steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from s5forecast.data.entries import local_time
from s5forecast.data.frequency import quiet_periods
from s5forecast.data.missing_known import collecting
from s5forecast.data.spec import WindowSpec
from s5forecast.estimators.states import (
    Describe,
    NetworkRunner,
    SeriesStates,
    layer_tensors,
    read_layers,
    to_device,
)
from s5forecast.networks.prediction import Prediction, SamplePaths
from s5forecast.ssm import State
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.history import SeriesHistory
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.regular import Batch
from s5forecast.windows.rows import RegularQueries, RegularRows, Steps


class RegularState(NamedTuple):
    """State of S regular series after their last steps.

    Location and scale of each series are those of the window with which the stream began. An update followed by a
    forecast equals a forecast from a context that began where that window did.
    """

    history: SeriesHistory
    layers: tuple[State, ...]  # of the network, [S, ...] each

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> RegularState:
        return cls(SeriesHistory(*(tensors[name] for name in SeriesHistory._fields)), read_layers(tensors))

    def tensors(self) -> dict[str, Tensor]:
        return {**self.history._asdict(), **layer_tensors(self.layers)}

    @classmethod
    def start(cls, predictor: NetworkRunner, store: WindowStore, index: Tensor) -> RegularState:
        """State of series ``index [S]`` after the context of their last window."""
        window = store.gather(index, store.length[index])
        history = SeriesHistory.of([store.series[row] for row in index], window, store.spec)
        return cls._after(predictor, history, window.context(), None, None)

    @staticmethod
    def read_rows(entries: Sequence[dict[str, Any]], spec: WindowSpec, states: SeriesStates) -> RegularRows:
        """Read the steps of entries, which follow the last steps of the stream.

        Raises:
            ValueError: for a series that is not in the stream, or an entry that does not fit, naming the series, the
                field and the fix.
        """
        items = [entry.get("item_id") for entry in entries]
        _check_known(items, states)
        return RegularRows.read(entries, spec, states.tensors["time"][states.positions(items)].tolist())

    @staticmethod
    def frame_rows(entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularRows:
        """The rows of a frame, see :meth:`RegularRows.of`."""
        return RegularRows.of(entries, spec)

    @staticmethod
    def admit(
        rows: RegularRows, states: SeriesStates, predictor: NetworkRunner, describe: Describe | None
    ) -> tuple[RegularRows, SeriesStates]:
        """The rows and states with which a stream is updated.

        Raises:
            ValueError: for a series that is not in the stream.
        """
        _check_known(rows.items, states)
        return rows, states

    @staticmethod
    def pieces(rows: RegularRows) -> Any:
        """Positions and padded steps of some series at a time."""
        return rows.pieces()

    def updated(self, predictor: NetworkRunner, steps: Steps) -> RegularState:
        """State after further steps."""
        batch, history = self.history.next(steps, predictor.spec)
        mask = None if steps.mask.all() else steps.mask.float()
        return self._after(predictor, history, batch, to_device(self, predictor.device).layers, mask)

    @staticmethod
    def read_queries(entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularQueries:
        """The horizons of entries, see :meth:`RegularQueries.read`."""
        return RegularQueries.read(entries, spec)

    @staticmethod
    def frame_queries(entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularQueries:
        """The horizons of a frame, at the local times of their timestamps."""
        H = spec.prediction_length
        with collecting([]):  # the frame is already reported
            return RegularQueries.read([{**entry, "time": local_time(entry, spec, H)} for entry in entries], spec)

    @staticmethod
    def check_queries(queries: RegularQueries, states: SeriesStates) -> None:
        """Accept all queries: the horizons follow the last steps."""

    @torch.no_grad()
    def predict(
        self, predictor: NetworkRunner, queries: RegularQueries, num_samples: int | None
    ) -> tuple[Prediction | SamplePaths, list[Horizon]]:
        """Forecasts of the horizons after the last steps."""
        spec, history, moved = predictor.spec, self.history, to_device(self, predictor.device)
        time = history.time.unsqueeze(1) + spec.frequency.multiple * torch.arange(1, spec.prediction_length + 1)
        for row, own in enumerate(queries.times):
            if own is not None:
                time[row] = torch.from_numpy(own)
        batch = Batch(*(x.to(predictor.device) for x in history.ahead(time, queries.covariates, spec)))
        found = predictor.network.predict_from_state(batch, moved.history, moved.layers, num_samples)
        starts = forecast_starts(history.time, spec)
        return found, [Horizon(*one) for one in zip(queries.items, queries.infos, starts, strict=True)]

    @classmethod
    @torch.no_grad()
    def _after(
        cls,
        predictor: NetworkRunner,
        history: SeriesHistory,
        steps: Batch,
        layers: tuple[State, ...] | None,
        mask: Tensor | None,
    ) -> RegularState:
        """State after the network has processed further steps, on the CPU."""
        batch = Batch(*(x.to(predictor.device) for x in steps))
        mask = None if mask is None else mask.to(predictor.device)
        after = predictor.network.update_state(batch, history, layers, mask)
        return to_device(cls(history, after), "cpu")


def forecast_starts(time: Tensor, spec: WindowSpec) -> list[pd.Period]:
    """The step after each last step ``time [S]``."""
    with quiet_periods():
        period = spec.frequency.period_alias
        return [pd.Period(ordinal=last, freq=period) + 1 for last in time.tolist()]


def _check_known(items: Sequence[Any], states: SeriesStates) -> None:
    """Raise ValueError for a series without a history in the stream."""
    for item in items:
        if item not in states:
            raise ValueError(
                f"series {item!r} is not in the stream and cannot be normalized, because the stream has no history for "
                "it; give its history to stream()"
            )
