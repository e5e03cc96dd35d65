"""States of layers as the arrays of a saved stream."""

import pytest
import torch

from s5forecast.estimators.states import SeriesStates, layer_tensors, read_layers


@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ((torch.rand(3, 2, 4), torch.rand(3, 2, 4)), ["layers"]),
        ((torch.rand(3, 2, 4), torch.rand(3, 5)), ["layers.0", "layers.1"]),
        (((torch.rand(3, 2), torch.rand(3, 4)), torch.rand(3, 5)), ["layers.0.0", "layers.0.1", "layers.1"]),
        (tuple((torch.rand(3, 1 + n),) for n in range(11)), [f"layers.{n}.0" for n in range(11)]),
    ],
)
def test_layer_states_keep_their_structure_in_a_file(layers, names, tmp_path):
    tensors = layer_tensors(layers)
    assert list(tensors) == names
    SeriesStates(["a", "b", "c"], tensors).save(tmp_path, "model")
    again = read_layers(SeriesStates.load(tmp_path, "model").tensors)
    assert len(again) == len(layers)
    for one, other in zip(again, layers, strict=True):
        assert type(one) is type(other)
        parts = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(a, b) for a, b in parts)
