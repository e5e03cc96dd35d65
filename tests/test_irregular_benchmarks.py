"""The benchmarks of irregular sampling: the pendulum's physics and pictures, and the protocols on PhysioNet 2012."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

FOLDER = Path(__file__).parent.parent / "benchmarks" / "irregular"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the benchmarks are not here")


@pytest.fixture(scope="module", autouse=True)
def benchmarks_on_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def test_energy_of_an_undisturbed_pendulum_never_grows_and_stays_without_friction():
    from pendulum_data import GRAVITY, energy, simulate

    with_friction = energy(*simulate(20, np.random.default_rng(0), noise=0.0))
    assert (np.diff(with_friction, axis=1) < 1e-9).all()
    assert (with_friction[:, -1] < with_friction[:, 0]).all()
    without = energy(*simulate(20, np.random.default_rng(0), friction=0.0, noise=0.0))
    assert np.ptp(without, axis=1).max() < 1e-2 * GRAVITY


def test_rod_is_drawn_from_the_center_in_the_direction_of_its_angle():
    from pendulum_data import CENTER, ROD, SIZE, draw

    angles = np.linspace(-np.pi, np.pi, 37)
    images = draw(angles).astype(float)
    assert images.shape == (37, SIZE, SIZE)
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5 - CENTER * SIZE / 128
    # The mass of the image lies half-way along the rod.
    middle = np.stack([(images * columns).sum((1, 2)), (images * rows).sum((1, 2))], 1) / images.sum((1, 2))[:, None]
    expected = ROD / 2 * SIZE / 128 * np.stack([np.sin(angles), np.cos(angles)], 1)
    assert np.abs(middle - expected).max() < 0.3
    for image, angle in zip(images, angles, strict=True):
        along = columns * np.sin(angle) + rows * np.cos(angle)
        across = np.abs(columns * np.cos(angle) - rows * np.sin(angle))
        # The rod is 1.5 pixels wide and 10 long.
        near, far = (across <= 0.51) & (along > 1) & (along < 9), (across > 2) | (along < -1.5) | (along > 12)
        assert image[near].min() > 100 and image[near].mean() > 180 and image[far].mean() < 3


def test_sequences_are_the_same_for_a_seed_and_sampled_without_repetition():
    from pendulum_data import CLEAR, OBSERVED, STEPS, draw, pendulum_sets, sequences

    first, again = (sequences(5, np.random.default_rng(3)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.times.shape == (5, OBSERVED) and (np.diff(first.times) > 0).all()
    assert first.times.min() >= 0 and first.times.max() < STEPS
    np.testing.assert_allclose((first.targets**2).sum(-1), 1, rtol=1e-6)
    clear = first.times < CLEAR
    angles = np.arctan2(first.targets[..., 0], first.targets[..., 1])
    # Targets are float32, so that now and then the end of a rod falls into the next pixel.
    assert (first.images[clear] == draw(angles[clear])).mean() > 0.9
    sets = pendulum_sets({"train": 3, "test": 3})
    assert not np.array_equal(sets["train"].images, sets["test"].images)


def test_convolution_in_one_pass_is_that_of_torch():
    from convolution import ConvolvePool

    torch.manual_seed(0)
    layer = ConvolvePool(3)
    torch.nn.init.normal_(layer.bias, std=0.1)
    images = torch.randint(0, 256, (4, 24, 24), dtype=torch.uint8)
    out = layer(images)
    maps = F.conv2d((images.float() / 255).unsqueeze(1), layer.weight.unsqueeze(1), layer.bias, padding=2)
    expected = F.relu(F.max_pool2d(maps, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(out, expected)
    upstream = torch.randn_like(out)
    wanted = (layer.weight, layer.bias)
    for ours, theirs in zip(
        torch.autograd.grad(out, wanted, upstream), torch.autograd.grad(expected, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_ablations_see_of_the_time_what_their_names_say():
    from pendulum import ABLATIONS, PendulumNetwork

    torch.manual_seed(0)
    images = torch.randint(0, 256, (2, 5, 24, 24), dtype=torch.uint8)
    for ablation in ABLATIONS:
        model = PendulumNetwork(ablation).eval()
        with torch.no_grad():
            once, later = (model(images, torch.full((2, 5), gap)) for gap in (1.0, 4.0))
        assert once[0].shape == once[1].shape == (2, 5, 2) and (once[1] > 0).all()
        assert torch.equal(once[0], later[0]) == (ablation == "drop")


@pytest.fixture
def patients() -> pd.DataFrame:
    """Twenty patients with all variables every half hour over 48 hours, but for MechVent, which is 1."""
    from physionet import READING_ORDER

    minutes = np.arange(0, 48 * 60 + 1, 30)
    rng = np.random.default_rng(0)
    frames = []
    for item in range(20):
        values = pd.DataFrame(rng.normal(100, 10, (len(minutes), len(READING_ORDER))), columns=list(READING_ORDER))
        frames.append(values.assign(item_id=item, timestamp=minutes, MechVent=1.0))
    return pd.concat(frames, ignore_index=True)


def test_hours_are_means_without_the_line_that_opens_them_and_without_the_last(patients):
    from physionet import READING_ORDER, hourly

    rows = hourly(patients)
    assert rows.loc[0].index.tolist() == list(range(48))  # a value at 48:00 opens hour 48, which is passed over
    one = patients[patients["item_id"] == 0].set_index("timestamp")
    assert np.isclose(rows.loc[(0, 5), "HR"], one.loc[[300, 330], "HR"].mean())
    opener = READING_ORDER[0]
    assert np.isclose(rows.loc[(0, 5), opener], one.loc[330, opener])
    assert np.isclose(rows.loc[(0, 0), opener], one.loc[[0, 30], opener].mean())
    assert np.isclose(rows.loc[(0, 0), "Weight"], one.loc[30, "Weight"])  # at minute 0 it is a static feature
    gaps = one.loc[[10 * 60]].assign(timestamp=10 * 60)
    sparse = pd.concat([one.loc[:90].reset_index(), gaps, one.loc[1000:].reset_index()], ignore_index=True)
    sparse.loc[sparse["timestamp"] == 600, list(READING_ORDER[1:])] = np.nan
    assert hourly(sparse).loc[(0, 10)].isna().all()  # the row of an hour with nothing but its opening line stays


def test_three_rows_after_hour_36_are_asked_for_in_standard_deviations(patients):
    from physionet import READING_ORDER, hourly, next_three_steps

    patients.loc[7, "HR"] = 1e6
    tasks = next_three_steps(patients)
    assert {name: len(part) for name, part in tasks.items()} == {"train": 13, "validation": 4, "test": 3}
    everyone = [task for part in tasks.values() for task in part]
    assert len({task.item_id for task in everyone}) == 20
    values = []
    for task in everyone:
        np.testing.assert_array_equal(task.time, np.arange(37))
        np.testing.assert_array_equal(task.query_time, [37, 38, 39])
        values.append(np.concatenate([task.values, task.query_values]))
    values = np.concatenate(values)
    assert np.nanmax(np.abs(values)) < 5 and np.isnan(values[:, READING_ORDER.index("HR")]).sum() == 1
    sugar = hourly(patients)["Glucose"]
    task = everyone[0]
    expected = (sugar.loc[(task.item_id, 37)] - sugar.mean()) / sugar.std(ddof=0)
    assert np.isclose(task.query_values[0, READING_ORDER.index("Glucose")], expected)
    assert np.allclose(task.values[:, READING_ORDER.index("MechVent")], 0)


def test_next_day_is_asked_for_at_its_minutes_on_the_range_of_training_and_validation(patients):
    from physionet import READING_ORDER, next_day

    tasks = next_day(patients)
    assert {name: len(part) for name, part in tasks.items()} == {"train": 12, "validation": 4, "test": 4}
    seen = np.concatenate(
        [np.concatenate([t.values, t.query_values]) for n in ("train", "validation") for t in tasks[n]]
    )
    weight, constant = (READING_ORDER.index(name) for name in ("Weight", "MechVent"))
    scaled = np.delete(seen, [weight, constant], axis=1)
    np.testing.assert_allclose([scaled.min(0), scaled.max(0)], [np.zeros(35), np.ones(35)], atol=1e-12)
    assert seen[:, weight].min() > 0.5 and np.isclose(seen[:, weight].max(), 1)  # zero is an unknown weight, -1
    assert (seen[:, constant] == 0).all()
    task = tasks["test"][0]
    assert task.time.max() == 23.5 and task.query_time.min() == 24 and task.query_time.max() == 48
    rows = patients[patients["item_id"] == task.item_id]
    assert len(task.values) + len(task.query_values) == len(rows)


def test_crps_of_an_empirical_distribution_is_its_definition():
    from physionet_baselines import empirical_crps

    rng = np.random.default_rng(0)
    sample, values = rng.normal(size=50), rng.normal(size=7)
    pairs = np.abs(sample[:, None] - sample).mean()
    expected = np.abs(sample - values[:, None]).mean(1) - pairs / 2
    np.testing.assert_allclose(empirical_crps(np.append(sample, np.nan), values), expected, rtol=1e-12)


def test_quantile_score_at_many_levels_is_the_crps():
    from physionet_baselines import empirical_crps
    from physionet_s5 import quantile_score

    rng = np.random.default_rng(0)
    sample, values = rng.normal(size=5000), rng.normal(size=(6, 1))
    levels = (np.arange(100) + 0.5) / 100
    quantiles = np.tile(np.quantile(sample, levels), (6, 1, 1))
    np.testing.assert_allclose(
        quantile_score(quantiles, values, levels)[:, 0], empirical_crps(sample, values[:, 0]), rtol=5e-3
    )


def test_a_grid_of_means_ends_at_the_moment_of_the_forecast():
    from events import Window, on_grid

    time = pd.DatetimeIndex(["2013-01-01 22:10", "2013-01-01 23:00", "2013-01-01 23:20", "2013-01-01 23:59"])
    values = np.array([[1.0], [2.0], [4.0], [np.nan]])
    entry = on_grid(Window("a", pd.Timestamp("2013-01-02"), time, values, time[:0], values[:0]), 0, "30min")
    assert entry["start"] == pd.Period("2013-01-01 22:00", "30min")
    np.testing.assert_array_equal(entry["target"], [1, np.nan, 3, np.nan])


def test_moments_of_a_forecast_are_after_what_is_learnt():
    from events import SETS, split

    time = pd.date_range("2013-10-20 00:07", "2013-11-20", freq="5h")
    frame = pd.DataFrame({"item_id": "a", "timestamp": time, "dep_delay": np.arange(len(time), dtype=float)})
    past, ahead = split(frame, SETS["nyc_flight_delays"])
    since = pd.Timestamp(SETS["nyc_flight_delays"].since)
    assert (past[0].time < since).all() and len(ahead) > 5
    for window in ahead:
        assert since <= window.moment and window.time[-1] < window.moment <= window.query_time[0]
        assert window.query_time[-1] < window.moment + pd.Timedelta("12h")
        assert len(window.query_values) == len(window.query_time) > 0
