"""Paths advanced together equal single steps of the encoder."""

import copy

import pytest
import torch
from toy_layers import CausalConvolution, ChannelStates

from s5forecast.nn import ACTIVATIONS, Encoder
from s5forecast.nn.stepper import FusedStepper, Stepper, make_stepper
from s5forecast.ops.cpu import pool


def drawn_encoder(width, state_size, layers, activation="half_glu2", **layer_kwargs):
    torch.manual_seed(0)
    layer_kwargs = {"state_size": state_size, **layer_kwargs}
    encoder = Encoder(width, layers, layer_kwargs=layer_kwargs, activation=activation, dropout=0.2).eval()
    for name, parameter in encoder.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter)
    return encoder


def states_of(stepper, paths):
    """``[L, R, 2N]``"""
    if isinstance(stepper, FusedStepper):
        return stepper.tiles.permute(1, 0, 3, 2).flatten(1, 2)[:, :paths]
    return torch.stack(stepper.state).flatten(2)


def advance_paths(encoder, paths, steps=4, states=3, outputs=5, differ=2):
    """Advance paths from the states of a random past; return the stepper, all outputs and the last states."""
    torch.manual_seed(1)
    width, dtype = encoder.blocks[0].layer.width, encoder.blocks[0].layer.D.dtype
    source = torch.arange(paths) % states
    shapes = (states, 6, width), (steps, states, width), (steps, differ, paths), (width, differ), (outputs, width)
    before, u, v, A, E = (torch.randn(shape, dtype=torch.float64).to(dtype) for shape in shapes)
    e = E.sum(1)
    with torch.no_grad():
        _, state = encoder(before)
        kept = [x.clone() for x in state]
        stepper = make_stepper(encoder, state, source, E, e)
        y = torch.stack([stepper(u[t], v[t], A) for t in range(steps)])
        assert all(map(torch.equal, state, kept))
    return stepper, y, states_of(stepper, paths)


def check(encoder, paths):
    fused, y, state = advance_paths(encoder, paths)
    plain, expected, expected_state = advance_paths(copy.deepcopy(encoder).double(), paths)
    assert isinstance(fused, FusedStepper) and isinstance(plain, Stepper)
    assert y.dtype == torch.float32 and y.shape == (4, 5, paths)
    for found, truth in ((y, expected), (state, expected_state)):
        scale = truth.abs().max().clamp(min=1).item()
        torch.testing.assert_close(found.double(), truth, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("paths", (1, 63, 64, 65, 1000))
@pytest.mark.parametrize("width, state_size, layers", ((64, 64, 2), (33, 10, 3), (5, 130, 1), (1, 2, 1), (40, 24, 2)))
def test_sizes(width, state_size, layers, paths):
    check(drawn_encoder(width, state_size, layers), paths)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    check(drawn_encoder(12, 8, 2, activation), 50)


@pytest.mark.parametrize("discretization", ("zoh", "bilinear", "dirac"))
@pytest.mark.parametrize("conj_sym", (False, True))
def test_layers(discretization, conj_sym):
    check(drawn_encoder(7, 6, 2, discretization=discretization, conj_sym=conj_sym, step_scale=0.5), 20)


def test_mixtures_of_layers():
    """S5 keeps one state of each pair, LRU all of them."""
    torch.manual_seed(0)
    sizes = [{"state_size": 8}, {"state_size": 4}]
    check(Encoder(7, 3, layer=["s5", "lru"], layer_kwargs=sizes).eval(), 70)


def test_uninitialized_memory_is_not_read(monkeypatch):
    new_empty = torch.Tensor.new_empty

    def poisoned(self, *shape, **kwargs):
        return new_empty(self, *shape, **kwargs).fill_(torch.nan)

    monkeypatch.setattr(torch.Tensor, "new_empty", poisoned)
    check(drawn_encoder(12, 8, 2), 70)


def test_large_inputs_saturate():
    encoder = drawn_encoder(8, 6, 2)
    with torch.no_grad():
        for block in encoder.blocks:
            block.layer.D.mul_(1000)
            block.activation.linear.bias.mul_(1000)
    check(encoder, 30)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    encoder, results = drawn_encoder(20, 16, 2), []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(advance_paths(encoder, 500)[1:])
    for one, many in zip(*results, strict=True):
        assert torch.equal(one, many)


def test_a_path_does_not_depend_on_its_neighbors():
    _, many, _ = advance_paths(drawn_encoder(20, 16, 2), 100, differ=0)
    _, one, _ = advance_paths(drawn_encoder(20, 16, 2), 1, differ=0)
    assert torch.equal(many[:, :, :1], one)


def test_a_nan_stays_with_its_path():
    encoder = drawn_encoder(20, 16, 2)
    torch.manual_seed(0)
    v, A, E = torch.randn(1, 30), torch.randn(20, 1), torch.randn(3, 20)
    v[0, 7] = torch.nan
    with torch.no_grad():
        stepper = make_stepper(encoder, encoder.initial_state(1), torch.zeros(30, dtype=torch.int64), E, E[:, 0])
        assert isinstance(stepper, FusedStepper)
        y = stepper(torch.randn(1, 20), v, A)
    assert y[:, 7].isnan().all() and y.isnan().sum() == 3


def test_unsupported_encoders_are_not_fused():
    source, E = torch.zeros(2, dtype=torch.int64), torch.zeros(3, 4)

    def made(encoder, dtype=torch.float32):
        state = encoder.to(dtype).initial_state(1)
        return type(make_stepper(encoder, state, source, E.to(dtype), E[:, 0].to(dtype)))

    def encoder(**arguments):
        return Encoder(4, 1, layer_kwargs={"state_size": 2, **arguments.pop("layer_kwargs", {})}, **arguments).eval()

    assert made(encoder()) is Stepper  # gradients are enabled
    with torch.no_grad():
        assert made(encoder()) is FusedStepper
        assert made(encoder().train()) is Stepper
        assert made(encoder(prenorm=False)) is Stepper
        assert made(encoder(norm="batch")) is Stepper
        assert made(encoder(layer_kwargs={"backend": "chunked"})) is Stepper
        assert made(encoder(), torch.float64) is Stepper
        assert made(encoder(), torch.bfloat16) is Stepper
        both = encoder(layer_kwargs={"bidirectional": True})
        with pytest.raises(ValueError, match="bidirectional"):
            make_stepper(both, both.initial_state(1), source, E, E[:, 0])(E[:1], E[:1, :2], E[:1].T)


def test_the_plain_stepper_can_be_differentiated():
    encoder, E = drawn_encoder(6, 4, 2), torch.randn(2, 6, requires_grad=True)
    stepper = make_stepper(encoder, encoder.initial_state(1), torch.zeros(3, dtype=torch.int64), E, E[:, 0])
    stepper(torch.randn(1, 6), torch.randn(2, 3), torch.randn(6, 2)).sum().backward()
    assert E.grad is not None and encoder.blocks[0].layer.Lambda.grad is not None


WITHOUT_MATRICES = [
    (CausalConvolution, None),
    (ChannelStates, None),
    *[(name, {"state_size": 4}) for name in ("s4", "s4d", "dss", "liquid_s4")],
    ("mega", {"chunk_size": 3}),
    (["s5", "mega"], {"state_size": 4, "chunk_size": 3}),
]


@pytest.mark.parametrize(("layer", "arguments"), WITHOUT_MATRICES, ids=str)
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64), ids=str)
def test_layers_without_step_matrices(layer, arguments, dtype):
    """Their states are copied for each path, including states of several tensors."""
    torch.manual_seed(0)
    encoder = Encoder(6, 2, layer=layer, layer_kwargs=arguments).to(dtype).eval()
    source = torch.tensor([2, 0, 2, 1])
    past, u, A, E = (torch.randn(shape, dtype=dtype) for shape in ((3, 5, 6), (2, 3, 6), (6, 2), (4, 6)))
    v = torch.randn(2, 2, 4, dtype=dtype)
    with torch.no_grad():
        _, state = encoder(past)
        stepper = make_stepper(encoder, state, source, E, E[:, 0])
        assert type(stepper) is Stepper
        y = torch.stack([stepper(u[t], v[t], A) for t in range(2)])
        inputs = torch.stack([u[t][source] + v[t].T @ A.T for t in range(2)], 1)
        h, _ = encoder(torch.cat([past[source], inputs], 1))
    atol = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(y, (h[:, -2:] @ E.T + E[:, 0]).permute(1, 2, 0), rtol=10 * atol, atol=atol)
