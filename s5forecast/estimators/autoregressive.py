"""S5AutoregressiveEstimator: one step at a time, drawn paths fed back."""

from typing import Any

from gluonts.core.component import validated
from gluonts.torch.model.predictor import PyTorchPredictor

from s5forecast.choices import choose
from s5forecast.data.frequency import DAY, Frequency
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import (
    AUTO,
    DISTRIBUTIONS,
    DistributionOutput,
    Output,
    QuantileOutput,
    has_atoms,
    make_output,
)
from s5forecast.estimators.base import ForecastEstimator, check_positive, checked_cardinality, checked_share
from s5forecast.networks.autoregressive import AutoregressiveNetwork
from s5forecast.networks.recursive_decoder import RecursiveDecoderNetwork
from s5forecast.nn import ACTIVATIONS
from s5forecast.ssm import LAYERS
from s5forecast.windows.batches import WindowStore
from s5forecast.windows.calendar import default_context_length, default_lags, default_patch_length
from s5forecast.windows.scaling import SCALINGS

# Of synthetic windows: data that need fewer forecast better without, where the encoder is recursive.
LEAST_SHARE = 0.2
# Beside the deciles, for paths.
TAILS = [0.02, 0.05, 0.95, 0.98]
# What sees the values drawn before a step.
RECURSIONS: dict[str, type[AutoregressiveNetwork] | type[RecursiveDecoderNetwork]] = {
    "encoder": AutoregressiveNetwork,
    "decoder": RecursiveDecoderNetwork,
}


class S5AutoregressiveEstimator(ForecastEstimator):
    r"""Forecasts by paths drawn one step at a time, by S5 layers that see what was drawn before.

    .. math:: p(y_{1:H} \mid y_{\le 0}) = \prod_{t=1}^{H} p(y_t \mid y_{<t}, y_{\le 0})

    Trained by the loss of every step given the true values before it. All paths advance together, a step at a time, so
    that what is drawn at one step shapes the next: they are joint over the horizon. Where the decoder is recursive
    each step is forecast by itself, too, and its values are put in the order of the paths.

    Arguments:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        recursion: what sees the values drawn. ``"encoder"``: all of a causal encoder, trained on each step of context
            and horizon; it learns most from few values. ``"decoder"``: a small layer, which moves at each step the
            distribution that the encoder of :class:`~s5forecast.S5Estimator` forecasts. It gives the order of the paths
            at each step, and that forecast their values, so that paths cannot run off. They are drawn several times as
            fast. When not given the decoder where a day has several steps, else the encoder.
        context_length: steps of history the network sees; chosen from frequency and horizon when not given. With
            patches it is rounded up to whole ones.
        lags_seq: distances at which earlier values are shown and may be repeated; by frequency when not given.
        scaling: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``: what normalises a window. When
            not given as in :class:`~s5forecast.S5Estimator`; ``"standard"`` where the encoder is causal.
        patch_length: neighbouring steps of the context that the encoder sees as one; chosen from the context when not
            given; 1 where the encoder is recursive.
        distr_output: a key of ``distributions.DISTRIBUTIONS``, such as ``"negative_binomial"`` for small counts, an
            output of yours or of GluonTS, or ``"auto"``, which picks one by the training data. When not given
            quantiles, tails included: trained by the quantile loss, drawn from their interpolation; where the encoder
            is recursive Student's t, unless a quarter of the values are the same, such as zero.
        num_parallel_samples: paths drawn for each series, unless ``predict`` is given another number.
        width, num_layers, state_size: size of the network: features, blocks, states of each block.
        layer: a key of ``ssm.LAYERS``, one that has a step mode where the encoder is recursive; layer_kwargs: its
            further arguments.
        activation, dropout: of each block.
        synthetic_share, max_epochs: as in :class:`~s5forecast.S5Estimator`, chosen by the data when not given; no
            synthetic windows where they would be less than a fifth and the encoder is recursive.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known over the horizon, and not.
        num_feat_static_real, num_feat_static_cat, cardinality: static features, categories of each.
        lr, ssm_lr, weight_decay, warmup, patience, batch_size, num_batches_per_epoch,
            predict_batch_size, trainer_kwargs, device: as in :class:`~s5forecast.S5Estimator`.
        seed: the same seed gives the same result on a CPU, paths included; ``None`` draws one.

    Raises:
        ValueError: for a name or a number that cannot be, listing the choices, or an output that cannot be drawn from.

    References:
        "DeepAR: Probabilistic Forecasting with Autoregressive Recurrent Networks" (Salinas, Flunkert,
        Gasthaus, Januschowski, 2020), for the training and the paths
    """

    @validated()
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        context_length: int | None = None,
        lags_seq: list[int] | None = None,
        scaling: str | None = None,
        distr_output: Any = None,
        num_parallel_samples: int = 100,
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
        recursion: str | None = None,
        patch_length: int | None = None,
    ) -> None:
        length = {} if max_epochs is None else {"max_epochs": max_epochs}
        super().__init__(
            lr=lr, ssm_lr=ssm_lr, weight_decay=weight_decay, warmup=warmup, patience=patience,
            batch_size=batch_size, num_batches_per_epoch=num_batches_per_epoch,
            predict_batch_size=predict_batch_size, trainer_kwargs={**length, **(trainer_kwargs or {})},
            seed=seed, device=device,
        )  # fmt: skip
        frequency = Frequency.parse(freq)
        if recursion is None:
            recursion = "decoder" if frequency.seconds < DAY else "encoder"
        choose(RECURSIONS, recursion, "recursion")
        self.recursion, whole = recursion, recursion == "encoder"
        if context_length is None:
            context_length = default_context_length(frequency, prediction_length)
        if patch_length is None:
            patch_length = 1 if whole else default_patch_length(context_length)
        if whole and patch_length > 1:
            raise ValueError(
                f"a recursive encoder takes step after step, and patch_length={patch_length} several as one; leave it "
                "at 1, or recursion at 'decoder'"
            )
        lags_seq = default_lags(frequency) if lags_seq is None else lags_seq
        check_positive(
            prediction_length=prediction_length,
            context_length=context_length,
            lags_seq=min(lags_seq, default=0),
            num_parallel_samples=num_parallel_samples,
            width=width,
            num_layers=num_layers,
            state_size=state_size,
            patch_length=patch_length,
        )
        both_sides = {} if whole else {"bidirectional": True}
        layer_kwargs = {"state_size": state_size, **both_sides, **(layer_kwargs or {})}
        self.scaling_by_data = scaling is None and bool(layer_kwargs.get("bidirectional"))
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
            recursive=whole,
        )
        self.by_atoms = distr_output is None and whole
        if distr_output is None:
            distr_output = "student_t" if whole else "quantile"
        self.automatic = distr_output == AUTO
        self.output = _drawable(make_output("normal" if self.automatic else distr_output, TAILS))
        self.synthetic_share = checked_share(synthetic_share)
        self.cardinality = checked_cardinality(cardinality, num_feat_static_cat)
        decoder = {} if whole else {"patch_length": patch_length}
        self.network_kwargs = {
            "width": width,
            "num_layers": num_layers,
            "layer": layer,
            "layer_kwargs": layer_kwargs,
            "activation": activation,
            "dropout": dropout,
            "num_samples": num_parallel_samples,
            "seed": seed,
            **decoder,
        }

    def window_spec(self) -> WindowSpec:
        return self.spec

    def prior_share(self, store: WindowStore) -> float:
        """As of all estimators; for a recursive encoder what the data suggest counts from a fifth on."""
        share = super().prior_share(store)
        if self.recursion == "decoder" or self.synthetic_share is not None or share >= LEAST_SHARE:
            return share
        return 0.0

    def fit_output(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """As of all estimators; for a recursive encoder without a given output, by whether the data have atoms."""
        super().fit_output(store, from_predictor)
        if not self.by_atoms:
            return
        if from_predictor is not None:
            self.output = from_predictor.network.output
            return
        atoms = has_atoms([series.target for series in store.series])
        self.output = make_output("quantile" if atoms else "student_t", TAILS)

    def create_network(self) -> AutoregressiveNetwork | RecursiveDecoderNetwork:
        network = RECURSIONS[self.recursion]
        return network(self.spec, self.output, self.cardinality, **self.network_kwargs)


def _drawable(output: Output) -> Output:
    if isinstance(output, QuantileOutput):
        if output.quantiles[0] < 0.5 < output.quantiles[-1]:
            return output
        raise ValueError(f"paths are drawn from levels below and above 0.5, got {output.quantiles}; give some of both")
    if not isinstance(output, DistributionOutput):
        raise ValueError(
            f"{type(output).__name__} has no distribution from which paths could be drawn; choose distr_output from "
            f"{', '.join(map(repr, DISTRIBUTIONS))}, or take S5Estimator"
        )
    return output
