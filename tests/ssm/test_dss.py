"""The mathematics of DSS; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases, kernel, load, run

from s5forecast.ssm import DSS

NOT_EXP = ["softmax_float32", "softmax_pos_real", "softmax_tied_dt", "softmax_bidirectional", "exp_no_scale", "clip",
           "clip_pos_real"]  # fmt: skip


def loaded(case):
    W, Lambda, log_dt = case["W"], case["Lambda"], case["log_dt"]
    layer = DSS(W.shape[1], len(Lambda), separate_steps=log_dt.ndim == 2, bidirectional=len(W) == 2)
    backward = {"W_backward": W[1]} if len(W) == 2 else {}
    return load(layer, log_decay=np.log(-Lambda.real), frequency=Lambda.imag, W=W[0], D=case["D"], log_step=log_dt.T,
                **backward)  # fmt: skip


def evaluate_kernel(layer, length, weights="W"):
    """K ``[H, L]`` by its definition, in NumPy."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    Lambda = -np.exp(p["log_decay"]) + 1j * p["frequency"]
    steps = np.exp(p["log_step"])
    delta = steps[0][:, None] * Lambda.real + 1j * steps[-1][:, None] * Lambda.imag  # [H, N]
    W = (p[weights][0] + 1j * p[weights][1]).reshape(delta.shape)
    powers = np.exp(delta[..., None] * np.arange(length))
    return np.einsum("hn,hnl->hl", W * (np.exp(delta) - 1) / Lambda, powers).real


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("separate_steps", [False, True])
@pytest.mark.parametrize("length", [5, 100])
def test_outputs_equal_the_definition(separate_steps, bidirectional, length):
    torch.manual_seed(0)
    layer = DSS(3, 8, separate_steps=separate_steps, bidirectional=bidirectional).double()
    u, K = np.random.default_rng(0).normal(size=(2, 3, length)), evaluate_kernel(layer, length)
    y = np.stack([np.einsum("hj,bhj->bh", K[:, : t + 1][:, ::-1], u[..., : t + 1]) for t in range(length)], -1)
    if bidirectional:  # the backward kernel starts at the next input
        K = evaluate_kernel(layer, length, "W_backward")
        for t in range(length - 1):
            y[..., t] += np.einsum("hj,bhj->bh", K[:, : length - t - 1], u[..., t + 1 :])
    assert_close(run(layer, u), y + layer.D.detach().numpy()[:, None] * u, 1e-12)


def test_initial_poles_have_positive_frequencies_in_descending_order():
    layer = DSS(3, 8)
    assert (layer.frequency > 0).all() and (layer.frequency.diff() < 0).all()
    torch.testing.assert_close(layer.log_decay, torch.full((8,), np.log(0.5)))


@pytest.mark.shared
@cases("dss", without=NOT_EXP)
def test_reference(case):
    layer, u = loaded(case), case["u"]
    assert_close(run(layer, u), case["y_ssm"])
    assert_close(kernel(layer, u.shape[-1], u.shape[1]), case["K"][0])
    z = torch.nn.functional.gelu(run(layer, u))
    y = torch.einsum("oh,bht->bot", torch.from_numpy(case["out_weight"]), z) + torch.from_numpy(case["out_bias"])
    assert_close(y, case["y"])
    assert_close_in_float32(layer, lambda layer: run(layer, u))


@pytest.mark.shared
@cases("dss_init")
def test_reference_initialization(case):
    layer = DSS(1, len(case["Lambda_float64"])).double()
    layer.reset_parameters()
    expected = case["Lambda_float64"]
    np.testing.assert_allclose(torch.complex(*layer._shared_poles()).detach().numpy(), expected, rtol=1e-9)
