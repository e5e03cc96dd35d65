"""Network of the autoregressive estimator: trained in parallel by teacher forcing, sampled step by step."""

from functools import partial
from typing import Any, NamedTuple

import torch
from gluonts.core.component import validated
from torch import Tensor, nn

from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import Output
from s5forecast.networks.base import UnivariateNetwork
from s5forecast.networks.paths import draw_paths, draw_values, walk_paths
from s5forecast.networks.prediction import Place, Prediction, SamplePaths
from s5forecast.nn import Encoder, OutputHead, SeasonalSkip
from s5forecast.nn.stepper import make_stepper
from s5forecast.windows.calendar import num_calendar_features
from s5forecast.windows.history import SeriesHistory
from s5forecast.windows.regular import WINDOW_STATICS, Batch
from s5forecast.windows.scaling import masked_mean


class HorizonInputs(NamedTuple):
    """Inputs over the horizon that are known before sampling."""

    inputs: Tensor  # [H, B, width], without the sampled values
    lags: Tensor  # [H, K, B]
    lag_mask: Tensor  # [H, K, B]


class AutoregressiveNetwork(UnivariateNetwork):
    """Causal encoder that sees the steps before each step and gives the distribution of its value.

    The inputs of each step are the normalized values at the lags, whether they were observed, the calendar and
    covariates. Static features, which include the scale, are added to all steps. A missing value is replaced by the
    mean of the context. The head corrects a convex combination of the lagged values.
    """

    @validated()
    def __init__(
        self,
        spec: WindowSpec,
        output: Output,
        cardinality: list[int],
        width: int,
        num_layers: int,
        layer: list[str] | str,
        layer_kwargs: list[dict[str, Any]] | dict[str, Any],
        activation: str,
        dropout: float,
        num_samples: int,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.spec, self.output = spec, output
        self.num_samples, self.seed = num_samples, seed
        self.register_buffer("counts", torch.tensor(False))
        features = spec.features
        covariates = self.add_features(
            features.num_covariates, features.num_feat_static_real + WINDOW_STATICS, features.categorical
        )
        self.input = nn.Linear(2 * len(spec.lags) + num_calendar_features(spec.frequency) + covariates, width)
        self.add_static_inputs(cardinality, width)
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        self.encoder.require("supports_step")
        self.skip = SeasonalSkip(width, len(spec.lags))
        self.head = OutputHead(width, output)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the observed values, of the whole window in training and of the horizon in validation."""
        mask = self._loss_mask(batch)
        values = torch.cat([batch.past, batch.target], dim=1)
        target = torch.where(batch.mask > 0, values, self.output.value_in_support)
        loss = self.one_step(batch).loss(batch.values, target)
        return (loss * mask * batch.weight).sum() / self.loss_weight(batch).clamp(min=1)

    def loss_weight(self, batch: Batch) -> Tensor:
        """Number of observed values, of the whole window in training and of the horizon in validation."""
        return self._loss_mask(batch).sum()

    def _loss_mask(self, batch: Batch) -> Tensor:
        if self.training:
            return batch.mask
        past = torch.zeros_like(batch.past, dtype=batch.mask.dtype)
        return torch.cat([past, batch.mask[:, past.shape[1] :]], dim=1)

    def one_step(self, batch: Batch) -> Prediction:
        """The distribution of each of the L + H steps given the true values before it."""
        L = self.spec.context_length
        center = masked_mean(batch.values[:, :L], batch.mask[:, :L])
        h, _ = self.encoder(self._inputs(batch, batch.lags, batch.lag_mask, center))
        return self._prediction(batch, h)

    @torch.inference_mode()
    def forward(self, batch: Batch, num_samples: int | None = None) -> SamplePaths:
        """Sample paths over the horizon, determined by the seed of the estimator and the values of the batch."""
        L = self.spec.context_length
        center = masked_mean(batch.values[:, :L], batch.mask[:, :L])
        lags, lag_mask = self._without_drawn(batch, L)
        u = self._inputs(batch, lags, lag_mask, center)
        _, states = self.encoder(u[:, :L])
        return self._paths(batch, u[:, L:], lags[:, L:], lag_mask[:, L:], states, batch.past, num_samples)

    def check_streams(self) -> None:
        """Accept any configuration, because the encoder is causal."""

    def update_state(
        self,
        steps: Batch,
        history: SeriesHistory,
        state: tuple[Tensor, ...] | None = None,
        step_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """The state of the layers after further observed steps.

        Args:
            steps: ``[B, T]`` steps.
            history: past of the series, on any device; its ``center`` replaces missing values.
            state: state before the first step; zero by default.
            step_mask: ``[B, T]``, 0 for padding, which leaves the state unchanged.
        """
        u = self._inputs(steps, steps.lags, steps.lag_mask, history.center.to(steps.values.device))
        return self.encoder(u, state, dt=step_mask, mask=step_mask)[1]

    @torch.inference_mode()
    def predict_from_state(
        self, horizon: Batch, history: SeriesHistory, state: tuple[Tensor, ...], num_samples: int | None = None
    ) -> SamplePaths:
        """Sample paths over the ``horizon [B, H]`` from the state before it."""
        lags, lag_mask = self._without_drawn(horizon, 0)
        u = self._inputs(horizon, lags, lag_mask, history.center.to(horizon.values.device))
        recent = history.past[:, -self.spec.context_length :].nan_to_num(0.0)
        return self._paths(horizon, u, lags, lag_mask, state, recent, num_samples)

    def _without_drawn(self, batch: Batch, context_length: int) -> tuple[Tensor, Tensor]:
        """Lags and their mask; lags within the horizon count as observed, and paths fill in their sampled values."""
        steps = torch.arange(batch.lags.shape[1], device=batch.lags.device).unsqueeze(-1) - context_length
        drawn = steps >= torch.tensor(self.spec.lags, device=steps.device)
        return batch.lags.masked_fill(drawn, 0.0), batch.lag_mask.masked_fill(drawn, 1.0)

    def _paths(
        self,
        batch: Batch,
        u: Tensor,
        lags: Tensor,
        lag_mask: Tensor,
        states: tuple[Tensor, ...],
        past: Tensor,
        num_samples: int | None,
    ) -> SamplePaths:
        """Paths ``[B, S, H]`` from the states before the horizon, with a seed that depends on the past values."""
        lags, lag_mask = (x.permute(1, 2, 0).contiguous() for x in (lags, lag_mask))
        horizon = HorizonInputs(u.transpose(0, 1).contiguous(), lags, lag_mask)
        place = Place(batch.loc, batch.scale, batch.level)
        sample = partial(walk_paths, partial(self._draw_path, horizon, states), place, len(horizon.inputs))
        number = self.num_samples if num_samples is None else num_samples
        features = (batch.static_real, batch.static_cat, batch.covariates, batch.lags)
        counts = (self.counts & batch.counts)[..., None]
        return draw_paths(sample, past, number, seed=self.seed, counts=counts, features=features)

    def _draw_path(self, horizon: HorizonInputs, state: tuple[Tensor, ...], place: Place, series: Tensor) -> Tensor:
        """One path of each of the R ``series``, float64 ``[H, R]``."""
        outputs = (self.skip.weights, self.head.projection)
        weight, bias = (torch.cat([getattr(layer, name) for layer in outputs]) for name in ("weight", "bias"))
        advance = make_stepper(self.encoder, state, series, weight, bias)
        path = horizon.inputs.new_empty(len(horizon.inputs), len(series))
        values = place.loc.new_empty(path.shape)
        for step in range(len(path)):
            lags, lag_mask = (x[step].index_select(1, series) for x in horizon[1:])
            reached = [k for k, lag in enumerate(self.spec.lags) if lag <= step]
            drawn = path[[step - self.spec.lags[k] for k in reached]]
            lags[reached] = drawn
            y = advance(horizon.inputs[step], drawn, self.input.weight[:, reached])
            logits, projected = y.split([layer.out_features for layer in outputs])
            offset = self.skip.mix(logits, lags, lag_mask)
            path[step], values[step] = draw_values(self.output, self.head, projected, offset, place)
        return values

    def _prediction(self, batch: Batch, h: Tensor) -> Prediction:
        offset, place = self.skip(h, batch.lags, batch.lag_mask), Place(batch.loc, batch.scale, batch.level)
        projected = self.head.projection(h)
        return Prediction.at(self.output, self.head, projected, offset, place, self.counts & batch.counts)

    def _inputs(self, batch: Batch, lags: Tensor, lag_mask: Tensor, center: Tensor) -> Tensor:
        """``[B, T, width]``; the values at the lags come first, missing ones replaced by ``center [B, 1]``."""
        shown = lags + (1 - lag_mask) * center.unsqueeze(-1)
        steps = self.step_inputs([shown, lag_mask], batch.calendar, batch.covariates)
        return self.input(steps) + self.static_inputs(batch.static_real, batch.static_cat)[:, None]
