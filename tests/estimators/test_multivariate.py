"""S5MultivariateEstimator: joint samples, step mode, missing values, saving, frames."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, H, L
from gluonts.dataset.common import ListDataset
from gluonts.dataset.multivariate_grouper import MultivariateGrouper
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor
from gluonts.torch.distributions import LaplaceOutput
from gluonts.torch.model.estimator import PyTorchLightningEstimator

from s5forecast import S5MultivariateEstimator
from s5forecast.distributions import NegativeBinomialOutput
from s5forecast.distributions.gaussian_copula import GaussianCopulaOutput
from s5forecast.distributions.multivariate_normal import MultivariateNormalOutput
from s5forecast.windows.batches import LastWindows, read_store

D = 3
OUTPUTS = {
    "multivariate_normal": "multivariate_normal",
    "gaussian_copula": "gaussian_copula",
    "learned_copula": GaussianCopulaOutput(D, 2, LaplaceOutput()),
}


def make(**kwargs):
    return S5MultivariateEstimator(**{**SMALL, "target_dim": D, "rank": 2, "num_parallel_samples": 20, **kwargs})


def joint(length=60, seed=0, dim=D, **fields):
    target = np.random.default_rng(seed).normal(size=(dim, length)).cumsum(axis=1) + 10
    return {"start": pd.Period("2024-01-01 05:00", "h"), "target": target, "item_id": f"group {seed}", **fields}


@pytest.fixture(params=OUTPUTS)
def output(request):
    return OUTPUTS[request.param]


@pytest.fixture
def data():
    return [joint(60, 0, info={"note": 1}), joint(45, 1)]


def known_window(predictor, data):
    store = read_store(data, predictor.spec, forecast=False)
    (batch,) = LastWindows(store, batch_size=len(data), known=True)
    return batch


def samples(predictor, data, count=None):
    return np.stack([forecast.samples for forecast in predictor.predict(data, num_samples=count)])


def test_train_and_predict(output, data):
    estimator = make(distr_output=output)
    assert isinstance(estimator, PyTorchLightningEstimator)
    predictor = estimator.train(data, data)
    forecasts = list(predictor.predict(data))
    for given, forecast in zip(data, forecasts, strict=True):
        assert isinstance(forecast, SampleForecast) and forecast.samples.shape == (20, H, D)
        assert np.isfinite(forecast.samples).all()
        assert forecast.start_date == given["start"] + given["target"].shape[1]
        assert forecast.item_id == given["item_id"] and forecast.info == given.get("info")
        assert forecast.mean.shape == (H, D) and forecast.quantile(0.3).shape == (H, D)
        assert len(forecast.copy_dim(1).quantile(0.5)) == H
    mean, quantiles = predictor.predict_quantiles(data, [0.3, 0.5])
    assert np.allclose(mean, [forecast.mean for forecast in forecasts])
    assert np.allclose(quantiles[..., 0], [forecast.quantile(0.3) for forecast in forecasts])
    assert samples(predictor, data, 7).shape == (2, 7, H, D)
    assert predictor.predict_quantiles([], [0.5])[1].shape == (0, H, D, 1)


@pytest.mark.parametrize("holes", [False, True])
def test_step_mode_equals_teacher_forcing(output, holes, data, monkeypatch):
    if holes:
        data[0]["target"][1, [40, 50, 51]] = np.nan
    predictor = make(distr_output=output).train(data)
    network, batch = predictor.network.eval(), known_window(predictor, data)
    seen = []
    with torch.no_grad():
        windows = network.windows(batch)
        forced = network.one_step(windows)

    def follow(args):
        """Return the true values instead of samples, and keep the arguments."""
        step = L + len(seen)
        seen.append(args)
        return windows.values[:, step] - forced.offset[:, step]

    monkeypatch.setattr(network.output, "draw", follow)
    late = torch.arange(-L, H).unsqueeze(-1) >= torch.tensor(SMALL["lags_seq"])
    blind = batch._replace(lags=batch.lags.masked_fill(late, 0.0), lag_mask=batch.lag_mask.masked_fill(late, 0.0))
    paths = network(blind, 1)
    for k, expected in enumerate(forced.args):
        found = torch.stack([args[k] for args in seen], dim=1)
        assert torch.allclose(found, expected[:, L:], rtol=1e-4, atol=1e-5)
    truth = batch.target.view(len(data), D, H).transpose(1, 2)
    assert np.allclose(paths.samples[:, 0], truth, rtol=1e-5, atol=1e-4)


def test_the_covariance_of_random_walks_is_recovered():
    rng = np.random.default_rng(0)
    mix = np.array([[1.0, 0, 0], [0.9, 0.5, 0], [-0.6, 0.2, 2.0]])
    target = (mix @ rng.normal(size=(3, 3000))).cumsum(axis=1)
    entry = joint() | {"target": target}
    estimator = make(lags_seq=[1], scaling="increments", context_length=100, max_epochs=4, num_batches_per_epoch=50,
                     batch_size=16, lr=1e-2, weight_decay=0.1, dropout=0.0)  # fmt: skip
    (paths,) = samples(estimator.train([entry]), [entry], 4000)
    increments = np.diff(paths, axis=1, prepend=np.broadcast_to(target[:, -1], (4000, 1, 3)))
    expected = mix @ mix.T
    spread = np.sqrt(np.diag(expected))
    found = np.cov(increments.reshape(-1, 3).T)
    assert np.abs(found / np.outer(spread, spread) - expected / np.outer(spread, spread)).max() < 0.2
    # steps of a random walk are independent: the covariance grows with the horizon
    last = np.cov(paths[:, -1].T) / H
    assert np.abs(last / np.outer(spread, spread) - expected / np.outer(spread, spread)).max() < 0.35


def test_saved_and_loaded(output, data, tmp_path):
    predictor = make(distr_output=output).train(data)
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert again == predictor and np.array_equal(samples(again, data), samples(predictor, data))
    state = torch.load(tmp_path / "prediction-net-state.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())


@pytest.mark.parametrize("loss", ["nll", "energy"])
def test_missing_values(output, loss, data):
    data[0]["target"][0, [3, 50, 58, 59]] = np.nan
    data[1]["target"][:, 30:33] = np.nan
    data[1]["target"][2, 20:] = np.nan  # no value in the context
    predictor = make(distr_output=output, loss=loss).train(data)
    with pytest.warns(UserWarning, match="in the context of series 'group 1'"):
        found = samples(predictor, data)
    assert np.isfinite(found).all()


def test_missing_values_do_not_enter_the_loss(output, data):
    data[0]["target"][1, -2:] = np.nan
    network = make(distr_output=output).train(data).network.eval()
    batch = known_window(make(), data)
    with torch.no_grad():
        first = network.loss(batch)
        second = network.loss(batch._replace(values=torch.where(batch.mask > 0, batch.values, 5.0)))
    assert torch.isclose(first, second)


def test_the_same_seed_gives_the_same_paths(data):
    first, second, other = (samples(make(seed=seed).train(data), data) for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_covariates_and_grouped_series():
    rng = np.random.default_rng(0)
    single = [{"start": pd.Period("2024-01-01", "h"), "target": rng.normal(size=50)} for _ in range(D)]
    (grouped,) = MultivariateGrouper(max_target_dim=D)(ListDataset(single, freq="h"))
    known = rng.normal(size=(2, 50 + H))
    grouped |= {"feat_dynamic_real": known, "past_feat_dynamic_real": known[:1, :50]}
    estimator = make(num_feat_dynamic_real=2, num_past_feat_dynamic_real=1)
    assert np.isfinite(samples(estimator.train([grouped]), [grouped])).all()
    auto = S5MultivariateEstimator.from_inputs([grouped], freq="h", prediction_length=H)
    assert auto.spec.target_dim == D and auto.spec.features.num_feat_dynamic_real == 2
    assert auto.spec.features.num_past_feat_dynamic_real == 1


def test_counts_have_paths_that_are_counts(data):
    data[0]["target"] = data[0]["target"].round().clip(0)
    data[0]["target"][2] += 0.5
    paths = samples(make().train(data[:1]), data[:1])
    assert (paths[..., :2] % 1 == 0).all() and (paths[..., :2] >= 0).all() and (paths[..., 2] % 1 != 0).any()
    assert not np.signbit(paths[..., :2]).any(), "a count is -0.0"


def test_parameters_grow_linearly_with_the_number_of_series():
    counts = [sum(p.numel() for p in make(target_dim=dim).create_network().parameters()) for dim in (100, 200, 300)]
    assert counts[2] - counts[1] == counts[1] - counts[0]


def test_hundreds_of_series():
    entry = joint(40, dim=300)
    paths = samples(make(target_dim=300, rank=4).train([entry]), [entry])
    assert paths.shape == (1, 20, H, 300) and np.isfinite(paths).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"distr_output": "student_t"}, "multivariate_normal"),
        ({"distr_output": MultivariateNormalOutput(2)}, "target_dim=3 .* of 2"),
        ({"distr_output": GaussianCopulaOutput(D, 1, NegativeBinomialOutput())}, "NegativeBinomialOutput"),
        ({"loss": "crps"}, "'energy'"),
        ({"target_dim": 0}, "target_dim"),
        ({"scaling": "x"}, "'increments'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_bad_data():
    with pytest.raises(ValueError, match=r"'group 0': target must have shape \(3, T\).*\(2, 60\).*MultivariateGrouper"):
        make().train([joint(dim=2)])
    lost = joint()
    lost["target"][1] = np.nan
    with pytest.raises(ValueError, match="dimension 1 of target has no observed value"):
        make().train([lost])
    with pytest.raises(ValueError, match="the dataset is empty"):
        make().train([])
