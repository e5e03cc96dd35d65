"""The network of the continuous-time estimator: an encoder with a step for each gap, a decoder of any later time."""

from typing import Any, NamedTuple

import torch
from gluonts.core.component import validated
from gluonts.torch.distributions import Output
from torch import Tensor, nn

from s5forecast.data.features import num_clock_features
from s5forecast.data.irregular import IrregularSpec
from s5forecast.data.irregular_windows import IrregularBatch, IrregularWindows
from s5forecast.data.scaling import masked_mean
from s5forecast.distributions import check_loss, is_real
from s5forecast.estimators.network import ForecastNetwork, check_support
from s5forecast.estimators.outputs import Prediction
from s5forecast.levels import DECILES
from s5forecast.nn import CategoryEmbedding, Encoder, OutputHead, SeasonalSkip, Standardization
from s5forecast.nn.block import SharedDropout

FITTING_WINDOWS = 512
# Times decoded at once, so that any number can be asked for.
QUERIES = 4096
LIMIT = 10.0
SCALINGS = ("standard", "last", "global")
# Location, mean of the window, last value: what a forecast is a correction of.
ANCHORS = 3


class Place(NamedTuple):
    """Where the values of a window lie: ``values = loc + scale * normalised values``, each ``[B, 1, D]`` float64."""

    loc: Tensor
    scale: Tensor
    level: Tensor  # mean absolute value


class Encoded(NamedTuple):
    """What is known of B windows at their last observations."""

    h: Tensor  # [B, width]
    states: tuple[Tensor, ...]  # of the layers
    anchors: Tensor  # [B, D, 3] normalised, 0 where not known
    anchor_mask: Tensor  # [B, D, 3]
    last_age: Tensor  # [B, D] in time units; NaN where a variable was never seen
    place: Place


class ContinuousNetwork(ForecastNetwork):
    r"""Encoder over the observations, each after its own gap, whose states are then advanced to the times asked for.

    .. math:: x(t_n + \tau) = \exp(\Lambda \Delta \tau)\, x(t_n)

    The states of all layers at each time, the encoder's last output and what is known of the time give the features
    of each variable, whose output corrects a convex combination of the location of the window, its mean and the
    variable's last value. Each time asked for is decoded on its own.
    """

    time_unit: Tensor
    location: Tensor
    spread: Tensor
    window_spread: Tensor
    level: Tensor
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
        layer: str,
        layer_kwargs: dict[str, Any],
        activation: str,
        dropout: float,
        loss: str | None = None,
        quantile_levels: list[float] | None = None,
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
        self.register_buffer("counts", torch.zeros(D, dtype=torch.bool))
        self.covariates = Standardization(spec.num_covariates)
        self.statics = Standardization(spec.num_feat_static_real)
        times = (1 + (D if D > 1 else 0)) if dt_as_feature else 0
        self.input = nn.Linear(2 * D + times + C + 2 * spec.num_covariates, width)
        self.static_input = nn.Linear(2 * spec.num_feat_static_real + 2 * D, width)
        self.categories = CategoryEmbedding(cardinality, width) if cardinality else None
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        if not self.encoder.supports_step:
            raise ValueError(f"layer {layer!r} with {layer_kwargs} looks ahead; choose a causal one")
        self.readouts = nn.ModuleList(
            nn.Linear(state[0].numel(), width, bias=False) for state in self.encoder.initial_state(1)
        )
        self.query_input = nn.Linear(2 + C + 2 * spec.num_covariates, width)
        self.mixer = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            SharedDropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.variable_width = width if D == 1 else max(8, width // 2)
        self.variables = nn.Linear(width, D * self.variable_width)
        self.variable_input = nn.Linear(2 * ANCHORS + 2, self.variable_width)
        self.skip = SeasonalSkip(self.variable_width, ANCHORS)
        self.head = OutputHead(self.variable_width, output)

    @torch.no_grad()
    def fit_features(self, windows: IrregularWindows) -> None:
        """Take the unit of time, the statistics of each variable and those of the features from the training data."""
        store = windows.store
        self.time_unit.fill_(self.given_time_unit or store.median_gap())
        values, mask = store.values, store.mask.double()
        location = masked_mean(values, mask, dim=0)
        self.location.copy_(location[0])
        self.spread.copy_(_positive(masked_mean((values - location) ** 2, mask, dim=0).sqrt()[0]))
        self.level.copy_(_positive(masked_mean(values.abs(), mask, dim=0)[0]))
        batch = windows.draw(FITTING_WINDOWS)
        self.window_spread.copy_(_typical_spread(batch, self.spread))
        self.covariates.fit(batch.covariates)
        self.statics.fit(batch.static_real)

    @torch.no_grad()
    def fit_support(self, windows: IrregularWindows) -> None:
        """See which variables are counts."""
        check_support(self.output, windows.store.series)
        self.counts.copy_(windows.store.counts.all(0))

    def forward(self, batch: IrregularBatch, num_samples: int | None = None) -> Prediction:
        """The output's arguments ``[B, Q, D, ...]`` and where they are to be put; no samples are drawn."""
        ahead = slice(batch.context_length, None)
        times = batch.elapsed, batch.calendar[:, ahead], batch.covariates[:, ahead]
        return self.decode(self.encode(batch), *times, batch.counts)

    def check_streams(self) -> None:
        """All can: they are causal."""

    def decode(
        self, encoded: Encoded, elapsed: Tensor, calendar: Tensor, covariates: Tensor, counts: Tensor
    ) -> Prediction:
        """The output's arguments at any later times.

        Arguments:
            encoded: what is known of B windows.
            elapsed: ``[B, Q]`` from their last observations, in base units.
            calendar, covariates: ``[B, Q, ...]`` at these times.
            counts: ``[B, 1, D]``, whether the values are whole numbers, none of them negative.
        """
        features = self._query_features(elapsed, calendar, covariates)
        pieces = [
            self._decode(encoded, *piece)
            for piece in zip(features.split(QUERIES, 1), elapsed.split(QUERIES, 1), strict=True)
        ]
        h, offset = (torch.cat(part, dim=1) for part in zip(*pieces, strict=True))
        loc, scale, level = encoded.place
        if is_real(self.output):
            return Prediction(self.output, self.head(h), loc, scale, offset, self.counts & counts)
        share = (loc + scale * offset) / level
        return Prediction(self.output, self.head(h, share.to(h.dtype)), None, level, None, counts)

    def loss(self, batch: IrregularBatch) -> Tensor:
        """Mean loss over the values observed at the times asked for."""
        mask = batch.mask[:, batch.context_length :]
        place = self.place(batch)
        values = ((batch.target - place.loc) / place.scale).float()
        target = torch.where(mask > 0, batch.target, self.output.value_in_support)
        loss = self(batch).loss(values * mask, target, self.training_loss, self.quantile_levels)
        return (loss * mask).sum() / mask.sum().clamp(min=1)

    def encode(self, batch: IrregularBatch, place: Place | None = None) -> Encoded:
        """States and features at the last observation of each window, which is placed by its own values by default."""
        place = self.place(batch) if place is None else place
        h, states = self.observe(batch, place)
        mask = batch.mask[:, : batch.context_length]
        centre = masked_mean(batch.values, mask.double())[:, 0].where(mask.amax(1) > 0, torch.nan)
        return self.summarise(h, states, centre, batch.last, batch.last_age, place)

    def observe(
        self, batch: IrregularBatch, place: Place, states: tuple[Tensor, ...] | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features ``[B, width]`` at the last observation and the states there, from ``states`` before the first."""
        mask = batch.mask[:, : batch.context_length]
        there = mask.amax(-1)
        dt = self._in_units(torch.where(batch.dt.isnan(), self.time_unit, batch.dt))
        step = (dt if self.use_dt else torch.ones_like(dt)) * there
        u, static = self._inputs(batch, place, mask, dt), self._static(batch, place)
        if batch.context_length == 1 and not self.training:
            states = self.encoder.initial_state(len(u)) if states is None else states
            h, states = self.encoder.step(u[:, 0] + static, states, step[:, 0])
            return h + static, states
        h, states = self.encoder(u + static[:, None], states, dt=step, mask=there)
        return h[:, -1] + static, states

    def summarise(
        self, h: Tensor, states: tuple[Tensor, ...], centre: Tensor, last: Tensor, last_age: Tensor, place: Place
    ) -> Encoded:
        """What forecasts are made from: of each variable the mean of the window and the last value, NaN where none."""
        anchors = torch.stack([self.location.expand_as(last), centre, last], dim=-1)
        known = ~anchors.isnan()
        loc, scale = place.loc[:, 0, :, None], place.scale[:, 0, :, None]
        normalised = ((anchors - loc) / scale).nan_to_num(0.0).float()
        return Encoded(h, states, normalised, known.float(), self._in_units(last_age), place)

    def place(self, batch: IrregularBatch) -> Place:
        """Location and scale of each variable in each window.

        The scale of a window takes in one more value, at the typical distance in the training data, so that a few
        equal values do not make it vanish. A variable that a window does not show has the location of the training
        data.
        """
        values, mask = batch.values, batch.mask[:, : batch.context_length].double()
        count = mask.sum(1, keepdim=True)
        level = torch.where(count > 0, _positive(masked_mean(values.abs(), mask)), self.level)
        if self.scaling == "global":
            return Place(self.location.expand_as(level), self.spread.expand_as(level), level)
        loc = masked_mean(values, mask) if self.scaling == "standard" else batch.last.unsqueeze(1).nan_to_num(0.0)
        loc = torch.where(count > 0, loc, self.location)
        squares = ((values - loc) ** 2 * mask).sum(1, keepdim=True) + self.window_spread**2
        return Place(loc, (squares / (count + 1)).sqrt(), level)

    def _in_units(self, time: Tensor) -> Tensor:
        return (time / self.time_unit).float()

    def _inputs(self, batch: IrregularBatch, place: Place, mask: Tensor, dt: Tensor) -> Tensor:
        L = batch.context_length
        values = ((batch.values - place.loc) / place.scale).float() * mask
        parts = [values, mask]
        if self.dt_as_feature:
            parts.append(torch.log1p(dt).unsqueeze(-1))
            if self.spec.target_dim > 1:
                parts.append(torch.log1p(self._in_units(batch.age)).nan_to_num(0.0))
        parts += [batch.calendar[:, :L], self.covariates(batch.covariates[:, :L])]
        return self.input(torch.cat(parts, dim=-1))

    def _static(self, batch: IrregularBatch, place: Place) -> Tensor:
        """Static features, and where the window lies among the training data."""
        where = torch.cat(
            [((place.loc - self.location) / self.spread)[:, 0], (place.scale / self.spread).log()[:, 0]], dim=-1
        )
        static = self.static_input(torch.cat([self.statics(batch.static_real), _limited(where)], dim=-1))
        return static if self.categories is None else static + self.categories(batch.static_cat)

    def _query_features(self, elapsed: Tensor, calendar: Tensor, covariates: Tensor) -> Tensor:
        """What is known of each time, ``[B, Q, F]``."""
        elapsed = self._in_units(elapsed)
        times = torch.stack([torch.log1p(elapsed), torch.rsqrt(1 + elapsed)], dim=-1)
        return torch.cat([times, calendar, self.covariates(covariates)], dim=-1)

    def _decode(self, encoded: Encoded, features: Tensor, elapsed: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``[B, Q, D, w]`` of each variable at each time, and what its output corrects, ``[B, Q, D]``."""
        elapsed = self._in_units(elapsed)
        states = self.encoder.advance(encoded.states, elapsed if self.use_dt else torch.ones_like(elapsed))
        h = encoded.h.unsqueeze(1) + self.query_input(features)
        for readout, state in zip(self.readouts, states, strict=True):
            h = h + readout(state.flatten(2))
        h = h + self.mixer(h)
        age = torch.log1p(encoded.last_age.unsqueeze(1) + elapsed.unsqueeze(-1)).nan_to_num(0.0)
        known = torch.cat([_limited(encoded.anchors), encoded.anchor_mask], dim=-1).unsqueeze(1)
        known = known.expand(-1, elapsed.shape[1], -1, -1)
        since = torch.stack([age, torch.exp(-age)], dim=-1)
        each = self.variables(h).unflatten(-1, (self.spec.target_dim, self.variable_width))
        each = nn.functional.gelu(each + self.variable_input(torch.cat([known, since], dim=-1)))
        anchors, mask = (x.unsqueeze(1).expand(-1, elapsed.shape[1], -1, -1)
                         for x in (encoded.anchors, encoded.anchor_mask))  # fmt: skip
        return each, self.skip(each, anchors, mask)


def _typical_spread(batch: IrregularBatch, spread: Tensor) -> Tensor:
    """Geometric mean over windows of each variable's standard deviation, ``[D]``; where none has one, ``spread``."""
    values, mask = batch.values, batch.mask[:, : batch.context_length].double()
    own = masked_mean((values - masked_mean(values, mask)) ** 2, mask).sqrt()[:, 0]
    varies = own > 0
    typical = (torch.where(varies, own, 1.0).log().sum(0) / varies.sum(0).clamp(min=1)).exp()
    return torch.where(varies.any(0), typical, spread)


def _positive(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1.0)


def _limited(x: Tensor) -> Tensor:
    return x.float().clamp(-LIMIT, LIMIT)
