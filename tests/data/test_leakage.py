"""Covariates that leak the target: relations that are found, and those that are none."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.leakage import ENOUGH, find_leaks
from s5forecast.data.series_names import SeriesNames
from s5forecast.data.table import SeriesTable

S, T, H = 8, 250, 7
SEASONS = (24, 168)
STEPS = np.arange(T)


def table(target, column, role, labels=None):
    rows = np.asarray(column, dtype=np.float32).reshape(1, -1)
    none = np.empty((0, rows.size), dtype=np.float32)
    items = [f"s{number}" for number in range(len(target))]
    return SeriesTable(
        SeriesNames(items, pd.DataFrame(index=items)),
        np.arange(len(target) + 1) * target.shape[1],
        pd.RangeIndex(target.size),
        np.ravel(target).astype(float),
        rows if role == "known" else none,
        pd.DataFrame(index=range(len(items))),
        none if role == "known" else rows,
        {"x": labels},
    )


def leaks(target, column, role="past", horizon=H, labels=None):
    data = table(target, column, role, labels)
    return list(find_leaks(data, data.target, role, ["x"], horizon, SEASONS))


def shifted(values, steps):
    """Values of a number of steps later."""
    return pd.DataFrame(values.T).shift(-steps).to_numpy().T


def autoregressive(rng, coefficient):
    values = rng.normal(size=(S, T))
    for step in range(1, T):
        values[:, step] += coefficient * values[:, step - 1]
    return values


DAY = np.sin(2 * np.pi * STEPS / 24)[None]
PROCESSES = {
    "white": lambda rng: rng.normal(size=(S, T)),
    "slow": lambda rng: autoregressive(rng, 0.99),
    "random walk": lambda rng: autoregressive(rng, 1.0),
    "smooth": lambda rng: autoregressive(rng, 1.0).cumsum(axis=1),
    "counter": lambda rng: rng.poisson(3, (S, T)).cumsum(axis=1).astype(float),
    "trend": lambda rng: STEPS * rng.normal(1, 0.2, (S, 1)) + rng.normal(size=(S, T)),
    "line": lambda rng: STEPS * rng.normal(1, 0.2, (S, 1)),
    "curve": lambda rng: np.exp(STEPS / T * rng.uniform(1, 5, (S, 1))),
    "season": lambda rng: np.sin(2 * np.pi * (STEPS + rng.integers(24)) / 24) * rng.uniform(1, 2, (S, 1)),
    "season and noise": lambda rng: 5 * DAY + 0.1 * rng.normal(size=(S, T)),
    "hour": lambda rng: np.tile(((STEPS + rng.integers(24)) % 24 < 1) * 1.0, (S, 1)),
    "week": lambda rng: np.tile((STEPS + rng.integers(24)) // 24 % 7 < 5, (S, 1)) * 1.0,
    "binary": lambda rng: (rng.random((S, T)) < 0.5) * 1.0,
    "rare": lambda rng: (rng.random((S, T)) < 0.03) * 1.0,
    "nearly constant": lambda rng: (rng.random((S, T)) < 0.995) * 1.0,
    "constant": lambda rng: np.ones((S, T)),
    "intermittent": lambda rng: rng.poisson(3, (S, T)) * (rng.random((S, T)) < 0.1) * 1.0,
    "steps": lambda rng: rng.normal(size=(S, 1 + T // 30)).repeat(30, axis=1)[:, :T],
    "one step": lambda rng: (STEPS - rng.integers(T, size=(S, 1)) > 0) * 1.0,
    "heavy tails": lambda rng: rng.standard_cauchy((S, T)),
    "missing values": lambda rng: np.where(rng.random((S, T)) < 0.8, np.nan, autoregressive(rng, 0.99)),
}
# Processes in which a later value cannot be told from earlier ones.
INFORMATIVE = ("white", "slow", "random walk", "counter", "trend", "season and noise", "binary", "intermittent")


@pytest.mark.parametrize("role", ["past", "known"])
def test_independent_columns_are_no_leaks(role):
    rng = np.random.default_rng(0)
    for target in PROCESSES.values():
        for column in PROCESSES.values():
            assert leaks(target(rng), np.broadcast_to(column(rng), (S, T)), role) == []


@pytest.mark.parametrize("name", PROCESSES)
def test_functions_of_known_targets_and_correlated_columns_are_no_leaks(name):
    rng = np.random.default_rng(1)
    for role, lead in (("past", 0), ("known", H)):
        values = PROCESSES[name](rng)
        last = shifted(values, -lead)
        noise = np.nanstd(values, axis=1, keepdims=True) * rng.normal(size=(S, T))
        for column in (last, shifted(last, -5), 1 - last, last.round(), last - shifted(last, -1), last + 0.3 * noise):
            assert leaks(values, column, role) == []
        assert leaks(values, shifted(values, 1) + noise / 3, role) == []


CHANGES = {
    "copy": lambda values: values,
    "scaled": lambda values: 1 - 2 * values,
    "rounded": lambda values: values.round(2),
    "few wrong": lambda values: np.where(np.arange(values.size).reshape(values.shape) % 500 == 3, 1e4, values),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role, shift", [("past", 1), ("past", 3), ("past", 2 * H), ("known", 1 - H), ("known", 0)])
def test_leaks_are_found_in_each_series(role, shift, change):
    rng = np.random.default_rng(2)
    for name in INFORMATIVE:
        values = PROCESSES[name](rng)
        values[1, : T // 2], values[2, 99] = np.nan, 1e6  # the first rows lack a target; a mistake
        (found,) = leaks(values, CHANGES[change](shifted(values, shift)), role)
        assert (found.shift, found.series, found.role, found.column) == (shift, [*range(S)], role, "x"), name
        if change == "copy":
            assert found.equal


def test_a_leak_in_few_series_and_at_several_shifts():
    rng = np.random.default_rng(3)
    values, column = rng.normal(size=(S, T)), rng.normal(size=(S, T))
    column[2], column[5], column[7] = shifted(values, 2)[2], shifted(values, 4)[5], shifted(values, 4)[7]
    found = leaks(values, column)
    assert [(leak.shift, leak.series) for leak in found] == [(4, [5, 7]), (2, [2])]
    data = table(values, column, "past")
    assert found[0].message(data, "sales", H) == (
        "past column 'x' equals 'sales' 4 steps later in 2 of 8 series, such as series 's5'; if its values are not "
        "known at the time of its row, leave it out of past="
    )


def test_leaks_of_many_series():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(2500, 60))
    (found,) = leaks(values, shifted(values, 2), horizon=2)
    assert found.shift == 2 and len(found.series) > 2400


@pytest.mark.parametrize("shift", [100, 168])
def test_shifts_within_long_horizons(shift):
    values = np.random.default_rng(5).normal(size=(1, 400))
    (found,) = leaks(values, shifted(values, shift), horizon=168)
    assert found.shift == shift


LABELS = {
    "numbers": (["1", "2", "10"], [1, 2, 10]),
    "numbers in another order": (["10", "2", "1.5"], [10, 2, 1.5]),
    "booleans": (["False", "True"], [0, 1]),
    "text": (["closed", "open"], [0, 1]),
}


@pytest.mark.parametrize("name", LABELS)
def test_categories_are_compared_by_value(name):
    labels, numbers = LABELS[name]
    codes = np.random.default_rng(6).integers(len(labels), size=(S, T)).astype(float)
    values = np.array(numbers, dtype=float)[codes.astype(int)]
    (found,) = leaks(values, shifted(codes, 3), labels=labels)
    assert found.shift == 3 and found.equal
    assert leaks(values, codes, labels=labels) == []
    (found,) = leaks(values, codes, "known", labels=labels)
    assert found.shift == 0


def test_few_events_are_no_evidence():
    rng = np.random.default_rng(7)
    values = np.zeros((1, 400))
    events = np.sort(rng.choice(390, ENOUGH, replace=False))
    values[0, events[: ENOUGH // 2 - 1]] = 1
    assert leaks(values, shifted(values, 2)) == []
    values[0, events] = 1
    assert leaks(values, shifted(values, 2))[0].shift == 2


def test_changing_rows_are_bounded_for_each_series():
    values = np.random.default_rng(8).normal(size=(1, 200_000))
    (found,) = leaks(values, shifted(values, 1))
    assert found.shift == 1


def test_targets_that_exceed_float32():
    values = np.random.default_rng(9).normal(size=(S, T)) * 1e300
    assert leaks(values, np.zeros((S, T))) == []
