"""What GluonTS expects of any output and its distribution, for all of this package."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.core.component import equals
from gluonts.core.serde import dump_json, load_json
from gluonts.torch.model.forecast import DistributionForecast
from scipy import stats
from test_joint_outputs import OUTPUTS as JOINT
from test_output_contract import MEMBERS, TRAINED_BY, are_counts, parts, raw_arguments

from s5forecast.distributions import LOSSES, MixtureOutput, NormalOutput, PoissonOutput, QuantileOutput, is_real
from s5forecast.distributions.joint import JOINT_LOSSES
from s5forecast.distributions.zero_inflated import ZeroInflatedOutput

QUANTILES = QuantileOutput([0.1, 0.25, 0.5, 0.9])
ALL = {**MEMBERS, **{f"joint_{name}": output for name, output in JOINT.items()}, "quantile": QUANTILES}
WITH_DISTRIBUTION = [name for name in ALL if name != "quantile"]
LEVELS = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95], dtype=torch.float64)
# Interval of each argument, by its name without a number and the role in a joint output.
DOMAINS = {
    "loc": (-np.inf, np.inf), "logits": (-np.inf, np.inf), "factor": (-np.inf, np.inf), "outputs": (-np.inf, np.inf),
    "scale": (0, np.inf), "df": (2, np.inf), "mean": (0, np.inf), "median": (0, np.inf), "rate": (0, np.inf),
    "sigma": (0, 5), "dispersion": (0, 1e4), "concentration": (0, 1e6), "zero_logit": (-16, 16),
}  # fmt: skip


def projected(output, shape, dtype=torch.float64, spread=1.0):
    """Arguments of distributions of a batch shape, from the linear projections of random features."""
    torch.manual_seed(0)
    features = spread * torch.randn(*shape, 8, dtype=dtype)
    return output.domain_map(*(torch.nn.Linear(8, size, dtype=dtype)(features) for size in output.args_dim.values()))


@pytest.fixture(params=ALL)
def output(request):
    return ALL[request.param]


@pytest.mark.parametrize("spread", [1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arguments_are_in_their_domain(output, dtype, spread):
    args = projected(output, (50,), dtype, spread)
    assert len(args) == len(output.args_dim)
    for name, values in zip(output.args_dim, args, strict=True):
        lower, upper = DOMAINS[name.removeprefix("marginal_").rstrip("_0123456789")]
        assert values.dtype == dtype and len(values) == 50 and values.isfinite().all()
        assert (values > lower).all() and (values <= upper).all()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
@pytest.mark.parametrize("name", WITH_DISTRIBUTION)
def test_shapes(name, shape, scaled):
    output = ALL[name]
    event = output.event_shape
    kwargs = {"scale": torch.full((*shape, *event), 2.0, dtype=torch.float64)} if scaled else {}
    if scaled and name in MEMBERS and is_real(output):
        kwargs["loc"] = torch.ones(shape, dtype=torch.float64)
    args = projected(output, shape)
    distribution = output.distribution(args, **kwargs)
    assert distribution.batch_shape == shape and distribution.event_shape == event
    assert output.event_dim == len(event)
    values = draw(distribution)
    assert values.shape == (*shape, *event) and values.dtype == torch.float64
    for sizes in ((1,), (5, 2)):
        assert draw(distribution, sizes).shape == (*sizes, *shape, *event)
        assert distribution.log_prob(draw(distribution, sizes)).shape == (*sizes, *shape)
    for found in (distribution.log_prob(values), output.loss(values, args, **kwargs)):
        assert found.shape == shape and found.dtype == torch.float64
    for found in (distribution.mean, distribution.variance, distribution.stddev):
        assert found.shape == (*shape, *event) and found.isfinite().all()
    if name in MEMBERS:
        assert distribution.cdf(values).shape == shape == distribution.crps(values).shape
        levels = LEVELS.view(-1, *[1] * len(shape))
        assert distribution.icdf(levels).shape == (len(LEVELS), *shape)
        assert distribution.gini_mean_difference.shape == shape


def draw(distribution, sizes=()):
    return distribution.rsample(sizes) if hasattr(distribution, "marginals") else distribution.sample(sizes)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
def test_shapes_of_quantiles(shape):
    args = projected(QUANTILES, shape)
    (quantiles,) = args
    assert quantiles.shape == (*shape, 4) and (quantiles.diff(dim=-1) > 0).all()
    target = torch.zeros(shape, dtype=torch.float64)
    loss = QUANTILES.loss(target, args)
    assert loss.shape == shape and loss.dtype == torch.float64
    loc, scale = torch.full(shape, 3.0), torch.full(shape, 2.0)
    assert torch.allclose(QUANTILES.loss(loc + scale * target, args, loc=loc, scale=scale), 2 * loss)


@pytest.mark.parametrize("name", WITH_DISTRIBUTION)
def test_a_part_of_the_arguments_gives_a_part_of_the_distributions(name):
    """GluonTS makes one forecast of each series of a batch."""
    output = ALL[name]
    event = [1] * len(output.event_shape)
    args, scale = projected(output, (4, 3)), torch.arange(1, 5.0, dtype=torch.float64).view(4, 1, *event)
    whole = output.distribution(args, scale=scale)
    values = draw(whole)
    for k in range(4):
        one = output.distribution(tuple(arg[k] for arg in args), scale=scale[k])
        assert torch.allclose(one.log_prob(values[k]), whole.log_prob(values)[k])
        assert torch.allclose(one.mean.expand(3, *output.event_shape), whole.mean[k])


class Mixed:
    """Mixture of scipy's distributions; a number stands for an atom."""

    def __init__(self, weights, members):
        self.pairs = list(zip(weights, members, strict=True))

    def density(self, x):
        return sum(w * ((x == one) if isinstance(one, float) else density(one, x)) for w, one in self.pairs)

    def cdf(self, x):
        return sum(w * ((x >= one) if isinstance(one, float) else one.cdf(x)) for w, one in self.pairs)

    def mean(self):
        return sum(w * (one if isinstance(one, float) else one.mean()) for w, one in self.pairs)

    def var(self):
        squares = (w * (one**2 if isinstance(one, float) else one.var() + one.mean() ** 2) for w, one in self.pairs)
        return sum(squares) - self.mean() ** 2


def density(one, x):
    if hasattr(one, "density"):
        return one.density(x)
    return one.pmf(x) if hasattr(one.dist, "pmf") else one.pdf(x)


def beta(mean, concentration):
    mean = mean * (1 + mean**8) ** (-1 / 8)
    return stats.beta(mean * concentration, (1 - mean) * concentration)


REFERENCES = {
    "NormalOutput": stats.norm,
    "LaplaceOutput": stats.laplace,
    "StudentTOutput": stats.t,
    "LogNormalOutput": lambda median, sigma: stats.lognorm(sigma, scale=median),
    "GammaOutput": lambda mean, concentration: stats.gamma(concentration, scale=mean / concentration),
    "BetaOutput": beta,
    "PoissonOutput": stats.poisson,
    "NegativeBinomialOutput": lambda mean, dispersion: stats.nbinom(1 / dispersion, 1 / (1 + mean * dispersion)),
}


def reference(output, args):
    """The same distribution by scipy, of numbers."""
    if isinstance(output, MixtureOutput):
        *args, logits = args
        split = np.split(np.array(args, dtype=object), np.cumsum([len(one.args_dim) for one in parts(output)])[:-1])
        weights = np.exp(logits) / np.exp(logits).sum()
        return Mixed(weights, [reference(one, part) for one, part in zip(parts(output), split, strict=True)])
    if isinstance(output, ZeroInflatedOutput):
        *args, logit = args
        zero = 1 / (1 + np.exp(-logit))
        return Mixed([zero, 1 - zero], [0.0, reference(output.base, args)])
    if type(output).__name__ == "TruncatedNormalOutput":
        loc, scale = args
        return stats.truncnorm((output.lower - loc) / scale, (output.upper - loc) / scale, loc, scale)
    return REFERENCES[type(output).__name__](*args)


@pytest.mark.parametrize("name", MEMBERS)
def test_densities_probabilities_and_moments_are_those_of_scipy(name):
    output = MEMBERS[name]
    args = output.domain_map(*raw_arguments(output))
    distribution = output.distribution(args)
    values = torch.cat([distribution.icdf(LEVELS[:, None]), distribution.mean.round()[None]])
    values = torch.where(output.support.check(values), values, output.value_in_support)
    log_prob, cdf = distribution.log_prob(values), distribution.cdf(values)
    for k in range(values.shape[-1]):
        expected = reference(output, [arg[k].numpy() if arg.ndim > 1 else arg[k].item() for arg in args])
        x = values[:, k].numpy()
        np.testing.assert_allclose(log_prob[:, k].exp(), density(expected, x), rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(cdf[:, k], expected.cdf(x), rtol=1e-6, atol=1e-10)
        np.testing.assert_allclose(distribution.mean[k], expected.mean(), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(distribution.variance[k], expected.var(), rtol=1e-5)
        if not isinstance(expected, Mixed):
            np.testing.assert_allclose(distribution.icdf(LEVELS[:, None])[:, k], expected.ppf(LEVELS), rtol=1e-7)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", MEMBERS)
def test_samples_have_the_probabilities_of_the_distribution(name, scaled):
    torch.manual_seed(4)
    output, count = MEMBERS[name], 20_000
    args = output.domain_map(*raw_arguments(output))
    size = 0.5 if name == "beta" else 3.0  # more moves shares too close to 1 for float64
    distribution = output.distribution(args, scale=torch.full((6,), size, dtype=torch.float64) if scaled else None)
    values = distribution.icdf(LEVELS[:, None])
    below = (distribution.sample((count,)).unsqueeze(1) <= values).double().mean(0)
    assert ((below - distribution.cdf(values)).abs() < 5 * 0.5 / count**0.5).all()


@pytest.mark.parametrize("name", [name for name in MEMBERS if not MEMBERS[name].takes_loc])
def test_a_scale_multiplies_the_mean_and_a_location_is_refused(name):
    output = MEMBERS[name]
    args = output.domain_map(*raw_arguments(output))
    scale = torch.full((6,), 3.0, dtype=torch.float64)
    if name != "beta":  # whose values are not scaled
        assert torch.allclose(output.distribution(args, scale=scale).mean, 3 * output.distribution(args).mean)
    for function in (output.distribution, lambda args, loc: output.loss(scale / 3, args, loc=loc)):
        with pytest.raises(ValueError, match="has a limited support, which cannot be shifted"):
            function(args, loc=scale)


def fitted(loss, raw):
    """Arguments before the domain map for which a loss is minimal."""
    raw = [x.clone().requires_grad_() for x in raw]
    optimizer = torch.optim.LBFGS(raw, max_iter=150, line_search_fn="strong_wolfe", tolerance_change=1e-10)

    def closure():
        optimizer.zero_grad()
        value = loss(raw)
        value.backward()
        return value

    optimizer.step(closure)
    return [x.detach() for x in raw], closure().item()


@pytest.mark.parametrize(("name", "loss"), TRAINED_BY)
def test_parameters_are_inferred_from_samples(name, loss):
    torch.manual_seed(5)
    output = MEMBERS[name]
    raw = raw_arguments(output, count=1, seed=3)
    truth = output.distribution(output.domain_map(*raw))
    target = truth.sample((4000,)).squeeze(-1)

    def mean_loss(raw):
        args = output.domain_map(*raw)
        return LOSSES[loss](output, target, args, None, [0.1, 0.5, 0.9]).mean()

    found, reached = fitted(mean_loss, [x + 0.3 * torch.randn_like(x) for x in raw])
    assert reached <= mean_loss(raw).item() + 1e-6
    estimate = output.distribution(output.domain_map(*found))
    inner = LEVELS[1:-1, None]
    spread = truth.icdf(LEVELS[-1:]) - truth.icdf(LEVELS[:1])
    tolerance = 0.05 * spread + (1.0 if are_counts(output) else 0.0)
    assert ((estimate.icdf(inner) - truth.icdf(inner)).abs() <= tolerance).all()
    if loss == "nll" and not isinstance(output, MixtureOutput):
        assert torch.allclose(estimate.mean, truth.mean, atol=0.1 * spread.item())
        assert torch.allclose(estimate.stddev, truth.stddev, rtol=0.2)


def test_quantiles_are_inferred_from_samples():
    torch.manual_seed(5)
    target = torch.randn(4000, dtype=torch.float64) * 2 + 1
    start = [torch.zeros(1, 4, dtype=torch.float64)]
    found, _ = fitted(lambda raw: QUANTILES.loss(target, QUANTILES.domain_map(*raw)).mean(), start)
    (quantiles,) = QUANTILES.domain_map(*found)
    levels = torch.tensor(QUANTILES.quantiles, dtype=torch.float64)
    assert torch.allclose(quantiles[0], target.quantile(levels), atol=0.05)


@pytest.mark.parametrize("name", JOINT)
def test_joint_parameters_are_inferred_from_samples(name):
    torch.manual_seed(6)
    output = JOINT[name]
    raw = [torch.randn(1, size, dtype=torch.float64) for size in output.args_dim.values()]
    truth = output.distribution(output.domain_map(*raw))
    target = draw(truth, (3000,)).squeeze(1)
    mask = torch.ones_like(target)

    def mean_loss(raw):
        return JOINT_LOSSES["nll"](output, target, mask, output.domain_map(*raw)).mean()

    found, reached = fitted(mean_loss, [x + 0.3 * torch.randn_like(x) for x in raw])
    estimate = output.distribution(output.domain_map(*found))
    assert reached <= mean_loss(raw).item() + 1e-6
    spread = truth.stddev
    assert ((estimate.mean - truth.mean).abs() < 0.1 * spread).all()
    assert torch.allclose(estimate.stddev, spread, rtol=0.1)
    correlations = [torch.corrcoef(draw(one, (20_000,))[:, 0].T) for one in (estimate, truth)]
    assert torch.allclose(*correlations, atol=0.1)


def test_copies_and_saved_outputs_are_equal(output):
    text = dump_json(output)
    for again in (pickle.loads(pickle.dumps(output)), copy.deepcopy(output), load_json(text)):
        assert type(again) is type(output) and equals(again, output) and dump_json(again) == text
        assert again.args_dim == output.args_dim and again.event_shape == output.event_shape
        assert again.value_in_support == output.value_in_support


@pytest.mark.parametrize("name", WITH_DISTRIBUTION)
def test_distributions_are_pickled(name):
    output = ALL[name]
    scale = torch.full(output.event_shape, 2.0, dtype=torch.float64)
    distribution = output.distribution(tuple(arg.detach() for arg in projected(output, (3,))), scale=scale)
    again = pickle.loads(pickle.dumps(distribution))
    values = draw(distribution, (5,))
    assert torch.equal(again.log_prob(values), distribution.log_prob(values))
    torch.manual_seed(1)
    expected = draw(distribution, (5,))
    torch.manual_seed(1)
    assert torch.equal(draw(again, (5,)), expected)


@pytest.mark.parametrize("name", MEMBERS)
def test_forecasts_of_gluonts_hold_every_distribution(name):
    output = MEMBERS[name]
    distribution = output.distribution(output.domain_map(*raw_arguments(output)))
    start = pd.Period("2024-01-01", "D")
    forecast = DistributionForecast(distribution, start)
    assert forecast.prediction_length == 6 and list(forecast.index) == list(pd.period_range(start, periods=6))
    for level in (0.1, 0.5, 0.9):
        expected = distribution.icdf(torch.tensor([level], dtype=torch.float64)).numpy()
        for spelling in (level, str(level), f"p{round(100 * level)}"):
            np.testing.assert_allclose(forecast.quantile(spelling), expected, rtol=1e-5, atol=1e-6)  # float32 levels
    np.testing.assert_array_equal(forecast.mean, distribution.mean)
    samples = forecast.to_sample_forecast(50).samples
    assert samples.shape == (50, 6) and output.support.check(torch.from_numpy(samples)).all()


@pytest.mark.parametrize("output", [NormalOutput(beta=0.5), PoissonOutput(beta=0.5)])
def test_a_likelihood_may_be_weighted_by_the_variance(output):
    args = output.domain_map(*raw_arguments(output))
    target = torch.ones(6, dtype=torch.float64)
    distribution = output.distribution(args)
    expected = -distribution.log_prob(target) * distribution.variance**0.5
    assert torch.allclose(output.loss(target, args), expected)
    assert load_json(dump_json(output)).beta == 0.5
