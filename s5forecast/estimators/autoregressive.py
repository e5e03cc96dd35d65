"""S5AutoregressiveEstimator: one step at a time, drawn paths fed back."""

from typing import Any

from gluonts.core.component import validated
from gluonts.torch.distributions import DistributionOutput, Output

from s5forecast.choices import choose
from s5forecast.data.features import default_context_length, default_lags
from s5forecast.data.frequency import Frequency
from s5forecast.data.scaling import SCALINGS
from s5forecast.data.windows import WindowSpec, WindowStore
from s5forecast.distributions import AUTO, DISTRIBUTIONS, make_output
from s5forecast.estimators.autoregressive_network import AutoregressiveNetwork
from s5forecast.estimators.base import ForecastEstimator, check_positive, checked_cardinality, checked_share
from s5forecast.nn import ACTIVATIONS
from s5forecast.ssm import LAYERS

# Of synthetic windows: data that need fewer forecast better without.
LEAST_SHARE = 0.2


class S5AutoregressiveEstimator(ForecastEstimator):
    r"""Forecasts by paths drawn one step at a time, by a causal S5 encoder.

    .. math:: p(y_{1:H} \mid y_{\le 0}) = \prod_{t=1}^{H} p(y_t \mid y_{<t})

    Trained by the likelihood of every step of context and horizon given those before it. The state after the
    context comes from one parallel pass; from there all paths advance together, a step at a time, so that what is
    drawn at one step shapes the next: paths are joint over the horizon.

    Arguments:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        context_length: steps of history the network sees; chosen from frequency and horizon when not given.
        lags_seq: distances at which earlier values are shown and may be repeated; by frequency when not given.
        scaling: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``: what normalises a window.
        distr_output: a key of ``distributions.DISTRIBUTIONS`` that has a likelihood, such as ``"negative_binomial"``
            for small counts, an output of yours or of GluonTS, or ``"auto"``, which picks one by the training data.
        num_parallel_samples: paths drawn for each series, unless ``predict`` is given another number.
        width, num_layers, state_size: size of the network: features, blocks, states of each block.
        layer: a key of ``ssm.LAYERS`` that has a step mode; layer_kwargs: its further arguments.
        activation, dropout: of each block.
        synthetic_share, max_epochs: as in :class:`~s5forecast.S5Estimator`, chosen by the data when not given; no
            synthetic windows where they would be less than a fifth.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known over the horizon, and not.
        num_feat_static_real, num_feat_static_cat, cardinality: static features, categories of each.
        lr, ssm_lr, weight_decay, warmup, patience, batch_size, num_batches_per_epoch,
            predict_batch_size, trainer_kwargs, device: as in :class:`~s5forecast.S5Estimator`.
        seed: the same seed gives the same result on a CPU, paths included; ``None`` draws one.

    Raises:
        ValueError: for a name or a number that cannot be, listing the choices, or an output without a likelihood.

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
        scaling: str = "standard",
        distr_output: Any = "student_t",
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
        predict_batch_size: int = 64,
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
        check_positive(
            prediction_length=prediction_length,
            context_length=context_length,
            lags_seq=min(lags_seq, default=0),
            num_parallel_samples=num_parallel_samples,
            width=width,
            num_layers=num_layers,
            state_size=state_size,
        )
        choose(SCALINGS, scaling, "scaling")
        choose(LAYERS, layer, "layer")
        choose(ACTIVATIONS, activation, "activation")
        self.spec = WindowSpec(
            freq=frequency.alias,
            context_length=context_length,
            prediction_length=prediction_length,
            lags=lags_seq,
            scaling=scaling,
            num_feat_dynamic_real=num_feat_dynamic_real,
            num_past_feat_dynamic_real=num_past_feat_dynamic_real,
            num_feat_static_real=num_feat_static_real,
            num_feat_static_cat=num_feat_static_cat,
            recursive=True,
        )
        self.automatic = distr_output == AUTO
        self.output = _with_likelihood(make_output("normal" if self.automatic else distr_output))
        self.synthetic_share = checked_share(synthetic_share)
        self.cardinality = checked_cardinality(cardinality, num_feat_static_cat)
        self.network_kwargs = {
            "width": width,
            "num_layers": num_layers,
            "layer": layer,
            "layer_kwargs": {"state_size": state_size, **(layer_kwargs or {})},
            "activation": activation,
            "dropout": dropout,
            "num_samples": num_parallel_samples,
            "seed": seed,
        }

    def window_spec(self) -> WindowSpec:
        return self.spec

    def prior_share(self, store: WindowStore) -> float:
        """As of all estimators; what the data suggest counts from a fifth on."""
        share = super().prior_share(store)
        return share if self.synthetic_share is not None or share >= LEAST_SHARE else 0.0

    def create_network(self) -> AutoregressiveNetwork:
        return AutoregressiveNetwork(self.spec, self.output, self.cardinality, **self.network_kwargs)


def _with_likelihood(output: Output) -> DistributionOutput:
    if not isinstance(output, DistributionOutput):
        others = ", ".join(repr(name) for name in DISTRIBUTIONS if name != "quantile")
        raise ValueError(
            f"{type(output).__name__} has no likelihood, from which paths could be drawn; choose distr_output "
            f"from {others}, or S5Estimator, which trains quantiles"
        )
    return output
