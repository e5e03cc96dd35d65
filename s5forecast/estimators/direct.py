"""S5Estimator: the whole horizon in one pass."""

from typing import Any

from gluonts.core.component import validated

from s5forecast.choices import choose
from s5forecast.data.spec import WindowSpec
from s5forecast.estimators.arguments import (
    FEATURES,
    NETWORK,
    TRAINING,
    FeatureArguments,
    NetworkArguments,
    TrainingArguments,
    check_share,
    spread_arguments,
)
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.defaults import resolve_patches, resolve_window
from s5forecast.levels import DECILES
from s5forecast.networks.direct import DirectNetwork
from s5forecast.nn import MISSING
from s5forecast.ssm.layers import is_bidirectional


class S5Estimator(ForecastEstimator):
    r"""Forecasts the whole horizon in one pass, by an S5 encoder over context and horizon.

    Args:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        context_length: steps of history that the network sees; chosen by frequency and horizon if not given.
        lags_seq: distances of the earlier values shown at each step; chosen by frequency if not given.
        scaling: normalization of a window: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``. If
            not given, ``"increments"`` for trending series, such as cumulative counts and smooth curves, and
            ``"standard"`` otherwise: one choice for all series, by the training data. Causal encoders take
            ``"standard"``, as a stream keeps its scale.
        patch_length: number of neighboring steps that the encoder sees as one; chosen by the context if not given. The
            context is rounded up to whole patches. Forecasts at other sampling rates require 1.
        missing: ``"impute"`` shows a missing value as the mean of the window, and that it is missing. ``"skip"``
            leaves steps of the context without a value out of the encoder, with their covariates, and makes the next
            step as long as the gap, :math:`\Delta = (1 + \text{missing}) \exp(\log\Delta)`; it requires
            ``patch_length=1``, then the default. Lags and the linear path see missing values in either case.
        distr_output: a key of ``distributions.DISTRIBUTIONS``, an output object, also one of GluonTS, or ``"auto"``,
            which chooses by the training data (``distributions.choose_output``) and keeps the choice as
            ``auto_output``.
        quantile_levels: levels of the quantile output and of the quantile loss, in addition to the deciles.
        loss: a key of ``distributions.LOSSES``: ``"nll"``, ``"crps"`` or ``"quantile"``. The default is the quantile
            loss for quantiles and the negative log-likelihood for other outputs.
        width, num_layers, state_size: features, blocks, and states of each block.
        layer: a key of ``ssm.LAYERS``, or a list of keys, one for each block; a shorter list repeats.
        layer_kwargs: further arguments of the layer.
        activation, dropout: of each block.
        synthetic_share: fraction of training windows drawn from synthetic series, in [0, 1], which keeps the network
            from overfitting small data sets. Chosen by number and length of the series if not given; 0 for outputs
            with bounded support.
        num_feat_dynamic_real, num_past_feat_dynamic_real: number of covariates known over the horizon, and of others.
        num_feat_static_real, num_feat_static_cat, cardinality: number of static features, categories of each.
        dynamic_cardinalities, past_dynamic_cardinalities: number of categories of each categorical covariate, known
            over the horizon and not. ``feat_dynamic_cat`` and ``past_feat_dynamic_cat`` of an entry have the codes 0,
            1, … of these categories, -1 for an unknown category, NaN for a missing one.
        weighted: whether training entries have a ``weight``, a number or one for each step, which multiplies the loss.
        lr, ssm_lr: learning rates of the network and of the state-space dynamics.
        weight_decay: weight decay of AdamW.
        warmup: fraction of the training steps over which the learning rates rise.
        patience: epochs without improvement on validation data after which training stops.
        batch_size, num_batches_per_epoch: windows per step, steps per epoch.
        sampling: ``"series"`` draws all series equally often, ``"windows"`` draws them in proportion to their training
            windows, so that long series count for more.
        max_epochs: if not given 20, or 60 for fewer than 10,000 values beside synthetic windows and for long records
            (``estimators.defaults.effective_sample_size`` above 10 million).
        predict_batch_size: series per forward pass when predicting.
        trainer_kwargs: arguments of Lightning's ``Trainer``; its ``callbacks`` are kept across calls.
        seed: the same seed gives the same result on a CPU; ``None`` draws one.
        device: ``"auto"`` (CUDA if available), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …

    Raises:
        ValueError: for an unknown name, with the known ones, or a number out of range.

    Example:
        >>> import numpy as np
        >>> import pandas as pd
        >>> from s5forecast import S5Estimator
        >>> target = np.sin(2 * np.pi * np.arange(480) / 24)
        >>> series = [{"start": pd.Period("2024-01-01", "h"), "target": target}]
        >>> estimator = S5Estimator("h", prediction_length=24, max_epochs=1, num_batches_per_epoch=2)
        >>> forecast = next(iter(estimator.train(series).predict(series)))
        >>> forecast.start_date, forecast.quantile(0.9).shape
        (Period('2024-01-21 00:00', 'h'), (24,))
    """

    @validated()
    @spread_arguments
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
        network: NetworkArguments = NETWORK,
        synthetic_share: float | None = None,
        features: FeatureArguments = FEATURES,
        training: TrainingArguments = TRAINING,
        missing: str = "impute",
    ) -> None:
        super().__init__(**training._asdict())
        network_kwargs = network.for_network(bidirectional=True)
        choose(MISSING, missing, "missing")
        spec = resolve_window(self.choices, freq, prediction_length, context_length, lags_seq)
        single = "missing='skip' requires patches of one step" if missing == "skip" else None
        spec, patch_length = resolve_patches(self.choices, spec, patch_length, single)
        if missing == "skip" and patch_length > 1:
            raise ValueError(
                f"missing='skip' leaves out single steps, and patch_length={patch_length} takes several as one; leave "
                "patch_length at 1, or missing at 'impute'"
            )
        causal = not is_bidirectional(network_kwargs["layer_kwargs"])
        self.spec = spec._replace(scaling=self.set_scaling(scaling, causal=causal), features=features.spec())
        self.set_quantile_levels(quantile_levels)
        self.set_output(distr_output, self.quantile_levels)
        self.set_loss(loss)
        check_share(synthetic_share)
        self.synthetic_share = synthetic_share
        self.cardinality = features.categories()
        self.network_kwargs = {
            **network_kwargs,
            "patch_length": patch_length,
            "loss": loss,
            "quantile_levels": sorted({*DECILES, *self.quantile_levels}),
            "missing": missing,
        }

    def window_spec(self) -> WindowSpec:
        return self.spec

    def create_network(self) -> DirectNetwork:
        return DirectNetwork(self.spec, self.output, self.cardinality, **self.network_kwargs)
