"""Any number of later times from what is known at the last observation, each on its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s5forecast.networks.prediction import Place
from s5forecast.nn import SeasonalSkip
from s5forecast.nn.block import SharedDropout
from s5forecast.ssm import State, flatten_state

LIMIT = 10.0
SMALLEST_WIDTH = 8


class Encoded(NamedTuple):
    """What is known of B windows at their last observations."""

    h: Tensor  # [B, width]
    states: tuple[State, ...]  # of the layers
    anchors: Tensor  # [B, D, A] normalised, 0 where not known
    anchor_mask: Tensor  # [B, D, A]
    recent: Tensor  # [B, D, 2 M] spread about the recent means, and how many observations they rest on
    last_age: Tensor  # [B, D] in time units; NaN where a variable was never seen
    place: Place  # of the windows, [B, 1, D]


class Positions(NamedTuple):
    """Where N values are among those asked for, ``[B, Q, D]``, in the order of the variables."""

    window: Tensor  # [N]
    query: Tensor  # [N]
    variable: Tensor  # [N]
    counts: list[int]  # of each variable

    @property
    def series(self) -> Tensor:
        """``[N]``, among the D variables of all B windows."""
        return self.window * len(self.counts) + self.variable

    @classmethod
    def of(cls, asked: Tensor) -> Positions:
        """Where ``asked [B, Q, D]``, bool, is true."""
        variable, window, query = asked.permute(2, 0, 1).nonzero(as_tuple=True)
        return cls(window, query, variable, asked.sum((0, 1)).tolist())


class ContinuousDecoder(nn.Module):
    """Features of each value asked for, and the convex combination of anchors that its output corrects.

    Args:
        width: features of the encoder.
        num_variables: D.
        state_sizes: numbers in the state of each of its layers.
        num_query_features: what is known of a time asked for.
        num_anchors: values a forecast is a correction of, A.
        num_recent: what is known of the recent means of a variable.
        dropout: of its residual maps.
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
        self, encoded: Encoded, states: tuple[State, ...], features: Tensor, elapsed: Tensor, asked: Positions
    ) -> tuple[Tensor, Tensor]:
        """Features ``[N, width]`` of the values asked for, and what their outputs correct, ``[N]``.

        Args:
            encoded: what is known of B windows.
            states: of the layers at the times asked for, each ``[B, Q, ...]``.
            features: of these times, ``[B, Q, F]``.
            elapsed: ``[B, Q]``, from the last observations to them, in time units.
            asked: the values.
        """
        h = encoded.h.unsqueeze(1) + self.query_input(features)
        for readout, state in zip(self.readouts, states, strict=True):
            h = h + readout(torch.cat([x.flatten(2) for x in flatten_state(state)], dim=-1))
        h = h + self.mixer(h)
        anchors, mask, recent, last_age = (
            x.flatten(0, 1).index_select(0, asked.series)
            for x in (encoded.anchors, encoded.anchor_mask, encoded.recent, encoded.last_age)
        )
        at = asked.window * elapsed.shape[1] + asked.query
        age = torch.log1p(last_age + elapsed.flatten()[at]).nan_to_num(0.0)
        since = torch.stack([age, torch.exp(-age)], dim=-1)
        known = self.variable_input(torch.cat([limited(anchors), mask, recent, since], dim=-1))
        each = nn.functional.gelu(self._each_variable(h.flatten(0, 1).index_select(0, at), asked.counts) + known)
        each = each + self.variable_mixer(each)
        return each, self.skip(each, anchors, mask)

    def _each_variable(self, h: Tensor, counts: list[int]) -> Tensor:
        """A projection for each variable, to rows of ``h [N, width]`` in the order of the variables."""
        weights = self.variables.weight.unflatten(0, (-1, self.width))
        biases = self.variables.bias.unflatten(0, (-1, self.width))
        parts = zip(h.split(counts), weights, biases, strict=True)
        return torch.cat([nn.functional.linear(*part) for part in parts])


def limited(x: Tensor) -> Tensor:
    """Without the far ends, which nothing is learnt from."""
    return x.float().clamp(-LIMIT, LIMIT)
