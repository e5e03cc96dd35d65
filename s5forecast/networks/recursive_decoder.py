"""A direct forecast, from which paths are drawn step by step."""

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
from s5forecast.windows.regular import Batch

CHAIN = 16  # features and states
# Bounds of an error: of what the chain sees of it, and of what moves the offset.
SEEN, LARGEST = 10.0, 1000.0


class RecursiveDecoderNetwork(ForecastNetwork):
    r"""A direct forecast that a small causal S5 layer, the chain, moves at each step by the errors before it.

    .. math:: a_t = P h_t + c + Q z_t, \qquad o'_t = o_t + \tanh(g^T z_t)\, e_{t-1}, \qquad
              z_t = \mathrm{S5}(U h_s + V e_{s-1})_{s \le t}, \qquad e_t = y_t - o_t

    with the features :math:`h_t` and offsets :math:`o_t` of the direct network, which sees no value of the horizon, and
    arguments :math:`a_t` of the output at the offset :math:`o'_t`. The chain is all that advances with each path.
    Before the first step, and where a value is missing, e is 0, and the chain sees that it is. It is bounded, for the
    chain more closely; tanh keeps what it adds to the next step below itself.

    What the chain gives are the ranks of the paths at each step, which hang together over the horizon. Their values are
    those of the direct forecast, from :math:`P h_t + c` at :math:`o_t`, in the order of these ranks
    (:func:`~s5forecast.networks.paths.reorder_by_rank`): it knows each step by itself better, and cannot run off.

    Trained by the loss of each step given those before it, and by that of the direct forecast.
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
        """Mean loss of the horizon, of each step given those before and of all at once."""
        h, offset = self.direct.decode(batch)
        one_step = self.direct.mean_loss(batch, self._given_before(batch, h, offset))
        return one_step + self.direct.mean_loss(batch, self.direct.prediction(batch, h, offset))

    def one_step(self, batch: Batch) -> Prediction:
        """The distribution of each of the H steps of the horizon given the true values before it."""
        return self._given_before(batch, *self.direct.decode(batch))

    def _given_before(self, batch: Batch, h: Tensor, offset: Tensor) -> Prediction:
        horizon = slice(self.spec.context_length, None)
        mask = batch.mask[:, horizon]
        error = (batch.values[:, horizon] - offset).clamp(-LARGEST, LARGEST) * mask
        before = F.pad(torch.stack([error, mask], dim=-1), (0, 0, 1, -1))
        z, _ = self.chain(self.chain_input(h) + self.error_input(before.clamp(-SEEN, SEEN)))
        correction, share = self.correction(z).tensor_split([-1], dim=-1)
        moved = offset + share.squeeze(-1).tanh() * before[..., 0]
        return self.direct.prediction(batch, h, moved, correction)

    @torch.inference_mode()
    def forward(self, batch: Batch, num_samples: int | None = None) -> SamplePaths:
        """Paths over the horizon, drawn anew for each batch: their seed is that of the estimator and its values."""
        h, offset = self.direct.decode(batch)
        return self._paths(batch, h, offset, batch.past, num_samples)

    def check_streams(self) -> None:
        """Raise ValueError unless the encoder is causal and sees each step as it comes."""
        self.direct.check_streams()

    def observe(
        self, steps: Batch, centre: Tensor, states: tuple[Tensor, ...] | None = None, there: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """As :meth:`DirectNetwork.observe`."""
        return self.direct.observe(steps, centre, states, there)

    @torch.inference_mode()
    def ahead(
        self, horizon: Batch, centre: Tensor, states: tuple[Tensor, ...], past: Tensor, num_samples: int | None = None
    ) -> SamplePaths:
        """Paths over the ``horizon [B, H]`` from the states before it; ``past [B, R]`` are the values before it."""
        h, offset = self.direct.decode_from(horizon, states, past)
        recent = past[:, past.shape[1] - self.spec.context_length :].nan_to_num(0.0)
        return self._paths(horizon, h, offset, recent, num_samples)

    def _paths(self, batch: Batch, h: Tensor, offset: Tensor, past: Tensor, num_samples: int | None) -> SamplePaths:
        inputs = self.chain_input(h).transpose(0, 1).contiguous()
        projected = self.direct.head.projection(h).permute(1, 2, 0).contiguous()
        walk = partial(self._walk, inputs, projected, offset.T.contiguous())
        place = Place(batch.loc, batch.scale, batch.level)
        marginals = self.direct.prediction(batch, h, offset)
        sample = partial(walk_paths, walk, place, len(inputs), marginals=marginals)
        number = self.num_samples if num_samples is None else num_samples
        return draw_paths(sample, past, number, seed=self.seed, counts=(self.direct.counts & batch.counts)[..., None])

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
            seen = before.clamp(-SEEN, SEEN)
            correction, share = advance(inputs[step], seen, self.error_input.weight).tensor_split([-1])
            arguments = correction + projected[step].index_select(1, series)
            offset = offsets[step].index_select(0, series)
            moved = offset + share[0].tanh() * before[0]
            drawn, values[step] = draw_values(self.output, self.direct.head, arguments, moved, place)
            before[0] = (drawn - offset).clamp(-LARGEST, LARGEST)
            before[1] = 1
        return values
