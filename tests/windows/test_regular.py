"""Windows of regular series: equal to those of a loop over the steps, and independent of the future."""

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast.data.entries import read_series
from s5forecast.data.spec import FeatureSpec, WindowSpec
from s5forecast.windows.batches import SAMPLINGS, LastWindows, TrainingWindows
from s5forecast.windows.regular import SeriesStore, cut_range

SPEC = WindowSpec("h", context_length=6, prediction_length=3, lags=[1, 2, 4], features=FeatureSpec(1, 1, 1, 1))


def entry(length, seed):
    rng = np.random.default_rng(seed)
    target = rng.normal(10, 3, length)
    target[rng.random(length) < 0.2] = np.nan
    target[0] = 1.0
    return {
        "start": pd.Period("2024-01-01 07:00", "h") + seed,
        "target": target,
        "feat_dynamic_real": rng.normal(size=(1, length + 3)),
        "past_feat_dynamic_real": rng.normal(size=(1, length)),
        "feat_static_real": [seed / 10],
        "feat_static_cat": [seed],
    }


@pytest.fixture(scope="module")
def entries():
    return [entry(length, seed) for seed, length in enumerate([20, 4, 1, 11])]


@pytest.fixture(scope="module")
def store(entries):
    return SeriesStore(read_series(entries, SPEC, forecast=True), SPEC)


def naive_window(one, cut):
    """Values, lags and covariates of one window, step by step, in the units of the target."""
    L, H = SPEC.context_length, SPEC.prediction_length
    at = lambda array, p: array[p] if 0 <= p < len(array) else np.nan  # noqa: E731
    values = [at(one["target"], cut + s) for s in range(-L, H)]
    lags = []
    for step in range(-L, H):
        ahead = max(step + 1, 0)
        distances = [lag * max(1, -(-ahead // lag)) for lag in SPEC.lags]
        lags.append([at(one["target"], cut + step - d) for d in distances])
    known = [at(one["feat_dynamic_real"][0], cut + s) for s in range(-L, H)]
    past = [at(one["past_feat_dynamic_real"][0], cut + s) if s < 0 else np.nan for s in range(-L, H)]
    return np.array(values), np.array(lags), np.stack([known, past], -1)


@pytest.mark.parametrize(("index", "cut"), [(0, 20), (0, 10), (0, 2), (1, 4), (2, 1), (3, 8)])
def test_a_window_equals_a_loop_over_the_steps(entries, store, index, cut):
    batch = store.gather(torch.tensor([index]), torch.tensor([cut]))
    values, lags, covariates = naive_window(entries[index], cut)
    loc, scale = batch.loc.item(), batch.scale.item()
    for found, mask, expected in ((batch.values, batch.mask, values), (batch.lags, batch.lag_mask, lags)):
        assert np.array_equal(mask[0].numpy() == 1, ~np.isnan(expected))
        restored = loc + scale * found[0].double().numpy()
        assert np.allclose(restored[~np.isnan(expected)], expected[~np.isnan(expected)], rtol=1e-5)
        assert (found[0].numpy()[np.isnan(expected)] == 0).all()
    assert np.allclose(batch.covariates[0].numpy(), covariates, equal_nan=True)
    assert np.allclose(batch.target[0].numpy(), np.nan_to_num(values[6:]))
    context = values[:6][~np.isnan(values[:6])]
    assert loc == pytest.approx(context.mean())
    assert batch.static_cat.tolist() == [[index]]
    assert batch.static_real[0, 0].item() == pytest.approx(index / 10)


def test_inputs_do_not_depend_on_the_future(entries, store):
    changed = [dict(one) for one in entries]
    changed[0]["target"] = changed[0]["target"].copy()
    changed[0]["target"][12:] = 1e6
    changed[0]["past_feat_dynamic_real"] = changed[0]["past_feat_dynamic_real"].copy()
    changed[0]["past_feat_dynamic_real"][:, 12:] = 1e6
    other = SeriesStore(read_series(changed, SPEC, forecast=True), SPEC)
    index, cut = torch.tensor([0]), torch.tensor([12])
    a, b = store.gather(index, cut), other.gather(index, cut)
    for name in ("lags", "lag_mask", "loc", "scale", "level", "calendar", "static_real"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.values[:, :6], b.values[:, :6])
    assert torch.equal(a.covariates.nan_to_num(7.0), b.covariates.nan_to_num(7.0))


def test_training_windows_are_reproducible_and_within_the_series(store):
    def draw():
        generator = torch.Generator().manual_seed(3)
        return list(TrainingWindows(store, batch_size=64, num_batches=2, generator=generator))

    for a, b in zip(draw(), draw(), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[:5], b[:5], strict=True))
        assert (a.mask[:, :6].sum(1) > 0).all(), "nothing before the cut"
    low, high = cut_range(store.length, store.spec)
    assert (low >= 1).all() and (low[[0, 1, 3]] <= high[[0, 1, 3]]).all()
    assert high.tolist() == [17, 1, 0, 8]


def test_the_last_windows(store):
    (ahead,) = LastWindows(store, batch_size=10, known=False)
    assert (ahead.mask[:, 6:] == 0).all() and len(ahead.values) == 4
    known = list(LastWindows(store, batch_size=2, known=True))
    assert sum(len(batch.values) for batch in known) == 3  # a series of one value has no known horizon


def test_a_window_in_shorter_steps_contains_that_of_the_training():
    values = np.random.default_rng(0).normal(size=4 * 60)
    spec = WindowSpec("h", context_length=12, prediction_length=5, lags=[1, 3, 24], scaling="none")
    finer = spec.divided(4)
    assert finer[:4] == ("15min", 48, 20, [4, 12, 96]) and finer.substeps == 4
    assert finer.divided(3).freq == "5min" and finer.divided(3).substeps == 12

    def window(spec, target):
        entry = {"start": pd.Period("2024-02-27", spec.frequency.period_alias), "target": target}
        store = SeriesStore(read_series([entry], spec, forecast=True), spec)
        return store.gather(torch.tensor([0]), store.length)

    found, expected = window(finer, values), window(spec, values[::4])
    for name in ("values", "mask", "lags", "lag_mask", "calendar"):
        assert torch.equal(getattr(found, name)[:, ::4], getattr(expected, name)), name


def test_scaling_by_increments_cannot_be_divided():
    with pytest.raises(ValueError, match="train with scaling='last'"):
        WindowSpec("h", 6, 3, [1], scaling="increments").divided(2)


def test_counts_are_detected():
    histories = {True: [[0, 3, np.nan, 2.0], [0, 0]], False: [[0.5, 1], [-1, 2]]}
    for expected, targets in histories.items():
        for target in targets:
            one = {"start": pd.Period("2024-01-01", "h"), "target": np.array(target)}
            spec = WindowSpec("h", 4, 2, [1])
            store = SeriesStore(read_series([one], spec, forecast=True), spec)
            (batch,) = LastWindows(store, batch_size=1, known=False)
            assert batch.counts.tolist() == [[expected]]


def test_time_is_local_time():
    stamps = pd.date_range("2024-03-09", periods=60, freq="h", tz="America/New_York")
    spec = WindowSpec("h", 30, 24, [1])
    one = {"start": pd.Period("2024-03-09", "h"), "target": np.ones(60), "timestamps": stamps}
    (series,) = read_series([one], spec, forecast=True)
    wall = pd.date_range(stamps[0], periods=84, freq="h").tz_localize(None)
    assert pd.PeriodIndex.from_ordinals(series.time, freq="h").to_timestamp().tolist() == wall.tolist()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_probabilities_of_series_and_cuts(sampling):
    lengths = [60, 1, 12, 30]  # the second series has no window
    entries = [{"start": pd.Period("2024-01-01", "h"), "target": np.arange(length, dtype=float)} for length in lengths]
    spec = WindowSpec("h", context_length=6, prediction_length=3, lags=[1], scaling="none")
    store = SeriesStore(read_series(entries, spec, forecast=False), spec)
    generator = torch.Generator().manual_seed(0)
    windows = TrainingWindows(store, batch_size=1, num_batches=1, generator=generator, sampling=sampling)
    count = 30_000
    drawn = windows._drawn(count)
    pairs = torch.stack([drawn.entry, store.training_cuts(drawn.entry, drawn.share)])
    found, counts = pairs.unique(dim=1, return_counts=True)
    low, high = cut_range(store.length, spec)
    expected = [(s, cut) for s in (0, 2, 3) for cut in range(int(low[s]), int(high[s]) + 1)]
    assert set(map(tuple, found.T.tolist())) == set(expected)
    of_series = 1 / (3 * (high - low + 1).double()[found[0]])
    share = {"series": of_series, "windows": torch.full_like(of_series, 1 / len(expected))}[sampling]
    error = (counts - count * share) / (count * share * (1 - share)).sqrt()
    assert error.abs().max() < 4
