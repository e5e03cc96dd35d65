"""Every layer passes the contract of ``StateSpaceLayer``."""

import copy
import inspect
import math

import pytest
import torch
from toy_layers import CausalConvolution, ChannelStates, Leaky

from s5forecast.nn import Encoder
from s5forecast.ssm import (
    DSS,
    GENERIC_ARGUMENTS,
    LAYERS,
    LRU,
    S4,
    S4D,
    S5,
    DiagonalLayer,
    DSSSoftmax,
    LiquidS4,
    Mega,
    StateSpaceLayer,
    flatten_state,
    layer_arguments,
    map_state,
    restore_state,
)

WIDTH, BATCH, LENGTH = 6, 3, 20
# Add the variants of a new layer here: its class and its arguments after the width.
VARIANTS = {
    "s5": (S5, {"state_size": 8}),
    "s5-blocks": (S5, {"state_size": 8, "block_count": 2}),
    "s5-ptd": (S5, {"state_size": 8, "initialization": "hippo_ptd"}),
    "s5-bilinear": (S5, {"state_size": 8, "discretization": "bilinear"}),
    "s5-dirac": (S5, {"state_size": 8, "discretization": "dirac"}),
    "s5-all-states": (S5, {"state_size": 8, "conj_sym": False}),
    "s5-clipped": (S5, {"state_size": 8, "clip_eigs": True}),
    "s5-lecun": (S5, {"state_size": 8, "C_init": "lecun_normal"}),
    "s5-complex": (S5, {"state_size": 8, "C_init": "complex_normal"}),
    "s5-chunked": (S5, {"state_size": 8, "backend": "chunked"}),
    "s5-bidirectional": (S5, {"state_size": 8, "bidirectional": True}),
    "s5-bidirectional-chunked": (S5, {"state_size": 8, "bidirectional": True, "backend": "chunked"}),
    "s4": (S4, {"state_size": 8}),
    "s4-legt": (S4, {"state_size": 8, "initialization": "legt"}),
    "s4-fout": (S4, {"state_size": 8, "initialization": "fout"}),
    "s4-bidirectional": (S4, {"state_size": 8, "bidirectional": True}),
    "s4d": (S4D, {"state_size": 8}),
    "s4d-lin-bilinear": (S4D, {"state_size": 8, "initialization": "lin", "discretization": "bilinear"}),
    "s4d-real": (S4D, {"state_size": 8, "initialization": "real"}),
    "s4d-ptd": (S4D, {"state_size": 8, "initialization": "ptd"}),
    "s4d-bidirectional": (S4D, {"state_size": 8, "bidirectional": True}),
    "dss": (DSS, {"state_size": 8}),
    "dss-tied": (DSS, {"state_size": 8, "separate_steps": False}),
    "dss-bidirectional": (DSS, {"state_size": 8, "bidirectional": True}),
    "dss_softmax": (DSSSoftmax, {"state_size": 8}),
    "dss_softmax-bidirectional": (DSSSoftmax, {"state_size": 8, "bidirectional": True}),
    "lru": (LRU, {"state_size": 8}),
    "lru-bidirectional": (LRU, {"state_size": 8, "bidirectional": True}),
    "liquid_s4": (LiquidS4, {"state_size": 8}),
    "liquid_s4-zoh-exact": (LiquidS4, {"state_size": 8, "discretization": "zoh", "clamp": False}),
    "liquid_s4-bidirectional": (LiquidS4, {"state_size": 8, "bidirectional": True}),
    "mega": (Mega, {}),
    "mega-chunk": (Mega, {"chunk_size": 4, "attention": "laplace"}),
    "mega-full": (Mega, {"chunk_size": None, "max_positions": 40, "bias": "rotary"}),
    "mega-bidirectional": (Mega, {"chunk_size": 8, "bidirectional": True}),
    "toy-convolution": (CausalConvolution, {}),
    "toy-leaky": (Leaky, {}),
    "toy-channels": (ChannelStates, {}),
    "toy-channels-bilinear": (ChannelStates, {"discretization": "bilinear", "step_scale": 0.5}),
}


def drawn(variant):
    torch.manual_seed(0)
    cls, arguments = VARIANTS[variant]
    return cls(WIDTH, **arguments).double()


@pytest.fixture(params=VARIANTS)
def layer(request):
    return drawn(request.param)


@pytest.fixture(params=[variant for variant in VARIANTS if drawn(variant).supports_step])
def causal(request):
    return drawn(request.param)


@pytest.fixture(params=[False, True], ids=["regular", "irregular"])
def irregular(request):
    return request.param


@pytest.fixture
def u():
    torch.manual_seed(1)
    return torch.randn(BATCH, LENGTH, WIDTH, dtype=torch.float64)


def gaps(layer, irregular):
    if irregular and not layer.supports_dt:
        pytest.skip("the layer does not support irregular steps")
    return torch.rand(BATCH, LENGTH, dtype=torch.float64) * 2 + 0.01 if irregular else None


def part(dt, span):
    return None if dt is None else dt[:, span]


def carried(layer):
    """A state after some steps."""
    return map_state(torch.Tensor.detach, layer(torch.randn(BATCH, 5, WIDTH, dtype=torch.float64))[1])


def assert_same(found, expected, **tolerances):
    for a, b in zip(flatten_state(found), flatten_state(expected), strict=True):
        torch.testing.assert_close(a, b, **{"rtol": 0, "atol": 1e-12, **tolerances})


def test_every_layer_is_tested():
    assert {cls for cls, _ in VARIANTS.values()} >= set(LAYERS.values())


def test_arguments_are_declared(layer):
    parameters = inspect.signature(type(layer)).parameters
    assert next(iter(parameters)) == "width" and type(layer).generic_arguments <= set(GENERIC_ARGUMENTS)
    assert type(layer).generic_arguments <= set(parameters)
    for name, parameter in list(parameters.items())[1:]:
        assert parameter.default is not parameter.empty or name in type(layer).generic_arguments, name
        assert (name in GENERIC_ARGUMENTS) == (name in type(layer).generic_arguments), name


def test_shapes_and_gradients_of_every_parameter(layer, u, irregular):
    u.requires_grad_()
    y, state = layer(u, dt=gaps(layer, irregular))
    assert y.shape == u.shape and y.dtype == u.dtype
    for found, initial in zip(flatten_state(state), flatten_state(layer.initial_state(BATCH)), strict=True):
        assert found.shape == initial.shape and found.dtype == initial.dtype and len(found) == BATCH
    y.square().mean().backward()
    for name, parameter in [*layer.named_parameters(), ("u", u)]:
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_default_state_is_the_initial_state(causal, u):
    assert_same(causal(u), causal(u, causal.initial_state(BATCH)))


@pytest.mark.parametrize("cut", [0, 1, 7, LENGTH])
def test_any_split_equals_the_whole(causal, u, irregular, cut):
    dt = gaps(causal, irregular)
    y, state = causal(u, dt=dt)
    first, between = causal(u[:, :cut], dt=part(dt, slice(0, cut)))
    second, last = causal(u[:, cut:], between, part(dt, slice(cut, None)))
    assert_same((torch.cat([first, second], 1), last), (y, state))


@pytest.mark.parametrize("gradients", [True, False])
def test_steps_equal_the_sequence_from_a_carried_state(causal, u, irregular, gradients):
    dt, state = gaps(causal, irregular), carried(causal)
    y, last = causal(u, state, dt)
    with torch.set_grad_enabled(gradients):
        for t in range(LENGTH):
            before = map_state(torch.clone, state)
            y_t, after = causal.step(u[:, t], state, part(dt, t))
            assert_same(state, before)
            assert_same(y_t.detach(), y[:, t].detach())
            state = after
    assert_same(map_state(torch.Tensor.detach, state), map_state(torch.Tensor.detach, last))


def test_a_layer_that_is_not_causal_has_no_step(layer, u):
    if layer.supports_step:
        pytest.skip("the layer is causal")
    with pytest.raises(ValueError, match=type(layer).__name__):
        layer.step(u[:, 0], layer.initial_state(BATCH))


def test_outputs_depend_on_later_inputs_only_if_the_layer_is_bidirectional(layer, u, irregular, request):
    dt, changed = gaps(layer, irregular), u.clone()
    changed[:, 10:] += 1
    same = torch.allclose(layer(u, dt=dt)[0][:, :10], layer(changed, dt=dt)[0][:, :10], atol=1e-12)
    assert same == ("bidirectional" not in request.node.callspec.params["layer"])
    assert same or not layer.supports_step


def test_dt_of_one_is_a_regular_step(layer, u):
    if not layer.supports_dt:
        pytest.skip("the layer does not support irregular steps")
    assert_same(layer(u, dt=torch.ones(BATCH, LENGTH, dtype=torch.float64)), layer(u), atol=1e-10)


def test_outputs_and_gradients_are_finite_after_a_long_gap(layer, u):
    if not layer.supports_dt:
        pytest.skip("the layer does not support irregular steps")
    dt = torch.ones(BATCH, LENGTH)
    dt[:, 7], dt[0, 9] = 1e6, 1e-6
    y, _ = layer.float()(u.float(), dt=dt)
    y.square().mean().backward()
    assert torch.isfinite(y).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)


@pytest.mark.parametrize("value", [-1000.0, -45.0, 45.0, 1000.0])
def test_outputs_and_gradients_are_finite_for_extreme_logarithms(layer, u, irregular, value):
    """Decay rates and steps whose exponentials overflow in float32."""
    if type(layer) not in LAYERS.values():
        pytest.skip("an example of the tests")
    layer, u, dt = layer.float(), u.float(), gaps(layer, irregular)
    of_averages = "average.delta", "average.alpha"
    names = [name for name, _ in layer.named_parameters() if "log" in name or name in of_averages]
    for name in names:
        drawn = copy.deepcopy(layer)
        drawn.get_parameter(name).data.fill_(value)
        y, _ = drawn(u, dt=None if dt is None else dt.float())
        y.mean().backward()
        assert torch.isfinite(y).all(), name
        for other, parameter in drawn.named_parameters():
            assert parameter.grad is None or torch.isfinite(parameter.grad).all(), (name, other)


def test_a_step_without_length_and_input_leaves_the_state(causal):
    if not causal.supports_dt:
        pytest.skip("the layer does not support irregular steps")
    state = carried(causal)
    zeros = torch.zeros(BATCH, 4, WIDTH, dtype=torch.float64)
    assert_same(causal(zeros, state, zeros[..., 0])[1], state)
    assert_same(causal.step(zeros[:, 0], state, zeros[:, 0, 0])[1], state)


@pytest.mark.parametrize("begin", [0, 4, LENGTH])
def test_padding_changes_nothing(layer, u, begin):
    """Steps without length and input, before, between or after the others."""
    if not layer.supports_dt:
        pytest.skip("the layer does not support irregular steps")
    dt, padding = gaps(layer, True), torch.zeros(BATCH, 3, WIDTH, dtype=torch.float64)
    expected = layer(u, dt=dt)
    y, state = layer(
        torch.cat([u[:, :begin], padding, u[:, begin:]], 1),
        dt=torch.cat([dt[:, :begin], padding[..., 0], dt[:, begin:]], 1),
    )
    assert_same((torch.cat([y[:, :begin], y[:, begin + 3 :]], 1), state), expected)


def test_dt_is_refused_by_layers_without_it(layer, u):
    dt = torch.ones(BATCH, LENGTH, dtype=torch.float64)
    encoder = Encoder(WIDTH, 1, layer=lambda width: layer).double()
    assert encoder.supports_dt == layer.supports_dt
    if layer.supports_dt:
        encoder(u, dt=dt)
        return
    with pytest.raises(ValueError, match=f"{type(layer).__name__} does not support dt"):
        encoder(u, dt=dt)
    with pytest.raises(ValueError, match=f"{type(layer).__name__} does not support dt"):
        encoder.step(u[:, 0], encoder.initial_state(BATCH), dt[:, 0])


def test_advance(causal):
    """It composes, and equals steps without input if the discretization is exact."""
    state, elapsed = carried(causal), torch.tensor([[0.0, 0.5, 3.0]] * BATCH, dtype=torch.float64)
    if not causal.supports_advance:
        with pytest.raises(NotImplementedError, match=type(causal).__name__):
            causal.advance(state, elapsed)
        return
    later = causal.advance(state, elapsed)
    assert_same(map_state(lambda x: x[:, 0], later), state)
    once = map_state(lambda x: x[:, 1], later)
    assert_same(
        map_state(lambda x: x[:, 0], causal.advance(once, elapsed[:, 2:] - 0.5)), map_state(lambda x: x[:, 2], later)
    )
    if getattr(causal, "discretization", "zoh") != "bilinear":
        zeros = torch.zeros(BATCH, WIDTH, dtype=torch.float64)
        assert_same(causal.step(zeros, state, elapsed[:, 1])[1], once)


def test_saved_parameters_give_the_same_layer(layer, u, request):
    other = drawn(request.node.callspec.params["layer"])
    other.reset_parameters()
    assert not torch.equal(other(u)[0], layer(u)[0])
    other.load_state_dict(layer.state_dict())
    assert_same(other(u), layer(u), atol=0)
    assert_same(copy.deepcopy(layer)(u), layer(u), atol=0)


def test_the_same_seed_draws_the_same_parameters(layer):
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        layer.reset_parameters()
        draws.append(torch.cat([p.detach().flatten() for p in layer.parameters()]))
    assert torch.equal(*draws)


def test_float32_follows_float64(layer, u, irregular):
    dt = gaps(layer, irregular)
    exact, _ = layer(u, dt=dt)
    rounded, _ = layer.float()(u.float(), dt=None if dt is None else dt.float())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("irregular", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("variant", LAYERS)
def test_compiled_and_exported_layers_give_the_same_result(variant, u, irregular):
    layer = drawn(variant)
    arguments = (u[:, :6], None, part(gaps(layer, irregular), slice(6)))
    expected = layer(*arguments)
    with torch.no_grad():
        assert_same(torch.compile(layer, fullgraph=True, backend="aot_eager")(*arguments), expected)
        assert_same(torch.export.export(layer, arguments).module()(*arguments), expected)
    torch.compiler.reset()


def test_gradients_equal_finite_differences(layer, u):
    """Along one direction of all parameters."""
    torch.manual_seed(2)
    parameters, weights = list(layer.parameters()), torch.randn_like(u)
    directions = [torch.randn_like(p) for p in parameters]
    gradients = torch.autograd.grad((layer(u)[0] * weights).sum(), parameters)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    values = []
    with torch.no_grad():
        for size in (1e-6, -2e-6):
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=size)
            values.append((layer(u)[0] * weights).sum())
    torch.testing.assert_close((values[0] - values[1]) / 2e-6, slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch_size", [0, 2])
@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_short_and_empty_sequences(layer, batch_size, length, irregular):
    dt = gaps(layer, irregular)
    dt = None if dt is None else dt[:batch_size, :length]
    u = torch.randn(batch_size, length, WIDTH, dtype=torch.float64)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            y, state = layer(u, dt=dt)
            assert y.shape == u.shape
            assert_same(
                map_state(torch.zeros_like, state), map_state(torch.zeros_like, layer.initial_state(batch_size))
            )
            if length == 0:
                assert_same(state, layer.initial_state(batch_size))
    y, _ = layer(u, dt=dt)
    if y.requires_grad:
        y.sum().backward()


@pytest.mark.parametrize("variant", VARIANTS)
def test_step_scale_shortens_all_steps(variant, u):
    """It equals steps of half the length, and parameters for half the length."""
    layer, (cls, arguments) = drawn(variant), VARIANTS[variant]
    if "step_scale" not in cls.generic_arguments:
        pytest.skip("the layer has no step_scale")
    half = cls(WIDTH, **{**arguments, "step_scale": 0.5 * layer.step_scale}).double()
    half.load_state_dict(layer.state_dict())
    found, _ = half(u)
    assert not torch.allclose(found, layer(u)[0])
    if half.supports_dt and half.supports_step:
        assert_same(found, layer(u, dt=torch.full((BATCH, LENGTH), 0.5, dtype=torch.float64))[0], atol=1e-10)
    if hasattr(layer, "log_step"):
        with torch.no_grad():
            layer.log_step.sub_(math.log(2))
        assert_same(found, layer(u)[0], atol=1e-10)


def test_devices(layer):
    """All tensors are created on the device of the parameters, which is checked without a GPU."""
    meta = copy.deepcopy(layer).to("meta")
    assert all(tensor.device.type == "meta" for tensor in flatten_state(meta.initial_state(2)))
    y, state = meta(torch.empty(2, 5, WIDTH, device="meta", dtype=torch.float64))
    assert all(tensor.device.type == "meta" for tensor in (y, *flatten_state(state)))


@pytest.mark.parametrize("variant", LAYERS)
def test_low_precision(variant, u):
    """Under autocast states keep their precision; parameters may be in bfloat16."""
    layer, u = drawn(variant).float(), u.float()
    exact, state = layer(u)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, found = layer(u)
    assert (y.float() - exact).abs().max() < 0.05 * exact.abs().max()
    assert [x.dtype for x in flatten_state(found)] == [x.dtype for x in flatten_state(state)]
    y, _ = layer.bfloat16()(u.bfloat16())
    assert y.dtype == torch.bfloat16 and torch.isfinite(y).all()


SLOW = {"dt_min": 1e-3, "dt_max": 2e-3, "r_min": 0.999, "r_max": 0.9995}


@pytest.mark.parametrize("variant", ["s5", "s5-bilinear", "s5-chunked", "s4", "s4d", "dss", "lru", "liquid_s4"])
def test_states_decay_in_bfloat16_as_in_float32(variant, irregular):
    """Slow states, without input. Factors near 1 would be rounded to 1."""
    torch.manual_seed(0)
    cls, arguments = VARIANTS[variant]
    slow = {name: value for name, value in SLOW.items() if name in inspect.signature(cls).parameters}
    layer = cls(WIDTH, **arguments, **slow).bfloat16()
    exact, zeros = copy.deepcopy(layer).float(), torch.zeros(BATCH, 2000, WIDTH, dtype=torch.bfloat16)
    dt = torch.ones(BATCH, 2000) if irregular else None
    with torch.no_grad():
        _, state = exact(torch.randn(BATCH, 50, WIDTH))
        expected = size(exact(zeros.float(), state, dt)[1])
        assert expected < 0.8 * size(state)
        y, last = layer(zeros, state.bfloat16(), dt)
        assert y.dtype == torch.bfloat16 and size(last) == pytest.approx(expected, rel=0.05)
        state = state.bfloat16()
        for u_t in zeros.unbind(1):
            y, state = layer.step(u_t, state, None if dt is None else dt[:, 0])
        assert y.dtype == torch.bfloat16 and size(state) == pytest.approx(expected, rel=0.05)


def size(state):
    return torch.linalg.vector_norm(state.double()).item()


@pytest.mark.parametrize("variant", LAYERS)
def test_autocast_keeps_states_over_irregular_steps(variant):
    layer, u = drawn(variant).float(), torch.randn(2, 200, WIDTH)
    if not layer.supports_dt:
        pytest.skip("the layer does not support irregular steps")
    dt = 2 * torch.rand(2, 200)
    exact, _ = layer(u, dt=dt)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(u, dt=dt)
    assert (y.float() - exact).abs().max() < 0.05 * exact.abs().max()
    assert all(x.dtype in (torch.float32, torch.int64) for x in flatten_state(state))


def test_dynamics_parameters_belong_to_the_layer(layer):
    own = {id(p) for p in layer.parameters()}
    dynamics = [id(p) for p in layer.dynamics_parameters()]
    assert len(set(dynamics)) == len(dynamics) and set(dynamics) <= own


def test_step_matrices(causal, u):
    """If a layer returns matrices, they compute one step."""
    matrices = causal.step_matrices()
    if matrices is None:
        assert not isinstance(causal, S5) or causal.backend == "chunked"
        return
    state = carried(causal)
    y, after = causal.step(u[:, 0], state)
    found = torch.view_as_complex((matrices.B @ u[:, 0].T).T.unflatten(1, (2, -1)).movedim(1, -1).contiguous())
    found = found + torch.complex(*matrices.Lambda_bar) * torch.complex(*state.unbind(1))
    found = torch.stack([found.real, found.imag], 1)
    assert_same(found, after)
    assert_same(found.flatten(1) @ matrices.C.T + matrices.D * u[:, 0], y)


@pytest.mark.parametrize("states", [S5(WIDTH, 8), ChannelStates(WIDTH)], ids=["dense", "channelwise"])
def test_steps_follow_changes_of_the_parameters(states, u):
    states = states.double()
    state = carried(states)
    for name, _ in states.named_parameters():
        with torch.no_grad():
            states.step(u[:, 0], state)
            getattr(states, name).mul_(1.1)
        expected = states.step(u[:, 0], state)
        with torch.no_grad():
            assert_same(states.step(u[:, 0], state), map_state(torch.Tensor.detach, expected))


def test_channel_states_are_separate_systems(u):
    """Each channel is the layer with dense matrices of the same values."""
    layer = drawn("toy-channels")

    class Dense(ChannelStates):
        def input_matrix(self):
            own = torch.eye(self.width).repeat_interleave(self.state_size, 0)
            return self.B.unsqueeze(-1) * own

        def output_matrix(self):
            own = torch.eye(self.width).repeat_interleave(self.state_size, 0).T
            return self.C.unsqueeze(1) * own

    dense = Dense(WIDTH).double()
    dense.load_state_dict(layer.state_dict())
    assert_same(layer(u), dense(u))
    assert dense.step_matrices() is not None and layer.step_matrices() is None


def test_states_are_flattened_and_restored():
    a, b, c = (torch.full((2,), float(k)) for k in range(3))
    state = (a, (b, (c,)))
    assert [id(x) for x in flatten_state(state)] == [id(a), id(b), id(c)]
    assert restore_state([c, b, a], state) == (c, (b, (a,)))
    assert map_state(lambda x: x + 1, (a, b))[1].tolist() == [2, 2]
    assert restore_state([b], a) is b
    with pytest.raises(ValueError, match="3 tensors, got 2"):
        restore_state([a, b], state)


@pytest.fixture
def convolution(monkeypatch):
    monkeypatch.setitem(LAYERS, "convolution", CausalConvolution)


def test_layer_arguments(convolution):
    preferred = {"state_size": 8, "bidirectional": True}
    assert layer_arguments("s5", preferred=preferred) == preferred
    given = {"bidirectional": False, "discretization": "dirac"}
    assert layer_arguments("s5", given, preferred=preferred) == {"state_size": 8, **given}
    assert layer_arguments("convolution", {"kernel_size": 3}, preferred=preferred) == {"kernel_size": 3}
    assert layer_arguments("s5", {"step_scale": 1.0}, required={"step_scale": 0.5}) == {"step_scale": 0.5}
    with pytest.raises(ValueError, match=r"'convolution' does not take step_scale, .* use 's5'"):
        layer_arguments("convolution", required={"step_scale": 0.5})
    with pytest.raises(ValueError, match="'convolution' has no argument 'kernel' in layer_kwargs; it has kernel_size"):
        layer_arguments("convolution", {"kernel": 3})
    with pytest.raises(ValueError, match="unknown layer 'gru'"):
        layer_arguments("gru")


def test_the_contract_is_abstract():
    for cls in (StateSpaceLayer, DiagonalLayer):
        assert inspect.isabstract(cls)
