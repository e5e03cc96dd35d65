"""S5MultivariateEstimator: several series as one, drawn together step by step."""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
from gluonts.core.component import validated

from s5forecast.choices import choose
from s5forecast.data.frequency import Frequency
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import is_real
from s5forecast.distributions.gaussian_copula import GaussianCopulaOutput
from s5forecast.distributions.joint import JOINT_LOSSES, JointOutput
from s5forecast.distributions.multivariate_normal import MultivariateNormalOutput
from s5forecast.estimators.base import ForecastEstimator, check_positive
from s5forecast.networks.multivariate import MultivariateNetwork
from s5forecast.nn import ACTIVATIONS
from s5forecast.ssm import LAYERS
from s5forecast.windows.calendar import default_context_length, default_lags
from s5forecast.windows.scaling import SCALINGS

# name -> whether the marginals are those of the training data
JOINT_OUTPUTS = {"multivariate_normal": False, "gaussian_copula": True}


class S5MultivariateEstimator(ForecastEstimator):
    r"""Forecasts D series together by joint paths, by a causal S5 encoder that sees all of them.

    .. math:: p(y_{1:H} \mid y_{\le 0}) = \prod_{t=1}^{H} p(y_t \mid y_{<t}), \qquad y_t \in R^D

    Each step has one multivariate distribution, whose correlations are of low rank. Samples are joint over series
    and over the horizon: ``SampleForecast`` with ``samples [S, H, D]``. Parameters, time and memory grow linearly
    with D. Missing values are integrated out of the likelihood, and marked as missing where they are shown.

    Arguments:
        freq: offset or Period alias of the data.
        prediction_length: steps to forecast.
        target_dim: number of series D of each entry, whose ``target`` is ``[D, T]``; one-dimensional entries are
            brought to this form by GluonTS's ``MultivariateGrouper``.
        context_length: steps of history the network sees; chosen from frequency and horizon when not given.
        lags_seq: distances at which earlier values are shown and may be repeated; by frequency when not given.
        scaling: ``"standard"``, ``"last"``, ``"mean"``, ``"increments"`` or ``"none"``: what normalises each series of
            a window.
        distr_output: ``"multivariate_normal"``; ``"gaussian_copula"``, the same on normal scores by the empirical
            distribution of each series' normalised training values; or a ``GaussianCopulaOutput`` of learnt marginals.
        rank: of the correlations.
        loss: ``"nll"``, the negative log-likelihood, or ``"energy"``, the energy score.
        num_parallel_samples: paths drawn for each entry, unless ``predict`` is given another number.
        width, num_layers, state_size: size of the network: features, blocks, states of each block.
        layer: a key of ``ssm.LAYERS`` that has a step mode; layer_kwargs: its further arguments.
        activation, dropout: of each block.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates of an entry known over the horizon, and not.
        lr, ssm_lr, weight_decay, warmup, patience, batch_size, num_batches_per_epoch, max_epochs,
            predict_batch_size, trainer_kwargs, device: as in :class:`~s5forecast.S5Estimator`; a batch counts entries.
        seed: the same seed gives the same result on a CPU, paths included; ``None`` draws one.

    Raises:
        ValueError: for a name or a number that cannot be, listing the choices, or an output of another dimension.

    References:
        "High-Dimensional Multivariate Forecasting with Low-Rank Gaussian Copula Processes" (Salinas,
        Bohlke-Schneider, Callot, Medico, Gasthaus, 2019), for the output
    """

    @validated()
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
        width: int = 64,
        num_layers: int = 2,
        state_size: int = 64,
        layer: str = "s5",
        layer_kwargs: dict[str, Any] | None = None,
        activation: str = "half_glu2",
        dropout: float = 0.1,
        num_feat_dynamic_real: int = 0,
        num_past_feat_dynamic_real: int = 0,
        lr: float = 3e-3,
        ssm_lr: float = 1e-3,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        patience: int = 10,
        batch_size: int = 32,
        num_batches_per_epoch: int = 50,
        max_epochs: int = 20,
        predict_batch_size: int = 64,
        trainer_kwargs: dict[str, Any] | None = None,
        seed: int | None = 0,
        device: str = "auto",
    ) -> None:
        super().__init__(
            lr=lr, ssm_lr=ssm_lr, weight_decay=weight_decay, warmup=warmup, patience=patience,
            batch_size=batch_size, num_batches_per_epoch=num_batches_per_epoch,
            predict_batch_size=predict_batch_size, trainer_kwargs={"max_epochs": max_epochs, **(trainer_kwargs or {})},
            seed=seed, device=device,
        )  # fmt: skip
        frequency = Frequency.parse(freq)
        if context_length is None:
            context_length = default_context_length(frequency, prediction_length)
        lags_seq = default_lags(frequency) if lags_seq is None else lags_seq
        check_positive(
            prediction_length=prediction_length,
            target_dim=target_dim,
            context_length=context_length,
            lags_seq=min(lags_seq, default=0),
            rank=rank,
            num_parallel_samples=num_parallel_samples,
            width=width,
            num_layers=num_layers,
            state_size=state_size,
        )
        choose(SCALINGS, scaling, "scaling")
        choose(LAYERS, layer, "layer")
        choose(ACTIVATIONS, activation, "activation")
        choose(JOINT_LOSSES, loss, "loss")
        self.spec = WindowSpec(
            freq=frequency.alias,
            context_length=context_length,
            prediction_length=prediction_length,
            lags=lags_seq,
            scaling=scaling,
            num_feat_dynamic_real=num_feat_dynamic_real,
            num_past_feat_dynamic_real=num_past_feat_dynamic_real,
            recursive=True,
            target_dim=target_dim,
        )
        self.output = _joint_output(distr_output, target_dim, rank)
        self.network_kwargs = {
            "empirical": isinstance(distr_output, str) and choose(JOINT_OUTPUTS, distr_output, "distr_output"),
            "loss": loss,
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
            f"the marginal {type(distr_output.marginal).__name__} does not cover all real numbers, so that it cannot "
            "be shifted; choose another, or distr_output='gaussian_copula', whose marginals are those of the data"
        )
    return distr_output
