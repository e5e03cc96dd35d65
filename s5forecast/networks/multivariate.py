"""Network of the multivariate estimator: trained in parallel by teacher forcing, sampled jointly step by step."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from gluonts.core.component import validated
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.data.spec import WindowSpec
from s5forecast.distributions.joint import JOINT_LOSSES, JointOutput
from s5forecast.networks.base import ForecastNetwork
from s5forecast.networks.paths import draw_paths
from s5forecast.networks.prediction import SamplePaths
from s5forecast.nn import Encoder, FeatureInputs, Gaussianization, JointHead
from s5forecast.ssm import State, map_state
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.calendar import num_calendar_features
from s5forecast.windows.regular import Batch

JOINT_FITTING_WINDOWS = 256
# Maximum number of values that advance together, series times paths.
VALUES = 2**18


class Windows(NamedTuple):
    """B windows of D series over T = L + H steps."""

    values: Tensor  # [B, T, D], normalized, or normal scores for empirical marginals; 0 where not observed
    mask: Tensor  # [B, T, D]
    lags: Tensor  # [B, T, D, K], normalized in the same way
    lag_mask: Tensor  # [B, T, D, K]
    shared: Tensor  # [B, T, F] calendar and covariates
    loc: Tensor  # [B, D] float64
    scale: Tensor  # [B, D] float64


class OneStep(NamedTuple):
    """The joint distribution of the D values of each step, given the steps before it."""

    offset: Tensor  # [..., D], added to the values of the output
    args: tuple[Tensor, ...]  # arguments of the output


class MultivariateNetwork(FeatureInputs, ForecastNetwork):
    """Causal encoder over all D series at once, and a joint distribution of their values at each step.

    The inputs of each step are the normalized values of all series at the lags, whether they were observed, the
    calendar and covariates. The head corrects, for each series, a convex combination of its lagged values. With
    ``empirical`` marginals, values are replaced by their normal scores.

    The training loss covers the horizon only, because location and scale of a window depend on its context.
    """

    counts: Tensor

    @validated()
    def __init__(
        self,
        spec: WindowSpec,
        output: JointOutput,
        empirical: bool,
        loss: str,
        width: int,
        num_layers: int,
        layer: list[str] | str,
        layer_kwargs: list[dict[str, Any]] | dict[str, Any],
        activation: str,
        dropout: float,
        num_samples: int,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.spec, self.output = spec, output
        self.criterion = choose(JOINT_LOSSES, loss, "loss")
        self.num_samples, self.seed = num_samples, seed
        covariates = self.add_features(spec.features.num_covariates)
        self.marginals = Gaussianization(spec.dim) if empirical else None
        self.register_buffer("counts", torch.zeros(spec.dim, dtype=torch.bool))
        inputs = 2 * spec.dim * len(spec.lags) + num_calendar_features(spec.frequency) + covariates
        self.input = nn.Linear(inputs, width)
        self.encoder = Encoder(
            width, num_layers, layer=layer, layer_kwargs=layer_kwargs, activation=activation, dropout=dropout
        )
        self.encoder.require("supports_step")
        self.head = JointHead(width, len(spec.lags), output)

    def check_streams(self) -> None:
        """Raise ValueError, because the series share one state and would have to be observed together."""
        raise ValueError(
            "series that are forecast jointly have one common state, which a step of one series cannot update; use "
            "S5AutoregressiveEstimator or model='autoregressive' with recursion='encoder', which keep a state for "
            "each series"
        )

    @torch.no_grad()
    def fit_features(self, windows: TrainingWindows) -> None:
        """Take location and scale of covariates, and the empirical marginals, from training windows."""
        batch = windows.draw(JOINT_FITTING_WINDOWS)
        self.fit_covariates(batch.covariates)
        if self.marginals is not None:
            self.marginals.fit(self._side_by_side(batch.values), self._side_by_side(batch.mask))

    @torch.no_grad()
    def fit_support(self, windows: TrainingWindows) -> None:
        """Record which series are counts."""
        self.counts.copy_(windows.store.counts.view(-1, self.spec.dim).all(0))

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the observed values of the horizon, given the true values before them."""
        windows = self.windows(batch)
        horizon = slice(self.spec.context_length, None)
        values, mask = windows.values[:, horizon], windows.mask[:, horizon]
        step = self.one_step(windows, horizon)
        loss = self.criterion(self.output, values - step.offset, mask, step.args)
        return (loss * mask.any(-1)).sum() / self.loss_weight(batch).clamp(min=1)

    def loss_weight(self, batch: Batch) -> Tensor:
        """Number of observed values of the horizon."""
        return batch.mask[:, self.spec.context_length :].sum()

    def one_step(self, windows: Windows, steps: slice = slice(None)) -> OneStep:
        """The distribution of each of the ``steps`` given the true values before it."""
        h, _ = self.encoder(self._inputs(windows.lags, windows.lag_mask, windows.shared))
        return self._step(h[:, steps], windows.lags[:, steps], windows.lag_mask[:, steps])

    @torch.inference_mode()
    def forward(self, batch: Batch, num_samples: int | None = None) -> SamplePaths:
        """Sample paths over the horizon, determined by the seed of the estimator and the values of the batch."""
        number = self.num_samples if num_samples is None else num_samples
        counts = (self.counts & batch.counts.view(-1, self.spec.dim))[:, None, None]
        sample = partial(self._sample, self.windows(batch))
        past = batch.past.reshape(len(counts), -1)
        return draw_paths(sample, past, number, seed=self.seed, counts=counts)

    def windows(self, batch: Batch) -> Windows:
        """A batch with the series of each window in one dimension."""
        values, mask, lags, lag_mask = map(self._side_by_side, (batch.values, batch.mask, batch.lags, batch.lag_mask))
        if self.marginals is not None:
            values, lags = self.marginals(values) * mask, self._lag_scores(lags) * lag_mask
        shared = self.step_inputs([], batch.calendar, batch.covariates)
        loc, scale = (x.view(-1, self.spec.dim) for x in (batch.loc, batch.scale))
        return Windows(values, mask, lags, lag_mask, shared, loc, scale)

    def _side_by_side(self, x: Tensor) -> Tensor:
        """``[B * D, T, ...]`` to ``[B, T, D, ...]``."""
        return x.unflatten(0, (-1, self.spec.dim)).transpose(1, 2)

    def _lag_scores(self, lags: Tensor) -> Tensor:
        assert self.marginals is not None
        return self.marginals(lags.transpose(-1, -2)).transpose(-1, -2)

    def _sample(self, windows: Windows, order: Tensor, num_samples: int) -> np.ndarray:
        """``[B, S, H, D]`` float64, of the windows in the given ``order [B]``."""
        L, H = self.spec.context_length, self.spec.prediction_length
        steps = torch.arange(-L, H, device=windows.lags.device).unsqueeze(-1)
        # Lags within the horizon count as observed, and paths fill in their sampled values.
        drawn = (steps >= torch.tensor(self.spec.lags, device=steps.device)).unsqueeze(1)
        windows = windows._replace(
            lags=windows.lags.masked_fill(drawn, 0.0), lag_mask=windows.lag_mask.masked_fill(drawn, 1.0)
        )
        _, state = self.encoder(self._inputs(*(x[:, :L] for x in (windows.lags, windows.lag_mask, windows.shared))))
        rows = order.repeat_interleave(num_samples)
        paths = [self._draw_path(windows, state, part) for part in rows.split(max(1, VALUES // self.spec.dim))]
        return torch.cat(paths).view(len(order), num_samples, H, self.spec.dim).cpu().numpy()

    def _draw_path(self, windows: Windows, state: tuple[State, ...], rows: Tensor) -> Tensor:
        """One path from each of the R windows ``rows``, float64 ``[R, H, D]``."""
        L, H = self.spec.context_length, self.spec.prediction_length
        state = map_state(lambda x: x.index_select(0, rows), state)
        path = windows.values.new_empty(len(rows), H, self.spec.dim)
        for step in range(H):
            lags, lag_mask, shared = (
                x[:, L + step].index_select(0, rows) for x in (windows.lags, windows.lag_mask, windows.shared)
            )
            for k, lag in enumerate(self.spec.lags):
                if lag <= step:
                    lags[..., k] = path[:, step - lag]
            h, state = self.encoder.step(self._inputs(lags, lag_mask, shared), state)
            offset, args = self._step(h, lags, lag_mask)
            path[:, step] = offset + self.output.draw(args)
        values = path.double() if self.marginals is None else self.marginals.inverse(path)
        return windows.loc[rows].unsqueeze(1) + windows.scale[rows].unsqueeze(1) * values

    def _step(self, h: Tensor, lags: Tensor, lag_mask: Tensor) -> OneStep:
        logits, args = self.head(h)
        return OneStep(self.head.mix(logits, lags, lag_mask), args)

    def _inputs(self, lags: Tensor, lag_mask: Tensor, shared: Tensor) -> Tensor:
        """``[..., width]``."""
        return self.input(torch.cat([lags.flatten(-2), lag_mask.flatten(-2), shared], dim=-1))
