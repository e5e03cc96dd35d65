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


def convolved(K, u):
    """Causal convolution of ``u [B, H, L]`` with ``K [H, L]``, term by term."""
    terms = [np.einsum("hj,bhj->bh", K[:, : t + 1][:, ::-1], u[..., : t + 1]) for t in range(u.shape[-1])]
    return np.stack(terms, -1)


def convolved_backward(K, u):
    """As :func:`convolved`, backward in time; the first input is the next one."""
    later = np.concatenate([u[..., 1:], np.zeros_like(u[..., :1])], -1)
    return convolved(K, later[..., ::-1])[..., ::-1]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("separate_steps", [False, True])
@pytest.mark.parametrize("length", [5, 100])
def test_outputs_equal_the_definition(separate_steps, bidirectional, length):
    torch.manual_seed(0)
    layer = DSS(3, 8, separate_steps=separate_steps, bidirectional=bidirectional).double()
    u = np.random.default_rng(0).normal(size=(2, 3, length))
    y = convolved(evaluate_kernel(layer, length), u)
    if bidirectional:
        y += convolved_backward(evaluate_kernel(layer, length, "W_backward"), u)
    assert_close(run(layer, u), y + layer.D.detach().numpy()[:, None] * u, 1e-12)


def evaluate_softmax_kernel(layer, length, weights="W"):
    """K ``[H, L]`` by its definition, in NumPy; sums of exponentials are divided by with a regularization."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    Lambda, steps = p["Lambda"][0] + 1j * p["Lambda"][1], layer.step_scale * np.exp(p["log_step"])
    delta = steps[0][:, None] * Lambda.real + 1j * steps[-1][:, None] * Lambda.imag
    terms = np.exp(delta[..., None] * np.arange(length))
    terms = terms / np.where(Lambda.real > 0, terms[..., -1], 1)[..., None]  # the largest modulus is 1
    sign = np.where(Lambda.real > 0, -1, 1)
    total = Lambda * terms.sum(-1) * (np.exp(sign * delta) - 1)
    inverse = total.conj() / (np.abs(total) ** 2 + 1e-7) * (np.exp(sign * delta) - 1)
    return np.einsum("hn,hnl->hl", (p[weights][0] + 1j * p[weights][1]) * inverse, terms).real


@pytest.mark.parametrize("length", [1, 7, 100])
@pytest.mark.parametrize("growing", [False, True])
@pytest.mark.parametrize("separate_steps", [False, True])
def test_softmax_kernels_equal_the_definition(length, growing, separate_steps):
    torch.manual_seed(0)
    layer = DSSSoftmax(3, 8, separate_steps=separate_steps, dt_min=0.02, step_scale=0.5).double()
    with torch.no_grad():
        layer.Lambda[0, ::2] *= -1 if growing else 1
    expected = evaluate_softmax_kernel(layer, length)
    assert_close(layer.kernel(layer.W, length).T, expected, 1e-11)


def test_softmax_weights_sum_to_one():
    """Without the regularization, which matters for short steps."""
    torch.manual_seed(0)
    layer = DSSSoftmax(3, 8, dt_min=0.1).double()
    Lambda = torch.complex(*layer.Lambda)
    sums = (torch.complex(*layer.W) / Lambda).sum(-1).real
    torch.testing.assert_close(layer.kernel(layer.W, 50).sum(0), sums, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 37])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_softmax_outputs_equal_the_definition(length, bidirectional):
    torch.manual_seed(0)
    layer = DSSSoftmax(3, 8, bidirectional=bidirectional).double()
    u, K = np.random.default_rng(0).normal(size=(2, 3, length)), evaluate_softmax_kernel(layer, length)
    expected = convolved(K, u) + layer.D.detach().numpy()[:, None] * u
    if bidirectional:
        expected += convolved_backward(evaluate_softmax_kernel(layer, length, "W_backward"), u)
    assert_close(run(layer, u), expected, 1e-11)


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
