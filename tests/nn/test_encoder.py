"""Blocks, encoder, input features, patches and heads."""

import pytest
import torch
from gluonts.torch.distributions import PoissonOutput
from torch.nn.functional import softplus
from toy_layers import CausalConvolution, ChannelStates

from s5forecast.distributions import NegativeBinomialOutput, QuantileOutput
from s5forecast.nn import (
    ACTIVATIONS,
    Block,
    CategoryEmbedding,
    Encoder,
    LinearPath,
    OutputHead,
    Patching,
    SeasonalSkip,
    Standardization,
    StepCategories,
)
from s5forecast.nn.block import NORMS, BatchNorm, SharedDropout
from s5forecast.nn.heads import inverse_softplus
from s5forecast.ssm import LAYERS, LRU, S4D, S5, flatten_state

WIDTH = 6


@pytest.fixture(params=[(a, p, n) for a in ACTIVATIONS for p in (True, False) for n in NORMS], ids=str)
def encoder(request):
    torch.manual_seed(0)
    activation, prenorm, norm = request.param
    return Encoder(
        WIDTH, 2, layer_kwargs={"state_size": 4}, activation=activation, prenorm=prenorm, norm=norm, dropout=0.3
    ).double()


def check_steps(encoder, irregular):
    encoder.eval()
    u = torch.randn(3, 15, WIDTH, dtype=torch.float64)
    dt = torch.rand(3, 15, dtype=torch.float64) + 0.1 if irregular else None
    y, last = encoder(u, dt=dt)
    assert y.shape == u.shape and encoder.supports_step
    head, state = encoder(u[:, :6], encoder.initial_state(3), None if dt is None else dt[:, :6])
    assert torch.allclose(head, y[:, :6], atol=1e-12)
    for t in range(6, 15):
        y_t, state = encoder.step(u[:, t], state, None if dt is None else dt[:, t])
        assert torch.allclose(y_t, y[:, t], atol=1e-12)
    for a, b in zip(flatten_state(state), flatten_state(last), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("irregular", [False, True])
def test_encoder_step_by_step_equals_parallel_from_a_carried_state(encoder, irregular):
    encoder(torch.randn(3, 15, WIDTH, dtype=torch.float64))  # running statistics of a batch norm
    check_steps(encoder, irregular)


@pytest.mark.parametrize("layer", [CausalConvolution, ChannelStates])
def test_encoder_of_other_layers(layer):
    torch.manual_seed(0)
    encoder = Encoder(WIDTH, 2, layer=layer).double()
    check_steps(encoder, False)
    assert encoder.supports_dt == encoder.supports_advance == (layer is ChannelStates)
    assert all(len(tensor) == 4 for tensor in flatten_state(encoder.initial_state(4)))


def test_encoder_of_all_causal_layers():
    torch.manual_seed(0)
    layers = [name for name in LAYERS if name != "dss_softmax"]
    encoder = Encoder(WIDTH, len(layers), layer=layers, layer_kwargs={"state_size": 4, "chunk_size": 4}).double()
    check_steps(encoder, False)
    check_steps(encoder, True)


def test_batch_norm_takes_statistics_over_batch_and_time():
    torch.manual_seed(0)
    norm, x = BatchNorm(WIDTH), 3 + 2 * torch.randn(4, 50, WIDTH)
    y = norm(x)
    torch.testing.assert_close(y.mean((0, 1)), torch.zeros(WIDTH), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.var((0, 1), correction=0), torch.ones(WIDTH), rtol=0, atol=1e-3)
    running = norm.running_mean.clone()
    step = norm(x[:, 0])
    assert torch.equal(norm.running_mean, running)  # a single step uses the running statistics, also in training
    torch.testing.assert_close(step, norm.eval()(x)[:, 0])


def test_every_parameter_of_the_encoder_is_trained(encoder):
    encoder(torch.randn(3, 15, WIDTH, dtype=torch.float64))[0].square().mean().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_dropout_only_in_training_and_shared_over_time():
    dropout = SharedDropout(0.5)
    x = torch.ones(4, 7, 50)
    dropped = dropout(x)
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropout.eval()(x), x)


def test_a_bidirectional_block_has_no_step():
    block = Block(S5(WIDTH, 4, bidirectional=True), WIDTH)
    assert not block.supports_step
    with pytest.raises(ValueError, match="bidirectional"):
        block.step(torch.zeros(1, WIDTH), block.initial_state(1))


def test_layers_and_activations_by_name():
    with pytest.raises(ValueError, match="'s5'"):
        Encoder(WIDTH, 1, layer="gru")
    with pytest.raises(ValueError, match="'full_glu'"):
        Encoder(WIDTH, 1, layer_kwargs={"state_size": 4}, activation="relu")
    with pytest.raises(ValueError, match="unknown norm 'group'; choose one of 'layer', 'batch'"):
        Encoder(WIDTH, 1, layer_kwargs={"state_size": 4}, norm="group")
    assert isinstance(Encoder(WIDTH, 1, layer=S5, layer_kwargs={"state_size": 4}).blocks[0].layer, S5)


def test_unknown_categories_are_embedded_as_zero():
    embedding = CategoryEmbedding([3, 2], 5).eval()
    codes = torch.tensor([[0, 1], [3, 7], [-1, 0]])
    found = embedding(codes)
    assert (found[1] == 0).all()
    assert torch.equal(found[0], embedding.tables[0].weight[0] + embedding.tables[1].weight[1])
    assert torch.equal(found[2], embedding.tables[1].weight[0])
    torch.manual_seed(0)
    hidden = CategoryEmbedding([3], 5, hidden=0.5)(torch.zeros(1000, 1, dtype=torch.int64))
    assert 400 < (hidden == 0).all(1).sum() < 600


def test_categories_of_steps_are_embedded_one_after_the_other():
    torch.manual_seed(0)
    embedding = StepCategories([3, 200, 1]).eval()
    assert embedding.width == 2 + 50 + 1
    codes = torch.tensor([[[0, 199, 0], [-1, 200, 5]], [[torch.nan, 7, torch.nan], [2, 0, -1]]])
    found = embedding(codes)
    assert found.shape == (2, 2, 53) and (found[0, 1] == 0).all()
    assert torch.equal(found[0, 0, :2], embedding.tables[0].weight[0])
    assert (found[1, 0, :2] == 0).all() and embedding.tables[0].weight[3].requires_grad  # missing, zero at first
    found.sum().backward()
    assert embedding.tables[0].weight.grad[3].any() and not embedding.tables[0].weight.grad[4].any()
    hidden = StepCategories([3], hidden=0.5)(torch.zeros(1000, 1))
    assert 400 < (hidden == 0).all(1).sum() < 600


def test_standardization():
    layer = Standardization(3)
    x = torch.tensor([[1.0, 5.0, torch.nan], [3.0, 5.0, torch.nan], [5.0, torch.nan, torch.nan]])
    layer.fit(x)
    z = layer(x)
    assert torch.isfinite(z).all() and z.shape == (3, 6)
    assert z[:, 0].mean().abs() < 1e-6 and z[:, 0].square().mean().item() == pytest.approx(1)
    assert (z[:2, 1] == 0).all() and z[:, 3:].tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert layer(torch.full((1, 3), 1e9))[0, 0] == 10


def test_linear_path_is_zero_at_first_and_has_its_rank():
    torch.manual_seed(0)
    values, path = torch.randn(5, 20), LinearPath(20, 7, rank=3)
    assert (path(values) == 0).all()
    torch.nn.init.normal_(path.horizon.weight)
    matrix = path.horizon.weight @ path.context.weight
    assert torch.linalg.matrix_rank(matrix) == 3
    assert torch.allclose(path(values), values @ matrix.T, atol=1e-5)


def test_linear_path_maps_each_phase_of_shorter_steps_to_the_same_phase():
    torch.manual_seed(0)
    values, path = torch.randn(5, 3 * 20), LinearPath(20, 7)
    torch.nn.init.normal_(path.horizon.weight)
    found = path(values)
    assert found.shape == (5, 3 * 7)
    for phase in range(3):
        assert torch.allclose(found[:, phase::3], path(values[:, phase::3]), atol=1e-5)


def test_seasonal_skip_is_a_convex_combination_of_observed_lags():
    torch.manual_seed(0)
    skip = SeasonalSkip(WIDTH, 4)
    lags = torch.randn(2, 5, 4)
    mask = torch.ones(2, 5, 4)
    assert torch.allclose(skip(torch.zeros(2, 5, WIDTH), lags, mask), lags.mean(-1))
    torch.nn.init.normal_(skip.weights.weight)
    mask[0, 0] = torch.tensor([0, 1, 0, 0])
    mask[0, 1] = 0
    found = skip(torch.randn(2, 5, WIDTH), lags * mask, mask)
    assert found[0, 0] == lags[0, 0, 1] and found[0, 1] == 0
    inside = (found <= lags.amax(-1) + 1e-6) & (found >= lags.amin(-1) - 1e-6)
    assert inside[1].all() and inside[0, 2:].all()


def test_an_offset_moves_the_mean_of_a_positive_output():
    torch.manual_seed(0)
    h, offset = torch.zeros(2, 3, WIDTH), torch.tensor([[0.0, 1e-3, 1.0], [5.0, 300.0, 1e6]])
    for output in (NegativeBinomialOutput(), PoissonOutput()):
        mean, *_ = OutputHead(WIDTH, output)(h, offset)
        assert torch.allclose(mean, offset, rtol=1e-3, atol=2e-4)


def test_inverse_softplus():
    y = torch.logspace(-4, 6, 50, dtype=torch.float64)
    assert torch.allclose(softplus(inverse_softplus(y)), y, rtol=1e-8)


def test_head_returns_the_arguments_of_its_output():
    (quantiles,) = OutputHead(WIDTH, QuantileOutput([0.1, 0.5, 0.9]))(torch.randn(2, 3, WIDTH))
    assert quantiles.shape == (2, 3, 3) and (quantiles.diff(dim=-1) > 0).all()


@pytest.mark.parametrize("length", [1, 4])
def test_a_patch_depends_only_on_its_own_steps(length):
    patching = Patching(3, 8, length)
    steps = torch.randn(2, 10, 3)
    patches = patching.group(steps)
    assert patches.shape == (2, -(-10 // length), 8)
    assert patching.split(patches).shape == (2, patches.shape[1] * length, 8)
    changed = steps.clone()
    changed[:, 5] += 1
    different = (patching.group(changed) != patches).any(-1)
    assert different[:, 5 // length].all()
    assert int(different.sum()) == 2


class RegularOnly(S5):
    """A layer that supports neither irregular steps nor :meth:`advance`."""

    supports_dt = False
    supports_advance = False


@pytest.mark.parametrize(
    ("layer", "ability", "message"),
    [
        (S5, "supports_step", "S5 layer has no step mode, because it is bidirectional; choose a causal one"),
        (RegularOnly, "supports_dt", "RegularOnly layer does not support irregular steps; choose one that does"),
        (RegularOnly, "supports_advance", "RegularOnly layer cannot be advanced"),
    ],
)
def test_require_names_the_layer_and_the_missing_ability(layer, ability, message):
    encoder = Encoder(4, 1, layer=layer, layer_kwargs={"state_size": 4, "bidirectional": ability == "supports_step"})
    with pytest.raises(ValueError, match=message):
        encoder.require(ability)
    Encoder(4, 1, layer_kwargs={"state_size": 4}).require("supports_step", "supports_dt", "supports_advance")


def test_a_list_of_layers_repeats_over_the_blocks():
    arguments = {"state_size": 4, "discretization": "bilinear", "r_min": 0.5}
    encoder = Encoder(WIDTH, 5, layer=["s5", "s4d", "lru"], layer_kwargs=arguments).double()
    layers = [block.layer for block in encoder.blocks]
    assert [type(layer) for layer in layers] == [S5, S4D, LRU, S5, S4D]
    assert layers[4].discretization == "bilinear" and layers[2].r_min == 0.5
    check_steps(encoder, False)
    check_steps(encoder, True)
    each = Encoder(WIDTH, 2, layer=["s5", "s4d"], layer_kwargs=[{"state_size": 6}, {"state_size": 4}])
    assert [block.layer.state_size for block in each.blocks] == [6, 4]


@pytest.mark.parametrize(
    ("layer", "arguments", "message"),
    [
        (["s5", "gru"], {"state_size": 4}, "unknown layer 'gru'"),
        ([], {}, "must name between 1 and num_layers=2 layers"),
        (["s5"] * 3, {"state_size": 4}, "must name between 1 and num_layers=2 layers"),
        (["s5", "lru"], {"state_size": 4, "gates": 1}, "none of the layers has an argument 'gates'.*'lru' has"),
    ],
)
def test_lists_of_layers_are_checked(layer, arguments, message):
    with pytest.raises(ValueError, match=message):
        Encoder(WIDTH, 2, layer=layer, layer_kwargs=arguments)


def test_a_list_of_layers_has_the_abilities_of_all():
    layers = [{"state_size": 4}, {"state_size": 4, "bidirectional": True}]
    encoder = Encoder(WIDTH, 2, layer=["s5", "lru"], layer_kwargs=layers)
    assert encoder.supports_dt and not encoder.supports_step
    with pytest.raises(ValueError, match="this LRU layer has no step mode, because it is bidirectional"):
        encoder.require("supports_dt", "supports_step")
