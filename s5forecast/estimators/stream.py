"""Stream of series that are forecast while new observations arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gluonts.model.forecast import Forecast

from s5forecast.data.spec import IrregularSpec, PretrainedSpec, WindowSpec
from s5forecast.estimators.irregular_state import IrregularState
from s5forecast.estimators.pretrained_state import PretrainedState
from s5forecast.estimators.regular_state import RegularState
from s5forecast.estimators.states import Describe, NetworkRunner, SeriesStates, fingerprint
from s5forecast.networks.prediction import Predictions, collect_quantiles
from s5forecast.windows.batches import read_store

# Class of the states, by the class that describes the windows.
STATES: dict[type, Any] = {
    WindowSpec: RegularState,
    IrregularSpec: IrregularState,
    PretrainedSpec: PretrainedState,
}


class ForecastStream:
    """Forecasts series while new observations arrive, at a cost that does not depend on the length of their past.

    It keeps the state of the network after the last observation of each series instead of the history; see
    :class:`~s5forecast.estimators.regular_state.RegularState`,
    :class:`~s5forecast.estimators.irregular_state.IrregularState` and
    :class:`~s5forecast.estimators.pretrained_state.PretrainedState`.

    Args:
        predictor: predictor with the network.
        states: states of the series.
    """

    def __init__(self, predictor: NetworkRunner, states: SeriesStates) -> None:
        self.predictor, self.states = predictor, states
        self.kind = STATES[type(predictor.spec)]
        predictor.network.eval()

    @classmethod
    def start(cls, predictor: NetworkRunner, entries: Iterable[dict[str, Any]]) -> ForecastStream:
        """Stream of series with a history, which are entries as in training; weights are not needed.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix; for a network that
                cannot be advanced step by step, with the reason.
        """
        predictor.network.eval().check_streams()
        spec = predictor.spec._replace(features=predictor.spec.features.without_weights())
        store, kind = read_store(entries, spec, forecast=False), STATES[type(spec)]
        if few := predictor.items_with_few_values(store):
            predictor.warn_of_few_values(few)
        batches = torch.arange(len(store)).split(predictor.batch_size)
        parts = [kind.start(predictor, store, index).tensors() for index in batches]
        items = [one.item_id for one in store.series]
        return cls(
            predictor, SeriesStates(items, {name: torch.cat([part[name] for part in parts]) for name in parts[0]})
        )

    def __len__(self) -> int:
        return len(self.states)

    @property
    def items(self) -> list[Any]:
        """The ``item_id`` of each series."""
        return list(self.states.items)

    @property
    def spec(self) -> Any:
        """Contents of the windows of the network."""
        return self.predictor.spec

    def update(self, entries: Iterable[dict[str, Any]]) -> None:
        """Add the next observations of some series; if one does not fit, no state changes.

        Args:
            entries: entries with ``item_id`` and covariates. Regular series have ``start`` and ``target``; steps
                between the last one and the ``start`` are missing. Irregular series have ``time`` and ``target``; rows
                without an observed value are ignored. A new irregular series needs its static features.

        Raises:
            ValueError: for observations that are not after the last one of their series, an unknown regular series, or
                an entry that does not fit otherwise, naming the series, the field and the fix.
        """
        given = list(entries)
        if not given:
            return
        by_item = {entry.get("item_id"): entry for entry in given}
        if len(by_item) < len(given):
            raise ValueError("a series has several entries in one update; give all its rows in one, in order of time")
        self._add(self.kind.read_rows(given, self.spec, self.states), by_item.__getitem__)

    def observe(self, rows: Any, describe: Describe | None = None) -> None:
        """Add the rows of a frame.

        Args:
            rows: rows as read by the sampling: entries of regular series, whose first steps follow the last ones of
                the stream, or ``IrregularRows``.
            describe: function of an item_id that returns an entry with the static features of a new irregular series.

        Raises:
            ValueError: as :meth:`update`.
        """
        self._add(self.kind.frame_rows(rows, self.spec), describe)

    def _add(self, rows: Any, describe: Describe | None) -> None:
        rows, states = self.kind.admit(rows, self.states, self.predictor, describe)
        changed = []
        for positions, piece in self.kind.pieces(rows):
            index = states.positions([rows.items[position] for position in positions])
            state = self.kind.of(states.take(index))
            changed.append((index, state.updated(self.predictor, piece).tensors()))
        for index, tensors in changed:
            states.put(index, tensors)
        self.states = states

    def predict(self, entries: Iterable[dict[str, Any]], num_samples: int | None = None) -> Iterator[Forecast]:
        """One forecast for each entry, in order; no state changes.

        Args:
            entries: entries with ``item_id``. Regular series with known covariates have ``feat_dynamic_real [F, H]``
                over the horizon; irregular series have ``query_time`` and ``query_feat_dynamic_real``.
            num_samples: sample paths of each series; ignored by networks that do not sample.

        Raises:
            ValueError: naming the series, the field and the fix.
        """
        for found, horizons in self._predictions(self.kind.read_queries(list(entries), self.spec), num_samples):
            yield from found.forecasts(horizons)

    def predict_quantiles(
        self, entries: Iterable[dict[str, Any]], levels: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means and quantiles, of the shapes that the predictor returns.

        Raises:
            ValueError: as :meth:`predict`.
        """
        queries = self.kind.read_queries(list(entries), self.spec)
        return collect_quantiles(self._predictions(queries), levels, self.spec)

    def quantiles(self, queries: Any, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means and quantiles for the queries of a frame.

        Args:
            queries: queries of the sampling: entries of the horizons of regular series, or ``IrregularRows``.
            levels: Q quantile levels.

        Raises:
            ValueError: as :meth:`predict`.
        """
        return collect_quantiles(self._predictions(self.kind.frame_queries(queries, self.spec)), levels, self.spec)

    def last_times(self) -> np.ndarray:
        """Exact time of the last observation of each series, ``[S]``."""
        return self.states.tensors["time"].numpy()

    def save(self, path: str | Path) -> None:
        """Write the states to a folder, as JSON and arrays without pickle; the predictor is saved separately."""
        self.states.save(Path(path), fingerprint(self.predictor.network))

    @classmethod
    def load(cls, path: str | Path, predictor: NetworkRunner) -> ForecastStream:
        """Read what :meth:`save` wrote, for the same predictor.

        Raises:
            ValueError: if a later version wrote it, or if it belongs to another predictor.
        """
        return cls(predictor, SeriesStates.load(Path(path), fingerprint(predictor.network)))

    def _predictions(self, queries: Any, num_samples: int | None = None) -> Predictions:
        index = self.states.positions(queries.items)
        self.kind.check_queries(queries, self.states)
        for positions, piece in queries.pieces(self.predictor.batch_size):
            state = self.kind.of(self.states.take(index[positions]))
            yield state.predict(self.predictor, piece, num_samples)
