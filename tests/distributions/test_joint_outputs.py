"""Outputs that are joint over series, against dense covariances and definitions."""

import numpy as np
import pytest
import torch
from gluonts.core import serde
from torch.distributions import Laplace, MultivariateNormal, Normal

from s5forecast.distributions import LaplaceOutput, NormalOutput
from s5forecast.distributions.gaussian_copula import GaussianCopulaOutput
from s5forecast.distributions.joint import ENERGY_SAMPLES, energy, nll
from s5forecast.distributions.multivariate_normal import MultivariateNormalOutput
from s5forecast.evaluation.scores import energy_score

D, R, B = 5, 2, 3
OUTPUTS = {
    "normal": MultivariateNormalOutput(D, R),
    "copula": GaussianCopulaOutput(D, R),
    "laplace_copula": GaussianCopulaOutput(D, R, LaplaceOutput()),
}


def arguments(output, spread=1.0, dtype=torch.float64, seed=0, count=B):
    generator = torch.Generator().manual_seed(seed)
    raw = [spread * torch.randn(count, size, generator=generator, dtype=dtype) for size in output.args_dim.values()]
    return output.domain_map(*raw)


def dense(args):
    loc, scale, factor = args
    correlation = torch.eye(loc.shape[-1], dtype=loc.dtype) + factor @ factor.mT
    return MultivariateNormal(loc, scale.unsqueeze(-1) * correlation * scale.unsqueeze(-2))


@pytest.fixture(params=OUTPUTS)
def output(request):
    return OUTPUTS[request.param]


@pytest.fixture
def value():
    return torch.randn(B, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_density_is_that_of_the_dense_covariance(value):
    output = OUTPUTS["normal"]
    args = arguments(output)
    expected = dense(args).log_prob(value)
    assert torch.allclose(output.distribution(args).log_prob(value), expected)
    assert torch.allclose(-output.loss(value, args), expected)
    assert torch.allclose(output.masked_log_prob(value, torch.ones_like(value), args), expected)
    loc, scale = torch.tensor(2.0), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=torch.float64)
    moved = output.distribution(args, loc=loc, scale=scale).log_prob(loc + scale * value)
    assert torch.allclose(moved, expected - scale.log().sum())


def test_missing_values_are_integrated_out(value):
    output = OUTPUTS["normal"]
    args = arguments(output)
    mask = torch.tensor([[1.0, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.float64)
    found = output.masked_log_prob(torch.where(mask > 0, value, 1e6), mask, args)
    whole = dense(args)
    for row in range(B):
        seen = mask[row] > 0
        expected = torch.tensor(0.0, dtype=torch.float64)
        if seen.any():
            covariance = whole.covariance_matrix[row][seen][:, seen]
            expected = MultivariateNormal(whole.loc[row, seen], covariance).log_prob(value[row, seen])
        assert torch.isclose(found[row], expected)


def test_missing_values_leave_the_other_marginals(output, value):
    args = arguments(output)
    for d in range(D):
        mask = torch.zeros_like(value)
        mask[:, d] = 1
        whole = output.distribution(args)
        if isinstance(output, GaussianCopulaOutput):
            expected = whole.marginals.log_prob(value)[:, d]
        else:
            expected = Normal(whole.mean[:, d], whole.variance[:, d].sqrt()).log_prob(value[:, d])
        assert torch.allclose(output.masked_log_prob(value, mask, args), expected, atol=1e-10)


def test_samples_have_the_mean_and_covariance(output):
    torch.manual_seed(0)
    args = arguments(output)
    whole = output.distribution(args)
    samples = output.rsample(args, 40_000)
    assert samples.shape == (40_000, B, D)
    error = (whole.variance / len(samples)).sqrt()
    assert ((samples.mean(0) - whole.mean).abs() < 5 * error).all()
    assert torch.allclose(samples.var(0), whole.variance, rtol=0.1)
    if output is OUTPUTS["normal"]:
        covariance = dense(args).covariance_matrix
        for row in range(B):
            limit = 0.05 * covariance[row].diag().max()
            assert (torch.cov(samples[:, row].T) - covariance[row]).abs().max() < limit
            again = whole.sample((1000,))
            assert again.shape == (1000, B, D)


def test_a_copula_of_normal_marginals_is_the_multivariate_normal(value):
    output = OUTPUTS["copula"]
    args = arguments(output)
    whole = output.distribution(args)
    scale = whole.marginals.stddev
    expected = MultivariateNormal(whole.mean, scale.unsqueeze(-1) * whole.correlation * scale.unsqueeze(-2))
    assert torch.allclose(whole.log_prob(value), expected.log_prob(value), atol=1e-6)


def test_a_copula_keeps_its_marginals_and_correlations():
    torch.manual_seed(0)
    output = OUTPUTS["laplace_copula"]
    args = arguments(output, seed=3)
    whole = output.distribution(args)
    assert torch.allclose(torch.diagonal(whole.correlation, dim1=-2, dim2=-1), torch.ones(B, D, dtype=torch.float64))
    samples = whole.rsample((50_000,))
    levels = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    expected = Laplace(args[0], args[1]).icdf(levels[:, None, None])
    below = (samples.unsqueeze(0) <= expected.unsqueeze(1)).double().mean(1)
    assert (below - levels[:, None, None]).abs().max() < 5 * 0.5 / 50_000**0.5
    scores = torch.special.ndtri(whole.marginals.cdf(samples))
    for row in range(B):
        assert (torch.corrcoef(scores[:, row].T) - whole.correlation[row]).abs().max() < 0.03


def test_the_density_of_a_copula_integrates_to_one():
    output = GaussianCopulaOutput(2, 1, LaplaceOutput())
    args = arguments(output, seed=2, count=1)
    whole = output.distribution(args)
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    # over the unit square the density of the copula, f(y) / f_1(y_1) f_2(y_2), has the integral one
    y = torch.stack(torch.meshgrid(u, u, indexing="ij"), -1).flatten(0, 1)
    y = whole.marginals.icdf(y)
    ratio = whole.log_prob(y) - whole.marginals.log_prob(y).sum(-1)
    assert ratio.exp().mean().item() == pytest.approx(1, abs=0.01)


def test_the_energy_loss_is_the_energy_score(output, value):
    torch.manual_seed(0)
    args = arguments(output)
    mask = torch.ones_like(value)
    mask[0, 2] = 0
    found = torch.stack([energy(output, value, mask, args) for _ in range(300)])
    samples = output.rsample(args, 1000)
    seen = torch.where(mask > 0, value, torch.nan)
    count = len(samples)
    label = seen.numpy()
    expected = energy_score(label, samples.movedim(0, -1).numpy())
    # the score of the sample counts each draw with itself, the loss does not
    away = [np.linalg.norm((samples[:, b].numpy() - label[b])[:, ~np.isnan(label[b])], axis=1).mean() for b in range(B)]
    expected = expected - (np.array(away) - expected) / (count - 1)
    error = found.std(0).numpy() / len(found) ** 0.5
    assert (np.abs(found.mean(0).numpy() - expected) < 5 * error + 0.02 * expected).all()
    assert ENERGY_SAMPLES > 1


@pytest.mark.parametrize("loss", [nll, energy])
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_losses_and_gradients_are_finite(output, loss, spread):
    torch.manual_seed(0)
    raw = [spread * torch.randn(6, size) for size in output.args_dim.values()]
    raw = [x.requires_grad_() for x in raw]
    ratios = torch.tensor([0, 1e-6, -1, 1e3, -1e6, 1e12])
    target = ratios[:, None].expand(-1, D)
    mask = torch.ones_like(target)
    mask[2, 1:] = 0
    found = loss(output, target, mask, output.domain_map(*raw))
    assert found.dtype == torch.float32 and torch.isfinite(found).all()
    found.mean().backward()
    assert all(torch.isfinite(x.grad).all() for x in raw)


def test_single_precision_reaches_far_values(output):
    args = arguments(output, dtype=torch.float32)
    whole = output.distribution(args)
    for away in (0.5, 5.0, 8.0, -30.0):
        value = (whole.mean + away * whole.variance.sqrt()).requires_grad_()
        density = whole.log_prob(value)
        assert torch.isfinite(density).all() and torch.isfinite(torch.autograd.grad(density.sum(), value)[0]).all()
        wide = output.loss(value.double(), tuple(arg.double() for arg in args))
        loss = output.loss(value, args)
        assert loss.dtype == torch.float32 and torch.allclose(loss.double(), wide, rtol=1e-6)


def test_one_dimension_is_the_univariate_normal(value):
    output, normal = MultivariateNormalOutput(1, 1), NormalOutput()
    loc, scale = value[:, :1], value[:, 1:2]
    args = output.domain_map(loc, scale, torch.zeros(B, 1, dtype=torch.float64))
    expected = normal.distribution(normal.domain_map(loc, scale)).log_prob(value[:, 2])
    assert torch.allclose(output.distribution(args).log_prob(value[:, 2:3]), expected)


def test_saved_as_plain_data(output):
    again = serde.decode(serde.encode(output))
    assert (
        serde.encode(again) == serde.encode(output) and again.args_dim == output.args_dim and again.event_shape == (D,)
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="dim and rank"):
        MultivariateNormalOutput(0)
    with pytest.raises(ValueError, match="MultivariateNormalOutput is not a univariate distribution"):
        GaussianCopulaOutput(2, 1, MultivariateNormalOutput(2))
