"""The end of training series, held out to decide how long to train."""

import numpy as np
import pandas as pd
import torch

from s5forecast.data.entries import read_series
from s5forecast.data.spec import WindowSpec
from s5forecast.windows.held_out import MOST_WINDOWS, HeldOut
from s5forecast.windows.regular import SeriesStore

L, H = 16, 4
SPEC = WindowSpec("D", L, H, [1, 7])


def stored(*targets):
    entries = [{"start": pd.Period("2024-01-01", "D"), "target": np.asarray(one, dtype=float)} for one in targets]
    return SeriesStore(read_series(entries, SPEC, forecast=False), SPEC)


def test_the_last_tenth_of_a_long_series_and_a_horizon_of_a_short_one_are_held_out():
    long, short = np.arange(200.0), np.arange(20.0)
    held_out = HeldOut.of(stored(long, short))
    assert held_out.store.length.tolist() == [180, 16]
    target = held_out.windows.target
    assert (target[:-1].min() >= 180) and target[:-1].max() == 199
    assert torch.equal(target[-1], torch.arange(16.0, 20).double())


def test_windows_see_nothing_of_their_horizon_and_training_nothing_of_any_horizon():
    values = np.random.default_rng(0).standard_normal(100)
    held_out = HeldOut.of(stored(values))
    whole = stored(values)
    for cut, past in zip(range(90, 97), held_out.windows.past, strict=True):
        assert torch.equal(past, whole.gather(torch.tensor([0]), torch.tensor([cut])).past[0])
    assert held_out.store.values.tolist()[:90] == values[:90].tolist()
    assert int(held_out.store.mask.sum()) == 90
    assert len(held_out.store.time) == 90 + H


def test_series_that_are_too_short_are_kept_whole():
    held_out = HeldOut.of(stored(np.arange(11.0), np.arange(12.0)))
    assert held_out.store.length.tolist() == [11, 8]
    assert len(held_out.windows.target) == 1
    assert HeldOut.of(stored(np.arange(11.0))) is None


def test_nothing_is_held_out_if_the_end_was_not_observed():
    assert HeldOut.of(stored(np.r_[np.arange(90.0), [np.nan] * 10])) is None


def test_a_series_without_values_before_the_end_is_not_trained_on():
    late = np.r_[[np.nan] * 95, np.arange(5.0)]
    held_out = HeldOut.of(stored(np.arange(100.0), late))
    assert len(held_out.store) == 1


def test_many_series_are_sampled():
    held_out = HeldOut.of(stored(*np.random.default_rng(0).standard_normal((2 * MOST_WINDOWS + 1, 40))))
    assert len(held_out.windows.target) <= MOST_WINDOWS
