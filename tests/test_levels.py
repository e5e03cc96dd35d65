"""Quantile levels and the columns that are named after them."""

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Estimator
from s5forecast.levels import DECILES, check_levels, level_name, quantile_columns, sample_columns


def test_check_levels():
    check_levels(DECILES)
    for levels in ([], [0.0], [0.5, 1.0], [1], ["0.5"]):
        with pytest.raises(ValueError, match="own_levels must be numbers strictly between 0 and 1"):
            check_levels(levels, "own_levels")
    with pytest.raises(ValueError, match=r"quantile_levels must be a list of numbers, .* got 0.5"):
        check_levels(0.5)
    with pytest.raises(ValueError, match="quantile_levels must not repeat"):
        check_levels([0.5, 0.5])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_levels_of_any_precision(dtype):
    levels = np.array([0.025, 0.1, 0.5, 0.9], dtype=dtype)
    assert check_levels(levels) == check_levels(list(levels)) == [0.025, 0.1, 0.5, 0.9]
    assert all(type(level) is float for level in check_levels(levels))
    estimator = S5Estimator("h", 4, quantile_levels=[dtype(0.1), dtype(0.975)])
    if dtype is not np.float16:
        assert estimator.quantile_levels == [0.1, 0.975]


def test_names_of_columns():
    assert [level_name(level) for level in (0.1, 0.1 + 0.2, 0.975)] == ["0.1", "0.3", "0.975"]
    frame = pd.DataFrame(columns=["item_id", "sample_10", "0.9", "mean", "sample_2", "0.05", "1.5", "sample_x"])
    assert quantile_columns(frame) == {0.05: "0.05", 0.9: "0.9"} and list(quantile_columns(frame)) == [0.05, 0.9]
    assert sample_columns(frame) == ["sample_2", "sample_10"]
