"""The Mega layer: gated attention with a single head, of a moving average of the inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from s5forecast.choices import choose
from s5forecast.ops import fuses, gated_attention, is_short
from s5forecast.ssm.attention import ATTENTIONS, BIASES, hidden_score
from s5forecast.ssm.base import StateSpaceLayer
from s5forecast.ssm.ema import DampedEMA


class Mega(StateSpaceLayer):
    r"""Moving average equipped gated attention, without norm and feed-forward network, which are those of the block.

    .. math:: m = \mathrm{silu}(\mathrm{EMA}(u)), \quad q, k = \text{affine maps of } \mathrm{silu}(W_z m), \quad
        o_t = \sum_s f(q_t^\top k_s + b_{s - t})\,v_s, \quad v = \mathrm{silu}(W_v u)

    .. math:: y = \varphi \odot \mathrm{silu}(W_h m + U (r \odot o)) + (1 - \varphi) \odot u

    with gates :math:`\varphi = \sigma(W_\varphi m)` and :math:`r = \mathrm{silu}(W_r m)`. Within a chunk of
    ``chunk_size`` steps, queries see the keys of the same chunk (Mega-chunk); the moving average runs over all steps.
    Products :math:`q^\top k` are divided by :math:`\sqrt z` for softmax, and by the number of visible keys otherwise.

    The state consists of the averages ``[B, H, N]``, the keys and values of the present chunk ``[B, S, z + v]`` and
    their number ``[B]``.

    **Irregular steps** are an extension of this package. The averages decay by the length of a step; attention knows
    the order of the steps, but not their length. Steps with ``dt = 0`` are padding: they are not counted as positions,
    and their keys are not seen.

    Args:
        width: number of inputs and outputs, H.
        ema_size: number of moving averages of each channel, N.
        key_size: size of queries and keys, z, even; H / 2, rounded up to an even number, if not given.
        value_size: size of values, v; 2 H if not given.
        attention: f, a key of ``ATTENTIONS``: ``"softmax"``, ``"laplace"`` or ``"relu2"``.
        bias: b, a key of ``BIASES``: ``"simple"`` or ``"rotary"``.
        chunk_size: steps of a chunk; None for attention to all steps, at quadratic cost.
        max_positions: largest number of steps without chunks.
        bidirectional: whether averages and attention include later inputs.

    Raises:
        ValueError: for an unknown name, or an odd ``key_size``.

    References:
        "Mega: Moving Average Equipped Gated Attention" (Ma, Zhou, Kong, He, Gui, Neubig, May, Zettlemoyer, 2022)
    """

    generic_arguments: ClassVar[frozenset[str]] = frozenset({"bidirectional"})

    def __init__(
        self,
        width: int,
        *,
        ema_size: int = 16,
        key_size: int | None = None,
        value_size: int | None = None,
        attention: str = "softmax",
        bias: str = "simple",
        chunk_size: int | None = 128,
        max_positions: int = 1024,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        z = (width + 3) // 4 * 2 if key_size is None else key_size
        v = 2 * width if value_size is None else value_size
        if z % 2:
            raise ValueError(f"key_size={z} must be even")
        self.width, self.key_size, self.value_size = width, z, v
        self.bidirectional, self.chunk_size = bidirectional, chunk_size
        self.span = max_positions if chunk_size is None else chunk_size
        self.attention, self.attention_name = choose(ATTENTIONS, attention, "attention"), attention
        self.average = DampedEMA(width, ema_size, bidirectional)
        self.values = nn.Linear(width, v)
        self.mixed = nn.Linear(width, z + v + 2 * width)  # gate, queries and keys, gate of the values, candidate
        self.attended = nn.Linear(v, width, bias=False)
        self.scale, self.shift = (nn.Parameter(torch.empty(2, z)) for _ in range(2))  # of queries and of keys
        self.bias = choose(BIASES, bias, "bias")(self.span, z)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        for linear in (self.values, self.mixed, self.attended):
            linear.weight.normal_(std=0.02)
        self.values.bias.zero_()
        self.mixed.bias.zero_()
        self.scale.normal_(std=0.02)
        self.shift.zero_()
        self.average.reset_parameters()
        self.bias.reset_parameters()

    @property
    def supports_step(self) -> bool:
        return not self.bidirectional

    @property
    def limits(self) -> Mapping[str, str]:  # type: ignore[override]
        step = {"supports_step": "it is bidirectional"} if self.bidirectional else {}
        return {**step, "supports_advance": "attention has no closed form over time"}

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        new = self.scale.new_zeros
        size = self.key_size + self.value_size
        kept = 0 if self.bidirectional else self.span
        count = new(batch_size, dtype=torch.int64)
        return new(batch_size, self.width, self.average.size), new(batch_size, kept, size), count

    def dynamics_parameters(self) -> Iterator[nn.Parameter]:
        """None: all parameters are trained alike."""
        yield from ()

    def forward(
        self, u: Tensor, state: Any = None, dt: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        if dt is None and (self.bidirectional or state is None) and self._fuses(u):
            return self._fused(u, state)
        gate, candidate, state = self.gate_and_candidate(u, state, dt)
        return torch.addcmul(u, gate, candidate - u), state

    def _fuses(self, u: Tensor) -> bool:
        return u.numel() > 0 and not is_short(u) and fuses("auto", u, *self.parameters())

    def _fused(self, u: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """As :meth:`forward`, for a sequence whose first step begins a chunk."""
        averages, cache, count = self.initial_state(len(u)) if state is None else state
        averaged, averages = self.average(u, averages)
        length = u.shape[1]
        size = min(self.chunk_size or length, length)
        if self.chunk_size is None:
            self._check_positions(count + length)
        y = gated_attention(
            averaged, u, self.mixed.weight, self.mixed.bias, self.values.weight, self.values.bias,
            self.attended.weight, self.scale, self.shift, self.bias(torch.arange(size - 1, -size, -1, device=u.device)),
            kind=self.attention_name, causal=not self.bidirectional,
        )  # fmt: skip
        if not self.bidirectional:
            first = 0 if self.chunk_size is None else length // self.chunk_size * self.chunk_size
            cache, count = self._remember_first(*self._keys_and_values(averaged[:, first:], u[:, first:]), count)
        return y, (averages, cache, count)

    def step(self, u: Tensor, state: Any, dt: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        if self.bidirectional:
            raise ValueError("a bidirectional Mega layer has no step mode; build it with bidirectional=False")
        y, state = self(u[:, None], state, None if dt is None else dt[:, None])
        return y[:, 0], state

    def gate_and_candidate(
        self, u: Tensor, state: Any = None, dt: Tensor | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """The gate phi and the candidate ``[B, T, H]`` that it mixes with the input, and the state."""
        averages, cache, count = self.initial_state(len(u)) if state is None else state
        averaged, averages = self.average(u, averages, dt)
        gate, shared, reset, direct = self._mix(F.silu(averaged))
        factor = 1.0 if self.attention.by_count else 1 / math.sqrt(self.key_size)
        query = torch.addcmul(self.shift[0] * factor, shared, self.scale[0] * factor)
        key, value = torch.addcmul(self.shift[1], shared, self.scale[1]), F.silu(self.values(u))
        observed = torch.ones_like(u[..., 0], dtype=torch.bool) if dt is None else dt > 0
        if self.chunk_size is None:
            self._check_positions(count + observed.sum(1))
        if dt is None and (self.bidirectional or state is None):
            attended = self._attend_within_chunks(query, key, value)
        else:
            entries = torch.cat([key, value], dim=-1)  # [B, T, z + v]
            attended = self._attend_by_position(query, entries, observed, cache, count)
        if dt is None and state is None and not self.bidirectional:
            cache, count = self._remember_first(key, value, count)
        elif not self.bidirectional:
            cache, count = self._remember(entries, observed, cache, count)
        candidate = F.silu(direct + self.attended(attended * reset))
        return torch.sigmoid(gate), candidate, (averages, cache, count)

    def _keys_and_values(self, averaged: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        own = slice(self.width, self.width + self.key_size)
        shared = F.silu(F.linear(F.silu(averaged), self.mixed.weight[own], self.mixed.bias[own]))
        return torch.addcmul(self.shift[1], shared, self.scale[1]), F.silu(self.values(u))

    def _mix(self, averaged: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of the gate, input of queries and keys, gate of the values, and the candidate without attention."""
        sizes = self.width, self.key_size, self.value_size, self.width
        parts = zip(self.mixed.weight.split(sizes), self.mixed.bias.split(sizes), strict=True)
        gate, shared, reset, direct = (F.linear(averaged, weight, bias) for weight, bias in parts)
        return gate, F.silu(shared), F.silu(reset), direct

    def _attend_within_chunks(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Values ``[B, T, v]`` seen by each query in chunks that begin with the sequence."""
        batch, length = query.shape[:2]
        if length == 0:
            return value
        chunk = min(self.chunk_size or length, length)
        distance = _distances(chunk, query.device)
        visible = self._in_reach(distance)
        if self.bidirectional and length % chunk:  # not the padding of the last chunk
            visible = visible & _in_chunks(torch.ones_like(query[..., :1], dtype=torch.bool), chunk).mT
        query, key, value = (_in_chunks(x, chunk) for x in (query, key, value))
        found = self._attend(query, key, value, distance, visible)
        return found.reshape(batch, -(-length // chunk) * chunk, self.value_size)[:, :length]

    def _attend_by_position(
        self, query: Tensor, entries: Tensor, observed: Tensor, cache: Tensor, count: Tensor
    ) -> Tensor:
        """Values ``[B, T, v]`` seen by each query in chunks of observed steps, the first of which are in the cache."""
        length, kept = query.shape[1], cache.shape[1]
        position = count.unsqueeze(1) + observed.cumsum(1) - 1  # [B, T]
        together = torch.cat([cache, entries], dim=1)
        if self.chunk_size is None or length <= self.chunk_size:
            slots = torch.arange(kept, device=query.device).expand(len(query), -1)
            positions = torch.cat([slots, position], dim=1)
            known = torch.cat([slots < count.unsqueeze(1), observed], dim=1)
            distance = positions.unsqueeze(1) - position.unsqueeze(2)  # [B, T, S + T]
            visible = self._in_reach(distance) & known.unsqueeze(1)
            if self.chunk_size is not None:
                chunks = positions // self.chunk_size, position // self.chunk_size
                visible = visible & (chunks[0].unsqueeze(1) == chunks[1].unsqueeze(2))
            return self._attend(query, *self._key_and_value(together), distance=distance, visible=visible)
        # Queries and entries by position, in whole chunks: no chunk sees another.
        size = self.chunk_size
        slots = torch.arange(-(-(length + kept) // size) * size, device=query.device).expand(len(query), -1)
        source = self._sources(slots, observed, count, kept)
        queries = torch.cat([query.new_zeros(len(query), kept, self.key_size), query], dim=1)
        aligned, own = (
            _in_chunks(x.gather(1, source.unsqueeze(-1).expand(-1, -1, x.shape[-1])), size) for x in (together, queries)
        )
        known = _in_chunks((slots < (count + observed.sum(1)).unsqueeze(1)).unsqueeze(-1), size)
        distance = _distances(size, query.device)
        visible = self._in_reach(distance) & known.mT
        found = self._attend(own, *self._key_and_value(aligned), distance=distance, visible=visible)
        found = found.reshape(*slots.shape, self.value_size)
        return found.gather(1, position.clamp(min=0).unsqueeze(-1).expand(-1, -1, self.value_size))

    def _in_reach(self, distance: Tensor) -> Tensor:
        """Whether keys at these distances may be seen."""
        return torch.ones_like(distance, dtype=torch.bool) if self.bidirectional else distance <= 0

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, distance: Tensor, visible: Tensor) -> Tensor:
        """Values seen by queries ``[C, Q, z]`` among keys ``[C, K, z]``; ``visible`` is ``[Q, K]`` or ``[C, Q, K]``."""
        if self.attention.by_count:
            query = query / visible.sum(-1, keepdim=True).clamp(min=1)
        bias = self.bias(distance).masked_fill(~visible, hidden_score(query))
        return self.attention.weights(torch.baddbmm(bias, query, key.mT)) @ value

    def _key_and_value(self, entries: Tensor) -> tuple[Tensor, Tensor]:
        key, value = entries.split([self.key_size, self.value_size], dim=-1)
        return key, value

    def _remember(self, entries: Tensor, observed: Tensor, cache: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """The entries of the chunk that the next step belongs to, and their number."""
        total = count + observed.sum(1)
        first = torch.zeros_like(total) if self.chunk_size is None else total // self.chunk_size * self.chunk_size
        slots = first.unsqueeze(1) + torch.arange(self.span, device=total.device)
        source = self._sources(slots, observed, count, self.span).unsqueeze(-1)
        together = torch.cat([cache, entries], dim=1)
        found = together.gather(1, source.expand(-1, -1, together.shape[-1]))
        known = (slots < total.unsqueeze(1)).unsqueeze(-1)
        return torch.where(known, found, 0.0), total - first

    def _remember_first(self, key: Tensor, value: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`_remember`, if the sequence begins with these steps and all of them are observed."""
        length = key.shape[1]
        first = 0 if self.chunk_size is None else length // self.chunk_size * self.chunk_size
        last = torch.cat([key[:, first:], value[:, first:]], dim=-1)
        return F.pad(last, (0, 0, 0, self.span - length + first)), count + (length - first)

    def _sources(self, slots: Tensor, observed: Tensor, count: Tensor, kept: int) -> Tensor:
        """Index, among ``kept`` cached entries and T new ones, of the step at each position ``[B, K]``."""
        count = count.unsqueeze(1)
        new = torch.searchsorted(observed.cumsum(1), (slots - count + 1).contiguous())
        return torch.where(slots < count, slots, kept + new).clamp(max=max(kept + observed.shape[1] - 1, 0))

    def _check_positions(self, total: Tensor) -> None:
        if torch.compiler.is_compiling() or total.device.type == "meta":
            return
        if len(total) and int(total.max()) > self.span:
            raise ValueError(
                f"this Mega layer sees at most max_positions={self.span} steps, got {int(total.max())}; set chunk_size "
                "or a larger max_positions in layer_kwargs"
            )

    def extra_repr(self) -> str:
        return f"width={self.width}, chunk_size={self.chunk_size}, bidirectional={self.bidirectional}"


def _in_chunks(x: Tensor, size: int) -> Tensor:
    """``[B, T, F]`` to ``[B K, size, F]``, padded by zeros."""
    missing = -x.shape[1] % size
    x = F.pad(x, (0, 0, 0, missing)) if missing else x
    return x.reshape(len(x) * (x.shape[1] // size), size, x.shape[2])


def _distances(size: int, device: torch.device) -> Tensor:
    position = torch.arange(size, device=device)
    return position - position.unsqueeze(1)
