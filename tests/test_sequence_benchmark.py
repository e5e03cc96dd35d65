"""The benchmark of sequence classification: batches, equal sizes, half rate, and two steps of every full setting."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from s5forecast.ssm import LAYERS

FOLDER = Path(__file__).parent.parent / "benchmarks" / "sequence"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the benchmarks are not here")


@pytest.fixture(scope="module", autouse=True)
def benchmark_on_path():
    """Its modules by name; run.py shares its name with other benchmarks."""
    sys.modules.pop("run", None)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    sys.modules.pop("run", None)


def settings(**given):
    from run import task_settings

    return {**task_settings("listops"), "width": 16, "num_layers": 1, "batch_steps": 64, "epochs": 2, **given}


def test_batches_hold_every_sequence_once_and_sort_by_length():
    from run import batches
    from sequences import Split

    data = Split(torch.zeros(50, 9), torch.arange(50) % 9 + 1, torch.zeros(50))
    for generator in (None, torch.Generator().manual_seed(0)):
        found = list(batches(data, 25, generator))
        assert sorted(torch.cat(found).tolist()) == list(range(50))
        assert {len(rows) for rows in found} == {5}
        spread = [int(np.ptp(data.length[rows].numpy())) for rows in found]
        assert np.mean(spread) <= 1


def test_padding_does_not_change_the_logits():
    from classifiers import build
    from sequences import generated

    task = generated(12, 3, tokens=5)
    model = build("s5", 16, task, settings()).eval()
    x, length = torch.randint(5, (4, 12)), torch.full((4,), 7)
    torch.testing.assert_close(model(x, length), model(x[:, :7], length))


@pytest.mark.parametrize("layer", [*LAYERS, "lstm", "gru", "transformer"])
def test_sizes_are_equal(layer):
    from classifiers import build_equal, count
    from sequences import generated

    task = generated(12, 3, tokens=5)
    found = settings(num_layers=2)
    wanted = count(build_equal("s5", 64, task, found))
    assert count(build_equal(layer, 64, task, found)) == pytest.approx(wanted, rel=0.15)


def test_a_training_learns_ends_in_time_and_restores_its_best_epoch():
    from run import run
    from sequences import Split, Task

    generator = torch.Generator().manual_seed(0)
    x = torch.randint(2, (64, 8), generator=generator).float()
    part = Split(x, torch.full((64,), 8), (x.sum(1) > 3).long())
    row, curve = run(Task(part, part, part, 2), "s5", 0, settings(epochs=40, dropout=0.0, lr=0.01))
    assert row["accuracy"] == row["validation"] == max(one["validation"] for one in curve) > 0.9
    _, curve = run(Task(part, part, part, 2), "s5", 0, settings(epochs=10**6, minutes=1e-3))
    assert len(curve) < 1000


def test_half_rate_takes_every_second_sample():
    from run import halved
    from sequences import Split

    half = halved(Split(torch.arange(7.0)[None], torch.tensor([7]), torch.tensor([0])))
    assert half.x.tolist() == [[0, 2, 4, 6]] and half.length.tolist() == [4]


def test_full_settings_know_their_tasks_and_layers():
    from run import _yaml, task_names

    found = _yaml("full.yaml")
    assert set(found) - {"tasks"} <= set(LAYERS)
    assert all(set(found[layer]) - {"common"} <= set(task_names(full=True)) for layer in set(found) - {"tasks"})


def full_cases():
    import yaml

    found = yaml.safe_load((FOLDER / "full.yaml").read_text()) if FOLDER.exists() else {}
    return [(layer, task) for layer in found if layer != "tasks" for task in found[layer] if task != "common"]


@pytest.mark.slow
@pytest.mark.parametrize("layer, name", full_cases())
def test_two_steps_of_each_full_setting(layer, name):
    from classifiers import build
    from run import full_settings, full_shape, train_step
    from sequences import generated

    found = full_settings(name, layer)
    shape = {**full_shape(name), "steps": 32}
    task = generated(**shape)
    model = build(layer, found["width"], task, found)
    optimizer = torch.optim.AdamW(model.parameter_groups(found["lr"], found["ssm_lr"], found["weight_decay"]))
    before = [p.clone() for p in model.parameters()]
    for _ in range(2):
        train_step(model, optimizer, task.train, torch.arange(2))
    assert all(p.isfinite().all() for p in model.parameters())
    assert any((p != q).any() for p, q in zip(model.parameters(), before, strict=True))
