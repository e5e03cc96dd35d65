"""Sequence classifiers: encoders of state-space layers, and recurrent and attention networks for comparison."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from s5forecast.nn import Encoder
from s5forecast.ssm import layer_arguments

HEADS = 4
WIDTH_STEP = 8  # widths are multiples of it, so that heads and blocks divide them


class SSMStack(nn.Module):
    """The encoder of the forecasters, in both directions if the layer allows it."""

    def __init__(self, width: int, num_layers: int, layer: str, layer_kwargs: dict[str, Any], **block: Any) -> None:
        super().__init__()
        arguments = layer_arguments(layer, layer_kwargs, preferred={"bidirectional": True})
        self.encoder = Encoder(width, num_layers, layer=layer, layer_kwargs=arguments, **block)

    def forward(self, x: Tensor, mask: Tensor, step: float) -> Tensor:
        dt = None if step == 1 else torch.full_like(mask, step)
        return self.encoder(x, dt=dt, mask=mask)[0]


class RNNStack(nn.Module):
    """A recurrent network of torch, in both directions."""

    def __init__(self, width: int, num_layers: int, kind: type[nn.RNNBase], dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = kind(width, width, num_layers, batch_first=True, dropout=dropout, bidirectional=True)  # type: ignore[call-arg]
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, mask: Tensor, step: float) -> Tensor:
        return self.project(self.rnn(x)[0])


class TransformerStack(nn.Module):
    """An encoder of torch with sinusoidal positions."""

    def __init__(self, width: int, num_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)

    def forward(self, x: Tensor, mask: Tensor, step: float) -> Tensor:
        positions = _positions(x.shape[1], x.shape[2]).to(x)
        return self.encoder(x + positions, src_key_padding_mask=mask == 0)


class Classifier(nn.Module):
    """Embedding, stack, mean over the steps before the padding, linear output.

    Args:
        stack: maps ``[B, T, H]``, a mask ``[B, T]`` and the length of a step to ``[B, T, H]``.
        width: number of features, H.
        classes: number of classes.
        tokens: size of the vocabulary; ``None`` for real values.
    """

    def __init__(self, stack: nn.Module, width: int, classes: int, tokens: int | None) -> None:
        super().__init__()
        self.embed = nn.Linear(1, width) if tokens is None else nn.Embedding(tokens, width)
        self.stack = stack
        self.output = nn.Linear(width, classes)

    def forward(self, x: Tensor, length: Tensor, step: float = 1.0) -> Tensor:
        """Logits ``[B, classes]`` of ``x [B, T]``, of which the first ``length [B]`` steps count."""
        mask = (torch.arange(x.shape[1], device=x.device) < length[:, None]).float()
        features = self.embed(x.unsqueeze(-1) if x.is_floating_point() else x.long())
        y = self.stack(features, mask, step)
        return self.output((y * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True))

    def parameter_groups(self, lr: float, ssm_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Dynamics of the layers at their own rate without weight decay, everything else with it."""
        blocks = self.stack.encoder.blocks if isinstance(self.stack, SSMStack) else []
        dynamics = [p for block in blocks for p in block.layer.dynamics_parameters()]
        slow = set(map(id, dynamics))
        others = [p for p in self.parameters() if id(p) not in slow]
        groups = [{"params": others, "lr": lr, "weight_decay": weight_decay}]
        return [*groups, {"params": dynamics, "lr": ssm_lr, "weight_decay": 0.0}] if dynamics else groups


def _rnn(kind: type[nn.RNNBase]) -> Callable[..., nn.Module]:
    return lambda width, num_layers, layer_kwargs, dropout, norm: RNNStack(width, num_layers, kind, dropout)


def _transformer(width: int, num_layers: int, layer_kwargs: dict[str, Any], dropout: float, norm: str) -> nn.Module:
    return TransformerStack(width, num_layers, dropout)


PEERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": _rnn(nn.LSTM),
    "gru": _rnn(nn.GRU),
    "transformer": _transformer,
}


def build(layer: str, width: int, task: Any, settings: dict[str, Any]) -> Classifier:
    """A classifier with a key of ``ssm.LAYERS`` or of ``PEERS``."""
    arguments = {"dropout": settings["dropout"], "norm": settings["norm"]}
    kwargs = settings.get("layer_kwargs", {}).get(layer, {})
    if layer in PEERS:
        stack = PEERS[layer](width, settings["num_layers"], layer_kwargs=kwargs, **arguments)
    else:
        stack = SSMStack(width, settings["num_layers"], layer, kwargs, **arguments)
    return Classifier(stack, width, task.classes, task.tokens)


def build_equal(layer: str, task: Any, settings: dict[str, Any]) -> Classifier:
    """A classifier with about as many parameters as that with the layer ``"s5"`` and the width of the settings."""
    if layer == "s5":
        return build(layer, settings["width"], task, settings)
    wanted = count(build("s5", settings["width"], task, settings))
    widths = range(WIDTH_STEP, 4 * settings["width"] + 1, WIDTH_STEP)
    sizes = {width: count(build(layer, width, task, settings)) for width in widths}
    return build(layer, min(sizes, key=lambda width: abs(sizes[width] - wanted)), task, settings)


def count(module: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in module.parameters())


def _positions(steps: int, width: int) -> Tensor:
    """Sines and cosines of the position, ``[T, H]``."""
    angle = torch.arange(steps)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
