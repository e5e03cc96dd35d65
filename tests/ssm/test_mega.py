"""The mathematics of Mega; its contract is tested in test_layer_contract.py."""

import numpy as np
import pytest
import torch
from reference import assert_close, assert_close_in_float32, cases, load
from scipy.special import erf, expit
from torch.nn.functional import batch_norm, layer_norm, linear, silu

from s5forecast.ssm import Mega
from s5forecast.ssm.attention import ATTENTIONS, BIASES, RotaryBias, SimpleBias
from s5forecast.ssm.ema import DampedEMA
from s5forecast.ssm.mega import _distances

WIDTH = 6


def np_silu(x):
    return x * expit(x)


def ema(p, x, dt):
    """The moving averages of ``x [B, T, H]`` by their recurrence, in NumPy."""

    def average(d, x, dt):
        h, y = 0, []
        P = expit(p["delta"][d])
        for t in range(x.shape[1]):
            decay = (1 - P * expit(p["alpha"][d])) ** dt[:, t, None, None]
            h = decay * h + P * p["beta"][d] * x[:, t, :, None]
            y.append((p["gamma"][d] / np.sqrt(P.shape[-1]) * h).sum(-1))
        return np.stack(y, 1)

    y = average(0, x, dt)
    if len(p["delta"]) == 2:
        until_next = np.concatenate([dt[:, 1:], np.ones_like(dt[:, :1])], 1)
        y = y + average(1, x[:, ::-1], until_next[:, ::-1])[:, ::-1]
    return y + p["omega"] * x


def weights(attention, scores, bias, visible, size):
    if attention == "softmax":
        e = np.where(visible, np.exp(scores / np.sqrt(size) + bias), 0)
        return e / e.sum(-1, keepdims=True)
    s = scores / visible.sum(-1, keepdims=True) + bias
    if attention == "relu2":
        return np.maximum(s, 0) ** 2 * visible
    return (1 + erf((s - 0.707107) / (0.282095 * np.sqrt(2)))) / 2 * visible


def rotated(vector, position):
    """Pairs of numbers, one of each half, as complex numbers that turn with the position."""
    half = len(vector) // 2
    angle = position * 10_000.0 ** (-np.arange(half) / half)
    return (vector[:half] + 1j * vector[half:]) * np.exp(1j * angle)


def position_bias(p, query, keys):
    """Biases ``[K]`` of the keys at some positions."""
    if "bias.weight" in p:
        return p["bias.weight"][len(p["bias.weight"]) // 2 + keys - query]
    a = rotated(p["bias.alpha"], query)
    return np.array([(a.conj() * rotated(p["bias.beta"], key)).sum().real for key in keys])


def evaluate(layer, attention, u, dt=None):
    """The definition, with one loop over queries, in NumPy."""
    dt = np.ones(u.shape[:2]) if dt is None else dt
    p = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    z, v, H, T = layer.key_size, layer.value_size, layer.width, u.shape[1]
    m = np_silu(ema({name.split(".")[1]: value for name, value in p.items() if name.startswith("average")}, u, dt))
    gate, hidden, direct = np.split(m @ p["mixed.weight"].T + p["mixed.bias"], [H, H + z + v], -1)
    shared, reset = np.split(np_silu(hidden), [z], -1)
    q, k = (shared * p["scale"][i] + p["shift"][i] for i in range(2))
    values = np_silu(u @ p["values.weight"].T + p["values.bias"])
    size, attended = layer.chunk_size or T, []
    for t in range(T):
        start = t // size * size
        keys = np.arange(start, t + 1 if not layer.bidirectional else min(start + size, T))
        bias = position_bias(p, t, keys)
        scores = np.einsum("bz,bsz->bs", q[:, t], k[:, keys])
        a = weights(attention, scores, bias, np.ones_like(scores), z)
        attended.append(np.einsum("bs,bsv->bv", a, values[:, keys]))
    h = np_silu(direct + (np.stack(attended, 1) * reset) @ p["attended.weight"].T)
    phi = expit(gate)
    return phi * h + (1 - phi) * u


def drawn(**arguments):
    """A layer whose parameters are so large that each of them matters."""
    torch.manual_seed(0)
    layer = Mega(WIDTH, max_positions=40, **arguments).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


@pytest.mark.parametrize("irregular", [False, True])
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("chunk_size", [None, 8])
def test_outputs_equal_the_definition(attention, chunk_size, bidirectional, bias, irregular):
    layer = drawn(attention=attention, chunk_size=chunk_size, bidirectional=bidirectional, bias=bias)
    rng = np.random.default_rng(0)
    u, dt = rng.normal(size=(2, 37, WIDTH)), rng.uniform(0.1, 3, size=(2, 37)) if irregular else None
    y, _ = layer(torch.from_numpy(u), dt=None if dt is None else torch.from_numpy(dt))
    assert_close(y, evaluate(layer, attention, u, dt), 1e-12)


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 4, 16])
@pytest.mark.parametrize("begin", [0, 5, 10])
def test_padding_is_not_seen(begin, chunk_size, bidirectional, bias):
    """Neither before, between nor after the steps, of which there are more than the padding."""
    layer = drawn(chunk_size=chunk_size, bias=bias, bidirectional=bidirectional)
    u, gap = torch.randn(2, 10, WIDTH, dtype=torch.float64), torch.zeros(2, 3, WIDTH, dtype=torch.float64)
    dt = torch.ones(2, 13, dtype=torch.float64)
    dt[:, begin : begin + 3] = 0
    y, state = layer(u)
    padded, after = layer(torch.cat([u[:, :begin], gap, u[:, begin:]], 1), dt=dt)
    torch.testing.assert_close(padded[:, dt[0] > 0], y)
    torch.testing.assert_close(after, state)


def test_chunks_as_long_as_the_sequence_are_full_attention():
    torch.manual_seed(0)
    full = Mega(WIDTH, chunk_size=None, max_positions=16).double()
    chunk = Mega(WIDTH, chunk_size=16).double()
    chunk.load_state_dict(full.state_dict())
    u = torch.randn(2, 16, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(chunk(u)[0], full(u)[0])


def test_more_steps_than_positions_are_refused():
    layer = Mega(WIDTH, chunk_size=None, max_positions=8)
    _, state = layer(torch.randn(1, 8, WIDTH))
    with pytest.raises(ValueError, match="at most max_positions=8 steps, got 9; set chunk_size"):
        layer.step(torch.randn(1, WIDTH), state)
    both = Mega(WIDTH, chunk_size=None, max_positions=8, bidirectional=True)
    both(torch.randn(1, 8, WIDTH))
    with pytest.raises(ValueError, match="at most max_positions=8 steps, got 9"):
        both(torch.randn(1, 9, WIDTH))


def test_averages_without_memory_are_finite():
    """Factors q that round to zero, as after long training, and padding."""
    layer = Mega(WIDTH, bidirectional=True)
    with torch.no_grad():
        layer.average.alpha.fill_(50)
        layer.average.delta.fill_(50)
    dt = torch.ones(2, 9)
    dt[:, :3] = 0
    for steps in (None, dt):
        layer.zero_grad()
        y, _ = layer(torch.randn(2, 9, WIDTH), dt=steps)
        y.square().mean().backward()
        assert torch.isfinite(y).all()
        assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_arguments_are_checked():
    for arguments, message in (
        ({"attention": "relu"}, "'relu2'"),
        ({"bias": "none"}, "'rotary'"),
        ({"key_size": 3}, "even"),
    ):
        with pytest.raises(ValueError, match=message):
            Mega(WIDTH, **arguments)
    assert list(Mega(WIDTH).dynamics_parameters()) == []


def time_first(y):
    return y.detach().transpose(0, 1)


def loaded_ema(case, prefix=""):
    names = ("delta", "alpha", "beta", "gamma", "omega")
    width = len(case[f"{prefix}omega"])
    directions, size = len(case[f"{prefix}gamma"]) // width, case[f"{prefix}gamma"].shape[1]
    return load(DampedEMA(width, size, directions == 2), **{name: case[f"{prefix}{name}"] for name in names})


def loaded(case, attention, prefix="", bias="rel_pos_bias_rel_pos_bias"):
    chunk = int(case["chunk_size"])
    matrices = {name: case[f"{prefix}{name}"] for name in ("v_proj_weight", "mx_proj_weight", "h_proj_weight")}
    layer = Mega(
        matrices["v_proj_weight"].shape[1],
        ema_size=case[f"{prefix}move_gamma"].shape[1],
        key_size=case[f"{prefix}gamma"].shape[1],
        value_size=len(matrices["v_proj_weight"]),
        attention=attention,
        chunk_size=None if chunk < 0 else chunk,
        max_positions=int(case.get("max_positions", 0)),
        bidirectional=len(case[f"{prefix}move_gamma"]) == 2 * matrices["v_proj_weight"].shape[1],
    )
    layer.average = loaded_ema(case, f"{prefix}move_")
    values = {
        "values.weight": case[f"{prefix}v_proj_weight"], "values.bias": case[f"{prefix}v_proj_bias"],
        "mixed.weight": case[f"{prefix}mx_proj_weight"], "attended.weight": case[f"{prefix}h_proj_weight"],
        "scale": case[f"{prefix}gamma"], "shift": case[f"{prefix}beta"], "bias.weight": case[f"{prefix}{bias}"],
    }  # fmt: skip
    # Two biases of the published layer are added to each other.
    mixed = case[f"{prefix}mx_proj_bias"].copy()
    mixed[-layer.width :] += case[f"{prefix}h_proj_bias"]
    return load(layer, **values, **{"mixed.bias": mixed})


@pytest.mark.shared
@cases("mega_ema")
def test_reference_of_moving_averages(case):
    layer, x = loaded_ema(case), torch.from_numpy(case["x"]).transpose(0, 1)
    zeros, steps = torch.zeros(len(x), layer.width, layer.size, dtype=torch.float64), x.shape[1]
    impulse = torch.zeros_like(x[:1]).index_fill(1, torch.tensor(0), 1.0)
    kernels = [layer._average(d, impulse, zeros[:1], None)[0][0].T for d in range(len(layer.delta))]
    reach = case["K"].shape[1]
    assert_close(torch.cat(kernels)[:, :reach], case["K"])
    if reach < steps:
        return  # the published kernel is cut off
    masked, dt = x, None
    if "padding_mask" in case:  # at the end
        real = torch.from_numpy(~case["padding_mask"]).double()
        masked, dt = x * real.unsqueeze(-1), real
    y = silu(layer(masked, zeros, dt)[0])
    if dt is not None:
        assert_close(y[dt > 0], case["y"].swapaxes(0, 1)[~case["padding_mask"]])
        return
    assert_close(time_first(y), case["y"])
    assert_close_in_float32(layer, lambda layer: layer(x.to(layer.omega), zeros.to(layer.omega))[0])
    if "final_state" in case:
        state, outputs = zeros, []
        for t in range(steps):
            y_t, state = layer(x[:, t : t + 1], state)
            outputs.append(silu(y_t))
        assert_close(time_first(torch.cat(outputs, 1)), case["y_step"])
        assert_close(state, case["final_state"])
        first, half = layer(x[:, : steps // 2], zeros)
        assert_close(half, case["state_after_half"])
        second, last = layer(x[:, steps // 2 :], half)
        assert_close(last, case["state_after_all"])
        assert_close(time_first(silu(torch.cat([first, second], 1))), case["y_two_blocks"])


@pytest.mark.shared
@cases("mega_block")
def test_reference_blocks(case, request):
    attention = request.node.callspec.id.split("/")[1].split("_")[0]
    layer, x = loaded(case, attention), torch.from_numpy(case["x"]).transpose(0, 1)
    norm = [torch.from_numpy(case[f"norm_norm_{name}"]) for name in ("weight", "bias")]
    if "running_mean" in case:
        running = [torch.tensor(case[f"running_{name}"]) for name in ("mean", "var")]
        training = bool(case["bn_train"])
        normed = batch_norm(x.flatten(0, 1), *running, *norm, training=training).view_as(x)
        gate, candidate, _ = layer.gate_and_candidate(normed)
        assert_close(time_first(torch.lerp(x, candidate, gate)), case["y"])
        return
    assert not case["prenorm"]
    if "padding_mask" in case:  # at the end
        real = torch.from_numpy(~case["padding_mask"]).double()
        y = layer_norm(layer(x * real.unsqueeze(-1), dt=real)[0], (WIDTH,), *norm)
        assert_close(y[real > 0], case["y"].swapaxes(0, 1)[~case["padding_mask"]])
        return
    assert_close(time_first(layer_norm(layer(x)[0], (WIDTH,), *norm)), case["y"])
    assert_close_in_float32(layer, lambda layer: layer(x.to(layer.scale))[0])
    if "y_step" in case:
        state, outputs = layer.initial_state(len(x)), []
        for t in range(x.shape[1]):
            y, state = layer.step(x[:, t], state)
            outputs.append(layer_norm(y, (WIDTH,), *norm))
        assert_close(torch.stack([y.detach() for y in outputs]), case["y_step"])


@pytest.mark.shared
@cases("mega_encoder_layer")
def test_reference_encoder_layers(case, request):
    attention = request.node.callspec.id.split("/")[1].split("_")[0]
    layer, x = loaded(case, attention, "mega_layer_"), torch.from_numpy(case["x"]).transpose(0, 1)

    def scaled(x, scalar):
        return x * torch.from_numpy(scalar) / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-5)

    y = scaled(layer(x)[0], case["mega_layer_norm_norm_scalar"])
    fc1, fc2 = ([torch.from_numpy(case[f"nffn_fc{k}_{name}"]) for name in ("weight", "bias")] for k in (1, 2))
    assert_close(time_first(scaled(y + linear(silu(linear(y, *fc1)), *fc2), case["nffn_norm_norm_scalar"])), case["y"])


@pytest.mark.shared
@cases("mega_attn_fn")
def test_reference_attention_functions(case, request):
    name = request.node.callspec.id.split("/")[1]
    assert_close(ATTENTIONS[name].weights(torch.from_numpy(case["x"])), case["y"])


@pytest.mark.shared
@cases("mega_rel_bias")
def test_reference_biases(case):
    """The published rotations are computed in float32."""
    positions = int(case["max_positions"])
    if "b" in case:
        bias, tolerance = load(SimpleBias(positions, 2), weight=case["b"]), 1e-9
    else:
        bias, tolerance = load(RotaryBias(positions, 6), alpha=case["alpha"], beta=case["beta"]), 1e-6
    for size in (16, 8):
        assert_close(bias(_distances(size, "cpu")), case[f"M{size}"], tolerance)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("dtype", (torch.float16, torch.bfloat16))
def test_gradients_of_unseen_keys_are_finite_in_half_precision(attention, dtype):
    """Queries within padding see no key."""
    torch.manual_seed(0)
    layer = Mega(WIDTH, attention=attention, chunk_size=8)
    dt = torch.ones(2, 40)
    dt[1, :20] = 0
    with torch.autocast("cpu", dtype=dtype):
        y, _ = layer(torch.randn(2, 40, WIDTH) * (dt > 0).unsqueeze(-1), dt=dt)
    y.float().sum().backward()
    assert y.isfinite().all() and all(p.grad.isfinite().all() for p in layer.parameters() if p.grad is not None)
