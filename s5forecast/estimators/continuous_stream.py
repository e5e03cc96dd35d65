"""Irregular series forecast while they are observed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import Forecast
from torch import Tensor

from s5forecast.data.entries import read_static
from s5forecast.data.irregular_entries import read_irregular, read_query, read_rows
from s5forecast.data.spec import IrregularSpec
from s5forecast.data.times import Instants, IrregularRows, check_kind, check_zone
from s5forecast.estimators.predictor import NetworkPredictor
from s5forecast.estimators.states import SeriesStates
from s5forecast.estimators.streaming import STEPS, ForecastStream
from s5forecast.networks.continuous import ContinuousNetwork, Observed
from s5forecast.networks.prediction import Place, Prediction
from s5forecast.nn import Recent
from s5forecast.windows.calendar import clock_features
from s5forecast.windows.history import IrregularHistory
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.irregular import IrregularBatch, IrregularStore
from s5forecast.windows.rows import Slots, since


class ContinuousState(NamedTuple):
    """What forecasts of S series are made from, after their last observations."""

    history: IrregularHistory
    place: Place  # of the windows that the stream began with, [S, 1, D]
    h: Tensor  # [S, width]
    layers: Tensor  # [S, layers, ...]
    recent: Recent  # of the values since the window began

    def tensors(self) -> dict[str, Tensor]:
        recent = {f"recent_{name}": tensor for name, tensor in self.recent._asdict().items()}
        return {**self.history._asdict(), **self.place._asdict(), "h": self.h, "layers": self.layers, **recent}

    def to(self, device: torch.device) -> ContinuousState:
        return self.of({name: tensor.to(device) for name, tensor in self.tensors().items()})

    def observed(self) -> Observed:
        """What the network moves on."""
        return Observed(self.h, tuple(state.contiguous() for state in self.layers.unbind(1)), self.recent)

    @classmethod
    def after(cls, history: IrregularHistory, place: Place, observed: Observed) -> ContinuousState:
        """With what the network has moved on."""
        return cls(history, place, observed.h, torch.stack(observed.layers, dim=1), observed.recent)

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> ContinuousState:
        history = IrregularHistory(*(tensors[name] for name in IrregularHistory._fields))
        place = Place(*(tensors[name] for name in Place._fields))
        recent = Recent(*(tensors[f"recent_{name}"] for name in Recent._fields))
        return cls(history, place, tensors["h"], tensors["layers"], recent)


class ContinuousStream(ForecastStream):
    """Irregular series, whose states are moved on by each observation and read out at any later times.

    Location and scale of each variable are those of the window that the stream began with. The mean of the window,
    which forecasts may fall back to, becomes the mean of all values since that window began. A series that appears
    later is placed by location and scale of the training data.

    An update and then a forecast equal a forecast from the whole history, placed likewise, as its context.
    """

    predictor: NetworkPredictor

    @classmethod
    def start(cls, predictor: NetworkPredictor, entries: Iterable[dict[str, Any]]) -> ContinuousStream:
        """The stream of series with a history, ``time`` and ``target`` as in training.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix.
        """
        predictor.prediction_net.check_streams()
        series = read_irregular(entries, predictor.spec, forecast=False)
        remaining, items, parts = iter(series), [one.item_id for one in series], []
        while chunk := list(islice(remaining, predictor.batch_size)):
            parts.append(_initial(predictor, IrregularStore(chunk, predictor.spec)).tensors())
        return cls(
            predictor, SeriesStates(items, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})
        )

    def update(self, entries: Iterable[dict[str, Any]]) -> None:
        """Take in the next observations of some series: ``item_id``, ``time``, ``target`` and covariates of each.

        A row without any observed value changes nothing. A series that is not known begins here; it needs its static
        features.

        Raises:
            ValueError: for a row that is not after the last observation of its series, or does not fit otherwise,
                naming the series, the field and the fix; then no state has changed.
        """
        given = list(entries)
        by_item = {entry.get("item_id"): entry for entry in given}
        if len(by_item) < len(given):
            raise ValueError("a series has several entries in one update; give all its rows in one, in order of time")
        if given:
            self.observe(_observed(given, self.spec), by_item.__getitem__)

    def observe(self, rows: IrregularRows, describe: Callable[[Any], dict[str, Any]]) -> None:
        """Take in rows that were read already; ``describe`` gives an entry with the static features of an item.

        Raises:
            ValueError: as :meth:`update`.
        """
        observed = ~np.isnan(rows.target).all(axis=1)
        known = np.array([item in self.states for item in rows.items])
        rows = _renumbered(rows.only(observed | known[rows.series]))
        if not rows.items:
            return
        states, new = self.states, [item for item in rows.items if item not in self.states]
        if new:
            self._check_like_others(rows, new)
            states = states.extended(new, self._unseen(new, rows, describe).tensors())
        index = states.positions(rows.items)
        self._check_after(rows, states, index)
        kept = rows.only(~np.isnan(rows.target).all(axis=1))
        moved = []
        for piece in _pieces(kept):
            chosen = index[torch.from_numpy(np.unique(piece.series))]
            state = ContinuousState.of(states.take(chosen))
            moved.append((chosen, self._moved(state, _renumbered(piece)).tensors()))
        for chosen, tensors in moved:
            states.put(chosen, tensors)
        self.states = states

    def predict(self, entries: Iterable[dict[str, Any]]) -> Iterator[Forecast]:
        """One forecast for each entry, ``item_id``, ``query_time`` and ``query_feat_dynamic_real``, in order.

        Raises:
            ValueError: for a time that is not after the last observation, or an entry that does not fit otherwise,
                naming the series, the field and the fix.
        """
        given = list(entries)
        for prediction, rows in self._predictions(_asked(given, self.spec)):
            for row, position in enumerate(np.unique(rows.series)):
                yield from prediction[row : row + 1].forecasts([_about(given[position], self.spec)])

    def predict_quantiles(
        self, entries: Iterable[dict[str, Any]], levels: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[M, D]`` and quantiles ``[M, D, Q]`` at all times asked for, those of the first entry first.

        Raises:
            ValueError: as :meth:`predict`.
        """
        return self.quantiles(_asked(list(entries), self.spec), levels)

    def quantiles(self, rows: IrregularRows, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[M, D]`` and quantiles ``[M, D, Q]`` at times that were read already.

        Raises:
            ValueError: for a time that is not after the last observation.
        """
        D = self.spec.target_dim
        means, quantiles = [np.empty((0, D))], [np.empty((0, D, len(levels)))]
        for prediction, piece in self._predictions(rows):
            there = Slots.of(_renumbered(piece).series, len(prediction.scale), right=False).there().numpy()
            means.append(prediction.mean()[there])
            quantiles.append(prediction.quantiles(levels)[there])
        return np.concatenate(means), np.concatenate(quantiles)

    @property
    def spec(self) -> IrregularSpec:
        return self.predictor.spec

    @property
    def network(self) -> ContinuousNetwork:
        return self.predictor.prediction_net

    def last_times(self) -> np.ndarray:
        """Exact time of the last observation of each series, ``[S]``."""
        return self.states.tensors["time"].numpy()

    def _predictions(self, rows: IrregularRows) -> Iterator[tuple[Prediction, IrregularRows]]:
        index = self.states.positions(rows.items)
        self._check_after(rows, self.states, index)
        for piece in _pieces(rows):
            state = ContinuousState.of(self.states.take(index[torch.from_numpy(np.unique(piece.series))]))
            yield self._decoded(state, _renumbered(piece)), piece

    @torch.no_grad()
    def _decoded(self, state: ContinuousState, rows: IrregularRows) -> Prediction:
        history, device = state.history, self.predictor.device
        mean, last, last_age = (x.to(device) for x in (history.mean(), history.value, history.last_age()))
        there = state.to(device)
        encoded = self.network.summarise(there.observed(), mean, last, last_age, there.place)
        slots = Slots.of(rows.series, len(state.h), right=False)
        elapsed = since(slots.lay(rows.instants.exact), history.time.unsqueeze(1)).where(slots.there(), 0.0)
        calendar = clock_features(self.spec.cycles, slots.lay(rows.instants.clock))
        covariates = slots.lay(rows.covariates, torch.nan)
        times = (x.to(device) for x in (elapsed, calendar, covariates, history.counts.unsqueeze(1)))
        return self.network.decode(encoded, *times)

    @torch.no_grad()
    def _moved(self, state: ContinuousState, rows: IrregularRows) -> ContinuousState:
        """The state of k series after further rows of each."""
        batch, history = state.history.followed_by(rows, self.spec)
        device = self.predictor.device
        there = state.to(device)
        window = IrregularBatch(*(x.to(device) for x in batch))
        observed = self.network.observe(window, there.place, there.observed())
        return ContinuousState.after(history, state.place, observed)

    def _unseen(
        self, items: Sequence[Any], rows: IrregularRows, describe: Callable[[Any], dict[str, Any]]
    ) -> ContinuousState:
        """Series before their first observation, placed by the training data."""
        spec, network = self.spec, self.network
        entries = [(f"series {item!r}", describe(item)) for item in items]
        real = [
            read_static(one, "feat_static_real", spec.num_feat_static_real, name, np.float32) for name, one in entries
        ]
        cat = [read_static(one, "feat_static_cat", spec.num_feat_static_cat, name, np.int64) for name, one in entries]
        statics = torch.from_numpy(np.stack(real)), torch.from_numpy(np.stack(cat))
        history = IrregularHistory.empty(spec.target_dim, *statics, rows.instants)
        place = (x.cpu().expand(len(items), 1, -1) for x in (network.location, network.spread, network.level))
        return ContinuousState.after(history, Place(*place), network.before(len(items))).to(torch.device("cpu"))

    def _check_like_others(self, rows: IrregularRows, new: Sequence[Any]) -> None:
        """Raise ValueError for new series with times of another kind than those of the stream."""
        name, others = f"series {new[0]!r}", self.states.tensors
        check_kind(rows.instants, others["time"].dtype == torch.int64, rows.column, name)
        if not (others["aware"] == rows.instants.aware).any():
            check_zone(rows.instants, not rows.instants.aware, rows.column, name)

    def _check_after(self, rows: IrregularRows, states: SeriesStates, index: Tensor) -> None:
        """Raise ValueError for a time that is not after the last observation of its series, or of another kind."""
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
            until = shown(last[series], rows.instants)
            at = shown(rows.instants.exact[row], rows.instants)
            raise ValueError(
                f"{names[series]}: {rows.column} {at} is not after the last observation, at {until}; "
                + ("leave out rows that the stream has seen, or begin a new one to correct them"
                   if rows.target.shape[1] else "ask for later times")
            )  # fmt: skip


def shown(exact: Any, instants: Instants) -> Any:
    """An exact time as it is read."""
    if not instants.datetimes:
        return float(exact)
    return pd.Timestamp(int(exact), unit="ns", tz="UTC" if instants.aware else None)


@torch.no_grad()
def _initial(predictor: NetworkPredictor, store: IrregularStore) -> ContinuousState:
    """The state after the last window of each series."""
    network, device = predictor.prediction_net.eval(), predictor.device
    batch = store.gather(torch.arange(len(store)), store.length)
    window = IrregularBatch(*(x.to(device) for x in batch))
    place = network.place(window)
    history, spread = IrregularHistory.of(store, batch), Place(*(x.expand(len(store), 1, -1) for x in place))
    return ContinuousState.after(history, spread, network.observe(window, place)).to(torch.device("cpu"))


def _observed(entries: Sequence[dict[str, Any]], spec: IrregularSpec) -> IrregularRows:
    """The rows of entries, one for each series."""
    read = [read_rows(entry, _name(entry), spec) for entry in entries]
    instants, targets, covariates = zip(*read, strict=True)
    return _joined(entries, instants, targets, covariates, "time")


def _asked(entries: Sequence[dict[str, Any]], spec: IrregularSpec) -> IrregularRows:
    """The times that entries ask for."""
    read = [read_query(entry, _name(entry), spec) for entry in entries]
    none = [np.empty((len(times.exact), 0)) for times, _ in read]
    return _joined(entries, [times for times, _ in read], none, [known for _, known in read], "query_time")


def _joined(
    entries: Sequence[dict[str, Any]],
    instants: Sequence[Instants],
    targets: Sequence[np.ndarray],
    covariates: Sequence[np.ndarray],
    column: str,
) -> IrregularRows:
    if not entries:
        raise ValueError("give at least one entry")
    first = instants[0]
    for entry, times in zip(entries, instants, strict=True):
        check_kind(times, first.datetimes, column, _name(entry))
        check_zone(times, first.aware, column, _name(entry))
    return IrregularRows(
        items=[entry.get("item_id") for entry in entries],
        series=np.repeat(np.arange(len(entries)), [len(times.exact) for times in instants]),
        instants=Instants(
            np.concatenate([times.exact for times in instants]),
            np.concatenate([times.clock for times in instants]),
            first.aware,
        ),
        target=np.concatenate(targets),
        covariates=np.concatenate(covariates).astype(np.float32),
        column=column,
    )


def _name(entry: dict[str, Any]) -> str:
    return f"series {entry.get('item_id')!r}"


def _about(entry: dict[str, Any], spec: IrregularSpec) -> Horizon:
    return Horizon(
        entry.get("item_id"),
        entry.get("info"),
        entry.get("start"),
        np.float64,
        entry["query_time"],
        spec.target_dim == 1,
    )


def _pieces(rows: IrregularRows) -> Iterator[IrregularRows]:
    """Rows of some series at a time, few enough to be padded to the longest of them."""
    lengths = np.bincount(rows.series)
    present = np.flatnonzero(lengths)
    if not len(present):
        return
    count = max(1, STEPS // int(lengths.max()))
    for begin in range(0, len(present), count):
        some = present[begin : begin + count]
        begins, ends = np.searchsorted(rows.series, some[0]), np.searchsorted(rows.series, some[-1], side="right")
        yield rows.only(slice(begins, ends))


def _renumbered(rows: IrregularRows) -> IrregularRows:
    """Of the series that have rows alone."""
    present, series = np.unique(rows.series, return_inverse=True)
    return rows._replace(items=[rows.items[position] for position in present], series=series)
