"""Regular series forecast while they are observed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from gluonts.model.forecast import Forecast
from torch import Tensor

from s5forecast.data.entries import Series, read_field, read_numbers, read_series
from s5forecast.data.frequency import quiet_periods
from s5forecast.data.spec import WindowSpec
from s5forecast.estimators.predictor import NetworkPredictor
from s5forecast.estimators.states import SeriesStates
from s5forecast.estimators.streaming import STEPS, ForecastStream
from s5forecast.networks.prediction import Prediction, SamplePaths
from s5forecast.windows.batches import LastWindows, read_store
from s5forecast.windows.history import SeriesHistory
from s5forecast.windows.horizon import Horizon
from s5forecast.windows.regular import Batch
from s5forecast.windows.rows import Steps


class RegularState(NamedTuple):
    """What forecasts of S series are made from, after their last steps."""

    history: SeriesHistory
    layers: Tensor  # [S, layers, ...]

    def tensors(self) -> dict[str, Tensor]:
        return {**self.history._asdict(), "layers": self.layers}

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> RegularState:
        return cls(SeriesHistory(*(tensors[name] for name in SeriesHistory._fields)), tensors["layers"])

    def layer_states(self, device: torch.device) -> tuple[Tensor, ...]:
        """The state of each layer, ``[S, ...]``."""
        return tuple(state.to(device).contiguous() for state in self.layers.unbind(1))


class RegularStream(ForecastStream):
    """Regular series, whose states are moved on by each step and from which the horizon is forecast.

    What normalises each series is that of the window that the stream began with. An update and then a forecast equal
    a forecast from a context that began where that window did.
    """

    @classmethod
    def start(cls, predictor: NetworkPredictor, entries: Iterable[dict[str, Any]]) -> RegularStream:
        """The stream of series with a history, ``start`` and ``target`` as in training.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix; with the reason, for
                a network that cannot.
        """
        predictor.prediction_net.check_streams()
        store = read_store(entries, predictor.spec, forecast=False)
        windows = list(LastWindows(store, batch_size=predictor.batch_size, known=False))
        window = Batch(*(torch.cat(x) for x in zip(*windows, strict=True)))
        history = SeriesHistory.of(store, window)
        centres = history.centre.split(predictor.batch_size)
        layers = [
            _moved(predictor, _context(one), centre, None, None) for one, centre in zip(windows, centres, strict=True)
        ]
        state = RegularState(history, torch.cat(layers))
        return cls(predictor, SeriesStates([one.item_id for one in store.series], state.tensors()))

    def update(self, entries: Iterable[dict[str, Any]]) -> None:
        """Take in the next steps of some series: ``item_id``, ``start``, ``target`` and covariates of each.

        A value may be NaN; steps between the last one and the ``start`` are taken as missing.

        Raises:
            ValueError: for a start that is not after the last step of its series, a series that is not in the stream,
                or an entry that does not fit otherwise, naming the series, the field and the fix; then no state has
                changed.
        """
        series = read_series(entries, self.step_spec, forecast=False, observed=False)
        self._check_known(series)
        last = self.states.tensors["time"][self.states.positions([one.item_id for one in series])].tolist()
        self.observe(
            [one.item_id for one in series], [self._following(*pair) for pair in zip(series, last, strict=True)]
        )

    def observe(self, items: Sequence[Any], parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """Take in steps that follow the last ones: local time ``[m]``, values and covariates ``[m, F]`` of each item.

        Raises:
            ValueError: for an item that is given twice, or is not in the stream.
        """
        if len(set(items)) < len(items):
            raise ValueError("a series has several entries in one update; give all its steps in one")
        if not items:
            return
        index = self.states.positions(items)
        moved, size = [], max(1, STEPS // max(len(time) for time, _, _ in parts))
        for begin in range(0, len(items), size):
            chosen = index[begin : begin + size]
            state, steps = RegularState.of(self.states.take(chosen)), Steps.of(list(parts[begin : begin + size]))
            batch, history = state.history.next(steps, self.spec)
            there = None if steps.there.all() else steps.there.float()
            before = state.layer_states(self.predictor.device)
            layers = _moved(self.predictor, batch, history.centre, before, there)
            moved.append((chosen, RegularState(history, layers).tensors()))
        for chosen, tensors in moved:
            self.states.put(chosen, tensors)

    def predict(self, entries: Iterable[dict[str, Any]], num_samples: int | None = None) -> Iterator[Forecast]:
        """One forecast of the horizon for each entry, in order.

        Arguments:
            entries: with ``item_id``, and ``feat_dynamic_real [F, H]`` over the horizon where there are such.
            num_samples: paths of each series, where paths are drawn.

        Raises:
            ValueError: naming the series, the field and the fix.
        """
        for prediction, series in self._predictions(list(entries), num_samples):
            yield from prediction.forecasts(series)

    def predict_quantiles(
        self, entries: Iterable[dict[str, Any]], levels: Sequence[float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]`` for all S entries.

        Raises:
            ValueError: as :meth:`predict`.
        """
        H = self.spec.prediction_length
        pairs = [(np.empty((0, H)), np.empty((0, H, len(levels))))]
        pairs += [(p.mean(), p.quantiles(levels)) for p, _ in self._predictions(list(entries), None)]
        means, quantiles = zip(*pairs, strict=True)
        return np.concatenate(means), np.concatenate(quantiles)

    @property
    def spec(self) -> WindowSpec:
        return self.predictor.spec

    @property
    def step_spec(self) -> WindowSpec:
        """What further steps hold: no static features."""
        return self.spec._replace(num_feat_static_real=0, num_feat_static_cat=0)

    def _predictions(
        self, entries: list[dict[str, Any]], num_samples: int | None
    ) -> Iterator[tuple[Prediction | SamplePaths, list[Horizon]]]:
        for begin in range(0, len(entries), self.predictor.batch_size):
            chunk = entries[begin : begin + self.predictor.batch_size]
            state = RegularState.of(self.states.take(self.states.positions([one.get("item_id") for one in chunk])))
            time, covariates = self._horizon(chunk, state.history)
            device, history = self.predictor.device, state.history
            batch = Batch(*(x.to(device) for x in history.ahead(time, covariates, self.spec)))
            centre, past = history.centre.to(device), history.past.to(device)
            with torch.no_grad():
                found = self.predictor.prediction_net.ahead(
                    batch, centre, state.layer_states(device), past, num_samples
                )
            yield found, [self._asked(entry, last) for entry, last in zip(chunk, history.time.tolist(), strict=True)]

    def _horizon(self, entries: list[dict[str, Any]], history: SeriesHistory) -> tuple[Tensor, Tensor]:
        """Local time ``[S, H]`` and covariates ``[S, H, F]``; an entry may give its own ``time``."""
        spec, H = self.spec, self.spec.prediction_length
        count = spec.num_feat_dynamic_real
        covariates = np.full((len(entries), H, count + spec.num_past_feat_dynamic_real), np.nan, dtype=np.float32)
        time = history.time.unsqueeze(1) + spec.frequency.multiple * torch.arange(1, H + 1)
        for row, entry in enumerate(entries):
            if "time" in entry:
                time[row] = torch.from_numpy(entry["time"])
            if count:
                covariates[row, :, :count] = _known(entry, count, H).T
        return time, torch.from_numpy(covariates)

    def _asked(self, entry: dict[str, Any], last: int) -> Horizon:
        """A series of one step, after which the forecast begins."""
        with quiet_periods():
            start = pd.Period(ordinal=last, freq=self.spec.frequency.period_alias) + 1
        return Horizon(entry.get("item_id"), entry.get("info"), start)

    def _following(self, one: Series, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Local time, values and covariates of a series from the step after the ``last`` on."""
        multiple, m = self.spec.frequency.multiple, len(one.target)
        gap, off_grid = divmod(int(one.time[0]) - last - multiple, multiple)
        with quiet_periods():
            shown = pd.Period(ordinal=last, freq=self.spec.frequency.period_alias)
        if gap < 0:
            raise ValueError(
                f"series {one.item_id!r}: start {one.start} is not after the last observation, at {shown}; leave out "
                "steps that the stream has seen, or begin a new one to correct them"
            )
        if off_grid:
            raise ValueError(f"series {one.item_id!r}: start {one.start} is not a number of steps after {shown}")
        time = last + multiple * np.arange(1, gap + 1)
        nothing = np.full((gap, one.covariates.shape[1]), np.nan, dtype=np.float32)
        return (
            np.concatenate([time, one.time[:m]]),
            np.concatenate([np.full(gap, np.nan), one.target]),
            np.concatenate([nothing, one.covariates[:m]]),
        )

    def _check_known(self, series: Sequence[Series]) -> None:
        for one in series:
            if one.item_id not in self.states:
                raise ValueError(
                    f"series {one.item_id!r} is not in the stream, and has no window yet that could tell its location "
                    "and scale; give its history to stream()"
                )


@torch.no_grad()
def _moved(
    predictor: NetworkPredictor, steps: Batch, centre: Tensor, states: tuple[Tensor, ...] | None, there: Tensor | None
) -> Tensor:
    """States of the layers ``[S, layers, ...]`` after further steps, on the CPU."""
    device = predictor.device
    there = None if there is None else there.to(device)
    network = predictor.prediction_net.eval()
    layers = network.observe(Batch(*(x.to(device) for x in steps)), centre.to(device), states, there)
    return torch.stack(layers, dim=1).cpu()


def _context(window: Batch) -> Batch:
    """The steps of a window before its horizon."""
    L = window.past.shape[1]
    along_time = ("values", "mask", "lags", "lag_mask", "calendar", "covariates")
    return window._replace(**{name: getattr(window, name)[:, :L] for name in along_time})


def _known(entry: dict[str, Any], count: int, length: int) -> np.ndarray:
    """Covariates over the horizon, ``[F, H]``."""
    name = f"series {entry.get('item_id')!r}"
    field = np.atleast_2d(np.asarray(read_field(entry, "feat_dynamic_real", name)))
    values = read_numbers(field, "feat_dynamic_real", name)
    if values.shape != (count, length):
        raise ValueError(
            f"{name}: feat_dynamic_real has shape {values.shape}, needed is ({count}, {length}): the values over the "
            "horizon alone"
        )
    missing = np.isnan(values).any(axis=1)
    if missing.any():
        raise ValueError(f"{name}: feat_dynamic_real row {missing.argmax()} is missing within the horizon; fill it")
    return values
