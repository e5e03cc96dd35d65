"""State of irregular series after their last observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from s5forecast.data.entries import read_static
from s5forecast.data.spec import IrregularSpec
from s5forecast.data.times import IrregularRows, check_kind, check_zone
from s5forecast.estimators.states import (
    Describe,
    NetworkRunner,
    SeriesStates,
    layer_tensors,
    read_layers,
    to_device,
)
from s5forecast.networks.continuous import Observed
from s5forecast.networks.prediction import Place, Prediction
from s5forecast.nn import Recent
from s5forecast.ssm import State
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.calendar import clock_features
from s5forecast.windows.history import IrregularHistory
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.irregular import IrregularBatch
from s5forecast.windows.rows import IrregularQueries, Slots, pieces, read_irregular_rows, shown_time, since, with_rows


class IrregularState(NamedTuple):
    """State of S irregular series after their last observations.

    Location and scale of each variable are those of the window with which the stream began, or of the training data for
    a series that appears later. The mean of the window, to which forecasts may return, becomes the mean of all values
    since that window began. An update followed by a forecast equals a forecast from the whole history as context, with
    the same location and scale.
    """

    history: IrregularHistory
    place: Place  # [S, 1, D]
    h: Tensor  # [S, width], features at the last observation
    layers: tuple[State, ...]  # of the network, [S, ...] each
    recent: Recent  # of the values since the window began

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> IrregularState:
        history = IrregularHistory(*(tensors[name] for name in IrregularHistory._fields))
        place = Place(*(tensors[name] for name in Place._fields))
        recent = Recent(*(tensors[f"recent_{name}"] for name in Recent._fields))
        return cls(history, place, tensors["h"], read_layers(tensors), recent)

    def tensors(self) -> dict[str, Tensor]:
        recent = {f"recent_{name}": tensor for name, tensor in self.recent._asdict().items()}
        fields = {**self.history._asdict(), **self.place._asdict(), "h": self.h}
        return {**fields, **layer_tensors(self.layers), **recent}

    @classmethod
    @torch.no_grad()
    def start(cls, predictor: NetworkRunner, store: WindowStore, index: Tensor) -> IrregularState:
        """State of series ``index [S]`` after their last window."""
        batch = store.gather(index, store.length[index])
        window = IrregularBatch(*(x.to(predictor.device) for x in batch))
        place = predictor.network.place(window)
        observed = predictor.network.update_state(window, place)
        history = IrregularHistory.of([store.series[row] for row in index], batch)
        return cls._after(history, Place(*(x.expand(len(index), 1, -1) for x in place)), observed)

    @staticmethod
    def read_rows(entries: Sequence[dict[str, Any]], spec: IrregularSpec, states: SeriesStates) -> IrregularRows:
        """Read the observations of entries.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix.
        """
        return read_irregular_rows(entries, spec)

    @staticmethod
    def frame_rows(rows: IrregularRows, spec: IrregularSpec) -> IrregularRows:
        """The rows of a frame."""
        return rows

    @classmethod
    def admit(
        cls, rows: IrregularRows, states: SeriesStates, predictor: NetworkRunner, describe: Describe | None
    ) -> tuple[IrregularRows, SeriesStates]:
        """The rows with a value, and the states with those of new series.

        Args:
            rows: new observations.
            states: states of the stream, which are not changed.
            predictor: predictor of the stream.
            describe: gives the static features of a new series.

        Raises:
            ValueError: for a row that is not after the last observation of its series, or that does not fit otherwise.
        """
        observed = ~np.isnan(rows.target).all(axis=1)
        known = np.array([item in states for item in rows.items], dtype=bool)
        rows = with_rows(rows.only(observed | known[rows.series]))
        new = [item for item in rows.items if item not in states]
        if new:
            _check_like_others(rows, states, new)
            states = states.extended(new, cls._unseen(new, rows, predictor, describe).tensors())
        if rows.items:
            _check_after(rows, states)
        return rows.only(~np.isnan(rows.target).all(axis=1)), states

    @staticmethod
    def pieces(rows: IrregularRows) -> Any:
        """Positions and rows of some series at a time."""
        return pieces(rows)

    @torch.no_grad()
    def updated(self, predictor: NetworkRunner, rows: IrregularRows) -> IrregularState:
        """State after further observations of each series."""
        batch, history = self.history.followed_by(rows, predictor.spec)
        window, moved = IrregularBatch(*(x.to(predictor.device) for x in batch)), to_device(self, predictor.device)
        return self._after(history, self.place, predictor.network.update_state(window, moved.place, moved._observed()))

    @staticmethod
    def read_queries(entries: Sequence[dict[str, Any]], spec: IrregularSpec) -> IrregularQueries:
        """The query times of entries, see :meth:`IrregularQueries.read`."""
        return IrregularQueries.read(entries, spec)

    @staticmethod
    def frame_queries(rows: IrregularRows, spec: IrregularSpec) -> IrregularQueries:
        """The query times of a frame."""
        return IrregularQueries.of(rows)

    @staticmethod
    def check_queries(queries: IrregularQueries, states: SeriesStates) -> None:
        """Raise ValueError for a time that is not after the last observation of its series, or of another kind."""
        _check_after(queries.rows, states)

    @torch.no_grad()
    def predict(
        self, predictor: NetworkRunner, queries: IrregularQueries, num_samples: int | None
    ) -> tuple[Prediction, list[Horizon]]:
        """Forecasts at the query times."""
        history, rows, network, device = self.history, queries.rows, predictor.network, predictor.device
        moved = to_device(self, device)
        summary = (x.to(device) for x in (history.mean(), history.value, history.last_age()))
        encoded = network.summarize(moved._observed(), *summary, moved.place)
        slots = Slots.of(rows.series, len(self.h), right=False)
        elapsed = since(slots.lay(rows.instants.exact), history.time.unsqueeze(1)).where(slots.mask(), 0.0)
        calendar = clock_features(predictor.spec.cycles, slots.lay(rows.instants.clock))
        covariates = slots.lay(rows.covariates, torch.nan)
        times = (x.to(device) for x in (elapsed, calendar, covariates, history.counts.unsqueeze(1)))
        return network.decode(encoded, *times), queries.horizons

    def _observed(self) -> Observed:
        """The part of the state that the network updates."""
        return Observed(self.h, self.layers, self.recent)

    @classmethod
    def _after(cls, history: IrregularHistory, place: Place, observed: Observed) -> IrregularState:
        """State after an update of the network, on the CPU."""
        return to_device(cls(history, place, observed.h, observed.layers, observed.recent), "cpu")

    @classmethod
    def _unseen(
        cls, items: Sequence[Any], rows: IrregularRows, predictor: NetworkRunner, describe: Describe | None
    ) -> IrregularState:
        """State of series before their first observation, with location and scale of the training data."""
        spec, network = predictor.spec, predictor.network
        entries = [(f"series {item!r}", {} if describe is None else describe(item)) for item in items]
        real, cat = (
            torch.from_numpy(np.stack([read_static(entry, field, name, spec.features) for name, entry in entries]))
            for field in ("feat_static_real", "feat_static_cat")
        )
        history = IrregularHistory.empty(spec.target_dim, real, cat, rows.instants)
        place = (x.cpu().expand(len(items), 1, -1) for x in (network.location, network.spread, network.level))
        return cls._after(history, Place(*place), network.initial_state(len(items)))


def _check_like_others(rows: IrregularRows, states: SeriesStates, new: Sequence[Any]) -> None:
    """Raise ValueError for new series with times of another kind than those of the stream."""
    name, others = f"series {new[0]!r}", states.tensors
    check_kind(rows.instants, others["time"].dtype == torch.int64, rows.column, name)
    if not (others["aware"] == rows.instants.aware).any():
        check_zone(rows.instants, not rows.instants.aware, rows.column, name)


def _check_after(rows: IrregularRows, states: SeriesStates) -> None:
    """Raise ValueError for a time that is not after the last observation of its series, or of another kind."""
    index = states.positions(rows.items)
    last, aware, number = (states.tensors[name][index].numpy() for name in ("time", "aware", "number"))
    names = [f"series {item!r}" for item in rows.items]
    check_kind(rows.instants, last.dtype == np.int64, rows.column, names[0])
    for position in np.flatnonzero(aware != rows.instants.aware)[:1]:
        check_zone(rows.instants, bool(aware[position]), rows.column, names[position])
    begun = np.asarray((number > 0).any(axis=1))
    early = begun[rows.series] & (rows.instants.exact <= last[rows.series])
    if early.any():
        row = int(early.argmax())
        series = rows.series[row]
        at, until = (shown_time(exact, rows.instants) for exact in (rows.instants.exact[row], last[series]))
        is_query = not rows.target.shape[1]
        raise ValueError(
            f"{names[series]}: {rows.column} {at} is not after the last observation, at {until}; "
            + ("give later times" if is_query else "remove rows that the stream already has, or start a new stream "
               "to correct them")
        )  # fmt: skip
