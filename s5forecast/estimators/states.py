"""States of many series in one set of tensors, found by the names of the series."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from s5forecast.aliases import check_folder

FORMAT_VERSION = 1


class SeriesStates:
    """Named tensors ``[S, ...]`` on the CPU, a row of each for each of S series.

    Arguments:
        items: names of the series.
        tensors: by name.

    Raises:
        ValueError: for a name that two series have.
    """

    def __init__(self, items: Iterable[Any], tensors: Mapping[str, Tensor]) -> None:
        self.items = [plain(item) for item in items]
        self.tensors = dict(tensors)
        self._position = {item: position for position, item in enumerate(self.items)}
        if len(self._position) < len(self.items):
            twice = next(item for position, item in enumerate(self.items) if self._position[item] != position)
            raise ValueError(f"two series have the item_id {twice!r}; give each a name of its own")

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: Any) -> bool:
        return plain(item) in self._position

    def positions(self, items: Sequence[Any]) -> Tensor:
        """Rows of some series, int64.

        Raises:
            ValueError: naming a series that is not there.
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
        """Write these rows."""
        for name, tensor in self.tensors.items():
            tensor[index] = rows[name].to(tensor)

    def extended(self, items: Sequence[Any], rows: Mapping[str, Tensor]) -> SeriesStates:
        """The same with further series behind."""
        tensors = {name: torch.cat([tensor, rows[name].to(tensor)]) for name, tensor in self.tensors.items()}
        return SeriesStates([*self.items, *items], tensors)

    def save(self, path: Path, model: str) -> None:
        """Write to a folder: JSON and arrays, no pickle; ``model`` tells whose states they are.

        Raises:
            ValueError: for a name that is neither text nor a number.
        """
        for item in self.items:
            if not (item is None or isinstance(item, str | int | float)):
                raise ValueError(f"item_id {item!r} is neither text nor a number; name the series by such to save them")
        path.mkdir(parents=True, exist_ok=True)
        described = {"format_version": FORMAT_VERSION, "model": model, "items": self.items}
        (path / "stream.json").write_text(json.dumps(described))
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in self.tensors.items()}
        np.savez(path / "states.npz", **arrays)

    @classmethod
    def load(cls, path: Path, model: str) -> SeriesStates:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: if it was written by a later format, or for another model.
        """
        check_folder(path)
        found = json.loads((path / "stream.json").read_text())
        if found["format_version"] > FORMAT_VERSION:
            raise ValueError(
                f"{path} has format {found['format_version']}, this version reads up to {FORMAT_VERSION}; "
                "update s5forecast"
            )
        if found["model"] != model:
            raise ValueError(
                f"{path} holds states of another model: load it with the one that wrote it, or start anew with stream()"
            )
        with np.load(path / "states.npz", allow_pickle=False) as arrays:
            return cls(found["items"], {name: torch.from_numpy(arrays[name]) for name in arrays.files})


def plain(item: Any) -> Any:
    """The name of a series, numpy's numbers as Python's."""
    return item.item() if isinstance(item, np.generic) else item


def fingerprint(network: nn.Module) -> str:
    """Of the parameters of a network: states go with these alone."""
    checksum = 0
    for tensor in network.state_dict().values():
        checksum = zlib.crc32(tensor.detach().cpu().contiguous().numpy().tobytes(), checksum)
    return f"{type(network).__name__} {checksum:08x}"
