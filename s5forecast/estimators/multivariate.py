"""S5MultivariateEstimator: joint forecasts of the series of an entry, sampled step by step."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from gluonts.core.component import validated

from s5forecast.choices import choose
from s5forecast.data.spec import FeatureSpec, WindowSpec
from s5forecast.distributions import is_real
from s5forecast.distributions.gaussian_copula import GaussianCopulaOutput
from s5forecast.distributions.joint import JOINT_LOSSES, JointOutput
from s5forecast.distributions.multivariate_normal import MultivariateNormalOutput
from s5forecast.estimators.arguments import (
    NETWORK,
    TRAINING_OF_LARGE_ENTRIES,
    NetworkArguments,
    TrainingArguments,
    check_positive,
    spread_arguments,
)
from s5forecast.estimators.base import ForecastEstimator
from s5forecast.estimators.defaults import Choice, resolve_window
from s5forecast.networks.multivariate import MultivariateNetwork
from s5forecast.windows.batches import WindowStore

# Whether the marginals are those of the training data, by name of the output.
JOINT_OUTPUTS = {"multivariate_normal": False, "gaussian_copula": True}


class S5MultivariateEstimator(ForecastEstimator):
    r"""Forecasts D series by joint sample paths, with a causal S5 encoder that sees all of them.

    .. math:: p(y_{1:H} \mid y_{\le 0}) = \prod_{t=1}^{H} p(y_t \mid y_{<t}), \qquad y_t \in R^D

    Each step has one multivariate distribution, whose correlations are of low rank. Samples are joint over series
    and over the horizon: ``SampleForecast`` with ``samples [S, H, D]``. Parameters, time and memory grow linearly
    with D. Missing values are integrated out of the likelihood and marked as missing in the input.

    Args:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        target_dim: number of series D of each entry, whose ``target`` is ``[D, T]``; GluonTS's ``MultivariateGrouper``
            brings one-dimensional entries to this form.
        context_length: steps of history that the network sees; chosen by frequency and horizon if not given.
        lags_seq: distances of the earlier values shown at each step; chosen by frequency if not given.
        scaling: normalization of each series of a window: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or
            ``"none"``.
        distr_output: ``"multivariate_normal"``; ``"gaussian_copula"``, the same on normal scores by the empirical
            distribution of the normalized training values of each series; or a ``GaussianCopulaOutput`` with learned
            marginals.
        rank: of the correlations.
        loss: ``"nll"``, the negative log-likelihood, or ``"energy"``, the energy score.
        num_parallel_samples: paths of each entry, unless ``predict`` is given another number.
        width, num_layers, state_size: features, blocks, and states of each block.
        layer: a key of ``ssm.LAYERS`` that has a step mode, or a list of keys, one for each block; a shorter list
            repeats.
        layer_kwargs: further arguments of the layer.
        activation, dropout: of each block.
        num_feat_dynamic_real, num_past_feat_dynamic_real: number of covariates of an entry known over the horizon, and
            of others.
        lr, ssm_lr, weight_decay, warmup, patience: as in :class:`~s5forecast.S5Estimator`.
        batch_size, num_batches_per_epoch, sampling, max_epochs, predict_batch_size: as there; a batch counts entries.
        trainer_kwargs, device: as there.
        seed: the same seed gives the same result on a CPU, including the paths; ``None`` draws one.

    Raises:
        ValueError: for an unknown name, with the known ones, a number out of range, or an output of another dimension.

    References:
        "High-Dimensional Multivariate Forecasting with Low-Rank Gaussian Copula Processes" (Salinas,
        Bohlke-Schneider, Callot, Medico, Gasthaus, 2019), for the output
    """

    draws_paths = True

    @validated()
    @spread_arguments
    def __init__(
        self,
        freq: str,
        prediction_length: int,
        target_dim: int,
        context_length: int | None = None,
        lags_seq: list[int] | None = None,
        scaling: str = "standard",
        distr_output: Any = "multivariate_normal",
        rank: int = 8,
        loss: str = "nll",
        num_parallel_samples: int = 100,
        network: NetworkArguments = NETWORK,
        num_feat_dynamic_real: int = 0,
        num_past_feat_dynamic_real: int = 0,
        training: TrainingArguments = TRAINING_OF_LARGE_ENTRIES,
    ) -> None:
        super().__init__(**training._asdict())
        check_positive(target_dim=target_dim, rank=rank, num_parallel_samples=num_parallel_samples)
        choose(JOINT_LOSSES, loss, "loss")
        self.spec = resolve_window(self.choices, freq, prediction_length, context_length, lags_seq)._replace(
            scaling=self.set_scaling(scaling, causal=True),
            features=FeatureSpec(num_feat_dynamic_real, num_past_feat_dynamic_real),
            recursive=True,
            target_dim=target_dim,
        )
        self.output = _joint_output(distr_output, target_dim, rank)
        self.network_kwargs = {
            "empirical": isinstance(distr_output, str) and choose(JOINT_OUTPUTS, distr_output, "distr_output"),
            "loss": loss,
            **network.for_network(),
            "num_samples": num_parallel_samples,
            "seed": training.seed,
        }

    def window_spec(self) -> WindowSpec:
        return self.spec

    def synthetic_windows(self, store: WindowStore) -> Choice:
        """No synthetic series are made for joint series."""
        return Choice(0.0, "no training windows from synthetic series, because these are not joint", given=False)

    def create_network(self) -> MultivariateNetwork:
        return MultivariateNetwork(self.spec, self.output, **self.network_kwargs)

    @classmethod
    def derive_auto_fields(cls, train_iter: Iterable) -> dict[str, Any]:
        """The number of series and of features of the first entry, for ``from_inputs``."""
        (entry,) = islice(train_iter, 1)
        fields = ("feat_dynamic_real", "past_feat_dynamic_real")
        return {"target_dim": len(entry["target"])} | {
            f"num_{field}": len(np.atleast_2d(entry[field])) for field in fields if field in entry
        }


def _joint_output(distr_output: Any, dim: int, rank: int) -> JointOutput:
    if isinstance(distr_output, str):
        choose(JOINT_OUTPUTS, distr_output, "distr_output")
        return MultivariateNormalOutput(dim, min(rank, dim))
    if not isinstance(distr_output, JointOutput) or distr_output.dim != dim:
        raise ValueError(
            f"distr_output must be one of {', '.join(map(repr, JOINT_OUTPUTS))} or a joint output of target_dim={dim} "
            f"values, such as GaussianCopulaOutput({dim}); got {type(distr_output).__name__}"
            + (f" of {distr_output.dim}" if isinstance(distr_output, JointOutput) else "")
        )
    if isinstance(distr_output, GaussianCopulaOutput) and not is_real(distr_output.marginal):
        raise ValueError(
            f"the marginal {type(distr_output.marginal).__name__} does not cover all real numbers and cannot be "
            "shifted; choose another, or distr_output='gaussian_copula', whose marginals are those of the data"
        )
    return distr_output
