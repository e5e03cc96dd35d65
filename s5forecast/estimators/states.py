"""States of streams: tensors of many series, and what is computed from them for each kind of sampling."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from s5forecast.aliases import check_folder
from s5forecast.data.entries import local_time, read_static
from s5forecast.data.frequency import quiet_periods
from s5forecast.data.spec import IrregularSpec, WindowSpec
from s5forecast.data.times import IrregularRows, check_kind, check_zone
from s5forecast.networks.continuous import Observed
from s5forecast.networks.prediction import Place, Prediction, SamplePaths
from s5forecast.nn import Recent
from s5forecast.ssm import State
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.calendar import clock_features
from s5forecast.windows.history import IrregularHistory, SeriesHistory
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.irregular import IrregularBatch
from s5forecast.windows.regular import Batch
from s5forecast.windows.rows import (
    IrregularQueries,
    RegularQueries,
    RegularRows,
    Slots,
    Steps,
    pieces,
    read_irregular_rows,
    shown_time,
    since,
    with_rows,
)

STATES_FORMAT = 1
# Static features of a new series, as an entry.
Describe: TypeAlias = Callable[[Any], dict[str, Any]]


class NetworkRunner(Protocol):
    """What streams need of a predictor."""

    spec: Any
    batch_size: int
    device: Any

    @property
    def network(self) -> Any: ...


class SeriesStates:
    """Named tensors ``[S, ...]`` on the CPU, with one row for each of S series.

    Args:
        items: names of the series.
        tensors: by name.

    Raises:
        ValueError: if two series have the same name.
    """

    def __init__(self, items: Iterable[Any], tensors: Mapping[str, Tensor]) -> None:
        self.items = [plain(item) for item in items]
        self.tensors = dict(tensors)
        self._position = {item: position for position, item in enumerate(self.items)}
        if len(self._position) < len(self.items):
            twice = next(item for position, item in enumerate(self.items) if self._position[item] != position)
            raise ValueError(f"two series have the item_id {twice!r}; give each its own name")

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: Any) -> bool:
        return plain(item) in self._position

    def positions(self, items: Sequence[Any]) -> Tensor:
        """Rows of some series, int64.

        Raises:
            ValueError: naming a series that is not in the stream.
        """
        for item in items:
            if item not in self:
                raise ValueError(
                    f"series {item!r} is not in the stream; give its rows to update(), or its history to stream()"
                )
        return torch.tensor([self._position[plain(item)] for item in items], dtype=torch.long)

    def take(self, index: Tensor) -> dict[str, Tensor]:
        """Copies of some rows."""
        return {name: tensor[index] for name, tensor in self.tensors.items()}

    def put(self, index: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Overwrite some rows."""
        for name, tensor in self.tensors.items():
            tensor[index] = rows[name].to(tensor)

    def extended(self, items: Sequence[Any], rows: Mapping[str, Tensor]) -> SeriesStates:
        """The same series, followed by further ones."""
        tensors = {name: torch.cat([tensor, rows[name].to(tensor)]) for name, tensor in self.tensors.items()}
        return SeriesStates([*self.items, *items], tensors)

    def save(self, path: Path, model: str) -> None:
        """Write JSON and arrays to a folder, without pickle.

        Args:
            path: the folder; it is made if it does not exist.
            model: fingerprint of the network that computed the states.

        Raises:
            ValueError: for the name of a series that is neither text nor a number.
        """
        for item in self.items:
            if not (item is None or isinstance(item, str | int | float)):
                raise ValueError(f"item_id {item!r} cannot be saved, because it is neither text nor a number")
        path.mkdir(parents=True, exist_ok=True)
        described = {"format_version": STATES_FORMAT, "model": model, "items": self.items}
        (path / "stream.json").write_text(json.dumps(described))
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        np.savez(path / "states.npz", **arrays)

    @classmethod
    def load(cls, path: Path, model: str) -> SeriesStates:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: if a later version wrote it, or if it belongs to another model.
        """
        check_folder(path)
        found = json.loads((path / "stream.json").read_text())
        if found["format_version"] > STATES_FORMAT:
            raise ValueError(
                f"{path} has format {found['format_version']}, this version reads up to {STATES_FORMAT}; "
                "update s5forecast"
            )
        if found["model"] != model:
            raise ValueError(
                f"{path} holds states of another model; load it with the model that wrote it, or begin a new stream()"
            )
        with np.load(path / "states.npz", allow_pickle=False) as arrays:
            return cls(found["items"], {name: torch.from_numpy(arrays[name]) for name in arrays.files})


class RegularState(NamedTuple):
    """State of S regular series after their last steps.

    Location and scale of each series are those of the window with which the stream began. An update followed by a
    forecast equals a forecast from a context that began where that window did.
    """

    history: SeriesHistory
    layers: tuple[State, ...]  # of the network, [S, ...] each

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> RegularState:
        return cls(SeriesHistory(*(tensors[name] for name in SeriesHistory._fields)), _read_layers(tensors))

    def tensors(self) -> dict[str, Tensor]:
        return {**self.history._asdict(), **_layer_tensors(self.layers)}

    @classmethod
    def start(cls, predictor: NetworkRunner, store: WindowStore, index: Tensor) -> RegularState:
        """State of series ``index [S]`` after the context of their last window."""
        window = store.gather(index, store.length[index])
        history = SeriesHistory.of([store.series[row] for row in index], window, store.spec)
        return cls._after(predictor, history, window.context(), None, None)

    @staticmethod
    def read_rows(entries: Sequence[dict[str, Any]], spec: WindowSpec, states: SeriesStates) -> RegularRows:
        """Steps of entries, which follow the last ones.

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
        return self._after(predictor, history, batch, _to(self, predictor.device).layers, mask)

    @staticmethod
    def read_queries(entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularQueries:
        """The horizons of entries, see :meth:`RegularQueries.read`."""
        return RegularQueries.read(entries, spec)

    @staticmethod
    def frame_queries(entries: Sequence[dict[str, Any]], spec: WindowSpec) -> RegularQueries:
        """The horizons of a frame, at the local times of their timestamps."""
        H = spec.prediction_length
        return RegularQueries.read([{**entry, "time": local_time(entry, spec, H)} for entry in entries], spec)

    @staticmethod
    def check_queries(queries: RegularQueries, states: SeriesStates) -> None:
        """Accept: horizons follow the last steps."""

    @torch.no_grad()
    def predict(
        self, predictor: NetworkRunner, queries: RegularQueries, num_samples: int | None
    ) -> tuple[Prediction | SamplePaths, list[Horizon]]:
        """Forecasts of the horizons after the last steps."""
        spec, history, there = predictor.spec, self.history, _to(self, predictor.device)
        time = history.time.unsqueeze(1) + spec.frequency.multiple * torch.arange(1, spec.prediction_length + 1)
        for row, own in enumerate(queries.times):
            if own is not None:
                time[row] = torch.from_numpy(own)
        batch = Batch(*(x.to(predictor.device) for x in history.ahead(time, queries.covariates, spec)))
        found = predictor.network.predict_from_state(batch, there.history, there.layers, num_samples)
        with quiet_periods():
            period = spec.frequency.period_alias
            starts = [pd.Period(ordinal=last, freq=period) + 1 for last in history.time.tolist()]
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
        """State after further steps, on the CPU."""
        batch = Batch(*(x.to(predictor.device) for x in steps))
        mask = None if mask is None else mask.to(predictor.device)
        after = predictor.network.update_state(batch, history, layers, mask)
        return _to(cls(history, after), "cpu")


class ContinuousState(NamedTuple):
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
    def of(cls, tensors: Mapping[str, Tensor]) -> ContinuousState:
        history = IrregularHistory(*(tensors[name] for name in IrregularHistory._fields))
        place = Place(*(tensors[name] for name in Place._fields))
        recent = Recent(*(tensors[f"recent_{name}"] for name in Recent._fields))
        return cls(history, place, tensors["h"], _read_layers(tensors), recent)

    def tensors(self) -> dict[str, Tensor]:
        recent = {f"recent_{name}": tensor for name, tensor in self.recent._asdict().items()}
        fields = {**self.history._asdict(), **self.place._asdict(), "h": self.h}
        return {**fields, **_layer_tensors(self.layers), **recent}

    @classmethod
    @torch.no_grad()
    def start(cls, predictor: NetworkRunner, store: WindowStore, index: Tensor) -> ContinuousState:
        """State of series ``index [S]`` after their last window."""
        batch = store.gather(index, store.length[index])
        window = IrregularBatch(*(x.to(predictor.device) for x in batch))
        place = predictor.network.place(window)
        observed = predictor.network.update_state(window, place)
        history = IrregularHistory.of([store.series[row] for row in index], batch)
        return cls._after(history, Place(*(x.expand(len(index), 1, -1) for x in place)), observed)

    @staticmethod
    def read_rows(entries: Sequence[dict[str, Any]], spec: IrregularSpec, states: SeriesStates) -> IrregularRows:
        """Observations of entries.

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
            states: of the stream; they are left as they are.
            predictor: of the stream.
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
    def updated(self, predictor: NetworkRunner, rows: IrregularRows) -> ContinuousState:
        """State after further observations of each series."""
        batch, history = self.history.followed_by(rows, predictor.spec)
        window, there = IrregularBatch(*(x.to(predictor.device) for x in batch)), _to(self, predictor.device)
        return self._after(history, self.place, predictor.network.update_state(window, there.place, there._observed()))

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
        there = _to(self, device)
        summary = (x.to(device) for x in (history.mean(), history.value, history.last_age()))
        encoded = network.summarize(there._observed(), *summary, there.place)
        slots = Slots.of(rows.series, len(self.h), right=False)
        elapsed = since(slots.lay(rows.instants.exact), history.time.unsqueeze(1)).where(slots.mask(), 0.0)
        calendar = clock_features(predictor.spec.cycles, slots.lay(rows.instants.clock))
        covariates = slots.lay(rows.covariates, torch.nan)
        times = (x.to(device) for x in (elapsed, calendar, covariates, history.counts.unsqueeze(1)))
        return network.decode(encoded, *times), queries.horizons

    def _observed(self) -> Observed:
        """What the network advances."""
        return Observed(self.h, self.layers, self.recent)

    @classmethod
    def _after(cls, history: IrregularHistory, place: Place, observed: Observed) -> ContinuousState:
        """State from what the network has advanced, on the CPU."""
        return _to(cls(history, place, observed.h, observed.layers, observed.recent), "cpu")

    @classmethod
    def _unseen(
        cls, items: Sequence[Any], rows: IrregularRows, predictor: NetworkRunner, describe: Describe | None
    ) -> ContinuousState:
        """State of series before their first observation, with location and scale of the training data."""
        spec, network = predictor.spec, predictor.network
        entries = [(f"series {item!r}", {} if describe is None else describe(item)) for item in items]
        real, cat = (
            torch.from_numpy(np.stack([read_static(entry, field, count, name, dtype) for name, entry in entries]))
            for field, count, dtype in (
                ("feat_static_real", spec.features.num_feat_static_real, np.float32),
                ("feat_static_cat", spec.features.num_feat_static_cat, np.int64),
            )
        )
        history = IrregularHistory.empty(spec.target_dim, real, cat, rows.instants)
        place = (x.cpu().expand(len(items), 1, -1) for x in (network.location, network.spread, network.level))
        return cls._after(history, Place(*place), network.initial_state(len(items)))


# Kind of sampling, by the contents of the windows, to its states.
STATES: dict[type, Any] = {WindowSpec: RegularState, IrregularSpec: ContinuousState}


def _to(state: Any, device: Any) -> Any:
    """The same state, with all tensors in it on a device."""
    if isinstance(state, Tensor):
        return state.to(device)
    parts = [_to(part, device) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def _layer_tensors(layers: Sequence[State]) -> dict[str, Tensor]:
    """Layer states as named tensors.

    They are one tensor ``layers [S, layers, ...]`` if each is a single tensor of the same shape, else tensors
    ``layers.0``, ``layers.1`` ..., and ``layers.0.0``, ``layers.0.1`` ... for a layer with several.
    """
    single = [state for state in layers if isinstance(state, Tensor)]
    if len(single) == len(layers) and len({(state.shape, state.dtype) for state in single}) == 1:
        return {"layers": torch.stack(single, dim=1)}
    tensors = {}
    for number, state in enumerate(layers):
        if isinstance(state, Tensor):
            tensors[f"layers.{number}"] = state
        else:
            tensors |= {f"layers.{number}.{part}": tensor for part, tensor in enumerate(state)}
    return tensors


def _read_layers(tensors: Mapping[str, Tensor]) -> tuple[State, ...]:
    """The layer states that :func:`_layer_tensors` named."""
    if "layers" in tensors:
        return tuple(state.contiguous() for state in tensors["layers"].unbind(1))
    layers: dict[int, State] = {}
    for name in sorted(name for name in tensors if name.startswith("layers.")):
        number = int(name.split(".")[1])
        if name.count(".") == 1:
            layers[number] = tensors[name]
        elif number not in layers:
            count = sum(other.startswith(f"layers.{number}.") for other in tensors)
            layers[number] = tuple(tensors[f"layers.{number}.{part}"] for part in range(count))
    return tuple(layers[number] for number in range(len(layers)))


def _check_known(items: Sequence[Any], states: SeriesStates) -> None:
    """Raise ValueError for a series without a history in the stream."""
    for item in items:
        if item not in states:
            raise ValueError(
                f"series {item!r} is not in the stream and cannot be normalized, because the stream has no history for "
                "it; give its history to stream()"
            )


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
        asks = not rows.target.shape[1]
        raise ValueError(
            f"{names[series]}: {rows.column} {at} is not after the last observation, at {until}; "
            + ("ask for later times" if asks else "leave out rows that the stream has seen, or begin a new one to "
               "correct them")
        )  # fmt: skip


def plain(item: Any) -> Any:
    """The name of a series, with NumPy scalars as Python numbers."""
    return item.item() if isinstance(item, np.generic) else item


def fingerprint(network: nn.Module) -> str:
    """Checksum of a network's parameters, with which its states are saved."""
    checksum = 0
    for tensor in network.state_dict().values():
        checksum = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), checksum)
    return f"{type(network).__name__} {checksum:08x}"
