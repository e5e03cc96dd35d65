"""Outputs: domains, moments and quantiles that do not cross."""

import numpy as np
import pytest
import torch
from gluonts.torch.distributions import ISQFOutput, LaplaceOutput, PoissonOutput
from gluonts.torch.distributions import QuantileOutput as GluonTSQuantileOutput
from scipy import stats

from s5forecast.distributions import (
    DISTRIBUTIONS,
    NegativeBinomialOutput,
    NormalOutput,
    QuantileOutput,
    StudentTOutput,
    is_real,
    make_output,
    support,
)
from s5forecast.levels import DECILES

LEVELS = [0.05, 0.1, 0.3, 0.5, 0.8, 0.95]


@pytest.fixture(params=DISTRIBUTIONS)
def output(request):
    return make_output(request.param, LEVELS)


def raw_arguments(output, count=40, spread=3.0, dtype=torch.float32):
    torch.manual_seed(0)
    return [spread * torch.randn(count, size, dtype=dtype) for size in output.args_dim.values()]


@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
def test_loss_and_gradients_are_finite_at_extreme_inputs(output, spread):
    raw = [x.requires_grad_() for x in raw_arguments(output, spread=spread)]
    target = torch.cat([torch.linspace(-1e3, 1e3, 10), torch.logspace(-3, 6, 20).round(), torch.linspace(0.1, 0.9, 10)])
    target = torch.where(support(output).check(target), target, output.value_in_support)
    output.loss(target, output.domain_map(*raw)).mean().backward()
    assert all(torch.isfinite(x.grad).all() for x in raw)


def test_saved_by_gluonts(output):
    from gluonts.core import serde

    again = serde.decode(serde.encode(output))
    assert type(again) is type(output) and again.args_dim == output.args_dim


def test_negative_binomial_has_the_mean_and_variance_it_names():
    mean, dispersion = torch.tensor([4.0]), torch.tensor([0.5])
    distribution = NegativeBinomialOutput().distribution((mean, dispersion), scale=torch.tensor([3.0]))
    assert distribution.mean.item() == pytest.approx(12)
    assert distribution.variance.item() == pytest.approx(12 + 0.5 * 12**2, rel=1e-4)
    counts = torch.arange(0, 3000.0)
    total = distribution.log_prob(counts).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(mean, torch.tensor([4.0])), "the arguments were changed in place"
    with pytest.raises(ValueError, match="loc"):
        NegativeBinomialOutput().distribution((mean, dispersion), loc=mean)


def test_normal_scale_does_not_underflow():
    _, scale = NormalOutput().domain_map(torch.zeros(1, 1), torch.full((1, 1), -200.0))
    assert scale.item() > 0


def test_quantiles_never_cross():
    output = QuantileOutput(LEVELS)
    for spread in (0.01, 1.0, 100.0):
        (quantiles,) = output.domain_map(*raw_arguments(output, 200, spread))
        assert (quantiles.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("levels", [[0.5], [0.1, 0.9], [0.1, 0.5, 0.9], list(np.arange(1, 20) / 20)])
def test_any_number_of_quantiles_reaches_any_increasing_values(levels):
    output = QuantileOutput(list(levels))
    wanted = torch.tensor(stats.norm.ppf(levels), dtype=torch.float64).reshape(1, -1)
    raw = torch.zeros_like(wanted).requires_grad_()
    optimizer = torch.optim.LBFGS([raw], max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (output.domain_map(raw)[0] - wanted).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure().item() < 1e-6


def test_pinball_loss_is_minimal_at_the_quantiles():
    torch.manual_seed(0)
    samples = torch.randn(20_000, dtype=torch.float64)
    output = QuantileOutput(LEVELS)
    exact = torch.tensor(stats.norm.ppf(LEVELS))
    best = output.loss(samples, (exact.expand(20_000, -1),)).mean()
    for shift in (-0.1, 0.1):
        assert output.loss(samples, ((exact + shift).expand(20_000, -1),)).mean() > best


def test_mean_of_a_quantile_function():
    levels = np.arange(1, 20) / 20
    weights = QuantileOutput(list(levels)).mean_weights().numpy()
    assert weights.sum() == pytest.approx(1)
    # exact where the quantile function is linear, close for smooth ones, skewed or not
    assert weights @ stats.uniform(2, 5).ppf(levels) == pytest.approx(4.5)
    assert weights @ stats.norm(3, 2).ppf(levels) == pytest.approx(3, abs=1e-9)
    assert weights @ stats.gamma(4).ppf(levels) == pytest.approx(4, rel=0.01)
    # close levels keep the weights bounded, and without a slope a tail is flat
    near = QuantileOutput([0.1, 0.11, 0.5, 0.9]).mean_weights()
    assert near.abs().max() < 1 and near.sum().item() == pytest.approx(1)
    assert QuantileOutput([0.9]).mean_weights().tolist() == [1.0]


def test_choices():
    assert isinstance(make_output("student_t"), StudentTOutput)

    class Own(LaplaceOutput):
        pass

    own = Own()
    assert make_output("quantile", [0.05, 0.5]).quantiles == [0.05, *DECILES]
    assert isinstance(make_output(GluonTSQuantileOutput([0.2, 0.7])), QuantileOutput)
    replaced = make_output(PoissonOutput(beta=0.5))
    assert type(replaced) is type(make_output("poisson")) and replaced.beta == 0.5
    with pytest.raises(ValueError, match=r"GluonTS's ISQFOutput is not supported; .*'quantile'"):
        make_output(ISQFOutput(5, [0.1, 0.9]))
    assert make_output(own) is own and is_real(own)
    assert not is_real(NegativeBinomialOutput()) and is_real(QuantileOutput(LEVELS))
    with pytest.raises(ValueError, match="'negative_binomial'"):
        make_output("gauss")
    for levels in ([], [0.0, 0.5], [1.1], [0.5, 0.5]):
        with pytest.raises(ValueError, match="quantile_levels"):
            make_output("quantile", levels)
