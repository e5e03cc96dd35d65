"""S5AutoregressiveEstimator: paths drawn in step mode have the distribution of the training likelihood."""

from functools import partial

import numpy as np
import pytest
import torch
from conftest import SMALL, H, L, entry
from gluonts.model.forecast import SampleForecast
from gluonts.torch.distributions import LaplaceOutput, Output
from gluonts.torch.distributions import QuantileOutput as GluonTSQuantileOutput

from s5forecast import S5AutoregressiveEstimator
from s5forecast.data.entries import read_series
from s5forecast.distributions import DISTRIBUTIONS, NegativeBinomialOutput, QuantileOutput, StudentTOutput
from s5forecast.distributions.sampling import student_t
from s5forecast.estimators.peers import PEERS
from s5forecast.networks import autoregressive, recursive_decoder
from s5forecast.networks import paths as sampling
from s5forecast.networks.paths import reorder_by_rank, walk_paths
from s5forecast.windows.batches import LastWindows
from s5forecast.windows.regular import SeriesStore

RECURSIONS = {"encoder": autoregressive, "decoder": recursive_decoder}


@pytest.fixture(params=RECURSIONS)
def recursion(request):
    return request.param


@pytest.fixture
def make(recursion):
    return lambda **kwargs: S5AutoregressiveEstimator(**{**SMALL, "recursion": recursion, **kwargs})


class NoDistribution(Output):
    """A distribution with all mass at one point."""

    args_dim, value_in_support = {"point": 1}, 0.0

    def domain_map(self, point):
        return (point.squeeze(-1),)

    def loss(self, target, distr_args, loc=None, scale=None):
        return (target - distr_args[0]).abs()

    @property
    def event_shape(self):
        return ()


def supported(data, output):
    """The series shifted to the support of the output."""
    largest = max(np.nanmax(entry["target"]) for entry in data)
    move = {"log_normal": lambda y: y + 1, "gamma": lambda y: y + 1, "beta": lambda y: (y + 1) / (largest + 2)}
    return [{**entry, "target": move.get(output, np.asarray)(entry["target"])} for entry in data]


def known_window(predictor, data):
    """The last windows of ``data``, with known horizons."""
    series = read_series(data, predictor.spec, forecast=False)
    (batch,) = LastWindows(SeriesStore(series, predictor.spec), batch_size=len(data), known=True)
    return batch


def in_order_of_drawing(batch):
    """Paths are drawn in the order of the past values, whatever the order of the windows."""
    order = sorted(range(len(batch.past)), key=lambda row: batch.past[row].numpy().tobytes())
    return type(batch)(*(x[order] for x in batch))


def last_window(predictor):
    """The window that precedes the forecast of :func:`entry`."""
    series = read_series([entry(500)], predictor.spec, forecast=True)
    (batch,) = LastWindows(SeriesStore(series, predictor.spec), batch_size=1, known=False)
    return batch


def without_horizon(batch, spec):
    """The window as in prediction, with unknown values of the horizon."""
    late = spec.recursive & (torch.arange(-L, H).unsqueeze(-1) >= torch.tensor(SMALL["lags_seq"]))
    mask = batch.mask.clone()
    mask[:, L:] = 0
    return batch._replace(
        values=batch.values * mask,
        mask=mask,
        lags=batch.lags.masked_fill(late, 0.0),
        lag_mask=batch.lag_mask.masked_fill(late, 0.0),
        target=torch.zeros_like(batch.target),
    )


@pytest.fixture
def as_drawn(monkeypatch):
    """Keep the drawn values of paths instead of replacing them by the direct forecast."""

    def plain(*args, marginals, **kwargs):
        return walk_paths(*args, **kwargs)

    monkeypatch.setattr(recursive_decoder, "walk_paths", plain)


@pytest.mark.parametrize("output", DISTRIBUTIONS)
@pytest.mark.parametrize("holes", [False, True])
def test_step_mode_equals_teacher_forcing(output, holes, data, make, monkeypatch, as_drawn):
    if holes:
        data[0]["target"][[40, 50, 51]] = np.nan
    data = supported(data, output)
    predictor = make(distr_output=output).train(data)
    network, batch = predictor.network.eval(), in_order_of_drawing(known_window(predictor, data))
    with torch.no_grad():
        for parameter in network.parameters():  # including those initialized to zero
            parameter += 0.05 * torch.randn_like(parameter)
        forced = network.one_step(batch)
    offset = None if forced.offset is None else forced.offset[:, -H:]
    seen = []

    def follow(output, given, scale=None):
        """Return the true value instead of a sample, and keep the arguments."""
        step = len(seen)
        seen.append(given)
        if scale is None:
            return batch.values[:, L + step] - offset[:, step]
        return batch.target[:, step]

    monkeypatch.setattr(sampling, "draw", follow)
    monkeypatch.setattr(QuantileOutput, "sample", lambda output, raw: follow(output, output.domain_map(raw)))
    paths = network(without_horizon(batch, predictor.spec), 1)
    for k, expected in enumerate(forced.args):
        found = torch.stack([args[k] for args in seen], dim=1)
        assert torch.allclose(found, expected[:, -H:], rtol=1e-5, atol=1e-5)
    assert np.allclose(paths.samples[:, 0], batch.target, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("output", DISTRIBUTIONS)
def test_the_first_step_has_the_distribution_that_was_trained(output, data, make, as_drawn):
    data = supported(data, output)
    predictor = make(distr_output=output).train(data)
    network, batch = predictor.network.eval(), known_window(predictor, data)
    getattr(network, "direct", network).counts.fill_(False)  # so that samples are not rounded
    S = 4000
    with torch.no_grad():
        expected = network.one_step(batch)
        levels = [0.1, 0.5, 0.9]
        quantiles = expected.quantiles(levels)[:, -H]
    first = network(without_horizon(batch, predictor.spec), S).samples[:, :, 0]
    below = np.stack([(first <= quantiles[:, [k]]).mean(1) for k in range(len(levels))], axis=-1)
    above = np.stack([(first >= quantiles[:, [k]]).mean(1) for k in range(len(levels))], axis=-1)
    error = 5 * np.sqrt(0.25 / S)
    assert (below >= np.array(levels) - error).all() and (above >= 1 - np.array(levels) - error).all()


def test_polar_student_t_has_its_distribution():
    from scipy import stats

    torch.manual_seed(0)
    n = 20_000
    for df in (2.1, 4.0, 50.0):
        drawn = student_t(torch.full((n,), df), torch.full((n,), 1.0), torch.full((n,), 2.0)).numpy()
        assert stats.kstest(drawn, stats.t(df, 1.0, 2.0).cdf).pvalue > 1e-3


def test_paths_of_a_random_walk_spread_and_are_correlated(make, as_drawn):
    """Increments are independent: the variance grows with h, and cov(y_1, y_h) stays var(y_1)."""
    data = []
    for seed in range(8):
        steps = np.random.default_rng(seed).normal(size=400)
        data.append(entry(400, str(seed)) | {"target": np.cumsum(steps)})
    kwargs = dict(distr_output="normal", scaling="last", context_length=40, lags_seq=[1, 2], synthetic_share=0.0)
    length = dict(prediction_length=9, max_epochs=4, num_batches_per_epoch=50, batch_size=16)
    predictor = make(**kwargs, **length, dropout=0.0, seed=1).train(data)
    samples = np.stack([forecast.samples for forecast in predictor.predict(data, num_samples=500)])  # [B, S, H]
    centered = samples - samples.mean(1, keepdims=True)
    covariance = (centered[:, :, :, None] * centered[:, :, None, :]).mean((0, 1))
    variance = np.diag(covariance)
    assert variance[0] == pytest.approx(1.0, rel=0.3)
    assert variance[-1] / variance[0] == pytest.approx(9.0, rel=0.5)
    assert covariance[0, -1] / variance[0] == pytest.approx(1.0, abs=0.4)
    increments = np.diff(samples, axis=2).reshape(-1, 8)
    correlation = np.corrcoef(increments.T)
    assert abs(correlation - np.eye(8)).max() < 0.15


def test_few_values_are_supplemented_by_synthetic_windows(make, recursion):
    """The share is 1 / (1 + n / 20,000) for short series, and 0 for recursive encoders if that is below 0.2."""
    one = make(synthetic_share=None)
    assert one.synthetic_windows(one._store([entry(60)])).value == pytest.approx(20_000 / 20_060)
    assert make(max_epochs=None, num_batches_per_epoch=1).train_model([entry(60)]).trainer.max_epochs == 60
    many = one._store([entry(60, str(item)) for item in range(1_340)])
    share = 0 if recursion == "encoder" else pytest.approx(20_000 / 100_400, rel=1e-3)
    assert one.synthetic_windows(many).value == share
    assert one.epochs(many) == 20
    assert make(synthetic_share=0.1).synthetic_windows(many).value == 0.1
    assert make(synthetic_share=None, distr_output="gamma").synthetic_windows(many).value == 0


def test_forecasts_are_samples_of_the_type_of_the_target(data, make):
    predictor = make(num_parallel_samples=30).train(data)
    forecasts = list(predictor.predict(data))
    assert all(isinstance(forecast, SampleForecast) for forecast in forecasts)
    assert forecasts[0].samples.shape == (30, H) and forecasts[0].samples.dtype == np.float32
    (forecast,) = predictor.predict(data[:1], num_samples=7)
    assert forecast.samples.shape == (7, H)
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        list(predictor.predict(data, num_samples=0))


def test_series_do_not_share_their_noise(data, make):
    """Paths of different series are independent, within a batch and between batches."""
    predictor = make(predict_batch_size=2, distr_output="normal").train(data)
    drawn = np.stack([forecast.samples[:, 0] for forecast in predictor.predict(data, num_samples=1000)])
    assert abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.2


def test_memory_is_bounded_by_chunks(data, make, recursion, monkeypatch):
    module = RECURSIONS[recursion]
    monkeypatch.setattr(sampling, "ROWS", 7)
    monkeypatch.setattr(sampling, "MIN_RANKED", 1)
    rows = []
    predictor = make(num_parallel_samples=10).train(data)
    make_stepper = module.make_stepper

    def counted(encoder, state, source, *readout):
        rows.append(len(source))
        return make_stepper(encoder, state, source, *readout)

    monkeypatch.setattr(module, "make_stepper", counted)
    forecasts = list(predictor.predict(data))
    assert max(rows) == 7 and sum(rows) == 30
    assert all(np.isfinite(forecast.samples).all() for forecast in forecasts)


def test_training_loss_of_a_recursive_encoder_covers_the_whole_window(data):
    predictor = S5AutoregressiveEstimator(**SMALL, recursion="encoder", dropout=0.0).train(data)
    network, batch = predictor.network, known_window(predictor, data)
    with torch.no_grad():
        every = network.one_step(batch).loss(batch.values, torch.cat([batch.past, batch.target], dim=1))
        network.train()
        whole = network.loss(batch)
        network.eval()
        horizon = network.loss(batch)
    mean = lambda steps: float((every * batch.mask)[:, steps].sum() / batch.mask[:, steps].sum())  # noqa: E731
    assert float(whole) == pytest.approx(mean(slice(None)), rel=1e-5)
    assert float(horizon) == pytest.approx(mean(slice(L, None)), rel=1e-5)


def test_loss_of_a_recursive_decoder_sums_direct_and_recursive_losses(data):
    predictor = S5AutoregressiveEstimator(**SMALL, recursion="decoder", dropout=0.0).train(data)
    network, batch = predictor.network, known_window(predictor, data)
    values = batch.values[:, L:]
    with torch.no_grad():
        one_step, together = network.one_step(batch), network.direct(batch)
        one_step, together = (float(found.loss(values, batch.target).mean()) for found in (one_step, together))
        assert float(network.loss(batch)) == pytest.approx(one_step + together, rel=1e-5)
    assert one_step != pytest.approx(together, rel=1e-3)


def test_recursive_decoder_can_follow_a_random_walk(as_drawn):
    """If errors are fully correlated, 400 steps of variance 1 add up to a variance of 400."""
    predictor = S5AutoregressiveEstimator(
        **{**SMALL, "prediction_length": 400}, recursion="decoder", distr_output="normal", scaling="none"
    ).train([entry(500)])
    network, H = predictor.network, 400
    for parameter in (network.correction, network.direct.head.projection, network.direct.linear.horizon):
        torch.nn.init.zeros_(parameter.weight)
    with torch.no_grad():
        network.direct.head.projection.bias.copy_(torch.tensor([0.0, np.log(np.e - 1)]))  # softplus gives 1
        network.correction.bias.copy_(torch.tensor([0.0, 0.0, 20.0]))
    network.direct.counts.fill_(False)
    (forecast,) = predictor.predict([entry(500)], num_samples=2000)
    steps = np.diff(forecast.samples - network.direct(last_window(predictor)).mean(), axis=1)
    assert steps.std() == pytest.approx(1.0, rel=0.01)
    assert forecast.samples[:, -1].std() == pytest.approx(np.sqrt(H), rel=0.08)


@pytest.mark.parametrize("output", ["quantile", "student_t", "negative_binomial"])
def test_values_of_a_recursive_decoder_are_those_of_the_direct_forecast(output, data):
    predictor = S5AutoregressiveEstimator(**SMALL, recursion="decoder", distr_output=output).train(data)
    network, batch, S = predictor.network.eval(), without_horizon(known_window(predictor, data), predictor.spec), 2000
    levels = [0.1, 0.5, 0.9]
    with torch.no_grad():
        direct, paths = network.direct(batch), network(batch, S)
        known = direct.quantiles(levels).clip(min=0)
        assert np.array_equal(paths.samples, paths.samples.round()) and (paths.samples >= 0).all()
        assert (np.abs(paths.quantiles(levels) - known) <= 1 + 0.1 * known).all()
        few, enough = network(batch, 7).samples, network(batch, 100).samples
        assert np.array_equal(few, enough[:, :7])
        with pytest.raises(ValueError, match="num_samples must be at least 1"):
            network(batch, 0)


def test_output_of_a_recursive_encoder_is_chosen_by_the_data():
    """The likelihood is unbounded at repeated values."""
    continuous = [entry(60)]
    intermittent = [continuous[0] | {"target": np.where(np.arange(60) % 3, 0.0, continuous[0]["target"])}]
    model = S5AutoregressiveEstimator(**SMALL, recursion="encoder")
    quantiles = model.train(intermittent)
    assert isinstance(quantiles.output, QuantileOutput) and isinstance(model.train(continuous).output, StudentTOutput)
    assert isinstance(model.train(continuous, from_predictor=quantiles).output, QuantileOutput)
    given = S5AutoregressiveEstimator(**SMALL, recursion="encoder", distr_output="student_t")
    assert isinstance(given.train(intermittent).output, StudentTOutput)


@pytest.mark.parametrize("steps", (1, 3))
def test_values_are_reordered_by_the_ranks_of_paths(steps):
    rng = np.random.default_rng(0)
    paths, ascending = rng.normal(size=(2, 50, steps)).cumsum(axis=2), np.sort(rng.gamma(2, size=(2, steps, 50)))
    before = paths.copy()
    found = reorder_by_rank(ascending, paths)
    assert np.array_equal(paths, before)
    assert np.array_equal(np.sort(found, axis=1), ascending.swapaxes(1, 2))
    order = paths.argsort(axis=1)
    assert (np.diff(np.take_along_axis(found, order, axis=1), axis=1) >= 0).all()


def test_equal_values_are_ranked_at_random():
    """Most counts are equal; the index of a path must not be correlated with its total."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    paths, S = rng.poisson(0.5, size=(1, 200, 100)), 200
    found = reorder_by_rank(np.sort(rng.poisson(0.5, size=(1, 100, S))), paths)
    total = found.sum(axis=2)[0]
    assert abs(np.corrcoef(total, np.arange(S))[0, 1]) < 4 / np.sqrt(S)
    assert total.std() == pytest.approx(np.sqrt(50), rel=0.25)


def test_no_step_sees_its_own_value_or_a_later_one(data, make):
    predictor = make().train(data)
    network, series = predictor.network.eval(), [data[0]]
    changed = [data[0] | {"target": data[0]["target"].copy()}]
    changed[0]["target"][-2:] += 5
    with torch.no_grad():
        one, other = (network.one_step(known_window(predictor, one)) for one in (series, changed))
    for before, after in zip((*one.args, one.offset), (*other.args, other.offset), strict=True):
        assert torch.equal(before[:, :-1], after[:, :-1])
        assert not torch.equal(before[:, -1], after[:, -1])


@pytest.mark.parametrize("output", [LaplaceOutput(), StudentTOutput(), GluonTSQuantileOutput([0.1, 0.5, 0.9])])
def test_outputs_of_gluonts(output, data, make):
    (forecast, *_) = make(distr_output=output).train(data).predict(data)
    assert np.isfinite(forecast.samples).all()


def test_outputs_that_cannot_be_drawn(make):
    with pytest.raises(ValueError, match=r"no distribution.*'student_t'.*'negative_binomial'.*S5Estimator"):
        make(distr_output=NoDistribution())
    for levels in ([0.5], [0.6, 0.9]):
        with pytest.raises(ValueError, match=r"levels below and above 0\.5"):
            make(distr_output=GluonTSQuantileOutput(levels))
    with pytest.raises(ValueError, match="must not repeat"):
        make(distr_output=QuantileOutput([0.2, 0.2, 0.8]))


def test_from_predictor_requires_the_same_network_class(data):
    encoder, decoder = (S5AutoregressiveEstimator(**SMALL, recursion=name) for name in RECURSIONS)
    with pytest.raises(ValueError, match=r"AutoregressiveNetwork.*RecursiveDecoderNetwork.*recursion='encoder'"):
        decoder.train_from(encoder.train(data), data)
    once = {"num_batches_per_epoch": 1, "trainer_kwargs": {"max_epochs": 1}}
    foreign = PEERS["simple_feedforward"](freq="h", prediction_length=H, arguments=once).train(data)
    for model in (encoder, decoder):
        with pytest.raises(ValueError, match=r"SimpleFeedForward.*give a predictor that this estimator has trained"):
            model.train(data, from_predictor=foreign)


def test_auto_output_is_chosen_by_the_data(data, make):
    model = make(distr_output="auto")
    predictor = model.train(data)
    assert model.auto_output.name == "negative_binomial" and isinstance(predictor.output, NegativeBinomialOutput)
    for forecast in predictor.predict(data):
        assert (forecast.samples >= 0).all() and (forecast.samples == np.rint(forecast.samples)).all()
    again = make(distr_output="auto").train_from(predictor, data)
    assert isinstance(again.output, NegativeBinomialOutput)


def test_a_layer_must_have_a_step_mode(data):
    make = partial(S5AutoregressiveEstimator, **SMALL, recursion="encoder")
    with pytest.raises(ValueError, match="no step mode, because it is bidirectional; choose a causal one"):
        make(layer_kwargs={"bidirectional": True}).train(data)
    with pytest.raises(ValueError, match="num_parallel_samples must be at least 1"):
        make(num_parallel_samples=0)


@pytest.mark.parametrize(
    ("freq", "recursion", "output"),
    [("h", "decoder", QuantileOutput), ("15min", "decoder", QuantileOutput), ("D", "encoder", StudentTOutput)],
)
def test_recursion_is_decoder_for_subdaily_frequencies(freq, recursion, output):
    estimator = S5AutoregressiveEstimator(freq, 24)
    assert estimator.recursion == recursion and type(estimator.output) is output
    assert estimator.spec.recursive == (recursion == "encoder")


def test_patches_require_a_recursive_decoder():
    assert S5AutoregressiveEstimator("h", 24, context_length=33, patch_length=8).spec.context_length == 40
    with pytest.raises(ValueError, match=r"patch_length=8 takes several as one.*recursion at 'decoder'"):
        S5AutoregressiveEstimator("D", 24, patch_length=8)
    with pytest.raises(ValueError, match=r"recursion 'both'.*'encoder', 'decoder'"):
        S5AutoregressiveEstimator("D", 24, recursion="both")


def test_values_between_quantiles_are_interpolated():
    """Linear between the levels, with exponential tails through the two outer quantiles."""
    torch.manual_seed(0)
    levels, n = [0.05, 0.2, 0.5, 0.9], 200_000
    output, raw = QuantileOutput(levels), torch.tensor([0.3, -1.0, 2.0, 0.5])
    (known,) = output.domain_map(raw)
    drawn = output.sample(raw.expand(n, 4)).double()
    for level, value in zip(levels, known, strict=True):
        assert (drawn <= value).double().mean() == pytest.approx(level, abs=5 * (level * (1 - level) / n) ** 0.5)
    middle = (drawn <= known[1:3].mean()).double().mean()
    assert middle == pytest.approx(0.35, abs=5e-3)
    slope = (known[1] - known[0]) / np.log(0.2 / 0.05)  # lower tail: P(X <= q_1 - slope x) = 0.05 exp(-x)
    assert (drawn <= known[0] - slope).double().mean() == pytest.approx(0.05 / np.e, abs=2e-3)
    assert torch.isfinite(drawn).all()
