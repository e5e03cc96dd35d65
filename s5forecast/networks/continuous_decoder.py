"""Decoder of the continuous-time network: the features of any number of query times, each computed independently."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s5forecast.networks.prediction import Place
from s5forecast.nn import SeasonalSkip
from s5forecast.nn.block import SharedDropout
from s5forecast.nn.features import LARGEST_SCORE
from s5forecast.ssm import State, flatten_state

SMALLEST_WIDTH = 8


class Encoded(NamedTuple):
    """B encoded windows, at their last observations."""

    h: Tensor  # [B, width]
    states: tuple[State, ...]  # states of the layers
    anchors: Tensor  # [B, D, A] normalized, 0 where unknown
    anchor_mask: Tensor  # [B, D, A] 1 where the anchor is known
    recent: Tensor  # [B, D, 2 M] spread around the recent means, and their number of observations
    last_age: Tensor  # [B, D] time since the last value, in time units; NaN if a variable has no value
    place: Place  # location and scale of the windows, [B, 1, D]


class Positions(NamedTuple):
    """Indices of N values to decode out of ``[B, Q, D]``, sorted by variable."""

    window: Tensor  # [N]
    query: Tensor  # [N]
    variable: Tensor  # [N]
    counts: list[int]  # number of values of each variable

    @property
    def series(self) -> Tensor:
        """Index among the D variables of all B windows, ``[N]``."""
        return self.window * len(self.counts) + self.variable

    @classmethod
    def of(cls, mask: Tensor) -> Positions:
        """The positions where a bool ``mask [B, Q, D]`` is true."""
        variable, window, query = mask.permute(2, 0, 1).nonzero(as_tuple=True)
        return cls(window, query, variable, mask.sum((0, 1)).tolist())


class ContinuousDecoder(nn.Module):
    """Features of each value to forecast, and the convex combination of anchors that its output corrects.

    Args:
        width: features of the encoder.
        num_variables: variables of each series, D.
        state_sizes: numbers in the state of each layer of the encoder.
        num_query_features: input features of each query time.
        num_anchors: anchors of each variable, A: values that a forecast corrects.
        num_recent: features of the recent means of each variable.
        dropout: dropout probability in the residual branches.
    """

    def __init__(
        self,
        width: int,
        num_variables: int,
        state_sizes: list[int],
        num_query_features: int,
        num_anchors: int,
        num_recent: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.readouts = nn.ModuleList(nn.Linear(size, width, bias=False) for size in state_sizes)
        self.query_input = nn.Linear(num_query_features, width)
        self.mixer = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            SharedDropout(dropout),
            nn.Linear(2 * width, width),
        )
        self.width = width if num_variables == 1 else max(SMALLEST_WIDTH, width // 2)
        self.variables = nn.Linear(width, num_variables * self.width)
        self.variable_input = nn.Linear(2 * num_anchors + num_recent + 2, self.width)
        self.variable_mixer = nn.Sequential(
            nn.LayerNorm(self.width),
            nn.Linear(self.width, 2 * self.width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * self.width, self.width),
        )
        self.skip = SeasonalSkip(self.width, num_anchors)

    def forward(
        self, encoded: Encoded, states: tuple[State, ...], features: Tensor, elapsed: Tensor, positions: Positions
    ) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` of the values to decode, and the offsets that their outputs correct, ``[N]``.

        Args:
            encoded: B encoded windows.
            states: states of the layers at the query times, each ``[B, Q, ...]``.
            features: input features of the query times, ``[B, Q, F]``.
            elapsed: time from the last observations to the query times, ``[B, Q]`` in time units.
            positions: positions of the N values.
        """
        h = encoded.h.unsqueeze(1) + self.query_input(features)
        for readout, state in zip(self.readouts, states, strict=True):
            h = h + readout(torch.cat([x.flatten(2) for x in flatten_state(state)], dim=-1))
        h = h + self.mixer(h)
        anchors, mask, recent, last_age = (
            x.flatten(0, 1).index_select(0, positions.series)
            for x in (encoded.anchors, encoded.anchor_mask, encoded.recent, encoded.last_age)
        )
        at = positions.window * elapsed.shape[1] + positions.query
        age = torch.log1p(last_age + elapsed.flatten()[at]).nan_to_num(0.0)
        since = torch.stack([age, torch.exp(-age)], dim=-1)
        known = self.variable_input(torch.cat([clipped(anchors), mask, recent, since], dim=-1))
        each = nn.functional.gelu(self._each_variable(h.flatten(0, 1).index_select(0, at), positions.counts) + known)
        each = each + self.variable_mixer(each)
        return each, self.skip(each, anchors, mask)

    def _each_variable(self, h: Tensor, counts: list[int]) -> Tensor:
        """Project each row of ``h [N, width]``, sorted by variable, with the weights of its variable."""
        weights = self.variables.weight.unflatten(0, (-1, self.width))
        biases = self.variables.bias.unflatten(0, (-1, self.width))
        parts = zip(h.split(counts), weights, biases, strict=True)
        return torch.cat([nn.functional.linear(*part) for part in parts])


def clipped(x: Tensor) -> Tensor:
    """Input features as float32, clipped to ±``LARGEST_SCORE``."""
    return x.float().clamp(-LARGEST_SCORE, LARGEST_SCORE)
