"""Statistics of series, compared with pandas, also of frames with errors."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.frames import Columns
from s5forecast.data.profile import FENCE, median_gaps, profile, quantiles, readable_rows


def frame(n=200, items=5):
    rng = np.random.default_rng(0)
    parts = []
    for number in range(items):
        values = rng.poisson(number, n).astype(float)
        values[rng.random(n) < 0.1] = np.nan
        times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 300, n)), "h")
        parts.append(pd.DataFrame({"item_id": f"s{number}", "timestamp": times, "target": values}))
    df = pd.concat(parts, ignore_index=True)
    df.loc[[7, 400], "target"] = [-3.5, 1e6]
    return df


def longest_run(values):
    values = values.dropna()
    return 0 if values.empty else values.groupby((values != values.shift()).cumsum()).size().max()


def outliers(values):
    values = values.dropna()
    values = values[values != 0]
    low, high = values.quantile([0.25, 0.75])
    reach = FENCE * (high - low)
    return 0 if reach == 0 or np.isnan(reach) else ((values < low - reach) | (values > high + reach)).sum()


def test_statistics_are_those_of_each_series():
    df = frame()
    found = profile(readable_rows(df.sample(frac=1, random_state=0).sort_values("item_id"), Columns()), "target")
    groups = df.groupby("item_id")
    target = groups["target"]
    expected = {
        "rows": groups.size(),
        "start": groups["timestamp"].min(),
        "end": groups["timestamp"].max(),
        "duplicates": groups["timestamp"].apply(lambda times: times.duplicated().sum()),
        "missing": target.apply(lambda values: values.isna().sum()),
        "zeros": target.apply(lambda values: (values == 0).sum()),
        "negative": target.apply(lambda values: (values < 0).sum()),
        "outliers": target.apply(outliers),
        "fractional": target.apply(lambda values: (values.dropna() % 1 != 0).sum()),
        "distinct": target.nunique() > 1,
    }
    for name, values in expected.items():
        assert found[name].tolist() == values.tolist(), name
    assert found["outliers"].sum() > 0 and found["farthest"].max() > 1000


def test_the_longest_stretch_of_equal_values():
    values = [0.0, 0, 0, 0, 5, 5, np.nan, 5, 1]
    df = pd.DataFrame(
        {"item_id": ["a"] * 9 + ["b"] * 2 + ["c"], "timestamp": range(12), "target": [*values, 1, 1, np.nan]}
    )
    found = profile(readable_rows(df, Columns()), "target")
    assert found["constant"].tolist() == [4, 2, 0] and found["constant_nonzero"].tolist() == [3, 2, 0]
    assert found["constant"].tolist() == df.groupby("item_id")["target"].apply(longest_run).tolist()


def test_quantiles_of_groups():
    rng = np.random.default_rng(0)
    values, owners = rng.normal(size=50), rng.integers(0, 4, 50)
    for level in (0.0, 0.25, 0.5, 0.9, 1.0):
        found = quantiles(values, owners, 6, level)
        expected = [np.quantile(values[owners == group], level) for group in range(4)]
        np.testing.assert_allclose(found[:4], expected)
        assert np.isnan(found[4:]).all()
    assert np.isnan(quantiles(values[:0], owners[:0], 2, 0.5)).all()


def test_median_gaps():
    df = pd.DataFrame({"item_id": ["a"] * 4 + ["b"], "timestamp": [0.0, 1, 3, 6, 2], "target": 1.0})
    found = median_gaps(readable_rows(df, Columns()))
    assert found[0] == 2 and np.isnan(found[1])


READABLE = {
    "missing times": ({"timestamp": [pd.NaT, pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")]}, [2]),
    "text among times": ({"timestamp": ["2024-01-01", "soon", "2024-01-02"]}, [2]),
    "times that are mixed": ({"timestamp": ["2024-01-01", 3, pd.Timestamp("2024-01-02")]}, [2]),
    "infinite times": ({"timestamp": [1.0, np.inf, 2.0]}, [2]),
    "missing series": ({"item_id": ["a", None, "b"]}, [1, 1]),
    "series of several types": ({"item_id": ["a", 1, ("a", 1)]}, [1, 1, 1]),
    "series with equal labels": ({"item_id": ["('a', 1)", ("a", 1), "b"]}, [1, 1, 1]),
    "text among values": ({"target": ["1", "many", 2.5]}, [3]),
    "infinite values": ({"target": [1.0, np.inf, -np.inf]}, [3]),
    "complex values": ({"target": [1j, 2, 3]}, [3]),
    "objects": ({"target": [[1], {}, None]}, [3]),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_can_be_read_is_read(name):
    change, lengths = READABLE[name]
    df = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=3), "target": 1.0}).assign(**change)
    found = profile(readable_rows(df, Columns()), "target")
    assert found["rows"].tolist() == lengths
    if "values" in name:
        assert found["missing"].tolist() == [{"text": 1, "infinite": 2, "complex": 3}[name.split()[0]]]
