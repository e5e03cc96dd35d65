"""The mathematics of S5; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases
from scipy.linalg import expm

from s5forecast.ops import is_short
from s5forecast.ssm import S5

WIDTH, STATES = 6, 8


@pytest.fixture
def u():
    torch.manual_seed(1)
    return torch.randn(3, 20, WIDTH, dtype=torch.float64)


def test_step_follows_a_fused_optimizer():
    layer, u = S5(WIDTH, STATES), torch.randn(3, WIDTH)
    state = layer.initial_state(3)
    with torch.no_grad():
        layer.step(u, state)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    layer(u[:, None])[0].square().mean().backward()
    optimizer.step()
    expected, _ = layer.step(u, state)
    with torch.no_grad():
        assert torch.allclose(layer.step(u, state)[0], expected, atol=1e-5)
        assert layer.__getstate__()["_kept"] is None


def test_half_precision_parameters():
    layer, u = S5(WIDTH, STATES), torch.randn(2, 9, WIDTH)
    expected, _ = layer(u)
    found, state = layer.bfloat16()(u.bfloat16())
    assert found.dtype == torch.bfloat16 and state.dtype == torch.float32
    assert (found.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_the_state_stays_in_float32_under_autocast():
    layer, u = S5(WIDTH, STATES), torch.randn(2, 300, WIDTH)
    exact, _ = layer(u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(u)
    assert state.dtype == torch.float32
    assert (y.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_step_scale_multiplies_dt(u):
    torch.manual_seed(0)
    layer, half = S5(WIDTH, STATES).double(), S5(WIDTH, STATES, step_scale=0.5).double()
    half.load_state_dict(layer.state_dict())
    dt = torch.full((3, 20), 0.5, dtype=torch.float64)
    assert torch.allclose(half(u)[0], layer(u, dt=dt)[0], atol=1e-12)


def test_an_input_held_over_shorter_steps_gives_the_same_states():
    torch.manual_seed(0)
    k, layer = 4, S5(WIDTH, STATES).double()
    finer = S5(WIDTH, STATES, step_scale=1 / k).double()
    finer.load_state_dict(layer.state_dict())
    u = torch.randn(3, 20, WIDTH, dtype=torch.float64)
    y, state = layer(u)
    y_finer, state_finer = finer(u.repeat_interleave(k, dim=1))
    assert torch.allclose(y_finer[:, k - 1 :: k], y, atol=1e-12)
    assert torch.allclose(state_finer, state, atol=1e-12)


@pytest.mark.parametrize("irregular", [False, True])
def test_zoh_equals_the_exact_solution(irregular):
    """The continuous system with piecewise constant input, solved by the matrix exponential."""
    rng = np.random.default_rng(0)
    N, H, T = 3, 2, 12
    Lambda = -rng.uniform(0.1, 2, N) + 1j * rng.normal(size=N)
    B, C = (rng.normal(size=shape) + 1j * rng.normal(size=shape) for shape in ((N, H), (H, N)))
    D, log_step = rng.normal(size=H), rng.normal(size=N)
    u = rng.normal(size=(T, H))
    dt = rng.uniform(0.01, 3, T) if irregular else np.ones(T)
    layer = S5.from_continuous(*(torch.from_numpy(x) for x in (Lambda, B, C, D, log_step)))
    y, _ = layer(torch.from_numpy(u)[None], dt=torch.from_numpy(dt)[None] if irregular else None)

    x = np.zeros(N, dtype=complex)
    for t in range(T):
        for n in range(N):
            step = dt[t] * np.exp(log_step[n])
            system = np.array([[Lambda[n], B[n] @ u[t]], [0, 0]])
            x[n] = (expm(system * step) @ [x[n], 1])[0]
        expected = 2 * (C @ x).real + D * u[t]
        assert np.allclose(y[0, t].detach().numpy(), expected, atol=1e-8)


def test_from_continuous_keeps_conjugate_states_apart(u):
    torch.manual_seed(0)
    half = S5(WIDTH, STATES, bidirectional=True).double()
    planes = {k: torch.complex(*v) for k, v in half.state_dict().items() if k not in ("D", "log_step")}
    both = {k: torch.cat([v, v.conj()], 1 if k.startswith("C") else 0) for k, v in planes.items()}
    full = S5.from_continuous(
        **both, D=half.D.detach(), log_step=half.log_step.detach().repeat(2)[:, None],
        conj_sym=False, bidirectional=True,
    )  # fmt: skip
    assert torch.allclose(half(u)[0], full(u)[0], atol=1e-12)
    with pytest.raises(ValueError, match="C_tilde_backward"):
        S5.from_continuous(**{k: v for k, v in both.items() if "backward" not in k}, D=half.D.detach(),
                           log_step=half.log_step.detach().repeat(2), conj_sym=False, bidirectional=True)  # fmt: skip


def test_clipped_eigenvalues_do_not_grow():
    layer = S5(WIDTH, STATES, clip_eigs=True)
    with torch.no_grad():
        layer.Lambda[0] = 3.0
    y, state = layer(torch.randn(1, 5000, WIDTH))
    assert torch.isfinite(y).all() and state.abs().max() < 1e6


@pytest.mark.parametrize("irregular", [False, True])
def test_one_short_sequence_is_scanned_as_many_are(irregular):
    layer = S5(6, 8, bidirectional=True)
    u, dt = torch.randn(2, 40, 6), torch.rand(2, 40) if irregular else None
    with torch.no_grad():
        together, state = layer(u, dt=dt)
        alone, own = layer(u[:1], dt=None if dt is None else dt[:1])
        assert is_short(u[:1]) and not is_short(u)
    assert torch.allclose(alone, together[:1], atol=1e-5) and torch.allclose(own, state[:1], atol=1e-5)


@pytest.mark.shared
@cases("s5_ptd")
def test_reference_of_perturb_then_diagonalize(case):
    """All states are kept there, with negative real parts in the causal case."""
    backward = {"C_tilde_backward": parts(case["C2"])} if "C2" in case else {}
    real = case["Lambda_re"] if backward else -np.abs(case["Lambda_re"])
    layer = S5.from_continuous(
        torch.from_numpy(real + 1j * case["Lambda_im"]), parts(case["B"]), parts(case["C1" if backward else "C"]),
        *(torch.from_numpy(case[name]) for name in ("D", "log_step")),
        **backward, bidirectional=bool(backward), conj_sym=False,
    )  # fmt: skip
    u = torch.from_numpy(case["u"])[None]
    assert_close(layer(u)[0][0], case["y"])
    assert_close_in_float32(layer, lambda layer: layer(u.to(layer.D))[0])


def parts(array):
    """Complex numbers of ``[..., 2]``."""
    return torch.view_as_complex(torch.from_numpy(array).contiguous())
