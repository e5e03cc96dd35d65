"""File of the pretrained network: float16 arrays and a record of the training, without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s5forecast.networks.pretrained import PretrainedNetwork

RECORD = "record"


def save_weights(path: Path, network: PretrainedNetwork, record: dict[str, Any]) -> None:
    """Write the parameters in float16 and a record of their training."""
    arrays: dict[str, Any] = {RECORD: np.array(json.dumps(record))}
    for name, value in network.state_dict().items():
        arrays[name] = value.numpy().astype(np.float16)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_weights(path: Path) -> PretrainedNetwork:
    """The network of a file written by :func:`save_weights`, for forecasts."""
    with np.load(path, allow_pickle=False) as file:
        state = {name: torch.from_numpy(file[name].astype(np.float32)) for name in file.files if name != RECORD}
    network = PretrainedNetwork()
    network.load_state_dict(state)
    return network.eval()


def load_record(path: Path) -> dict[str, Any]:
    """The record of a file written by :func:`save_weights`."""
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file[RECORD]))
