"""The benchmark of sequence classification: batches, equal sizes, half rate, and two steps of every full setting."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from s5forecast.ssm import LAYERS

FOLDER = Path(__file__).parent.parent / "benchmarks" / "sequence"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="benchmarks/ is not installed")


@pytest.fixture(scope="module", autouse=True)
def benchmark_on_path():
    """Its modules by name; run.py and report.py share their names with other benchmarks."""
    for name in ("run", "report"):
        sys.modules.pop(name, None)
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    for name in ("run", "report"):
        sys.modules.pop(name, None)


def settings(**given):
    from run import task_settings

    return {**task_settings("listops"), "width": 16, "num_layers": 1, "batch_steps": 64, "epochs": 2, **given}


def test_batches_hold_every_sequence_once_and_sort_by_length():
    from run import batches
    from sequences import Split

    data = Split(torch.zeros(50, 9), torch.arange(50) % 9 + 1, torch.zeros(50))
    for generator in (None, torch.Generator().manual_seed(0)):
        found = list(batches(data, {"batch_steps": 25}, generator))
        assert sorted(torch.cat(found).tolist()) == list(range(50))
        assert {len(rows) for rows in found} == {5}
        assert sorted(len(rows) for rows in batches(data, {"batch": 20}, generator)) == [10, 20, 20]
        spread = [int(np.ptp(data.length[rows].numpy())) for rows in found]
        assert np.mean(spread) <= 1


# The backward pass of RNNs begins in the padding, Mega attends to it, and DSS with softmax normalizes over it.
@pytest.mark.parametrize("layer", sorted({*LAYERS, "transformer"} - {"mega", "dss_softmax"}))
def test_padding_does_not_change_the_logits(layer):
    from classifiers import build
    from sequences import generated

    task = generated(12, 3, tokens=5)
    model = build(layer, 16, task, settings()).eval()
    x, length = torch.randint(5, (4, 12)), torch.full((4,), 7)
    torch.testing.assert_close(model(x, length), model(x[:, :7], length), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", sorted(set(LAYERS) - {"mega"}))
def test_a_doubled_step_is_the_step_scale_of_the_layer(layer):
    from classifiers import build
    from sequences import generated

    task = generated(12, 3)
    model = build(layer, 16, task, settings()).eval()
    given = settings()["layer_kwargs"].get(layer, {})
    doubled = build(layer, 16, task, settings(layer_kwargs={layer: {**given, "step_scale": 2.0}})).eval()
    doubled.load_state_dict(model.state_dict())
    x, length = torch.randn(4, 12), torch.full((4,), 12)
    before = model(x, length)
    torch.testing.assert_close(model(x, length, step=2.0), doubled(x, length))
    torch.testing.assert_close(model(x, length), before)
    assert (doubled(x, length) - before).abs().max() > 1e-4


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
    assert curve[-1]["epoch"] <= len(curve)


def test_half_rate_takes_every_second_sample():
    from run import halved
    from sequences import Split

    half = halved(Split(torch.arange(7.0)[None], torch.tensor([7]), torch.tensor([0])))
    assert half.x.tolist() == [[0, 2, 4, 6]] and half.length.tolist() == [4]


def test_full_settings_know_their_tasks_and_layers():
    from run import _yaml, task_names

    found = _yaml("full.yaml")
    assert set(found) - {"tasks"} <= set(LAYERS)
    assert all(set(found[layer]) - {"common"} <= set(task_names(published=True)) for layer in set(found) - {"tasks"})


def test_settings_of_all_tasks_and_layers():
    from run import has_full_settings, task_names, task_settings

    for name in task_names(published=False):
        assert 0 < task_settings(name)["minutes"] <= 10
    assert task_settings("mnist", "gru")["lr"] < task_settings("mnist")["lr"] == task_settings("listops", "gru")["lr"]
    assert has_full_settings("image", "lru") and not has_full_settings("pathx", "lru")
    assert not has_full_settings("image", "gru")


def test_report_of_some_layers_and_seeds():
    import pandas as pd
    from report import best_so_far, figure, tables

    columns = ["task", "layer", "seed", "accuracy", "half_rate_scaled", "half_rate", "epochs", "parameters"]
    rows = [
        ("listops", "gru", 0, 0.25, np.nan, np.nan, 0.5, 1000),
        ("mnist", "s5", 0, 0.9, np.nan, np.nan, 3, 900),
        ("mnist", "s5", 1, 0.8, np.nan, np.nan, 3, 900),
        ("digits", "s5", 0, 0.7, 0.6, 0.1, 3, 900),
        ("digits", "gru", 0, 0.4, np.nan, 0.2, 3, 900),
    ]
    found = tables(pd.DataFrame(rows, columns=columns))
    accuracy, half = found["Test accuracy at equal parameters and equal training time"], found["Half the sampling rate"]
    assert accuracy.loc["mnist"].tolist() == ["0.850 ± 0.071 (2)", "–", "0.923 (nearest neighbor)"]
    assert accuracy.index.tolist() == ["mnist", "digits", "listops"]
    assert half.index.tolist() == ["digits", "digits"]
    assert half.to_numpy().tolist() == [["s5", 0.7, 0.6, 0.1], ["gru", 0.4, "–", 0.2]]

    curves = pd.DataFrame(
        [("mnist", "s5", 0, 1, 10, 0.5), ("mnist", "s5", 0, 2, 20, 0.4), ("mnist", "s5", 1, 1, 15, 0.7),
         ("listops", "gru", 0, 0.5, 30, 0.2)],
        columns=["task", "layer", "seed", "epoch", "train_seconds", "validation"],
    )  # fmt: skip
    mean = best_so_far(curves[curves["task"] == "mnist"])
    assert mean.index.tolist() == [15, 20] and mean.tolist() == pytest.approx([0.6, 0.6])
    assert [line.showlegend for line in figure(curves).data] == [True, True]


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
