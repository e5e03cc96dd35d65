"""Network of the direct estimator."""

from typing import Any, cast

import torch
from gluonts.core.component import validated
from torch import Tensor

from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import Output, check_loss
from s5forecast.levels import DECILES
from s5forecast.networks.base import UnivariateNetwork
from s5forecast.networks.prediction import Place, Prediction
from s5forecast.nn import (
    MISSING,
    Encoder,
    LinearPath,
    OutputHead,
    Patching,
    SeasonalSkip,
)
from s5forecast.seeding import seeded
from s5forecast.ssm.layers import with_shorter_steps
from s5forecast.windows.calendar import num_calendar_features
from s5forecast.windows.history import SeriesHistory
from s5forecast.windows.regular import WINDOW_STATICS, Batch
from s5forecast.windows.scaling import normalized


class DirectNetwork(UnivariateNetwork):
    """Encoder over context and horizon together; the values over the horizon are hidden.

    The inputs of each step are the normalized value, whether it was observed, the values at the lags, the calendar,
    covariates and the position within the horizon. Static features are added to all steps. With ``missing="skip"``,
    steps of the context without a value are omitted, and the next step is as long as the gap. The head corrects the
    sum of a convex combination of the lagged values and a linear map of the context.
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
        self.register_buffer("counts", torch.tensor(False))
        features = spec.features
        covariates = self.add_features(
            features.num_covariates, features.num_feat_static_real + WINDOW_STATICS, features.categorical
        )
        inputs = 3 + 2 * len(spec.lags) + num_calendar_features(spec.frequency, spec.substeps) + covariates
        self.patching = Patching(inputs, width, patch_length)
        self.add_static_inputs(cardinality, width)
        if spec.substeps > 1:
            layer_kwargs = with_shorter_steps(layer, layer_kwargs, spec.substeps)
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        if missing == "skip":
            self.encoder.require("supports_dt")
        self.skip = SeasonalSkip(width, len(spec.lags))
        self.linear = LinearPath(spec.context_length // spec.substeps, spec.prediction_length // spec.substeps)
        self.head = OutputHead(width, output)

    def forward(self, batch: Batch, num_samples: int | None = None) -> Prediction:
        """Distributions of the horizon; no samples are drawn."""
        return self.prediction(batch, *self.decode(batch))

    def decode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features ``[B, H, width]`` of the horizon and the offset ``[B, H]`` that the head corrects."""
        L, H = self.spec.context_length, self.spec.prediction_length
        observed = batch.mask.clone()
        observed[:, L:] = 1
        shown = self.show(self._inputs(batch, H), observed)
        h, _ = self.encoder(shown.steps, dt=shown.dt, mask=shown.mask)
        h = self.patching.split(h[:, -self.patching.count(H) :])[:, :H]
        known = batch.values[:, :L] * batch.mask[:, :L]
        return h, self.skip(h, batch.lags[:, L:], batch.lag_mask[:, L:]) + self.linear(known)

    def divided(self, substeps: int) -> "DirectNetwork":
        """A copy of this network for steps ``substeps`` times as short.

        Raises:
            ValueError: if the network has patches, or for a frequency or a scaling that cannot be divided.
        """
        if self.patching.length > 1:
            raise ValueError(
                f"the network takes {self.patching.length} steps as one, which would cover another span of time at "
                "another sampling rate; train S5Estimator with patch_length=1"
            )
        arguments = cast(dict[str, Any], self.__init_args__)
        with seeded(0):  # the initial weights are replaced
            network = type(self)(**{**arguments, "spec": self.spec.divided(substeps)})
        network.load_state_dict(self.state_dict())
        return network

    def check_streams(self) -> None:
        """Raise ValueError unless the encoder is causal and takes single steps."""
        if self.missing == "skip":
            raise ValueError(
                "a model with missing='skip' cannot stream, because the state does not hold the length of the current "
                "gap; train S5Estimator with missing='impute', layer_kwargs={'bidirectional': False} and "
                "patch_length=1 (estimator_kwargs of S5Forecaster)"
            )
        lack, length = self.encoder.lack_of("supports_step"), self.patching.length
        reasons = [*([] if lack is None else [lack]), *([] if length == 1 else [f"it takes {length} steps as one"])]
        if not reasons:
            return
        raise ValueError(
            f"this model cannot stream: {', and '.join(reasons)}, so one more observation changes all of its outputs; "
            "train S5Estimator with layer_kwargs={'bidirectional': False} and patch_length=1 "
            "(estimator_kwargs of S5Forecaster), or S5AutoregressiveEstimator with recursion='encoder'"
        )

    def update_state(
        self,
        steps: Batch,
        history: SeriesHistory,
        state: tuple[Tensor, ...] | None = None,
        step_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """The state of the layers after further observed steps; see :meth:`AutoregressiveNetwork.update_state`."""
        return self.encoder(self._inputs(steps, 0), state, dt=step_mask, mask=step_mask)[1]

    def predict_from_state(
        self, horizon: Batch, history: SeriesHistory, state: tuple[Tensor, ...], num_samples: int | None = None
    ) -> Prediction:
        """The forecast of the ``horizon [B, H]`` from the state before it."""
        return self.prediction(horizon, *self.decode_from_state(horizon, history, state))

    def decode_from_state(
        self, horizon: Batch, history: SeriesHistory, state: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`decode`, from the state before the horizon."""
        h, _ = self.encoder(self._inputs(horizon, self.spec.prediction_length), state)
        recent = history.past[:, -self.spec.context_length :].to(horizon.loc.device)
        known = normalized(recent, horizon.loc, horizon.scale)
        h = self.patching.split(h)
        return h, self.skip(h, horizon.lags, horizon.lag_mask) + self.linear(known)

    def prediction(self, batch: Batch, h: Tensor, offset: Tensor, correction: Tensor | float = 0.0) -> Prediction:
        """From features ``[B, H, width]`` and ``offset [B, H]``; ``correction`` is added to the projected features."""
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
        return (loss * mask * batch.weight[:, horizon]).sum() / self.loss_weight(batch).clamp(min=1)

    def loss_weight(self, batch: Batch) -> Tensor:
        """Number of observed steps of the horizon."""
        return batch.mask[:, self.spec.context_length :].sum()

    def _inputs(self, batch: Batch, horizon: int) -> Tensor:
        """``[B, T, width]``; the last ``horizon`` steps are to be forecast."""
        begin = batch.values.shape[1] - horizon
        past = torch.zeros_like(batch.mask)
        past[:, :begin] = 1
        ahead = torch.zeros_like(past)
        ahead[:, begin:] = torch.linspace(0, 1, horizon + 1, device=past.device)[1:]
        own = torch.stack([batch.values * past, batch.mask * past, ahead], dim=-1)
        steps = self.step_inputs([own, batch.lags, batch.lag_mask], batch.calendar, batch.covariates)
        return self.patching.group(steps) + self.static_inputs(batch.static_real, batch.static_cat)[:, None]
