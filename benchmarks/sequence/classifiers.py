"""Sequence classifiers: encoders of state-space layers, and recurrent and attention networks for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from s5forecast.nn import Encoder
from s5forecast.ssm import layer_arguments

HEADS = 4
WIDTH_STEP = 4  # widths are multiples of it, so that heads and blocks divide them
# Its fast path of evaluation computes all attention scores at once: 30 GiB for 8 sequences of 16,000 steps.
torch.backends.mha.set_fastpath_enabled(False)


class SSMStack(nn.Module):
    """The encoder of the forecasters, in both directions if the layer allows it.

    Args:
        width: number of features, H.
        layer: a key of ``ssm.LAYERS``.
        settings: ``num_layers``; optional: ``state_size``, ``dt_min``, ``dt_max``, ``dropout``, ``norm``, ``prenorm``,
            ``activation``, and ``layer_kwargs`` with further arguments by layer.
    """

    def __init__(self, width: int, layer: str, settings: dict[str, Any]) -> None:
        super().__init__()
        preferred = {"bidirectional": True, **_selected(settings, ("state_size", "dt_min", "dt_max"))}
        given = settings.get("layer_kwargs", {}).get(layer, {})
        self.encoder = Encoder(
            width,
            settings["num_layers"],
            layer=layer,
            layer_kwargs=layer_arguments(layer, given, preferred=preferred),
            **_selected(settings, ("dropout", "norm", "prenorm", "activation")),
        )

    def forward(self, x: Tensor, mask: Tensor, step: float) -> Tensor:
        if step == 1:
            return self.encoder(x, mask=mask)[0]
        layers = [block.layer for block in self.encoder.blocks]
        if not all(hasattr(layer, "step_scale") for layer in layers):
            return self.encoder(x, dt=torch.full_like(mask, step), mask=mask)[0]
        with _scaled(layers, step):
            return self.encoder(x, mask=mask)[0]


@contextmanager
def _scaled(layers: list[Any], step: float) -> Iterator[None]:
    """Multiply the steps of layers."""
    scales = [layer.step_scale for layer in layers]
    for layer, scale in zip(layers, scales, strict=True):
        layer.step_scale = step * scale
    try:
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.step_scale = scale


class RNNStack(nn.Module):
    """A bidirectional recurrent network of torch, which has no mask: its backward pass begins in the padding."""

    def __init__(self, width: int, num_layers: int, kind: type[nn.RNNBase], dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = kind(width, width // 2, num_layers, batch_first=True, dropout=dropout, bidirectional=True)  # type: ignore[call-arg]

    def forward(self, x: Tensor, mask: Tensor, step: float) -> Tensor:
        return self.rnn(x)[0]


class TransformerStack(nn.Module):
    """An encoder of torch with sinusoidal positions."""

    def __init__(self, width: int, num_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        # nn.TransformerEncoder would copy one layer, so that all start from the same weights.
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, HEADS, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        for layer in self.layers:
            layer.self_attn.dropout = 0.0  # with it, torch computes attention several times slower on a CPU
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor, step: float) -> Tensor:
        padding = mask == 0 if (mask == 0).any() else None
        x = x + _positions(x.shape[1], x.shape[2]).to(x)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        return self.norm(x)


class Classifier(nn.Module):
    """Embedding, stack, mean over the steps before the padding, linear output.

    The means a, b of a pair of sequences are classified by a, b, a * b and a - b.

    Args:
        stack: maps ``[B, T, H]``, a mask ``[B, T]`` and the length of a step to ``[B, T, H]``.
        width: number of features, H.
        classes: number of classes.
        tokens: size of the vocabulary; ``None`` for real values.
        pairs: whether a sample is two sequences.
    """

    def __init__(self, stack: nn.Module, width: int, classes: int, tokens: int | None, pairs: bool = False) -> None:
        super().__init__()
        self.embed = nn.Linear(1, width) if tokens is None else nn.Embedding(tokens, width)
        self.stack = stack
        self.output = nn.Linear(4 * width if pairs else width, classes)

    def forward(self, x: Tensor, length: Tensor, step: float = 1.0) -> Tensor:
        """Logits ``[B, classes]`` of ``x [B, T]`` or ``[B, 2, T]``, of which the first ``length`` steps count."""
        if x.ndim == 2:
            return self.output(self._mean(x, length, step))
        a, b = self._mean(x.flatten(0, 1), length.flatten(), step).unflatten(0, (-1, 2)).unbind(1)
        return self.output(torch.cat([a, b, a * b, a - b], -1))

    def _mean(self, x: Tensor, length: Tensor, step: float) -> Tensor:
        mask = (torch.arange(x.shape[1], device=x.device) < length[:, None]).float()
        features = self.embed(x.unsqueeze(-1) if x.is_floating_point() else x.long())
        y = self.stack(features, mask, step)
        return (y * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)

    def parameter_groups(self, lr: float, ssm_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Dynamics of the layers at their own rate without weight decay, everything else with it."""
        blocks = self.stack.encoder.blocks if isinstance(self.stack, SSMStack) else []
        dynamics = [p for block in blocks for p in block.layer.dynamics_parameters()]
        slow = set(map(id, dynamics))
        others = [p for p in self.parameters() if id(p) not in slow]
        groups = [{"params": others, "lr": lr, "weight_decay": weight_decay}]
        return [*groups, {"params": dynamics, "lr": ssm_lr, "weight_decay": 0.0}] if dynamics else groups


PEERS: dict[str, Callable[[int, int, float], nn.Module]] = {
    "lstm": lambda width, num_layers, dropout: RNNStack(width, num_layers, nn.LSTM, dropout),
    "gru": lambda width, num_layers, dropout: RNNStack(width, num_layers, nn.GRU, dropout),
    "transformer": TransformerStack,
}


def build(layer: str, width: int, task: Any, settings: dict[str, Any]) -> Classifier:
    """A classifier with a key of ``ssm.LAYERS`` or of ``PEERS``."""
    if layer in PEERS:
        stack = PEERS[layer](width, settings["num_layers"], settings["dropout"])
    else:
        stack = SSMStack(width, layer, settings)
    return Classifier(stack, width, task.classes, task.tokens, task.pairs)


def build_equal(layer: str, width: int, task: Any, settings: dict[str, Any]) -> Classifier:
    """A classifier with about as many parameters as that with the layer ``"s5"`` and this width."""
    if layer == "s5":
        return build(layer, width, task, settings)
    wanted = count(build("s5", width, task, settings))
    widths = range(WIDTH_STEP, 4 * width + 1, WIDTH_STEP)
    sizes = {width: count(build(layer, width, task, settings)) for width in widths}
    return build(layer, min(sizes, key=lambda width: abs(sizes[width] - wanted)), task, settings)


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def _selected(settings: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}


def _positions(steps: int, width: int) -> Tensor:
    """Sines and cosines of the position, ``[T, H]``."""
    angle = torch.arange(steps)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
