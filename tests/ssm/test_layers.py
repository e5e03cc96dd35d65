"""The contract of every state-space layer, and the mathematics of S5."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from s5forecast.ssm import LAYERS, S5

WIDTH, STATES = 6, 8
VARIANTS = {
    "s5": lambda **kw: S5(WIDTH, STATES, **kw),
    "s5-blocks": lambda **kw: S5(WIDTH, STATES, block_count=2, **kw),
    "s5-ptd": lambda **kw: S5(WIDTH, STATES, initialization="hippo_ptd", **kw),
    "s5-bilinear": lambda **kw: S5(WIDTH, STATES, discretization="bilinear", **kw),
    "s5-dirac": lambda **kw: S5(WIDTH, STATES, discretization="dirac", **kw),
    "s5-all-states": lambda **kw: S5(WIDTH, STATES, conj_sym=False, **kw),
    "s5-clipped": lambda **kw: S5(WIDTH, STATES, clip_eigs=True, **kw),
    "s5-lecun": lambda **kw: S5(WIDTH, STATES, C_init="lecun_normal", **kw),
    "s5-complex": lambda **kw: S5(WIDTH, STATES, C_init="complex_normal", **kw),
    "s5-bidirectional": lambda **kw: S5(WIDTH, STATES, bidirectional=True, **kw),
}


@pytest.fixture(params=VARIANTS)
def layer(request):
    torch.manual_seed(0)
    return VARIANTS[request.param]().double()


@pytest.fixture(params=[False, True], ids=["regular", "irregular"])
def dt(request):
    return torch.rand(3, 20, dtype=torch.float64) * 2 + 0.01 if request.param else None


@pytest.fixture
def u():
    torch.manual_seed(1)
    return torch.randn(3, 20, WIDTH, dtype=torch.float64)


def cut(dt, span):
    return None if dt is None else dt[:, span]


def test_every_layer_is_in_the_list():
    assert {name.split("-")[0] for name in VARIANTS} == set(LAYERS)


def test_shapes_and_gradients_to_every_parameter(layer, u, dt):
    u.requires_grad_()
    y, state = layer(u, dt=dt)
    assert y.shape == u.shape and y.dtype == u.dtype
    assert state.shape == layer.initial_state(3).shape
    y.square().mean().backward()
    for name, parameter in [*layer.named_parameters(), ("u", u)]:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_two_halves_equal_the_whole(layer, u, dt):
    if not layer.supports_step:
        pytest.skip("a bidirectional layer sees the second half from the first")
    y, state = layer(u, dt=dt)
    first, carried = layer(u[:, :7], dt=cut(dt, slice(0, 7)))
    second, last = layer(u[:, 7:], carried, cut(dt, slice(7, None)))
    assert torch.allclose(torch.cat([first, second], 1), y, atol=1e-12)
    assert torch.allclose(last, state, atol=1e-12)


def test_step_by_step_equals_parallel_from_a_carried_state(layer, u, dt):
    if not layer.supports_step:
        with pytest.raises(ValueError, match="bidirectional"):
            layer.step(u[:, 0], layer.initial_state(3))
        return
    state = torch.randn_like(layer.initial_state(3))
    y, last = layer(u, state, dt)
    for t in range(u.shape[1]):
        y_t, state = layer.step(u[:, t], state, cut(dt, t))
        assert torch.allclose(y_t, y[:, t], atol=1e-12)
    assert torch.allclose(state, last, atol=1e-12)


def test_step_without_gradients_follows_the_parameters(layer, u):
    if not layer.supports_step:
        pytest.skip("a bidirectional layer has no step mode")
    state = torch.randn_like(layer.initial_state(3))
    for _ in range(2):
        expected = layer.step(u[:, 0], state)
        with torch.no_grad():
            found = layer.step(u[:, 0], state)
            assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(found, expected, strict=True))
            layer.log_step += 0.5
            layer.C_tilde.data *= 2
            layer.step_scale *= 2
    with torch.inference_mode():
        assert torch.isfinite(layer.step(u[:, 0], state)[0]).all()


def test_step_follows_a_fused_optimiser():
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


def test_dt_of_one_is_the_regular_layer(layer, u):
    regular, state = layer(u)
    stepped, same = layer(u, dt=torch.ones(3, 20, dtype=torch.float64))
    assert torch.allclose(regular, stepped, atol=1e-10) and torch.allclose(state, same, atol=1e-10)


def test_causal_unless_bidirectional(layer, u, dt):
    changed = u.clone()
    changed[:, 10:] += 1
    same = torch.allclose(layer(u, dt=dt)[0][:, :10], layer(changed, dt=dt)[0][:, :10], atol=1e-12)
    assert same == layer.supports_step


def test_saved_parameters_give_the_same_layer(layer, u, dt):
    other = type(layer)(
        WIDTH, STATES, block_count=layer.block_count, discretization=layer.discretization,
        conj_sym=layer.conj_sym, clip_eigs=layer.clip_eigs, bidirectional=layer.bidirectional,
    ).double()  # fmt: skip
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(u, dt=dt)[0], layer(u, dt=dt)[0])
    assert "width=6" in repr(layer)


def test_float32_follows_float64(layer, u, dt):
    exact, _ = layer(u, dt=dt)
    rounded, _ = layer.float()(u.float(), dt=None if dt is None else dt.float())
    assert rounded.dtype == torch.float32
    assert torch.allclose(rounded.double(), exact, rtol=1e-4, atol=1e-4)


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


@pytest.mark.parametrize(
    ("wrong", "listed"),
    [
        ({"discretization": "euler"}, "zoh"),
        ({"initialization": "zeros"}, "'hippo'"),
        ({"C_init": "x"}, "lecun"),
    ],
)
def test_unknown_names_list_the_choices(wrong, listed):
    with pytest.raises(ValueError, match=listed):
        S5(WIDTH, STATES, **wrong)


def test_the_same_seed_draws_the_same_parameters():
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append(torch.cat([p.flatten() for p in S5(WIDTH, STATES).parameters()]))
    assert torch.equal(*draws)
