"""The mathematics of S4; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases, kernel, load, run, run_steps

from s5forecast.ssm import LOW_RANK_INITIALIZATIONS, S4
from s5forecast.ssm.initialization import hippo_legs

WIDTH, STATES = 3, 8


def full(half):
    return np.concatenate([half, half.conj()], -1)


def discretized(Lambda, P, B, dt):
    """Abar ``[2N, 2N]`` and Bbar ``[2N]`` of one channel, over the conjugate pairs."""
    A, identity = np.diag(full(Lambda)) - sum(np.outer(p, p.conj()) for p in full(P)), np.eye(2 * len(Lambda))
    inverse = np.linalg.inv(identity - dt / 2 * A)
    return inverse @ (identity + dt / 2 * A), inverse @ (dt * full(B))


def evaluate(layer, u, dt=None, weights="C"):
    """The recurrence of dense matrices in NumPy, ``[B, T, H]`` to outputs without D."""
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    P, B, C = (p[name][0] + 1j * p[name][1] for name in ("P", "B", weights))
    y = np.zeros_like(u)
    for b, h in np.ndindex(len(u), layer.width):
        x = 0
        Lambda = -np.exp(p["log_decay"][h]) + 1j * p["frequency"][h]
        for t in range(u.shape[1]):
            step = np.exp(p["log_step"][h]) * (1 if dt is None else dt[b, t])
            A_bar, B_bar = discretized(Lambda, P[:, h], B[h], step)
            x = A_bar @ x + B_bar * u[b, t, h] if t else B_bar * u[b, t, h]
            y[b, t, h] = (full(C[h]) @ x).real
    return y


@pytest.mark.parametrize("initialization", LOW_RANK_INITIALIZATIONS)
@pytest.mark.parametrize("irregular", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_equal_the_definition(initialization, irregular, bidirectional):
    torch.manual_seed(0)
    layer = S4(WIDTH, STATES, initialization=initialization, bidirectional=bidirectional).double()
    rng = np.random.default_rng(0)
    u, dt = rng.normal(size=(2, 70, WIDTH)), rng.uniform(0.1, 3, size=(2, 70)) if irregular else None
    expected = evaluate(layer, u, dt) + layer.D.detach().numpy() * u
    if bidirectional:
        later = np.concatenate([u[:, 1:], np.zeros_like(u[:, :1])], 1)[:, ::-1]
        until_next = np.concatenate([dt[:, 1:], np.ones((2, 1))], 1)[:, ::-1] if irregular else None
        expected += evaluate(layer, later, until_next, "C_backward")[:, ::-1]
    y, _ = layer(torch.from_numpy(u), dt=None if dt is None else torch.from_numpy(dt))
    assert_close(y, expected, 1e-11)


def test_many_long_sequences_equal_single_steps():
    torch.manual_seed(0)
    layer = S4(2, 64)
    u = torch.randn(50, 2, 200, dtype=torch.float64)
    exact = run(layer.double(), u.numpy())
    y, state = run_steps(layer, u.numpy())
    assert_close(y, exact.detach().numpy(), 1e-11)
    torch.testing.assert_close(layer(u.movedim(1, 2))[1], state)


@pytest.mark.parametrize("name", LOW_RANK_INITIALIZATIONS)
def test_initial_matrices_have_the_eigenvalues_of_hippo(name):
    """Without the small decay that replaces none."""
    n = np.arange(STATES)
    root = np.sqrt(2 * n + 1)
    if name == "legs":
        A, B = (matrix.numpy() for matrix in hippo_legs(STATES))
    elif name == "legt":
        sign = np.where(n[:, None] >= n, 1, (-1.0) ** (n[:, None] - n))
        A, B = -0.5 * np.outer(root, root) * sign, 0.5 * root
    else:
        B = np.where(n % 2 == 0, np.sqrt(2), 0) * np.where(n == 0, np.sqrt(0.5), 1)
        A = -np.outer(B, B)
        for k in range(STATES // 2):
            A[2 * k, 2 * k + 1], A[2 * k + 1, 2 * k] = -np.pi * k, np.pi * k
    Lambda, P, B_tilde = (z.numpy() for z in LOW_RANK_INITIALIZATIONS[name](STATES))
    decay = 0 if name == "legs" else 1e-4
    matrix = np.diag(full(Lambda + decay)) - sum(np.outer(p, p.conj()) for p in full(P))
    s = 1j * np.array([0.3, 2.0, 7.0])[:, None, None] * np.eye(STATES)
    # B^T (s - A)^-1 B does not depend on the basis.
    expected = B @ np.linalg.solve(s - A, np.broadcast_to(B[:, None], (3, STATES, 1)))[..., 0].T
    found = np.linalg.solve(s - matrix, np.broadcast_to(full(B_tilde)[:, None], (3, STATES, 1)))[..., 0]
    np.testing.assert_allclose(found @ full(B_tilde).conj(), expected, rtol=1e-9)


def test_an_odd_number_of_states_is_refused():
    with pytest.raises(ValueError, match="state_size=7 must be even"):
        S4(WIDTH, 7)


def test_step_follows_the_parameters():
    torch.manual_seed(0)
    layer, u = S4(WIDTH, STATES).double(), torch.randn(2, WIDTH, dtype=torch.float64)
    _, state = layer(torch.randn(2, 5, WIDTH, dtype=torch.float64))
    with torch.no_grad():
        for parameter in layer.parameters():
            layer.step(u, state)
            parameter.mul_(1.1)
            expected = layer(u[:, None], state)[0][:, 0]
            torch.testing.assert_close(layer.step(u, state)[0], expected)
    assert layer.__getstate__()["_kept"] is None


def wide(array, width):
    """``[..., n_ssm, N]`` to ``[..., H, N]``."""
    return np.broadcast_to(array, (*array.shape[:-2], width, array.shape[-1]))


def loaded(A, P, B, C, dt, D):
    width = C.shape[1]
    rank = {1: "legs", 2: "legt"}[len(P)]
    layer = S4(width, 2 * A.shape[-1], initialization=rank, bidirectional=len(C) == 2)
    backward = {"C_backward": C[1]} if len(C) == 2 else {}
    A = wide(A, width)
    return load(layer, log_decay=np.log(-A.real), frequency=A.imag, P=wide(P, width), B=wide(B, width), C=C[0], D=D,
                log_step=np.log(dt), **backward)  # fmt: skip


@pytest.mark.shared
@cases("s4", without=["block_legs", "block_legs_bidirectional"])
def test_reference(case):
    u = case["u"]
    bidirectional = "y_step" not in case
    channels = [case["C"]] if bidirectional else [C[None] for C in case["C"]]
    outputs = case["y"].reshape(len(u), len(channels), *u.shape[1:])
    for number, C in enumerate(channels):
        layer = loaded(*(case[name] for name in ("A", "P", "B")), C, case["dt"], case["D"][number])
        assert_close(run(layer, u), outputs[:, number])
        assert_close_in_float32(layer, lambda layer: run(layer, u))
        if bidirectional:
            continue
        assert_close(kernel(layer, u.shape[-1], u.shape[1]), case["K"][number])
        y, state = run_steps(layer, u)
        assert_close(y, case["y_step"].reshape(outputs.shape)[:, number])
        final = torch.complex(*state.unflatten(-1, (2, -1)).unbind(-2))
        assert_close(final, case["final_state"][..., : final.shape[-1]])


@pytest.mark.shared
@cases("s4", without=["legs_small", "legs_medium", "legs_trained", "legs_nssm1", "legs_bidirectional", "legs_softplus",
                      "legs_oddL", "legs_channels2", "fourier_rank1", "legs_lmax_none", "legs_long"])  # fmt: skip
def test_reference_blocks(case):
    layer = loaded(*(case[name] for name in ("A", "P", "B", "C", "dt", "D")))
    y = torch.nn.functional.gelu(run(layer, case["u"]))
    z = torch.einsum("oh,bht->bot", torch.from_numpy(case["W"]), y) + torch.from_numpy(case["b"])[:, None]
    assert_close(torch.nn.functional.glu(z, dim=1), case["y"])


@pytest.mark.shared
@cases("liquid_s4")
def test_reference_kernels_of_liquid_s4(case):
    """The linear part of the published Liquid-S4 is S4."""
    single = case["u"].dtype == np.float32
    for C, K in zip(case["C"], case["K"], strict=True):
        layer = loaded(*(case[name] for name in ("w", "P", "B")), C[None], np.exp(case["log_dt"]), case["D"])
        assert_close(kernel(layer, K.shape[-1], len(K)), K, 1e-4 if single else 1e-9)


@pytest.mark.shared
@cases("s4_init")
def test_reference_initialization(case):
    """Products of B and P do not depend on the phases of eigenvectors; the published B is clipped."""
    Lambda, P, B = (z.numpy() for z in LOW_RANK_INITIALIZATIONS["legs"](2 * len(case["A"])))
    np.testing.assert_allclose(Lambda, case["A"], rtol=1e-9)
    np.testing.assert_allclose(np.abs(P), np.abs(case["P"]), rtol=1e-7)
    if "B_noclip" in case:
        np.testing.assert_allclose(B * P.conj(), case["B_noclip"] * case["P"].conj(), rtol=1e-7)
