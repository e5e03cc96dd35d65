"""S5Estimator: the whole horizon in one pass."""

from typing import Any

import torch
from gluonts.core.component import validated
from gluonts.torch.distributions import Output
from gluonts.torch.model.predictor import PyTorchPredictor
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.data.features import default_context_length, default_lags, default_patch_length, num_calendar_features
from s5forecast.data.frequency import Frequency
from s5forecast.data.prior import default_prior_share
from s5forecast.data.scaling import SCALINGS
from s5forecast.data.windows import Batch, TrainingWindows, WindowSpec, WindowStore
from s5forecast.distributions import AUTO, check_loss, is_real, make_output
from s5forecast.estimators.base import ForecastEstimator, check_positive, checked_cardinality
from s5forecast.estimators.network import ForecastNetwork, check_support
from s5forecast.estimators.outputs import Prediction
from s5forecast.levels import DECILES
from s5forecast.nn import (
    ACTIVATIONS,
    CategoryEmbedding,
    Encoder,
    LinearPath,
    OutputHead,
    Patching,
    SeasonalSkip,
    Standardization,
)
from s5forecast.ssm import LAYERS

FITTING_WINDOWS = 512
# Of synthetic windows, from which on longer training gains, as there is no end of them.
NEARLY_ALL, LONG = 0.9, 60


class DirectNetwork(ForecastNetwork):
    """Encoder over context and horizon together; over the horizon it sees what is known there, not the values.

    Each step shows the normalised value, whether it was observed, values at the lags, the calendar, covariates
    and its distance into the horizon; static features are added to all steps. The head corrects a convex
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
    ) -> None:
        super().__init__()
        self.spec, self.output = spec, output
        self.training_loss = check_loss(loss, output)
        self.quantile_levels = list(DECILES) if quantile_levels is None else quantile_levels
        num_covariates = spec.num_feat_dynamic_real + spec.num_past_feat_dynamic_real
        self.covariates = Standardization(num_covariates)
        self.statics = Standardization(spec.num_feat_static_real + 2)
        self.register_buffer("counts", torch.tensor(False))
        inputs = 3 + 2 * len(spec.lags) + num_calendar_features(spec.frequency) + 2 * num_covariates
        self.patching = Patching(inputs, width, patch_length)
        self.static_input = nn.Linear(2 * (spec.num_feat_static_real + 2), width)
        self.categories = CategoryEmbedding(cardinality, width) if cardinality else None
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        self.skip = SeasonalSkip(width, len(spec.lags))
        self.linear = LinearPath(spec.context_length, spec.prediction_length)
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
        L, H = self.spec.context_length, self.spec.prediction_length
        h, _ = self.encoder(self._inputs(batch, H))
        h = self.patching.split(h[:, L // self.patching.length :])[:, :H]
        return self._prediction(batch, h, batch.lags[:, L:], batch.lag_mask[:, L:], batch.values[:, :L])

    def check_streams(self) -> None:
        """Raise ValueError unless the encoder is causal and sees each step as it comes."""
        if self.encoder.supports_step and self.patching.length == 1:
            return
        reasons = [
            *([] if self.encoder.supports_step else ["sees the context from both sides"]),
            *([] if self.patching.length == 1 else [f"takes {self.patching.length} steps as one"]),
        ]
        raise ValueError(
            f"its encoder {' and '.join(reasons)}, so that one more observation changes all that was computed; build "
            "S5Estimator with layer_kwargs={'bidirectional': False} and patch_length=1, or take "
            "S5AutoregressiveEstimator"
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
        h, _ = self.encoder(self._inputs(horizon, self.spec.prediction_length), states)
        recent = past[:, past.shape[1] - self.spec.context_length :]
        known = ((recent - horizon.loc) / horizon.scale).nan_to_num(0.0).float()
        return self._prediction(horizon, self.patching.split(h), horizon.lags, horizon.lag_mask, known)

    def _prediction(self, batch: Batch, h: Tensor, lags: Tensor, lag_mask: Tensor, context: Tensor) -> Prediction:
        """From features ``h [B, H, width]`` and lags of the horizon, and the values ``context [B, L]`` before it."""
        offset = self.skip(h, lags, lag_mask) + self.linear(context)
        if is_real(self.output):
            return Prediction(self.output, self.head(h), batch.loc, batch.scale, offset, self.counts & batch.counts)
        share = (batch.loc + batch.scale * offset) / batch.level
        return Prediction(self.output, self.head(h, share.to(h.dtype)), None, batch.level, None, batch.counts)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the observed steps of the horizon."""
        horizon = slice(self.spec.context_length, None)
        mask = batch.mask[:, horizon]
        target = torch.where(mask > 0, batch.target, self.output.value_in_support)
        loss = self(batch).loss(batch.values[:, horizon], target, self.training_loss, self.quantile_levels)
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


class S5Estimator(ForecastEstimator):
    """Forecasts the whole horizon in one pass, by an S5 encoder over context and horizon.

    Arguments:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        context_length: steps of history the network sees; chosen from frequency and horizon when not given.
        lags_seq: distances at which earlier values are shown and may be repeated; by frequency when not given.
        scaling: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``: what normalises a window.
        patch_length: neighbouring steps that the encoder sees as one; chosen from the context when not given. The
            context is rounded up to whole patches.
        distr_output: a key of ``distributions.DISTRIBUTIONS``, an output of yours or of GluonTS, or ``"auto"``, which
            picks one by the training data (``distributions.choose_output``), logs it and keeps it as ``auto_output``.
        quantile_levels: of the quantile output and the quantile loss, which are trained at the deciles too.
        loss: a key of ``distributions.LOSSES``: ``"nll"``, ``"crps"`` or ``"quantile"``; by default the quantile loss
            for quantiles, the negative log-likelihood for others.
        width, num_layers, state_size: size of the network: features, blocks, states of each block.
        layer: a key of ``ssm.LAYERS``; layer_kwargs: its further arguments.
        activation, dropout: of each block.
        synthetic_share: of the training windows, in [0, 1]; what keeps a small data set from being learnt by heart.
            Chosen by the number of observations when not given; 0 for an output of limited support.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known over the horizon, and not.
        num_feat_static_real, num_feat_static_cat, cardinality: static features, categories of each.
        lr, ssm_lr, weight_decay, warmup: learning rates of the network and of the state-space dynamics, weight
            decay, and the share of steps over which the rates rise.
        patience: epochs without improvement on validation data after which training stops.
        batch_size, num_batches_per_epoch, max_epochs: windows per step, steps per epoch, epochs: when not given 20, and
            60 where nearly all windows are synthetic.
        predict_batch_size: series per pass when predicting.
        trainer_kwargs: of Lightning's ``Trainer``; its ``callbacks`` are kept across calls.
        seed: the same seed gives the same result on a CPU; ``None`` draws one.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …

    Raises:
        ValueError: for a name or a number that cannot be, listing the choices.
    """

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        context_length: int | None = None,
        lags_seq: list[int] | None = None,
        scaling: str = "standard",
        patch_length: int | None = None,
        distr_output: Any = "quantile",
        quantile_levels: list[float] | None = None,
        loss: str | None = None,
        width: int = 64,
        num_layers: int = 2,
        state_size: int = 64,
        layer: str = "s5",
        layer_kwargs: dict[str, Any] | None = None,
        activation: str = "half_glu2",
        dropout: float = 0.1,
        synthetic_share: float | None = None,
        num_feat_dynamic_real: int = 0,
        num_past_feat_dynamic_real: int = 0,
        num_feat_static_real: int = 0,
        num_feat_static_cat: int = 0,
        cardinality: list[int] | None = None,
        lr: float = 3e-3,
        ssm_lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        patience: int = 10,
        batch_size: int = 32,
        num_batches_per_epoch: int = 50,
        max_epochs: int | None = None,
        predict_batch_size: int = 256,
        trainer_kwargs: dict[str, Any] | None = None,
        seed: int | None = 0,
        device: str = "auto",
    ) -> None:
        length = {} if max_epochs is None else {"max_epochs": max_epochs}
        super().__init__(
            lr=lr, ssm_lr=ssm_lr, weight_decay=weight_decay, warmup=warmup, patience=patience,
            batch_size=batch_size, num_batches_per_epoch=num_batches_per_epoch,
            predict_batch_size=predict_batch_size, trainer_kwargs={**length, **(trainer_kwargs or {})},
            seed=seed, device=device,
        )  # fmt: skip
        frequency = Frequency.parse(freq)
        if context_length is None:
            context_length = default_context_length(frequency, prediction_length)
        lags_seq = default_lags(frequency) if lags_seq is None else lags_seq
        patch_length = default_patch_length(context_length) if patch_length is None else patch_length
        check_positive(
            prediction_length=prediction_length,
            context_length=context_length,
            lags_seq=min(lags_seq, default=0),
            width=width,
            num_layers=num_layers,
            state_size=state_size,
            patch_length=patch_length,
        )
        choose(SCALINGS, scaling, "scaling")
        choose(LAYERS, layer, "layer")
        choose(ACTIVATIONS, activation, "activation")
        self.spec = WindowSpec(
            freq=frequency.alias,
            context_length=-(-context_length // patch_length) * patch_length,
            prediction_length=prediction_length,
            lags=lags_seq,
            scaling=scaling,
            num_feat_dynamic_real=num_feat_dynamic_real,
            num_past_feat_dynamic_real=num_past_feat_dynamic_real,
            num_feat_static_real=num_feat_static_real,
            num_feat_static_cat=num_feat_static_cat,
        )
        self.quantile_levels = list(DECILES) if quantile_levels is None else quantile_levels
        self.automatic = distr_output == AUTO
        self.output = make_output("normal" if self.automatic else distr_output, self.quantile_levels)
        self.loss = loss
        check_loss(loss, self.output)
        if synthetic_share is not None and not 0 <= synthetic_share <= 1:
            raise ValueError(f"synthetic_share must lie in [0, 1], got {synthetic_share}")
        self.synthetic_share = synthetic_share
        self.cardinality = checked_cardinality(cardinality, num_feat_static_cat)
        self.network_kwargs = {
            "width": width,
            "num_layers": num_layers,
            "layer": layer,
            "layer_kwargs": {"state_size": state_size, "bidirectional": True, **(layer_kwargs or {})},
            "activation": activation,
            "dropout": dropout,
            "patch_length": patch_length,
            "loss": loss,
            "quantile_levels": sorted({*DECILES, *self.quantile_levels}),
        }

    def window_spec(self) -> WindowSpec:
        return self.spec

    def prior_share(self, store: WindowStore) -> float:
        """Of synthetic series, which have no bounds: none where the output has."""
        if not is_real(self.output):
            return 0.0
        if self.synthetic_share is not None:
            return self.synthetic_share
        return default_prior_share(int(store.length.sum()))

    def epochs(self, store: WindowStore) -> int:
        """More of them for a handful of values."""
        return LONG if self.prior_share(store) > NEARLY_ALL else super().epochs(store)

    def fit_output(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """As of all estimators; what is picked must go with the loss."""
        super().fit_output(store, from_predictor)
        check_loss(self.loss, self.output)

    def create_network(self) -> DirectNetwork:
        return DirectNetwork(self.spec, self.output, self.cardinality, **self.network_kwargs)
