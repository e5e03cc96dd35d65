"""Pretraining: reproducible, resumable, and it learns."""

import numpy as np
import torch

from s5forecast.networks.pretrained import PretrainedNetwork
from s5forecast.networks.pretrained_weights import SHIPPED, load_record, load_weights
from s5forecast.pretraining.__main__ import main
from s5forecast.pretraining.training import LR, WARMUP, Pretraining, draw_batch

SIZE = {"width": 16, "num_layers": 1, "state_size": 8, "hidden": 16}
# Mean loss of the first and of the next ten steps with seed 0.
STEPS, FIRST_LOSSES = 20, (1.628571, 1.637834)


def small(folder):
    torch.manual_seed(0)
    return Pretraining(folder, 1e9, network=PretrainedNetwork(**SIZE))


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    whole = small(tmp_path / "whole")
    losses = [whole.advance() for _ in range(4)]
    first = small(tmp_path / "parts")
    first.advance(), first.advance()
    first.save()
    second = small(tmp_path / "parts")
    assert second.load() and second.step == 2
    assert [second.advance(), second.advance()] == losses[2:]
    for one, other in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_lowers_the_loss(tmp_path):
    training, batch = small(tmp_path), draw_batch(np.random.default_rng(99))
    with torch.no_grad():
        before = training.network.loss(*batch)
    for _ in range(200):
        training.advance()
    with torch.no_grad():
        assert training.network.loss(*batch) < 0.95 * before


def test_command_writes_weights_and_resumes(tmp_path):
    for _ in range(2):
        main(["--hours", "0.0003", "--folder", str(tmp_path)])
    load_weights(tmp_path / "weights.npz")
    record = load_record(tmp_path / "weights.npz")
    assert record["steps"] > 0 and record["seconds"] >= 1 and record["loss"] > 0
    assert (tmp_path / "log.csv").read_text().startswith("step,seconds,series,loss")


def test_command_starts_from_weights(tmp_path):
    seconds = load_record()["seconds"]
    main(["--hours", str((seconds + 0.5) / 3600), "--folder", str(tmp_path), "--weights", str(SHIPPED)])
    record = load_record(tmp_path / "weights.npz")
    assert record["seconds"] >= seconds and record["steps"] > load_record()["steps"]


def test_training_continues_from_weights(tmp_path):
    shipped = load_weights()
    training = Pretraining(tmp_path, 1e9, network=load_weights())
    training.start_from(load_record())
    assert training.step == training.first_step == load_record()["steps"]
    training.advance()  # with new series, and a small rate after the restart
    for optimizer in training.optimizers:
        np.testing.assert_allclose(optimizer.param_groups[0]["lr"], LR / WARMUP)
    training.save()
    resumed = Pretraining(tmp_path, 1e9)
    assert resumed.load() and (resumed.step, resumed.first_step) == (training.step, training.step - 1)
    for one, other in zip(training.average.parameters(), shipped.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2 * LR / WARMUP)


def test_the_first_steps_of_the_pretraining_reproduce_their_loss(tmp_path):
    """Other processors round differently."""
    training = Pretraining(tmp_path, 1e9, load_record()["seed"])
    losses = [training.advance() for _ in range(STEPS)]
    np.testing.assert_allclose([np.mean(losses[:10]), np.mean(losses[10:])], FIRST_LOSSES, rtol=2e-3)
