"""The mathematics of S4D; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases, kernel, load, run, run_steps

from s5forecast.ssm import CHANNEL_INITIALIZATIONS, S4D

WIDTH, STATES = 3, 8


def broadcast(case, name):
    """``[n_ssm, N]`` to ``[H, N]``."""
    width = case["u"].shape[1] if "u" in case else len(case["dt"])
    return np.broadcast_to(case[name], (width, case[name].shape[-1]))


def loaded(case, method):
    A, C = broadcast(case, "A"), case["C"]
    layer = S4D(len(A), 2 * A.shape[-1], discretization=method, bidirectional=len(C) == 2)
    backward = {"C_backward": C[1]} if len(C) == 2 else {}
    D = case.get("D", np.zeros(len(A)))
    B = broadcast(case, "B") if "B" in case else np.ones_like(A)
    return load(layer, log_decay=np.log(-A.real), frequency=A.imag, B=B, C=C[0], D=D,
                log_step=np.log(case["dt"]), **backward)  # fmt: skip


def evaluate(layer, u):
    """The definition, by element-wise recurrence in NumPy: ``[B, T, H]`` to outputs."""
    planes = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    A = (-np.exp(planes["log_decay"]) + 1j * planes["frequency"]).reshape(layer.width, -1)
    B, C = (np.reshape(planes[name][0] + 1j * planes[name][1], A.shape) for name in ("B", "C"))
    dt = np.exp(planes["log_step"])[:, None]
    if layer.discretization == "zoh":
        a, b = np.exp(dt * A), B * (np.exp(dt * A) - 1) / A
    else:
        a, b = (1 + dt * A / 2) / (1 - dt * A / 2), dt * B / (1 - dt * A / 2)
    K = 2 * np.einsum("hn,lhn->lh", C * b, a ** np.arange(u.shape[1])[:, None, None]).real
    y = np.stack([np.einsum("jh,bjh->bh", K[: t + 1][::-1], u[:, : t + 1]) for t in range(u.shape[1])], 1)
    if layer.C_backward is not None:
        C = np.reshape(planes["C_backward"][0] + 1j * planes["C_backward"][1], A.shape)
        K = 2 * np.einsum("hn,lhn->lh", C * b, a ** np.arange(u.shape[1])[:, None, None]).real
        for t in range(u.shape[1] - 1):  # the backward kernel starts at the next input
            y[:, t] += np.einsum("jh,bjh->bh", K[: u.shape[1] - t - 1], u[:, t + 1 :])
    return y + planes["D"] * u


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("method", ["zoh", "bilinear"])
@pytest.mark.parametrize("initialization", CHANNEL_INITIALIZATIONS)
@pytest.mark.parametrize("length", [1, 7, 100])
def test_outputs_equal_the_definition(initialization, method, bidirectional, length):
    torch.manual_seed(0)
    arguments = {"initialization": initialization, "discretization": method, "bidirectional": bidirectional}
    layer = S4D(WIDTH, STATES, **arguments).double()
    u = np.random.default_rng(0).normal(size=(2, length, WIDTH))
    assert_close(layer(torch.from_numpy(u))[0], evaluate(layer, u), 1e-12)


def test_many_sequences_equal_the_definition():
    """So many steps that chunks are long."""
    torch.manual_seed(0)
    layer = S4D(1, 4).double()
    u = np.random.default_rng(0).normal(size=(100, 130, 1))
    assert_close(layer(torch.from_numpy(u))[0], evaluate(layer, u), 1e-12)


@pytest.mark.parametrize("backend", ["naive", "chunked", "cpu"])
def test_irregular_steps_of_every_backend(backend):
    torch.manual_seed(0)
    layer = S4D(WIDTH, STATES, backend=backend, bidirectional=True).double()
    u = torch.randn(2, 40, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(layer(u, dt=torch.ones(2, 40, dtype=torch.float64))[0], layer(u)[0])


def test_initial_poles():
    n, P = np.arange(4), 8
    expected = {
        "lin": np.pi * n,
        "inv": P / np.pi * (P / (2 * n + 1) - 1),
        "inv2": P / np.pi * (P / (n + 1) - 1),
        "quad": (1 + 2 * n) ** 2 / np.pi,
        "legs": np.array([19.857410, 5.354209, 1.957794, 0.427489]),
    }
    for name, frequency in expected.items():
        Lambda, B = CHANNEL_INITIALIZATIONS[name](P)
        np.testing.assert_allclose(Lambda.numpy(), -0.5 - 1j * frequency, atol=1e-6)
        assert B.shape == Lambda.shape
    np.testing.assert_allclose(CHANNEL_INITIALIZATIONS["real"](P)[0].numpy(), -(n + 1.0))


@pytest.mark.parametrize("size", [4, 8, 16])
def test_inputs_of_legs_are_those_of_hippo(size):
    """By the transfer function B^T (s - N)^-1 B with the normal part N of HiPPO, which needs no eigenvectors."""
    n = np.arange(size)
    root = np.sqrt(2 * n + 1)
    skew = -0.5 * np.outer(root, root) * np.sign(n[:, None] - n)
    Lambda, B = (z.numpy() for z in CHANNEL_INITIALIZATIONS["legs"](size))
    for s in 1j * np.array([0.3, 2.0, 20.0]):
        expected = root @ np.linalg.solve((s + 0.5) * np.eye(size) - skew, root)
        found = (np.abs(B) ** 2 / (s - Lambda) + np.abs(B) ** 2 / (s - Lambda.conj())).sum()
        assert found == pytest.approx(expected, rel=1e-10)
    for name in ("lin", "inv", "inv2", "quad", "real"):
        assert (CHANNEL_INITIALIZATIONS[name](size)[1] == 1).all()


def test_unsuitable_numbers_of_states_are_refused():
    with pytest.raises(ValueError, match="state_size=7 must be even"):
        S4D(WIDTH, 7)
    assert S4D(WIDTH, 4, initialization="ptd").log_decay.isfinite().all()
    with pytest.raises(ValueError, match=r"'ptd' gives real eigenvalues for state_size=2.*choose a state_size of 4"):
        S4D(WIDTH, 2, initialization="ptd")


@pytest.mark.shared
@cases("s4d", without=["block_lin"])
def test_reference(case, request):
    method = "bilinear" if "bilinear" in request.node.callspec.id else "zoh"
    layer, u = loaded(case, method), case["u"]
    assert_close(run(layer, u), case["y"])
    if "y_step" in case:
        y, state = run_steps(layer, u)
        assert_close(y, case["y_step"])
        final = torch.complex(*state.movedim(1, 0)).reshape(case["final_state"].shape)
        assert_close(final, case["final_state"])
        assert_close(kernel(layer, u.shape[-1], u.shape[1]), case["K"][0])
    assert_close_in_float32(layer, lambda layer: run(layer, u))


@pytest.mark.shared
@cases("s4d", without=["legs_zoh", "lin_zoh", "quad_zoh", "lin_zoh_bidirectional", "legs_bilinear_long",
                       "inv_zoh_long", "inv_bilinear_long", "lin_bilinear_long"])  # fmt: skip
def test_reference_block(case):
    y = torch.nn.functional.gelu(run(loaded(case, "zoh"), case["u"]))
    z = torch.einsum("oh,bht->bot", torch.from_numpy(case["W"]), y) + torch.from_numpy(case["b"])[:, None]
    assert_close(torch.nn.functional.glu(z, dim=1), case["y"])


@pytest.mark.shared
@cases("s4_ptd")
def test_reference_of_perturb_then_diagonalize(case):
    """All modes are used there, each with the factor 2, without their conjugates."""
    if "A_real" in case:
        A = case["A_real"] + 1j * case["A_imag"]
        case = {"A": A[None], "B": case["B"], "C": case["C"][None], "dt": np.exp(case["log_dt"]), "K": case["K"][None]}
    layer = loaded(case, "zoh")
    assert_close(kernel(layer, case["K"].shape[-1], len(case["dt"])), case["K"][0])


@pytest.mark.shared
@cases("s4d_init")
def test_reference_initialization(case, request):
    name, size = request.node.callspec.id.split("/")[1].split("_N")
    Lambda, B = CHANNEL_INITIALIZATIONS[name](int(size))
    np.testing.assert_allclose(Lambda.numpy(), case["A"], rtol=1e-9, atol=1e-11 * np.abs(case["A"]).max())
    if name != "legs":
        np.testing.assert_allclose(B.numpy(), case["B"])
