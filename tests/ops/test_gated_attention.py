"""The fused gated attention equals that of the layer, composed of PyTorch operators, in value and in every gradient."""

from itertools import product

import pytest
import torch

from s5forecast.ops import attention, gated_attention
from s5forecast.ops.cpu import pool
from s5forecast.ssm import Mega, mega

WIDTH, CHUNK = 6, 40


def drawn(kind="softmax", causal=True, dtype=torch.float64, chunk_size=CHUNK, bias="simple"):
    torch.manual_seed(0)
    layer = Mega(
        WIDTH, attention=kind, bidirectional=not causal, chunk_size=chunk_size, max_positions=150, bias=bias
    ).to(torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.to(dtype)


def inputs(batch, length, layer):
    given = torch.randn(2, batch, length, WIDTH, dtype=torch.float64).to(layer.scale).unbind()
    chunk = min(layer.chunk_size or length, length)
    bias = layer.bias(torch.arange(chunk - 1, -chunk, -1)).detach()
    given = [*given, *(layer.state_dict()[name] for name in NAMES), bias]
    return [v.detach().clone().requires_grad_() for v in given]


NAMES = "mixed.weight", "mixed.bias", "values.weight", "values.bias", "attended.weight", "scale", "shift"


def with_gradients(layer, u):
    y, state = layer(u)
    torch.manual_seed(1)
    loss = (y * torch.randn_like(y)).sum() + sum(v.square().sum() for v in state if v.is_floating_point())
    return [y.detach(), *torch.autograd.grad(loss, [u, *layer.parameters()])]


def assert_equal_to_composition(layer, u, monkeypatch):
    found = with_gradients(layer, u)
    with monkeypatch.context() as patch:
        patch.setattr(mega, "fuses", lambda *_: False)
        expected = with_gradients(layer, u)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        tolerance = 1e-12 if u.dtype == torch.float64 else 1e-5
        scale = max(1.0, float(b.abs().max()))  # gradients of the shift of keys are zero for softmax, up to rounding
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", (torch.float64, torch.float32), ids=str)
@pytest.mark.parametrize("causal", (True, False))
@pytest.mark.parametrize("kind", attention.KINDS)
def test_fused_is_the_composition(kind, causal, dtype, monkeypatch):
    monkeypatch.setattr(pool, "WORTH_A_THREAD", 1)
    layer = drawn(kind, causal, dtype)
    for threads, shape in product((1, 3), ((2, 97), (1, 7), (3, 2 * CHUNK))):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        u = torch.randn(*shape, WIDTH, dtype=dtype, requires_grad=True)
        assert_equal_to_composition(layer, u, monkeypatch)


def test_attention_to_all_steps(monkeypatch):
    layer = drawn(chunk_size=None, bias="rotary")
    u = torch.randn(2, 140, WIDTH, dtype=torch.float64, requires_grad=True)
    assert_equal_to_composition(layer, u, monkeypatch)


def test_large_numbers_are_finite():
    """Scores beyond the range of the exponential, and gates that are closed."""
    layer = drawn(dtype=torch.float32)
    u = (100 * torch.randn(2, 50, WIDTH)).requires_grad_()
    assert all(v.isfinite().all() for v in with_gradients(layer, u))


def test_nan_reaches_the_output():
    u = torch.zeros(1, 50, WIDTH)
    u[0, 45] = torch.nan
    y = drawn(dtype=torch.float32)(u)[0]
    assert y[:, 45:].isnan().all() and y[:, :CHUNK].isfinite().all()


def test_gradients_equal_finite_differences():
    given = inputs(1, 7, drawn())
    assert torch.autograd.gradcheck(lambda *x: gated_attention(*x, kind="softmax", causal=True), given)


def test_arguments_are_checked():
    given = inputs(2, 9, drawn())
    for place, value, message in (
        (1, given[1][..., :4], "'u' has shape"),
        (0, given[0][:1], "'averaged' has shape"),
        (2, given[2][:-1], "'mixed' has shape"),
        (6, given[6][:-1], "'attended' has shape"),
        (9, given[9][:-1], "'bias' has shape"),
        (1, given[1].float(), "all float32 or all float64"),
    ):
        arguments = [*given[:place], value, *given[place + 1 :]]
        with pytest.raises(ValueError, match=message):
            gated_attention(*arguments, kind="softmax", causal=True)
    with pytest.raises(ValueError, match="'kind' is 'relu'"):
        gated_attention(*given, kind="relu", causal=True)


def test_opcheck():
    for kind, causal in product(attention.KINDS, (True, False)):
        torch.library.opcheck(attention.gated_attention, (*inputs(2, 9, drawn(kind, causal)), kind, causal))
