"""S5Estimator: the whole horizon in one pass."""

from typing import Any

from gluonts.core.component import validated
from gluonts.torch.model.predictor import PyTorchPredictor

from s5forecast.choices import choose
from s5forecast.data.frequency import Frequency
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import AUTO, check_loss, make_output
from s5forecast.estimators.base import ForecastEstimator, check_positive, checked_cardinality, checked_share
from s5forecast.levels import DECILES
from s5forecast.networks.direct import DirectNetwork
from s5forecast.nn import ACTIVATIONS, MISSING
from s5forecast.ssm import LAYERS
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.calendar import default_context_length, default_lags, default_patch_length
from s5forecast.windows.scaling import SCALINGS


class S5Estimator(ForecastEstimator):
    r"""Forecasts the whole horizon in one pass, by an S5 encoder over context and horizon.

    Arguments:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        context_length: steps of history the network sees; chosen from frequency and horizon when not given.
        lags_seq: distances at which earlier values are shown and may be repeated; by frequency when not given.
        scaling: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``: what normalises a window. When
            not given ``"increments"`` for series that go on as they went, such as cumulative counts and smooth
            curves, else ``"standard"``: one choice for all series, by the training data. Causal encoders take
            ``"standard"``, as a stream keeps its scale.
        patch_length: neighbouring steps that the encoder sees as one; chosen from the context when not given. The
            context is rounded up to whole patches. At other sampling rates than the one trained on it must be 1.
        missing: ``"impute"`` shows a missing value as the mean of the window and that it is missing; ``"skip"``
            leaves such steps of the context out of the encoder, with their covariates, and makes the next step as
            long as the gap, :math:`\Delta = (1 + \text{missing}) \exp(\log\Delta)`; it needs ``patch_length=1``, then
            the default. Lags and linear path see missing values as before.
        distr_output: a key of ``distributions.DISTRIBUTIONS``, an output of yours or of GluonTS, or ``"auto"``, which
            picks one by the training data (``distributions.choose_output``), logs it and keeps it as ``auto_output``.
        quantile_levels: of the quantile output and the quantile loss, which are trained at the deciles too.
        loss: a key of ``distributions.LOSSES``: ``"nll"``, ``"crps"`` or ``"quantile"``; by default the quantile loss
            for quantiles, the negative log-likelihood for others.
        width, num_layers, state_size: size of the network: features, blocks, states of each block.
        layer: a key of ``ssm.LAYERS``; layer_kwargs: its further arguments.
        activation, dropout: of each block.
        synthetic_share: of the training windows, in [0, 1]; what keeps a small data set from being learnt by heart.
            Chosen by the number and the length of the series when not given; 0 for an output of limited support.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known over the horizon, and not.
        num_feat_static_real, num_feat_static_cat, cardinality: static features, categories of each.
        lr, ssm_lr, weight_decay, warmup: learning rates of the network and of the state-space dynamics, weight
            decay, and the share of steps over which the rates rise.
        patience: epochs without improvement on validation data after which training stops.
        batch_size, num_batches_per_epoch, max_epochs: windows per step, steps per epoch, epochs: when not given 20, and
            60 for fewer than 10,000 values beside synthetic windows, or for long records (``data.prior.experience``
            above 10 million).
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
        scaling: str | None = None,
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
        missing: str = "impute",
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
        choose(MISSING, missing, "missing")
        if patch_length is None:
            patch_length = 1 if missing == "skip" else default_patch_length(context_length)
        if missing == "skip" and patch_length > 1:
            raise ValueError(
                f"missing='skip' leaves out single steps, and patch_length={patch_length} takes several as one; leave "
                "patch_length at 1, or missing at 'impute'"
            )
        check_positive(
            prediction_length=prediction_length,
            context_length=context_length,
            lags_seq=min(lags_seq, default=0),
            width=width,
            num_layers=num_layers,
            state_size=state_size,
            patch_length=patch_length,
        )
        layer_kwargs = {"state_size": state_size, "bidirectional": True, **(layer_kwargs or {})}
        self.scaling_by_data = scaling is None and bool(layer_kwargs["bidirectional"])
        scaling = "standard" if scaling is None else scaling
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
        self.synthetic_share = checked_share(synthetic_share)
        self.cardinality = checked_cardinality(cardinality, num_feat_static_cat)
        self.network_kwargs = {
            "width": width,
            "num_layers": num_layers,
            "layer": layer,
            "layer_kwargs": layer_kwargs,
            "activation": activation,
            "dropout": dropout,
            "patch_length": patch_length,
            "loss": loss,
            "quantile_levels": sorted({*DECILES, *self.quantile_levels}),
            "missing": missing,
        }

    def window_spec(self) -> WindowSpec:
        return self.spec

    def fit_output(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """As of all estimators; what is picked must go with the loss."""
        super().fit_output(store, from_predictor)
        check_loss(self.loss, self.output)

    def create_network(self) -> DirectNetwork:
        return DirectNetwork(self.spec, self.output, self.cardinality, **self.network_kwargs)
