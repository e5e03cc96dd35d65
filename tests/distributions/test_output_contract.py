"""The contract of all outputs: density, quantiles, moments, CRPS, scaling, extremes and saving."""

import numpy as np
import pytest
import torch
from gluonts.core import serde
from scipy import special
from torch.distributions import constraints

from s5forecast.distributions import (
    LOSSES,
    BetaOutput,
    GammaOutput,
    HurdleLogNormalOutput,
    LaplaceOutput,
    LogNormalOutput,
    MixtureOutput,
    NegativeBinomialOutput,
    NormalOutput,
    PoissonOutput,
    StudentTOutput,
    TruncatedNormalOutput,
    ZeroInflatedNegativeBinomialOutput,
    ZeroInflatedPoissonOutput,
    is_real,
    losses_of,
    make_output,
)
from s5forecast.distributions.special import log_beta_half

# Add new outputs here. Each entry has an output and the arguments of six distributions.
MEMBERS = {
    "normal": NormalOutput(),
    "laplace": LaplaceOutput(),
    "student_t": StudentTOutput(),
    "log_normal": LogNormalOutput(),
    "gamma": GammaOutput(),
    "beta": BetaOutput(),
    "poisson": PoissonOutput(),
    "negative_binomial": NegativeBinomialOutput(),
    "zero_inflated_poisson": ZeroInflatedPoissonOutput(),
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomialOutput(),
    "hurdle_log_normal": HurdleLogNormalOutput(),
    "truncated_normal": TruncatedNormalOutput(),
    "truncated_normal_above": TruncatedNormalOutput(None, 1.5),
    "truncated_normal_between": TruncatedNormalOutput(-1.0, 2.0),
    "mixture": make_output("mixture"),
    "mixture_of_positives": MixtureOutput([LogNormalOutput(), GammaOutput()]),
    "mixture_of_counts": MixtureOutput([PoissonOutput(), ZeroInflatedNegativeBinomialOutput()]),
    "mixture_of_amounts": MixtureOutput([HurdleLogNormalOutput(), TruncatedNormalOutput()]),
}
TRAINED_BY = [(name, loss) for name, output in MEMBERS.items() for loss in losses_of(output)]
COUNT = 6
LEVELS = torch.tensor([0.001, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999], dtype=torch.float64)
SCALES = [1e-9, 1.0, 1e9]


@pytest.fixture(params=MEMBERS)
def output(request):
    return MEMBERS[request.param]


def are_counts(output):
    return output.support is constraints.nonnegative_integer


def has_atom(output):
    """Whether zero has a probability of its own among continuous values."""
    return not are_counts(output) and any(isinstance(one, HurdleLogNormalOutput) for one in [output, *parts(output)])


def parts(output):
    return getattr(output, "components", [])


def raw_arguments(output, spread=1.0, count=COUNT, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # light tails, so that samples estimate the variance, and shares away from 0 and 1
    centers = {"df": 10.0, **({"mean": -1.0, "concentration": 3.0} if isinstance(output, BetaOutput) else {})}
    return [
        spread * torch.randn(count, size, generator=generator, dtype=dtype) + centers.get(name.split("_")[0], 0.5)
        for name, size in output.args_dim.items()
    ]


def distribution_of(output, **kwargs):
    return output.distribution(output.domain_map(*raw_arguments(output)), **kwargs)


def number(x):
    return x.detach().numpy()


def integral(distribution, function, k, lower, upper, *kinks):
    """Integrate ``function(density, cdf, x)`` of the k-th distribution from ``lower`` to ``upper``, piecewise."""
    levels = torch.logspace(-8, -1, 8, dtype=torch.float64)
    levels = torch.cat([levels, torch.tensor([0.3, 0.5, 0.7], dtype=torch.float64), 1 - levels])
    knots = np.unique([*number(distribution.icdf(levels[:, None]))[:, k], lower, upper, 0.0, *kinks])
    knots = knots[(knots >= lower) & (knots <= upper)]
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) / 2
    # t^2 (3 - 2 t) draws the nodes to the ends, where densities may be singular
    nodes, weights = t**2 * (3 - 2 * t), weights / 2 * 6 * t * (1 - t)
    x = (knots[:-1, None] + np.diff(knots)[:, None] * nodes).ravel()
    points = torch.from_numpy(x)[:, None].expand(-1, COUNT)
    density, cdf = number(distribution.log_prob(points))[:, k], number(distribution.cdf(points))[:, k]
    return ((np.diff(knots)[:, None] * weights).ravel() * function(np.exp(density), cdf, x)).sum()


def bounds(distribution, k):
    ends = distribution.icdf(torch.tensor([[1e-9], [1 - 1e-9]], dtype=torch.float64))
    return number(ends)[:, k]


@pytest.mark.parametrize("k", [0, 3])
def test_the_density_integrates_to_one(output, k):
    distribution = distribution_of(output)
    if are_counts(output):
        values = torch.arange(0, bounds(distribution, k)[1] + 1, dtype=torch.float64)[:, None]
        mass = number(distribution.log_prob(values))[:, k]
        assert np.exp(mass).sum() == pytest.approx(1, abs=1e-6)
        assert np.allclose(np.exp(mass).cumsum(), number(distribution.cdf(values))[:, k], atol=1e-8)
        return
    lower, upper = bounds(distribution, k)
    atom = distribution.cdf(torch.zeros(COUNT, dtype=torch.float64))[k].item() if has_atom(output) else 0.0
    total = integral(distribution, lambda p, F, x: p, k, lower, upper)
    assert atom + total == pytest.approx(1, abs=1e-4)


def test_quantiles_invert_the_distribution_function(output):
    distribution = distribution_of(output)
    quantiles = distribution.icdf(LEVELS[:, None])
    assert quantiles.shape == (len(LEVELS), COUNT) and (quantiles.diff(dim=0) >= 0).all()
    reached = distribution.cdf(quantiles)
    assert (reached >= LEVELS[:, None] - 1e-9).all()
    if are_counts(output):
        assert torch.equal(quantiles, quantiles.round())
        below = distribution.cdf((quantiles - 1).clamp_min(0))
        assert ((below < LEVELS[:, None] + 1e-9) | (quantiles == 0)).all()
    else:
        atom = quantiles == 0 if has_atom(output) else torch.zeros_like(quantiles, dtype=torch.bool)
        assert torch.allclose(reached[~atom], LEVELS[:, None].expand_as(reached)[~atom], atol=1e-8)


def test_moments_and_crps_match_samples(output):
    torch.manual_seed(1)
    distribution = distribution_of(output)
    samples = distribution.sample((20_000,))
    assert samples.shape == (20_000, COUNT) and output.support.check(samples).all()
    error = samples.std(0) / len(samples) ** 0.5
    assert ((samples.mean(0) - distribution.mean).abs() < 5 * error).all()
    squares = (samples - samples.mean(0)) ** 2
    heavy = squares.mean(0) > 0.1 * squares.std(0)  # samples do not estimate the variance of the others
    near = (squares.mean(0) - distribution.variance).abs() < 6 * squares.std(0) / len(samples) ** 0.5
    assert (near | ~heavy).all()
    halves = samples.view(2, -1, COUNT)
    distance = (halves[0] - halves[1]).abs()
    gini = distribution.gini_mean_difference
    assert ((distance.mean(0) - gini).abs() < 6 * distance.std(0) / len(distance) ** 0.5).all()
    for target in (samples[0], distribution.mean.round(), samples[:1000].amax(0)):
        target = torch.where(output.support.check(target), target, output.value_in_support)
        away = (samples - target).abs()
        crps = away.mean(0) - gini / 2
        assert ((crps - distribution.crps(target)).abs() < 6 * away.std(0) / len(samples) ** 0.5 + 1e-9).all()
        assert (distribution.crps(target) >= 0).all()


@pytest.mark.parametrize("name", [name for name in MEMBERS if not are_counts(MEMBERS[name])])
def test_moments_and_crps_match_quadrature(name):
    output, k = MEMBERS[name], 1
    distribution = distribution_of(output)
    levels, weights = np.polynomial.legendre.leggauss(400)
    # u = t^2 (3 - 2 t) draws the nodes to the ends, where quantiles grow fast
    t = (levels + 1) / 2
    u, weights = t**2 * (3 - 2 * t), weights / 2 * 6 * t * (1 - t)
    quantiles = number(distribution.icdf(torch.from_numpy(u)[:, None]))[:, k]
    mean = (weights * quantiles).sum()
    assert distribution.mean[k].item() == pytest.approx(mean, rel=1e-3, abs=1e-4)
    variance = (weights * (quantiles - mean) ** 2).sum()
    if name not in ("student_t", "mixture", "log_normal", "hurdle_log_normal", "mixture_of_positives"):
        assert distribution.variance[k].item() == pytest.approx(variance, rel=1e-3)
    target = torch.full((COUNT,), quantiles[280], dtype=torch.float64)
    error = target[k].item() - quantiles
    crps = 2 * (weights * np.maximum(u * error, (u - 1) * error)).sum()
    assert distribution.crps(target)[k].item() == pytest.approx(crps, rel=2e-3)


def test_the_crps_is_the_integral_of_its_definition(output):
    distribution, k = distribution_of(output), 2
    lower, upper = bounds(distribution, k)
    target = distribution.icdf(torch.tensor([0.8], dtype=torch.float64))
    y = target[k].item()
    found = distribution.crps(target)[k].item()
    if are_counts(output):
        values = torch.arange(0, max(upper, y) + 1, dtype=torch.float64)[:, None]
        expected = ((number(distribution.cdf(values))[:, k] - (number(values)[:, 0] >= y)) ** 2).sum()
    else:
        expected = integral(distribution, lambda p, F, x: (F - (x >= y)) ** 2, k, min(lower, y), max(upper, y), y)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("name", "loss"), TRAINED_BY)
@pytest.mark.parametrize("scale", SCALES)
def test_loss_and_gradients_are_finite_at_extremes(name, loss, scale):
    output = MEMBERS[name]
    ratios = torch.tensor([0, 1e-12, 1e-3, 1, 1e3, 1e6, 1e9, 1e12], dtype=torch.float64)
    ratios = torch.cat([ratios, -ratios])
    targets = ratios * scale
    if are_counts(output):
        targets = targets.round()
    if output.support is BetaOutput().support:
        targets = torch.cat([ratios, 1 - ratios])
    targets = targets[output.support.check(targets)]
    assert len(targets) >= 3
    for spread in (1.0, 30.0, 1000.0):
        raw = raw_arguments(output, spread, len(targets), torch.float32, seed=int(spread))
        raw = [x.requires_grad_() for x in raw]
        args = output.domain_map(*raw)
        value = LOSSES[loss](output, targets, args, torch.full_like(targets, scale), [0.01, 0.5, 0.99])
        assert torch.isfinite(value).all(), (targets, value)
        value.mean().backward()
        assert all(torch.isfinite(x.grad).all() for x in raw)


@pytest.mark.parametrize("scale", SCALES)
def test_values_stay_in_the_support_when_scaled(output, scale):
    torch.manual_seed(0)
    distribution = distribution_of(output, scale=torch.full((COUNT,), scale, dtype=torch.float64))
    samples, quantiles = distribution.sample((2000,)), distribution.icdf(LEVELS[:, None])
    assert output.support.check(samples).all() and output.support.check(quantiles).all()
    if are_counts(output):
        assert torch.equal(samples, samples.round()) and torch.equal(quantiles, quantiles.round())
    assert torch.isfinite(distribution.mean).all() and torch.isfinite(distribution.variance).all()
    assert (distribution.variance > 0).all()
    assert (distribution.crps(samples[0]) >= -1e-6 * distribution.gini_mean_difference).all()


def test_a_location_is_refused_for_a_limited_support(output):
    loc = torch.zeros(COUNT, dtype=torch.float64)
    if output.takes_loc:
        assert torch.allclose(distribution_of(output, loc=loc).mean, distribution_of(output).mean)
        return
    with pytest.raises(ValueError, match="leave out loc"):
        distribution_of(output, loc=loc)


@pytest.mark.parametrize("name", [name for name in MEMBERS if are_counts(MEMBERS[name])])
def test_the_mean_of_counts_is_scaled(name):
    scale = torch.full((COUNT,), 3.0, dtype=torch.float64)
    assert torch.allclose(distribution_of(MEMBERS[name], scale=scale).mean, 3 * distribution_of(MEMBERS[name]).mean)


SCALABLE = (constraints.real, constraints.positive, constraints.nonnegative)


@pytest.mark.parametrize("name", [name for name in MEMBERS if MEMBERS[name].support in SCALABLE])
def test_scaling_is_affine(name):
    output = MEMBERS[name]
    shift = -2.0 if is_real(output) else 0.0
    scale = torch.full((COUNT,), 3.0, dtype=torch.float64)
    loc = torch.full_like(scale, shift) if is_real(output) else None
    base, scaled = distribution_of(output), distribution_of(output, loc=loc, scale=scale)
    x = base.icdf(torch.tensor([0.9], dtype=torch.float64))
    y = shift + 3 * x
    assert torch.allclose(scaled.log_prob(y), base.log_prob(x) - np.log(3))
    assert torch.allclose(scaled.cdf(y), base.cdf(x))
    assert torch.allclose(scaled.icdf(LEVELS[:, None]), shift + 3 * base.icdf(LEVELS[:, None]))
    assert torch.allclose(scaled.mean, shift + 3 * base.mean) and torch.allclose(scaled.variance, 9 * base.variance)
    assert torch.allclose(scaled.crps(y), 3 * base.crps(x))


def test_sampling_follows_the_seed(output):
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(distribution_of(output).sample((50,)))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_single_precision_stays_single_precision(output):
    args = output.domain_map(*raw_arguments(output, dtype=torch.float32))
    assert all(arg.dtype == torch.float32 for arg in args)
    distribution = output.distribution(args, scale=torch.full((COUNT,), 2.0))
    target = distribution.sample()
    found = [target, distribution.icdf(torch.tensor([0.3])), distribution.cdf(target), distribution.mean]
    found += [distribution.log_prob(target), distribution.crps(target), output.loss(target, args)]
    assert all(x.dtype == torch.float32 and torch.isfinite(x).all() for x in found)


@pytest.mark.parametrize(("name", "loss"), TRAINED_BY)
def test_gradients_match_differences(name, loss):
    output = MEMBERS[name]
    raw = [x.requires_grad_() for x in raw_arguments(output, count=2)]
    middle = torch.tensor([0.37], dtype=torch.float64)
    target = output.distribution(output.domain_map(*raw)).icdf(middle).detach()

    def total(*raw):
        return LOSSES[loss](output, target, output.domain_map(*raw), None, [0.2, 0.9]).sum()

    assert torch.autograd.gradcheck(total, raw, eps=1e-5, atol=1e-5, rtol=1e-3)


def test_saved_as_plain_data(output):
    again = serde.decode(serde.encode(output))
    assert type(again) is type(output) and again.args_dim == output.args_dim and repr(again) == repr(output)
    args = output.domain_map(*raw_arguments(output))
    assert torch.equal(again.distribution(args).mean, output.distribution(args).mean)


def test_arguments_are_left_as_they_are(output):
    args = output.domain_map(*raw_arguments(output))
    before = [arg.clone() for arg in args]
    scale = torch.full((COUNT,), 5.0, dtype=torch.float64)
    output.loss(output.distribution(args, scale=scale).sample(), args, scale=scale)
    assert all(torch.equal(a, b) for a, b in zip(args, before, strict=True))


def test_the_value_for_missing_targets_is_in_the_support(output):
    assert output.support.check(torch.tensor(output.value_in_support))


LIMITED = [name for name in MEMBERS if not is_real(MEMBERS[name])]
CANDIDATES = torch.tensor([-1e6, -3.5, -1.0, -1e-3, 0.0, 1.0, 1.7, 2.5, 1e6], dtype=torch.float64)


def outside(output):
    return CANDIDATES[~output.support.check(CANDIDATES)][:, None]


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("scale", [None, 3.0])
def test_nothing_is_outside_the_support(name, scale):
    torch.manual_seed(2)
    output = MEMBERS[name]
    scale = None if scale is None else torch.full((COUNT,), scale, dtype=torch.float64)
    distribution = distribution_of(output, scale=scale)
    samples, values = distribution.sample((20_000,)), outside(output)
    assert len(values) >= 2
    assert (distribution.log_prob(values) == -torch.inf).all()
    cdf, high = distribution.cdf(values), samples.amax(0)
    between = (values > 0) & (values < high) if are_counts(output) else torch.zeros_like(cdf, dtype=torch.bool)
    assert torch.equal(cdf[~between], (values > high).to(cdf)[~between])
    assert ((cdf - (samples <= values.unsqueeze(1)).double().mean(1)).abs() < 5 * 0.5 / len(samples) ** 0.5).all()
    away = (samples - values.unsqueeze(1)).abs()
    error = away.std(1) / len(samples) ** 0.5
    assert ((distribution.expected_distance(values) - away.mean(1)).abs() < 6 * error + 1e-9).all()
    crps = away.mean(1) - distribution.gini_mean_difference / 2
    assert ((distribution.crps(values) - crps).abs() < 6 * error + 1e-9).all()


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_outside_the_support(name, dtype):
    output = MEMBERS[name]
    raw = [x.requires_grad_() for x in raw_arguments(output, dtype=dtype)]
    values = CANDIDATES.to(dtype)[:, None].expand(-1, COUNT).clone().requires_grad_()
    distribution = output.distribution(output.domain_map(*raw), scale=torch.full((COUNT,), 2.0, dtype=dtype))
    for function in (distribution.log_prob, distribution.cdf, distribution.crps):
        found = function(values)
        assert found.dtype == dtype and not found.isnan().any()
        inputs = [values, *raw]
        gradients = torch.autograd.grad(found.sum(), inputs, allow_unused=True, retain_graph=True)
        assert all(torch.isfinite(x).all() for x in gradients if x is not None)


def test_a_missing_value_has_no_score(output):
    distribution, nothing = distribution_of(output), torch.full((COUNT,), torch.nan, dtype=torch.float64)
    for function in (distribution.log_prob, distribution.cdf, distribution.crps):
        assert function(nothing).isnan().all()


@pytest.mark.parametrize("upper", [0.3, 0.7])
def test_a_bound_is_reached_in_single_precision(upper):
    output = TruncatedNormalOutput(0.1, upper)
    target = torch.tensor([0.1, upper], dtype=torch.float32)
    assert output.support.check(target).all() and output.support.check(target.double()).all()
    loss = output.loss(target, (torch.zeros(2), torch.ones(2)))
    assert torch.isfinite(loss).all()


def test_draws_are_independent_if_arguments_are_shared(output):
    torch.manual_seed(3)
    raw = [x.unsqueeze(1) for x in raw_arguments(output, count=3)]
    scale = torch.tensor([1.0, 1.5, 2.0, 4.0], dtype=torch.float64)
    shift = {"loc": torch.tensor([[0.0], [5.0], [9.0]], dtype=torch.float64)} if is_real(output) else {}
    distribution = output.distribution(output.domain_map(*raw), scale=scale, **shift)
    assert distribution.batch_shape == (3, 4) and distribution.variance.shape == (3, 4)
    samples = distribution.sample((20_000,))
    assert samples.shape == (20_000, 3, 4)
    error = samples.std(0) / len(samples) ** 0.5
    assert ((samples.mean(0) - distribution.mean).abs() < 6 * error + 1e-4).all()
    levels = distribution.cdf(samples).flatten(1)
    assert (torch.corrcoef(levels.T).fill_diagonal_(0).abs() < 6 / len(samples) ** 0.5).all()


def test_a_location_may_have_the_larger_shape():
    loc = torch.arange(5.0)
    distribution = NormalOutput().distribution((torch.zeros(1), torch.ones(1)), loc=loc)
    draws = distribution.sample((100,))
    assert distribution.batch_shape == (5,) and draws.shape == (100, 5)
    assert not torch.allclose(draws - loc, draws[:, :1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("df", [1e6, 1e9, 1e15])
def test_student_t_of_many_degrees_of_freedom_is_normal(df, dtype):
    loc, scale, df = (torch.tensor([x], dtype=dtype) for x in (0.5, 2.0, df))
    student, normal = StudentTOutput().distribution((df, loc, scale)), NormalOutput().distribution((loc, scale))
    values = torch.tensor([-3.0, 0.5, 1.0, 8.0], dtype=dtype)
    near = 20 * torch.finfo(dtype).eps + 100 / df.item()
    for of_student, of_normal in (
        (student.gini_mean_difference, normal.gini_mean_difference),
        (student.crps(values), normal.crps(values)),
        (student.log_prob(values), normal.log_prob(values)),
    ):
        assert torch.allclose(of_student, of_normal, rtol=near, atol=near)


def test_the_logarithm_of_the_beta_function_of_a_half():
    b = torch.logspace(-1, 12, 60, dtype=torch.float64)
    expected = special.betaln(0.5, number(b))
    assert np.allclose(number(log_beta_half(b)), expected, rtol=0, atol=1e-8)
    assert np.allclose(number(log_beta_half(b.float())), expected, rtol=1e-6, atol=1e-5)
