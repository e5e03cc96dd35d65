"""The direct network, whose decoder draws paths step by step."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from gluonts.core.component import validated
from gluonts.torch.distributions import Output
from torch import Tensor, nn

from s5forecast.data.windows import Batch, WindowSpec
from s5forecast.estimators.direct_network import DirectNetwork
from s5forecast.estimators.network import ForecastNetwork
from s5forecast.estimators.outputs import Prediction
from s5forecast.estimators.paths import SamplePaths
from s5forecast.estimators.walk import Place, draw_paths, draw_values
from s5forecast.nn import Encoder
from s5forecast.nn.stepper import make_stepper

CHAIN = 16  # features and states
LARGEST_ERROR = 10.0


class RecursiveDecoderNetwork(DirectNetwork):
    r"""A direct forecast that a small causal S5 layer, the chain, moves at each step by the errors before it.

    .. math:: a_t = P h_t + c + Q z_t, \qquad o'_t = o_t + g^T z_t\, e_{t-1}, \qquad
              z_t = \mathrm{S5}(U h_s + V e_{s-1})_{s \le t}, \qquad e_t = y_t - o_t

    with the features :math:`h_t` and offsets :math:`o_t` of the direct network, which sees no value of the horizon, and
    arguments :math:`a_t` of the output at the offset :math:`o'_t`. The chain is all that advances with each path.
    Before the first step, and where a value is missing, e is 0, and the chain sees that it is.

    Trained by the loss of each step given those before it, and by that of the direct forecast, from
    :math:`P h_t + c` at :math:`o_t`, which keeps paths from running off.
    """

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
        num_samples: int,
        seed: int | None,
    ) -> None:
        super().__init__(
            spec, output, cardinality, width, num_layers, layer, layer_kwargs, activation, dropout, patch_length
        )
        self.num_samples, self.seed = num_samples, seed
        self.chain_input = nn.Linear(width, CHAIN)
        self.error_input = nn.Linear(2, CHAIN, bias=False)
        self.chain = Encoder(CHAIN, 1, layer_kwargs={"state_size": CHAIN}, activation=activation)
        self.correction = nn.Linear(CHAIN, sum(self.head.sizes) + 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def loss(self, batch: Batch) -> Tensor:
        """Mean loss over the observed steps of the horizon, with the chain and without it, added."""
        h, offset = self._decoded(batch)
        predictions = (self._given_before(batch, h, offset), self._direct(batch, h, offset))
        return torch.stack([self._mean_loss(batch, prediction) for prediction in predictions]).sum()

    def one_step(self, batch: Batch) -> Prediction:
        """The distribution of each of the H steps of the horizon given the true values before it."""
        return self._given_before(batch, *self._decoded(batch))

    def _given_before(self, batch: Batch, h: Tensor, offset: Tensor) -> Prediction:
        horizon = slice(self.spec.context_length, None)
        mask = batch.mask[:, horizon]
        error = (batch.values[:, horizon] - offset).clamp(-LARGEST_ERROR, LARGEST_ERROR) * mask
        before = F.pad(torch.stack([error, mask], dim=-1), (0, 0, 1, -1))
        z, _ = self.chain(self.chain_input(h) + self.error_input(before))
        correction, share = self.correction(z).tensor_split([-1], dim=-1)
        moved = offset + share.squeeze(-1) * before[..., 0]
        return self._prediction(batch, self.head.projection(h) + correction, moved)

    @torch.inference_mode()
    def forward(self, batch: Batch, num_samples: int | None = None) -> SamplePaths:
        """Paths over the horizon, drawn anew for each batch: their seed is that of the estimator and its values."""
        return self._paths(batch, *self._decoded(batch), batch.past, num_samples)

    @torch.inference_mode()
    def ahead(
        self, horizon: Batch, centre: Tensor, states: tuple[Tensor, ...], past: Tensor, num_samples: int | None = None
    ) -> SamplePaths:
        """Paths over the ``horizon [B, H]`` from the states before it; ``past [B, R]`` are the values before it."""
        recent = past[:, past.shape[1] - self.spec.context_length :].nan_to_num(0.0)
        return self._paths(horizon, *self._decoded_from(horizon, states, past), recent, num_samples)

    def divided(self, substeps: int) -> ForecastNetwork:
        """Not offered: the chain counts steps."""
        return ForecastNetwork.divided(self, substeps)

    def _paths(self, batch: Batch, h: Tensor, offset: Tensor, past: Tensor, num_samples: int | None) -> SamplePaths:
        inputs = self.chain_input(h).transpose(0, 1).contiguous()
        projected = self.head.projection(h).permute(1, 2, 0).contiguous()
        walk = partial(self._walk, inputs, projected, offset.T.contiguous())
        number = self.num_samples if num_samples is None else num_samples
        return draw_paths(walk, batch, past, number, self.seed, self.counts)

    def _walk(self, inputs: Tensor, projected: Tensor, offsets: Tensor, place: Place, series: Tensor) -> Tensor:
        """One path of each of the R ``series``, float64 ``[H, R]``.

        Arguments:
            inputs, projected, offsets: of the chain ``[H, B, CHAIN]``, of the output ``[H, K, B]`` and ``[H, B]``.
        """
        state = self.chain.initial_state(inputs.shape[1])
        advance = make_stepper(self.chain, state, series, self.correction.weight, self.correction.bias)
        before = inputs.new_zeros(2, len(series))
        values = place.loc.new_empty(len(inputs), len(series))
        for step in range(len(inputs)):
            correction, share = advance(inputs[step], before, self.error_input.weight).tensor_split([-1])
            arguments = correction + projected[step].index_select(1, series)
            offset = offsets[step].index_select(0, series)
            moved = offset + share[0] * before[0]
            drawn, values[step] = draw_values(self.output, self.head, arguments, moved, place)
            before[0] = (drawn - offset).clamp(-LARGEST_ERROR, LARGEST_ERROR)
            before[1] = 1
        return values
