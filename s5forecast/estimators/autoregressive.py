"""S5AutoregressiveEstimator: sample paths, one step at a time."""

from typing import Any

from gluonts.core.component import validated
from gluonts.torch.model.predictor import PyTorchPredictor

from s5forecast.choices import choose
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import DISTRIBUTIONS, DistributionOutput, Output, QuantileOutput, make_output
from s5forecast.estimators.arguments import (
    FEATURES,
    NETWORK,
    TRAINING,
    FeatureArguments,
    NetworkArguments,
    TrainingArguments,
    check_positive,
    check_share,
    spread_arguments,
)
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.defaults import (
    LEAST_SHARE,
    PATH_TAILS,
    choose_recursive_output,
    default_recursion,
    resolve_patches,
    resolve_window,
)
from s5forecast.networks.autoregressive import AutoregressiveNetwork
from s5forecast.networks.recursive_decoder import RecursiveDecoderNetwork
from s5forecast.ssm.layers import is_bidirectional
from s5forecast.windows.batches import WindowStore

# The network that sees the values sampled before a step.
RECURSIONS: dict[str, type[AutoregressiveNetwork] | type[RecursiveDecoderNetwork]] = {
    "encoder": AutoregressiveNetwork,
    "decoder": RecursiveDecoderNetwork,
}


class S5AutoregressiveEstimator(ForecastEstimator):
    r"""Forecasts by sample paths, drawn one step at a time by S5 layers that see the values of earlier steps.

    .. math:: p(y_{1:H} \mid y_{\le 0}) = \prod_{t=1}^{H} p(y_t \mid y_{<t}, y_{\le 0})

    Training minimizes the loss of every step given the true values before it. All paths advance together, one step at
    a time, and a value drawn at one step affects the next, so that paths are joint over the horizon. A recursive
    decoder also makes a direct forecast of each step, whose quantiles are reordered by the ranks of the paths.

    Args:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        recursion: the part of the network that sees the sampled values. ``"encoder"``: a causal encoder, trained on
            each step of context and horizon; it learns most from small data sets. ``"decoder"``: a small layer that
            adjusts at each step the distribution forecast by the encoder of :class:`~s5forecast.S5Estimator`. It
            determines the order of the paths at each step, and the encoder their values, so that paths cannot diverge;
            sampling is several times as fast. If not given, the decoder if a day has several steps, otherwise the
            encoder.
        context_length: steps of history that the network sees; chosen by frequency and horizon if not given. With
            patches it is rounded up to whole ones.
        lags_seq: distances of the earlier values shown at each step; chosen by frequency if not given.
        scaling: normalization of a window: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``. If
            not given, as in :class:`~s5forecast.S5Estimator`; ``"standard"`` for causal encoders.
        patch_length: number of neighboring steps of the context that the encoder sees as one; chosen by the context if
            not given; 1 for recursive encoders.
        distr_output: a key of ``distributions.DISTRIBUTIONS``, such as ``"negative_binomial"`` for small counts, an
            output object, also one of GluonTS, or ``"auto"``, which chooses by the training data. If not given,
            quantiles with tails, trained by the quantile loss and sampled by interpolation; for recursive encoders
            Student's t, unless a quarter of the values are equal, such as zero.
        num_parallel_samples: paths of each series, unless ``predict`` is given another number.
        width, num_layers, state_size: features, blocks, and states of each block.
        layer: a key of ``ssm.LAYERS``, with a step mode for recursive encoders, or a list of keys, one for each block;
            a shorter list repeats.
        layer_kwargs: further arguments of the layer.
        activation, dropout: of each block.
        synthetic_share, max_epochs: as in :class:`~s5forecast.S5Estimator`; a recursive encoder takes no synthetic
            windows if they would be less than a fifth.
        num_feat_dynamic_real, num_past_feat_dynamic_real: number of covariates known over the horizon, and of others.
        num_feat_static_real, num_feat_static_cat, cardinality: number of static features, categories of each.
        dynamic_cardinalities, past_dynamic_cardinalities: number of categories of each categorical covariate, known
            over the horizon and not. ``feat_dynamic_cat`` and ``past_feat_dynamic_cat`` of an entry have the codes 0,
            1, … of these categories, -1 for an unknown category, NaN for a missing one.
        weighted: whether training entries have a ``weight``, a number or one for each step, which multiplies the loss.
        lr, ssm_lr, weight_decay, warmup, patience: as in :class:`~s5forecast.S5Estimator`.
        batch_size, num_batches_per_epoch, sampling, predict_batch_size, trainer_kwargs, device: as there.
        seed: the same seed gives the same result on a CPU, including the paths; ``None`` draws one.

    Raises:
        ValueError: for an unknown name, with the known ones, a number out of range, or an output without samples.

    References:
        "DeepAR: Probabilistic Forecasting with Autoregressive Recurrent Networks" (Salinas, Flunkert,
        Gasthaus, Januschowski, 2020), for the training and the paths
    """

    draws_paths = True

    @validated()
    @spread_arguments
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        context_length: int | None = None,
        lags_seq: list[int] | None = None,
        scaling: str | None = None,
        distr_output: Any = None,
        num_parallel_samples: int = 100,
        network: NetworkArguments = NETWORK,
        synthetic_share: float | None = None,
        features: FeatureArguments = FEATURES,
        training: TrainingArguments = TRAINING,
        recursion: str | None = None,
        patch_length: int | None = None,
    ) -> None:
        super().__init__(**training._asdict())
        check_positive(num_parallel_samples=num_parallel_samples)
        spec = resolve_window(self.choices, freq, prediction_length, context_length, lags_seq)
        self.recursion = self.choices.resolve("recursion", recursion, default_recursion(spec.frequency))
        choose(RECURSIONS, self.recursion, "recursion")
        recursive_encoder = self.recursion == "encoder"
        network_kwargs = network.for_network(**({} if recursive_encoder else {"bidirectional": True}))
        single = "a recursive encoder reads one step at a time" if recursive_encoder else None
        spec, patch_length = resolve_patches(self.choices, spec, patch_length, single)
        if recursive_encoder and patch_length > 1:
            raise ValueError(
                f"a recursive encoder takes single steps, and patch_length={patch_length} takes several as one; leave "
                "patch_length at 1, or recursion at 'decoder'"
            )
        causal = not is_bidirectional(network_kwargs["layer_kwargs"])
        self.spec = spec._replace(
            scaling=self.set_scaling(scaling, causal=causal), features=features.spec(), recursive=recursive_encoder
        )
        self.set_path_output(distr_output)
        check_share(synthetic_share)
        self.synthetic_share = synthetic_share
        self.least_synthetic_share = LEAST_SHARE if recursive_encoder else 0.0
        self.cardinality = features.categories()
        self.network_kwargs = {
            **network_kwargs,
            "num_samples": num_parallel_samples,
            "seed": training.seed,
            **({} if recursive_encoder else {"patch_length": patch_length}),
        }

    def set_path_output(self, distr_output: Any) -> None:
        """Set the output, by name or as an object; the default depends on the recursion.

        Raises:
            ValueError: if the output cannot be sampled.
        """
        default = "student_t" if self.recursion == "encoder" else "quantile"
        self.output_by_atoms = distr_output is None and self.recursion == "encoder"
        self.set_output(default if distr_output is None else distr_output, list(PATH_TAILS))
        if distr_output is None:
            self.choices.choose("distr_output", default, f"for recursion={self.recursion!r}")
        _check_sampled(self.output)

    def window_spec(self) -> WindowSpec:
        return self.spec

    def fit_output(self, store: WindowStore, from_predictor: PyTorchPredictor | None) -> None:
        """Choose the output; for recursive encoders without a given one by the share of equal values."""
        super().fit_output(store, from_predictor)
        if not self.output_by_atoms:
            return
        if from_predictor is not None:
            self.take_output(from_predictor)
            return
        choice = choose_recursive_output([series.target for series in store.series])
        self.choices["distr_output"] = choice
        self.output = make_output(choice.value, list(PATH_TAILS))

    def create_network(self) -> AutoregressiveNetwork | RecursiveDecoderNetwork:
        network = RECURSIONS[self.recursion]
        return network(self.spec, self.output, self.cardinality, **self.network_kwargs)


def _check_sampled(output: Output) -> None:
    if isinstance(output, QuantileOutput):
        if output.quantiles[0] < 0.5 < output.quantiles[-1]:
            return
        raise ValueError(
            f"paths need quantile levels below and above 0.5 to be sampled, got {output.quantiles}; give some of both"
        )
    if not isinstance(output, DistributionOutput):
        raise ValueError(
            f"{type(output).__name__} has no distribution to sample paths from; choose distr_output from "
            f"{', '.join(map(repr, DISTRIBUTIONS))}, or use S5Estimator"
        )
