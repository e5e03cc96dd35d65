"""The benchmark of covariates: the columns of other networks, the data, and the tables of its results."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks" / "covariates"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the benchmarks are not here")
KINDS = {
    "none": {},
    "static": {"static": ["store"]},
    "past": {"past": ["price"]},
    "all": {"static": ["store"], "known": ["price"], "holidays": "US"},
}


@pytest.fixture(scope="module", autouse=True)
def benchmark_on_path():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture
def task():
    from comparison import Task

    days = pd.date_range("2024-12-01", "2025-01-09", freq="D")
    price = np.arange(len(days), dtype=float)
    price[3] = np.nan
    frame = pd.concat(
        pd.DataFrame({"item_id": item, "timestamp": days, "target": price % 7 + 1, "price": price, "store": item})
        for item in ("b", "a")
    )
    return Task(frame, "D", horizon=4, windows=2, kinds=KINDS, epochs=1)


def test_other_networks_have_the_same_columns_as_numbers(task):
    from comparison import gluonts_data

    entries, arguments = gluonts_data(task.frame, "D", KINDS["all"], "tft")
    assert [entry["feat_static_cat"] for entry in entries] == [[1], [0]]
    price, holiday, distance = entries[0]["feat_dynamic_real"]
    np.testing.assert_array_equal(price, np.arange(40))  # interpolated
    np.testing.assert_array_equal(np.flatnonzero(holiday), [24, 31])  # Christmas, New Year's Day
    np.testing.assert_array_equal(distance[22:27], [-2, -1, 0, 1, 2])
    assert arguments == {"dynamic_dims": [3], "past_dynamic_dims": None, "static_cardinalities": [2]}
    assert gluonts_data(task.frame, "D", KINDS["past"], "tft")[0][0]["past_feat_dynamic_real"].shape == (1, 40)
    assert gluonts_data(task.frame, "D", KINDS["none"], "deepar")[1] == {"num_feat_dynamic_real": 0}


def test_the_network_without_covariates_is_trained_on_the_series_as_with_them(task):
    from comparison import forecaster

    chosen = {kind: forecaster(task, kind, 0).check(task.frame).choices for kind in KINDS}
    for choices in chosen.values():
        assert "network" not in choices["name"].tolist()  # which is the pretrained one, fine-tuned
        pd.testing.assert_frame_equal(choices, chosen["none"])


def test_deepar_does_not_take_columns_of_the_past(task):
    from comparison import is_possible

    assert [kind for kind in KINDS if not is_possible(task, "deepar", kind)] == ["past"]
    assert all(is_possible(task, "tft", kind) for kind in KINDS)


def test_validation_windows_end_where_the_test_windows_begin(task):
    assert task.validation().frame["timestamp"].max() == pd.Timestamp("2025-01-01")


def test_sales_have_a_row_for_each_week_and_the_price_of_their_brand(tmp_path):
    from orange_juice import sales

    prices = {f"price{brand}": [brand / 100] * 3 for brand in range(1, 12)}
    table = pd.DataFrame({"store": 2, "brand": 5, "week": [40, 42, 43], "logmove": np.log([64.0, 128, 64]), **prices})
    table.assign(deal=[0, 1, 0], feat=0.0).to_csv(tmp_path / "sales.csv", index=False)
    found = sales(tmp_path / "sales.csv")
    assert found["timestamp"].dt.strftime("%Y-%m-%d").tolist() == [
        "1990-06-20",
        "1990-06-27",
        "1990-07-04",
        "1990-07-11",
    ]
    np.testing.assert_allclose(found["target"], [64, np.nan, 128, 64])
    np.testing.assert_allclose(found["price"], [0.05, np.nan, 0.05, 0.05])
    np.testing.assert_array_equal(found["coupon"], [0, np.nan, 1, 0])


def test_rows_of_an_interrupted_run_are_kept(tmp_path):
    from comparison import add_row

    path = tmp_path / "rows.csv"
    for seed, value in ((0, 0.5), (1, 0.25), (0, 0.125)):
        add_row(path, {"model": "s5", "seed": seed}, lambda value=value: {"WQL": value})
    assert pd.read_csv(path)["WQL"].tolist() == [0.5, 0.25]


def test_gains_are_relative_to_the_same_seed_without_covariates():
    from gains import as_markdown

    rows = [("s5", "none", 0, 0.4), ("s5", "all", 0, 0.3), ("s5", "none", 1, 0.5), ("s5", "all", 1, 0.525)]
    rows = pd.DataFrame(rows, columns=["model", "covariates", "seed", "WQL"])
    assert as_markdown(rows).splitlines()[2:] == ["| none | 0.450 |", "| all | 0.412, +10.0 % (−5.0 to +25.0) |"]


@pytest.mark.parametrize("name", ["departures", "orange_juice"])
def test_the_readme_has_the_tables_of_the_results(name):
    from gains import as_markdown

    assert as_markdown(pd.read_csv(FOLDER / f"{name}.csv")) in (FOLDER / "README.md").read_text()
