"""Files of the pretrained network: arrays and a record of their training, without pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from s5forecast.networks.pretrained import PretrainedNetwork
from s5forecast.seeding import seeded

# The weights that come with the package.
SHIPPED = Path(__file__).with_name("pretrained.npz")
# Names in a file: the record, and its entry with the hash of the parameters.
RECORD, HASH = "record", "sha256"


def save_weights(path: Path, network: PretrainedNetwork, record: dict[str, Any]) -> None:
    """Write the parameters in float16, and a record of their training to which their hash is added."""
    arrays: dict[str, Any] = {name: x.numpy().astype(np.float16) for name, x in network.state_dict().items()}
    stored: dict[str, Any] = {RECORD: np.array(json.dumps({**record, HASH: digest(arrays)}))}
    with path.open("wb") as file:
        np.savez_compressed(file, **stored, **arrays)


def load_weights(path: Path = SHIPPED) -> PretrainedNetwork:
    """The network of a file that :func:`save_weights` wrote, for forecasts; by default that of the package.

    Raises:
        ValueError: if the file is damaged, or no file of weights.
    """
    record, arrays = _read(path)
    found = digest(arrays)
    if record.get(HASH, found) != found:
        raise ValueError(f"{path} is damaged: its parameters do not have the recorded hash; copy the file again")
    try:
        with seeded(0):  # the parameters that are drawn are replaced
            network = _of_size(arrays)
        network.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()})
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"{path} does not hold the parameters of a {PretrainedNetwork.__name__}: {error}") from error
    return network.eval()


def load_record(path: Path = SHIPPED) -> dict[str, Any]:
    """The record of a file that :func:`save_weights` wrote, by default that of the package.

    Raises:
        ValueError: if it is no file of weights.
    """
    return _read(path)[0]


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of named arrays, in hexadecimal digits."""
    found = sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return json.loads(str(arrays.pop(RECORD))), arrays
    except (BadZipFile, EOFError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of weights, as python -m s5forecast.pretraining writes") from error


def _of_size(arrays: Mapping[str, np.ndarray]) -> PretrainedNetwork:
    """An untrained network with parameters of these shapes."""
    blocks = {name.split(".")[2] for name in arrays if name.startswith("encoder.blocks.")}
    return PretrainedNetwork(
        width=len(arrays["input.bias"]),
        num_layers=len(blocks),
        state_size=2 * arrays["encoder.blocks.0.layer.Lambda"].shape[1],
        hidden=len(arrays["decoder_input.bias"]),
    )
