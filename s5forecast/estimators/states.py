"""States of streams as named tensors of many series, and the folder they are saved to."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from s5forecast.aliases import check_folder
from s5forecast.ssm import State
from s5forecast.windows.batches import WindowStore

STATES_FORMAT = 1
# Gives an entry with the static features of a new series.
Describe: TypeAlias = Callable[[Any], dict[str, Any]]


class NetworkRunner(Protocol):
    """The attributes of a predictor that streams use."""

    spec: Any
    batch_size: int
    device: Any

    @property
    def network(self) -> Any: ...

    def items_with_few_values(self, store: WindowStore) -> list[Any]: ...

    def warn_of_few_values(self, items: Sequence[Any]) -> None: ...


class SeriesStates:
    """Named tensors ``[S, ...]`` on the CPU, with one row for each of S series.

    Args:
        items: names of the series.
        tensors: states by name.

    Raises:
        ValueError: if two series have the same name.
    """

    def __init__(self, items: Iterable[Any], tensors: Mapping[str, Tensor]) -> None:
        self.items = [plain(item) for item in items]
        self.tensors = dict(tensors)
        self._position = {item: position for position, item in enumerate(self.items)}
        if len(self._position) < len(self.items):
            twice = next(item for position, item in enumerate(self.items) if self._position[item] != position)
            raise ValueError(f"two series have the item_id {twice!r}; give each its own name")

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: Any) -> bool:
        return plain(item) in self._position

    def positions(self, items: Sequence[Any]) -> Tensor:
        """Rows of some series, int64.

        Raises:
            ValueError: naming a series that is not in the stream.
        """
        for item in items:
            if item not in self:
                raise ValueError(
                    f"series {item!r} is not in the stream; give its rows to update(), or its history to stream()"
                )
        return torch.tensor([self._position[plain(item)] for item in items], dtype=torch.long)

    def take(self, index: Tensor) -> dict[str, Tensor]:
        """Copies of some rows."""
        return {name: tensor[index] for name, tensor in self.tensors.items()}

    def put(self, index: Tensor, rows: Mapping[str, Tensor]) -> None:
        """Overwrite some rows."""
        for name, tensor in self.tensors.items():
            tensor[index] = rows[name].to(tensor)

    def extended(self, items: Sequence[Any], rows: Mapping[str, Tensor]) -> SeriesStates:
        """States of these series, followed by those of further series."""
        tensors = {name: torch.cat([tensor, rows[name].to(tensor)]) for name, tensor in self.tensors.items()}
        return SeriesStates([*self.items, *items], tensors)

    def save(self, path: Path, model: str) -> None:
        """Write JSON and arrays to a folder, without pickle.

        Args:
            path: the folder, which is created if it does not exist.
            model: fingerprint of the network that computed the states.

        Raises:
            ValueError: for the name of a series that is neither text nor a number.
        """
        for item in self.items:
            if not (item is None or isinstance(item, str | int | float)):
                raise ValueError(f"item_id {item!r} cannot be saved, because it is neither text nor a number")
        path.mkdir(parents=True, exist_ok=True)
        described = {"format_version": STATES_FORMAT, "model": model, "items": self.items}
        (path / "stream.json").write_text(json.dumps(described))
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        np.savez(path / "states.npz", **arrays)

    @classmethod
    def load(cls, path: Path, model: str) -> SeriesStates:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: if a later version wrote it, or if it belongs to another model.
        """
        check_folder(path)
        found = json.loads((path / "stream.json").read_text())
        if found["format_version"] > STATES_FORMAT:
            raise ValueError(
                f"{path} has format {found['format_version']}, this version reads up to {STATES_FORMAT}; "
                "update s5forecast"
            )
        if found["model"] != model:
            raise ValueError(
                f"{path} holds states of another model; load it with the model that wrote it, or begin a new stream()"
            )
        with np.load(path / "states.npz", allow_pickle=False) as arrays:
            return cls(found["items"], {name: torch.from_numpy(arrays[name]) for name in arrays.files})


def to_device(state: Any, device: Any) -> Any:
    """The state with all its tensors on a device."""
    if isinstance(state, Tensor):
        return state.to(device)
    parts = [to_device(part, device) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def layer_tensors(layers: Sequence[State]) -> dict[str, Tensor]:
    """Layer states as named tensors.

    They are one tensor ``layers [S, layers, ...]`` if each is a single tensor of the same shape, else tensors
    ``layers.0``, ``layers.1`` ..., and ``layers.0.0``, ``layers.0.1`` ... for a layer with several.
    """
    single = [state for state in layers if isinstance(state, Tensor)]
    if len(single) == len(layers) and len({(state.shape, state.dtype) for state in single}) == 1:
        return {"layers": torch.stack(single, dim=1)}
    tensors = {}
    for number, state in enumerate(layers):
        if isinstance(state, Tensor):
            tensors[f"layers.{number}"] = state
        else:
            tensors |= {f"layers.{number}.{part}": tensor for part, tensor in enumerate(state)}
    return tensors


def read_layers(tensors: Mapping[str, Tensor]) -> tuple[State, ...]:
    """The layer states that :func:`layer_tensors` named."""
    if "layers" in tensors:
        return tuple(state.contiguous() for state in tensors["layers"].unbind(1))
    layers: dict[int, State] = {}
    for name in sorted(name for name in tensors if name.startswith("layers.")):
        number = int(name.split(".")[1])
        if name.count(".") == 1:
            layers[number] = tensors[name]
        elif number not in layers:
            count = sum(other.startswith(f"layers.{number}.") for other in tensors)
            layers[number] = tuple(tensors[f"layers.{number}.{part}"] for part in range(count))
    return tuple(layers[number] for number in range(len(layers)))


def plain(item: Any) -> Any:
    """The name of a series, with NumPy scalars as Python numbers."""
    return item.item() if isinstance(item, np.generic) else item


def fingerprint(network: nn.Module) -> str:
    """Checksum of a network's parameters, with which its states are saved."""
    checksum = 0
    for tensor in network.state_dict().values():
        checksum = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), checksum)
    return f"{type(network).__name__} {checksum:08x}"
