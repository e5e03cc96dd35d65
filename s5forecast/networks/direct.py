"""The network of the direct estimator."""

from typing import Any, cast

import torch
from gluonts.core.component import validated
from torch import Tensor, nn

from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import Output, check_loss
from s5forecast.levels import DECILES
from s5forecast.networks.base import ForecastNetwork, check_support
from s5forecast.networks.prediction import Place, Prediction
from s5forecast.nn import (
    MISSING,
    CategoryEmbedding,
    Encoder,
    LinearPath,
    OutputHead,
    Patching,
    SeasonalSkip,
    Standardization,
)
from s5forecast.seeding import seeded
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.calendar import num_calendar_features
from s5forecast.windows.regular import Batch
from s5forecast.windows.scaling import normalised

FITTING_WINDOWS = 512


class DirectNetwork(ForecastNetwork):
    """Encoder over context and horizon together; over the horizon it sees what is known there, not the values.

    Each step shows the normalised value, whether it was observed, values at the lags, the calendar, covariates
    and its distance into the horizon; static features are added to all steps. Where gaps are skipped, steps of the
    context without a value are left out, and the next step is as long as the gap. The head corrects a convex
    combination of the lagged values, to which a linear map of the context is added.
    """

    counts: Tensor

    @validated()
    def __init__(
        self,
        spec: WindowSpec,
        output: Output,
        cardinality: list[int],
        width: int,
        num_layers: int,
        layer: str,
        layer_kwargs: dict[str, Any],
        activation: str,
        dropout: float,
        patch_length: int,
        loss: str | None = None,
        quantile_levels: list[float] | None = None,
        missing: str = "impute",
    ) -> None:
        super().__init__()
        self.spec, self.output = spec, output
        self.missing, self.show = missing, MISSING[missing]
        self.training_loss = check_loss(loss, output)
        self.quantile_levels = list(DECILES) if quantile_levels is None else quantile_levels
        num_covariates = spec.num_feat_dynamic_real + spec.num_past_feat_dynamic_real
        self.covariates = Standardization(num_covariates)
        self.statics = Standardization(spec.num_feat_static_real + 2)
        self.register_buffer("counts", torch.tensor(False))
        inputs = 3 + 2 * len(spec.lags) + num_calendar_features(spec.frequency, spec.substeps) + 2 * num_covariates
        self.patching = Patching(inputs, width, patch_length)
        self.static_input = nn.Linear(2 * (spec.num_feat_static_real + 2), width)
        self.categories = CategoryEmbedding(cardinality, width) if cardinality else None
        if spec.substeps > 1:
            layer_kwargs = {**layer_kwargs, "step_scale": layer_kwargs.get("step_scale", 1.0) / spec.substeps}
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        self.skip = SeasonalSkip(width, len(spec.lags))
        self.linear = LinearPath(spec.context_length // spec.substeps, spec.prediction_length // spec.substeps)
        self.head = OutputHead(width, output)

    @torch.no_grad()
    def fit_features(self, windows: TrainingWindows) -> None:
        """Take location and scale of covariates and static features from some windows."""
        batch = windows.draw(FITTING_WINDOWS)
        self.covariates.fit(batch.covariates)
        self.statics.fit(batch.static_real)

    @torch.no_grad()
    def fit_support(self, windows: TrainingWindows) -> None:
        """See whether all series are counts."""
        check_support(self.output, windows.store.series)
        self.counts.fill_(bool(windows.store.counts.all()))

    def forward(self, batch: Batch, num_samples: int | None = None) -> Prediction:
        """The output's arguments ``[B, H, ...]`` and where they are to be put; no samples are drawn."""
        return self.prediction(batch, *self.decode(batch))

    def decode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features ``[B, H, width]`` of the horizon and what is forecast without them ``[B, H]``."""
        L, H = self.spec.context_length, self.spec.prediction_length
        observed = batch.mask.clone()
        observed[:, L:] = 1
        shown = self.show(self._inputs(batch, H), observed)
        h, _ = self.encoder(shown.steps, dt=shown.dt, mask=shown.mask)
        h = self.patching.split(h[:, -self.patching.count(H) :])[:, :H]
        known = batch.values[:, :L] * batch.mask[:, :L]
        return h, self.skip(h, batch.lags[:, L:], batch.lag_mask[:, L:]) + self.linear(known)

    def divided(self, substeps: int) -> "DirectNetwork":
        """This network at steps ``substeps`` times as short: a copy, whose layers take as much smaller steps.

        Raises:
            ValueError: with the reason and the fix, for a network that cannot.
        """
        if self.patching.length > 1:
            raise ValueError(
                f"the network takes {self.patching.length} steps as one, which are not those of another sampling rate; "
                "train S5Estimator with patch_length=1"
            )
        arguments = cast(dict[str, Any], self.__init_args__)
        with seeded(0):  # what is drawn here is replaced
            network = type(self)(**{**arguments, "spec": self.spec.divided(substeps)})
        network.load_state_dict(self.state_dict())
        return network

    def check_streams(self) -> None:
        """Raise ValueError unless the encoder is causal and sees each step as it comes."""
        if self.missing == "skip":
            raise ValueError(
                "with missing='skip' a step is as long as the gap before it, which the states of a stream do not tell; "
                "build S5Estimator with missing='impute', layer_kwargs={'bidirectional': False} and patch_length=1"
            )
        if self.encoder.supports_step and self.patching.length == 1:
            return
        reasons = [
            *([] if self.encoder.supports_step else ["sees the context from both sides"]),
            *([] if self.patching.length == 1 else [f"takes {self.patching.length} steps as one"]),
        ]
        raise ValueError(
            f"its encoder {' and '.join(reasons)}, so that one more observation changes all that was computed; build "
            "the estimator with layer_kwargs={'bidirectional': False} and patch_length=1, or take "
            "S5AutoregressiveEstimator with recursion='encoder'"
        )

    def observe(
        self, steps: Batch, centre: Tensor, states: tuple[Tensor, ...] | None = None, there: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """The states after some ``steps [B, T]``, of which no one is to be forecast, from those before.

        ``there [B, T]`` is 0 where there is no step; ``centre`` is of networks that show it for a missing value.
        """
        return self.encoder(self._inputs(steps, 0), states, dt=there, mask=there)[1]

    def ahead(
        self, horizon: Batch, centre: Tensor, states: tuple[Tensor, ...], past: Tensor, num_samples: int | None = None
    ) -> Prediction:
        """The forecast of the ``horizon [B, H]`` from the states before it, and ``past [B, R]``, the values there."""
        return self.prediction(horizon, *self.decode_from(horizon, states, past))

    def decode_from(self, horizon: Batch, states: tuple[Tensor, ...], past: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`decode`, from the states before the horizon."""
        h, _ = self.encoder(self._inputs(horizon, self.spec.prediction_length), states)
        recent = past[:, past.shape[1] - self.spec.context_length :]
        known = normalised(recent, horizon.loc, horizon.scale)
        h = self.patching.split(h)
        return h, self.skip(h, horizon.lags, horizon.lag_mask) + self.linear(known)

    def prediction(self, batch: Batch, h: Tensor, offset: Tensor, correction: Tensor | float = 0.0) -> Prediction:
        """From features ``[B, H, width]`` and ``offset [B, H]``; the ``correction`` moves what the head projects."""
        projected, place = self.head.projection(h) + correction, Place(batch.loc, batch.scale, batch.level)
        return Prediction.at(self.output, self.head, projected, offset, place, self.counts & batch.counts)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the observed steps of the horizon."""
        return self.mean_loss(batch, self.prediction(batch, *self.decode(batch)))

    def mean_loss(self, batch: Batch, prediction: Prediction) -> Tensor:
        """Mean loss of a prediction over the observed steps of the horizon."""
        horizon = slice(self.spec.context_length, None)
        mask = batch.mask[:, horizon]
        target = torch.where(mask > 0, batch.target, self.output.value_in_support)
        loss = prediction.loss(batch.values[:, horizon], target, self.training_loss, self.quantile_levels)
        return (loss * mask).sum() / mask.sum().clamp(min=1)

    def _inputs(self, batch: Batch, horizon: int) -> Tensor:
        """``[B, T, width]``, of which the last ``horizon`` steps are to be forecast."""
        begin = batch.values.shape[1] - horizon
        past = torch.zeros_like(batch.mask)
        past[:, :begin] = 1
        ahead = torch.zeros_like(past)
        ahead[:, begin:] = torch.linspace(0, 1, horizon + 1, device=past.device)[1:]
        own = torch.stack([batch.values * past, batch.mask * past, ahead], dim=-1)
        steps = torch.cat([own, batch.lags, batch.lag_mask, batch.calendar, self.covariates(batch.covariates)], dim=-1)
        static = self.static_input(self.statics(batch.static_real))
        if self.categories is not None:
            static = static + self.categories(batch.static_cat)
        return self.patching.group(steps) + static[:, None]
