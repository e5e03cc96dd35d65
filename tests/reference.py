"""Parameters and outputs of published implementations, for tests marked ``shared``."""

import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

PATH = Path(__file__).parents[2] / "shared" / "reference" / "layers_reference.npz"


@cache
def _arrays():
    if not PATH.exists():
        return {}
    cases = {}
    with np.load(PATH) as file:
        for key in file.files:
            layer, case, name = key.split("/")
            cases.setdefault(f"{layer}/{case}", {})[name] = file[key]
    return cases


def cases(layer, without=()):
    """A pytest parametrization over the cases of a layer, as dicts of arrays; one skipped case without the file."""
    names = [name for name in _arrays() if name.startswith(f"{layer}/") and name.split("/")[1] not in without]
    if not names:
        return pytest.mark.parametrize("case", [pytest.param({}, marks=pytest.mark.skip("no reference arrays"))])
    return pytest.mark.parametrize("case", [_arrays()[name] for name in names], ids=names)


def load(layer, **arrays):
    """Set parameters of a layer in float64; complex arrays become planes, shapes are those of the parameters."""
    parameters = dict(layer.double().named_parameters())
    with torch.no_grad():
        for name, value in arrays.items():
            value = np.stack([value.real, value.imag]) if np.iscomplexobj(value) else np.asarray(value)
            parameters[name].copy_(torch.tensor(value).reshape(parameters[name].shape))
    return layer


def assert_close(found, expected, tolerance=1e-9):
    """Compare by the largest error relative to the largest value."""
    found = found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    assert found.shape == expected.shape
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < tolerance, error


def run(layer, u):
    """Outputs for inputs ``[B, H, L]``, in the same layout."""
    return layer(torch.from_numpy(u).movedim(1, 2).to(layer.D.dtype))[0].movedim(1, 2)


def run_steps(layer, u):
    """As :func:`run`, one step after another, and the last state."""
    state, outputs = layer.initial_state(len(u)), []
    with torch.no_grad():
        for u_t in torch.from_numpy(u).movedim(2, 0).to(layer.D.dtype):
            y, state = layer.step(u_t, state)
            outputs.append(y)
    return torch.stack(outputs, -1), state


def kernel(layer, length, width):
    """The responses ``[H, L]`` of all channels to an impulse, without D."""
    impulse = torch.zeros(1, length, width, dtype=layer.D.dtype)
    impulse[:, 0] = 1
    y = layer(impulse)[0][0]
    y[0] -= layer.D
    return y.T


def assert_close_in_float32(layer, found, tolerance=1e-4):
    """``found(layer)`` in float32 equals the result in float64, relative to the largest value."""
    exact = found(layer).detach().double().numpy()
    assert_close(found(copy.deepcopy(layer).float()).double(), exact, tolerance)
