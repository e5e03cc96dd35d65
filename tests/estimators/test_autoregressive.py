"""One step at a time: what step mode draws is what the likelihood was trained on."""

import numpy as np
import pytest
import torch
from conftest import SMALL, H, L, entry
from gluonts.model.forecast import SampleForecast
from gluonts.torch.distributions import LaplaceOutput
from gluonts.torch.distributions import QuantileOutput as GluonTSQuantileOutput

from s5forecast import S5AutoregressiveEstimator
from s5forecast.data.series import read_series
from s5forecast.data.windows import LastWindows, SeriesStore
from s5forecast.distributions import DISTRIBUTIONS, NegativeBinomialOutput, StudentTOutput
from s5forecast.distributions.sampling import student_t
from s5forecast.estimators import autoregressive_network

LIKELIHOODS = [name for name in DISTRIBUTIONS if name != "quantile"]


def make(**kwargs):
    return S5AutoregressiveEstimator(**{**SMALL, **kwargs})


def supported(data, output):
    """The series moved to where the output has its support."""
    largest = max(np.nanmax(entry["target"]) for entry in data)
    move = {"log_normal": lambda y: y + 1, "gamma": lambda y: y + 1, "beta": lambda y: (y + 1) / (largest + 2)}
    return [{**entry, "target": move.get(output, np.asarray)(entry["target"])} for entry in data]


def known_window(predictor, data):
    """The last windows of ``data``, their horizons known."""
    series = read_series(data, predictor.spec, forecast=False)
    (batch,) = LastWindows(SeriesStore(series, predictor.spec), batch_size=len(data), known=True)
    return batch


def without_horizon(batch):
    """The same as it is when forecasting: nothing of the horizon is known."""
    late = torch.arange(-L, H).unsqueeze(-1) >= torch.tensor(SMALL["lags_seq"])
    mask = batch.mask.clone()
    mask[:, L:] = 0
    return batch._replace(
        values=batch.values * mask,
        mask=mask,
        lags=batch.lags.masked_fill(late, 0.0),
        lag_mask=batch.lag_mask.masked_fill(late, 0.0),
        target=torch.zeros_like(batch.target),
    )


@pytest.mark.parametrize("output", LIKELIHOODS)
@pytest.mark.parametrize("holes", [False, True])
def test_step_mode_equals_teacher_forcing(output, holes, data, monkeypatch):
    if holes:
        data[0]["target"][[40, 50, 51]] = np.nan
    data = supported(data, output)
    predictor = make(distr_output=output).train(data)
    network, batch = predictor.network.eval(), known_window(predictor, data)
    seen = []

    def follow(output, args, scale=None):
        """Take the true value in place of one drawn, and keep the arguments."""
        step = len(seen)
        seen.append(args)
        if scale is None:
            return batch.values[:, L + step] - forced.offset[:, L + step]
        return batch.target[:, step]

    with torch.no_grad():
        forced = network.one_step(batch)
    monkeypatch.setattr(autoregressive_network, "draw", follow)
    paths = network(without_horizon(batch), 1)
    for k, expected in enumerate(forced.args):
        found = torch.stack([args[k] for args in seen], dim=1)
        assert torch.allclose(found, expected[:, L:], rtol=1e-5, atol=1e-5)
    assert np.allclose(paths.samples[:, 0], batch.target, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("output", LIKELIHOODS)
def test_the_first_step_has_the_distribution_of_the_likelihood(output, data):
    data = supported(data, output)
    predictor = make(distr_output=output).train(data)
    network, batch = predictor.network.eval(), known_window(predictor, data)
    network.counts.fill_(False)  # drawn as they are, not rounded
    S = 4000
    with torch.no_grad():
        expected = network.one_step(batch)
        levels = [0.1, 0.5, 0.9]
        quantiles = expected.quantiles(levels)[:, L]
    first = network(without_horizon(batch), S).samples[:, :, 0]
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


def test_paths_of_a_random_walk_spread_and_hang_together():
    """Increments are independent: the variance grows with h, and cov(y_1, y_h) stays var(y_1)."""
    data = []
    for seed in range(8):
        steps = np.random.default_rng(seed).normal(size=400)
        data.append(entry(400, str(seed)) | {"target": np.cumsum(steps)})
    kwargs = dict(distr_output="normal", scaling="last", context_length=40, lags_seq=[1, 2], synthetic_share=0.0)
    length = dict(prediction_length=9, max_epochs=4, num_batches_per_epoch=50, batch_size=16)
    predictor = make(**kwargs, **length, dropout=0.0, seed=1).train(data)
    samples = np.stack([forecast.samples for forecast in predictor.predict(data, num_samples=500)])  # [B, S, H]
    centred = samples - samples.mean(1, keepdims=True)
    covariance = (centred[:, :, :, None] * centred[:, :, None, :]).mean((0, 1))
    variance = np.diag(covariance)
    assert variance[0] == pytest.approx(1.0, rel=0.3)
    assert variance[-1] / variance[0] == pytest.approx(9.0, rel=0.5)
    assert covariance[0, -1] / variance[0] == pytest.approx(1.0, abs=0.4)
    increments = np.diff(samples, axis=2).reshape(-1, 8)
    correlation = np.corrcoef(increments.T)
    assert abs(correlation - np.eye(8)).max() < 0.15


def test_synthetic_windows_stand_beside_few_values():
    """1 / (1 + n / 20,000) of them for short series, where that is a fifth or more."""
    one = make(synthetic_share=None)
    assert one.prior_share(one._store([entry(60)])) == pytest.approx(20_000 / 20_060)
    assert make(max_epochs=None, num_batches_per_epoch=1).train_model([entry(60)]).trainer.max_epochs == 60
    many = one._store([entry(60, str(item)) for item in range(1_340)])
    assert one.prior_share(many) == 0 and one.epochs(many) == 20
    assert make(synthetic_share=0.1).prior_share(many) == 0.1
    assert make(synthetic_share=None, distr_output="gamma").prior_share(one._store([entry(60)])) == 0


def test_forecasts_are_samples_of_the_type_of_the_target(data):
    predictor = make(num_parallel_samples=30).train(data)
    forecasts = list(predictor.predict(data))
    assert all(isinstance(forecast, SampleForecast) for forecast in forecasts)
    assert forecasts[0].samples.shape == (30, H) and forecasts[0].samples.dtype == np.float32
    (forecast,) = predictor.predict(data[:1], num_samples=7)
    assert forecast.samples.shape == (7, H)
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        list(predictor.predict(data, num_samples=0))


def test_series_do_not_share_their_noise(data):
    """Paths of different series are independent, within a batch and between batches."""
    predictor = make(predict_batch_size=2, distr_output="normal").train(data)
    drawn = np.stack([forecast.samples[:, 0] for forecast in predictor.predict(data, num_samples=1000)])
    assert abs(np.corrcoef(drawn) - np.eye(3)).max() < 0.2


def test_memory_is_bounded_by_chunks(data, monkeypatch):
    monkeypatch.setattr(autoregressive_network, "ROWS", 7)
    rows = []
    predictor = make(num_parallel_samples=10).train(data)
    make_stepper = autoregressive_network.make_stepper

    def counted(encoder, state, source, *readout):
        rows.append(len(source))
        return make_stepper(encoder, state, source, *readout)

    monkeypatch.setattr(autoregressive_network, "make_stepper", counted)
    forecasts = list(predictor.predict(data))
    assert max(rows) == 7 and sum(rows) == 30
    assert all(np.isfinite(forecast.samples).all() for forecast in forecasts)


def test_the_likelihood_is_that_of_the_whole_window_in_training(data):
    predictor = make(dropout=0.0).train(data)
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


def test_no_step_sees_its_own_value_or_a_later_one(data):
    predictor = make().train(data)
    network, series = predictor.network.eval(), [data[0]]
    changed = [data[0] | {"target": data[0]["target"].copy()}]
    changed[0]["target"][-2:] += 5
    with torch.no_grad():
        one, other = (network.one_step(known_window(predictor, one)) for one in (series, changed))
    for before, after in zip((*one.args, one.offset), (*other.args, other.offset), strict=True):
        assert torch.equal(before[:, : L + H - 1], after[:, : L + H - 1])
        assert not torch.equal(before[:, L + H - 1], after[:, L + H - 1])


def test_outputs_of_gluonts(data):
    for output in (LaplaceOutput(), StudentTOutput()):
        (forecast, *_) = make(distr_output=output).train(data).predict(data)
        assert np.isfinite(forecast.samples).all()


@pytest.mark.parametrize("output", ["quantile", GluonTSQuantileOutput([0.1, 0.5, 0.9])])
def test_quantiles_have_no_likelihood(output):
    with pytest.raises(ValueError, match=r"no likelihood.*'student_t'.*'negative_binomial'.*S5Estimator"):
        make(distr_output=output)


def test_the_data_pick_the_output(data):
    model = make(distr_output="auto")
    predictor = model.train(data)
    assert model.auto_output.name == "negative_binomial" and isinstance(predictor.output, NegativeBinomialOutput)
    for forecast in predictor.predict(data):
        assert (forecast.samples >= 0).all() and (forecast.samples == np.rint(forecast.samples)).all()
    again = make(distr_output="auto").train_from(predictor, data)
    assert isinstance(again.output, NegativeBinomialOutput)


def test_a_layer_must_have_a_step_mode(data):
    with pytest.raises(ValueError, match="no step mode; choose a causal one"):
        make(layer_kwargs={"bidirectional": True}).train(data)
    with pytest.raises(ValueError, match="num_parallel_samples must be at least 1"):
        make(num_parallel_samples=0)
