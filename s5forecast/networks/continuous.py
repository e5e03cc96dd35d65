"""Network of the continuous-time estimator: an encoder with a step for each gap, and a decoder for any query time."""

from typing import Any, NamedTuple, cast

import torch
from gluonts.core.component import validated
from torch import Tensor, nn

from s5forecast.data.spec import IrregularSpec
from s5forecast.distributions import Output, check_loss
from s5forecast.levels import DECILES
from s5forecast.networks.base import FITTING_WINDOWS, ForecastNetwork, check_support
from s5forecast.networks.continuous_decoder import ContinuousDecoder, Encoded, Positions, clipped
from s5forecast.networks.prediction import Place, Prediction
from s5forecast.nn import Encoder, FeatureInputs, OutputHead, Recent, RecentMean
from s5forecast.ssm import State, flatten_state
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.calendar import num_clock_features
from s5forecast.windows.irregular import IrregularBatch, IrregularStore
from s5forecast.windows.scaling import deviation, masked_mean, normalized, positive

# Maximum number of query times that are decoded at once, which bounds the memory.
QUERIES = 4096
CONTINUOUS_SCALINGS = ("standard", "last", "global")
# Initial time constants of the recent means: the time in which the weight of a value falls to 1 / e.
MEMORIES = (2.0, 8.0, 32.0)
# Anchors that a forecast corrects: location, mean of the window, last value, recent means.
ANCHORS = 3 + len(MEMORIES)
LAST = 2


class Observed(NamedTuple):
    """The state of B series at their last observations, which the next observations update."""

    h: Tensor  # [B, width] features at the last observations
    layers: tuple[State, ...]  # states of the layers
    recent: Recent  # recent means of the normalized values


class ContinuousNetwork(FeatureInputs, ForecastNetwork):
    r"""Encoder with a step for each gap between observations, whose states are advanced to the query times.

    .. math:: x(t_n + \tau) = \exp(\Lambda \Delta \tau)\, x(t_n)

    The features of each variable are computed from the states of all layers at the query time, the last output of the
    encoder and the features of the query. Its output corrects a convex combination of the location of the window, its
    mean, the last value of the variable and its :class:`~s5forecast.nn.RecentMean`. Each value at each query time is
    decoded independently, so that training computes the observed values only.
    """

    time_unit: Tensor
    location: Tensor
    spread: Tensor
    window_spread: Tensor
    level: Tensor
    weights: Tensor
    counts: Tensor

    @validated()
    def __init__(
        self,
        spec: IrregularSpec,
        output: Output,
        cardinality: list[int],
        scaling: str,
        time_unit: float | None,
        use_dt: bool,
        dt_as_feature: bool,
        width: int,
        num_layers: int,
        layer: list[str] | str,
        layer_kwargs: list[dict[str, Any]] | dict[str, Any],
        activation: str,
        dropout: float,
        loss: str | None = None,
        quantile_levels: list[float] | None = None,
        variable_weights: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.output, self.scaling = spec, output, scaling
        self.given_time_unit, self.use_dt, self.dt_as_feature = time_unit, use_dt, dt_as_feature
        self.training_loss = check_loss(loss, output)
        self.quantile_levels = list(DECILES) if quantile_levels is None else quantile_levels
        D, C = spec.target_dim, num_clock_features(spec.cycles)
        self.register_buffer("time_unit", torch.ones((), dtype=torch.float64))
        for name in ("location", "spread", "window_spread", "level"):
            self.register_buffer(name, torch.ones(D, dtype=torch.float64))
        self.register_buffer("weights", torch.tensor([1.0] * D if variable_weights is None else variable_weights))
        self.register_buffer("counts", torch.zeros(D, dtype=torch.bool))
        covariates = self.add_features(
            spec.features.num_covariates, spec.features.num_feat_static_real, spec.features.categorical
        )
        times = (1 + (D if D > 1 else 0)) if dt_as_feature else 0
        self.input = nn.Linear(2 * D + times + C + covariates, width)
        self.add_static_inputs(cardinality, width, num_others=2 * D)
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        self.encoder.require("supports_step", "supports_dt", "supports_advance")
        state_sizes = [sum(x.numel() for x in flatten_state(state)) for state in self.encoder.initial_state(1)]
        self.recent = RecentMean(D, MEMORIES)
        self.decoder = ContinuousDecoder(
            width,
            D,
            state_sizes,
            num_query_features=2 + C + covariates,
            num_anchors=ANCHORS,
            num_recent=self.recent.num_features,
            dropout=dropout,
        )
        self.head = OutputHead(self.decoder.width, output)

    @torch.no_grad()
    def fit_features(self, windows: TrainingWindows) -> None:
        """Set the unit of time and the statistics of variables and features from the training data."""
        store = cast(IrregularStore, windows.store)
        self.time_unit.fill_(self.given_time_unit or store.median_gap())
        values, mask = store.values, store.mask.double()
        self.location.copy_(masked_mean(values, mask, dim=0)[0])
        self.spread.copy_(positive(deviation(values, mask, dim=0)[0]))
        self.level.copy_(positive(masked_mean(values.abs(), mask, dim=0)[0]))
        batch = windows.draw(FITTING_WINDOWS)
        self.window_spread.copy_(_typical_spread(batch, self.spread))
        self.fit_standardization(batch.covariates, batch.static_real)

    @torch.no_grad()
    def fit_support(self, windows: TrainingWindows) -> None:
        """Record which variables are counts; a variable without any value is not."""
        check_support(self.output, windows.store.series)
        store = cast(IrregularStore, windows.store)
        self.counts.copy_(store.counts.all(0) & store.mask.any(0))

    def forward(self, batch: IrregularBatch, num_samples: int | None = None) -> Prediction:
        """Distributions at the query times, ``[B, Q, D]``; no samples are drawn."""
        return self.decode(self.encode(batch), *_times(batch), batch.counts)

    def check_streams(self) -> None:
        """Accept any configuration, because the encoder is causal."""

    def decode(
        self, encoded: Encoded, elapsed: Tensor, calendar: Tensor, covariates: Tensor, counts: Tensor
    ) -> Prediction:
        """Distributions at any times after the last observation.

        Args:
            encoded: B encoded windows.
            elapsed: time from the last observations to the query times, ``[B, Q]`` in base units.
            calendar: calendar features at the query times, ``[B, Q, C]``.
            covariates: covariates at the query times, ``[B, Q, F]``.
            counts: ``[B, 1, D]``, whether the values are non-negative integers.
        """
        features = self._query_features(elapsed, calendar, covariates)
        pieces = [
            self._all_variables(encoded, *piece)
            for piece in zip(features.split(QUERIES, 1), elapsed.split(QUERIES, 1), strict=True)
        ]
        h, offset = (torch.cat(part, dim=1) for part in zip(*pieces, strict=True))
        return self._predict(h, offset, encoded.place, self.counts & counts)

    def loss(self, batch: IrregularBatch) -> Tensor:
        """Mean loss over the values observed at the query times, weighted by variable."""
        positions = Positions.of(batch.mask[:, batch.context_length :] > 0)
        encoded = self.encode(batch)
        h, offset = self._decode(encoded, self._query_features(*_times(batch)), batch.elapsed, positions)
        place = Place(*(x[positions.window, 0, positions.variable] for x in encoded.place))
        target = batch.target[positions.window, positions.query, positions.variable]
        values = ((target - place.loc) / place.scale).float()
        counts = torch.zeros_like(target, dtype=torch.bool)
        prediction = self._predict(h, offset, place, counts)
        loss = prediction.loss(values, target, self.training_loss, self.quantile_levels)
        weights = self.weights[positions.variable]
        return (loss * weights).sum() / self.loss_weight(batch).clamp(min=self.weights.min())

    def loss_weight(self, batch: IrregularBatch) -> Tensor:
        """Sum of the weights of the values observed at the query times."""
        return self.weights[Positions.of(batch.mask[:, batch.context_length :] > 0).variable].sum()

    def encode(self, batch: IrregularBatch, place: Place | None = None) -> Encoded:
        """The input of the decoder; location and scale are those of the windows by default."""
        place = self.place(batch) if place is None else place
        mask = batch.mask[:, : batch.context_length]
        center = masked_mean(batch.values, mask.double())[:, 0].where(mask.amax(1) > 0, torch.nan)
        return self.summarize(self.update_state(batch, place), center, batch.last, batch.last_age, place)

    def initial_state(self, count: int) -> Observed:
        """The state of series before their first observation."""
        layers = self.encoder.initial_state(count)
        h = self.input.weight.new_zeros(count, self.input.out_features)
        return Observed(h, layers, self.recent.initial_state(count))

    def update_state(self, batch: IrregularBatch, place: Place, state: Observed | None = None) -> Observed:
        """The state at the last observation, from the ``state`` before the first one."""
        mask = batch.mask[:, : batch.context_length]
        step_mask = mask.amax(-1)
        dt = self._in_units(torch.where(batch.dt.isnan(), self.time_unit, batch.dt))
        step = (dt if self.use_dt else torch.ones_like(dt)) * step_mask
        state = self.initial_state(len(mask)) if state is None else state
        values = normalized(batch.values, place.loc, place.scale) * mask
        last = normalized(batch.last, place.loc[:, 0], place.scale[:, 0])
        recent = self.recent(values, last, mask, step, state.recent)
        u, static = self._inputs(batch, values, mask, dt), self._static(batch, place)
        if batch.context_length == 1 and not self.training:
            h, layers = self.encoder.step(u[:, 0] + static, state.layers, step[:, 0])
            return Observed(h + static, layers, recent)
        h, layers = self.encoder(u + static[:, None], state.layers, dt=step, mask=step_mask)
        return Observed(h[:, -1] + static, layers, recent)

    def summarize(self, observed: Observed, center: Tensor, last: Tensor, last_age: Tensor, place: Place) -> Encoded:
        """The input of the decoder.

        Args:
            observed: the state at the last observations.
            center: mean of each variable in the window, ``[B, D]``, NaN if it has no value.
            last: last value of each variable, ``[B, D]``, NaN if it has no value.
            last_age: time since the last value, ``[B, D]``.
            place: location and scale of the windows.
        """
        anchors = torch.stack([self.location.expand_as(last), center, last], dim=-1)
        known = ~anchors.isnan()
        values = normalized(anchors, place.loc[:, 0, :, None], place.scale[:, 0, :, None])
        means, recent = self.recent.describe(observed.recent, values[..., LAST])
        anchors = torch.cat([values, means], dim=-1)
        known = torch.cat([known, observed.recent.weight > 0], dim=-1)
        last_age = self._in_units(last_age) * self.dt_as_feature
        return Encoded(observed.h, observed.layers, anchors, known.float(), recent, last_age, place)

    def place(self, batch: IrregularBatch) -> Place:
        """Location, scale and level of each variable in each window.

        The scale counts one additional value at the typical distance from the location in the training data, so that
        it does not vanish for a few equal values. A variable without a value in the window has the location of the
        training data.
        """
        values, mask = batch.values, batch.mask[:, : batch.context_length].double()
        count = mask.sum(1, keepdim=True)
        level = torch.where(count > 0, positive(masked_mean(values.abs(), mask)), self.level)
        if self.scaling == "global":
            return Place(self.location.expand_as(level), self.spread.expand_as(level), level)
        loc = masked_mean(values, mask) if self.scaling == "standard" else batch.last.unsqueeze(1).nan_to_num(0.0)
        loc = torch.where(count > 0, loc, self.location)
        squares = ((values - loc) ** 2 * mask).sum(1, keepdim=True) + self.window_spread**2
        return Place(loc, (squares / (count + 1)).sqrt(), level)

    def _in_units(self, time: Tensor) -> Tensor:
        return (time / self.time_unit).float()

    def _inputs(self, batch: IrregularBatch, values: Tensor, mask: Tensor, dt: Tensor) -> Tensor:
        L = batch.context_length
        parts = [values, mask]
        if self.dt_as_feature:
            parts.append(torch.log1p(dt).unsqueeze(-1))
            if self.spec.target_dim > 1:
                parts.append(torch.log1p(self._in_units(batch.age)).nan_to_num(0.0))
        return self.input(self.step_inputs(parts, batch.calendar[:, :L], batch.covariates[:, :L]))

    def _static(self, batch: IrregularBatch, place: Place) -> Tensor:
        """Static features, and location and scale of the window relative to the training data."""
        loc = ((place.loc - self.location) / self.spread)[:, 0]
        scale = (place.scale / self.spread).log()[:, 0]
        return self.static_inputs(batch.static_real, batch.static_cat, clipped(torch.cat([loc, scale], dim=-1)))

    def _query_features(self, elapsed: Tensor, calendar: Tensor, covariates: Tensor) -> Tensor:
        """Input features of each query time, ``[B, Q, F]``."""
        elapsed = self._in_units(elapsed)
        times = torch.stack([torch.log1p(elapsed), torch.rsqrt(1 + elapsed)], dim=-1)
        return self.step_inputs([times], calendar, covariates)

    def _predict(self, h: Tensor, offset: Tensor, place: Place, counts: Tensor) -> Prediction:
        """Prediction from features and offsets of any shape."""
        return Prediction.at(self.output, self.head, self.head.projection(h), offset, place, counts)

    def _all_variables(self, encoded: Encoded, features: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`_decode` for every variable at each time, ``[B, Q, D, w]`` and ``[B, Q, D]``."""
        B, Q, D = *elapsed.shape, self.spec.target_dim
        h, offset = self._decode(encoded, features, elapsed, Positions.of(elapsed.new_ones(B, Q, D, dtype=torch.bool)))
        return h.view(D, B, Q, -1).permute(1, 2, 0, 3), offset.view(D, B, Q).permute(1, 2, 0)

    def _decode(
        self, encoded: Encoded, features: Tensor, elapsed: Tensor, positions: Positions
    ) -> tuple[Tensor, Tensor]:
        """Features ``[N, w]`` and offsets ``[N]`` of the values at some ``positions``."""
        elapsed = self._in_units(elapsed)
        states = self.encoder.advance(encoded.states, elapsed if self.use_dt else torch.ones_like(elapsed))
        return self.decoder(encoded, states, features, elapsed, positions)


def _times(batch: IrregularBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Time since the last observation, calendar and covariates of the query times."""
    ahead = slice(batch.context_length, None)
    return batch.elapsed, batch.calendar[:, ahead], batch.covariates[:, ahead]


def _typical_spread(batch: IrregularBatch, spread: Tensor) -> Tensor:
    """Geometric mean over windows of each variable's standard deviation, ``[D]``; ``spread`` if it never varies."""
    values, mask = batch.values, batch.mask[:, : batch.context_length].double()
    own = deviation(values, mask)[:, 0]
    varies = own > 0
    typical = (torch.where(varies, own, 1.0).log().sum(0) / varies.sum(0).clamp(min=1)).exp()
    return torch.where(varies.any(0), typical, spread)
