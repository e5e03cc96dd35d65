"""Scores against their definitions."""

import numpy as np
import pandas as pd
import pytest
from gluonts.evaluation import MultivariateEvaluator
from gluonts.model.forecast import SampleForecast
from scipy.special import ndtr, ndtri

from s5forecast.evaluation import Backtest
from s5forecast.evaluation.metrics import evaluate
from s5forecast.evaluation.scores import (
    crps,
    crps_weights,
    energy_score,
    interval_score,
    pit,
    pit_from_quantiles,
    variogram_score,
)

RNG = np.random.default_rng(0)


def crps_of_normal(y):
    return y * (2 * ndtr(y) - 1) + 2 * np.exp(-(y**2) / 2) / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi)


def test_crps_by_its_definition():
    label, samples = RNG.normal(size=(3, 2)), RNG.normal(size=(3, 2, 7))
    pairs = np.abs(samples[..., :, None] - samples[..., None, :]).mean(axis=(-1, -2))
    expected = np.abs(samples - label[..., None]).mean(-1) - pairs / 2
    np.testing.assert_allclose(crps(label, samples), expected)
    np.testing.assert_allclose(crps(label, samples[..., :1]), np.abs(label - samples[..., 0]))
    np.testing.assert_allclose(crps(label + 1e6, samples + 1e6), expected, rtol=1e-6)
    assert np.isnan(crps(np.array([np.nan]), samples[0, :1])).all()


def test_crps_of_a_normal_distribution():
    label = np.array([-2.0, 0.0, 0.7])
    levels = (np.arange(2000) + 0.5) / 2000
    samples = np.broadcast_to(ndtri(levels), (3, 2000))
    np.testing.assert_allclose(crps(label, samples), crps_of_normal(label), atol=1e-3)


def test_weights_of_levels_are_an_integral():
    np.testing.assert_allclose(crps_weights([0.1, 0.5, 0.7]), [0.3, 0.3, 0.4])
    np.testing.assert_allclose(crps_weights([0.3]), [1.0])


def test_energy_score_of_one_dimension_is_the_crps():
    label, samples = RNG.normal(size=(5, 1)), RNG.normal(size=(5, 1, 9))
    np.testing.assert_allclose(energy_score(label, samples), crps(label, samples)[:, 0])


def test_energy_score_by_its_definition():
    y, x = RNG.normal(size=(1, 4)), RNG.normal(size=(1, 4, 6))
    far = [np.linalg.norm(x[0, :, i] - y[0]) for i in range(6)]
    apart = [np.linalg.norm(x[0, :, i] - x[0, :, j]) for i in range(6) for j in range(6)]
    assert energy_score(y, x) == pytest.approx(np.mean(far) - np.mean(apart) / 2)


def test_variogram_score_by_its_definition():
    y, x = RNG.normal(size=(1, 3)), RNG.normal(size=(1, 3, 5))
    total = sum(
        (abs(y[0, i] - y[0, j]) ** 0.5 - np.mean(np.abs(x[0, i] - x[0, j]) ** 0.5)) ** 2
        for i in range(3)
        for j in range(3)
    )
    assert variogram_score(y, x) == pytest.approx(total)
    assert variogram_score(y[:, :1], x[:, :1]) == 0


@pytest.mark.parametrize("score", [energy_score, variogram_score])
def test_joint_scores_prefer_the_right_dependence(score):
    walks = RNG.normal(size=(60, 200)).reshape(60, 10, 20).cumsum(axis=1)
    label = RNG.normal(size=(60, 10)).cumsum(axis=1)
    shuffled = RNG.permuted(walks, axis=2)
    assert score(label, walks).mean() < score(label, shuffled).mean()


@pytest.mark.parametrize("score", [energy_score, variogram_score])
def test_missing_labels_of_a_vector_are_ignored(score):
    label, samples = RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4, 5))
    label[0, 2], label[1] = np.nan, np.nan
    kept = [0, 1, 3]
    np.testing.assert_allclose(score(label, samples), [score(label[:1, kept], samples[:1, kept])[0], np.nan])


def test_interval_score_by_hand():
    label = np.array([5.0, 0.0, 12.0])
    np.testing.assert_allclose(interval_score(label, np.full(3, 2.0), np.full(3, 10.0), 0.8), [8, 8 + 20, 8 + 20])


def test_pit_is_uniform_for_the_right_forecast():
    label = RNG.normal(size=4000)
    samples = np.broadcast_to(ndtri((np.arange(200) + 0.5) / 200), (4000, 200))
    levels = [0.1, 0.3, 0.5, 0.7, 0.9]
    quantiles = np.broadcast_to(ndtri(levels), (4000, 5))
    for values in (pit(label, samples), pit_from_quantiles(label, quantiles, levels)):
        for level in levels:
            assert np.mean(values < level) == pytest.approx(level, abs=0.025)


def test_pit_by_hand():
    quantiles = np.array([[1.0, 3.0, 3.0, 7.0]])
    levels = [0.2, 0.4, 0.6, 0.8]
    for label, value in [(0, 0.1), (9, 0.9), (2, 0.3), (5, 0.7), (3, (0.2 + 0.8) / 2), (1, 0.2), (np.nan, np.nan)]:
        np.testing.assert_allclose(pit_from_quantiles(np.array([float(label)]), quantiles, levels), value)
    np.testing.assert_allclose(pit(np.array([2.0]), np.array([[1.0, 2.0, 2.0, 5.0]])), 0.5)
    assert np.isnan(pit(np.array([np.nan]), np.ones((1, 3)))).all()


def test_the_crps_of_the_sum_equals_that_of_gluonts():
    rng = np.random.default_rng(0)
    D, windows, H, N = 4, 3, 6, 50
    starts = [pd.Period("2024-01-01", "D") + 100 + H * w for w in range(windows)]
    labels = rng.normal(size=(windows, H, D)).cumsum(axis=1) + 5
    paths = rng.normal(size=(windows, N, H, D)).cumsum(axis=2) + 5
    histories = [
        pd.DataFrame(
            np.concatenate([rng.normal(size=(100, D)), label]), index=pd.period_range(start - 100, periods=100 + H)
        )
        for start, label in zip(starts, labels, strict=True)
    ]
    forecasts = [SampleForecast(samples, start) for samples, start in zip(paths, starts, strict=True)]
    evaluator = MultivariateEvaluator(quantiles=np.arange(1, 20) / 20, target_agg_funcs={"sum": np.sum}, num_workers=0)
    expected = evaluator(iter(histories), iter(forecasts))[0]["m_sum_mean_wQuantileLoss"]
    label = labels.reshape(-1, D).T  # [D, windows * H]
    samples = paths.transpose(3, 0, 2, 1).reshape(D, -1, N)
    found = evaluate(label, {"samples": samples}, metrics=["CRPS_sum"])["CRPS_sum"]
    assert found == pytest.approx(expected, abs=1e-12)
    rows = evaluate(label, {"samples": samples}, metrics=["CRPS_sum"], axis=0)["CRPS_sum"]
    size = np.abs(label.sum(axis=0))
    assert (rows * size).sum() / size.sum() == pytest.approx(found)


def test_the_crps_of_the_sum_in_a_backtest():
    rng = np.random.default_rng(0)
    labels, samples = rng.normal(size=(2, 3, 4)) + 5, rng.normal(size=(2, 3, 4, 20)) + 5  # windows, series, steps
    labels[1, 2, 3] = np.nan  # excludes the sum at its step
    frames = [
        pd.DataFrame(
            {
                "item_id": np.repeat(["a", "b", "c"], 4),
                "cutoff": pd.Timestamp("2024-01-01") + pd.Timedelta(days=4 * window),
                "timestamp": np.tile(pd.date_range("2024-01-02", periods=4) + pd.Timedelta(days=4 * window), 3),
                "target": labels[window].ravel(),
                **{f"sample_{n}": samples[window, ..., n].ravel() for n in range(20)},
            }
        )
        for window in range(2)
    ]
    result = Backtest("paths", pd.concat(frames, ignore_index=True), metric_names=("CRPS_sum",))
    sums, paths = labels.sum(1).ravel(), samples.sum(1).reshape(-1, 20)
    seen = ~np.isnan(sums)
    quantiles = np.sort(paths[seen])[:, np.round(19 * np.arange(1, 20) / 20).astype(int)]
    error, levels = sums[seen, None] - quantiles, np.arange(1, 20) / 20
    expected = 2 * np.where(error >= 0, levels * error, (levels - 1) * error).mean(1).sum() / np.abs(sums[seen]).sum()
    assert result.metrics["CRPS_sum"].item() == pytest.approx(expected)
    assert len(result.by("cutoff")) == 2 and "CRPS_sum" not in result.by("item_id")
