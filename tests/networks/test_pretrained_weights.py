"""Files of weights: half precision, a record with a hash, no pickle; those that come with the package."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import s5forecast
from s5forecast.networks.pretrained import PretrainedNetwork
from s5forecast.networks.pretrained_weights import HASH, SHIPPED, digest, load_record, load_weights, save_weights

ROOT = Path(__file__).parents[2]
SIZE = {"width": 16, "num_layers": 2, "state_size": 8, "hidden": 24}
LARGEST = 5e6


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    save_weights(path, PretrainedNetwork(**SIZE), {"seconds": 7200, "seed": 0, "loss": 1.0})
    return path


def test_weights_of_any_size_are_kept_in_half_precision_with_their_record(weights):
    torch.manual_seed(0)
    network, loaded = PretrainedNetwork(**SIZE), load_weights(weights)
    assert not loaded.training and loaded.__init_args__ == network.__init_args__
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=1e-3, atol=1e-6)
    record = load_record(weights)
    assert record.pop(HASH) and record == {"seconds": 7200, "seed": 0, "loss": 1.0}


def test_damaged_files_are_refused(weights, tmp_path):
    with np.load(weights) as file:
        arrays = dict(file)
    arrays["input.bias"] = arrays["input.bias"] + np.float16(1)
    np.savez(tmp_path / "changed.npz", **arrays)
    with pytest.raises(ValueError, match=r"changed\.npz is damaged"):
        load_weights(tmp_path / "changed.npz")
    del arrays["output.bias"], arrays["record"]
    np.savez(tmp_path / "no_record.npz", **arrays)
    np.savez(tmp_path / "part.npz", record=np.array("{}"), **arrays)
    (tmp_path / "text.npz").write_text("weights")
    for name in ("no_record", "text"):
        with pytest.raises(ValueError, match=f"{name}.npz is not a file of weights"):
            load_weights(tmp_path / f"{name}.npz")
    with pytest.raises(ValueError, match="does not hold the parameters"):
        load_weights(tmp_path / "part.npz")
    np.savez(tmp_path / "object.npz", record=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="is not a file of weights"):
        load_record(tmp_path / "object.npz")


def test_the_shipped_weights_have_their_hash_and_record():
    record = load_record()
    assert {"version", "seed", "hours", "steps", "series", "loss", HASH} <= set(record)
    with np.load(SHIPPED, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "record"}
    assert digest(arrays) == record[HASH]
    assert SHIPPED.stat().st_size < LARGEST
    assert load_weights().__init_args__ == PretrainedNetwork().__init_args__
    assert all(np.isfinite(array).all() and array.dtype == np.float16 for array in arrays.values())


def test_a_file_is_made_the_shipped_one_by_a_script(weights, tmp_path, capsys):
    ship = runpy.run_path(str(ROOT / "benchmarks" / "pretraining" / "ship.py"))["main"]
    ship([str(weights)], tmp_path / "pretrained.npz")
    record = load_record(tmp_path / "pretrained.npz")
    assert (record["hours"], record["version"], record["seed"]) == (2.0, s5forecast.__version__, 0)
    assert record[HASH] == load_record(weights)[HASH] and "hours      2.0" in capsys.readouterr().out
