"""The mathematics of DSS; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases, kernel, load, run

from s5forecast.ssm import DSS, DSSSoftmax

SOFTMAX = ["softmax_float32", "softmax_pos_real", "softmax_tied_dt", "softmax_bidirectional"]
EXP = ["exp", "exp_tied_dt", "exp_no_scale", "exp_re_im", "exp_long", "clip", "clip_pos_real"]


class ClippedDSS(DSS):
    """The published variant with given poles, whose real parts are clipped."""

    def __init__(self, width, state_size, Lambda):
        super().__init__(width, state_size)
        real, imag = torch.from_numpy(Lambda.real), torch.from_numpy(Lambda.imag)
        self.shared = torch.stack([real.clamp(max=1e-4), imag])

    def _shared_poles(self):
        return self.shared.to(self.D)


def loaded(case, clip=False):
    W, Lambda, log_dt = case["W"], case["Lambda"], case["log_dt"]
    if clip:
        layer = ClippedDSS(W.shape[1], len(Lambda), Lambda)
        return load(layer, W=W[0], D=case["D"], log_step=log_dt.T)
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


def evaluate_softmax_kernel(layer, length):
    """K ``[H, L]`` by its definition, in NumPy."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    Lambda, steps = p["Lambda"][0] + 1j * p["Lambda"][1], np.exp(p["log_step"])
    delta = steps[0][:, None] * Lambda.real + 1j * steps[-1][:, None] * Lambda.imag
    terms = np.exp(delta[..., None] * np.arange(length))
    softmax = terms / terms.sum(-1, keepdims=True)
    return np.einsum("hn,hnl->hl", (p["W"][0] + 1j * p["W"][1]) / Lambda, softmax).real


@pytest.mark.parametrize("length", [1, 7, 100])
@pytest.mark.parametrize("growing", [False, True])
def test_softmax_kernels_equal_the_definition(length, growing):
    """Up to the regularization of reciprocals."""
    torch.manual_seed(0)
    layer = DSSSoftmax(3, 8, separate_steps=False, dt_min=0.1).double()
    with torch.no_grad():
        layer.Lambda[0, ::2] *= -1 if growing else 1
    assert_close(layer.kernel(layer.W, length).T, evaluate_softmax_kernel(layer, length), 1e-4)


def test_initial_poles_have_positive_frequencies_in_descending_order():
    layer = DSS(3, 8)
    assert (layer.frequency > 0).all() and (layer.frequency.diff() < 0).all()
    torch.testing.assert_close(layer.log_decay, torch.full((8,), np.log(0.5)))


def check_reference(layer, case, tolerance=1e-9):
    u = case["u"]
    assert_close(run(layer, u), case["y_ssm"], tolerance)
    if len(case["K"]) == 1:
        assert_close(kernel(layer, u.shape[-1], u.shape[1]), case["K"][0], tolerance)
    z = torch.nn.functional.gelu(run(layer, u))
    y = torch.einsum("oh,bht->bot", torch.from_numpy(case["out_weight"]), z) + torch.from_numpy(case["out_bias"])
    assert_close(y, case["y"], tolerance)
    assert_close_in_float32(layer, lambda layer: run(layer, u))


@pytest.mark.shared
@cases("dss", without=SOFTMAX)
def test_reference(case, request):
    name = request.node.callspec.id.split("/")[1]
    if name == "exp_no_scale":  # the weights include the input matrix there
        Lambda, steps = case["Lambda"], np.exp(case["log_dt"])
        delta = steps[:, :1] * Lambda.real + 1j * steps[:, 1:] * Lambda.imag
        case = {**case, "W": case["W"] * Lambda / (np.exp(delta) - 1)}
    check_reference(loaded(case, clip=name.startswith("clip")), case)


@pytest.mark.shared
@cases("dss", without=EXP)
def test_reference_softmax(case):
    W, log_dt = case["W"], case["log_dt"]
    layer = DSSSoftmax(W.shape[1], W.shape[2], separate_steps=log_dt.ndim == 2, bidirectional=len(W) == 2)
    backward = {"W_backward": W[1]} if len(W) == 2 else {}
    load(layer, Lambda=case["Lambda"], W=W[0], D=case["D"], log_step=log_dt.T, **backward)
    check_reference(layer, case, 1e-4 if case["K"].dtype == np.float32 else 1e-9)


@pytest.mark.shared
@cases("dss_init")
def test_reference_initialization(case):
    layer = DSS(1, len(case["Lambda_float64"])).double()
    layer.reset_parameters()
    expected = case["Lambda_float64"]
    np.testing.assert_allclose(torch.complex(*layer._shared_poles()).detach().numpy(), expected, rtol=1e-9)
