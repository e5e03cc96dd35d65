"""Normalization of windows with few observed values."""

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast.data.entries import read_series
from s5forecast.data.spec import TypicalWindow, WindowSpec
from s5forecast.windows.joint import JointStore
from s5forecast.windows.normalization import Normalization, ObservedValues, typical_window
from s5forecast.windows.regular import SeriesStore
from s5forecast.windows.scaling import SCALINGS

L, H = 8, 3
TYPICAL = TypicalWindow(location=7.0, scale=3.0, level=9.0, ratio=0.2)
NAN = np.nan


def stored(*targets, scaling="standard", typical=TYPICAL, context=L):
    spec = WindowSpec("D", context, H, [1, 7], scaling=scaling, typical=typical)
    entries = [{"start": pd.Period("2024-01-01", "D"), "target": np.asarray(one, dtype=float)} for one in targets]
    return SeriesStore(read_series(entries, spec, forecast=True), spec)


def placed(target, **kwargs):
    batch = stored(target, **kwargs).gather_ahead(torch.tensor([0]))
    return tuple(x.item() for x in (batch.loc, batch.scale, batch.level))


def typical(batch, spec):
    found = Normalization(batch.loc, batch.scale, batch.level)
    return typical_window(batch.past, batch.mask[:, :L].double(), found, spec)


@pytest.fixture
def history():
    return 100 + 10 * np.random.default_rng(0).standard_normal(60)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("outage", [L, L + 1, 5 * L])
def test_a_series_that_ends_in_an_outage_is_normalized_by_the_values_before_it(history, scaling, outage):
    assert placed(np.r_[history, [NAN] * outage], scaling=scaling) == placed(history, scaling=scaling)


@pytest.mark.parametrize("scaling", ["standard", "last", "increments", "mean"])
@pytest.mark.parametrize("observed", [1, 2, 3])
def test_few_values_in_the_window_are_joined_by_older_ones(history, scaling, observed):
    loc, scale, level = placed(np.r_[history, [NAN] * L, history[:observed]], scaling=scaling)
    assert scaling == "mean" or 80 < loc < 120
    assert level == pytest.approx(100, rel=0.1)
    assert scale == pytest.approx({"mean": 100, "increments": 14}.get(scaling, 10), rel=0.6)


def test_values_on_both_sides_of_a_gap_are_no_neighbors():
    counts = np.cumsum(np.ones(40))
    _, scale, _ = placed(np.r_[counts, [NAN] * 30, 1000.0, 1001.0], scaling="increments")
    assert scale == 1


def test_a_single_value_has_the_typical_ratio_of_spread_to_level():
    assert placed([50.0]) == (50, pytest.approx(0.2 * 50), 50)
    assert placed([-50.0], scaling="last") == (-50, pytest.approx(0.2 * 50), 50)
    assert placed([50.0], scaling="none", typical=None) == (0, 1, 50)


def test_the_typical_scale_counts_as_one_value():
    loc, scale, level = placed([40.0, 60.0, 50.0])
    assert (loc, level) == (50, 50)
    assert scale == pytest.approx(np.sqrt((2 * np.var([40, 60, 50]) + 10**2) / 3))


def test_a_zero_and_no_value_at_all_take_the_typical_scale():
    assert placed([0.0]) == (0, 3, 9)
    batch = stored([NAN, NAN, 5.0, 6.0]).gather(torch.tensor([0]), torch.tensor([2]))
    assert (batch.loc.item(), batch.scale.item(), batch.level.item()) == (7, 3, 9)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_windows_with_four_values_are_normalized_by_these_alone(history, scaling):
    target = np.r_[history, [NAN] * (L - 4), 1.0, 2.0, 5.0, 3.0]
    values = torch.tensor([1.0, 2.0, 5.0, 3.0]).double()[None]
    loc, scale = SCALINGS[scaling](values, torch.ones_like(values))
    assert placed(target, scaling=scaling)[:2] == (loc.item(), scale.item())


def test_a_context_shorter_than_four_steps_is_enough(history):
    assert placed([*history, 1.0, 3.0], context=2)[:2] == (2, 1)


def test_predictors_saved_without_a_typical_window_keep_the_scale_of_a_constant():
    assert placed([50.0], typical=None) == (50, 0.5, 50)


def test_last_observed_values_close_gaps_to_one_missing_step():
    rng = np.random.default_rng(1)
    mask = torch.from_numpy(rng.random(200) < 0.4)
    values = torch.arange(200.0)
    begin, end = torch.tensor([0, 50, 120, 150]), torch.tensor([50, 53, 150, 200])
    found, seen = ObservedValues(values, mask).last(begin, end, 5)
    for row, (first, beyond) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        expected = [t for t in range(first, beyond) if mask[t]][-5:]
        assert found[row][seen[row] > 0].tolist() == expected
        gaps = np.diff(torch.nonzero(seen[row]).squeeze(-1).numpy())
        assert gaps.tolist() == np.minimum(np.diff(expected), 2).tolist()
        assert not len(expected) or seen[row, -1] == 1


def test_typical_window_is_that_of_varying_windows(history):
    store = stored(history, 10 * history, np.full(60, 5.0), typical=None)
    batch = store.gather(torch.tensor([0, 1, 2]), torch.tensor([60, 60, 60]))
    found = typical(batch, store.spec)
    ratios = (batch.scale / batch.level)[:2]
    assert found.ratio == pytest.approx(ratios.log().mean().exp().item())
    assert found.location == pytest.approx(batch.loc[:2].mean().item())
    constant = store.gather(torch.tensor([2]), torch.tensor([60]))
    assert typical(constant, store.spec) is None


def test_items_with_few_values_are_named_by_position_without_item_id(history):
    assert stored(history, np.r_[history, [NAN] * (L - 3)], [1.0, 2.0]).items_with_few_values() == [1, 2]


def test_joint_series_are_normalized_one_by_one(history):
    spec = WindowSpec("D", L, H, [1], target_dim=2)
    entry = {"start": pd.Period("2024-01-01", "D"), "target": np.stack([history, np.r_[history[:-L], [NAN] * L]])}
    rows = [{**entry, "target": one} for one in entry["target"]]
    store = JointStore(read_series(rows, spec, forecast=True), spec)
    batch = store.gather_ahead(torch.tensor([0]))
    before = stored(history[:-L]).gather_ahead(torch.tensor([0]))
    assert batch.loc[1] == before.loc[0] and batch.scale[1] == before.scale[0]
    assert store.items_with_few_values() == [1]
    store.spec = spec._replace(typical=TYPICAL)
    assert store._each.spec.typical == TYPICAL and store.spec.typical == TYPICAL
