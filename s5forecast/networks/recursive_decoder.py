"""Network that samples paths step by step around a direct forecast."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from gluonts.core.component import validated
from torch import Tensor, nn

from s5forecast.data.spec import WindowSpec
from s5forecast.distributions import Output
from s5forecast.networks.base import ForecastNetwork
from s5forecast.networks.direct import DirectNetwork
from s5forecast.networks.paths import draw_paths, draw_values, walk_paths
from s5forecast.networks.prediction import Place, Prediction, SamplePaths
from s5forecast.nn import Encoder
from s5forecast.nn.stepper import make_stepper
from s5forecast.windows.batches import TrainingWindows
from s5forecast.windows.history import SeriesHistory
from s5forecast.windows.regular import Batch

CHAIN = 16  # width and state size of the chain
# Bounds of the error as an input of the chain, and as a correction of the offset.
MAX_ERROR_INPUT, MAX_ERROR = 10.0, 1000.0


class RecursiveDecoderNetwork(ForecastNetwork):
    r"""A direct forecast that a small causal S5 layer, the chain, corrects at each step by the errors before it.

    .. math:: a_t = P h_t + c + Q z_t, \qquad o'_t = o_t + \tanh(g^T z_t)\, e_{t-1}, \qquad
              z_t = \mathrm{S5}(U h_s + V e_{s-1})_{s \le t}, \qquad e_t = y_t - o_t

    with features :math:`h_t` and offsets :math:`o_t` of the direct network, which sees no value of the horizon, and
    arguments :math:`a_t` of the output at the offset :math:`o'_t`. Only the chain is advanced for each path. The error
    e is 0 before the first step and at missing values, which are marked in the input of the chain. The error is
    clipped, more tightly as an input of the chain; tanh keeps its contribution to the next step smaller than itself.

    The chain determines the ranks of the paths at each step, which are dependent over the horizon. Their values are
    those of the direct forecast, from :math:`P h_t + c` at :math:`o_t`, in the order of these ranks (ensemble copula
    coupling, :func:`~s5forecast.networks.paths.reorder_by_rank`). This makes single steps more accurate, and paths
    cannot diverge.

    The training loss is the loss of each step given the steps before it plus the loss of the direct forecast.
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
        num_samples: int,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.spec, self.output = spec, output
        self.num_samples, self.seed = num_samples, seed
        self.direct = DirectNetwork(
            spec, output, cardinality, width, num_layers, layer, layer_kwargs, activation, dropout, patch_length
        )
        self.chain_input = nn.Linear(width, CHAIN)
        self.error_input = nn.Linear(2, CHAIN, bias=False)
        self.chain = Encoder(CHAIN, 1, layer_kwargs={"state_size": CHAIN}, activation=activation)
        self.correction = nn.Linear(CHAIN, sum(self.direct.head.sizes) + 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def fit_features(self, windows: TrainingWindows) -> None:
        self.direct.fit_features(windows)

    def fit_support(self, windows: TrainingWindows) -> None:
        self.direct.fit_support(windows)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the horizon of each step given the steps before it, plus that of the direct forecast."""
        h, offset = self.direct.decode(batch)
        one_step = self.direct.mean_loss(batch, self._given_before(batch, h, offset))
        return one_step + self.direct.mean_loss(batch, self.direct.prediction(batch, h, offset))

    def loss_weight(self, batch: Batch) -> Tensor:
        """Number of observed steps of the horizon."""
        return self.direct.loss_weight(batch)

    def one_step(self, batch: Batch) -> Prediction:
        """The distribution of each of the H steps of the horizon given the true values before it."""
        return self._given_before(batch, *self.direct.decode(batch))

    def _given_before(self, batch: Batch, h: Tensor, offset: Tensor) -> Prediction:
        horizon = slice(self.spec.context_length, None)
        mask = batch.mask[:, horizon]
        error = (batch.values[:, horizon] - offset).clamp(-MAX_ERROR, MAX_ERROR) * mask
        before = F.pad(torch.stack([error, mask], dim=-1), (0, 0, 1, -1))
        z, _ = self.chain(self.chain_input(h) + self.error_input(before.clamp(-MAX_ERROR_INPUT, MAX_ERROR_INPUT)))
        correction, share = self.correction(z).tensor_split([-1], dim=-1)
        moved = offset + share.squeeze(-1).tanh() * before[..., 0]
        return self.direct.prediction(batch, h, moved, correction)

    @torch.inference_mode()
    def forward(self, batch: Batch, num_samples: int | None = None) -> SamplePaths:
        """Sample paths over the horizon, determined by the seed of the estimator and the values of the batch."""
        h, offset = self.direct.decode(batch)
        return self._paths(batch, h, offset, batch.past, num_samples)

    def check_streams(self) -> None:
        """Raise ValueError unless the encoder is causal and takes single steps."""
        self.direct.check_streams()

    def update_state(
        self,
        steps: Batch,
        history: SeriesHistory,
        state: tuple[Tensor, ...] | None = None,
        step_mask: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """The state of the layers of the direct network; see :meth:`AutoregressiveNetwork.update_state`."""
        return self.direct.update_state(steps, history, state, step_mask)

    @torch.inference_mode()
    def predict_from_state(
        self, horizon: Batch, history: SeriesHistory, state: tuple[Tensor, ...], num_samples: int | None = None
    ) -> SamplePaths:
        """Sample paths over the ``horizon [B, H]`` from the state before it."""
        h, offset = self.direct.decode_from_state(horizon, history, state)
        recent = history.past[:, -self.spec.context_length :].nan_to_num(0.0)
        return self._paths(horizon, h, offset, recent, num_samples)

    def _paths(self, batch: Batch, h: Tensor, offset: Tensor, past: Tensor, num_samples: int | None) -> SamplePaths:
        inputs = self.chain_input(h).transpose(0, 1).contiguous()
        projected = self.direct.head.projection(h).permute(1, 2, 0).contiguous()
        draw_path = partial(self._draw_path, inputs, projected, offset.T.contiguous())
        place = Place(batch.loc, batch.scale, batch.level)
        marginals = self.direct.prediction(batch, h, offset)
        sample = partial(walk_paths, draw_path, place, len(inputs), marginals=marginals)
        number = self.num_samples if num_samples is None else num_samples
        features = (batch.static_real, batch.static_cat, batch.covariates, batch.lags)
        counts = (self.direct.counts & batch.counts)[..., None]
        return draw_paths(sample, past, number, seed=self.seed, counts=counts, features=features)

    def _draw_path(self, inputs: Tensor, projected: Tensor, offsets: Tensor, place: Place, series: Tensor) -> Tensor:
        """One path of each of the R ``series``, float64 ``[H, R]``.

        Args:
            inputs: inputs of the chain, ``[H, B, CHAIN]``.
            projected: arguments of the output before their domain map, ``[H, K, B]``.
            offsets: offsets of the direct forecast, ``[H, B]``.
            place: location, scale and level of the windows.
            series: series of each path, ``[R]``.
        """
        state = self.chain.initial_state(inputs.shape[1])
        advance = make_stepper(self.chain, state, series, self.correction.weight, self.correction.bias)
        before = inputs.new_zeros(2, len(series))
        values = place.loc.new_empty(len(inputs), len(series))
        for step in range(len(inputs)):
            seen = before.clamp(-MAX_ERROR_INPUT, MAX_ERROR_INPUT)
            correction, share = advance(inputs[step], seen, self.error_input.weight).tensor_split([-1])
            arguments = correction + projected[step].index_select(1, series)
            offset = offsets[step].index_select(0, series)
            moved = offset + share[0].tanh() * before[0]
            drawn, values[step] = draw_values(self.output, self.direct.head, arguments, moved, place)
            before[0] = (drawn - offset).clamp(-MAX_ERROR, MAX_ERROR)
            before[1] = 1
        return values
